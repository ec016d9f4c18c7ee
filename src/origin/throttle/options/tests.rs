use super::*;

#[test]
fn invalid_limits_are_rejected() {
    let new = OriginLimits::new;
    for (origin_limits, word) in [
        (new().concurrent(0), "concurrent"),
        (new().rate(1.0).burst(0), "burst"),
        (new().burst(5), "rate"),
        (new().rate(0.0), "0.001"),
        (new().rate(-1.0), "0.001"),
        (new().rate(f64::NAN), "0.001"),
        (new().rate(f64::INFINITY), "0.001"),
    ] {
        let error = origin_limits.limits().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BadOption);
        assert!(error.message().contains(word), "{}", error.message());
    }
    assert!(new().limits().unwrap().is_none());
}

#[test]
fn default_burst_is_one_second_of_the_rate() {
    for (rate, burst, interval) in [(0.1, 1, 10_000), (1.0, 1, 1_000), (2.5, 2, 400), (50.0, 50, 20)] {
        let limits = OriginLimits::new().rate(rate).limits().unwrap();
        assert_eq!(limits.rate, Some(Rate { interval: Duration::from_millis(interval), burst }), "{rate}");
    }
    let limits = OriginLimits::new().rate(1.0).burst(7).limits().unwrap();
    assert_eq!(limits.rate.unwrap().burst, 7);
}

#[test]
fn share_is_by_weight_and_at_least_one() {
    let limits = OriginLimits::new().concurrent(7).rate(10.0).limits().unwrap();
    for (weight, total, concurrent, burst, interval) in
        [(1, 1, 7, 10, 100), (1, 3, 2, 3, 300), (2, 3, 4, 6, 150), (1, 9, 1, 1, 900), (5, 0, 7, 10, 20)]
    {
        let share = limits.for_share(Share { weight, total });
        assert_eq!(share.concurrent, Some(concurrent), "{weight} of {total}");
        let interval = Duration::from_millis(interval);
        assert_eq!(share.rate, Some(Rate { interval, burst }), "{weight} of {total}");
    }
}
