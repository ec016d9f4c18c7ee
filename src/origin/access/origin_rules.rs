use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use super::address_class::{AddressClass, may_reach_restricted};
use super::invalid_rule::InvalidOriginRule;
use super::pattern::OriginPattern;
use super::refused::Refused;
use super::url_parts::UrlParts;
use crate::message::url::CanonicalUrl;

/// Rules that decide which origins may be fetched.
///
/// Rules allow or deny, in order; the first rule that matches decides. If none matches, the base decides:
///
/// | base | origins allowed without a rule |
/// |---|---|
/// | [`any`](Self::any), the default of the library | all, except link-local and metadata addresses |
/// | [`public`](Self::public) | those at a public address: [`AddressClass::Public`] |
/// | [`listed`](Self::listed) | none |
///
/// The rules are checked twice: [`may_ask`](Self::may_ask) checks a URL before its host name is resolved, and
/// [`may_connect`](Self::may_connect) checks the resolved address before the connection is made. A fetch
/// needs both.
///
/// **A host name never opens a private network.** The owner of a name decides which address it resolves to,
/// and may change it at any moment (DNS rebinding). A rule that allows a host without addresses therefore
/// matches only if the host resolves to an address that the base allows. For `public` and `listed`, that is a
/// public address. For any other address, the next rule is tried. To allow a host in a private network, give
/// its addresses too: `allow:intranet.example@10.0.0.0/8`.
///
/// **Some addresses must be named.** No base allows link-local and metadata addresses
/// ([`AddressClass::LinkLocal`], [`AddressClass::CloudMetadata`]), or addresses that embed one of them. Only
/// a rule that names the class, the exact address, or a network of only link-local addresses allows them.
///
/// **Embedded addresses count when denying.** A rule that denies addresses also denies IPv6 addresses that
/// [embed](AddressClass::Embedded) one of them. A rule that allows addresses does not allow IPv6 addresses
/// that embed them. Addresses that a network translates with a prefix of its own cannot be recognised: deny
/// that prefix. A machine that reaches IPv4 only through NAT64 needs
/// `public,deny:private,deny:loopback,allow:[64:ff9b::/96]`.
///
/// The text form is the base and the rules, separated by commas. The default base is `listed`.
/// [`OriginPattern`] describes the syntax of a rule.
///
/// ```
/// use forwardcache::origin::{AddressClass, CanonicalUrl, OriginRules, Refused};
///
/// let rules = OriginRules::parse("public,deny:*.ads.example,allow:wiki.example@private:443")?;
/// let ask = |url: &str| rules.may_ask(&CanonicalUrl::parse(url).unwrap());
/// assert_eq!(ask("https://example.com/"), Ok(()));
/// assert_eq!(ask("https://a.ads.example/"), Err(Refused::Denied));
/// assert_eq!(ask("http://127.0.0.1/"), Err(Refused::Address(AddressClass::Loopback)));
///
/// let connect = |url: &str, to: &str| rules.may_connect(&CanonicalUrl::parse(url).unwrap(), to.parse().unwrap());
/// assert_eq!(connect("https://wiki.example/", "10.0.0.5"), Ok(()));
/// assert!(connect("https://example.com/", "10.0.0.5").is_err());
///
/// let made = OriginRules::public()
///     .deny("*.ads.example".parse()?)
///     .allow("wiki.example@private:443".parse()?);
/// assert_eq!(rules, made);
/// # Ok::<(), forwardcache::origin::InvalidOriginRule>(())
/// ```
///
/// Cloning is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginRules {
    inner: Arc<Inner>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    base: Base,
    rules: Vec<Rule>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Base {
    Any,
    Public,
    Listed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    allows: bool,
    pattern: OriginPattern,
}

impl OriginRules {
    fn on(base: Base) -> Self {
        Self { inner: Arc::new(Inner { base, rules: Vec::new() }) }
    }

    /// Allows every origin except those at link-local and metadata addresses.
    #[must_use]
    pub fn any() -> Self {
        Self::on(Base::Any)
    }

    /// Allows origins at a public address.
    #[must_use]
    pub fn public() -> Self {
        Self::on(Base::Public)
    }

    /// Allows only origins that a rule allows.
    #[must_use]
    pub fn listed() -> Self {
        Self::on(Base::Listed)
    }

    /// Allows every origin at every address, for servers that the operator has configured one by one.
    pub(crate) fn trusting() -> Self {
        [AddressClass::LinkLocal, AddressClass::CloudMetadata]
            .into_iter()
            .fold(Self::any(), |rules, class| rules.allow(OriginPattern::class(class)))
    }

    /// Adds a rule that allows these origins, unless an earlier rule denies them.
    #[must_use]
    pub fn allow(self, pattern: OriginPattern) -> Self {
        self.with(Rule { allows: true, pattern })
    }

    /// Adds a rule that denies these origins, unless an earlier rule allows them.
    #[must_use]
    pub fn deny(self, pattern: OriginPattern) -> Self {
        self.with(Rule { allows: false, pattern })
    }

    fn with(mut self, rule: Rule) -> Self {
        Arc::make_mut(&mut self.inner).rules.push(rule);
        self
    }

