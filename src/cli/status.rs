//! `forwardcache status`: the state of peers as a table.

use std::collections::HashMap;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use forwardcache::http::Method;
use forwardcache::http::header::AUTHORIZATION;
use forwardcache::{Error, Origin, RequestBuilder, ResponseExt};

use super::arguments::Status;
use super::failure::{Failure, print};
use super::optional::with;
use super::tokens;

/// The time limit for the answer of one peer.
const TIMEOUT: Duration = Duration::from_secs(5);

const COLUMNS: [&str; 8] = ["PEER", "STATE", "HIT RATIO", "REQUESTS", "MEMORY", "DISK", "WORKERS", "QUEUED"];

/// Moves the cursor of a terminal to the upper left corner and clears the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub(crate) fn run(arguments: &Status) -> Result<ExitCode, Failure> {
    let credential = tokens::load(arguments.token_file.as_deref())?.and_then(|tokens| tokens.credential());
    let origin = with(Origin::builder(), arguments.cacert.as_ref(), |origin, file| {
        origin.root_certificates_file(file)
    });
    let origin = origin.build()?;
    let path = if arguments.json { "/status.json" } else { "/status" };
    loop {
        let answers: Vec<(String, Result<String, Error>)> = arguments
            .urls
            .iter()
            .map(|url| {
                let url = url.trim_end_matches('/');
                let request =
                    RequestBuilder::new(&origin, Method::GET, &format!("{url}{path}")).timeout(TIMEOUT);
                let request =
                    with(request, credential.clone(), |request, value| request.header(AUTHORIZATION, value));
                let answer =
                    request.send().and_then(ResponseExt::error_for_status).and_then(ResponseExt::text);
                (url.to_owned(), answer)
            })
            .collect();
        let clear = if arguments.watch.is_some() { CLEAR } else { "" };
        let text = if arguments.json { json(&answers) } else { table(&answers) };
        print(format_args!("{clear}{text}"))?;
        let Some(interval) = arguments.watch else {
            let failure = answers.into_iter().find_map(|(_, answer)| answer.err());
            return failure.map_or(Ok(ExitCode::SUCCESS), |error| Err(error.into()));
        };
        thread::sleep(interval);
    }
}

fn json(answers: &[(String, Result<String, Error>)]) -> String {
    answers.iter().filter_map(|(_, answer)| answer.as_deref().ok()).collect()
}

/// Returns a table with a row for each peer that was asked and for each peer that only these know.
fn table(answers: &[(String, Result<String, Error>)]) -> String {
    let (mut rows, mut others) = (vec![COLUMNS.map(str::to_owned)], Vec::new());
    let mut asked = Vec::new();
    for (url, answer) in answers {
        match answer {
            Ok(text) => {
                let facts = Facts::of(text);
                asked.push(facts.get("self").to_owned());
                others.extend(
                    facts.peers.iter().map(|(peer, state)| ((*peer).to_owned(), (*state).to_owned())),
                );
                rows.push(facts.row());
            }
            Err(_) => rows.push(row(url, "unreachable")),
        }
    }
    others.sort();
    others.dedup_by(|one, other| one.0 == other.0);
    rows.extend(
        others.iter().filter(|(peer, _)| !asked.contains(peer)).map(|(peer, state)| row(peer, state)),
    );
    let widths: [usize; COLUMNS.len()] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let line = |row: &[String; COLUMNS.len()]| {
        let cells = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            if column < 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// Returns a row of a peer about which only the state is known.
fn row(peer: &str, state: &str) -> [String; COLUMNS.len()] {
    std::array::from_fn(|column| match column {
        0 => peer.to_owned(),
        1 => state.to_owned(),
        _ => "-".to_owned(),
    })
}

/// The lines of `/status`: a name, then its value.
struct Facts<'a> {
    values: HashMap<&'a str, &'a str>,
    peers: Vec<(&'a str, &'a str)>,
}

impl<'a> Facts<'a> {
    fn of(text: &'a str) -> Self {
        let peers = text.lines().filter_map(|line| line.strip_prefix("peer ")?.rsplit_once(' '));
        let named = ["fetch threads ", "near ", "disk bytes "];
        let values = text.lines().filter(|line| !line.contains(" for ")).filter_map(|line| {
            let name = named.iter().find(|name| line.starts_with(**name));
            name.map(|name| (name.trim_end(), &line[name.len()..])).or_else(|| line.split_once(' '))
        });
        Self { values: values.collect(), peers: peers.collect() }
    }

    fn get(&self, name: &str) -> &'a str {
        self.values.get(name).copied().unwrap_or("-")
    }

    fn count(&self, names: &[&str]) -> u64 {
        names.iter().filter_map(|name| self.get(name).parse::<u64>().ok()).sum()
    }

    fn row(&self) -> [String; COLUMNS.len()] {
        let hits = self.count(&["hit", "stale-accepted", "stale-while-revalidate", "collapsed"]);
        let others = self.count(&["miss", "revalidated", "stale-if-error", "stale-on-deadline", "failed"]);
        let all = hits + others + self.count(&["passed", "only-if-cached"]);
        #[allow(clippy::cast_precision_loss, reason = "a ratio for people")]
        let ratio = (hits + others > 0).then(|| hits as f64 * 100.0 / (hits + others) as f64);
        let (threads, _) = self.get("fetch threads").split_once(',').unwrap_or(("-", ""));
        let state = if self.values.contains_key("state") { "leaving" } else { "up" };
        [
            self.get("self").to_owned(),
            state.to_owned(),
            ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.1} %")),
            all.to_string(),
            amount(self.get("bytes")),
            amount(self.get("disk bytes")),
            threads.to_owned(),
            self.get("queued").to_owned(),
        ]
    }
}

/// Returns `USED of LIMIT`, a pair of numbers of bytes, in MiB.
fn amount(text: &str) -> String {
    let Some((used, limit)) = text.split_once(" of ") else { return text.to_owned() };
    let mebibytes =
        |bytes: &str| bytes.parse::<u64>().map_or("-".to_owned(), |bytes| (bytes >> 20).to_string());
    format!("{} of {} MiB", mebibytes(used), mebibytes(limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_a_row_for_each_peer() {
        let text = "forwardcache 0.1.0\nself http://a:1\npeer http://b:1 down\npeer http://c:1 up\nkeys 2\n\
                    bytes 2097152 of 268435456\nevictions 0\nfetch threads 3 of 64, 1 of them streams\nqueued 7\n\
                    queued 7 for http://slow/\nhit 3\nmiss 1\npassed 2\n";
        let answers = [
            ("http://a:2".to_owned(), Ok(text.to_owned())),
            ("http://c:2".to_owned(), Err(Error::new(forwardcache::ErrorKind::Timeout, "refused"))),
        ];
        let table = table(&answers);
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines.len(), 5, "{table}");
        let expected = "http://a:1 up 75.0 % 6 2 of 256 MiB - 3 of 64 7";
        assert_eq!(lines[1], expected.split(' ').collect::<Vec<_>>(), "{table}");
        assert_eq!(lines[2][..2], ["http://c:2", "unreachable"]);
        assert_eq!(lines[3][..2], ["http://b:1", "down"]);
    }
}
