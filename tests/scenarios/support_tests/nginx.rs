//! Each nginx folder behaves as documented.

use crate::support::nginx::Nginx;
use crate::support::raw::{Connection, Response};

fn get(nginx: &Nginx, path: &str, fields: &str) -> Response {
    let mut connection = Connection::open(nginx.address());
    connection.write(format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{fields}\r\n", nginx.address()));
    connection.read_response()
}

#[test]
fn folders_have_their_cache_control_and_validators() {
    let nginx = Nginx::start();
    let folders = [
        ("/", None),
        ("/fresh/", Some("max-age=3600")),
        ("/stale/", Some("max-age=0")),
        ("/no-cache/", Some("no-cache")),
        ("/no-store/", Some("no-store")),
        ("/private/", Some("private, max-age=3600")),
        ("/immutable/", Some("max-age=31536000, immutable")),
    ];
    for (folder, cache_control) in folders {
        let path = format!("{folder}file.txt");
        nginx.write(&path, path.as_bytes());
        let response = get(&nginx, &path, "");
        assert_eq!((response.status, response.body.as_slice()), (200, path.as_bytes()));
        assert_eq!(response.field("cache-control"), cache_control, "{folder}");
        assert!(response.field("last-modified").is_some());

        let condition = format!("If-None-Match: {}\r\n", response.field("etag").unwrap());
        let validated = get(&nginx, &path, &condition);
        assert_eq!((validated.status, validated.body.len()), (304, 0), "{folder}");
    }
}

#[test]
fn second_write_of_the_same_length_changes_the_validators() {
    let nginx = Nginx::start();
    nginx.write("/stale/file.txt", "one");
    let first = get(&nginx, "/stale/file.txt", "");
    nginx.write("/stale/file.txt", "two");
    let condition = format!("If-None-Match: {}\r\n", first.field("etag").unwrap());
    let second = get(&nginx, "/stale/file.txt", &condition);
    assert_eq!((second.status, second.body.as_slice()), (200, &b"two"[..]));
    assert_ne!(first.field("last-modified"), second.field("last-modified"));
}

#[test]
fn range_requests_are_supported() {
    let nginx = Nginx::start();
    nginx.write("/fresh/file.bin", "0123456789");
    let response = get(&nginx, "/fresh/file.bin", "Range: bytes=2-4\r\n");
    assert_eq!((response.status, response.body.as_slice()), (206, &b"234"[..]));
    assert_eq!(response.field("content-range"), Some("bytes 2-4/10"));
}

#[test]
fn text_is_gzipped_if_the_client_accepts_it() {
    let nginx = Nginx::start();
    nginx.write("/fresh/file.txt", "text ".repeat(100));
    let plain = get(&nginx, "/fresh/file.txt", "");
    assert_eq!((plain.field("content-encoding"), plain.body.len()), (None, 500));
    let gzipped = get(&nginx, "/fresh/file.txt", "Accept-Encoding: gzip\r\n");
    assert_eq!(gzipped.field("content-encoding"), Some("gzip"));
    assert!(gzipped.body.starts_with(&[0x1f, 0x8b]) && gzipped.body.len() < 100);
    for response in [plain, gzipped] {
        assert_eq!(response.field("vary"), Some("Accept-Encoding"));
    }
}

#[test]
fn chunked_and_until_close_folders_send_no_length() {
    let nginx = Nginx::start();
    let body = "a line of text\n".repeat(10_000);
    for (folder, coding, connection) in
        [("/chunked/", Some("chunked"), "keep-alive"), ("/until-close/", None, "close")]
    {
        let path = format!("{folder}file.txt");
        nginx.write(&path, &body);
        let response = get(&nginx, &path, "");
        assert_eq!((response.status, response.cut), (200, None));
        assert!(response.body == body.as_bytes());
        assert_eq!(response.field("content-length"), None);
        assert_eq!(response.field("transfer-encoding"), coding);
        assert_eq!(response.field("connection"), Some(connection));
        assert_eq!(response.field("cache-control"), Some("max-age=3600"));
        assert!(response.field("etag").is_some());
    }
}

#[test]
fn status_paths_return_their_status() {
    let nginx = Nginx::start();
    for status in [404, 410, 500, 301] {
        assert_eq!(get(&nginx, &format!("/status/{status}"), "").status, status);
    }
    let moved = get(&nginx, "/status/301", "");
    assert_eq!(moved.field("location"), Some(nginx.url("/fresh/moved.txt").as_str()));
}

#[test]
fn settled_count_includes_every_answered_request() {
    let nginx = Nginx::start();
    nginx.write("/fresh/file.txt", "counted");
    for count in 1..=50 {
        get(&nginx, "/fresh/file.txt", "");
        assert_eq!(nginx.settled_count_of("/fresh/file.txt"), count);
    }
    get(&nginx, "/fresh/file.txt?other", "");
    nginx.settle();
    assert_eq!(nginx.count_of("/fresh/file.txt"), 50);
    assert_eq!(nginx.served().len(), 51);
    assert_eq!(nginx.served()[50], "GET /fresh/file.txt?other HTTP/1.1");
}
