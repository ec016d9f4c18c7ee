use proptest::prelude::*;

use super::*;

#[test]
fn ranges_apply_to_a_body_of_ten_bytes() {
    use Requested::{Complete, Parts, Unsatisfiable};
    for (field, expected) in [
        ("bytes=0-1", Parts(vec![(0, 2)])),
        ("Bytes = 1-", Parts(vec![(1, 10)])),
        ("bytes=-3", Parts(vec![(7, 10)])),
        ("bytes=-30", Parts(vec![(0, 10)])),
        ("bytes=4-999999999999999999999999", Parts(vec![(4, 10)])),
        ("bytes=0-0,-1", Parts(vec![(0, 1), (9, 10)])),
        ("bytes=20-30, 1-2", Parts(vec![(1, 3)])),
        ("bytes=10-", Unsatisfiable),
        ("bytes=-0", Unsatisfiable),
        ("bytes=0-5,3-8", Complete),
        ("bytes=0-4,5-9", Complete),
        ("bytes=3-1", Complete),
        ("bytes=", Complete),
        ("bytes=a-b", Complete),
        ("bytes=+1-2", Complete),
        ("items=0-1", Complete),
        ("bytes", Complete),
    ] {
        assert_eq!(requested(field.as_bytes(), 10), expected, "{field}");
    }
    for field in ["bytes=0-", "bytes=0-0", "bytes=5-", "bytes=-5"] {
        assert_eq!(requested(field.as_bytes(), 0), Complete, "{field}");
    }
}

#[test]
fn largest_claimed_length_does_not_overflow() {
    assert_eq!(requested(b"bytes=0-,0-,0-", u64::MAX), Requested::Complete);
    assert_eq!(
        requested(b"bytes=0-1,-1", u64::MAX),
        Requested::Parts(vec![(0, 2), (u64::MAX - 1, u64::MAX)])
    );
}

#[test]
fn content_ranges_parse_and_format() {
    assert_eq!(ContentRange { start: 4, end: 10, complete: Some(10) }.text(), "bytes 4-9/10");
    assert_eq!(ContentRange { start: 4, end: 10, complete: None }.text(), "bytes 4-9/*");
    for text in ["bytes 4-9/10", "bytes 4-9/*"] {
        assert_eq!(ContentRange::parse(text.as_bytes()).unwrap().text(), text);
    }
    for bad in ["bytes */10", "bytes 9-4/10", "bytes 4-10/10", "items 0-1/2", "bytes 4-9", ""] {
        assert_eq!(ContentRange::parse(bad.as_bytes()), None, "{bad}");
    }
}

proptest! {
    #[test]
    fn parts_lie_within_the_body(field in "(bytes=)?[0-9,\\- ]{0,40}", length in 0_u64..100) {
        if let Requested::Parts(parts) = requested(field.as_bytes(), length) {
            prop_assert!(parts.iter().all(|(start, end)| start < end && *end <= length));
        }
    }
}
