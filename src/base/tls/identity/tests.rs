use super::super::testing::{self, Authority};
use super::*;
use crate::base::error::ErrorKind;

fn read(certificates: &str, key: &str) -> Result<Identity> {
    let given = |text: &str| Pem::Given(text.into());
    IdentitySource { certificates: given(certificates), key: given(key) }.read()
}

#[test]
fn chain_and_key_are_read() {
    let authority = Authority::new();
    let made = authority.sign("localhost");
    let identity = read(&(made.certificate.clone() + &authority.certificate), &made.key).unwrap();
    assert_eq!(identity.certified.cert.len(), 2);
    assert_eq!(format!("{identity:?}"), "Identity { certificates: 2, .. }");
    // Some programs write certificate and key to one file.
    for both in [&(made.key + &made.certificate), testing::PKCS1, testing::SEC1] {
        assert_eq!(read(both, both).unwrap().certified.cert.len(), 1);
    }
}

#[test]
fn mismatched_certificates_and_keys_are_rejected() {
    let authority = Authority::new();
    let (one, other) = (authority.sign("localhost"), authority.sign("localhost"));
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let no_key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    for (certificates, key, says) in [
        (one.certificate.as_str(), other.key.as_str(), "does not belong to the first certificate"),
        // The chain is in the wrong order.
        (&(authority.certificate + &one.certificate), &one.key, "does not belong"),
        (&one.key, &one.key, "there is no certificate"),
        (&one.certificate, &one.certificate, "there is no private key"),
        (&one.certificate, no_key, "the private key in the PEM given cannot be used"),
        (garbage, &one.key, "a certificate in the PEM given cannot be used"),
        (&(one.certificate.clone() + garbage), &one.key, "cannot be used"),
    ] {
        let error = read(certificates, key).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadOption);
        assert!(error.to_string().contains(says), "{error}");
    }
}
