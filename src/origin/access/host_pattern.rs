use std::fmt;

use super::invalid_rule::InvalidOriginRule;

/// A pattern of host names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPattern {
    /// In lower case, without a trailing dot.
    text: String,
    /// Whether the pattern has no asterisk except a leading `*.`, which matches any subdomain.
    is_plain: bool,
}

impl HostPattern {
    pub(super) fn parse(text: &str) -> Result<Self, InvalidOriginRule> {
        let bad = |reason| Err(InvalidOriginRule::new(text, reason));
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if name.is_empty() {
            return bad("no host is given");
        }
        if !name.is_ascii() {
            return bad("the host is not ASCII: write it in punycode (xn--)");
        }
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'*'))
        };
        if name.len() > 253 || !name.split('.').all(is_label) {
            return bad("this is neither a host name, an address, a network, nor a class of addresses");
        }
        // `10.0.*` would match the spelling of an address.
        if name != "*" && name.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'*')) {
            return bad("write addresses as a network, such as 10.0.0.0/8");
        }
        let is_plain = !name.strip_prefix("*.").unwrap_or(&name).contains('*');
        Ok(Self { text: name, is_plain })
    }

    /// Whether the pattern matches this host name, which is in lower case.
    pub(super) fn matches(&self, host: &str) -> bool {
        if self.text == "*" {
            return true;
        }
        let host = host.strip_suffix('.').unwrap_or(host);
        match self.text.strip_prefix("*.") {
            None if self.is_plain => host == self.text,
            Some(below) if self.is_plain => {
                host.strip_suffix(below).is_some_and(|before| before.len() > 1 && before.ends_with('.'))
            }
            Some(below) => {
                // The leading asterisk matches one or more labels.
                let dots = below.matches('.').count() + 1;
                let mut ends = host.rmatch_indices('.').map(|(at, _)| at);
                let Some(cut) = ends.nth(dots - 1) else { return false };
                cut > 0 && labels_match(below, &host[cut + 1..])
            }
            None => labels_match(&self.text, host),
        }
    }
}

fn labels_match(pattern: &str, host: &str) -> bool {
    let mut labels = host.split('.');
    let all = pattern
        .split('.')
        .all(|pattern| labels.next().is_some_and(|label| !label.is_empty() && label_matches(pattern, label)));
    all && labels.next().is_none()
}

/// Whether the pattern matches the label. Each asterisk matches any number of characters, including none.
fn label_matches(pattern: &str, label: &str) -> bool {
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = label.strip_prefix(first) else { return false };
    let Some(last) = pieces.next_back() else { return rest.is_empty() };
    for piece in pieces {
        // The first match leaves the longest rest for the following pieces.
        let Some(at) = rest.find(piece) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
