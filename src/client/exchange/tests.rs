use super::super::peer_circuit_breaker::CircuitBreaker;
use super::*;

fn exchange() -> Exchange {
    let peer = Arc::new(PeerEntry::new("http://p:1".parse().unwrap(), CircuitBreaker::default()));
    Exchange {
        peer,
        epoch: Epoch::default(),
        cancellation: Cancellation::new(),
        begun: Instant::now(),
        waiting_since: AtomicU64::new(0),
        alive_at: AtomicU64::new(0),
        head_by: AtomicU64::new(0),
        may_be_repeated: AtomicBool::new(true),
        given_up: AtomicU8::new(0),
    }
}

#[test]
fn exchange_is_due_a_second_after_the_wait_or_the_last_probe() {
    let exchange = exchange();
    let after = |micros| Some(exchange.begun + Duration::from_micros(micros));
    assert_eq!((exchange.due(), exchange.is_late(u64::MAX)), (None, false));
    exchange.waiting_since.store(5, Ordering::Relaxed);
    assert_eq!(
        (exchange.due(), exchange.is_late(1_000_004), exchange.is_late(1_000_005)),
        (after(1_000_005), false, true)
    );
    exchange.alive_at.store(1_500_000, Ordering::Relaxed);
    assert_eq!(exchange.due(), after(2_500_000));
    exchange.head_by.store(2_000_000, Ordering::Relaxed);
    assert_eq!((exchange.due(), exchange.is_timed_out(1_999_999)), (after(2_000_000), false));
    exchange.receive_head();
    assert_eq!((exchange.due(), exchange.is_timed_out(u64::MAX)), (None, false));
}

#[test]
fn failure_reports_why_the_exchange_was_given_up() {
    let broken = || Error::new(ErrorKind::Io, "broken");
    for (why, kind, cause) in [
        (0, ErrorKind::Io, None),
        (SILENT, ErrorKind::Timeout, Some(Cause::Silent)),
        (TIMED_OUT, ErrorKind::Timeout, None),
    ] {
        let exchange = exchange();
        if why > 0 {
            exchange.give_up(why);
            exchange.give_up(3 - why);
            assert!(exchange.cancellation.is_cancelled());
        }
        let error = exchange.explain_failure(broken());
        assert_eq!((error.kind(), error.cause()), (kind, cause));
    }
}
