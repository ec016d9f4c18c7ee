use super::*;

fn bytes(text: &str) -> u64 {
    text.parse::<ByteSize>().unwrap().bytes()
}

#[test]
fn units_are_case_insensitive() {
    assert_eq!(bytes("0"), 0);
    assert_eq!(bytes(" 1000 "), 1000);
    assert_eq!(bytes("12B"), 12);
    assert_eq!(bytes("64k"), 65_536);
    assert_eq!(bytes("64 K"), 65_536);
    assert_eq!(bytes("256MiB"), 256 << 20);
    assert_eq!(bytes("1gib"), 1 << 30);
    assert_eq!(bytes("2T"), 2 << 40);
    assert_eq!(bytes("5kB"), 5_000);
    assert_eq!(bytes("5MB"), 5_000_000);
    assert_eq!(bytes("18446744073709551615"), u64::MAX);
}

#[test]
fn invalid_sizes_are_rejected_with_a_one_line_message() {
    for text in [
        "",
        "MiB",
        "-1",
        "+1",
        "1.5GiB",
        "1,5GiB",
        "0x10",
        "1 2",
        "10 potatoes",
        "1\nk",
        "99999999999T",
        "18446744073709551616",
        "١k",
    ] {
        let error = text.parse::<ByteSize>().unwrap_err().to_string();
        assert!(error.starts_with("bad size") && !error.contains('\n'), "{error}");
    }
    let error = "10 potatoes".parse::<ByteSize>().unwrap_err().to_string();
    assert!(error.contains("KiB") && error.contains("potatoes"), "{error}");
}

#[test]
fn displayed_sizes_parse_back() {
    for (size, text) in
        [(0, "0"), (1000, "1000"), (1 << 10, "1KiB"), (1536 << 20, "1536MiB"), (4 << 40, "4TiB")]
    {
        assert_eq!(ByteSize::new(size).to_string(), text);
        assert_eq!(bytes(text), size);
    }
    assert_eq!(bytes(&ByteSize::new(u64::MAX).to_string()), u64::MAX);
}
