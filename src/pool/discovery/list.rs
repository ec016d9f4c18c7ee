//! Parses the text of a list of members: one member on each line.

use std::collections::HashMap;

use crate::pool::member::Member;
use crate::pool::peer_url::PeerUrl;

/// A parsed list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct List {
    pub(super) members: Vec<Member>,
    /// One message for each line that repeats a member. A repeated member counts once.
    pub(super) repeated: Vec<String>,
}

/// Parses a list, all of it or nothing. Lines are counted from 1.
///
/// A `#` at the beginning of a line or after whitespace starts a comment. A `#` inside a word does not, so that a URL
/// with a fragment is refused instead of truncated.
///
/// # Errors
///
/// Describes the invalid line without showing its content.
pub(super) fn parse(text: &str) -> Result<List, String> {
    let mut list = List { members: Vec::new(), repeated: Vec::new() };
    // For each peer: the line that lists it first, and its weight.
    let mut known: HashMap<PeerUrl, (usize, Member)> = HashMap::new();
    for (line, raw_line) in (1..).zip(text.split_inclusive('\n')) {
        if !raw_line.ends_with('\n') {
            return Err(format!("line {line} is the last one and has no line end: it may be half written"));
        }
        let words = without_comment(raw_line).trim_ascii();
        if words.is_empty() {
            continue;
        }
        let member = Member::parse(words).map_err(|bad| format!("line {line}: {bad}"))?;
        match known.get(member.url()) {
            None => {
                known.insert(member.url().clone(), (line, member.clone()));
                list.members.push(member);
            }
            Some((first, same)) if *same == member => {
                let url = member.url();
                list.repeated.push(format!("line {line} names {url} as line {first} does: it counts once"));
            }
            Some((first, _)) => {
                return Err(format!("line {line} gives the peer of line {first} another weight"));
            }
        }
    }
    Ok(list)
}

fn without_comment(line: &str) -> &str {
    let starts_word =
        |(at, _): &(usize, &str)| line[..*at].bytes().last().is_none_or(|byte| byte.is_ascii_whitespace());
    line.match_indices('#').find(starts_word).map_or(line, |(at, _)| &line[..at])
}

#[cfg(test)]
mod tests;
