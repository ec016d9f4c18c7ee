//! [`RequestBuilder`]: builds a request and sends it, with the same methods for every [`RoundTrip`] of this crate.

use std::fmt;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, Request, Response};

use super::body::Body;
use super::cache_mode::CacheMode;
use super::deadline::Deadline;
use super::response_info::ResponseInfo;
use super::round_trip::RoundTrip;
use super::url::CanonicalUrl;
use crate::base::error::{Error, ErrorKind, Result};

/// A request that [`send`](Self::send) sends.
///
/// Methods such as [`Client::get`](crate::Client::get), `HttpCache::get` and `Peer::get` create one. An invalid URL,
/// header field or value is reported by `send`.
///
/// ```no_run
/// use std::time::Duration;
///
/// use forwardcache::{CacheMode, Client, ResponseExt};
///
/// let client = Client::builder().pool(["http://10.0.0.1:3000"]).build()?;
/// let text = client
///     .get("https://example.com/data.json")
///     .header("accept-language", "de")
///     .cache_mode(CacheMode::Reload)
///     .timeout(Duration::from_secs(5))
///     .send()?
///     .error_for_status()?
///     .text()?;
/// # Ok::<(), forwardcache::Error>(())
/// ```
#[must_use = "`send` sends the request"]
pub struct RequestBuilder<'a> {
    through: &'a dyn RoundTrip,
    request: Result<Request<Body>>,
    timeout: Option<Duration>,
}

impl<'a> RequestBuilder<'a> {
    /// Creates a request with this method and URL. [`send`](Self::send) sends it through `through`, which may be any
    /// [`RoundTrip`].
    ///
    /// ```
    /// use forwardcache::http::{Method, Response};
    /// use forwardcache::{Body, RequestBuilder, ResponseExt, RoundTripFn};
    ///
    /// let hello = RoundTripFn(|_| Ok(Response::new(Body::from("hello"))));
    /// let response = RequestBuilder::new(&hello, Method::GET, "http://example.com/").send()?;
    /// assert_eq!(response.text()?, "hello");
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn new(through: &'a dyn RoundTrip, method: Method, url: &str) -> Self {
        let request = CanonicalUrl::parse(url).map_err(Error::from).map(|url| {
            let mut request = Request::new(Body::empty());
            *request.method_mut() = method;
            *request.uri_mut() = url.uri();
            request
        });
        Self { through, request, timeout: None }
    }

    /// Changes the request unless an earlier part of it is invalid.
    fn with(mut self, change: impl FnOnce(&mut Request<Body>) -> Result<()>) -> Self {
        self.request = self.request.and_then(|mut request| change(&mut request).map(|()| request));
        self
    }

    /// Adds a header field. Fields with the same name that were added before are kept.
    pub fn header<N, V>(self, name: N, value: V) -> Self
    where
        N: TryInto<HeaderName, Error: Into<http::Error>>,
        V: TryInto<HeaderValue, Error: Into<http::Error>>,
    {
        self.with(|request| {
            let refused = |what: String, error: http::Error| {
                Error::new(ErrorKind::BadRequest, what).with_url(request.uri()).with_source(error)
            };
            let name = name.try_into().map_err(|error| {
                refused("invalid name of a header field: it must be a token".to_owned(), error.into())
            })?;
            let value = value.try_into().map_err(|error| {
                let what =
                    format!("invalid value of the header field {name}: control characters are not allowed");
                refused(what, error.into())
            })?;
            request.headers_mut().append(name, value);
            Ok(())
        })
    }

    /// Sets how the request uses caches. Replaces the fields `Cache-Control` and `Pragma`. Default:
    /// [`CacheMode::Default`].
    pub fn cache_mode(self, mode: CacheMode) -> Self {
        self.with(|request| {
            mode.apply(request.headers_mut());
            Ok(())
        })
    }

    /// Limits how long the request may take, including the response body. The time starts with [`send`](Self::send).
    /// Default: the limits of the client, cache or peer. A [`Deadline`] as an [`extension`](Self::extension) can
    /// also specify when a stale response is accepted.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Adds an extension, for example a [`Deadline`], a [`Cancellation`](crate::Cancellation) or an
    /// [`OnInterim`](crate::origin::OnInterim). Replaces an earlier extension of the same type.
    pub fn extension(self, value: impl Clone + Send + Sync + 'static) -> Self {
        self.with(|request| {
            request.extensions_mut().insert(value);
            Ok(())
        })
    }

    /// Sets the body. Default: empty.
    pub fn body(self, body: impl Into<Body>) -> Self {
        self.with(|request| {
            *request.body_mut() = body.into();
            Ok(())
        })
    }

    /// Sets the body to a JSON document, and `Content-Type` to `application/json` unless it is set. A value that
    /// cannot be serialized is reported by [`send`](Self::send).
    #[cfg(feature = "json")]
    pub fn json(self, value: &(impl serde::Serialize + ?Sized)) -> Self {
        self.with(|request| {
            let bytes = serde_json::to_vec(value).map_err(|error| {
                let text = "the body cannot be serialized as JSON";
                Error::new(ErrorKind::BadRequest, text).with_url(request.uri()).with_source(error)
            })?;
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().entry(http::header::CONTENT_TYPE).or_insert(json);
            *request.body_mut() = bytes.into();
            Ok(())
        })
    }

