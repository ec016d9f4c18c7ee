//! The caching rules of RFC 9111, and what an operator may change about them.
//!
//! [`Rules`] is the entry.

// RFC 9111 as pure functions of header fields and a given time. No function in this hall reads a clock, a socket or a
// store.
//
// Entries: [`may_store`] decides whether a response is stored, [`validity()`] computes what later decisions need, and
// [`reuse()`] decides whether a stored response answers a request. Reading order:
//
// | file | the question that it answers |
// |---|---|
// | `rules` | Is the cache private or shared, and what does the operator choose where the RFC leaves a choice? |
// | `unknown_fields` | How are request fields treated that are not standardised? |
// | `request_fields` | Which request fields are forwarded to the origin, and which of them select the response? |
// | `targeted` | Which response field holds the directives for this cache? |
// | `storing` | May this response be stored? |
// | `freshness` | How old was the response on arrival, and for how long is it fresh? |
// | `lifetime_rule` | Which lifetime has the operator set? |
// | `lifetime_text` | How is a lifetime rule parsed from text? |
// | `operator` | How do the operator's rules change the lifetime of a response? |
// | `basis` | What does a response mean that was stored under other rules? |
// | `heuristic` | For how long is a response fresh if the origin does not specify a lifetime? |
// | `validity` | Which times and flags are kept with a stored response? |
// | `reuse` | May a stored response answer this request now? |
// | `rule` | Which rule decided that, and in which RFC section is it specified? |
// | `variant` | Which of several stored responses for a URL answers this request? |
// | `offered` | Which entity tags of other variants may a request offer to the origin? |
// | `validation` | Which validators are sent to the origin, and what does a 304 change? |
// | `condition` | What do the client's own conditions or its range mean for a stored response? |
// | `partial` | Which ranges does a stored part answer, and when may two parts be combined? |
// | `invalidation` | Which URLs does an unsafe request invalidate? |
//
// `differential` (tests only) compares these decisions with those of the crate `http-cache-semantics`.

mod basis;
mod condition;
#[cfg(test)]
mod differential;
mod freshness;
mod heuristic;
mod invalidation;
mod lifetime_rule;
mod lifetime_text;
mod offered;
mod operator;
mod partial;
mod request_fields;
mod reuse;
mod rule;
mod rules;
mod storing;
mod targeted;
mod unknown_fields;
mod validation;
mod validity;
mod variant;

pub(crate) use basis::{Basis, RulesDigest, Stored, judge_again};
pub(crate) use condition::{Condition, condition, range_applies};
pub(crate) use freshness::{ExchangeTimes, validity};
pub(crate) use invalidation::invalidated;
pub(crate) use lifetime_rule::lifetime_rule;
pub use lifetime_rule::{Lifetime, LifetimeRule};
pub use lifetime_text::BadLifetimeRule;
pub(crate) use offered::may_be_offered;
pub(crate) use operator::{apply_rules, directives_by_rules, is_due_early, may_store_by_rules};
pub(crate) use partial::{Part, combined, have_same_strong_tag, single_range, strong_tag};
pub(crate) use request_fields::{is_known, remove_unforwarded_fields, selecting};
pub(crate) use reuse::{
    Reuse, ValidateBecause, may_serve_in_grace, may_serve_offline, may_serve_on_error, reuse,
};
pub use rule::{Flag, Rule};
pub use rules::{Mode, Rules};
#[cfg(test)]
pub(crate) use storing::may_store;
pub(crate) use storing::{NotStored, Request as StoringRequest, also_answers_get, has_explicit_lifetime};
pub(crate) use targeted::{CDN_CACHE_CONTROL, response_directives};
pub use unknown_fields::UnknownFields;
pub(crate) use validation::{
    HeadComparison, Validators, compare_with_head, confirmed, freshened, validators,
};
pub use validity::{LifetimeSource, Validity};
pub use variant::Variant;
pub(crate) use variant::{CredentialDigest, implied_fields, varies_by_anything};
