use proptest::prelude::*;

use super::*;

fn decoded(pieces: &[&[u8]], limit: usize) -> Result<Option<Vec<u8>>> {
    let (mut decoder, mut body) = (ChunkedDecoder::new(), Vec::new());
    for piece in pieces {
        decoder.push(piece, &mut body, limit)?;
    }
    Ok(decoder.is_complete().then_some(body))
}

proptest! {
    #[test]
    fn input_may_be_split_anywhere(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
        step in 1_usize..50,
    ) {
        let mut coded = Vec::new();
        for chunk in &chunks {
            coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            coded.extend_from_slice(chunk);
            coded.extend_from_slice(b"\r\n");
        }
        coded.extend_from_slice(b"0\r\n\r\n");
        let pieces: Vec<&[u8]> = coded.chunks(step).collect();
        prop_assert_eq!(decoded(&pieces, 1000).unwrap(), Some(chunks.concat()));
        let cut: Vec<&[u8]> = coded[..coded.len() - 1].chunks(step).collect();
        prop_assert_eq!(decoded(&cut, 1000).unwrap(), None);
    }

    #[test]
    fn no_input_causes_a_panic(input in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = decoded(&[&input], 50);
    }
}

#[test]
fn extensions_and_trailers_are_ignored() {
    let coded = b"3 ; a=b\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n";
    assert_eq!(decoded(&[coded], 10).unwrap().unwrap(), b"abc");
}

#[test]
fn invalid_chunks_are_rejected() {
    for coded in
        [&b"x\r\n"[..], b"\r\n", b"+1\r\na", b"-1\r\n", b"1\na", b"1\r\nab\r\n", b"fffffffffffffffff\r\n"]
    {
        assert_eq!(decoded(&[coded], 10).unwrap_err().kind(), ErrorKind::BadRequest, "{coded:?}");
    }
    assert!(decoded(&[b"0\r\n\r\nmore"], 10).is_err());
    assert!(decoded(&[&[b'1'; LINE_LIMIT + 1]], 10).is_err());
}

#[test]
fn body_limit_is_enforced() {
    assert_eq!(decoded(&[b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"], 4).unwrap().unwrap(), b"abcd");
    assert_eq!(decoded(&[b"2\r\nab\r\n3\r\ncde"], 4).unwrap_err().kind(), ErrorKind::BadRequest);
}
