use super::*;

const SETTLE: Duration = Duration::from_secs(10);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn list(urls: &str) -> Vec<Member> {
    urls.split(' ').map(|host| format!("http://{host}:1").parse().unwrap()).collect()
}

/// What is decided at this second about this list, or about the last one again.
fn seen(settling: &mut Settling, second: u64, read: Option<&str>) -> Decision {
    settling.seen(read.map(list), &list("a b"), SETTLE, at(second))
}

#[test]
fn a_change_counts_once_it_has_stayed() {
    let mut settling = Settling::default();
    assert_eq!(seen(&mut settling, 0, Some("a b")), Decision::Same);
    assert!(!settling.is_waiting());
    assert_eq!(seen(&mut settling, 1, Some("a b c")), Decision::Wait);
    assert!(settling.is_waiting());
    assert_eq!(seen(&mut settling, 10, Some("a b c")), Decision::Wait);
    assert_eq!(seen(&mut settling, 11, Some("a b c")), Decision::Swap(list("a b c")));
    assert!(!settling.is_waiting());
}

#[test]
fn one_that_changes_again_begins_again() {
    let mut settling = Settling::default();
    assert_eq!(seen(&mut settling, 0, Some("a")), Decision::Wait);
    assert_eq!(seen(&mut settling, 9, Some("a c")), Decision::Wait);
    assert_eq!(seen(&mut settling, 18, Some("a c")), Decision::Wait);
    assert_eq!(seen(&mut settling, 19, Some("a c")), Decision::Swap(list("a c")));
}

#[test]
fn one_that_is_taken_back_never_was() {
    let mut settling = Settling::default();
    assert_eq!(seen(&mut settling, 0, Some("a")), Decision::Wait);
    assert_eq!(seen(&mut settling, 20, Some("a b")), Decision::Same);
    assert_eq!(seen(&mut settling, 21, Some("a")), Decision::Wait);
}

#[test]
fn nothing_new_is_the_same_again() {
    let mut settling = Settling::default();
    assert_eq!(seen(&mut settling, 0, None), Decision::Same);
    assert_eq!(seen(&mut settling, 1, Some("a")), Decision::Wait);
    assert_eq!(seen(&mut settling, 2, None), Decision::Wait);
    assert_eq!(seen(&mut settling, 11, None), Decision::Swap(list("a")));
}

#[test]
fn a_failure_between_begins_again() {
    let mut settling = Settling::default();
    assert_eq!(seen(&mut settling, 0, Some("a")), Decision::Wait);
    settling.start_over();
    assert_eq!(seen(&mut settling, 20, Some("a")), Decision::Wait);
}

#[test]
fn a_clock_that_went_back_begins_again() {
    let mut settling = Settling::default();
    assert_eq!(seen(&mut settling, 1000, Some("a")), Decision::Wait);
    assert_eq!(seen(&mut settling, 5, Some("a")), Decision::Wait);
    assert_eq!(seen(&mut settling, 15, Some("a")), Decision::Swap(list("a")));
}

#[test]
fn without_a_time_to_settle_it_counts_at_once() {
    let mut settling = Settling::default();
    let decision = settling.seen(Some(list("c")), &list("a"), Duration::ZERO, at(0));
    assert_eq!(decision, Decision::Swap(list("c")));
}
