//! Requests in the forms for programs that do not know the pool: admits them, and sends them to the owners of their URLs.
//!
//! A request of this kind may reach any peer. A peer that does not own the URL is a gateway: it asks the owner once,
//! through its client and its near cache. The owner never passes the request on.

use http::header::{AUTHORIZATION, CACHE_CONTROL, HOST, PRAGMA, VIA};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};

use super::access::{Fields, SEC_FETCH_SITE, is_caused_by_web_page};
use super::action::{Action, Next};
use super::forms::body_links::BodyLinks;
use super::forms::links::{View, has_credentials, is_browser};
use super::forms::{self, Form, Named};
use super::forward_access::{Permission, Role};
use super::page_safety::{AddedFields, is_followed_link};
use super::proxy::Proxy;
use super::refusal::{ALLOWED_FOR_FORWARDING, failure, method_not_allowed, refusal};
use super::response::ResponseContext;

use crate::base::cancellation::Cancellation;
use crate::base::error::{Error, ErrorKind, Result};
use crate::base::memory_limit::Ledger;
use crate::cache::HttpCache;
use crate::cache::fill::prepared;
use crate::client;
use crate::message::body::Body;
use crate::message::nonblocking::{Ask, Lane, PlainField, RunMode, Step, Wakes};
use crate::message::round_trip::RoundTrip;
use crate::message::url::CanonicalUrl;
use crate::pool::protocol::{self, Hop};
use crate::server::Sender;

/// The longest `Host` that names this peer in URLs: a name of 253 bytes and a port.
const MAX_HOST: usize = 259;

/// This peer's own cache, for URLs whose origins were checked.
struct OwnShare<'a>(&'a HttpCache);

impl RoundTrip for OwnShare<'_> {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>> {
        let target = CanonicalUrl::parse(&request.uri().to_string())?;
        self.0.round_trip_to(target, request)
    }
}

/// A request to the origin of its URL, and what becomes of the response.
struct Outgoing<T> {
    request: Request<T>,
    context: ResponseContext,
    body_links: Option<BodyLinks>,
}

impl Proxy {
    /// Returns the action of a request in one of these forms, or the refusal. `None` if the request has none of them.
    pub(super) fn forward_action<T>(
        &self,
        request: &Request<T>,
    ) -> Option<Result<Action, Box<Response<Body>>>> {
        let sender = Sender::of(request);
        let uri = request.uri();
        if let Some(sender) =
            sender.filter(|sender| sender.is_http_proxy && *request.method() == Method::CONNECT)
        {
            return Some(self.tunnel_action(request, &sender));
        }
        if sender.is_some_and(|sender| sender.is_http_proxy) && self.is_other_server(uri) {
            return Some(self.forwarded(request, sender.as_ref(), Role::Proxy, || {
                CanonicalUrl::parse(&uri.to_string())
                    .map(|target| Named { form: Form::Absolute, target })
                    .map_err(|invalid| format!("cannot fetch the request target: {invalid}"))
            }));
        }
        let target = uri.path_and_query()?.as_str();
        if self.paths.endpoint(uri.path()).is_some() {
            return None;
        }
        let named = forms::named(target, &self.forwarding.mirrors)?;
        let action = self.forwarded(request, sender.as_ref(), Role::Origin, || named);
        Some(action.map_err(|refused| Box::new(self.page_added_fields().apply(*refused))))
    }

    fn forwarded<T>(
        &self,
        request: &Request<T>,
        sender: Option<&Sender>,
        role: Role,
        named: impl FnOnce() -> Result<Named, String>,
    ) -> Result<Action, Box<Response<Body>>> {
        let fields = request.headers();
        if role == Role::Origin
            && let Some((status, reason)) = self.rejected_prefix_host(request)
        {
            return Err(refusal(status, ErrorKind::Forbidden, reason).into());
        }
        let permission = self.check_forwarding(role, fields, sender)?;
        let method = request.method();
        if permission == Permission::GrantedByAuthorization && self.is_caused_by_foreign_page(method, fields)
        {
            // A browser adds the token that its user has entered, whatever page causes the request.
            let text = "this peer refuses requests of web pages, except for links that a user follows";
            return Err(refusal(StatusCode::FORBIDDEN, ErrorKind::Forbidden, text).into());
        }
        if matches!(*method, Method::CONNECT | Method::TRACE) || protocol::is_purge(method) {
            return Err(method_not_allowed(ALLOWED_FOR_FORWARDING).into());
        }
        let named = named().map_err(|reason| refusal(StatusCode::BAD_REQUEST, ErrorKind::BadUrl, reason))?;
        self.check_target(fields, &named.target)?;
        if super::admission::remaining_forwards(request) == Some(0) {
            return Err(super::admission::last_recipient().into());
        }
        Ok(Action::Forward(Box::new(named)))
    }

