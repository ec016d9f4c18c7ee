//! One connection: requests in, replies out.

use std::io;

use http::{Method, StatusCode};

use super::reply::{Content, Ending, Message, ReplyFraming};
use super::server::Shared;
use super::stream::reset_on_close;
use super::{Gate, Piece, Received, Reply, Stream};
use crate::support::wire::{self, Malformed, Reader};

/// The state of the connection after a reply.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Next,
    Finish,
    Cut,
    Reset,
}

/// Answers the requests on this connection until it ends.
pub(super) fn serve(shared: &Shared, stream: Box<dyn Stream>, connection: usize) {
    let mut reader = Reader::new(stream);
    loop {
        match exchange(shared, &mut reader, connection) {
            Ok(After::Next) => {}
            // The client may have disconnected, so a failure is ignored.
            Ok(After::Finish) => return drop(reader.stream_mut().finish()),
            Ok(After::Cut) => return,
            Ok(After::Reset) => {
                reset_on_close(reader.stream().socket()).expect("SO_LINGER can be set on a socket");
                return;
            }
            Err(error) => {
                if let Some(malformed) = Malformed::within(&error) {
                    shared.record_error(format!("it received a malformed request: {malformed}"));
                    let _ = answer(&mut **reader.stream_mut(), &Method::GET, true, &Reply::status(400));
                }
                return;
            }
        }
    }
}

fn exchange(shared: &Shared, reader: &mut Reader<Box<dyn Stream>>, connection: usize) -> io::Result<After> {
    let Some(bytes) = reader.head()? else { return Ok(After::Finish) };
    let head = wire::request_head(&bytes)?;
    let framing = wire::request_framing(&head.headers)?;
    if wire::has_token(&head.headers, "expect", "100-continue") {
        send(&mut **reader.stream_mut(), b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let mut body = Vec::new();
    reader.body(framing, &mut body)?;

    let client_closes = wire::has_token(&head.headers, "connection", "close")
        || (head.minor == 0 && !wire::has_token(&head.headers, "connection", "keep-alive"));
    let received =
        Received { method: head.method, target: head.target, headers: head.headers, body, connection };
    let reply = shared.reply_to(&received);
    answer(&mut **reader.stream_mut(), &received.method, client_closes, &reply)
}

fn answer(stream: &mut dyn Stream, method: &Method, client_closes: bool, reply: &Reply) -> io::Result<After> {
    reply.head_gate.iter().for_each(Gate::wait);
    match &reply.content {
        Content::Nothing => Ok(After::Cut),
        Content::Reset => Ok(After::Reset),
        Content::Never => {
            io::copy(stream, &mut io::sink())?;
            Ok(After::Cut)
        }
        Content::Raw(pieces) => {
            for piece in pieces {
                match piece {
                    Piece::Bytes(bytes) => send(stream, bytes)?,
                    Piece::Wait(gate) => gate.wait(),
                }
            }
            Ok(if reply.ending == Some(Ending::KeepAlive) { After::Next } else { After::Finish })
        }
        Content::Message(message) => {
            answer_with(stream, method, client_closes, message, &reply.body_gates, reply.ending)
        }
    }
}

fn answer_with(
    stream: &mut dyn Stream,
    method: &Method,
    client_closes: bool,
    message: &Message,
    gates: &[(usize, Gate)],
    ending: Option<Ending>,
) -> io::Result<After> {
    let bodiless = wire::has_no_body(message.status, method == Method::HEAD);
    let length = message.body.len();
    let ending = ending.unwrap_or(match message.framing {
        ReplyFraming::UntilClose => Ending::Close,
        ReplyFraming::Announcing(announced) if !bodiless && announced > length as u64 => {
            Ending::CutAfter(length)
        }
        _ if client_closes => Ending::Close,
        _ => Ending::KeepAlive,
    });
    send(stream, &head(message, method, ending))?;
    if !bodiless {
        send_body(stream, message, gates, ending)?;
    }
    Ok(match ending {
        Ending::KeepAlive => After::Next,
        Ending::Close | Ending::CloseSilently => After::Finish,
        Ending::CutAfter(_) => After::Cut,
        Ending::ResetAfter(_) => After::Reset,
    })
}

fn head(message: &Message, method: &Method, ending: Ending) -> Vec<u8> {
    let status = message.status;
    let known = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let mut head = format!("HTTP/1.1 {status} {}\r\n", known.unwrap_or("")).into_bytes();
    for (name, value) in &message.fields {
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(value);
        head.extend_from_slice(b"\r\n");
    }
    // A response to HEAD has the length that a GET would have. A 204 or 304 has a length only if the test sets one.
    let has_framing = method == Method::HEAD || !wire::has_no_body(status, false);
    let framing = match message.framing {
        ReplyFraming::Announcing(length) => format!("Content-Length: {length}\r\n"),
        ReplyFraming::Length if has_framing => format!("Content-Length: {}\r\n", message.body.len()),
        ReplyFraming::Chunked if has_framing => "Transfer-Encoding: chunked\r\n".to_owned(),
        _ => String::new(),
    };
    head.extend_from_slice(framing.as_bytes());
    if message.framing == ReplyFraming::UntilClose || ending == Ending::Close {
        head.extend_from_slice(b"Connection: close\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

fn send_body(
    stream: &mut dyn Stream,
    message: &Message,
    gates: &[(usize, Gate)],
    ending: Ending,
) -> io::Result<()> {
    let body = &message.body;
    let chunked = message.framing == ReplyFraming::Chunked;
    let (end, ended_early) = match ending {
        Ending::CutAfter(length) | Ending::ResetAfter(length) => (length.min(body.len()), true),
        _ => (body.len(), false),
    };
    let mut stops: Vec<(usize, Option<&Gate>)> =
        gates.iter().map(|(after, gate)| ((*after).min(body.len()), Some(gate))).collect();
    if chunked {
        stops.push((body.len() / 2, None));
    }
    stops.retain(|(after, _)| *after <= end);
    stops.sort_by_key(|(after, _)| *after);
    stops.push((end, None));

    let mut sent = 0;
    for (after, gate) in stops {
        send_part(stream, &body[sent..after], chunked)?;
        sent = after;
        gate.into_iter().for_each(Gate::wait);
    }
    if chunked && !ended_early { send(stream, b"0\r\n\r\n") } else { Ok(()) }
}

fn send_part(stream: &mut dyn Stream, part: &[u8], chunked: bool) -> io::Result<()> {
    if part.is_empty() {
        return Ok(());
    }
    if !chunked {
        return send(stream, part);
    }
    let mut chunk = format!("{:x}\r\n", part.len()).into_bytes();
    chunk.extend_from_slice(part);
    chunk.extend_from_slice(b"\r\n");
    send(stream, &chunk)
}

fn send(stream: &mut dyn Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)?;
    stream.flush()
}