    /// Parses rules: `public`, `any` or `listed`, followed by any number of `allow:PATTERN` and
    /// `deny:PATTERN`, separated by commas. The default base is `listed`.
    ///
    /// # Errors
    ///
    /// [`InvalidOriginRule`] names the part that is invalid, and the reason.
    pub fn parse(text: &str) -> Result<Self, InvalidOriginRule> {
        let mut rules = Self::listed();
        for (at, part) in text.split(',').map(str::trim).enumerate() {
            let base = match part {
                "any" => Some(Base::Any),
                "public" => Some(Base::Public),
                "listed" => Some(Base::Listed),
                _ => None,
            };
            rules = match (base, part.split_once(':')) {
                (Some(base), _) if at == 0 => Self::on(base),
                (Some(_), _) => {
                    return Err(InvalidOriginRule::new(
                        part,
                        "public, any and listed are only valid at the beginning, before all rules",
                    ));
                }
                (None, Some(("allow", pattern))) => rules.allow(pattern.parse()?),
                (None, Some(("deny", pattern))) => rules.deny(pattern.parse()?),
                (None, _) => {
                    let reason = "expected public, any or listed, or a rule that begins with allow: or deny:";
                    return Err(InvalidOriginRule::new(part, reason));
                }
            };
        }
        Ok(rules)
    }

    /// Decides whether this URL may be requested, by its scheme, host, port, and address if the host is a
    /// literal one.
    ///
    /// If the host is a name, [`may_connect`](Self::may_connect) may still refuse the address that it
    /// resolves to.
    ///
    /// # Errors
    ///
    /// [`Refused`] contains the reason.
    pub fn may_ask(&self, target: &CanonicalUrl) -> Result<(), Refused> {
        self.may_request(&UrlParts::of(target))
    }

    /// Decides whether a connection for this URL may go to this address.
    ///
    /// # Errors
    ///
    /// [`Refused`] contains the reason.
    pub fn may_connect(&self, target: &CanonicalUrl, address: IpAddr) -> Result<(), Refused> {
        self.may_connect_to(&UrlParts::of(target), address)
    }

    /// Like [`may_ask`](Self::may_ask).
    pub(crate) fn may_request(&self, asked: &UrlParts<'_>) -> Result<(), Refused> {
        if let Some(address) = asked.literal_address() {
            return self.may_connect_to(asked, address);
        }
        // Whether a rule that depends on the address may still allow the origin, once the address is known.
        let mut may_be_allowed = false;
        for Rule { allows, pattern } in &self.inner.rules {
            if !pattern.matches_url(asked) {
                continue;
            }
            match (allows, &pattern.addresses) {
                (true, None) => return Ok(()),
                (true, Some(_)) => may_be_allowed = true,
                (false, None) if may_be_allowed => return Ok(()),
                (false, None) => return Err(Refused::Denied),
                (false, Some(_)) => {}
            }
        }
        match self.inner.base {
            Base::Listed if !may_be_allowed => Err(Refused::NotListed),
            _ => Ok(()),
        }
    }

    /// Like [`may_connect`](Self::may_connect).
    pub(crate) fn may_connect_to(&self, asked: &UrlParts<'_>, address: IpAddr) -> Result<(), Refused> {
        let by_base = self.base_allows(address);
        let mut is_listed = self.inner.base != Base::Listed;
        for Rule { allows, pattern } in &self.inner.rules {
            if !pattern.matches_url(asked) {
                continue;
            }
            match (allows, &pattern.addresses) {
                (true, Some(addresses)) if addresses.allows(address) => return Ok(()),
                (true, None) if by_base => return Ok(()),
                (true, None) => is_listed = true,
                (false, None) => return Err(Refused::Denied),
                (false, Some(addresses)) if addresses.denies(address) => return Err(Refused::Denied),
                _ => {}
            }
        }
        match self.inner.base {
            _ if !is_listed => Err(Refused::NotListed),
            Base::Any | Base::Public if by_base => Ok(()),
            _ => Err(Refused::Address(AddressClass::of(address))),
        }
    }

    fn base_allows(&self, address: IpAddr) -> bool {
        match self.inner.base {
            Base::Any => !may_reach_restricted(address),
            Base::Public | Base::Listed => AddressClass::of(address) == AddressClass::Public,
        }
    }
}

/// Returns [`OriginRules::any`].
impl Default for OriginRules {
    fn default() -> Self {
        Self::any()
    }
}

impl FromStr for OriginRules {
    type Err = InvalidOriginRule;

    fn from_str(text: &str) -> Result<Self, InvalidOriginRule> {
        Self::parse(text)
    }
}

/// Displays the rules in the syntax of [`OriginRules::parse`].
impl fmt::Display for OriginRules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.inner.base {
            Base::Any => "any",
            Base::Public => "public",
            Base::Listed => "listed",
        })?;
        self.inner.rules.iter().try_for_each(|Rule { allows, pattern }| {
            write!(f, ",{}:{pattern}", if *allows { "allow" } else { "deny" })
        })
    }
}

#[cfg(test)]
mod tests;
