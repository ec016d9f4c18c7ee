//! Logs, responses and stores never contain the secrets of clients.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use forwardcache::store::{BackedStore, ByteStore, MemoryByteStore, StoreError};

use crate::local::{LocalPeer, escaped, send};
use crate::support::origin::{Origin, Received, Reply};
use crate::support::process::{Process, command};
use crate::support::raw::Response;

const TOKEN: &str = "the-token-of-the-pool-5e6f";
/// Secrets in header fields; those in URLs follow below.
const SECRETS: [(&str, &str); 9] = [
    ("Authorization", "Basic c2VjcmV0LWF1dGhvcml6YXRpb24="),
    ("Cookie", "session=secret-cookie"),
    ("X-Api-Key", "secret-api-key"),
    ("X-Auth-Token", "secret-auth-token"),
    ("X-Forwarded-For", "203.0.113.77"),
    ("Forwarded", "for=203.0.113.78"),
    ("Referer", "http://secret-referer.example/?secret-referer"),
    ("From", "secret-from@example.com"),
    ("If-None-Match", "\"secret-entity-tag\""),
];
const SECRETS_IN_URLS: [&str; 3] = ["secret-query", "secret-user", "secret-password"];

fn secrets() -> impl Iterator<Item = &'static str> {
    let values = SECRETS.iter().map(|(_, value)| value.split(['=', ' ']).next_back().unwrap());
    values.chain(SECRETS_IN_URLS).chain([TOKEN])
}

fn assert_clean(what: &str, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    for secret in secrets().filter(|secret| !secret.is_empty()) {
        assert!(!text.contains(secret), "{what} contains {secret}: {text}");
    }
}

fn fields() -> String {
    let mut fields = format!("Proxy-Authorization: Bearer {TOKEN}\r\n");
    for (name, value) in SECRETS {
        write!(fields, "{name}: {value}\r\n").unwrap();
    }
    fields
}

fn serialized(answer: &Response) -> Vec<u8> {
    let head: String = answer.headers.iter().map(|(name, value)| format!("{name}: {value:?}\n")).collect();
    [head.into_bytes(), answer.body.clone()].concat()
}

/// An origin whose responses vary by secrets, and that fails in several ways.
fn origin() -> Origin {
    Origin::start(|received: &Received| {
        let path = received.target.split('?').next().unwrap();
        match path {
            "/cut" => Reply::ok("x".repeat(200_000)).cut_after(100_000),
            "/garbage" => Reply::raw("garbage\r\n\r\n").close(),
            "/gone" => Reply::nothing().close(),
            "/no-store" => Reply::ok("b").field("Cache-Control", "no-store"),
            "/private" => Reply::ok("c").field("Cache-Control", "private, max-age=60"),
            _ => Reply::ok("d")
                .field("Cache-Control", "max-age=60")
                .field("Vary", "Cookie, X-Api-Key, X-Auth-Token, Accept"),
        }
    })
}

#[test]
fn logs_and_responses_contain_no_secrets() {
    let origin = origin();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), TOKEN).unwrap();
    let path = file.path().to_str().unwrap();
    let words = ["-v", "serve", "--listen", "127.0.0.1:0", "--token-file", path, "--admin", "127.0.0.1:0"];
    let mut serve = command(words);
    serve.env("RUST_LOG", "trace,ureq_proto::client=trace");
    let mut serving = Process::start(serve).unwrap();
    let line = serving.wait_for_line("serving on http://");
    let peer = line.split(' ').nth(2).unwrap().to_owned();
    let address = peer.strip_prefix("http://").unwrap().parse().unwrap();
    let admin = serving.wait_for_line("metrics on http://");
    let admin = admin.split('/').nth(2).unwrap().parse().unwrap();

    let fields = fields();
    for path in ["/a", "/cut", "/garbage", "/gone", "/no-store", "/private", "/a"] {
        let url = escaped(&format!("{}?key=secret-query", origin.url(path)));
        for method in ["GET", "HEAD", "POST"] {
            let answer = send(address, method, &format!("/proxy?q={url}"), &fields);
            assert_clean("a response", &serialized(&answer));
        }
        // The explanation contains the requested URL with its query, so remove it before the check.
        let why = send(address, "GET", &format!("/proxy/why?q={url}"), &fields);
        let text = String::from_utf8(why.body).unwrap().replace("secret-query", "");
        assert_clean("why", text.as_bytes());
    }
    let userinfo = escaped("http://secret-user:secret-password@127.0.0.1/?secret-query");
    assert_eq!(send(address, "GET", &format!("/proxy?q={userinfo}"), &fields).status, 400);
    let bad = send(address, "GET", "/proxy?q=http%3A%2F%2Fsecret-query%2F%00", &fields);
    assert_clean("a refusal", &serialized(&bad));
    for path in ["/metrics", "/status"] {
        let answer = send(admin, "GET", path, &fields);
        assert_eq!(answer.status, 200);
        assert_clean(path, &serialized(&answer));
    }

    // The command, including when it fails.
    for path in ["/a", "/cut", "/garbage"] {
        let url = format!("{}?key=secret-query", origin.url(path));
        let mut get = command(["-v", "get", "-i", "--peer", &peer, "--token-file", path_of(&file), &url]);
        for (name, value) in SECRETS {
            get.args(["-H", &format!("{name}: {value}")]);
        }
        let output = get.env("RUST_LOG", "trace").output().unwrap();
        assert_clean("the command", &[output.stdout, output.stderr].concat());
    }
    serving.terminate();
    assert!(serving.wait().success());
    let written = serving.stdout() + &serving.stderr();
    assert!(written.contains("DEBUG"), "the log must contain debug messages: {written}");
    assert_clean("the log", written.as_bytes());
    for received in origin.seen() {
        for hidden in ["203.0.113", TOKEN] {
            assert!(!format!("{received:?}").contains(hidden), "{received:?}");
        }
    }
}

fn path_of(file: &tempfile::NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

/// A cache that records everything that it receives.
#[derive(Debug, Default)]
struct RecordingCache {
    cache: MemoryByteStore,
    recorded: Arc<Mutex<Vec<u8>>>,
}

impl ByteStore for RecordingCache {
    fn get(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.recorded.lock().unwrap().extend_from_slice(key.as_bytes());
        self.cache.get(key)
    }

    fn set(&self, key: &str, value: Bytes) -> Result<bool, StoreError> {
        self.recorded.lock().unwrap().extend_from_slice(key.as_bytes());
        self.recorded.lock().unwrap().extend_from_slice(&value);
        self.cache.set(key, value)
    }

    fn delete(&self, key: &str) -> Result<bool, StoreError> {
        self.cache.delete(key)
    }
}

#[test]
fn store_receives_no_credentials() {
    let origin = origin();
    let recording = RecordingCache::default();
    let recorded = Arc::clone(&recording.recorded);
    let peer = LocalPeer::start_with(|builder| builder.store(BackedStore::new(recording)));
    for path in ["/a", "/private", "/no-store"] {
        for _ in 0..2 {
            assert_eq!(peer.get_with(&origin.url(path), &fields()).status, 200);
        }
    }
    let recorded = recorded.lock().unwrap();
    assert!(recorded.windows(6).any(|bytes| bytes == b"cookie"), "the names of selecting fields are stored");
    assert_clean("the store", &recorded);
}
