//! Messages that two readers could take for two different ones (RFC 9112 section 11.2): the front refuses
//! them and closes, or reads them as everybody must.

use super::{Noting, Seen, refusal};

/// What has to come of a message.
enum Expected {
    /// It is refused with this, and nothing behind it is read.
    Refused(u16),
    /// The handler is given these, one after the other.
    Seen(&'static [(&'static str, &'static str, &'static str)]),
}
use Expected::{Refused, Seen as Given};

/// Stands behind every message: whoever sees it for a request where it is content has been deceived.
const MARKER: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn every_trick_is_refused_or_read_as_everybody_must() {
    let front = Noting::start();
    for (trick, message, expected) in [
        // Both lengths, in either order and in every disguise of the second.
        (
            "CL.TE",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
            Refused(400),
        ),
        (
            "TE.CL",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n",
            Refused(400),
        ),
        (
            "TE.TE, the second unknown",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "TE.TE, the first unknown",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Refused(501),
        ),
        (
            "a space before the colon",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a tab before the value",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\tchunked\r\n\r\n0\r\n\r\n",
            Given(&[("POST", "/", ""), ("GET", "/smuggled", "")]),
        ),
        (
            "a tab behind the value",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n",
            Given(&[("POST", "/", ""), ("GET", "/smuggled", "")]),
        ),
        (
            "a vertical tab in the value",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a quoted coding",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a coding with a parameter",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a coding with NUL",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\0\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a list with an empty member",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked,\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a folded coding",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a coding behind a bare LF",
            "POST / HTTP/1.1\r\nHost: a\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a coding behind a bare CR",
            "POST / HTTP/1.1\r\nHost: a\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a name that only looks alike",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            Given(&[("POST", "/", "0\r\n\r\n"), ("GET", "/smuggled", "")]),
        ),
        (
            "a coding on HTTP/1.0",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        // Lengths that are numbers to some.
        (
            "a length in hexadecimal",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0x5\r\n\r\nabcde",
            Refused(400),
        ),
        (
            "a length with a sign",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nabcde",
            Refused(400),
        ),
        (
            "a length with a space inside",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5 5\r\n\r\nabcde",
            Refused(400),
        ),
        (
            "a length with an underscore",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1_0\r\n\r\nabcde",
            Refused(400),
        ),
        (
            "a length with a point",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5.0\r\n\r\nabcde",
            Refused(400),
        ),
        (
            "a length in space",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:  5 \r\n\r\nabcde",
            Given(&[("POST", "/", "abcde"), ("GET", "/smuggled", "")]),
        ),
        (
            "a length with zeros",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0005\r\n\r\nabcde",
            Given(&[("POST", "/", "abcde"), ("GET", "/smuggled", "")]),
        ),
        ("a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,5\r\n\r\nabcde", Refused(400)),
        (
            "two lengths",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\nabcde",
            Refused(400),
        ),
        (
            "two lengths in other spellings",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\nabcde",
            Refused(400),
        ),
        (
            "a length with a space before the colon",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nabcde",
            Refused(400),
        ),
        (
            "a length that names this connection",
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\nContent-Length: 5\r\n\r\nabcde",
            Given(&[("POST", "/", "abcde"), ("GET", "/smuggled", "")]),
        ),
        // Content where some expect none.
        (
            "a GET with content",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde",
            Given(&[("GET", "/", "abcde"), ("GET", "/smuggled", "")]),
        ),
        (
            "a GET with chunks",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
            Given(&[("GET", "/", "abcde"), ("GET", "/smuggled", "")]),
        ),
        (
            "a HEAD with content",
            "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde",
            Given(&[("HEAD", "/", "abcde"), ("GET", "/smuggled", "")]),
        ),
        (
            "CL.0",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 36\r\n\r\nGET /inside HTTP/1.1\r\nHost: a\r\nX: yz",
            Given(&[("POST", "/", "GET /inside HTTP/1.1\r\nHost: a\r\nX: yz"), ("GET", "/smuggled", "")]),
        ),
        (
            "0.CL",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            Given(&[("POST", "/", ""), ("GET", "/smuggled", "")]),
        ),
        (
            "a POST without content",
            "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
            Given(&[("POST", "/", ""), ("GET", "/smuggled", "")]),
        ),
        (
            "an expectation in vain",
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, x\r\nContent-Length: 5\r\n\r\nabcde",
            Refused(417),
        ),
        // Chunks that are chunks to some.
        (
            "a chunk size in space",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n 5\r\nabcde\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a chunk size with a prefix",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\nabcde\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a chunk size with an underscore",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1_0\r\nabcde\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a chunk size past 64 bits",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000005\r\nabcde\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a chunk size that ends with LF",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\nabcde\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a chunk size that ends with CR",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\rabcde\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "LF in an extension",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;\nxx\r\nabcde\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "CR in an extension",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;\rxx\r\nabcde\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a chunk that is longer",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcde\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a chunk that ends with two bytes that are none",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdexx0\r\n\r\n",
            Refused(400),
        ),
        (
            "no line end behind the last chunk",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
            Refused(400),
        ),
        (
            "a length for a trailer",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 50\r\n\r\n",
            Given(&[("POST", "/", ""), ("GET", "/smuggled", "")]),
        ),
        // Heads that end in several places.
        ("LF LF", "GET / HTTP/1.1\r\nHost: a\n\nGET /inside HTTP/1.1\r\n\r\n", Refused(400)),
        ("CR LF LF", "GET / HTTP/1.1\r\nHost: a\r\n\nGET /inside HTTP/1.1\r\n\r\n", Refused(400)),
        ("CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", Refused(400)),
        ("a line of space", "GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", Refused(400)),
        ("a NUL in the request line", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("no version", "GET /\r\nHost: a\r\n\r\n", Refused(400)),
        ("a version with zeros", "GET / HTTP/1.01\r\nHost: a\r\n\r\n", Refused(400)),
        ("a version in lower case", "GET / http/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("a target with a space", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("a target with a line in it", "GET /a\r\nX: y HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        (
            "another host in the target",
            "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            Given(&[("GET", "http://b/", ""), ("GET", "/smuggled", "")]),
        ),
        (
            "the end of the connection, in vain",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            Given(&[("GET", "/", "")]),
        ),
    ] {
        let mut connection = front.connect();
        connection.write(message.to_owned() + MARKER);
        match expected {
            Refused(status) => {
                assert_eq!(refusal(&mut connection), status, "{trick}");
                assert_eq!(front.seen(), [], "{trick}");
            }
            Given(given) => {
                for (method, ..) in given {
                    let response = match *method {
                        "HEAD" => connection.read_response_to_head(),
                        _ => connection.read_response(),
                    };
                    assert_eq!(response.status, 200, "{trick}");
                }
                let given: Vec<Seen> =
                    given.iter().map(|(method, target, body)| Seen::of(method, target, body)).collect();
                assert_eq!(front.seen(), given, "{trick}");
            }
        }
    }
    front.still_serves();
}
