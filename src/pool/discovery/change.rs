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
    pub weighed_anew: Vec<Member>,
}

impl MembershipChange {
    /// Compares two lists. Neither of them may contain a peer twice.
    pub(crate) fn between(before: &[Member], after: &[Member]) -> Self {
        let (former, now) = (by_url(before), by_url(after));
        let (known, joined): (Vec<Member>, Vec<Member>) =
            after.iter().cloned().partition(|member| former.contains_key(member.url()));
        let weighed_anew =
            known.into_iter().filter(|member| former.get(member.url()) != Some(&member)).collect();
        let left = before.iter().filter(|member| !now.contains_key(member.url())).cloned().collect();
        Self { joined, left, weighed_anew }
    }

    /// Returns whether the lists are equal.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.joined.is_empty() && self.left.is_empty() && self.weighed_anew.is_empty()
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
            [("joined", &self.joined), ("left", &self.left), ("now with another weight", &self.weighed_anew)];
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
mod tests {
    use super::*;

    fn members(texts: &[&str]) -> Vec<Member> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_change_names_joined_left_and_reweighted_members() {
        let before = members(&["http://a:1", "http://b:1", "http://c:1 weight=2"]);
        let after = members(&["http://d:1", "http://c:1 weight=3", "http://b:1"]);
        let change = MembershipChange::between(&before, &after);
        assert_eq!(
            change.to_string(),
            "joined: http://d:1; left: http://a:1; now with another weight: http://c:1 weight=3"
        );
        let more = MembershipChange::between(&[], &before);
        assert_eq!(more.to_string(), "joined: http://a:1, http://b:1, http://c:1 weight=2");
    }

    #[test]
    fn only_the_first_of_many_members_are_named() {
        let many: Vec<Member> =
            (10..40).map(|number| format!("http://h{number}:1").parse().unwrap()).collect();
        let text = MembershipChange::between(&[], &many).to_string();
        assert!(
            text.starts_with("joined: http://h10:1, ") && text.ends_with(", http://h29:1, and 10 more"),
            "{text}"
        );
        assert!(MembershipChange::between(&[], &many[..20]).to_string().ends_with(", http://h29:1"));
    }

    #[test]
    fn another_order_is_not_a_change() {
        let change = MembershipChange::between(
            &members(&["http://a:1", "http://b:1"]),
            &members(&["http://b:1", "http://a:1"]),
        );
        assert!(change.is_empty());
        assert_eq!(change.to_string(), "no change");
    }
}
