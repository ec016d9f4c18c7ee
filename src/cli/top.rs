//! `forwardcache top`: the URLs, origins and clients with the most requests, bytes or misses.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::arguments::{Amount, Subject, Top};
use super::failure::Failure;
use super::status::{Answers, parsed, repeat};

/// A name, with its requests, bytes and misses.
type Row = (String, [u64; 3]);

pub(crate) fn run(arguments: &Top) -> Result<ExitCode, Failure> {
    repeat(&arguments.peers, |answers| {
        let subjects = match arguments.of {
            Some(subject) => vec![subject],
            None => vec![Subject::Urls, Subject::Origins, Subject::Clients],
        };
        let lists = subjects.into_iter().map(|subject| (subject, rows(answers, subject, arguments)));
        if arguments.peers.json { json_of(lists) } else { tables(lists) }
    })
}

/// Returns the rows of all peers together.
fn rows(answers: &Answers, subject: Subject, arguments: &Top) -> Vec<Row> {
    let mut sums: HashMap<String, [u64; 3]> = HashMap::new();
    for status in parsed(answers).filter_map(|(_, status)| status) {
        for row in status["top"][subject.name()][arguments.by.name()].as_array().into_iter().flatten() {
            let Some(name) = row["name"].as_str() else { continue };
            let sum = sums.entry(name.replace(char::is_control, "?")).or_default();
            for (sum, amount) in sum.iter_mut().zip(Amount::ALL) {
                *sum = sum.saturating_add(row[amount.name()].as_u64().unwrap_or(0));
            }
        }
    }
    let mut rows: Vec<Row> = sums.into_iter().collect();
    let amount = |row: &Row| row.1[arguments.by as usize];
    rows.sort_by(|one, other| amount(other).cmp(&amount(one)).then(one.0.cmp(&other.0)));
    rows.truncate(arguments.lines.into());
    rows
}

fn json_of(lists: impl Iterator<Item = (Subject, Vec<Row>)>) -> String {
    let object = |(name, [requests, bytes, misses]): Row| json!({"name": name, "requests": requests, "bytes": bytes, "misses": misses});
    let lists =
        lists.map(|(subject, rows)| (subject.name().to_owned(), rows.into_iter().map(object).collect()));
    format!("{}\n", Value::Object(lists.collect()))
}

fn tables(lists: impl Iterator<Item = (Subject, Vec<Row>)>) -> String {
    let mut text = String::new();
    for (index, (subject, rows)) in lists.enumerate() {
        let separator = if index > 0 { "\n" } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{separator}{:>10} {:>15} {:>10}  {}",
            "REQUESTS",
            "BYTES",
            "MISSES",
            subject.title()
        );
        for (name, [requests, bytes, misses]) in rows {
            let _ = writeln!(text, "{requests:>10} {bytes:>15} {misses:>10}  {name}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use forwardcache::{Error, ErrorKind};

    use super::*;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        top: Top,
    }

    fn top(flags: &[&str]) -> Top {
        Command::parse_from([&["top"], flags].concat()).top
    }

    fn answers() -> Vec<(String, Result<String, Error>)> {
        let status = |requests: u64| {
            json!({"top": {"urls": {
                "requests": [{"name": "http://a/", "requests": requests, "bytes": 10, "misses": 1},
                             {"name": "http://b\u{1b}/", "requests": 1, "bytes": 500, "misses": 0}],
                "bytes": [{"name": "http://b\u{1b}/", "requests": 1, "bytes": 500, "misses": 0}],
            }}})
            .to_string()
        };
        vec![
            ("http://one".to_owned(), Ok(status(3))),
            ("http://two".to_owned(), Ok(status(4))),
            ("http://three".to_owned(), Err(Error::new(ErrorKind::Timeout, "late"))),
        ]
    }

    #[test]
    fn rows_of_several_peers_add_up() {
        let rows = |flags: &[&str]| rows(&answers(), Subject::Urls, &top(flags));
        assert_eq!(
            rows(&[]),
            [("http://a/".to_owned(), [7, 20, 2]), ("http://b?/".to_owned(), [2, 1000, 0])]
        );
        assert_eq!(rows(&["--by", "bytes"]), [("http://b?/".to_owned(), [2, 1000, 0])]);
        assert_eq!(rows(&["--lines", "1"]).len(), 1);
        assert!(rows(&["--by", "misses"]).is_empty());
    }

    #[test]
    fn table_has_the_name_last() {
        let lists =
            [(Subject::Urls, vec![("http://a/".to_owned(), [7, 20, 2])]), (Subject::Clients, Vec::new())];
        let text = tables(lists.clone().into_iter());
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["REQUESTS", "BYTES", "MISSES", "URL"]);
        assert_eq!((&lines[1][..], &lines[3][3]), (&["7", "20", "2", "http://a/"][..], &"CLIENT"));
        let object: Value = serde_json::from_str(&json_of(lists.into_iter())).unwrap();
        assert_eq!((&object["urls"][0]["bytes"], &object["clients"]), (&json!(20), &json!([])));
    }
}
