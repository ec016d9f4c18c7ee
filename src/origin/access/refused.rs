use std::fmt;

use super::AddressClass;
use crate::base::error::{Error, ErrorKind};

/// Why an origin may not be fetched.
///
/// The text is one line for the client. It reveals neither the operator's rules nor the address that a name
/// resolves to.
///
/// ```
/// use forwardcache::origin::{CanonicalUrl, OriginRules};
///
/// let refused = OriginRules::any().may_ask(&CanonicalUrl::parse("http://169.254.169.254/").unwrap()).unwrap_err();
/// assert_eq!(refused.to_string(),
///     "fetching from this origin is forbidden: its address has the class cloud-metadata");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refused {
    /// A rule denies the origin.
    Denied,
    /// No rule allows the origin, and the base is `listed`.
    NotListed,
    /// The address is of this class, and no rule allows it.
    Address(AddressClass),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str("fetching from this origin is forbidden: a rule denies it"),
            Self::NotListed => f.write_str("fetching from this origin is forbidden: no rule allows it"),
            Self::Address(class) => {
                write!(f, "fetching from this origin is forbidden: its address has the class {class}")
            }
        }
    }
}

impl std::error::Error for Refused {}

/// Converts to an error of the kind [`ErrorKind::Forbidden`].
impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        Self::new(ErrorKind::Forbidden, refused.to_string())
    }
}
