use std::fmt;

use crate::base::error::{Error, ErrorKind};

/// The error for an invalid origin rule. Its text is one line that quotes the invalid part.
///
/// ```
/// use forwardcache::origin::OriginRules;
///
/// let bad = OriginRules::parse("public,allow:10.0.0.1/8").unwrap_err();
/// assert_eq!(bad.to_string(), "invalid rule \"10.0.0.1/8\": the address has bits beyond the prefix");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidOriginRule {
    text: String,
    reason: &'static str,
}

impl InvalidOriginRule {
    pub(super) fn new(text: impl Into<String>, reason: &'static str) -> Self {
        Self { text: text.into(), reason }
    }
}

impl fmt::Display for InvalidOriginRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid rule {:?}: {}", self.text, self.reason)
    }
}

impl std::error::Error for InvalidOriginRule {}

impl From<InvalidOriginRule> for Error {
    fn from(bad: InvalidOriginRule) -> Self {
        Self::new(ErrorKind::BadOption, bad.to_string())
    }
}
