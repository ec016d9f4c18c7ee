//! HTTPS origins: a peer fetches on behalf of the client, so HTTPS responses are cached too.

use forwardcache::{ErrorKind, Origin, Outcome};

use crate::local::LocalPeer;
use crate::support::origin::Reply;
use crate::support::tls::TlsOrigin;

#[test]
fn https_responses_are_cached() {
    let origin = TlsOrigin::start(Reply::target);
    let peer = LocalPeer::start_with(|builder| builder.root_certificates_file(origin.ca_file()));
    for round in 0..3 {
        let response = peer.client().get(&origin.url("/a?b=c")).send().unwrap();
        assert_eq!(Outcome::of(response.headers()) == Some(Outcome::Hit), round > 0);
        assert_eq!(response.into_body().into_text().unwrap(), "/a?b=c");
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn host_field_contains_the_origin_name() {
    let origin = TlsOrigin::start(|received| Reply::ok(received.field("host").unwrap().to_owned()));
    let peer = LocalPeer::start_with(|builder| builder.root_certificates_file(origin.ca_file()));
    let host = format!("localhost:{}", origin.address().port());
    let response = peer.client().get(&origin.url_by_name("/")).send().unwrap();
    assert_eq!(response.into_body().into_text().unwrap(), host);
    assert_eq!(origin.count(), 1);
}

#[test]
fn untrusted_origin_certificate_is_a_tls_error() {
    let origin = TlsOrigin::replies([]).may_be_unused();
    let peer = LocalPeer::start();
    let answer = peer.get(&origin.url("/a"));
    assert_eq!((answer.status, answer.field("forwardcache-error")), (502, Some("tls")));
    assert_eq!(answer.field("cache-status"), Some("forwardcache; detail=tls"));

    let error = peer.client().get(&origin.url("/a?secret=1")).send().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tls, "{error}");
    assert_eq!(error.peer(), Some(peer.url().as_str()));
    assert_eq!(error.url(), Some(origin.url("/a").as_str()));
    assert_eq!(origin.count(), 0);
}

#[test]
fn peer_rejects_origin_of_another_authority() {
    let (origin, other) = (TlsOrigin::replies([]).may_be_unused(), TlsOrigin::replies([]).may_be_unused());
    let trusting_other =
        Origin::builder().web_root_certificates(false).root_certificates_pem(other.ca_pem()).build().unwrap();
    let peer = LocalPeer::start_with(|builder| builder.origin(trusting_other));
    assert_eq!(peer.client().get(&origin.url("/")).send().unwrap_err().kind(), ErrorKind::Tls);
    assert_eq!(origin.count(), 0);
}

#[test]
fn client_certificate_for_peers_is_not_sent_to_origins() {
    let origin = TlsOrigin::start_with_client_auth(|_| Reply::ok("hello"));
    let me = origin.client_file();
    let known = Origin::builder().root_certificates_pem(origin.ca_pem()).client_certificate_files(me, me);
    let peer = LocalPeer::start_with(|builder| {
        builder.root_certificates_file(origin.ca_file()).client_certificate_files(me, me)
    });
    assert_eq!(peer.client().get(&origin.url("/")).send().unwrap_err().kind(), ErrorKind::Tls);
    let peer = LocalPeer::start_with(|builder| builder.origin(known.build().unwrap()));
    assert_eq!(peer.client().get(&origin.url("/")).send().unwrap().into_body().into_text().unwrap(), "hello");
    assert_eq!(origin.count(), 1);
}

#[test]
fn truncated_tls_body_is_not_stored() {
    let whole = "x".repeat(100_000);
    let origin = TlsOrigin::replies([
        Reply::ok(whole.clone()).field("Cache-Control", "max-age=60").chunked().cut_after(90_000),
        Reply::ok(whole.clone()).field("Cache-Control", "max-age=60").chunked(),
    ]);
    let peer = LocalPeer::start_with(|builder| builder.root_certificates_file(origin.ca_file()));
    let cut =
        peer.client().get(&origin.url("/")).send().and_then(|response| response.into_body().into_bytes());
    assert!(cut.is_err());
    let response = peer.client().get(&origin.url("/")).send().unwrap();
    assert_eq!(response.into_body().into_text().unwrap(), whole);
    assert_eq!(origin.count(), 2);
}
