//! All that was measured, as tables: the same text for the terminal and for a file in Markdown.

use std::fmt::Write as _;
use std::thread;

use crate::arguments::{Arguments, Scenario};
use crate::figures::{grouped, mebibytes, milliseconds};
use crate::servers::Kind;
use crate::{beside, idle, packages, start, targets, throughput};

#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) throughput: Vec<throughput::Outcome>,
    pub(crate) beside: Vec<beside::Outcome>,
    pub(crate) idle: Vec<idle::Outcome>,
    pub(crate) objects: Vec<(Kind, f64)>,
    pub(crate) start: Option<start::Outcome>,
}

impl Results {
    pub(crate) fn throughput(&self, scenario: Scenario) -> Option<&throughput::Outcome> {
        self.throughput.iter().find(|outcome| outcome.what.scenario == scenario)
    }

    pub(crate) fn beside(&self, what: beside::What) -> Option<&beside::Outcome> {
        self.beside.iter().find(|outcome| outcome.what == what)
    }

    pub(crate) fn idle(&self, what: idle::What) -> Option<&idle::Outcome> {
        self.idle.iter().find(|outcome| outcome.what == what)
    }

    /// Whatever was measured, and what of the targets is met.
    pub(crate) fn text(&self, arguments: &Arguments) -> String {
        let mut sections = vec![heading(arguments)];
        sections.extend(self.throughput.iter().map(throughput_table));
        sections.extend(self.beside.iter().map(beside_table));
        sections.extend(self.idle.iter().map(idle_table));
        sections.extend((!self.objects.is_empty()).then(|| objects_table(&self.objects)));
        sections.extend(self.start.map(start_table));
        sections.push(targets_table(self));
        sections.join("\n")
    }
}

fn heading(arguments: &Arguments) -> String {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let rivals: Vec<String> = packages::versions()
        .into_iter()
        .map(
            |(program, version)| {
                if version.is_empty() { program.to_owned() } else { format!("{program} {version}") }
            },
        )
        .collect();
    format!(
        "# Versus\n\n\
         `cargo bench --features cli --bench versus`: forwardcache {}, {}; {cores} cores, which the servers, \
         the origin and wrk share. {} rounds, in each of which every server has its turn of {} s; medians \
         over the rounds. The ratio is forwardcache's requests to the other's in the same round. CPU is that \
         of the server. Resident memory leaves out what nginx stores, which is in files. Where hits are beside \
         misses, the times are those of hits alone.\n",
        env!("CARGO_PKG_VERSION"),
        rivals.join(", "),
        arguments.rounds,
        arguments.seconds,
    )
}

fn throughput_table(outcome: &throughput::Outcome) -> String {
    let mut rows = Vec::new();
    for (kind, _) in &outcome.servers {
        let median = |figure: fn(&throughput::Turn) -> f64| outcome.median(*kind, figure).unwrap_or(0.0);
        let ratio = outcome.ratio(*kind).filter(|_| *kind != Kind::Forwardcache);
        rows.push([
            kind.to_string(),
            grouped(median(|turn| turn.requests_per_second)),
            milliseconds(median(|turn| turn.median_milliseconds)),
            milliseconds(median(|turn| turn.p99_milliseconds)),
            format!("{:.4} s", median(|turn| turn.cpu)),
            mebibytes(median(|turn| turn.resident)),
            ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
        ]);
    }
    let columns =
        ["server", "requests/s", "p50", "p99", "CPU per 1,000", "resident", "forwardcache is, times"];
    format!("## {}\n\n{}", outcome.what.name, table(columns, &rows))
}

