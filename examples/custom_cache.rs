//! Your own backend: a `ByteStore` that keeps each record in a file, bounded by an `Lru`.
//!
//! It is minimal. A backend that several processes share would write to a temporary file and rename it. The
//! checksum of a record detects one that is only half written, and its URL is fetched again.
//!
//! ```sh
//! cargo run --example custom_cache
//! ```

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use bytes::Bytes;
use forwardcache::store::{BackedStore, ByteStore, Lru, StoreError};
use forwardcache::{Body, HttpCache, Outcome, ResponseExt, RoundTripFn};
use http::Response;

#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    /// A key may contain any byte of a URL, so the file name is its hexadecimal form.
    fn file(&self, key: &str) -> PathBuf {
        let name: String = key.bytes().map(|byte| format!("{byte:02x}")).collect();
        // Keys may be longer than file names.
        let pieces: Vec<String> =
            name.as_bytes().chunks(200).map(|piece| String::from_utf8_lossy(piece).into_owned()).collect();
        pieces.iter().fold(self.0.clone(), |path, piece| path.join(format!("{piece}.d"))).join("record")
    }
}

impl ByteStore for Folder {
    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        match fs::read(self.file(key)) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::new("cannot read a record").with_source(error)),
        }
    }

    fn set(&self, key: &str, value: Bytes) -> Result<bool, StoreError> {
        let file = self.file(key);
        let folder = file.parent().unwrap_or(&self.0);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&file, value))
            .map(|()| true)
            .map_err(|error| StoreError::new("cannot write a record").with_source(error))
    }

    fn delete(&self, key: &str) -> Result<bool, StoreError> {
        match fs::remove_file(self.file(key)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(StoreError::new("cannot remove a record").with_source(error)),
        }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::temp_dir().join(format!("forwardcache-example-{}", std::process::id()));
    for run in ["first", "second"] {
        // Each run has a new cache: the second one finds the response in the folder.
        let store = BackedStore::new(Lru::new(Folder(folder.clone()), 64 << 20));
        let origin = RoundTripFn(|_| {
            let response = Response::builder().header("cache-control", "max-age=60");
            Ok(response.body(Body::from("hello")).expect("the field is well-formed"))
        });
        let cache = HttpCache::builder().origin(origin).store(store).build()?;
        let response = cache.get("http://example.com/").send()?;
        let outcome = response.info().outcome().map_or("unknown", Outcome::name);
        println!("{run} run: {outcome}, {}", response.text()?);
        assert_eq!(outcome, if run == "first" { "miss" } else { "hit" });
    }
    fs::remove_dir_all(folder)?;
    Ok(())
}
