//! RFC 9111 as pure questions over fields and a given time. Nothing here reads a clock, a socket or a
//! store.
//!
//! | file | the question |
//! |---|---|
//! | `rules` | whose cache is it, and how bold may it be? |
//! | `request_fields` | what of a request is the origin shown, and what of that selects its answer? |
//! | `targeted` | which of its fields says how a response may be cached? |
//! | `storing` | may this response be stored? |
//! | `freshness` | how old was it when it came, and for how long is it fresh? |
//! | `lifetime_rule` | for how long, where the operator says so? |
//! | `lifetime_text` | the same, as an operator types it |
//! | `operator` | what do the operator's rules make of these? |
//! | `heuristic` | for how long, where the origin does not say? |
//! | `validity` | the answers to these two, kept with the response |
//! | `reuse` | may it answer this request now? |
//! | `rule` | which rule decided that, and where does it stand? |
//! | `variant` | which of several stored responses answers this request? |
//! | `offered` | of which stored responses that it does not select may a request offer the entity tags? |
//! | `validation` | what asks the origin whether it still holds, and what does a 304 change? |
//! | `condition` | what does the client's own condition or range ask of a stored response? |
//! | `partial` | what is a part good for, and when may two be combined? |
//! | `invalidation` | what does an unsafe request make doubtful? |

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
mod validation;
mod validity;
mod variant;

pub(crate) use condition::{Condition, condition, range_applies};
pub(crate) use freshness::{Times, validity};
pub(crate) use invalidation::invalidated;
pub(crate) use lifetime_rule::lifetime_rule;
pub use lifetime_rule::{Lifetime, LifetimeRule};
pub use lifetime_text::BadLifetimeRule;
pub(crate) use offered::may_be_offered;
pub(crate) use operator::{apply_rules, is_due_early};
pub(crate) use partial::{Part, are_of_one, combined, strong_tag};
pub use request_fields::UnknownFields;
pub(crate) use request_fields::{is_known, remove_unsent, selecting};
pub(crate) use reuse::{
    Reuse, ValidateBecause, may_serve_in_grace, may_serve_offline, may_serve_on_error, reuse,
};
pub use rule::{Flag, Rule};
pub use rules::{Mode, Rules};
pub(crate) use storing::{
    NotStored, Request as StoringRequest, has_explicit_lifetime, is_answer_to_get, may_store,
};
pub(crate) use targeted::{CDN_CACHE_CONTROL, response_directives};
pub(crate) use validation::{HeadSays, Validators, confirmed, freshened, head_says, validators};
pub use validity::{LifetimeSource, Validity};
pub use variant::Variant;
pub(crate) use variant::{CredentialDigest, implied_fields, varies_by_anything};
