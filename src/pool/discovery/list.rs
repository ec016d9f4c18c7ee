//! The text of a list in a file: one member a line.

use std::collections::HashMap;

use crate::pool::member::Member;
use crate::pool::peer_url::PeerUrl;

/// What a text says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct List {
    pub(super) members: Vec<Member>,
    /// What is to be said of those that stand there more than once, which counts once.
    pub(super) repeated: Vec<String>,
}

/// Reads a list, all of it or nothing. Lines are counted from 1.
///
/// What begins with `#`, at the beginning of a line or behind white space, is a comment: a `#` inside of a word is
/// not, so that a URL with a fragment is refused instead of cut.
///
/// # Errors
///
/// Why the text is no list; nothing of what was read is shown.
pub(super) fn parse(text: &str) -> Result<List, String> {
    let mut list = List { members: Vec::new(), repeated: Vec::new() };
    // Of each peer, the line that names it first and its weight.
    let mut known: HashMap<PeerUrl, (usize, Member)> = HashMap::new();
    for (line, written) in (1..).zip(text.split_inclusive('\n')) {
        if !written.ends_with('\n') {
            return Err(format!("line {line} is the last one and has no line end: it may be half written"));
        }
        let words = without_comment(written).trim_ascii();
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
    let begins =
        |(at, _): &(usize, &str)| line[..*at].bytes().last().is_none_or(|byte| byte.is_ascii_whitespace());
    line.match_indices('#').find(begins).map_or(line, |(at, _)| &line[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(text: &str) -> Vec<String> {
        parse(text).unwrap().members.iter().map(Member::to_string).collect()
    }

    #[test]
    fn one_member_a_line_with_comments_and_room() {
        let text = "# the pool\n\n  http://a:1/\t\r\nhttp://b:1 weight=3 # the large one\n#http://c:1\n \t\n";
        assert_eq!(members(text), ["http://a:1", "http://b:1 weight=3"]);
        assert!(parse(text).unwrap().repeated.is_empty());
    }

    #[test]
    fn nobody_is_a_list_too() {
        for text in ["", "\n", "# nobody\n\n"] {
            assert!(parse(text).unwrap().members.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn what_stands_there_again_counts_once_and_is_told() {
        let list = parse("http://a:1\nhttp://b:1\n\nHTTP://A:1/\nhttp://a:1\n").unwrap();
        assert_eq!(list.members.len(), 2);
        assert_eq!(
            list.repeated,
            [
                "line 4 names http://a:1 as line 1 does: it counts once",
                "line 5 names http://a:1 as line 1 does: it counts once"
            ]
        );
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        for (text, expected) in [
            ("http://a:1", "line 1 is the last one and has no line end: it may be half written"),
            ("http://a:1\n# the en", "line 2 is the last one and has no line end: it may be half written"),
            ("http://a:1\nhttp://a:1 weight=2\n", "line 2 gives the peer of line 1 another weight"),
            ("http://a:1 weight=0\n", "line 1: the weight of a peer is a whole number from 1 to 1000"),
        ] {
            assert_eq!(parse(text).unwrap_err(), expected);
        }
        for text in ["http://a:1\n\nnonsense\n", "\n\nhttp://user:secret@a:1\n", "\n\n\0\0\0\0\n"] {
            let error = parse(text).unwrap_err();
            assert!(
                error.starts_with("line 3: a peer cannot be asked there") && !error.contains("secret"),
                "{error}"
            );
        }
        assert_eq!(parse("http://a:1#b\n").unwrap_err(), "line 1: the URL of a peer has a fragment");
    }

    #[test]
    fn wherever_a_list_is_cut_it_is_refused_or_ends_with_a_line() {
        let text = "http://a:1\nhttp://b:12 weight=13 # b\n";
        for end in 0..text.len() {
            let is_good = parse(&text[..end]).is_ok();
            assert_eq!(is_good, end == 0 || text[..end].ends_with('\n'), "{:?}", &text[..end]);
        }
    }
}
