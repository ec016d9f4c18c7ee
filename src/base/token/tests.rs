use std::io::Write;

use super::*;

const OLD: &str = "an-old-token-of-ours";
const NEW: &str = "a+new/token.of~ours==";

#[test]
fn agreed_tokens_are_accepted() {
    let tokens = Tokens::new([OLD, NEW]).unwrap();
    for shown in [OLD, NEW] {
        for scheme in ["Bearer", "bearer", "BEARER"] {
            assert!(tokens.accept(format!("{scheme} {shown}").as_bytes()));
        }
    }
    for shown in ["", "Bearer", "Bearer ", OLD, "Basic an-old-token-of-ours", "Bearer an-old-token-of-our"] {
        assert!(!tokens.accept(shown.as_bytes()), "{shown}");
    }
    assert!(!tokens.accept(b"Bearer an-old-token-of-oursx"));
    assert!(!tokens.accept(b"Bearer a"));
    assert_eq!(tokens.credential().unwrap(), format!("Bearer {OLD}"));
}

#[test]
fn invalid_tokens_are_rejected_without_being_quoted() {
    let long = "a".repeat(257);
    for bad in [
        "",
        "too-short",
        "a token with spaces",
        "an=equals-sign-inside",
        "caf\u{e9}-caf\u{e9}-caf\u{e9}-x",
        &long,
    ] {
        let error = Tokens::new([bad]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadOption);
        assert!(bad.is_empty() || !error.to_string().contains(bad), "{error}");
    }
    assert!(Tokens::new([OLD; 3]).is_err());
    assert!(Tokens::new(Vec::<String>::new()).is_err());
    let shown = format!("{:?}", Tokens::new([OLD]).unwrap());
    assert!(!shown.contains(OLD), "{shown}");
}

#[test]
fn file_is_reloaded_unless_it_is_invalid() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "{OLD}\n").unwrap();
    let tokens = Tokens::from_file(file.path()).unwrap();
    let same = tokens.clone();
    let shows = |token: &str| same.accept(format!("Bearer {token}").as_bytes());
    assert!(shows(OLD) && !shows(NEW));
    fs::write(file.path(), format!("{NEW}\n  {OLD}\r\n")).unwrap();
    tokens.reload().unwrap();
    assert!(shows(OLD) && shows(NEW));
    for bad in ["", "\n\n", "short\n", "one-token-of-three\nthe-second-of-three\nthe-third-of-them\n"] {
        fs::write(file.path(), bad).unwrap();
        let error = tokens.reload().unwrap_err().to_string();
        assert!(error.contains(file.path().to_str().unwrap()), "{error}");
        assert!(shows(OLD) && shows(NEW));
    }
    assert!(Tokens::from_file("/no/such/file").is_err());
}

#[test]
fn password_of_basic_credentials_is_accepted_as_a_token() {
    let tokens = Tokens::new(["correct-horse-battery"]).unwrap();
    for (credentials, is_accepted) in [
        ("pool:correct-horse-battery", true),
        (":correct-horse-battery", true),
        ("correct-horse-battery", false),
        ("pool:correct-horse-batterY", false),
        ("a:b:correct-horse-battery", false),
        ("", false),
    ] {
        let shown = format!("bAsIc {}", STANDARD.encode(credentials));
        assert_eq!(tokens.accept(shown.as_bytes()), is_accepted, "{credentials}");
    }
    assert!(!tokens.accept(b"Basic ???") && !tokens.accept(b"Basic"));
}
