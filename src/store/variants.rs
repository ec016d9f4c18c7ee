//! Merges a new response into the stored variants of its key.

use std::sync::Arc;

use super::{MAX_VARIANTS, StoredResponse, Variants};
use crate::policy::Variant;

/// Returns the stored responses with `new` inserted before all that are not newer. It replaces the response
/// with the same variant.
///
/// The oldest responses are dropped if there are more than [`MAX_VARIANTS`], and as long as they do not fit.
/// `None` if `new` itself does not fit.
pub(super) fn merged(
    stored: &[Arc<StoredResponse>],
    new: &Arc<StoredResponse>,
    fit: impl Fn(&[Arc<StoredResponse>]) -> bool,
) -> Option<Variants> {
    let mut all = Vec::with_capacity(stored.len() + 1);
    let others = stored.iter().filter(|old| old.variant() != new.variant()).cloned();
    all.extend(others.take(MAX_VARIANTS - 1));
    let is_older = |old: &Arc<StoredResponse>| old.sequence() <= new.sequence();
    let place = all.iter().position(is_older).unwrap_or(all.len());
    all.insert(place, Arc::clone(new));
    while !fit(&all) {
        all.pop();
        if all.is_empty() {
            return None;
        }
    }
    Some(all.into())
}

/// Whether a newer response than `new` is stored for its variant.
pub(super) fn is_outdated(stored: &[Arc<StoredResponse>], new: &StoredResponse) -> bool {
    stored.iter().any(|old| old.variant() == new.variant() && old.sequence() > new.sequence())
}

/// Returns the stored responses except the one with this variant.
pub(super) fn without(stored: &[Arc<StoredResponse>], variant: &Variant) -> Variants {
    stored.iter().filter(|old| old.variant() != variant).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{body_numbers, response};

    #[test]
    fn new_response_comes_first_and_replaces_its_variant() {
        let stored = [response("a", 1), response("b", 2), response("c", 3)];
        let all = merged(&stored, &response("b", 4), |_| true).unwrap();
        assert_eq!(body_numbers(&all), [4, 1, 3]);
        let all = merged(&all, &response("d", 5), |_| true).unwrap();
        assert_eq!(body_numbers(&all), [5, 4, 1, 3]);
        assert_eq!(body_numbers(&without(&all, stored[0].variant())), [5, 4, 3]);
    }

    #[test]
    fn oldest_variant_is_dropped_over_the_limit() {
        let mut all = Variants::default();
        for number in 0..MAX_VARIANTS as u64 + 3 {
            all = merged(&all, &response(&number.to_string(), number), |_| true).unwrap();
        }
        assert_eq!(all.len(), MAX_VARIANTS);
        assert_eq!(body_numbers(&all).last(), Some(&3));
        // A replacement drops no other variant.
        let all = merged(&all, &response("3", 99), |_| true).unwrap();
        assert_eq!(all.len(), MAX_VARIANTS);
        assert_eq!(body_numbers(&all).last(), Some(&4));
    }

    #[test]
    fn oldest_variants_are_dropped_until_the_rest_fits() {
        let stored = [response("a", 1), response("b", 2)];
        let all = merged(&stored, &response("c", 3), |all| all.len() <= 2).unwrap();
        assert_eq!(body_numbers(&all), [3, 1]);
        assert!(merged(&stored, &response("c", 3), |_| false).is_none());
    }
}
