//! `forwardcache status`: the state of peers as a table.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use forwardcache::http::Method;
use forwardcache::http::header::AUTHORIZATION;
use forwardcache::{Error, Origin, Outcome, RequestBuilder, ResponseExt};
use serde_json::Value;

use super::arguments::Status;
use super::failure::{Failure, print};
use super::optional::with;
use super::tokens;

/// The time limit for the answer of one peer.
const TIMEOUT: Duration = Duration::from_secs(5);

const COLUMNS: [&str; 8] = ["PEER", "STATE", "HIT RATIO", "REQUESTS", "MEMORY", "DISK", "WORKERS", "QUEUED"];

/// Moves the cursor of a terminal to the upper left corner and clears the screen.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// The `/status.json` of each peer that was asked, or why it did not answer.
pub(super) type Answers = [(String, Result<String, Error>)];

pub(crate) fn run(arguments: &Status) -> Result<ExitCode, Failure> {
    repeat(arguments, |answers| if arguments.json { json(answers) } else { table(answers) })
}

/// Asks the peers and prints what `show` returns: once, or again and again.
///
/// # Errors
///
/// The failure of a peer, after the others are printed, unless this repeats.
pub(super) fn repeat(arguments: &Status, show: impl Fn(&Answers) -> String) -> Result<ExitCode, Failure> {
    let credential = tokens::load(arguments.token_file.as_deref())?.and_then(|tokens| tokens.credential());
    let origin = with(Origin::builder(), arguments.cacert.as_ref(), |origin, file| {
        origin.root_certificates_file(file)
    });
    let origin = origin.build()?;
    loop {
        let answers: Vec<(String, Result<String, Error>)> = arguments
            .urls
            .iter()
            .map(|url| {
                let url = url.trim_end_matches('/');
                let request =
                    RequestBuilder::new(&origin, Method::GET, &format!("{url}/status.json")).timeout(TIMEOUT);
                let request =
                    with(request, credential.clone(), |request, value| request.header(AUTHORIZATION, value));
                let answer =
                    request.send().and_then(ResponseExt::error_for_status).and_then(ResponseExt::text);
                (url.to_owned(), answer)
            })
            .collect();
        let clear = if arguments.watch.is_some() { CLEAR } else { "" };
        let text = show(&answers);
        print(format_args!("{clear}{text}"))?;
        let Some(interval) = arguments.watch else {
            let failure = answers.into_iter().find_map(|(_, answer)| answer.err());
            return failure.map_or(Ok(ExitCode::SUCCESS), |error| Err(error.into()));
        };
        thread::sleep(interval);
    }
}

/// Returns the JSON of each peer; `None` if it did not answer or the answer is not JSON.
pub(super) fn parsed(answers: &Answers) -> impl Iterator<Item = (&str, Option<Value>)> {
    answers.iter().map(|(url, answer)| {
        let status = answer.as_ref().ok().and_then(|text| serde_json::from_str(text).ok());
        (url.as_str(), status)
    })
}

fn json(answers: &Answers) -> String {
    answers.iter().filter_map(|(_, answer)| answer.as_deref().ok()).collect()
}

/// Returns a table with a row for each peer that was asked and for each peer that only these know.
fn table(answers: &Answers) -> String {
    let (mut rows, mut others) = (vec![COLUMNS.map(str::to_owned)], Vec::new());
    let mut asked = Vec::new();
    for (url, status) in parsed(answers) {
        let Some(status) = status else {
            rows.push(row(url, "unreachable"));
            continue;
        };
        asked.push(status["self"].as_str().unwrap_or_default().to_owned());
        let members = status["peers"].as_array().into_iter().flatten();
        others.extend(members.filter_map(|member| {
            let state = member["state"].as_str().filter(|state| *state != "self")?;
            Some((member["url"].as_str()?.to_owned(), state.to_owned()))
        }));
        rows.push(row_of(&status));
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

/// Returns the row of a peer from its `/status.json`.
fn row_of(status: &Value) -> [String; COLUMNS.len()] {
    let requests: u64 = Outcome::NAMES.iter().filter_map(|name| status["counts"][name].as_u64()).sum();
    let percent = status["hit_ratio"].as_f64().map(|ratio| format!("{:.1} %", ratio * 100.0));
    let sum = |name: &str| {
        let servers = status["fetches"].as_array().into_iter().flatten();
        servers.filter_map(|server| server[name].as_u64()).reduce(|one, other| one + other)
    };
    let text = |number: Option<u64>| number.map_or("-".to_owned(), |number| number.to_string());
    let workers = sum("running").zip(sum("threads")).map(|(running, limit)| format!("{running} of {limit}"));
    [
        status["self"].as_str().unwrap_or("-").to_owned(),
        if status["leaving"] == true { "leaving" } else { "up" }.to_owned(),
        percent.unwrap_or("-".to_owned()),
        requests.to_string(),
        amount(&status["store"]),
        amount(&status["disk"]),
        workers.unwrap_or("-".to_owned()),
        text(sum("queued")),
    ]
}

/// Returns how much of its capacity a store uses, in MiB.
fn amount(store: &Value) -> String {
    let (Some(used), Some(limit)) = (store["bytes"].as_u64(), store["capacity"].as_u64()) else {
        return "-".to_owned();
    };
    format!("{} of {} MiB", used >> 20, limit >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_has_a_row_for_each_peer() {
        let text = r#"{"self":"http://a:1","leaving":false,"hit_ratio":0.75,
            "peers":[{"url":"http://a:1","state":"self"},{"url":"http://b:1","state":"down"},{"url":"http://c:1","state":"up"}],
            "counts":{"hit":3,"miss":1,"passed":2,"stored":1},
            "store":{"keys":2,"bytes":2097152,"capacity":268435456,"evictions":0},"disk":null,
            "fetches":[{"running":3,"streams":1,"threads":64,"queued":7,"queues":[{"origin":"http://slow/","queued":7}]}]}"#;
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
