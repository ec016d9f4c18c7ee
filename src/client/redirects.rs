//! Follows redirects (RFC 9110 section 15.4). Each hop is a request of its own, to the owner of its URL.

use http::header::{
    CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE,
    LOCATION, TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderName, Method, Request, Response, StatusCode};

use crate::base::error::{Error, ErrorKind, Result};
use crate::message::body::Body;
use crate::message::digest::{CONTENT_DIGEST, REPR_DIGEST};
use crate::message::header::credential::is_credential;
use crate::message::url::CanonicalUrl;

/// Fields about the content of a request.
static ABOUT_CONTENT: [HeaderName; 7] = [
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_LOCATION,
    CONTENT_RANGE,
    CONTENT_TYPE,
    TRANSFER_ENCODING,
];

/// Sends a request, and follows at most `most` redirects.
///
/// # Errors
///
/// The errors of `send`, and [`ErrorKind::BadResponse`] if there are more redirects.
pub(super) fn follow(
    most: u32,
    mut request: Request<Body>,
    mut send: impl FnMut(Request<Body>) -> Result<Response<Body>>,
) -> Result<Response<Body>> {
    let mut followed = 0;
    loop {
        let target = CanonicalUrl::parse(&request.uri().to_string())?;
        let Some(next) = copy_of(&request) else { return send(request) };
        let response = send(request)?;
        let Some(redirect) = Redirect::of(&target, next.method(), &response) else { return Ok(response) };
        if followed == most {
            let text = format!("the response redirects more than {most} times");
            return Err(Error::new(ErrorKind::BadResponse, text).with_url(&target));
        }
        followed += 1;
        request = redirect.request(&target, next);
    }
}

/// Where a response redirects its request.
#[derive(Debug, PartialEq, Eq)]
struct Redirect {
    target: CanonicalUrl,
    method: Method,
}

impl Redirect {
    /// Returns the redirect of a response to a request with this URL and method. `None` if it has none that can be
    /// followed.
    fn of<T>(target: &CanonicalUrl, method: &Method, response: &Response<T>) -> Option<Self> {
        let method = match response.status() {
            // Programs have always repeated a POST as a GET after these two.
            StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND if *method == Method::POST => Method::GET,
            StatusCode::SEE_OTHER if *method != Method::HEAD => Method::GET,
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => method.clone(),
            _ => return None,
        };
        let mut locations = response.headers().get_all(LOCATION).into_iter();
        let (location, None) = (locations.next()?, locations.next()) else { return None };
        let target = target.join_field(location.as_bytes())?;
        Some(Self { target, method })
    }

    /// Changes the request that was redirected from this URL into the next one.
    fn request(self, from: &CanonicalUrl, mut request: Request<Body>) -> Request<Body> {
        if !from.same_origin(&self.target) {
            let names = request.headers().keys().filter(|name| is_credential(name));
            let credentials: Vec<HeaderName> = names.cloned().collect();
            remove(request.headers_mut(), &credentials);
        }
        if self.method != *request.method() {
            remove(request.headers_mut(), &ABOUT_CONTENT);
            remove(request.headers_mut(), [&CONTENT_DIGEST, &REPR_DIGEST]);
            *request.body_mut() = Body::empty();
        }
        *request.method_mut() = self.method;
        *request.uri_mut() = self.target.uri();
        request
    }
}

fn remove<'a>(headers: &mut HeaderMap, names: impl IntoIterator<Item = &'a HeaderName>) {
    for name in names {
        headers.remove(name);
    }
}

/// Copies a request. `None` if its content is a stream, which can be sent only once.
fn copy_of(request: &Request<Body>) -> Option<Request<Body>> {
    let body = match request.body() {
        body if body.is_empty() => Body::empty(),
        body => Body::from(body.as_bytes()?.clone()),
    };
    let mut copy = Request::new(body);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    copy.extensions_mut().clone_from(request.extensions());
    Some(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> CanonicalUrl {
        CanonicalUrl::parse(text).unwrap()
    }

    fn response(status: u16, location: &str) -> Response<Body> {
        Response::builder().status(status).header(LOCATION, location).body(Body::empty()).unwrap()
    }

    fn post() -> Request<Body> {
        Request::post("http://a.example/x")
            .header("content-type", "text/plain")
            .header("authorization", "Basic secret")
            .header("cookie", "a=b")
            .header("private-token", "secret")
            .header("x-amz-signature", "secret")
            .header("apikey", "secret")
            .header("accept", "text/html")
            .body(Body::from("content"))
            .unwrap()
    }

    #[test]
    fn status_decides_on_the_method_of_the_next_request() {
        let from = url("http://a.example/x");
        for (status, method, expected) in [
            (301, "GET", Some("GET")),
            (301, "POST", Some("GET")),
            (302, "POST", Some("GET")),
            (302, "PUT", Some("PUT")),
            (303, "PUT", Some("GET")),
            (303, "HEAD", Some("HEAD")),
            (307, "POST", Some("POST")),
            (308, "DELETE", Some("DELETE")),
            (300, "GET", None),
            (304, "GET", None),
            (201, "POST", None),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let redirect = Redirect::of(&from, &method, &response(status, "/y"));
            let next = redirect.as_ref().map(|redirect| redirect.method.as_str());
            assert_eq!(next, expected, "{status} {method}");
        }
        for location in ["ftp://a/", "mailto:a@b", "http://user@a/", "http://a b/"] {
            assert_eq!(Redirect::of(&from, &Method::GET, &response(302, location)), None, "{location}");
        }
    }

    #[test]
    fn credentials_stay_at_their_origin_and_content_with_its_method() {
        for (status, location, has_credentials, has_content) in [
            (302, "/y", true, false),
            (307, "/y", true, true),
            (307, "http://b.example/", false, true),
            (302, "http://a.example:81/", false, false),
            (302, "https://a.example/", false, false),
        ] {
            let mut requests = Vec::new();
            let result = follow(3, post(), |request| {
                requests.push(request);
                Ok(if requests.len() == 1 {
                    response(status, location)
                } else {
                    Response::new(Body::empty())
                })
            });
            assert_eq!(result.unwrap().status(), 200);
            let next = requests.pop().unwrap();
            assert_eq!(next.uri().to_string(), url("http://a.example/x").join(location).unwrap().as_str());
            for name in ["authorization", "cookie", "private-token", "x-amz-signature", "apikey"] {
                assert_eq!(next.headers().contains_key(name), has_credentials, "{status} {location}");
            }
            assert_eq!(next.headers().contains_key("content-type"), has_content, "{status} {location}");
            assert!(next.headers().contains_key("accept"));
            assert_eq!(next.into_body().into_text().unwrap(), if has_content { "content" } else { "" });
        }
    }

    #[test]
    fn number_of_redirects_is_limited() {
        let mut count = 0;
        let result = follow(2, post(), |_| {
            count += 1;
            Ok(response(302, "/again"))
        });
        let error = result.unwrap_err();
        assert_eq!((error.kind(), count), (ErrorKind::BadResponse, 3));
        assert!(error.to_string().contains("more than 2 times"), "{error}");
    }

    #[test]
    fn redirect_of_a_stream_is_returned() {
        let stream = post().map(|_| Body::from_reader(&b"content"[..], None));
        let response = follow(2, stream, |_| Ok(response(307, "/again"))).unwrap();
        assert_eq!(response.status(), 307);
    }
}
