use std::io::Write;

use super::*;
use crate::base::tls::testing::Authority;

fn own_root() -> String {
    Authority::new().certificate
}

fn given(pem: impl Into<Vec<u8>>) -> Pem {
    Pem::Given(pem.into())
}

fn count(roots: Roots) -> usize {
    match roots.into_root_certs() {
        RootCerts::Specific(certificates) => certificates.len(),
        other => panic!("not specific: {other:?}"),
    }
}

#[test]
fn web_roots_are_trusted_by_default() {
    assert!(matches!(Roots::default().into_root_certs(), RootCerts::WebPki));
}

#[test]
fn own_roots_extend_or_replace_web_roots() {
    let mut roots = Roots::default();
    roots.add(&given(own_root() + &own_root())).unwrap();
    assert_eq!(count(roots), 2 + webpki_root_certs::TLS_SERVER_ROOT_CERTS.len());

    let mut roots = Roots::default();
    roots.add(&given(own_root())).unwrap();
    roots.exclude_web_roots().unwrap();
    assert_eq!(count(roots), 1);
}

#[test]
fn roots_are_read_from_a_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(own_root().as_bytes()).unwrap();
    let mut roots = Roots::default();
    roots.add(&Pem::File(file.path().to_owned())).unwrap();
    assert_eq!(roots.own.len(), 1);
}

#[test]
fn error_for_unusable_roots_is_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.pem");
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let broken = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
    let mut roots = Roots::default();
    for (failure, text) in [
        (roots.add(&Pem::File(missing)), "missing.pem cannot be read"),
        (roots.add(&given("hello")), "there is no root certificate"),
        (roots.add(&given(garbage)), "cannot be used"),
        (roots.add(&given(broken)), "not PEM"),
    ] {
        let error = failure.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadOption);
        assert!(error.to_string().contains(text), "{error}");
        assert_eq!(error.to_string().lines().count(), 1);
    }
}
