use super::*;

fn canonical(host: &str) -> Result<String, InvalidUrl> {
    let mut out = String::new();
    push_host(&mut out, host).map(|()| out)
}

#[test]
fn names_and_addresses_are_accepted() {
    let longest_label = "a".repeat(63);
    for host in ["a", "a.b.", "1a.2b", "a-b_c", "1.2.3.4", "0x7g", "1.example", "[::1]", &longest_label] {
        assert_eq!(canonical(host).as_deref(), Ok(host));
    }
    assert_eq!(canonical("[0:0:0:0:0:0:0:A]").as_deref(), Ok("[::a]"));
}

#[test]
fn other_hosts_are_rejected() {
    let long_label = "a".repeat(64);
    let long_name = vec!["a"; 128].join(".");
    for host in [
        ".",
        "..",
        ".a",
        "a..b",
        "a..",
        "a b",
        "a%41",
        "a~",
        "a;b",
        "a*",
        "[",
        "[]",
        "[::1",
        "[1.2.3.4]",
        "[v1.a]",
        "[fe80::1%25eth0]",
        "[fe80::1%eth0]",
        "::1]",
        &long_label,
        &long_name,
    ] {
        assert_eq!(canonical(host), Err(InvalidUrl::BadHost), "{host}");
    }
}

#[test]
fn numbers_that_only_some_programs_treat_as_addresses_are_rejected() {
    for host in [
        "127.1",
        "2130706433",
        "0x7f000001",
        "0x7F.1",
        "017700000001",
        "127.0.0.01",
        "256.1.1.1",
        "1.2.3.4.",
        "0x",
    ] {
        assert_eq!(canonical(host), Err(InvalidUrl::BadHost), "{host}");
    }
}

#[test]
fn only_a_port_may_follow_an_address_in_brackets() {
    assert_eq!(split_port("[::1]:80"), Ok(("[::1]", "80")));
    assert_eq!(split_port("[::1]"), Ok(("[::1]", "")));
    assert_eq!(split_port("[::1]80"), Err(InvalidUrl::BadHost));
    assert_eq!(split_port("[::1].example"), Err(InvalidUrl::BadHost));
}

#[test]
fn ports_are_parsed() {
    assert_eq!(parse_port(""), Ok(None));
    assert_eq!(parse_port("00080"), Ok(Some(80)));
    assert_eq!(parse_port("65535"), Ok(Some(65535)));
    for port in ["0", "65536", "-1", "+1", "8o", "80 "] {
        assert_eq!(parse_port(port), Err(InvalidUrl::BadPort), "{port}");
    }
}
