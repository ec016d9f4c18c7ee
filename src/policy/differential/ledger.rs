//! The known differences between this cache and the library: the reason, and which side is right.

use http::Method;

use super::exchange::{AgeForm, Argument, DAY, Exchange};
use crate::message::header::cache_control::MAX_DELTA_SECONDS;

/// Which side is right about a difference, or how a freedom is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The library serves or stores a response that it must not.
    LibraryTooBold,
    /// The library refuses a response that the RFC allows and a cache should serve.
    LibraryTooStrict,
    /// Both behaviours are allowed; this cache chooses the stricter one.
    StricterByChoice,
    /// The computed times differ, but no decision does.
    NoEffect,
}

pub(super) struct Difference {
    pub(super) name: &'static str,
    pub(super) verdict: Verdict,
    pub(super) clause: &'static str,
    /// Changes the second exchange if this difference applies to the first, the original.
    pub(super) amend: fn(&Exchange, &mut Exchange),
}

use Verdict::{LibraryTooBold, LibraryTooStrict, NoEffect, StricterByChoice};

/// The differences in the order in which they are applied.
pub(super) const LEDGER: &[Difference] = &[
    Difference {
        name: "only responses to GET are stored",
        verdict: StricterByChoice,
        clause: "RFC 9111 section 3; a response to POST is stored only under RFC 9110 section 9.3.3",
        amend: |original, amended| {
            if original.method != Method::GET {
                amended.refuse();
            }
        },
    },
    Difference {
        name: "a response with Vary: * is not stored",
        verdict: StricterByChoice,
        clause: "RFC 9111 section 4.1: it matches no request, and neither does an invalid Vary",
        amend: |original, amended| {
            if original.vary.is_some_and(|vary| vary.contains(['*', ')']) || vary == "cookie bar") {
                amended.refuse();
            }
        },
    },
    Difference {
        name: "a response that sets a cookie is not shared",
        verdict: StricterByChoice,
        clause: "RFC 9111 section 7.3; the library stores it without a lifetime, and serves it with max-stale",
        amend: |original, amended| {
            if original.shared && original.sets_cookie {
                amended.refuse();
            }
        },
    },
    Difference {
        name: "must-understand with a status that is understood",
        verdict: LibraryTooStrict,
        clause: "RFC 9111 section 5.2.2.3: no-store is then ignored",
        amend: |original, amended| {
            if original.has("must-understand") {
                amended.response.remove("no-store");
            }
        },
    },
    Difference {
        name: "a status that is not understood",
        verdict: LibraryTooStrict,
        clause: "RFC 9111 section 3: the status must be understood only with must-understand",
        amend: |original, amended| {
            let is_whole = !matches!(original.status, 206 | 304 | 412 | 416);
            let must_be_understood = original.has("must-understand") && original.status == 599;
            if is_whole && matches!(original.status, 403 | 500 | 599) && !must_be_understood {
                // A status that the library understands, and that allows no heuristic.
                amended.status = 302;
            }
        },
    },
    Difference {
        name: "private allows storing without a lifetime",
        verdict: LibraryTooStrict,
        clause: "RFC 9111 section 3: \"a private response directive, if the cache is not shared\"",
        amend: |original, amended| {
            if !original.shared && original.response.get("private") == Some(&Argument::None) {
                amended.response.insert("public", Argument::None);
            }
        },
    },
    Difference {
        name: "private for one field",
        verdict: LibraryTooStrict,
        clause: "RFC 9111 section 5.2.2.7: a qualified private applies only to the fields that it names",
        amend: |original, amended| {
            if original.shared && original.response.get("private") == Some(&Argument::Field) {
                amended.response.remove("private");
            }
        },
    },
    Difference {
        name: "a private response answers one cookie",
        verdict: StricterByChoice,
        clause: "RFC 9111 section 4: one party may have several sessions",
        amend: |original, amended| {
            // This also holds if only some of its fields are private.
            if !original.shared && original.has("private") && original.asked.cookie != original.again.cookie {
                amended.again.control.insert("no-cache", Argument::None);
            }
        },
    },
    Difference {
        name: "no heuristic for other statuses",
        verdict: LibraryTooBold,
        clause: "RFC 9111 section 4.2.2: only heuristically cacheable statuses, or public",
        amend: |original, amended| {
            if matches!(original.status, 302 | 303 | 307 | 403 | 500 | 599) && !original.has("public") {
                amended.last_modified = None;
            }
        },
    },
    Difference {
        name: "a heuristic lifetime has a cap",
        verdict: StricterByChoice,
        clause: "RFC 9111 section 4.2.2; a day, the default of Rules",
        amend: |original, amended| {
            let generated = original.date.unwrap_or_default();
            if original.last_modified.is_some_and(|modified| modified < generated - 10 * DAY)
                && amended.last_modified.is_some()
            {
                amended.last_modified = Some(generated - 10 * DAY);
            }
        },
    },
    Difference {
        name: "immutable gives no lifetime",
        verdict: LibraryTooBold,
        clause: "RFC 8246 section 2: it has no effect past the freshness lifetime",
        amend: |original, amended| {
            if original.has("immutable") {
                amended.guesses_for_immutable = false;
            }
        },
    },
    Difference {
        name: "a lifetime is capped at 2^31 seconds",
        verdict: StricterByChoice,
        clause: "RFC 9111 section 1.2.2: that value, or the largest representable one",
        amend: |_, amended| {
            for argument in amended.response.values_mut() {
                if let Argument::Seconds(seconds) = argument {
                    *seconds = (*seconds).min(MAX_DELTA_SECONDS);
                }
            }
        },
    },
    Difference {
        name: "the first member of Age counts, and an invalid one is ignored",
        verdict: LibraryTooBold,
        clause: "RFC 9111 section 5.1",
        amend: |original, amended| match original.age_form {
            AgeForm::Plain => {}
            AgeForm::First => amended.age_form = AgeForm::Plain,
            AgeForm::Invalid => (amended.age, amended.age_form) = (None, AgeForm::Plain),
        },
    },
    Difference {
        name: "an age is capped at 2^31 seconds",
        verdict: NoEffect,
        clause: "RFC 9111 section 1.2.2: no response is fresh for longer",
        amend: |_, amended| amended.age = amended.age.map(|age| age.min(MAX_DELTA_SECONDS)),
    },
    Difference {
        name: "the delay of the response counts as age",
        verdict: LibraryTooBold,
        clause: "RFC 9111 section 4.2.3: corrected_age_value",
        amend: |original, amended| {
            if original.delay > 0 {
                amended.age = Some(amended.age.unwrap_or_default() + original.delay);
            }
        },
    },
    Difference {
        name: "the time since Date counts as age",
        verdict: LibraryTooBold,
        clause: "RFC 9111 section 4.2.3: apparent_age",
        amend: |original, amended| {
            let apparent = u64::try_from(-original.date.unwrap_or_default()).unwrap_or_default();
            if amended.age.unwrap_or_default() < apparent {
                amended.age = Some(apparent);
            }
        },
    },
    Difference {
        name: "Pragma in a response",
        verdict: LibraryTooStrict,
        clause: "RFC 9111 section 5.4: Pragma is specified only for requests",
        amend: |_, amended| amended.response_pragma = false,
    },
    Difference {
        name: "Pragma next to Cache-Control",
        verdict: LibraryTooStrict,
        clause: "RFC 9111 section 5.4: Pragma counts only without Cache-Control",
        amend: |original, amended| {
            if !original.again.control.is_empty() {
                amended.again.pragma = false;
            }
        },
    },
    Difference {
        name: "max-stale is inclusive",
        verdict: LibraryTooStrict,
        clause: "RFC 9111 section 5.2.1.2: \"by no more than the specified number of seconds\"",
        amend: |_, amended| {
            if let Some(Argument::Seconds(seconds)) = amended.again.control.get_mut("max-stale") {
                *seconds += 1;
            }
        },
    },
    Difference {
        name: "a stale response is served while it is refreshed",
        verdict: LibraryTooStrict,
        clause: "RFC 5861 section 3",
        amend: |original, amended| {
            let Some(Argument::Seconds(allowed)) = original.response.get("stale-while-revalidate") else {
                return;
            };
            // A request with its own limits accepts nothing beyond them.
            let limits = ["max-stale", "max-age", "min-fresh"];
            if limits.iter().all(|name| !original.again.control.contains_key(name)) {
                amended.again.control.insert("max-stale", Argument::Seconds(*allowed));
            }
        },
    },
    Difference {
        name: "proxy-revalidate allows fresh responses",
        verdict: LibraryTooStrict,
        clause: "RFC 9111 section 5.2.2.8: it forbids only stale responses",
        amend: |original, amended| {
            if original.shared {
                amended.response.remove("proxy-revalidate");
            }
        },
    },
    Difference {
        name: "proxy-revalidate forbids stale responses",
        verdict: LibraryTooBold,
        clause: "RFC 9111 section 5.2.2.8",
        amend: |original, amended| {
            if original.shared && original.has("proxy-revalidate") {
                amended.again.control.remove("max-stale");
            }
        },
    },
    Difference {
        name: "s-maxage forbids stale responses",
        verdict: LibraryTooBold,
        clause: "RFC 9111 section 5.2.2.10: it implies proxy-revalidate",
        amend: |original, amended| {
            if original.shared && original.has("s-maxage") {
                amended.again.control.remove("max-stale");
            }
        },
    },
    Difference {
        name: "a response with no-cache has a lifetime",
        verdict: LibraryTooStrict,
        clause: "RFC 9111 section 4.2.1: it is reported, and counts if a HEAD or a 304 removes no-cache",
        amend: |_, amended| {
            amended.response.remove("no-cache");
        },
    },
    Difference {
        name: "no-cache takes precedence over max-stale",
        verdict: LibraryTooBold,
        clause: "RFC 9111 section 5.2.2.4: not \"without forwarding it for validation\"",
        amend: |original, amended| {
            if original.response.get("no-cache") == Some(&Argument::None) {
                amended.asks_first = true;
            }
        },
    },
    Difference {
        name: "a fresh immutable response is not reloaded",
        verdict: LibraryTooStrict,
        clause: "RFC 8246 section 2: while the response is fresh, a client should not validate it",
        amend: |original, amended| {
            if original.has("immutable") && original.ours().is_fresh {
                amended.again.control.remove("max-age");
            }
        },
    },
    Difference {
        name: "case and whitespace in Accept-Language",
        verdict: LibraryTooStrict,
        clause: "RFC 9111 section 4.1: values with the same meaning match",
        amend: |original, amended| {
            let canonical = |language: Option<&'static str>| match language {
                Some("DE, en") => Some("de,en"),
                other => other,
            };
            if original.vary.is_some_and(|vary| vary.to_ascii_lowercase().contains("accept-language")) {
                amended.asked.language = canonical(amended.asked.language);
                amended.again.language = canonical(amended.again.language);
            }
        },
    },
];

impl Exchange {
    /// Returns the exchange amended by all entries except the omitted one.
    pub(super) fn amended_except(&self, omitted: Option<usize>) -> Self {
        let mut amended = self.clone();
        for (index, difference) in LEDGER.iter().enumerate() {
            if Some(index) != omitted {
                (difference.amend)(self, &mut amended);
            }
        }
        amended
    }
}
