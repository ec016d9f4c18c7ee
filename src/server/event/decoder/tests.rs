use proptest::prelude::*;

use super::*;

/// Returns the body, whether it is complete, and the number of unused bytes.
fn decoded(body: RequestBody, pieces: &[&[u8]]) -> Result<(Vec<u8>, bool, usize), u16> {
    let mut decoder = Decoder::new(body);
    let (mut content, mut left) = (Vec::new(), 0);
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() && !decoder.is_done() {
            let decoded = decoder.decode(rest).map_err(|rejection| rejection.status.as_u16())?;
            content.extend_from_slice(&rest[decoded.content]);
            rest = &rest[decoded.used..];
        }
        left += rest.len();
    }
    Ok((content, decoder.is_done(), left))
}

fn chunked(input: &str) -> Result<(Vec<u8>, bool, usize), u16> {
    decoded(RequestBody::Chunked, &[input.as_bytes()])
}

#[test]
fn a_body_of_known_length_ends_after_that_length() {
    let body = RequestBody::Length(3);
    assert_eq!(decoded(body, &[b"ab", b"cd"]), Ok((b"abc".to_vec(), true, 1)));
    assert_eq!(decoded(body, &[b"ab"]), Ok((b"ab".to_vec(), false, 0)));
    assert_eq!(decoded(RequestBody::None, &[b"ab"]), Ok((vec![], true, 2)));
}

#[test]
fn chunks_with_extensions_and_trailers_are_decoded() {
    let input = "3\r\nabc\r\nA;x=\"y\"\r\n0123456789\r\n0\r\nx: y\r\nz: \r\n\r\nGET";
    assert_eq!(chunked(input), Ok((b"abc0123456789".to_vec(), true, 3)));
    assert_eq!(chunked("1 \t;x\r\na\r\n0\r\n\r\n"), Ok((b"a".to_vec(), true, 0)));
    assert_eq!(chunked("000\r\n\r\n"), Ok((vec![], true, 0)));
    assert_eq!(chunked("1\r\na\r\n"), Ok((b"a".to_vec(), false, 0)));
}

#[test]
fn malformed_chunks_are_rejected() {
    for input in [
        "\r\n",
        "g\r\n",
        "+1\r\na",
        "-1\r\n",
        "0x1\r\na",
        ";a\r\n",
        " 1\r\na",
        "1 \r\na",
        "1 2\r\na",
        "1 a;b\r\na",
        "1\na\r\n",
        "1\r\na\n",
        "1\r\nab",
        "1\r\na\rb",
        "1\rx",
        "00000000000000001\r\na",
        "FFFFFFFFFFFFFFFFF\r\n",
        "1;a\u{0}\r\na",
        "1;a\nb\r\na",
        "0\r\n\n",
        "0\r\na: b\n",
        "0\r\na\u{1}: b\r\n",
        "0\r\na: b\u{1}\r\n",
        "0\r\na b: c\r\n",
        "0\r\na\r\n",
        "0\r\n: a\r\n",
        "0\r\n a: b\r\n",
        "0\r\n\rx",
    ] {
        assert_eq!(chunked(input), Err(400), "{input:?}");
    }
}

#[test]
fn endless_extensions_and_trailers_are_rejected() {
    let long = "a".repeat(MAX_OVERHEAD + 1);
    assert_eq!(chunked(&format!("1;{long}")), Err(431));
    assert_eq!(chunked(&format!("0\r\n{long}")), Err(431));
    let many = "1;aaaaaaaa\r\nx\r\n".repeat(MAX_OVERHEAD / 8);
    assert_eq!(chunked(&many), Err(431));
    assert_eq!(chunked(&format!("0\r\n{}", "a: b\r\n".repeat(MAX_OVERHEAD / 4 + 1))), Err(431));
}

proptest! {
    #[test]
    fn splits_do_not_change_the_result(input in "[0-9aF;\r\nx]{0,40}", at in 0_usize..40) {
        let at = at.min(input.len());
        let (one, other) = input.as_bytes().split_at(at);
        prop_assert_eq!(decoded(RequestBody::Chunked, &[one, other]), chunked(&input));
    }

    #[test]
    fn encoded_chunks_decode_to_the_same_body(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
    ) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            wire.extend_from_slice(chunk);
            wire.extend_from_slice(b"\r\n");
        }
        wire.extend_from_slice(b"0\r\n\r\n");
        prop_assert_eq!(decoded(RequestBody::Chunked, &[&wire]), Ok((chunks.concat(), true, 0)));
    }
}
