//! [`ResponseExt`]: reads the body of a response, and where it comes from.

use std::time::SystemTime;

use bytes::Bytes;
use http::Response;

use super::body::Body;
use super::header::retry_after;
use super::response_info::ResponseInfo;
use crate::base::error::{Error, ErrorKind, Result};

/// The largest body that [`ResponseExt::bytes`] and [`ResponseExt::text`] read.
const DEFAULT_LIMIT: u64 = 10 << 20;

/// Methods of responses.
///
/// ```no_run
/// use forwardcache::{Client, ResponseExt};
///
/// let client = Client::builder().pool(["http://10.0.0.1:3000"]).build()?;
/// let response = client.get("https://example.com/").send()?.error_for_status()?;
/// println!("from {:?}: {:?}", response.info().peer(), response.info().outcome());
/// println!("{}", response.text()?);
/// # Ok::<(), forwardcache::Error>(())
/// ```
///
/// To read a body of any size, read [`Body`] as a [`Read`](std::io::Read), or call
/// [`Body::into_bytes`](crate::Body::into_bytes).
pub trait ResponseExt: Sized {
    /// Reads the body if it has at most 10 MiB.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BodyTooLarge`] if the body exceeds the limit, [`ErrorKind::IncompleteBody`] if the transfer was
    /// cut short, [`ErrorKind::Timeout`] if it stalled.
    fn bytes(self) -> Result<Bytes> {
        self.bytes_limited(DEFAULT_LIMIT)
    }

    /// Reads the body if it has at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// Same as [`bytes`](Self::bytes).
    fn bytes_limited(self, limit: u64) -> Result<Bytes>;

    /// Reads the body as UTF-8 text if it has at most 10 MiB.
    ///
    /// # Errors
    ///
    /// Same as [`bytes`](Self::bytes), and [`ErrorKind::BadResponse`] if the body is not UTF-8.
    fn text(self) -> Result<String> {
        self.text_limited(DEFAULT_LIMIT)
    }

    /// Reads the body as UTF-8 text if it has at most `limit` bytes.
    ///
    /// # Errors
    ///
    /// Same as [`text`](Self::text).
    fn text_limited(self, limit: u64) -> Result<String>;

    /// Reads the body as JSON if it has at most 10 MiB. For larger bodies, pass [`Body`] to a JSON parser that reads
    /// streams.
    ///
    /// # Errors
    ///
    /// Same as [`bytes`](Self::bytes), and [`ErrorKind::BadResponse`] if the body is not JSON of this type.
    #[cfg(feature = "json")]
    fn json<T: serde::de::DeserializeOwned>(self) -> Result<T>;

    /// Returns the error of a response whose status is 4xx or 5xx: [`ErrorKind::Status`], with its [`Error::status`] and the
    /// time of its `Retry-After` ([`Error::retry_after`]).
    fn status_error(&self) -> Option<Error>;

    /// Returns the response unless its status is 4xx or 5xx.
    ///
    /// # Errors
    ///
    /// The [`status_error`](Self::status_error) of the response.
    fn error_for_status(self) -> Result<Self> {
        match self.status_error() {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }

    /// Returns where the response comes from: the outcome at the cache, the peer, the number of attempts.
    fn info(&self) -> ResponseInfo;
}

impl ResponseExt for Response<Body> {
    fn bytes_limited(self, limit: u64) -> Result<Bytes> {
        let info = ResponseInfo::of(&self);
        self.into_body().into_bytes_limited(limit).map_err(|error| about(error, &info))
    }

    fn text_limited(self, limit: u64) -> Result<String> {
        let info = ResponseInfo::of(&self);
        self.into_body().into_text_limited(limit).map_err(|error| about(error, &info))
    }

    #[cfg(feature = "json")]
    fn json<T: serde::de::DeserializeOwned>(self) -> Result<T> {
        let info = ResponseInfo::of(&self);
        serde_json::from_slice(&self.bytes()?).map_err(|error| {
            let error =
                Error::new(ErrorKind::BadResponse, "the body is not the expected JSON").with_source(error);
            about(error, &info)
        })
    }

    fn status_error(&self) -> Option<Error> {
        let status = self.status();
        if !status.is_client_error() && !status.is_server_error() {
            return None;
        }
        let text = format!("the response has status {}", status.as_u16());
        let error = about(Error::new(ErrorKind::Status, text).with_status(status), &self.info());
        Some(match retry_after::of(self.headers(), SystemTime::now()) {
            Some(time) => error.with_retry_after(time),
            None => error,
        })
    }

    fn info(&self) -> ResponseInfo {
        ResponseInfo::of(self)
    }
}

/// Adds the URL of the request to an error that has none.
fn about(error: Error, info: &ResponseInfo) -> Error {
    match info.url() {
        Some(url) if error.url().is_none() => error.with_url(url),
        _ => error,
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn bodies_up_to_the_default_limit_are_read() {
        let of_size = |size: usize| Response::new(Body::from(vec![b'a'; size]));
        let limit = usize::try_from(DEFAULT_LIMIT).unwrap();
        assert_eq!(of_size(limit).text().unwrap().len(), limit);
        for error in [
            of_size(limit + 1).text().unwrap_err(),
            of_size(limit + 1).bytes().unwrap_err(),
            of_size(4).bytes_limited(3).unwrap_err(),
            of_size(4).text_limited(3).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::BodyTooLarge);
        }
        assert_eq!(of_size(limit + 1).bytes_limited(u64::MAX).unwrap().len(), limit + 1);
    }

    #[test]
    fn error_statuses_become_errors() {
        let with_status = |status: u16| {
            let mut response = Response::new(Body::empty());
            response.headers_mut().insert("retry-after", "7".parse().unwrap());
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            ResponseInfo::of_mut(&mut response).set_url("http://example.com/a?secret".parse().unwrap());
            response.error_for_status()
        };
        assert!(with_status(204).is_ok() && with_status(304).is_ok());
        let error = with_status(404).unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Status, Some(StatusCode::NOT_FOUND)));
        assert_eq!(error.url(), Some("http://example.com/a"));
        assert_eq!(error.retry_after(), Some(std::time::Duration::from_secs(7)));
        assert!(!error.is_retryable() && with_status(503).unwrap_err().is_retryable());
    }

    #[cfg(feature = "json")]
    #[test]
    fn json_is_parsed() {
        assert_eq!(Response::new(Body::from("[1, 2]")).json::<Vec<u8>>().unwrap(), [1, 2]);
        let error = Response::new(Body::from("{")).json::<Vec<u8>>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadResponse);
    }
}
