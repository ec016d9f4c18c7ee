//! Unix sockets: the file of the socket, its mode, and its removal.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use socket2::{Domain, SockAddr, Socket, Type};

/// The file of a bound socket. Dropping it removes the file, unless another socket has replaced it.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    /// Keeps the file: another process serves the socket.
    pub(super) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    let metadata = fs::symlink_metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Binds a socket to the path. It does not listen yet, so nobody connects before the file has its mode.
pub(super) fn bind(path: &Path, mode: u32) -> io::Result<(Socket, SocketFile)> {
    remove_stale(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    fs::set_permissions(path, Permissions::from_mode(mode))?;
    Ok((socket, file))
}

/// Removes the file of a socket on which no process listens.
fn remove_stale(path: &Path) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        metadata => metadata?,
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file exists and is not a socket"));
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A process whose queue is full must not delay the answer.
    socket.set_nonblocking(true)?;
    match socket.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
        _ => Err(io::Error::new(io::ErrorKind::AddrInUse, "another process listens on it")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::super::Listener;
    use super::*;

    /// Returns why the path cannot be bound.
    fn reason(path: &Path) -> String {
        let error = Listener::bind_unix(path, 0o600).unwrap_err();
        std::error::Error::source(&error).unwrap().to_string()
    }

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn the_file_has_the_mode_and_ends_with_the_listener() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = Listener::bind_unix(&path, 0o640).unwrap();
        assert_eq!(mode(&path), 0o640);
        assert_eq!(listener.to_string(), format!("unix:{}", path.display()));
        assert!(listener.local_addr().is_none() && listener.path().as_deref() == Some(&*path));
        UnixStream::connect(&path).unwrap();
        drop(listener);
        assert!(!path.exists());
        drop(Listener::bind_unix(&path, 0o600).unwrap().shared());
        assert!(path.exists(), "another process holds the socket");
    }

    #[test]
    fn only_a_stale_socket_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let first = UnixListener::bind(&path).unwrap();
        assert_eq!(reason(&path), "another process listens on it");
        // The file stays when its process ends.
        drop(first);
        let second = Listener::bind_unix(&path, 0o600).unwrap();
        // A file that has replaced the socket is not removed with it.
        fs::remove_file(&path).unwrap();
        fs::write(&path, "text").unwrap();
        drop(second);
        assert_eq!(reason(&path), "the file exists and is not a socket");
        assert_eq!(fs::read_to_string(&path).unwrap(), "text");
    }

    #[test]
    fn errors_name_the_path() {
        let long = Path::new("/tmp").join("x".repeat(200));
        for path in [Path::new("/no/such/folder/socket"), &long] {
            let error = Listener::bind_unix(path, 0o600).unwrap_err().to_string();
            assert!(error.contains(&*path.to_string_lossy()), "{error}");
        }
    }
}
