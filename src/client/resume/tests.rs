use super::*;

#[test]
fn slow_body_is_detected_at_the_end_of_a_window() {
    let tenth = RATE_WINDOW / 10;
    let mut rate = Rate::default();
    assert!((0..9).all(|_| !rate.record_read(tenth, 1)));
    assert!(rate.record_read(tenth, 1));
    // A new window starts.
    assert!((0..9).all(|_| !rate.record_read(tenth, 13)));
    assert!(!rate.record_read(tenth, 100));
}
