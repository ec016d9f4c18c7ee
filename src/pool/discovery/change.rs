//! Who joined a pool and who left it.

use std::collections::HashMap;
use std::fmt;

use crate::pool::member::Member;
use crate::pool::peer_url::PeerUrl;

/// How many are named in a text. A line of a log is to be read.
const MOST_NAMED: usize = 20;

/// What of a pool is different: one line of text, for logs, which names the first twenty of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MembershipChange {
    /// Who was not there before.
    pub joined: Vec<Member>,
    /// Who is there no more.
    pub left: Vec<Member>,
    /// Who was there, with another weight: as it is now.
    pub weighed_anew: Vec<Member>,
}

impl MembershipChange {
    /// From one list to the other, neither of which names a peer twice.
    pub(crate) fn between(before: &[Member], after: &[Member]) -> Self {
        let (former, now) = (by_url(before), by_url(after));
        let (known, joined): (Vec<Member>, Vec<Member>) =
            after.iter().cloned().partition(|member| former.contains_key(member.url()));
        let weighed_anew =
            known.into_iter().filter(|member| former.get(member.url()) != Some(&member)).collect();
        let left = before.iter().filter(|member| !now.contains_key(member.url())).cloned().collect();
        Self { joined, left, weighed_anew }
    }

    /// Whether nothing is different.
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
        let mut between = "";
        for (what, members) in parts.into_iter().filter(|(_, members)| !members.is_empty()) {
            let named: Vec<String> = members.iter().take(MOST_NAMED).map(Member::to_string).collect();
            write!(f, "{between}{what}: {}", named.join(", "))?;
            if members.len() > MOST_NAMED {
                write!(f, ", and {} more", members.len() - MOST_NAMED)?;
            }
            between = "; ";
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
    fn what_joined_what_left_and_what_weighs_another() {
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
    fn of_many_the_first_are_named() {
        let many: Vec<Member> =
            (10..40).map(|number| format!("http://h{number}:1").parse().unwrap()).collect();
        let said = MembershipChange::between(&[], &many).to_string();
        assert!(
            said.starts_with("joined: http://h10:1, ") && said.ends_with(", http://h29:1, and 10 more"),
            "{said}"
        );
        assert!(MembershipChange::between(&[], &many[..20]).to_string().ends_with(", http://h29:1"));
    }

    #[test]
    fn the_order_is_no_change() {
        let change = MembershipChange::between(
            &members(&["http://a:1", "http://b:1"]),
            &members(&["http://b:1", "http://a:1"]),
        );
        assert!(change.is_empty());
        assert_eq!(change.to_string(), "no change");
    }
}
