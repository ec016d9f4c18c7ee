//! A cache in front of one origin: the caching engine and the server, without a pool.
//!
//! ```sh
//! cargo run --example reverse_proxy -- 127.0.0.1:8080 http://example.com
//! curl -i http://127.0.0.1:8080/
//! ```

use forwardcache::policy::{Mode, Rules};
use forwardcache::server::{Server, ServerConfig};
use forwardcache::{Body, HttpCache, RoundTrip};
use http::{Request, Response, StatusCode};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, origin] = arguments.as_slice() else {
        return Err("usage: reverse_proxy ADDRESS ORIGIN".into());
    };
    // Its users do not trust each other, so the rules are those of a shared cache. The exception: responses
    // that the origin marks as cacheable are stored even if they set cookies.
    let rules = Rules::new(Mode::Shared).store_set_cookie(true);
    let cache = HttpCache::builder().rules(rules).build()?;
    let origin = origin.trim_end_matches('/').to_owned();
    let handler = move |request: Request<Body>| {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let Ok(uri) = format!("{origin}{path}").parse() else {
            return plain(StatusCode::BAD_REQUEST, "not a valid URL");
        };
        parts.uri = uri;
        parts.headers.remove("host");
        cache
            .round_trip(Request::from_parts(parts, body))
            .unwrap_or_else(|error| plain(StatusCode::BAD_GATEWAY, &error.to_string()))
    };
    println!("serving on http://{listen}");
    Server::bind(listen.as_str(), ServerConfig::new(), handler)?.join();
    Ok(())
}

fn plain(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(Body::from(format!("{text}\n")));
    *response.status_mut() = status;
    response
}
