//! The difference between two lists of members.

use std::collections::HashMap;
use std::fmt;

use crate::pool::member::Member;
use crate::pool::peer_url::PeerUrl;

/// The most members of each kind in the text form, so that a log line stays readable.
const MAX_NAMED: usize = 20;

/// The difference between two lists of members. Its text is one line for logs that names the first 20 of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MembershipChange {
    /// The new members.
    pub joined: Vec<Member>,
    /// The members that were removed.
    pub left: Vec<Member>,
    /// The members with a changed weight, with their new weight.
    pub reweighted: Vec<Member>,
}

impl MembershipChange {
    /// Compares two lists. Neither of them may contain a peer twice.
    pub(crate) fn between(before: &[Member], after: &[Member]) -> Self {
        let (former, now) = (by_url(before), by_url(after));
        let (known, joined): (Vec<Member>, Vec<Member>) =
            after.iter().cloned().partition(|member| former.contains_key(member.url()));
        let reweighted =
            known.into_iter().filter(|member| former.get(member.url()) != Some(&member)).collect();
        let left = before.iter().filter(|member| !now.contains_key(member.url())).cloned().collect();
        Self { joined, left, reweighted }
    }

    /// Returns whether the lists are equal.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.left.is_empty() && self.reweighted.is_empty()
    }
}

fn by_url(list: &[Member]) -> HashMap<&PeerUrl, &Member> {
    list.iter().map(|member| (member.url(), member)).collect()
}

impl fmt::Display for MembershipChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("no change");
        }
        let parts =
            [("joined", &self.joined), ("left", &self.left), ("now with another weight", &self.reweighted)];
        let mut separator = "";
        for (label, members) in parts.into_iter().filter(|(_, members)| !members.is_empty()) {
            let named: Vec<String> = members.iter().take(MAX_NAMED).map(Member::to_string).collect();
            write!(f, "{separator}{label}: {}", named.join(", "))?;
            if members.len() > MAX_NAMED {
                write!(f, ", and {} more", members.len() - MAX_NAMED)?;
            }
            separator = "; ";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
