use http::HeaderValue;
use proptest::prelude::*;

use super::*;

fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    fields.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
}

#[test]
fn a_206_with_one_complete_content_range_is_a_part() {
    let part = |range| Part::of(StatusCode::PARTIAL_CONTENT, &headers(&[("content-range", range)]));
    assert_eq!(part("bytes 4-8/10"), Some(Part { start: 4, end: 9, complete: 10 }));
    for unknown in ["bytes 4-8/*", "bytes */10", "lines 4-8/10", "bytes 8-4/10", "bytes 4-10/10", ""] {
        assert_eq!(part(unknown), None, "{unknown}");
    }
    assert_eq!(Part::of(StatusCode::PARTIAL_CONTENT, &headers(&[])), None);
    assert_eq!(Part::of(StatusCode::OK, &headers(&[("content-range", "bytes 4-8/10")])), None);
}

#[test]
fn a_range_within_the_part_is_served() {
    let part = Part { start: 4, end: 9, complete: 10 };
    let stored = headers(&[("etag", "\"a\"")]);
    for (range, expected) in [
        ("bytes=4-8", Some(4..9)),
        ("bytes=5-6", Some(5..7)),
        ("bytes=4-", None),
        ("bytes=-5", None),
        ("bytes=3-5", None),
        ("bytes=4-4,6-6", None),
        ("bytes=20-", None),
    ] {
        assert_eq!(part.answers(&headers(&[("range", range)]), &stored), expected, "{range}");
    }
    let end = Part { start: 5, end: 10, complete: 10 };
    assert_eq!(end.answers(&headers(&[("range", "bytes=-5")]), &stored), Some(5..10));
    assert_eq!(end.answers(&headers(&[("range", "bytes=6-")]), &stored), Some(6..10));
    assert_eq!(end.answers(&headers(&[]), &stored), None);
    let other = headers(&[("range", "bytes=6-"), ("if-range", "\"b\"")]);
    assert_eq!(end.answers(&other, &stored), None);
}

#[test]
fn parts_combine_only_with_the_same_strong_tag() {
    let (strong, weak) = (headers(&[("etag", "\"a\"")]), headers(&[("etag", "W/\"a\"")]));
    assert!(have_same_strong_tag(&strong, &strong));
    assert!(!have_same_strong_tag(&strong, &weak));
    assert!(!have_same_strong_tag(&weak, &weak));
    assert!(!have_same_strong_tag(&headers(&[]), &headers(&[])));
}

proptest! {
    #[test]
    fn parts_that_touch_combine_and_others_do_not(
        (start, end) in (0_usize..20).prop_flat_map(|start| (Just(start), start + 1..=20)),
        (from, to) in (0_usize..20).prop_flat_map(|from| (Just(from), from + 1..=20)),
        size in 1_usize..5,
    ) {
        let whole: Vec<u8> = (0..20).collect();
        let part = |start: usize, end: usize| Part { start: start as u64, end: end as u64, complete: 20 };
        let pieces = |bytes: &[u8]| bytes.chunks(size).map(Bytes::copy_from_slice).collect::<Pieces>();
        let one = (part(start, end), &pieces(&whole[start..end]));
        let other = (part(from, to), &pieces(&whole[from..to]));
        let touch = start <= to && from <= end;
        let expected = touch.then(|| {
            let (low, high) = (start.min(from), end.max(to));
            (part(low, high), Bytes::copy_from_slice(&whole[low..high]).into())
        });
        prop_assert_eq!(combined(one, other, |bytes| bytes.into_vec().into()), expected);
    }
}
