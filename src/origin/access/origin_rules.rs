use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use super::address_class::{AddressClass, leads_to_the_machine};
use super::asked::Asked;
use super::invalid_rule::InvalidOriginRule;
use super::pattern::OriginPattern;
use super::refused::Refused;
use crate::message::url::CanonicalUrl;

/// Which origins may be fetched.
///
/// Rules allow or deny, in order, and the first that matches counts. Where none does, it is as the base says:
///
/// | base | without a rule |
/// |---|---|
/// | [`any`](Self::any), the default of the library | every origin, but those that have to be named |
/// | [`public`](Self::public) | origins at an address of the internet: [`AddressClass::Public`] |
/// | [`listed`](Self::listed) | none |
///
/// Two questions are asked. [`may_ask`](Self::may_ask) is about a URL, before a name is resolved;
/// [`may_connect`](Self::may_connect) is about the very address that a connection goes to, once it is known.
/// What is fetched has passed both.
///
/// **A name alone opens no network.** Whoever owns a name says where it leads, and may say something else a
/// moment later (DNS rebinding). So a rule that allows a host, without addresses, matches only where it leads
/// to an address that the base lets through, which is a public one for `public` and `listed`. For an address
/// that it does not let through, the next rule is looked at. A host within one's own network is allowed
/// together with where that is: `allow:intranet.example@10.0.0.0/8`.
///
/// **Some addresses have to be named.** Where a cloud hands out its secrets, and what is on the wire of this
/// machine alone ([`AddressClass::CloudMetadata`], [`AddressClass::LinkLocal`], and what has such an address
/// embedded), nothing is fetched from, by any base. Only a rule opens them that names the class, or a network
/// that can mean nothing else: link-local addresses alone, or the very address.
///
/// **An address is what it may be taken for.** A rule that denies addresses also denies those of IPv6 that have
/// one of them [embedded](AddressClass::Embedded); a rule that allows addresses does not allow those. What a
/// network translates with a prefix of its own cannot be seen: deny that prefix. Where a machine reaches IPv4 by
/// NAT64 alone, `public,deny:private,deny:loopback,allow:[64:ff9b::/96]` is what lets it.
///
/// As text it is the base and the rules, with commas between; without a base it is `listed`. The page of
/// [`OriginPattern`] says how a rule is written.
///
/// ```
/// use forwardcache::{AddressClass, OriginRules, Refused, CanonicalUrl};
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
/// # Ok::<(), forwardcache::InvalidOriginRule>(())
/// ```
///
/// Cloning it is cheap.
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

    /// Every origin, but those that have to be named.
    #[must_use]
    pub fn any() -> Self {
        Self::on(Base::Any)
    }

    /// Origins at a public address.
    #[must_use]
    pub fn public() -> Self {
        Self::on(Base::Public)
    }

    /// Origins that a rule allows, and no others.
    #[must_use]
    pub fn listed() -> Self {
        Self::on(Base::Listed)
    }

    /// For servers that the operator has named one by one: wherever they are.
    pub(crate) fn trusting() -> Self {
        [AddressClass::LinkLocal, AddressClass::CloudMetadata]
            .into_iter()
            .fold(Self::any(), |rules, class| rules.allow(OriginPattern::class(class)))
    }

    /// Allows these, unless a rule before denies them.
    #[must_use]
    pub fn allow(self, pattern: OriginPattern) -> Self {
        self.with(Rule { allows: true, pattern })
    }

    /// Denies these, unless a rule before allows them.
    #[must_use]
    pub fn deny(self, pattern: OriginPattern) -> Self {
        self.with(Rule { allows: false, pattern })
    }

    fn with(mut self, rule: Rule) -> Self {
        Arc::make_mut(&mut self.inner).rules.push(rule);
        self
    }

    /// Reads rules: `public`, `any` or `listed`, and then `allow:` or `deny:` with a pattern, as often as
    /// wanted, with commas between. Without the first it is `listed`.
    ///
    /// # Errors
    ///
    /// [`InvalidOriginRule`] says which part cannot be read, and why.
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
                        "it can only stand at the beginning, before all rules",
                    ));
                }
                (None, Some(("allow", pattern))) => rules.allow(pattern.parse()?),
                (None, Some(("deny", pattern))) => rules.deny(pattern.parse()?),
                (None, _) => {
                    let reason = "it is public, any or listed, or begins with allow: or deny:";
                    return Err(InvalidOriginRule::new(part, reason));
                }
            };
        }
        Ok(rules)
    }

    /// Whether this URL may be asked for, by what it says: scheme, host, port, and the address where the host
    /// is one.
    ///
    /// Where the host is a name, what is allowed here may still be refused for the address that it leads to.
    ///
    /// # Errors
    ///
    /// [`Refused`] says why not.
    pub fn may_ask(&self, target: &CanonicalUrl) -> Result<(), Refused> {
        self.may_be_asked(&Asked::of(target))
    }

    /// Whether a connection for this URL may go to this address.
    ///
    /// # Errors
    ///
    /// [`Refused`] says why not.
    pub fn may_connect(&self, target: &CanonicalUrl, address: IpAddr) -> Result<(), Refused> {
        self.may_be_connected(&Asked::of(target), address)
    }

    /// As [`may_ask`](Self::may_ask).
    pub(crate) fn may_be_asked(&self, asked: &Asked<'_>) -> Result<(), Refused> {
        if let Some(address) = asked.literal_address() {
            return self.may_be_connected(asked, address);
        }
        // What a rule says that is about addresses is not known before there is one.
        let mut may_be_allowed = false;
        for Rule { allows, pattern } in &self.inner.rules {
            if !pattern.is_about(asked) {
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

    /// As [`may_connect`](Self::may_connect).
    pub(crate) fn may_be_connected(&self, asked: &Asked<'_>, address: IpAddr) -> Result<(), Refused> {
        let by_base = self.base_lets_through(address);
        let mut is_listed = self.inner.base != Base::Listed;
        for Rule { allows, pattern } in &self.inner.rules {
            if !pattern.is_about(asked) {
                continue;
            }
            match (allows, &pattern.addresses) {
                (true, Some(addresses)) if addresses.allow(address) => return Ok(()),
                (true, None) if by_base => return Ok(()),
                (true, None) => is_listed = true,
                (false, None) => return Err(Refused::Denied),
                (false, Some(addresses)) if addresses.deny(address) => return Err(Refused::Denied),
                _ => {}
            }
        }
        match self.inner.base {
            _ if !is_listed => Err(Refused::NotListed),
            Base::Any | Base::Public if by_base => Ok(()),
            _ => Err(Refused::Address(AddressClass::of(address))),
        }
    }

    fn base_lets_through(&self, address: IpAddr) -> bool {
        match self.inner.base {
            Base::Any => !leads_to_the_machine(address),
            Base::Public | Base::Listed => AddressClass::of(address) == AddressClass::Public,
        }
    }
}

/// [`OriginRules::any`].
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

/// The text that [`OriginRules::parse`] reads.
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
