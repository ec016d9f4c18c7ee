use std::net::TcpListener;

use super::*;

fn exchange(terms: ExchangeOptions) -> Arc<Exchange> {
    Exchange::new(terms)
}

#[test]
fn head_has_a_deadline_and_body_a_silence_limit() {
    let now = Instant::now();
    let at = |seconds| Some(now + Duration::from_secs(seconds));
    let terms =
        ExchangeOptions { head_deadline: at(60), whole_deadline: at(100), ..ExchangeOptions::default() };
    let running = exchange(terms.clone());
    assert_eq!(running.next_deadline(now + Duration::from_secs(59)), at(60));
    running.begin_body(Some(Duration::from_secs(30)));
    assert_eq!(running.next_deadline(now + Duration::from_secs(61)), at(91));
    assert_eq!(running.next_deadline(now + Duration::from_secs(80)), at(100));
    assert!(
        !running.is_past_whole_deadline(now + Duration::from_secs(99))
            && running.is_past_whole_deadline(now + Duration::from_secs(100))
    );
    running.begin_body(None);
    assert_eq!(running.next_deadline(now), at(100));
    // While content is being sent, each write restarts the time for the head.
    let sending = ExchangeOptions {
        head_deadline: None,
        head_timeout_after_content: Some(Duration::from_secs(60)),
        ..terms
    };
    let sending = exchange(sending);
    sending.note_sent(now + Duration::from_secs(20));
    assert_eq!(sending.next_deadline(now + Duration::from_secs(25)), at(80));
}

#[test]
fn head_read_timeout_starts_with_the_final_head() {
    let now = Instant::now();
    let terms =
        ExchangeOptions { head_read_timeout: Some(Duration::from_secs(1)), ..ExchangeOptions::default() };
    let running = exchange(terms);
    let later = now + Duration::from_secs(2);
    running.note_head_began(Some(now));
    running.note_head_began(Some(later));
    assert!(running.is_head_too_slow(later));
    // The bytes so far were a complete interim response.
    running.note_head_began(None);
    assert!(!running.is_head_too_slow(later) && running.next_deadline(later).is_none());
    running.note_head_began(Some(later));
    assert!(!running.is_head_too_slow(later));
}

#[test]
fn current_exchange_is_the_one_entered_last() {
    let is_current =
        |exchange: &Arc<Exchange>| Exchange::current().is_some_and(|current| Arc::ptr_eq(&current, exchange));
    let (outer, inner) = (exchange(ExchangeOptions::default()), exchange(ExchangeOptions::default()));
    let entered = outer.enter();
    {
        let _entered = inner.enter();
        assert!(is_current(&inner));
    }
    assert!(is_current(&outer));
    drop(entered);
    assert!(Exchange::current().is_none());
}

#[test]
fn cancellation_does_not_shut_down_a_detached_socket() {
    use std::io::{Read, Write};

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connect = || Arc::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    let (kept, returned) = (connect(), connect());
    let cancellation = Cancellation::new();
    let terms = ExchangeOptions { cancellation: Some(cancellation.clone()), ..ExchangeOptions::default() };
    let running = exchange(terms).cancellable();
    running.exchange.attach_socket(&returned);
    running.exchange.detach_socket(&returned);
    running.exchange.attach_socket(&kept);
    cancellation.cancel();
    assert_eq!((&*kept).read(&mut [0]).unwrap(), 0);
    assert!(running.exchange.check_cancelled().is_err());
    (&*returned).write_all(b"x").unwrap();
}
