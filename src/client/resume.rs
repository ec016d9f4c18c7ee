//! A body that goes on from another peer when the one that sent it breaks off.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use http::header::{
    CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use log::debug;

use super::asked::{Asked, Repeatable};
use super::health::Sign;
use super::sending::{Answer, AnsweredBy, Inner, Last};
use crate::body::Body;
use crate::error::{Error, redacted};
use crate::header::date;
use crate::header::entity_tag::EntityTag;
use crate::header::range::ContentRange;
use crate::peer_url::PeerUrl;
use crate::target::Target;

/// How often somebody may be asked for the rest of one body.
const MOST_RESUMES: u32 = 3;

/// A date of modification names exact bytes when the response is so much younger (RFC 9110 section 8.8.2.2):
/// the clocks that gave the two may differ.
const STRONG_AFTER: Duration = Duration::from_secs(60);

/// The response, whose body knows where it came from and goes on elsewhere where it may.
pub(super) fn watched(inner: &Arc<Inner>, asked: &Arc<Asked>, answer: Answer) -> Response<Body> {
    let Answer { response, from: Some(from) } = answer else { return answer.response };
    // What is in memory cannot break off.
    if response.body().as_bytes().is_some() {
        return response;
    }
    let (parts, body) = response.into_parts();
    let (length, end_is_proven) = (body.length(), body.end_is_proven());
    let way = Way::of(asked, parts.status, &parts.headers, &body).map(|way| Resume {
        inner: Arc::clone(inner),
        asked: Arc::clone(asked),
        way,
        left: MOST_RESUMES,
        failed: Vec::new(),
    });
    let watched = Watched { body, from: Some(from), target: asked.target.clone(), offset: 0, resume: way };
    let body = if end_is_proven { Body::from_reader(watched, length) } else { Body::until_close(watched) };
    Response::from_parts(parts, body)
}

/// A body from a peer.
struct Watched {
    body: Body,
    /// Gone at its end: the peer has nothing more to do.
    from: Option<AnsweredBy>,
    target: Target,
    offset: u64,
    resume: Option<Resume>,
}

struct Resume {
    inner: Arc<Inner>,
    asked: Arc<Asked>,
    way: Way,
    left: u32,
    /// Those who broke off, or have another body.
    failed: Vec<PeerUrl>,
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let error = match self.body.read(buffer) {
                Ok(count) => {
                    self.offset += count as u64;
                    if count == 0 && !buffer.is_empty() {
                        self.from = None;
                    }
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                Err(error) => error,
            };
            let mut error = Error::from(error).with_url(&self.target);
            if let Some(from) = &self.from {
                error = error.with_peer(&from.peer.url);
            }
            let goes_on = self.resume.as_mut().is_some_and(|resume| {
                let next = resume.go_on(self.offset, self.from.as_ref(), &error);
                next.map(|(body, from)| (self.body, self.from) = (body, from)).is_some()
            });
            if !goes_on {
                self.resume = None;
                return Err(error.into());
            }
        }
    }
}

impl Resume {
    /// The rest of the body from this offset on, from somebody else.
    fn go_on(
        &mut self,
        offset: u64,
        from: Option<&AnsweredBy>,
        error: &Error,
    ) -> Option<(Body, Option<AnsweredBy>)> {
        let inner = &self.inner;
        if let Some(from) = from {
            // The origin may have broken off behind it.
            inner.peers.told(&from.peer, Sign::Suspicious, from.ticket, error);
            self.failed.push(from.peer.url.clone());
        }
        let mut parts = self.asked.parts.clone();
        self.way.ask_for_the_rest(offset, &mut parts.headers);
        while let Some(left) = self.left.checked_sub(1) {
            self.left = left;
            let asked = Arc::new(Asked {
                target: self.asked.target.clone(),
                parts: parts.clone(),
                body: Repeatable::Bytes(bytes::Bytes::new()),
                but_not: self.failed.clone(),
            });
            let Answer { response, from } = inner.send(&asked, &inner.path, &Last::Chosen).ok()?;
            let (head, body) = response.into_parts();
            if self.way.is_continued_by(offset, head.status, &head.headers) {
                inner.counters.resumed_bodies.count();
                let url = redacted(asked.target.as_str());
                debug!("{url} goes on at byte {offset} after: {error}");
                return Some((body, from));
            }
            // It has another body, or does not know of ranges: the next one may.
            self.failed.push(from?.peer.url.clone());
        }
        None
    }
}

/// By what the rest of a response is known.
#[derive(Debug)]
struct Way {
    field: HeaderName,
    validator: HeaderValue,
    length: Option<u64>,
}

