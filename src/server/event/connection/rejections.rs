//! Reasons for rejecting requests that the server cannot process now, and the metric labels of all rejections.

use http::StatusCode;

use crate::metrics::RequestRefusal;
use crate::server::request_head::Rejection;

pub(super) const TOO_MANY_UPLOADS: Rejection = Rejection {
    status: StatusCode::SERVICE_UNAVAILABLE,
    reason: "too many request bodies are being received",
};

pub(super) const TOO_MANY_TUNNELS: Rejection =
    Rejection { status: StatusCode::SERVICE_UNAVAILABLE, reason: "too many tunnels are open" };

pub(super) const NO_MEMORY: Rejection =
    Rejection { status: StatusCode::SERVICE_UNAVAILABLE, reason: "the memory limit is reached" };

pub(super) fn too_large() -> Rejection {
    Rejection { status: StatusCode::PAYLOAD_TOO_LARGE, reason: "the request body is too large" }
}

/// Returns the metric label of a rejection.
pub(super) fn kind_of(rejection: Rejection) -> RequestRefusal {
    match rejection.status {
        _ if rejection == TOO_MANY_UPLOADS => RequestRefusal::TooManyUploads,
        _ if rejection == TOO_MANY_TUNNELS => RequestRefusal::TooManyTunnels,
        _ if rejection == NO_MEMORY => RequestRefusal::NoMemory,
        StatusCode::REQUEST_TIMEOUT => RequestRefusal::Timeout,
        StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::URI_TOO_LONG
        | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => RequestRefusal::TooLarge,
        _ => RequestRefusal::Malformed,
    }
}