    /// Returns whether a target in absolute form names another server than this peer.
    fn is_other_server(&self, uri: &Uri) -> bool {
        let Some(authority) = uri.authority().filter(|_| uri.scheme().is_some()) else { return false };
        let own = self.pool.own_url();
        !authority.as_str().eq_ignore_ascii_case(own.authority())
            && !CanonicalUrl::parse(&uri.to_string())
                .is_ok_and(|target| self.own_addresses.has_url(&target, own))
    }

    /// Returns the header fields that a response in this form gets.
    pub(super) fn forward_added_fields(&self, forwarded: &Named) -> AddedFields {
        match forwarded.form {
            Form::Absolute => AddedFields::None,
            _ => self.page_added_fields(),
        }
    }

    pub(super) fn page_added_fields(&self) -> AddedFields {
        if self.forwarding.allow_pages { AddedFields::Pages } else { AddedFields::Guard }
    }

    /// Returns the next step of an admitted request. Never blocks.
    pub(super) fn forward_step(
        &self,
        forwarded: Box<Named>,
        request: Request<Body>,
        wakes: Wakes<'_>,
    ) -> Next {
        let target = forwarded.target.clone();
        let is_own = self.pool.is_own(target.ring_key());
        let is_simple = matches!(*request.method(), Method::GET | Method::HEAD) && request.body().is_empty();
        if !is_own || !is_simple {
            let mut request = request;
            let (lane, ask) = if is_own {
                (Lane::Origin(target.origin()), None)
            } else {
                (Lane::Gateway(target.origin()), self.ask_without_thread(&forwarded, &mut request))
            };
            return Next::Work(lane, Action::Forward(forwarded), request, ask);
        }
        let added = self.forward_added_fields(&forwarded);
        let method = request.method().clone();
        let Outgoing { request, context, body_links } = self.outgoing(request.map(drop), &forwarded);
        let step = self.cache.step(target.clone(), request, wakes);
        let requested = target.clone();
        let step = step.map(move |result| context.finish(result, &requested));
        let Some(body_links) = body_links else {
            return Next::Step(step.map(move |response| added.apply(response)));
        };
        let (wake, ledger) = (wakes(), self.ledger());
        Next::Step(step.and_then(move |response| {
            if !body_links.may_change(&response, &target) {
                return Step::Serve(added.apply(response));
            }
            let cancellation = Cancellation::new();
            let token = cancellation.clone();
            let lane = Lane::Gateway(target.origin());
            let step = Step::fetch(lane, cancellation, wake, move |mode| match mode {
                RunMode::Refused(refused) => Err(Error::new(ErrorKind::Unavailable, refused.reason())).into(),
                RunMode::Worker | RunMode::Caller => match body_links.rewrite(response, &target, &ledger) {
                    Ok(response) => prepared(response, &method, &ledger, &token),
                    Err(error) => Err(error).into(),
                },
            });
            step.map(move |result| added.apply(result.unwrap_or_else(|error| failure(&error))))
        }))
    }

    /// Sends an admitted request to its owner, and blocks until the response is there.
    pub(super) fn forward(&self, forwarded: &Named, mut request: Request<Body>) -> Response<Body> {
        let target = &forwarded.target;
        if let Some(response) = client::take_answer(&request) {
            self.access.remove_own_token(request.headers_mut());
            let (view, is_leaving) = (self.forwarded_view(forwarded, request.headers()), self.is_leaving());
            return ResponseContext { view, ring_mismatch: None, is_leaving }.finish(Ok(response), target);
        }
        let version = request.version();
        let Outgoing { mut request, context, body_links } = self.outgoing(request, forwarded);
        super::proxy::count_down_forwards(&mut request);
        let result = if self.pool.is_own(target.ring_key()) {
            self.cache.round_trip_to(target.clone(), request)
        } else {
            if let Some(via) = self.cache.via(version) {
                request.headers_mut().append(VIA, via);
            }
            self.pool.ask_owner(target, request, &OwnShare(&self.cache))
        };
        let response = context.finish(result, target);
        match body_links.filter(|links| links.may_change(&response, target)) {
            None => response,
            Some(links) => {
                links.rewrite(response, target, &self.ledger()).unwrap_or_else(|error| failure(&error))
            }
        }
    }

