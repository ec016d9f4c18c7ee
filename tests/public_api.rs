//! The public API: its listing in `tests/public-api.txt`, and promises that no signature shows.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use forwardcache::http::Response;
use forwardcache::{
    Body, Cancellation, Client, Error, HttpCache, Origin, Peer, Purge, RequestBuilder, ResponseInfo,
};

const LISTING: &str = "tests/public-api.txt";

/// Set to accept changes of the public API.
const ACCEPT: &str = "FORWARDCACHE_ACCEPT_API";

/// Compares the public API with its listing, so that each change of it is seen in review.
///
/// rustdoc writes its JSON on a stable toolchain only with `RUSTC_BOOTSTRAP`, and the format differs between versions of
/// Rust, so this test runs only on request. `tests/run` requests it.
#[test]
#[ignore = "depends on the version of Rust: run it with `cargo test --all-features --test public_api -- --ignored`"]
fn public_api_is_the_listed_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("rustdoc");
    let rustdoc = Command::new(env!("CARGO"))
        .args(["rustdoc", "--locked", "--quiet", "--lib", "--all-features", "--target-dir"])
        .arg(&target)
        .args(["--", "-Zunstable-options", "--output-format=json", "--cap-lints=allow"])
        .env("RUSTC_BOOTSTRAP", "1")
        .current_dir(root)
        .status()
        .unwrap();
    assert!(rustdoc.success(), "rustdoc failed");
    let api = public_api::Builder::from_rustdoc_json(target.join("doc/forwardcache.json"))
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()
        .expect("the crate public-api knows the JSON of this rustdoc");
    let listing = root.join(LISTING);
    if std::env::var_os(ACCEPT).is_some() {
        std::fs::write(&listing, api.to_string()).unwrap();
        return;
    }
    let listed = std::fs::read_to_string(&listing).unwrap();
    let api = api.to_string();
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (listed.lines().collect(), api.lines().collect());
    let changes: Vec<_> = old
        .difference(&new)
        .map(|line| format!("- {line}"))
        .chain(new.difference(&old).map(|line| format!("+ {line}")))
        .collect();
    assert!(
        changes.is_empty(),
        "the public API differs from {LISTING}; to accept the change, run\n\
         {ACCEPT}=1 cargo test --all-features --test public_api -- --ignored\n{}",
        changes.join("\n")
    );
}

#[test]
fn handles_can_be_shared_and_cloned() {
    fn is_shared<T: Send + Sync + Clone + 'static>() {}
    is_shared::<Client>();
    is_shared::<HttpCache>();
    is_shared::<Peer>();
    is_shared::<Origin>();
    is_shared::<Purge>();
    is_shared::<Cancellation>();
    is_shared::<ResponseInfo>();
}

#[test]
fn messages_and_errors_can_move_between_threads() {
    fn is_sent<T: Send>() {}
    fn is_error<T: std::error::Error + Send + Sync + 'static>() {}
    is_sent::<Body>();
    is_sent::<Response<Body>>();
    is_sent::<RequestBuilder<'static>>();
    is_error::<Error>();
}