impl Way {
    /// `None` where its bytes cannot be told from those of another.
    fn of(asked: &Asked, status: StatusCode, headers: &HeaderMap, body: &Body) -> Option<Self> {
        let is_whole = asked.parts.method == Method::GET
            && asked.body.is_empty()
            && status == StatusCode::OK
            && !asked.parts.headers.contains_key(RANGE)
            && body.end_is_proven();
        if !is_whole {
            return None;
        }
        let (field, validator) = strong_validator(headers)?;
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Some(Self { field, validator, length: body.length().or(length) })
    }

    fn ask_for_the_rest(&self, offset: u64, headers: &mut HeaderMap) {
        // What made the whole the answer is behind us.
        for name in [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE] {
            headers.remove(name);
        }
        let range = HeaderValue::try_from(format!("bytes={offset}-"));
        headers.insert(RANGE, range.expect("a number is good in a field"));
        headers.insert(IF_RANGE, self.validator.clone());
    }

    /// Whether this is the rest of the same bytes, and all of it.
    fn is_continued_by(&self, offset: u64, status: StatusCode, headers: &HeaderMap) -> bool {
        let range = headers.get(CONTENT_RANGE).and_then(|range| ContentRange::parse(range.as_bytes()));
        let Some(ContentRange { start, end, complete: Some(complete) }) = range else { return false };
        status == StatusCode::PARTIAL_CONTENT
            && headers.get(&self.field) == Some(&self.validator)
            && start == offset
            && end == complete
            && self.length.is_none_or(|length| length == complete)
    }
}

/// The field that names these exact bytes.
fn strong_validator(headers: &HeaderMap) -> Option<(HeaderName, HeaderValue)> {
    if let Some(tag) = headers.get(ETAG) {
        // An unquoted one would be no good in If-Range.
        let is_strong = tag.as_bytes().starts_with(b"\"")
            && EntityTag::parse(tag.as_bytes()).is_some_and(EntityTag::is_strong);
        return is_strong.then(|| (ETAG, tag.clone()));
    }
    let modified = date::of(headers, &LAST_MODIFIED)?;
    let answered = date::of(headers, &DATE)?;
    let is_strong = answered.duration_since(modified).is_ok_and(|between| between >= STRONG_AFTER);
    is_strong.then(|| headers.get(LAST_MODIFIED).cloned().map(|value| (LAST_MODIFIED, value)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&str, &str)| (name.parse().unwrap(), value.parse().unwrap());
        fields.iter().map(field).collect::<HeaderMap>()
    }

    #[test]
    fn strong_validators() {
        const NOON: &str = "Sun, 06 Nov 1994 12:00:00 GMT";
        for (fields, expected) in [
            (&[("etag", "\"a\"")][..], Some(ETAG)),
            (&[("etag", "W/\"a\"")], None),
            (&[("etag", "a")], None),
            (
                &[("etag", "W/\"a\""), ("last-modified", "Sun, 06 Nov 1994 11:00:00 GMT"), ("date", NOON)],
                None,
            ),
            (&[("last-modified", "Sun, 06 Nov 1994 11:59:00 GMT"), ("date", NOON)], Some(LAST_MODIFIED)),
            (&[("last-modified", "Sun, 06 Nov 1994 11:59:01 GMT"), ("date", NOON)], None),
            (&[("last-modified", "Sun, 06 Nov 1994 12:59:01 GMT"), ("date", NOON)], None),
            (&[("last-modified", "Sun, 06 Nov 1994 11:00:00 GMT")], None),
            (&[], None),
        ] {
            let found = strong_validator(&headers(fields)).map(|(field, _)| field);
            assert_eq!(found, expected, "{fields:?}");
        }
    }

    #[test]
    fn the_rest_of_the_same_bytes_and_nothing_else() {
        let way = Way { field: ETAG, validator: HeaderValue::from_static("\"a\""), length: Some(10) };
        for (status, tag, range, expected) in [
            (206, "\"a\"", "bytes 4-9/10", true),
            (200, "\"a\"", "bytes 4-9/10", false),
            (206, "\"b\"", "bytes 4-9/10", false),
            (206, "W/\"a\"", "bytes 4-9/10", false),
            (206, "\"a\"", "bytes 3-9/10", false),
            (206, "\"a\"", "bytes 4-8/10", false),
            (206, "\"a\"", "bytes 4-10/11", false),
            (206, "\"a\"", "bytes 4-9/*", false),
            (206, "\"a\"", "4-9", false),
        ] {
            let headers = headers(&[("etag", tag), ("content-range", range)]);
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(way.is_continued_by(4, status, &headers), expected, "{status} {tag} {range}");
        }
    }

    #[test]
    fn the_rest_is_asked_for_without_the_first_conditions() {
        let way = Way { field: ETAG, validator: HeaderValue::from_static("\"a\""), length: None };
        let mut fields = headers(&[("if-none-match", "\"b\""), ("accept", "x/y")]);
        way.ask_for_the_rest(7, &mut fields);
        assert_eq!(fields, headers(&[("accept", "x/y"), ("range", "bytes=7-"), ("if-range", "\"a\"")]));
    }
}
