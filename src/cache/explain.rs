//! A dry run: reports how the cache would answer a request. Sends nothing to the origin and changes nothing.

use std::sync::Arc;
use std::time::Duration;

use http::header::{
    ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE, CONTENT_RANGE, ETAG, IF_NONE_MATCH,
    LAST_MODIFIED,
};
use http::{HeaderName, Method, Request};

use super::answer::answer;
use super::engine::{HttpCache, Inner};
use super::explanation::{ExplainedResponse, Explanation, NotStoredFetch, Verdict};
use super::forwarding::{Outgoing, Upstream, outgoing};
use super::incoming::Incoming;
use super::lookup::{Lookup, Plan, lookup, selected};
use crate::base::clock::Moment;
use crate::base::error::{Error, ErrorKind, Result};
use crate::message::header::cache_control::RequestDirectives;
use crate::message::stats::{CacheStatus, Forward, Outcome};
use crate::message::url::CanonicalUrl;
use crate::policy::{Flag, Rule, Validity, may_serve_on_error, response_directives, reuse};
use crate::store::{StoredResponse, Variants};

impl HttpCache {
    /// Reports how the cache would answer a request without a body at this moment, and why.
    ///
    /// The call sends nothing to the origin, stores and counts nothing, and waits for nothing. A lookup in a
    /// [`MemoryStore`](crate::store::MemoryStore) does not count as a use of the response. Fetches that are under way, which
    /// the request could share, are not considered.
    ///
    /// ```
    /// use forwardcache::cache::Verdict;
    /// use forwardcache::store::MemoryStore;
    /// use forwardcache::{Body, HttpCache, Outcome, ResponseExt, RoundTripFn};
    /// use http::{Request, Response};
    ///
    /// let origin = RoundTripFn(|_| {
    ///     Ok(Response::builder().header("cache-control", "max-age=60").body(Body::from("hello")).unwrap())
    /// });
    /// let cache = HttpCache::builder().origin(origin).store(MemoryStore::new(1 << 20)).build()?;
    /// let explain = || cache.explain(&Request::get("http://example.com/").body(()).unwrap());
    /// assert!(matches!(explain()?.verdict, Verdict::Forward(_)));
    /// cache.get("http://example.com/").send()?.text()?;
    /// assert!(matches!(explain()?.verdict, Verdict::Serve { outcome: Outcome::Hit, .. }));
    /// assert_eq!(explain()?.rule.clause(), "RFC 9111 section 4.2");
    /// println!("{}", explain()?);
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::BadUrl`] if the URL is not an absolute `http` or `https` URL, and [`ErrorKind::Io`] if the store
    /// cannot be read.
    pub fn explain(&self, request: &Request<()>) -> Result<Explanation> {
        let inner = &self.inner;
        let target = CanonicalUrl::parse(&request.uri().to_string())?;
        let mut headers = request.headers().clone();
        let (method, via) = (request.method().clone(), inner.via.clone());
        let hop = inner.strip_fields(&method, &mut headers);
        let incoming = Incoming::new(method, target, headers, hop, via, &inner.keys);
        let variants = inner.store.peek(&incoming.key, inner.clock.now()).map_err(|error| {
            Error::new(ErrorKind::Io, "the store cannot be read")
                .with_source(error)
                .with_url(&incoming.target)
        })?;
        let dry_run = DryRun { inner, incoming: &incoming, variants: &variants, now: inner.clock.moment() };
        Ok(dry_run.explanation())
    }
}

/// One request, the stored responses of its key, and the time.
#[derive(Clone, Copy)]
struct DryRun<'a> {
    inner: &'a Inner,
    incoming: &'a Incoming,
    variants: &'a Variants,
    now: Moment,
}

impl<'a> DryRun<'a> {
    fn explanation(self) -> Explanation {
        let (verdict, rule, outlook) = self.verdict();
        let selected = self.selected();
        let explained = |stored: &Arc<StoredResponse>| {
            let is_selected = selected.is_some_and(|selected| Arc::ptr_eq(selected, stored));
            explained(stored, is_selected, self.flags(stored), self.now)
        };
        Explanation {
            url: self.incoming.target.as_str().to_owned(),
            is_partitioned: self.incoming.key.as_str() != self.incoming.key.url(),
            mode: self.inner.rules.mode,
            stored: self.variants.iter().map(explained).collect(),
            not_stored: self.inner.unstored.get(&self.incoming.key).map(|last| NotStoredFetch {
                status: last.status,
                ago: self.now.wall().duration_since(last.at).unwrap_or_default(),
                reason: last.why.name(),
                clause: last.why.clause(),
            }),
            verdict,
            rule,
            outlook,
        }
    }

    fn verdict(self) -> (Verdict, Rule, String) {
        if !matches!(self.incoming.method, Method::GET | Method::HEAD) {
            let outlook = "A GET or HEAD of this URL may be answered from the store.";
            return (Verdict::Forward(Forward::Method), Rule::Method, outlook.to_owned());
        }
        if self.incoming.is_for_origin() {
            let outlook = "Without that condition, the request may be answered from the store.";
            return (Verdict::Forward(Forward::Bypass), Rule::OriginCondition, outlook.to_owned());
        }
        match self.look_up() {
            Lookup::Serve(stored, outcome) => {
                let status =
                    answer(&stored, self.incoming, CacheStatus::new(outcome), self.now, &self.inner.ledger)
                        .status();
                let outlook = self.outlook_of_hit(stored.validity(), outcome);
                (Verdict::Serve { outcome, status }, self.rule_of_reuse(&stored), outlook)
            }
            Lookup::Forward(plan) if self.incoming.directives.only_if_cached => {
                let outlook = "Without only-if-cached, the request is sent to the origin.".to_owned();
                (Verdict::Refuse(plan.why), self.rule_of(plan.why), outlook)
            }
            Lookup::Forward(plan) => {
                let rule = self.rule_of(plan.why);
                (Verdict::Forward(plan.why), rule, self.outlook_of_fetch(&plan, rule))
            }
        }
    }

    fn look_up(self) -> Lookup {
        lookup(self.variants, self.incoming, &self.inner.digest, self.now)
    }

    fn selected(self) -> Option<&'a Arc<StoredResponse>> {
        selected(self.variants, self.incoming, &self.inner.digest)
    }

    fn flags(self, stored: &StoredResponse) -> Vec<Flag> {
        Flag::of(
            stored.validity(),
            &response_directives(&stored.headers(), &self.inner.rules),
            &self.inner.rules,
        )
    }

    fn rule_of(self, why: Forward) -> Rule {
        match (why, self.selected()) {
            (_, None) if self.variants.is_empty() => Rule::NothingStored,
            (_, None) => Rule::NotSelected,
            (Forward::Partial, Some(_)) => Rule::Partial,
            (_, Some(stored)) => self.rule_of_reuse(stored),
        }
    }

    fn rule_of_reuse(self, stored: &StoredResponse) -> Rule {
        let (validity, directives) = (stored.validity(), &self.incoming.directives);
        let decision = reuse(validity, directives, self.now);
        match Rule::behind(decision, validity, &self.flags(stored), directives, self.now) {
            // A stale response could be served, but this lookup does not: the request waits for the origin.
            Rule::StaleWhileRevalidate if matches!(self.look_up(), Lookup::Forward(_)) => Rule::Stale,
            rule => rule,
        }
    }

    /// Describes how long the store answers this request, and what follows.
    fn outlook_of_hit(self, validity: &Validity, outcome: Outcome) -> String {
        let asked = &self.incoming.directives;
        let (age, staleness) = (validity.age(self.now), validity.staleness(self.now));
        let remaining = validity.remaining(self.now);
        let own = match outcome {
            Outcome::StaleAccepted => asked.max_stale.filter(|taken| *taken != Duration::MAX),
            Outcome::StaleWhileRevalidate => Some(validity.stale_while_revalidate),
            _ => Some(remaining),
        }
        .map(|allowed| allowed.saturating_sub(staleness));
        let by_age = asked.max_age.filter(|_| !validity.immutable).map(|limit| limit.saturating_sub(age));
        let by_rest = asked.min_fresh.map(|least| remaining.saturating_sub(least));
        let Some(left) = [own, by_age, by_rest].into_iter().flatten().min() else {
            return "The request accepts the response for as long as it is stored.".to_owned();
        };
        let how = match outcome {
            Outcome::Hit if left == remaining => "Fresh",
            Outcome::Hit => "Fresh enough for this request",
            _ => "Accepted stale",
        };
        // Some of these limits include their last instant and others do not, so look one second later.
        let later = self.now.checked_add(left + Duration::from_secs(1)).unwrap_or(self.now);
        let then = match (Self { now: later, ..self }).look_up() {
            Lookup::Serve(_, outcome) => format!("still served from the store ({outcome})"),
            Lookup::Forward(_) if asked.only_if_cached => "refused with 504, for only-if-cached".to_owned(),
            Lookup::Forward(plan) => self.describe_request(&plan).to_owned(),
        };
        format!("{how} for another {} s; after that it is {then}.", left.as_secs())
    }

    /// Describes the request to the origin, and how the client could avoid it.
    fn outlook_of_fetch(self, plan: &Plan, rule: Rule) -> String {
        let describe_request = self.describe_request(plan);
        match rule {
            Rule::NothingStored | Rule::NotSelected if self.incoming.directives.no_store => {
                "The response is fetched but not stored, because the request has no-store.".to_owned()
            }
            Rule::NothingStored => "The response is fetched, and stored if that is allowed.".to_owned(),
            Rule::NotSelected => {
                let mut names: Vec<&str> = self
                    .variants
                    .iter()
                    .flat_map(|stored| stored.variant().fields.iter())
                    .map(|(name, _)| name.as_str())
                    .collect();
                names.sort_unstable();
                names.dedup();
                format!(
                    "The response is {describe_request}; a request with the {} of a stored response selects it.",
                    names.join(", ")
                )
            }
            Rule::Partial if plan.beginning.is_some() => {
                "The missing rest is fetched, and completes the stored beginning.".to_owned()
            }
            Rule::Partial => {
                "The response is fetched; a range within the stored part is answered from the store."
                    .to_owned()
            }
            Rule::RequestNoCache | Rule::RequestMaxAge | Rule::RequestMinFresh => {
                let mut incoming = self.incoming.clone();
                incoming.directives = RequestDirectives::default();
                let without = match (DryRun { incoming: &incoming, ..self }).look_up() {
                    Lookup::Serve(_, outcome) => format!("answered from the store ({outcome})"),
                    Lookup::Forward(plan) => format!("also forwarded ({})", plan.why),
                };
                format!(
                    "The response is {describe_request}; without Cache-Control or Pragma, the request is {without}."
                )
            }
            _ => {
                let may_serve = |stored: &Arc<StoredResponse>| {
                    may_serve_on_error(
                        stored.status(),
                        stored.validity(),
                        &self.incoming.directives,
                        &self.inner.rules,
                        self.now,
                    )
                };
                let on_error = if plan.selected.as_ref().is_some_and(may_serve) {
                    "the stored response is served stale"
                } else {
                    "the client gets an error and no stale response"
                };
                format!("The response is {describe_request}; if the origin fails, {on_error}.")
            }
        }
    }

    /// Describes the request to the origin in words.
    fn describe_request(self, plan: &Plan) -> &'static str {
        let Outgoing { request, has_our_validators } = outgoing(self.incoming, plan, Upstream::Origin, None);
        match (has_our_validators, plan.selected.is_some()) {
            (false, _) => "fetched in full",
            (true, false) => "fetched, unless one of the stored entity tags still holds",
            (true, true) if request.headers().contains_key(IF_NONE_MATCH) => "validated with its entity tag",
            (true, true) => "validated with its Last-Modified date",
        }
    }
}

fn explained(stored: &StoredResponse, is_selected: bool, flags: Vec<Flag>, now: Moment) -> ExplainedResponse {
    let validity = stored.validity();
    let text = |name| stored.field(name).map(|value| String::from_utf8_lossy(value).into_owned());
    let selecting = stored.variant().fields.iter().map(|(name, value)| {
        let shown = value.as_deref().filter(|_| is_negotiation(name));
        (name.clone(), shown.map(|value| String::from_utf8_lossy(value).into_owned()))
    });
    ExplainedResponse {
        status: stored.status(),
        length: stored.body_length() as u64,
        content_range: text(&CONTENT_RANGE),
        selected_by: selecting.collect(),
        is_selected,
        entity_tag: text(&ETAG),
        last_modified: text(&LAST_MODIFIED),
        age: validity.age(now),
        lifetime: validity.lifetime,
        lifetime_source: validity.lifetime_source,
        remaining: validity.remaining(now),
        staleness: validity.staleness(now),
        stale_while_revalidate: validity.stale_while_revalidate,
        stale_if_error: validity.stale_if_error,
        flags,
    }
}

/// Whether a field is for content negotiation. Such a value is not secret.
fn is_negotiation(name: &HeaderName) -> bool {
    [ACCEPT, ACCEPT_CHARSET, ACCEPT_ENCODING, ACCEPT_LANGUAGE].contains(name)
}

#[cfg(test)]
mod tests;
