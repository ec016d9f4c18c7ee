use super::*;

const SECRET: &str = "c2VjcmV0";

fn says(failure: Result<impl Sized>) -> String {
    let error = failure.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::BadOption);
    assert_eq!(error.to_string().lines().count(), 1);
    format!("{error} {error:?}")
}

#[test]
fn missing_files_and_sections_are_named() {
    let missing = Pem::File("/no/such/file".into());
    assert!(says(missing.certificates("certificate")).contains("certificates /no/such/file cannot be"));
    assert!(says(missing.private_key()).contains("the private key /no/such/file cannot be read"));
    let empty = Pem::Given(Vec::new());
    assert!(says(empty.certificates("certificate")).contains("there is no certificate in the PEM"));
    assert!(says(empty.private_key()).contains("there is no private key in the PEM given: it must"));
}

#[test]
fn encrypted_key_is_rejected() {
    let section = "ENCRYPTED PRIVATE KEY";
    let text = format!("-----BEGIN {section}-----\n{SECRET}\n-----END {section}-----\n");
    assert!(says(Pem::Given(text.into()).private_key()).contains("unencrypted"));
}

#[test]
fn errors_do_not_quote_keys() {
    for text in [
        format!("-----BEGIN PRIVATE KEY-----{SECRET}"),
        format!("-----BEGIN PRIVATE KEY-----\n{SECRET}\n"),
        format!("-----BEGIN PRIVATE KEY-----\n{SECRET}!\n-----END PRIVATE KEY-----"),
    ] {
        let pem = Pem::Given(text.clone().into());
        let said = says(pem.private_key());
        assert!(said.contains("is not PEM"), "{text}: {said}");
        let numbers = format!("{:?}", SECRET.as_bytes());
        for secret in [SECRET, numbers.trim_matches(['[', ']'])] {
            assert!(!said.contains(secret) && !format!("{pem:?}").contains(secret), "{said}");
        }
    }
}
