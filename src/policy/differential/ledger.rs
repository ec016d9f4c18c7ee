//! Where this cache and the library differ, why, and who is right.

use http::Method;

use super::exchange::{AgeForm, Argument, DAY, Exchange};
use crate::message::header::cache_control::MAX_DELTA_SECONDS;

/// Who is right about a difference, or what the freedom was used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The library serves or keeps what it must not.
    LibraryTooBold,
    /// The library refuses what the RFC allows and a cache is there for.
    LibraryTooStrict,
    /// Both may be; this cache takes the stricter one.
    StricterByChoice,
    /// It shows in numbers, and in no answer.
    NoEffect,
}

pub(super) struct Difference {
    pub(super) name: &'static str,
    pub(super) verdict: Verdict,
    pub(super) clause: &'static str,
    /// Changes the second, given the original, where this difference is about it.
    pub(super) amend: fn(&Exchange, &mut Exchange),
}

use Verdict::{LibraryTooBold, LibraryTooStrict, NoEffect, StricterByChoice};

/// In the order in which they are applied.
pub(super) const LEDGER: &[Difference] = &[
    Difference {
        name: "only responses to GET are kept",
        verdict: StricterByChoice,
        clause: "RFC 9111 section 3; what answers a POST is kept only as section 9.3.3 of RFC 9110 says",
        amend: |original, amended| {
            if original.method != Method::GET {
                amended.refuse();
            }
        },
    },
    Difference {
        name: "Vary: * is not kept",
        verdict: StricterByChoice,
        clause: "RFC 9111 section 4.1: it matches no request; nor does what is not a list of names",
        amend: |original, amended| {
            if original.vary.is_some_and(|vary| vary.contains(['*', ')']) || vary == "cookie bar") {
                amended.refuse();
            }
        },
    },
    Difference {
        name: "what sets a cookie is not shared",
        verdict: StricterByChoice,
        clause: "RFC 9111 section 7.3; the library keeps it with no lifetime, and serves it by max-stale",
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
            if original.says("must-understand") {
                amended.response.remove("no-store");
            }
        },
    },
    Difference {
        name: "a status that is not understood",
        verdict: LibraryTooStrict,
        clause: "RFC 9111 section 3: it needs to be understood only where must-understand says so",
        amend: |original, amended| {
            let is_whole = !matches!(original.status, 206 | 304 | 412 | 416);
            let must_be_understood = original.says("must-understand") && original.status == 599;
            if is_whole && matches!(original.status, 403 | 500 | 599) && !must_be_understood {
                // Understood by the library, and without a lifetime of its own.
                amended.status = 302;
            }
        },
    },
    Difference {
        name: "private is a lifetime of its own",
        verdict: LibraryTooStrict,
        clause: "RFC 9111 section 3: \"a private response directive, if the cache is not shared\"",
        amend: |original, amended| {
            if !original.shared && original.response.get("private") == Some(&Argument::None) {
                amended.response.insert("public", Argument::None);
            }
        },
    },
    Difference {
        name: "private about one field",
        verdict: LibraryTooStrict,
        clause: "RFC 9111 section 5.2.2.7: a qualified private is about the fields that it names",
        amend: |original, amended| {
            if original.shared && original.response.get("private") == Some(&Argument::Field) {
                amended.response.remove("private");
            }
        },
    },
    Difference {
        name: "a private response answers one cookie",
        verdict: StricterByChoice,
        clause: "RFC 9111 section 4: the one party may hold several sessions",
        amend: |original, amended| {
            // Also where only some of its fields are private.
            if !original.shared && original.says("private") && original.asked.cookie != original.again.cookie
            {
                amended.again.control.insert("no-cache", Argument::None);
            }
        },
    },
    Difference {
        name: "no guess for other statuses",
        verdict: LibraryTooBold,
        clause: "RFC 9111 section 4.2.2: only heuristically cacheable statuses, or public",
        amend: |original, amended| {
            if matches!(original.status, 302 | 303 | 307 | 403 | 500 | 599) && !original.says("public") {
                amended.last_modified = None;
            }
        },
    },
    Difference {
        name: "a guess has a cap",
        verdict: StricterByChoice,
        clause: "RFC 9111 section 4.2.2; a day, as Rules says",
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
        name: "immutable is no lifetime",
        verdict: LibraryTooBold,
        clause: "RFC 8246 section 2: it says nothing past the freshness lifetime",
        amend: |original, amended| {
            if original.says("immutable") {
                amended.guesses_for_immutable = false;
            }
        },
    },
    Difference {
        name: "a lifetime stops at 2^31",
        verdict: StricterByChoice,
        clause: "RFC 9111 section 1.2.2: that, or the largest number there is room for",
        amend: |_, amended| {
            for argument in amended.response.values_mut() {
                if let Argument::Seconds(seconds) = argument {
                    *seconds = (*seconds).min(MAX_DELTA_SECONDS);
                }
            }
        },
    },
    Difference {
        name: "the first member of Age counts, and one that is not a number is ignored",
        verdict: LibraryTooBold,
        clause: "RFC 9111 section 5.1",
        amend: |original, amended| match original.age_form {
            AgeForm::Plain => {}
            AgeForm::First => amended.age_form = AgeForm::Plain,
            AgeForm::Invalid => (amended.age, amended.age_form) = (None, AgeForm::Plain),
        },
    },
    Difference {
        name: "an age stops at 2^31",
        verdict: NoEffect,
        clause: "RFC 9111 section 1.2.2: nothing is fresh for longer than that",
        amend: |_, amended| amended.age = amended.age.map(|age| age.min(MAX_DELTA_SECONDS)),
    },
    Difference {
        name: "the time that the answer took is age",
        verdict: LibraryTooBold,
        clause: "RFC 9111 section 4.2.3: corrected_age_value",
        amend: |original, amended| {
            if original.delay > 0 {
                amended.age = Some(amended.age.unwrap_or_default() + original.delay);
            }
        },
    },
    Difference {
        name: "a Date that has passed is age",
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
        name: "Pragma of a response",
        verdict: LibraryTooStrict,
        clause: "RFC 9111 section 5.4: it is specified for requests alone",
        amend: |_, amended| amended.response_pragma = false,
    },
    Difference {
        name: "Pragma beside Cache-Control",
        verdict: LibraryTooStrict,
        clause: "RFC 9111 section 5.4: it counts where there is no Cache-Control",
        amend: |original, amended| {
            if !original.again.control.is_empty() {
                amended.again.pragma = false;
            }
        },
    },
    Difference {
        name: "max-stale up to and including",
        verdict: LibraryTooStrict,
        clause: "RFC 9111 section 5.2.1.2: \"by no more than the specified number of seconds\"",
        amend: |_, amended| {
            if let Some(Argument::Seconds(seconds)) = amended.again.control.get_mut("max-stale") {
                *seconds += 1;
            }
        },
    },
    Difference {
        name: "stale while it is refreshed",
        verdict: LibraryTooStrict,
        clause: "RFC 5861 section 3",
        amend: |original, amended| {
            let Some(Argument::Seconds(allowed)) = original.response.get("stale-while-revalidate") else {
                return;
            };
            // A request that says what it takes takes no more.
            let limits = ["max-stale", "max-age", "min-fresh"];
            if limits.iter().all(|name| !original.again.control.contains_key(name)) {
                amended.again.control.insert("max-stale", Argument::Seconds(*allowed));
            }
        },
    },
    Difference {
        name: "proxy-revalidate is fresh before it is stale",
        verdict: LibraryTooStrict,
        clause: "RFC 9111 section 5.2.2.8: it forbids only stale answers",
        amend: |original, amended| {
            if original.shared {
                amended.response.remove("proxy-revalidate");
            }
        },
    },
    Difference {
        name: "proxy-revalidate is never stale",
        verdict: LibraryTooBold,
        clause: "RFC 9111 section 5.2.2.8",
        amend: |original, amended| {
            if original.shared && original.says("proxy-revalidate") {
                amended.again.control.remove("max-stale");
            }
        },
    },
    Difference {
        name: "s-maxage is never stale",
        verdict: LibraryTooBold,
        clause: "RFC 9111 section 5.2.2.10: it implies proxy-revalidate",
        amend: |original, amended| {
            if original.shared && original.says("s-maxage") {
                amended.again.control.remove("max-stale");
            }
        },
    },
    Difference {
        name: "no-cache has a lifetime",
        verdict: LibraryTooStrict,
        clause: "RFC 9111 section 4.2.1: it is reported, and counts when a HEAD or a 304 takes no-cache back",
        amend: |_, amended| {
            amended.response.remove("no-cache");
        },
    },
    Difference {
        name: "no-cache is stronger than max-stale",
        verdict: LibraryTooBold,
        clause: "RFC 9111 section 5.2.2.4: not \"without forwarding it for validation\"",
        amend: |original, amended| {
            if original.response.get("no-cache") == Some(&Argument::None) {
                amended.asks_first = true;
            }
        },
    },
    Difference {
        name: "a reload does not reach past immutable",
        verdict: LibraryTooStrict,
        clause: "RFC 8246 section 2: while it is fresh, a client should not ask for it again",
        amend: |original, amended| {
            if original.says("immutable") && original.ours().is_fresh {
                amended.again.control.remove("max-age");
            }
        },
    },
    Difference {
        name: "case and space of languages",
        verdict: LibraryTooStrict,
        clause: "RFC 9111 section 4.1: what is equal in meaning matches",
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
    /// Amended by all entries, or all but one.
    pub(super) fn amended_but(&self, omitted: Option<usize>) -> Self {
        let mut amended = self.clone();
        for (index, difference) in LEDGER.iter().enumerate() {
            if Some(index) != omitted {
                (difference.amend)(self, &mut amended);
            }
        }
        amended
    }
}
