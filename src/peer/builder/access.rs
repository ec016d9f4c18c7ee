//! Options for rights, origins and certificates.

use std::path::PathBuf;
use std::sync::Arc;

use super::PeerBuilder;
use crate::base::token::Tokens;
use crate::message::round_trip::RoundTrip;
use crate::origin::OriginBuilder;
use crate::origin::access::OriginRules;

impl PeerBuilder {
    /// Requires one of these tokens in every request; a request without one gets 407. The peer sends the first token to the
    /// other peers. Default: no token is required.
    ///
    /// Without tokens, the peer protects itself against web pages. It serves only requests whose `Host` is a loopback
    /// address, `localhost`, or the authority of its own URL or of a bound socket (otherwise 421, except `/healthz` and
    /// `/readyz`). It refuses requests that a page in a browser sends (`Sec-Fetch-Site`, `Origin`: 403). A response that
    /// does not go to a [`Client`](crate::Client) carries `Content-Security-Policy: sandbox allow-downloads`,
    /// `X-Content-Type-Options: nosniff` and `Cross-Origin-Resource-Policy: same-origin`.
    ///
    /// ```
    /// use forwardcache::pool::Tokens;
    /// use forwardcache::{Body, Peer};
    /// use http::Request;
    ///
    /// let tokens = Tokens::new(["correct-horse-battery"])?;
    /// let handler = Peer::builder("http://127.0.0.1:3000").tokens(tokens).build()?.handler();
    /// let response = handler(Request::get("/proxy?q=http://example.com/").body(Body::empty()).unwrap());
    /// assert_eq!(response.status(), 407);
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn tokens(mut self, tokens: Tokens) -> Self {
        self.client = self.client.tokens(tokens.clone());
        self.rights.tokens = Some(tokens);
        self
    }

    /// Requires one of these tokens for [purging](crate::Peer::purge) and [leaving](crate::Peer::leave). These tokens also
    /// allow reading. The [`tokens`](Self::tokens) are then only for reading: a purge with one of them gets 403, and a purge
    /// without any token gets 407. [`purge_by_anyone`](Self::purge_by_anyone) has no effect then. Default: none, and every
    /// token grants all rights.
    ///
    /// This peer sends the first operator token to the other peers when it purges or leaves, so all peers of the pool need
    /// the same operator tokens. To introduce them without an interruption, first make the operator token the second of the
    /// [`tokens`](Self::tokens) of every peer.
    ///
    /// ```
    /// use forwardcache::pool::Tokens;
    /// use forwardcache::{Body, Peer};
    /// use http::Request;
    ///
    /// let (readers, operators) = (Tokens::new(["correct-horse-battery"])?, Tokens::new(["staple-for-operators"])?);
    /// let peer = Peer::builder("http://127.0.0.1:3000").tokens(readers).operator_tokens(operators).build()?;
    /// let purge = |token: &str| {
    ///     let request = Request::builder().method("PURGE").uri("/proxy?all");
    ///     request.header("proxy-authorization", format!("Bearer {token}")).body(Body::empty()).unwrap()
    /// };
    /// assert_eq!(peer.handler()(purge("correct-horse-battery")).status(), 403);
    /// assert_eq!(peer.handler()(purge("staple-for-operators")).status(), 200);
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn operator_tokens(mut self, tokens: Tokens) -> Self {
        self.client = self.client.operator_tokens(tokens.clone());
        self.rights.operator_tokens = Some(tokens);
        self
    }

    /// Sets whether every client may [purge](crate::Peer::purge) with the method `PURGE`. This option has no effect if there
    /// are [`tokens`](Self::tokens): then a purge requires a token.
    ///
    /// Default: no. Without tokens, purging is then limited to clients on this machine, as long as the peer is served only
    /// on loopback addresses; otherwise it gets 403. If the server requires
    /// [client certificates](crate::server::ServerTls::client_certificates_from), every client has one, so enable this option.
    pub fn purge_by_anyone(mut self, allow: bool) -> Self {
        self.rights.purge_by_anyone = allow;
        self
    }

