//! Messages that two parsers could split differently (RFC 9112 section 11.2): the server rejects them and closes the
//! connection, or parses them in the only way that the RFC allows.

use super::{ReceivedRequest, RecordingServer, read_rejection};

/// The expected result of a message.
enum Expected {
    /// The message is rejected with this status, and nothing after it is read.
    Refused(u16),
    /// The handler gets these requests, in this order.
    ReceivedRequest(&'static [(&'static str, &'static str, &'static str)]),
}
use Expected::{ReceivedRequest as Accepted, Refused};

/// Follows every message: it must never be parsed as a request if it is part of the message.
const MARKER: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn ambiguous_message_is_rejected_or_parsed_unambiguously() {
    let server = RecordingServer::start();
    for (trick, message, expected) in [
        // Both Content-Length and Transfer-Encoding, in either order and with disguised values.
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
            Accepted(&[("POST", "/", ""), ("GET", "/smuggled", "")]),
        ),
        (
            "a tab after the value",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n",
            Accepted(&[("POST", "/", ""), ("GET", "/smuggled", "")]),
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
            "a coding after a bare LF",
            "POST / HTTP/1.1\r\nHost: a\r\nX: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a coding after a bare CR",
            "POST / HTTP/1.1\r\nHost: a\r\nX: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a name that looks similar",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            Accepted(&[("POST", "/", "0\r\n\r\n"), ("GET", "/smuggled", "")]),
        ),
        (
            "a coding on HTTP/1.0",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n",
            Refused(400),
        ),
        // Lengths that only lenient parsers accept.
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
            "a length with a decimal point",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5.0\r\n\r\nabcde",
            Refused(400),
        ),
        (
            "a length surrounded by spaces",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length:  5 \r\n\r\nabcde",
            Accepted(&[("POST", "/", "abcde"), ("GET", "/smuggled", "")]),
        ),
        (
            "a length with leading zeros",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0005\r\n\r\nabcde",
            Accepted(&[("POST", "/", "abcde"), ("GET", "/smuggled", "")]),
        ),
        ("a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5,5\r\n\r\nabcde", Refused(400)),
        (
            "two different lengths",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\nabcde",
            Refused(400),
        ),
        (
            "the same length twice, in different case",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\ncontent-length: 5\r\n\r\nabcde",
            Refused(400),
        ),
        (
            "a length with a space before the colon",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nabcde",
            Refused(400),
        ),
        (
            "a length listed in Connection",
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: Content-Length\r\nContent-Length: 5\r\n\r\nabcde",
            Accepted(&[("POST", "/", "abcde"), ("GET", "/smuggled", "")]),
        ),
        // Bodies on requests that usually have none.
        (
            "a GET with a body",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde",
            Accepted(&[("GET", "/", "abcde"), ("GET", "/smuggled", "")]),
        ),
        (
            "a GET with a chunked body",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
            Accepted(&[("GET", "/", "abcde"), ("GET", "/smuggled", "")]),
        ),
        (
            "a HEAD with a body",
            "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde",
            Accepted(&[("HEAD", "/", "abcde"), ("GET", "/smuggled", "")]),
        ),
        (
            "CL.0",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 36\r\n\r\nGET /inside HTTP/1.1\r\nHost: a\r\nX: yz",
            Accepted(&[("POST", "/", "GET /inside HTTP/1.1\r\nHost: a\r\nX: yz"), ("GET", "/smuggled", "")]),
        ),
        (
            "0.CL",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            Accepted(&[("POST", "/", ""), ("GET", "/smuggled", "")]),
        ),
        (
            "a POST without a body",
            "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
            Accepted(&[("POST", "/", ""), ("GET", "/smuggled", "")]),
        ),
        (
            "an unsupported expectation",
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, x\r\nContent-Length: 5\r\n\r\nabcde",
            Refused(417),
        ),
        // Chunks that only lenient parsers accept.
        (
            "a chunk size after a space",
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
            "a chunk size over 64 bits",
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
            "a chunk longer than its size",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcde\r\n0\r\n\r\n",
            Refused(400),
        ),
        (
            "a chunk that ends with two other bytes",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcdexx0\r\n\r\n",
            Refused(400),
        ),
        (
            "no line end after the last chunk",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nGET / HTTP/1.1\r\n\r\n",
            Refused(400),
        ),
        (
            "a length as a trailer",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 50\r\n\r\n",
            Accepted(&[("POST", "/", ""), ("GET", "/smuggled", "")]),
        ),
        // Heads whose end is ambiguous.
        ("LF LF", "GET / HTTP/1.1\r\nHost: a\n\nGET /inside HTTP/1.1\r\n\r\n", Refused(400)),
        ("CR LF LF", "GET / HTTP/1.1\r\nHost: a\r\n\nGET /inside HTTP/1.1\r\n\r\n", Refused(400)),
        ("CR CR LF", "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", Refused(400)),
        ("a line of one space", "GET / HTTP/1.1\r\nHost: a\r\n \r\n\r\n", Refused(400)),
        ("a NUL in the request line", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("no version", "GET /\r\nHost: a\r\n\r\n", Refused(400)),
        ("a version with an extra zero", "GET / HTTP/1.01\r\nHost: a\r\n\r\n", Refused(400)),
        ("a version in lower case", "GET / http/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("a target with a space", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        ("a target with a line break", "GET /a\r\nX: y HTTP/1.1\r\nHost: a\r\n\r\n", Refused(400)),
        (
            "another host in the target",
            "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
            Accepted(&[("GET", "http://b/", ""), ("GET", "/smuggled", "")]),
        ),
        (
            "a request after Connection: close",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            Accepted(&[("GET", "/", "")]),
        ),
    ] {
        let mut connection = server.connect();
        connection.write(message.to_owned() + MARKER);
        match expected {
            Refused(status) => {
                assert_eq!(read_rejection(&mut connection), status, "{trick}");
                assert_eq!(server.seen(), [], "{trick}");
            }
            Accepted(requests) => {
                for (method, ..) in requests {
                    let response = match *method {
                        "HEAD" => connection.read_response_to_head(),
                        _ => connection.read_response(),
                    };
                    assert_eq!(response.status, 200, "{trick}");
                }
                let requests: Vec<ReceivedRequest> = requests
                    .iter()
                    .map(|(method, target, body)| ReceivedRequest::of(method, target, body))
                    .collect();
                assert_eq!(server.seen(), requests, "{trick}");
            }
        }
    }
    server.assert_still_serves();
}
