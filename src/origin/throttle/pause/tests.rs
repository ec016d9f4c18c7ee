use std::time::UNIX_EPOCH;

use http::HeaderValue;
use http::header::RETRY_AFTER;

use super::*;

const LONGEST: Duration = Duration::from_secs(300);

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(784_111_777 + seconds)
}

fn fields(lines: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines {
        headers.append(RETRY_AFTER, HeaderValue::from_str(line).unwrap());
    }
    headers
}

#[test]
fn pause_doubles_for_consecutive_429_without_retry_after() {
    let (mut pause, none) = (Pause::default(), HeaderMap::new());
    let mut now = at(0);
    for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
        assert!(pause.note_response(StatusCode::TOO_MANY_REQUESTS, &none, LONGEST, now));
        assert_eq!(pause.remaining(now), Some(Duration::from_secs(seconds)));
        // Responses to concurrent requests.
        assert!(!pause.note_response(StatusCode::TOO_MANY_REQUESTS, &none, LONGEST, now));
        assert!(!pause.note_response(StatusCode::OK, &none, LONGEST, now));
        assert_eq!(pause.remaining(now), Some(Duration::from_secs(seconds)));
        now += Duration::from_secs(seconds);
        assert_eq!(pause.remaining(now), None);
        assert!(!pause.is_over(now));
    }
    assert!(!pause.is_expired(LONGEST, now + LONGEST));
    assert!(pause.is_expired(LONGEST, now + LONGEST + Duration::from_secs(1)));
    pause.note_response(StatusCode::OK, &none, LONGEST, now);
    assert!(pause.is_over(now));
    pause.note_response(StatusCode::TOO_MANY_REQUESTS, &none, LONGEST, now);
    assert_eq!(pause.remaining(now), Some(Duration::from_secs(1)));
}

#[test]
fn retry_after_is_honoured_up_to_the_longest_pause() {
    for (status, lines, seconds) in [
        (429, &["30"][..], Some(30)),
        (503, &["30"], Some(30)),
        (503, &["Sun, 06 Nov 1994 08:50:37 GMT"], Some(60)),
        (503, &["86400"], Some(300)),
        (429, &["0"], None),
        (503, &[], None),
        (503, &["soon"], None),
        (429, &["soon"], Some(1)),
        (500, &["30"], None),
        (301, &["30"], None),
    ] {
        let mut pause = Pause::default();
        let status = StatusCode::from_u16(status).unwrap();
        let changed = pause.note_response(status, &fields(lines), LONGEST, at(0));
        assert_eq!(pause.remaining(at(0)), seconds.map(Duration::from_secs), "{status} {lines:?}");
        assert_eq!(changed, seconds.is_some());
    }
}

#[test]
fn pause_is_never_shortened_nor_lengthened_by_the_clock() {
    let mut pause = Pause::default();
    assert!(pause.extend(Duration::from_secs(30), at(1_000)));
    assert!(!pause.extend(Duration::from_secs(10), at(1_000)));
    assert!(pause.extend(Duration::from_secs(31), at(1_000)));
    assert_eq!(pause.remaining(at(1_010)), Some(Duration::from_secs(21)));
    assert_eq!(pause.remaining(at(5)), Some(Duration::from_secs(31)));
    assert_eq!(pause.remaining(at(1_031)), None);
}