    /// Returns the request to the owner, if an event loop may send it.
    fn ask_without_thread(&self, forwarded: &Named, request: &mut Request<Body>) -> Option<Box<Ask>> {
        if *request.method() != Method::GET || !request.body().is_empty() {
            return None;
        }
        let mut copy = Request::new(());
        copy.uri_mut().clone_from(request.uri());
        *copy.version_mut() = request.version();
        copy.headers_mut().clone_from(request.headers());
        if let Some(sender) = Sender::of(request) {
            copy.extensions_mut().insert(sender);
        }
        // Bodies are rewritten on a thread.
        let Outgoing { request: mut copy, body_links: None, .. } = self.outgoing(copy, forwarded) else {
            return None;
        };
        if let Some(via) = self.cache.via(request.version()) {
            copy.headers_mut().append(VIA, via);
        }
        let copy = copy.map(|()| Body::empty());
        self.pool.ask_without_thread(&forwarded.target, copy, request.extensions_mut())
    }

    /// Turns a request to this peer into one to the origin.
    fn outgoing<T>(&self, mut request: Request<T>, forwarded: &Named) -> Outgoing<T> {
        let Named { form, target } = forwarded;
        let peer = self.seen_as(&request);
        self.access.remove_own_token(request.headers_mut());
        let view = self.forwarded_view(forwarded, request.headers());
        // These fields belong to the protocol between peers.
        let _ = Hop::take(request.headers_mut());
        let mut body_links = None;
        if let Form::Mirror(mirror) = form {
            let method = request.method().clone();
            let headers = request.headers_mut();
            if let Some(credentials) = mirror.credentials() {
                headers.insert(AUTHORIZATION, credentials.clone());
            }
            if mirror.ignores_cache_control() {
                headers.remove(CACHE_CONTROL);
                headers.remove(PRAGMA);
            }
            body_links = BodyLinks::of(mirror, &self.forwarding.mirrors, peer, &method, headers);
        }
        let (request, context) = self.origin_request(request, target, view);
        Outgoing { request, context, body_links }
    }

    /// Returns how the program sees the response to a request whose credentials are for the origin.
    fn forwarded_view(&self, forwarded: &Named, headers: &HeaderMap) -> View {
        let (form, mirrors) = (forwarded.form.clone(), self.forwarding.mirrors.clone());
        let (is_browser, has_credentials) = (is_browser(headers), has_credentials(headers));
        View { form, mirrors, pass_cookies: false, is_browser, has_credentials }
    }

    /// Returns scheme and authority under which the client of a request reaches this peer.
    fn seen_as<T>(&self, request: &Request<T>) -> String {
        let own = self.pool.own_url().as_str();
        let Some(sender) = Sender::of(request) else { return own.to_owned() };
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte);
        let host = request.headers().get(HOST).map(http::HeaderValue::as_bytes).unwrap_or_default();
        match std::str::from_utf8(host) {
            Ok(host) if (1..=MAX_HOST).contains(&host.len()) && host.bytes().all(is_plain) => {
                format!("{}://{host}", if sender.is_tls { "https" } else { "http" })
            }
            _ => own.to_owned(),
        }
    }

    fn ledger(&self) -> std::sync::Arc<Ledger> {
        self.cache.store().ledger().unwrap_or_else(|| Ledger::new(u64::MAX))
    }

    /// Returns why a request in prefix form is refused by its `Host`, or because a web page sent it.
    fn rejected_prefix_host<T>(&self, request: &Request<T>) -> Option<(StatusCode, &'static str)> {
        let fields = request.headers();
        if self.is_caused_by_foreign_page(request.method(), fields) {
            self.rejected_host(request.uri(), fields)
        } else {
            self.rejected_authority(request.uri(), fields)
        }
    }

    /// Returns whether a web page caused a request in prefix form that it may not cause. A page in a sandbox may only have links;
    /// one that may run may request everything, but another site may not lead the user to such a page.
    fn is_caused_by_foreign_page(&self, method: &Method, fields: &HeaderMap) -> bool {
        let may_cause = if self.forwarding.allow_pages {
            matches!(fields.look_up(&SEC_FETCH_SITE), PlainField::Once(b"same-origin"))
        } else {
            is_followed_link(method, fields)
        };
        is_caused_by_web_page(fields) && !may_cause
    }
}