    /// Returns the request instead of sending it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadUrl`] if the URL is not an absolute `http` or `https` URL, and [`ErrorKind::BadRequest`] if the
    /// name or value of a header field or the body is invalid.
    pub fn build(self) -> Result<Request<Body>> {
        let mut request = self.request?;
        if let Some(limit) = self.timeout {
            request.extensions_mut().insert(Deadline::within(limit));
        }
        Ok(request)
    }

    /// Sends the request and waits for the head of the response. A response with any status is `Ok`; see
    /// [`error_for_status`](crate::ResponseExt::error_for_status).
    ///
    /// # Errors
    ///
    /// Fails as [`build`](Self::build) does for an invalid request, and if no response arrives: see [`ErrorKind`].
    pub fn send(self) -> Result<Response<Body>> {
        let through = self.through;
        let request = self.build()?;
        let url = request.uri().clone();
        let mut response = through.round_trip(request)?;
        ResponseInfo::of_mut(&mut response).set_url(url);
        Ok(response)
    }
}

impl fmt::Debug for RequestBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder")
            .field("method", &self.request.as_ref().map(Request::method))
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Defines the methods of a type that start a request.
macro_rules! request_methods {
    ($type:ty) => {
        impl $type {
            /// Starts a GET request. Every HTTP status is returned as a response.
            pub fn get(&self, url: &str) -> $crate::message::request_builder::RequestBuilder<'_> {
                self.request(http::Method::GET, url)
            }

            /// Starts a HEAD request.
            pub fn head(&self, url: &str) -> $crate::message::request_builder::RequestBuilder<'_> {
                self.request(http::Method::HEAD, url)
            }

            /// Starts a POST request.
            pub fn post(&self, url: &str) -> $crate::message::request_builder::RequestBuilder<'_> {
                self.request(http::Method::POST, url)
            }

            /// Starts a PUT request.
            pub fn put(&self, url: &str) -> $crate::message::request_builder::RequestBuilder<'_> {
                self.request(http::Method::PUT, url)
            }

            /// Starts a PATCH request.
            pub fn patch(&self, url: &str) -> $crate::message::request_builder::RequestBuilder<'_> {
                self.request(http::Method::PATCH, url)
            }

            /// Starts a DELETE request.
            pub fn delete(&self, url: &str) -> $crate::message::request_builder::RequestBuilder<'_> {
                self.request(http::Method::DELETE, url)
            }

            /// Starts a request with any method.
            pub fn request(
                &self,
                method: http::Method,
                url: &str,
            ) -> $crate::message::request_builder::RequestBuilder<'_> {
                $crate::message::request_builder::RequestBuilder::new(self, method, url)
            }
        }
    };
}
pub(crate) use request_methods;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::response_ext::ResponseExt;
    use crate::message::round_trip::RoundTripFn;

    const URL: &str = "http://example.com/a?b";

    fn echo() -> impl RoundTrip {
        RoundTripFn(|request: Request<Body>| {
            let mut response = Response::new(Body::empty());
            response.headers_mut().clone_from(request.headers());
            let deadline = Deadline::of(request.extensions()).is_some();
            let text = format!("{} {} {deadline} ", request.method(), request.uri());
            *response.body_mut() = Body::from(text + &request.into_body().into_text()?);
            Ok(response)
        })
    }

    #[test]
    fn request_has_what_was_set() {
        let response = RequestBuilder::new(&echo(), Method::PUT, URL)
            .header("a", "1")
            .header("a", "2")
            .cache_mode(CacheMode::Reload)
            .timeout(Duration::from_secs(9))
            .body("text")
            .send()
            .unwrap();
        assert_eq!(response.headers().get_all("a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(response.headers()["cache-control"], "no-cache");
        assert_eq!(response.info().url().unwrap(), URL);
        assert_eq!(response.text().unwrap(), format!("PUT {URL} true text"));
    }

    #[test]
    fn send_reports_the_first_invalid_part() {
        let new = |url| RequestBuilder::new(&Unused, Method::GET, url);
        let error = new("example.com").header("a b", "").send().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadUrl);
        let error = new(URL).header("a b", "").header("c", "\n").send().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadRequest);
        assert!(error.message().contains("name"), "{error}");
        let error = new(URL).header("c", "\n").send().unwrap_err();
        assert!(error.message().contains("header field c"), "{error}");
        assert_eq!(error.url(), Some("http://example.com/a"));
    }

    #[test]
    fn any_round_trip_can_be_borrowed() {
        let boxed: Box<dyn RoundTrip> = Box::new(echo());
        assert!(RequestBuilder::new(&*boxed, Method::GET, URL).send().is_ok());
    }

    struct Unused;
    impl RoundTrip for Unused {
        fn round_trip(&self, _: Request<Body>) -> Result<Response<Body>> {
            panic!("an invalid request was sent")
        }
    }
}
