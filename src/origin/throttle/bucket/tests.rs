use std::time::UNIX_EPOCH;

use super::*;

/// A linear congruential generator, so that a failure can be reproduced.
struct Rng(u64);

impl Rng {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// A reference implementation: allows a request if no period that ends with it contains too many
/// requests.
struct Model {
    rate: Rate,
    taken: Vec<SystemTime>,
}

impl Model {
    fn take(&mut self, now: SystemTime) -> bool {
        let fits = (0..self.taken.len()).all(|from| {
            let past = now.duration_since(self.taken[from]).unwrap().as_nanos();
            let allowed = u128::from(self.rate.burst) + past / self.rate.interval.as_nanos();
            ((self.taken.len() - from + 1) as u128) <= allowed
        });
        if fits {
            self.taken.push(now);
        }
        fits
    }
}

#[test]
fn bucket_agrees_with_the_reference_model() {
    for seed in 0..40 {
        let mut rng = Rng(seed);
        let interval = Duration::from_nanos(1 + rng.below(2_000_000_000));
        let rate = Rate { interval, burst: 1 + u32::try_from(rng.below(12)).unwrap() };
        let mut model = Model { rate, taken: Vec::new() };
        let mut bucket = Bucket::new(rate);
        let mut now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for step in 0..400 {
            let most = u64::try_from(interval.as_nanos()).unwrap() * if step % 7 == 0 { 9 } else { 2 };
            now += Duration::from_nanos(rng.below(most.max(2)));
            let wait = bucket.wait(1, now);
            let taken = bucket.take(now);
            assert_eq!(taken, model.take(now), "seed {seed}, step {step}");
            assert_eq!(wait.is_zero(), taken, "seed {seed}, step {step}");
        }
        assert!(model.taken.len() > 20, "seed {seed}");
    }
}

#[test]
fn clock_going_back_delays_at_most_a_full_burst() {
    let rate = Rate { interval: Duration::from_secs(1), burst: 2 };
    let now = UNIX_EPOCH + Duration::from_secs(100_000);
    let mut bucket = Bucket::new(rate);
    assert!(bucket.take(now) && bucket.take(now) && !bucket.take(now));
    let before = now - Duration::from_secs(50_000);
    assert!(bucket.wait(1, before) <= Duration::from_secs(2));
}

#[test]
fn rate_change_keeps_tokens_up_to_the_new_burst() {
    let (whole, share) = (
        Rate { interval: Duration::from_millis(100), burst: 6 },
        Rate { interval: Duration::from_millis(300), burst: 2 },
    );
    let now = UNIX_EPOCH + Duration::from_secs(1_000);
    let mut bucket = Bucket::new(whole);
    assert!(bucket.take(now));
    // Five tokens exceed the burst of the share.
    bucket.set_rate(share, now);
    assert!(bucket.take(now) && bucket.take(now) && !bucket.take(now));
    assert_eq!(bucket.wait(1, now), Duration::from_millis(300));
    // Half a token remains half a token.
    let later = now + Duration::from_millis(150);
    bucket.set_rate(whole, later);
    assert_eq!(bucket.wait(1, later), Duration::from_millis(50));
}
