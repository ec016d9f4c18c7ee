use ureq::tls::TlsConfig;

use super::*;
use crate::base::tls::testing::Authority;

#[test]
fn proxy_settings_of_the_environment_are_ignored() {
    assert!(Options::default().config(TlsConfig::default()).proxy().is_none());
}

#[test]
fn bodies_have_no_default_time_limit() {
    let timeouts = Options::default().config(TlsConfig::default()).timeouts();
    assert_eq!(timeouts.global, None);
    assert_eq!(timeouts.per_call, None);
    assert_eq!(timeouts.recv_body, None);
    assert_eq!(timeouts.connect, Some(Duration::from_secs(10)));
}

#[test]
fn zero_limits_are_rejected() {
    let error = Origin::builder().read_timeout(Duration::ZERO).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadOption);
    assert_eq!(error.to_string(), "the read timeout must be longer than zero");
    for builder in [Origin::builder().max_head(0), Origin::builder().max_fields(5000)] {
        assert_eq!(builder.build().unwrap_err().kind(), ErrorKind::BadOption);
    }
}

#[test]
fn unlimited_timeouts_do_not_panic() {
    let server = super::super::testing::ScriptedOrigin::answering(
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(),
    );
    let builder = Origin::builder().resolve_timeout(Duration::MAX).connect_timeout(Duration::MAX);
    let builder = builder.response_timeout(Duration::MAX).read_timeout(Duration::MAX);
    let builder = builder.write_timeout(Duration::MAX).whole_timeout(Duration::MAX);
    let origin = builder.build().unwrap();
    let response = super::super::testing::get(&origin, &server.url()).unwrap();
    assert_eq!(response.into_body().into_text().unwrap(), "ok");
    server.finish();
}

#[test]
fn key_of_another_certificate_is_rejected_by_build() {
    let authority = Authority::new();
    let (one, other) = (authority.sign("one"), authority.sign("other"));
    let error = Origin::builder().client_certificate_pem(one.certificate, other.key).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadOption);
    assert!(error.to_string().contains("does not belong"), "{error}");
    let error = Origin::builder().client_certificate_files("/no/such/file", "/b").build().unwrap_err();
    assert!(error.to_string().contains("/no/such/file"), "{error}");
}

#[test]
fn debug_output_contains_no_private_key() {
    let made = Authority::new().sign("one");
    let line = made.key.lines().nth(1).unwrap();
    let builder = Origin::builder().client_certificate_pem(made.certificate.clone(), made.key.clone());
    assert!(!format!("{builder:?}").contains(line));
    let numbers = format!("{:?}", &made.key.as_bytes()[..8]);
    assert!(!format!("{builder:?}").contains(numbers.trim_matches(['[', ']'])));
}

#[test]
fn origin_without_any_trusted_root_is_rejected() {
    let error = Origin::builder().web_root_certificates(false).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::BadOption);
}