    /// Sets whether programs that request `/proxy?q=` but are not a [`Client`](crate::Client) of this crate receive
    /// `Set-Cookie`. Such a program sees all origins under the host of this peer. If it keeps cookies by host, it sends the
    /// cookies of one origin to all others. The clients of the Go package keep cookies by origin and need them.
    ///
    /// In any case, these programs receive `Location`, `Content-Location` and `Refresh` as absolute URLs, and no header
    /// fields that apply to a whole host, such as `Strict-Transport-Security`, `Alt-Svc`, `Clear-Site-Data`, `NEL` and
    /// `Report-To`. Default: no.
    pub fn pass_cookies(mut self, pass: bool) -> Self {
        self.pass_cookies = pass;
        self
    }

    /// Replaces the network as the origin of the peer's own cache. Default: [`Origin`](crate::Origin), the network.
    pub fn origin(mut self, origin: impl RoundTrip + 'static) -> Self {
        self.origin = Some(Arc::new(origin));
        self
    }

    /// Sets timeouts, size limits and certificates for requests to origins over the network. Its rules are replaced by
    /// [`origins`](Self::origins). It has no effect on an [`origin`](Self::origin) that the program supplies. Default:
    /// [`Origin::builder`](crate::Origin::builder).
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use forwardcache::{Origin, Peer};
    ///
    /// let network = Origin::builder().response_timeout(Duration::from_secs(300));
    /// let peer = Peer::builder("http://127.0.0.1:3000").network(network).build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn network(mut self, network: OriginBuilder) -> Self {
        self.network = network;
        self
    }

    /// Sets the rules for the origins that this peer fetches and serves. Default: [`OriginRules::any`].
    ///
    /// A request for a forbidden URL gets 403: the peer neither resolves its name nor serves stored responses for it. The
    /// peer does not connect to a forbidden address. It checks the addresses of a name on every fetch, but not again for a
    /// stored response.
    ///
    /// The rules do not apply to other peers of the pool. For an [`origin`](Self::origin) that the program supplies, the
    /// peer checks only URLs. That origin has to check addresses itself, for example with
    /// [`OriginBuilder::rules`](crate::origin::OriginBuilder::rules).
    ///
    /// ```
    /// use forwardcache::origin::OriginRules;
    /// use forwardcache::{ErrorKind, Peer};
    ///
    /// let peer = Peer::builder("http://127.0.0.1:3000").origins(OriginRules::public()).build()?;
    /// assert_eq!(peer.get("http://10.0.0.1/").send().unwrap_err().kind(), ErrorKind::Forbidden);
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn origins(mut self, rules: OriginRules) -> Self {
        self.origins = rules;
        self
    }

    /// Trusts these root certificates (a PEM file) in addition to those of the web, for origins and for peers. It has no
    /// effect on an [`origin`](Self::origin) that the program supplies.
    pub fn root_certificates_file(mut self, path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        self.client = self.client.root_certificates_file(path.clone());
        self.root_certificates = Some(path);
        self
    }

    /// Sets the certificate that this peer presents to other peers that request one: two PEM files, the certificate followed
    /// by intermediate certificates, and its unencrypted private key. [`build`](Self::build) reads the files. Default: none.
    ///
    /// The peer does not present it to origins. An [`origin`](Self::origin) that the program supplies can have its own
    /// ([`OriginBuilder::client_certificate_files`](crate::origin::OriginBuilder::client_certificate_files)).
    ///
    /// The last call of this method or [`client_certificate_pem`](Self::client_certificate_pem) counts.
    ///
    /// ```no_run
    /// use forwardcache::Peer;
    ///
    /// let pool = ["https://10.0.0.1:3000", "https://10.0.0.2:3000"];
    /// let builder = Peer::builder("https://10.0.0.1:3000").pool(pool);
    /// let peer = builder.client_certificate_files("me.pem", "me.key").build()?;
    /// # Ok::<(), forwardcache::Error>(())
    /// ```
    pub fn client_certificate_files(
        mut self,
        certificates: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        self.client = self.client.client_certificate_files(certificates, key);
        self
    }

    /// Like [`client_certificate_files`](Self::client_certificate_files), with the content of the PEM files.
    ///
    /// ```
    /// use forwardcache::{ErrorKind, Peer};
    ///
    /// let refused = Peer::builder("http://127.0.0.1:3000").client_certificate_pem("no certificate", "no key").build();
    /// assert_eq!(refused.unwrap_err().kind(), ErrorKind::BadOption);
    /// ```
    pub fn client_certificate_pem(
        mut self,
        certificates: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.client = self.client.client_certificate_pem(certificates, key);
        self
    }
}
