//! [`Timed`]: measures how long an origin takes to respond.

use std::sync::Arc;
use std::time::Instant;

use http::{Request, Response};

use crate::base::error::{Error, Result};
use crate::message::body::Body;
use crate::message::round_trip::RoundTrip;
use crate::message::url::CanonicalUrl;
use crate::metrics::{FetchResult, FetchTimes};

/// An origin whose time to the head of each response is counted. It belongs below a throttle, so that waiting for a permit
/// does not count.
pub(crate) struct Timed {
    pub(crate) origin: Arc<dyn RoundTrip>,
    pub(crate) times: Arc<FetchTimes>,
}

impl RoundTrip for Timed {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        let target = CanonicalUrl::parse(&request.uri().to_string())?;
        let begun = Instant::now();
        let answer = self.origin.round_trip(request);
        let now = Instant::now();
        let result = FetchResult::of(answer.as_ref().map(Response::status).map_err(Error::kind));
        if let Some(result) = result {
            let origin = format!("{}://{}", target.scheme(), target.authority());
            self.times.count(&origin, result, now.saturating_duration_since(begun), now);
        }
        answer
    }
}
