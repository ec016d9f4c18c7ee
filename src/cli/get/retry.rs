//! Whether a failed attempt is repeated, and when.

use std::time::Duration;

use forwardcache::Error;

/// The pause before the first repetition; each later one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause, unless the response specifies one.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A response that asks for a longer pause than this is not repeated.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);

/// The flags of retries.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    /// How often a request may be repeated.
    pub(super) most: u32,
    /// The pause before each repetition, in place of the growing one.
    pub(super) delay: Option<Duration>,
}

impl Retry {
    /// Returns the pause after which the request is sent again, or `None` if it is not. `repeated` counts the repetitions so
    /// far, `left` is the time until the deadline.
    pub(super) fn pause(
        self,
        repeated: u32,
        error: &Error,
        is_idempotent: bool,
        left: Option<Duration>,
    ) -> Option<Duration> {
        let may_be_repeated = error.is_retryable() && (is_idempotent || error.is_unsent());
        if repeated >= self.most || !may_be_repeated {
            return None;
        }
        let growing = || FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(repeated)).min(LONGEST_PAUSE);
        let pause = match error.retry_after() {
            Some(asked) if asked > LONGEST_RETRY_AFTER => return None,
            Some(asked) => asked.max(self.delay.unwrap_or_default()),
            None => self.delay.unwrap_or_else(growing),
        };
        left.is_none_or(|left| pause < left).then_some(pause)
    }
}

#[cfg(test)]
mod tests {
    use forwardcache::ErrorKind;

    use super::*;

    const RETRY: Retry = Retry { most: 9, delay: None };

    fn timeout() -> Error {
        Error::new(ErrorKind::Timeout, "late")
    }

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn pause_doubles_up_to_a_minute_and_a_given_one_stays() {
        let pauses = (0..9).map(|repeated| RETRY.pause(repeated, &timeout(), true, None).unwrap().as_secs());
        assert_eq!(pauses.collect::<Vec<_>>(), [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(RETRY.pause(9, &timeout(), true, None), None);
        let fixed = Retry { delay: Some(seconds(3)), most: u32::MAX };
        assert_eq!(fixed.pause(50, &timeout(), true, None), Some(seconds(3)));
        assert_eq!(Retry { delay: None, ..fixed }.pause(99, &timeout(), true, None), Some(seconds(60)));
    }

    #[test]
    fn only_temporary_failures_of_idempotent_requests_are_repeated() {
        let error = Error::new(ErrorKind::Tls, "unknown issuer");
        assert_eq!(RETRY.pause(0, &error, true, None), None);
        assert_eq!(RETRY.pause(0, &timeout(), false, None), None);
        assert_eq!(RETRY.pause(0, &timeout(), true, Some(seconds(1))), None, "no time is left after it");
        assert_eq!(RETRY.pause(0, &timeout(), true, Some(seconds(2))), Some(seconds(1)));
    }

    #[test]
    fn retry_after_is_honoured_up_to_a_limit() {
        let asked = |count: u64| timeout().with_retry_after(seconds(count));
        assert_eq!(RETRY.pause(0, &asked(0), true, None), Some(seconds(0)));
        assert_eq!(RETRY.pause(0, &asked(300), true, None), Some(seconds(300)));
        assert_eq!(RETRY.pause(0, &asked(301), true, None), None);
        let fixed = Retry { delay: Some(seconds(3)), most: 1 };
        assert_eq!(fixed.pause(0, &asked(0), true, None), Some(seconds(3)));
        assert_eq!(fixed.pause(0, &asked(7), true, None), Some(seconds(7)));
    }
}
