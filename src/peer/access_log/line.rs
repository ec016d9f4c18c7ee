//! The text of a line of the access log. Pure: the time is an argument.

use std::fmt::Write as _;
use std::time::SystemTime;

use http::Method;

use crate::base::redacted::{redacted, without_query};
use crate::message::stats::Outcome;
use crate::message::url::unescape;
use crate::pool::protocol;
use crate::server::AccessRecord;

/// The format of the lines of an access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AccessLogFormat {
    /// The combined format of Apache and nginx, without referrer and user agent, followed by the outcome and the
    /// duration in seconds:
    ///
    /// ```text
    /// 10.0.0.9 - - [29/Nov/2026:05:38:29 +0000] "GET https://example.com/a HTTP" 200 1234 "-" "-" hit 0.000041
    /// ```
    ///
    /// The URL is logged without its userinfo and query, also if a program escaped the `?` (`%3F`). If the client did not receive the whole response, `aborted` follows.
    #[default]
    Text,
    /// One JSON object in each line, with the members `time`, `client`, `method`, `url`, `status`, `bytes`, `outcome`,
    /// `seconds` and `complete`.
    Json,
}

/// The start of a second, as the formats write it.
#[derive(Debug, Default)]
pub(super) struct Timestamp {
    second: Option<u64>,
    text: String,
    json: String,
}

impl Timestamp {
    /// Formats the time, unless it is still the same second.
    pub(super) fn update(&mut self, now: SystemTime) {
        let second = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if self.second.replace(second) == Some(second) {
            return;
        }
        // `Sun, 29 Nov 2026 05:38:29 GMT`
        let date = httpdate::fmt_http_date(now);
        let (day, name, year, time) = (&date[5..7], &date[8..11], &date[12..16], &date[17..25]);
        self.text = format!("{day}/{name}/{year}:{time} +0000");
        let names = "JanFebMarAprMayJunJulAugSepOctNovDec";
        let month = names.find(name).map_or(0, |at| at / 3 + 1);
        self.json = format!("{year}-{month:02}-{day}T{time}Z");
    }
}

/// Returns a time as `2026-11-29T05:38:29Z`.
pub(in crate::peer) fn rfc_3339(time: SystemTime) -> String {
    let mut timestamp = Timestamp::default();
    timestamp.update(time);
    timestamp.json
}

/// Appends the line of a request. `scratch` is a buffer for the URL.
pub(super) fn write(
    format: AccessLogFormat,
    record: &AccessRecord<'_>,
    timestamp: &Timestamp,
    scratch: &mut Vec<u8>,
    out: &mut String,
) {
    let client = record.remote.ip().to_canonical();
    let method = record.method.map_or("-", Method::as_str);
    let outcome = record.outcome.map_or("-", Outcome::name);
    let (status, bytes) = (record.status, record.bytes);
    // Much faster than to format a floating-point number.
    let (seconds, micros) = (record.duration.as_secs(), record.duration.subsec_micros());
    // Writing to a String cannot fail.
    match format {
        AccessLogFormat::Text => {
            let aborted = if record.is_complete { "" } else { " aborted" };
            let _ = write!(out, "{client} - - [{}] \"{method} ", timestamp.text);
            push_url(record.target, scratch, out);
            let _ = writeln!(
                out,
                " HTTP\" {status} {bytes} \"-\" \"-\" {outcome} {seconds}.{micros:06}{aborted}"
            );
        }
        AccessLogFormat::Json => {
            let (time, complete) = (&timestamp.json, record.is_complete);
            let _ = write!(
                out,
                "{{\"time\":\"{time}\",\"client\":\"{client}\",\"method\":\"{method}\",\"url\":\""
            );
            push_url(record.target, scratch, out);
            let _ = writeln!(
                out,
                "\",\"status\":{status},\"bytes\":{bytes},\"outcome\":\"{outcome}\",\"seconds\":{seconds}.{micros:06},\
                 \"complete\":{complete}}}"
            );
        }
    }
}

