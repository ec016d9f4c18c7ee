use super::*;

const SETTLE: Duration = Duration::from_secs(10);

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn list(urls: &str) -> Vec<Member> {
    urls.split(' ').map(|host| format!("http://{host}:1").parse().unwrap()).collect()
}

/// Returns the decision at this second about this list; `None` repeats the last list.
fn seen(settling: &mut Settling, second: u64, read: Option<&str>) -> Decision {
    settling.observe(read.map(list), &list("a b"), SETTLE, at(second))
}

#[test]
fn change_takes_effect_once_it_is_stable() {
    let mut settling = Settling::default();
    assert_eq!(seen(&mut settling, 0, Some("a b")), Decision::Same);
    assert!(!settling.is_waiting());
    assert_eq!(seen(&mut settling, 1, Some("a b c")), Decision::Wait);
    assert!(settling.is_waiting());
    assert_eq!(seen(&mut settling, 10, Some("a b c")), Decision::Wait);
    assert_eq!(seen(&mut settling, 11, Some("a b c")), Decision::Replace(list("a b c")));
    assert!(!settling.is_waiting());
}

#[test]
fn another_change_restarts_the_wait() {
    let mut settling = Settling::default();
    assert_eq!(seen(&mut settling, 0, Some("a")), Decision::Wait);
    assert_eq!(seen(&mut settling, 9, Some("a c")), Decision::Wait);
    assert_eq!(seen(&mut settling, 18, Some("a c")), Decision::Wait);
    assert_eq!(seen(&mut settling, 19, Some("a c")), Decision::Replace(list("a c")));
}

#[test]
fn reverted_change_is_forgotten() {
    let mut settling = Settling::default();
    assert_eq!(seen(&mut settling, 0, Some("a")), Decision::Wait);
    assert_eq!(seen(&mut settling, 20, Some("a b")), Decision::Same);
    assert_eq!(seen(&mut settling, 21, Some("a")), Decision::Wait);
}

#[test]
fn unchanged_list_counts_as_the_last_one() {
    let mut settling = Settling::default();
    assert_eq!(seen(&mut settling, 0, None), Decision::Same);
    assert_eq!(seen(&mut settling, 1, Some("a")), Decision::Wait);
    assert_eq!(seen(&mut settling, 2, None), Decision::Wait);
    assert_eq!(seen(&mut settling, 11, None), Decision::Replace(list("a")));
}

#[test]
fn failed_reading_restarts_the_wait() {
    let mut settling = Settling::default();
    assert_eq!(seen(&mut settling, 0, Some("a")), Decision::Wait);
    settling.reset();
    assert_eq!(seen(&mut settling, 20, Some("a")), Decision::Wait);
}

#[test]
fn clock_set_back_restarts_the_wait() {
    let mut settling = Settling::default();
    assert_eq!(seen(&mut settling, 1000, Some("a")), Decision::Wait);
    assert_eq!(seen(&mut settling, 5, Some("a")), Decision::Wait);
    assert_eq!(seen(&mut settling, 15, Some("a")), Decision::Replace(list("a")));
}

#[test]
fn change_takes_effect_at_once_without_settle_time() {
    let mut settling = Settling::default();
    let decision = settling.observe(Some(list("c")), &list("a"), Duration::ZERO, at(0));
    assert_eq!(decision, Decision::Replace(list("c")));
}