fn beside_table(outcome: &beside::Outcome) -> String {
    let mut rows = Vec::new();
    for (kind, _) in &outcome.servers {
        let median = |figure: fn(&beside::Turn) -> f64| outcome.median(*kind, figure).unwrap_or(0.0);
        rows.push([
            kind.to_string(),
            milliseconds(median(|turn| turn.alone.median_milliseconds)),
            milliseconds(median(|turn| turn.beside.median_milliseconds)),
            milliseconds(median(|turn| turn.alone.p99_milliseconds)),
            milliseconds(median(|turn| turn.beside.p99_milliseconds)),
            grouped(median(|turn| turn.others)),
        ]);
    }
    let columns = ["server", "p50 alone", "p50 beside", "p99 alone", "p99 beside", "a second of the others"];
    format!("## hits 1 KiB beside {}\n\n{}", outcome.what.name(), table(columns, &rows))
}

fn idle_table(outcome: &idle::Outcome) -> String {
    let mut rows = Vec::new();
    let mut failures = String::new();
    for (kind, turns) in &outcome.servers {
        if let Err(reason) = turns {
            let _ = writeln!(failures, "\n{kind}: {}", reason.lines().next().unwrap_or_default());
            continue;
        }
        let median = |figure: fn(&idle::Turn) -> f64| outcome.median(*kind, figure).unwrap_or(0.0);
        rows.push([
            kind.to_string(),
            grouped(median(|turn| turn.threads_before as f64)),
            grouped(median(|turn| turn.threads_after as f64)),
            grouped(median(|turn| turn.bytes_per_connection)),
            grouped(median(|turn| turn.hits_without)),
            grouped(median(|turn| turn.hits_with)),
            format!("{:.2}", median(|turn| turn.hits_with / turn.hits_without)),
        ]);
    }
    let columns = [
        "server",
        "threads before",
        "threads with them",
        "bytes each",
        "requests/s without",
        "requests/s with",
        "ratio",
    ];
    let (count, name) = (grouped(outcome.what.count() as f64), outcome.what.name());
    format!("## hits 1 KiB beside {count} {name}\n\n{}{failures}", table(columns, &rows))
}

fn objects_table(objects: &[(Kind, f64)]) -> String {
    let rows: Vec<_> = objects.iter().map(|(kind, bytes)| [kind.to_string(), grouped(*bytes)]).collect();
    format!("## a stored object of 1 KiB\n\n{}", table(["server", "resident bytes"], &rows))
}

fn start_table(start: start::Outcome) -> String {
    let rows = [
        ["size of the binary".to_owned(), mebibytes(start.binary_bytes)],
        ["resident memory, idle".to_owned(), mebibytes(start.idle_resident)],
        ["start to first answer".to_owned(), milliseconds(start.milliseconds)],
    ];
    format!("## the command\n\n{}", table(["what", "forwardcache"], &rows))
}

fn targets_table(results: &Results) -> String {
    let rows: Vec<_> = targets::of(results)
        .into_iter()
        .map(|target| {
            let (found, is_met) = target.found.unwrap_or_default();
            let verdict = match (found.is_empty(), is_met) {
                (true, _) => "not measured",
                (false, true) => "met",
                (false, false) => "**not met**",
            };
            [target.what.to_owned(), target.wanted, found, verdict.to_owned()]
        })
        .collect();
    format!("## targets\n\n{}", table(["what", "wanted", "found", ""], &rows))
}

/// In Markdown, and aligned so that it can be read as it is: the first column to the left.
fn table<const COLUMNS: usize>(columns: [&str; COLUMNS], rows: &[[String; COLUMNS]]) -> String {
    let widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([columns[column].len(), 3]).max().unwrap_or(3)
    });
    let mut text = String::new();
    let mut line = |cells: &dyn Fn(usize) -> String| {
        let cells: Vec<String> = (0..COLUMNS).map(cells).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    };
    let aligned = |cell: &str, column: usize| {
        let width = widths[column];
        if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
    };
    line(&|column| aligned(columns[column], column));
    line(&|column| {
        let rule = "-".repeat(widths[column] - 1);
        if column == 0 { format!("-{rule}") } else { format!("{rule}:") }
    });
    for row in rows {
        line(&|column| aligned(&row[column], column));
    }
    text
}