/// Appends what is logged of a request target: the requested URL or the path, without userinfo and query. It contains
/// only visible ASCII without quotes and backslashes, so it needs no quoting in any format.
fn push_url(target: &str, scratch: &mut Vec<u8>, out: &mut String) {
    let value = target
        .split_once('?')
        .and_then(|(_, query)| query.strip_prefix(protocol::QUERY).and_then(|rest| rest.strip_prefix('=')));
    scratch.clear();
    let is_url = value.is_some_and(|value| unescape(value, scratch).is_ok());
    let url = if is_url { std::str::from_utf8(scratch).unwrap_or(target) } else { target };
    let url = without_query(url);
    // Most URLs have no userinfo, which ends with `@` or its escape.
    let shown = if url.contains('@') || url.contains("%40") { &*redacted(url) } else { url };
    if shown.is_empty() {
        out.push('-');
    } else if shown.bytes().all(is_plain) {
        out.push_str(shown);
    } else {
        for byte in shown.bytes() {
            if is_plain(byte) {
                out.push(byte.into());
            } else {
                // Writing to a String cannot fail.
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
}

/// Returns what is logged of a request target.
pub(in crate::peer) fn logged_url(target: &str) -> String {
    let mut url = String::new();
    push_url(target, &mut Vec::new(), &mut url);
    url
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn line(format: AccessLogFormat, record: &AccessRecord<'_>) -> String {
        let (mut timestamp, mut out) = (Timestamp::default(), String::new());
        timestamp.update(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_930_709));
        write(format, record, &timestamp, &mut Vec::new(), &mut out);
        out
    }

    fn record(target: &str) -> AccessRecord<'_> {
        AccessRecord {
            remote: "[::ffff:10.0.0.9]:4000".parse().unwrap(),
            method: Some(&Method::GET),
            target,
            status: 200,
            bytes: 1234,
            is_complete: true,
            outcome: Some(Outcome::Hit),
            duration: Duration::from_micros(41),
        }
    }

    #[test]
    fn text_is_the_combined_format_with_outcome_and_duration() {
        let target = "/proxy?q=https%3A%2F%2Fuser%3Apw%40example.com%2Fa%3Fkey%3Dsecret";
        assert_eq!(
            line(AccessLogFormat::Text, &record(target)),
            "10.0.0.9 - - [29/Nov/2026:05:38:29 +0000] \"GET https://example.com/a HTTP\" 200 1234 \"-\" \"-\" hit 0.000041\n"
        );
    }

    #[test]
    fn json_has_one_object_in_each_line() {
        let mut aborted = record("/healthz");
        (aborted.is_complete, aborted.outcome, aborted.method) = (false, None, None);
        let expected = "{\"time\":\"2026-11-29T05:38:29Z\",\"client\":\"10.0.0.9\",\"method\":\"-\",\"url\":\"/healthz\",\
             \"status\":200,\"bytes\":1234,\"outcome\":\"-\",\"seconds\":0.000041,\"complete\":false}\n";
        assert_eq!(line(AccessLogFormat::Json, &aborted), expected);
    }

    #[test]
    fn url_is_logged_without_credentials_and_without_characters_that_end_a_field() {
        for (target, expected) in [
            ("/proxy?q=https%3A%2F%2Fa.example%2F%22%0A%5Cx", "https://a.example/%22%0A%5Cx"),
            ("/proxy?q=https%3A%2F%2Fa.example%2F%C3%A9", "https://a.example/%C3%A9"),
            ("/proxy?q=%zz", "/proxy"),
            ("/fetch/https://u:p@a.example/x?token=1", "/fetch/https://a.example/x"),
            ("http://u:p@a.example/x?token=1#f", "http://a.example/x"),
            ("/fetch/https%3A//u%3Ap@a.example/x", "/fetch/https%3A//a.example/x"),
            ("http://peer/fetch/http://u:p@a.example/x", "http://peer/fetch/http://a.example/x"),
            ("/fetch/https%3A//u%3Ap%40a.example/x", "/fetch/https%3A//a.example/x"),
            // A program escaped more than the origin understands: the server requests the query as a part of the path.
            ("/fetch/https%3A//a.example/x%3Ftoken=1", "/fetch/https%3A//a.example/x"),
            ("/fetch/https%3A%2F%2Fu%3Ap%40a.example%2Fx%3ftoken%3D1", "/fetch/a.example%2Fx"),
            ("/fetch/https://a.example/x%253Ftoken=1", "/fetch/https://a.example/x"),
            ("/proxy?q=https%3A%2F%2Fa.example%2Fx%253Ftoken%253D1", "https://a.example/x"),
            ("/mirror/a/x%3Ftoken=1", "/mirror/a/x"),
            ("http://a.example/x%2", "http://a.example/x%2"),
            ("http://a.example/x%25%C3%A9", "http://a.example/x%25%C3%A9"),
            ("", "-"),
        ] {
            assert_eq!(logged_url(target), expected, "{target}");
        }
    }
}
