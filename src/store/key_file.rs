//! The secret key of a store that outlives the process: it keeps the entries of credentials apart.

use std::fmt;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::Path;

use ring::hmac::{HMAC_SHA256, Key, sign};
use ring::rand::{SecureRandom, SystemRandom};

use super::StoreError;

/// The length of the key in bytes.
const LENGTH: usize = 32;

/// A key from a file, by which all processes that use the file compute the same digests of credentials.
#[derive(Clone)]
pub(crate) struct StoreKey(Key);

impl StoreKey {
    /// Reads the key of a file, or creates a file with a random key.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        let told = |error: io::Error| {
            StoreError::new(format!("cannot use the key file {}: {error}", path.display())).with_source(error)
        };
        let key = match read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(path).and_then(|()| read(path)),
            key => key,
        };
        Ok(Self(Key::new(HMAC_SHA256, &key.map_err(told)?)))
    }

    /// Returns a digest of a credential: HMAC-SHA-256, truncated to 128 bits.
    pub(crate) fn digest(&self, credential: &[u8]) -> u128 {
        let tag = sign(&self.0, credential);
        u128::from_be_bytes(*tag.as_ref().first_chunk().expect("a tag has 32 bytes"))
    }
}

fn read(path: &Path) -> io::Result<[u8; LENGTH]> {
    let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
            return Err(invalid("other users can access it; change its mode to 0600"));
        }
    }
    let text = fs::read_to_string(path)?;
    let digits = text.trim_end();
    let bytes = (0..LENGTH).map(|at| u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok());
    let bytes: Option<Vec<u8>> = bytes.collect();
    let key = bytes.filter(|_| digits.len() == 2 * LENGTH).and_then(|bytes| bytes.try_into().ok());
    key.ok_or_else(|| invalid("it does not contain 64 hexadecimal digits"))
}

/// Creates the file with mode 0600, unless another process creates it first.
fn create(path: &Path) -> io::Result<()> {
    let mut key = [0; LENGTH];
    SystemRandom::new().fill(&mut key).map_err(|_| io::Error::other("the system has no random numbers"))?;
    let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:x}", RandomState::new().hash_one(std::process::id())));
    let temporary = path.with_file_name(name);
    let mut options = fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&temporary)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    // A link, unlike a rename, never replaces the key of another process.
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

impl fmt::Debug for StoreKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_is_created_once_and_read_by_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let keys: Vec<u128> = std::thread::scope(|scope| {
            let open = || StoreKey::open(&path).unwrap().digest(b"secret");
            let threads: Vec<_> = (0..2).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|digest| *digest == keys[0]));
        let key = StoreKey::open(&path).unwrap();
        assert!(key.digest(b"secret") == keys[0] && key.digest(b"secreu") != keys[0]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let other = StoreKey::open(&folder.path().join("other")).unwrap();
        assert_ne!(other.digest(b"secret"), keys[0]);
    }

    #[test]
    fn error_says_what_is_wrong_with_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let message = |path: &Path| StoreKey::open(path).unwrap_err().to_string();
        assert!(message(&folder.path().join("none/key")).contains("none/key"));
        let path = folder.path().join("key");
        StoreKey::open(&path).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
            assert!(message(&path).contains("change its mode to 0600"));
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::write(&path, "é0102").unwrap();
        assert!(message(&path).contains("64 hexadecimal digits"));
    }
}
