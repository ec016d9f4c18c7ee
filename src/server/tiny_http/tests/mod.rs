//! Tests of the tiny_http server over real sockets, byte by byte.

mod requests;
mod responses;
mod running;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use http::{Method, Request, Response};

use super::TinyHttpServer;
use crate::message::body::Body;
use crate::server::{Handler, ServerConfig, ServerHandle};

fn serve(handler: impl Handler + 'static) -> ServerHandle {
    serve_with(ServerConfig::new(), handler)
}

fn serve_with(options: ServerConfig, handler: impl Handler + 'static) -> ServerHandle {
    TinyHttpServer::bind("127.0.0.1:0", options, handler).unwrap()
}

/// Responds with method, target and body of the request.
fn echo(request: Request<Body>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let text = format!("{} {} {}", parts.method, parts.uri, body.into_text().unwrap());
    Response::new(text.into())
}

struct Client {
    stream: BufReader<TcpStream>,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Client {
    fn of(serving: &ServerHandle) -> Self {
        Self::connect(serving.local_addr())
    }

    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        // The timeout makes a hanging test fail.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.get_mut().write_all(bytes.as_ref()).unwrap();
        self
    }

    fn get(&mut self, target: &str) -> Answer {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n")).answer(&Method::GET)
    }

    fn answer(&mut self, method: &Method) -> Answer {
        self.try_answer(method).unwrap()
    }

    fn head(&mut self) -> io::Result<String> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(head)
    }

    fn try_answer(&mut self, method: &Method) -> io::Result<Answer> {
        let head = self.head()?;
        let status = head[9..12].parse().unwrap();
        let mut answer = Answer { status, head, body: Vec::new() };
        if *method == Method::HEAD || [204, 205, 304].contains(&status) {
            return Ok(answer);
        }
        if answer.field("transfer-encoding") == Some("chunked") {
            self.chunks(&mut answer.body)?;
        } else if let Some(length) = answer.field("content-length") {
            answer.body.resize(length.parse().unwrap(), 0);
            self.stream.read_exact(&mut answer.body)?;
        } else {
            self.stream.read_to_end(&mut answer.body)?;
        }
        Ok(answer)
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let size = usize::from_str_radix(line.trim_end(), 16).map_err(|_| {
                io::Error::new(io::ErrorKind::InvalidData, format!("no chunk size: {line:?}"))
            })?;
            let start = body.len();
            body.resize(start + size, 0);
            self.stream.read_exact(&mut body[start..])?;
            self.stream.read_line(&mut line)?;
            assert!(line.ends_with("\r\n"));
            if size == 0 {
                return Ok(());
            }
        }
    }

    /// Returns whether the connection has ended cleanly, with no bytes left.
    fn is_at_end(&mut self) -> bool {
        self.stream.read(&mut [0]).is_ok_and(|count| count == 0)
    }
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}
