//! The text of a line of the access log. Pure: the time is an argument.

use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use http::Method;

use crate::base::redacted::redacted;
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
    /// The URL is logged without its userinfo and query, also if a program escaped the `?` (`%3F`). If the client did not
    /// receive the whole response, `aborted` follows.
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

/// Appends the line of a request. It is called for each request, so it formats by hand what every line has.
pub(super) fn write(
    format: AccessLogFormat,
    record: &AccessRecord<'_>,
    timestamp: &Timestamp,
    out: &mut Vec<u8>,
) {
    let method = record.method.map_or("-", Method::as_str);
    let outcome = record.outcome.map_or("-", Outcome::name);
    match format {
        AccessLogFormat::Text => {
            push_address(record.remote.ip(), out);
            push_all(out, &[" - - [", &timestamp.text, "] \"", method, " "]);
            push_url(record.target, out);
            out.extend_from_slice(b" HTTP\" ");
            push_number(record.status.into(), out);
            out.push(b' ');
            push_number(record.bytes, out);
            push_all(out, &[" \"-\" \"-\" ", outcome, " "]);
            push_seconds(record.duration, out);
            push_all(out, &[if record.is_complete { "\n" } else { " aborted\n" }]);
        }
        AccessLogFormat::Json => {
            push_all(out, &["{\"time\":\"", &timestamp.json, "\",\"client\":\""]);
            push_address(record.remote.ip(), out);
            push_all(out, &["\",\"method\":\"", method, "\",\"url\":\""]);
            push_url(record.target, out);
            out.extend_from_slice(b"\",\"status\":");
            push_number(record.status.into(), out);
            out.extend_from_slice(b",\"bytes\":");
            push_number(record.bytes, out);
            push_all(out, &[",\"outcome\":\"", outcome, "\",\"seconds\":"]);
            push_seconds(record.duration, out);
            push_all(out, &[",\"complete\":", if record.is_complete { "true}\n" } else { "false}\n" }]);
        }
    }
}

fn push_all(out: &mut Vec<u8>, texts: &[&str]) {
    texts.iter().for_each(|text| out.extend_from_slice(text.as_bytes()));
}

fn push_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

fn push_address(address: IpAddr, out: &mut Vec<u8>) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            for (index, octet) in address.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                push_number(octet.into(), out);
            }
        }
        // Writing to a Vec cannot fail.
        IpAddr::V6(address) => _ = write!(out, "{address}"),
    }
}

/// Appends seconds with six decimal places.
fn push_seconds(duration: Duration, out: &mut Vec<u8>) {
    push_number(duration.as_secs(), out);
    out.push(b'.');
    let mut micros = itoa::Buffer::new();
    let micros = micros.format(duration.subsec_micros());
    push_all(out, &[&"000000"[micros.len()..], micros]);
}

/// Appends what is logged of a request target: the requested URL or the path, without userinfo and query. It contains
/// only visible ASCII without quotes and backslashes, so it needs no quoting in any format.
fn push_url(target: &str, out: &mut Vec<u8>) {
    let start = out.len();
    let value = target
        .split_once('?')
        .and_then(|(_, query)| query.strip_prefix(protocol::QUERY).and_then(|rest| rest.strip_prefix('=')));
    if value.is_none_or(|value| unescape(value, out).is_err()) {
        out.truncate(start);
        out.extend_from_slice(target.as_bytes());
    }
    let url = &out[start..];
    // Most URLs need no change but the cut: userinfo ends with `@` or its escape.
    let end = url.iter().position(|byte| !is_unchanged(*byte)).unwrap_or(url.len());
    let (plain, rest) = url.split_at(end);
    if !plain.is_empty() && matches!(rest, [] | [b'?' | b'#', ..]) {
        out.truncate(start + end);
        return;
    }
    let url = out.split_off(start);
    let shown = redacted(std::str::from_utf8(&url).unwrap_or(target));
    if shown.is_empty() {
        out.push(b'-');
    }
    for byte in shown.bytes() {
        if is_visible(byte) {
            out.push(byte);
        } else {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Returns what is logged of a request target.
pub(in crate::peer) fn logged_url(target: &str) -> String {
    let mut url = Vec::new();
    push_url(target, &mut url);
    // It is ASCII.
    String::from_utf8(url).unwrap_or_default()
}

fn is_visible(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'
}

/// Returns whether a byte is logged as it is wherever it stands.
fn is_unchanged(byte: u8) -> bool {
    is_visible(byte) && !matches!(byte, b'?' | b'#' | b'@' | b'%')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: AccessLogFormat, record: &AccessRecord<'_>) -> String {
        let (mut timestamp, mut out) = (Timestamp::default(), Vec::new());
        timestamp.update(SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_930_709));
        write(format, record, &timestamp, &mut out);
        String::from_utf8(out).unwrap()
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

    #[test]
    fn addresses_and_durations_are_written_as_std_writes_them() {
        for (address, micros) in
            [("10.0.0.9", 0), ("255.1.20.0", 7), ("2001:db8::1", 1_000_000), ("::ffff:1.2.3.4", 61_000_200)]
        {
            let (address, mut out): (IpAddr, _) = (address.parse().unwrap(), Vec::new());
            push_address(address, &mut out);
            out.push(b' ');
            push_seconds(Duration::from_micros(micros), &mut out);
            let expected =
                format!("{} {}.{:06}", address.to_canonical(), micros / 1_000_000, micros % 1_000_000);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
