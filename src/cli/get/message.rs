//! The request that is sent for each URL.

use std::fs::File;
use std::io::{self, Read};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use forwardcache::origin::CanonicalUrl;
use forwardcache::{Body, CacheMode, Deadline};
use http::header::{AUTHORIZATION, CONTENT_TYPE, IF_RANGE, RANGE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};

use super::super::arguments::{Get, Message};
use super::super::failure::Failure;
use super::super::fields;

/// The largest content of a request, in bytes. It is kept in memory, so that a request can be repeated.
const MAX_CONTENT: u64 = 256 << 20;

/// A request without its URL.
pub(super) struct Template {
    pub(super) method: Method,
    headers: HeaderMap,
    content: Bytes,
}

impl Template {
    /// Returns the request that the command line specifies.
    pub(super) fn of(arguments: &Get) -> Result<Self, Failure> {
        let message = &arguments.message;
        let content = content(message)?;
        let default = match &content {
            _ if message.head => Method::HEAD,
            Some(_) => Method::POST,
            None => Method::GET,
        };
        let given = fields::parse_all(&arguments.request.fields)?;
        if arguments.output.continue_at.is_some()
            && (given.contains_key(RANGE) || given.contains_key(IF_RANGE))
        {
            return Err(Failure::Usage("-C chooses the range: it cannot be used with -H Range".to_owned()));
        }
        let mut headers = HeaderMap::new();
        let mode = match message {
            Message { reload: true, .. } => CacheMode::Reload,
            Message { only_if_cached: true, .. } => CacheMode::OnlyIfCached,
            _ => CacheMode::Default,
        };
        mode.apply(&mut headers);
        // A field of -H takes the place of that of another flag.
        let mut add = |name: HeaderName, value: HeaderValue| {
            if !given.contains_key(&name) {
                headers.insert(name, value);
            }
        };
        if let Some(agent) = &message.user_agent {
            let value = HeaderValue::from_str(agent);
            add(USER_AGENT, value.map_err(|_| usage("-A: the text contains a control character"))?);
        }
        if let Some(user) = &message.user {
            add(AUTHORIZATION, credentials(&user.0).map_err(usage)?);
        }
        if content.is_some() {
            add(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        }
        for (name, value) in &given {
            headers.append(name, value.clone());
        }
        let method = message.method.clone().unwrap_or(default);
        Ok(Self { method, headers, content: content.unwrap_or_default() })
    }

    /// Returns the request for a URL.
    pub(super) fn request(&self, url: &CanonicalUrl, deadline: Option<Deadline>) -> Request<Body> {
        let body = if self.content.is_empty() { Body::empty() } else { Body::from(self.content.clone()) };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = url.uri();
        *request.headers_mut() = self.headers.clone();
        if let Some(deadline) = deadline {
            request.extensions_mut().insert(deadline);
        }
        request
    }

    /// Returns whether a response with status 200 has the complete body of its URL.
    pub(super) fn is_plain_get(&self) -> bool {
        self.method == Method::GET && self.content.is_empty() && !self.headers.contains_key(RANGE)
    }
}

fn usage(text: impl Into<String>) -> Failure {
    Failure::Usage(text.into())
}

/// Returns the value of `Authorization` (RFC 7617). An error never contains the credentials.
fn credentials(user: &str) -> Result<HeaderValue, &'static str> {
    if !user.contains(':') {
        return Err("-u requires USER:PASSWORD; nothing is read from the terminal");
    }
    if user.contains(char::is_control) {
        return Err("-u: the user name or the password contains a control character");
    }
    let encoded = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(user)));
    let mut value = encoded.map_err(|_| "-u: not valid in a header field")?;
    value.set_sensitive(true);
    Ok(value)
}

/// Returns the content that `-d` or `--data-binary` specifies.
fn content(message: &Message) -> Result<Option<Bytes>, Failure> {
    let (flag, parts, is_text) = match message {
        Message { data, .. } if !data.is_empty() => ("-d", data, true),
        Message { data_binary, .. } if !data_binary.is_empty() => ("--data-binary", data_binary, false),
        _ => return Ok(None),
    };
    let mut content = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        if number > 0 {
            content.push(b'&');
        }
        let Some(file) = part.strip_prefix('@') else {
            content.extend_from_slice(part.as_bytes());
            continue;
        };
        let from = content.len();
        read(file, &mut content).map_err(|error| usage(format!("cannot read {flag} {part}: {error}")))?;
        if is_text {
            let kept: Vec<u8> = content.drain(from..).filter(|byte| !b"\r\n\0".contains(byte)).collect();
            content.extend(kept);
        }
    }
    Ok(Some(content.into()))
}

fn read(file: &str, content: &mut Vec<u8>) -> io::Result<()> {
    let source: Box<dyn Read> = match file {
        "-" => Box::new(io::stdin()),
        _ => Box::new(File::open(file)?),
    };
    let count = source.take(MAX_CONTENT + 1).read_to_end(content)?;
    if count as u64 > MAX_CONTENT {
        return Err(io::Error::other(format!("it has more than {} MiB", MAX_CONTENT >> 20)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_encoded_and_never_shown() {
        let value = credentials("Aladdin:open sesame").unwrap();
        assert_eq!(value, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(!format!("{value:?}").contains("QWxh"));
        assert_eq!(credentials("user:").unwrap(), "Basic dXNlcjo=");
        for user in ["secret", "", "user:sec\nret"] {
            let error = credentials(user).unwrap_err();
            assert!(error.starts_with("-u") && !error.contains("sec"), "{error}");
        }
    }
}
