//! The results as tables in Markdown, for the terminal and for a file.

use std::fmt::Write as _;
use std::thread;

use crate::arguments::{Arguments, Scenario};
use crate::figures::{grouped, mebibytes, milliseconds};
use crate::servers::Kind;
use crate::{beside, disk, forms, idle, packages, start, targets, throughput, tunnels};

#[derive(Debug, Default)]
pub(crate) struct Results {
    pub(crate) throughput: Vec<throughput::Outcome>,
    pub(crate) beside: Vec<beside::Outcome>,
    pub(crate) idle: Vec<idle::Outcome>,
    pub(crate) forms: Option<forms::Outcome>,
    pub(crate) tunnels: tunnels::Outcome,
    pub(crate) objects: Vec<(Kind, f64)>,
    pub(crate) disk: Option<disk::Outcome>,
    pub(crate) start: Option<start::Outcome>,
}

impl Results {
    pub(crate) fn throughput(&self, scenario: Scenario) -> Option<&throughput::Outcome> {
        self.throughput.iter().find(|outcome| outcome.case.scenario == scenario)
    }

    pub(crate) fn beside(&self, disturbance: beside::Disturbance) -> Option<&beside::Outcome> {
        self.beside.iter().find(|outcome| outcome.disturbance == disturbance)
    }

    pub(crate) fn idle(&self, case: idle::HeldOpen) -> Option<&idle::Outcome> {
        self.idle.iter().find(|outcome| outcome.case == case)
    }

    /// Returns the report of all results and targets.
    pub(crate) fn text(&self, arguments: &Arguments) -> String {
        let mut sections = vec![heading(arguments)];
        sections.extend(self.throughput.iter().map(throughput_table));
        sections.extend(self.beside.iter().map(beside_table));
        sections.extend(self.idle.iter().map(idle_table));
        sections.extend(self.forms.as_ref().map(forms_table));
        sections.extend((!self.tunnels.servers.is_empty()).then(|| tunnels_table(&self.tunnels)));
        sections.extend((!self.objects.is_empty()).then(|| objects_table(&self.objects)));
        sections.extend(self.disk.map(disk_table));
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
         `cargo bench --features cli --bench versus`: forwardcache {}, {}; {cores} cores shared by the servers, \
         the origin and wrk. {} rounds, in each of which every server is measured for {} s; medians \
         over the rounds. The ratio is forwardcache's rate divided by the other server's in the same round. CPU is that \
         of the server. Resident memory excludes nginx's cache, which is in files. For hits with \
         misses, the times are those of the hits.\n",
        env!("CARGO_PKG_VERSION"),
        rivals.join(", "),
        arguments.rounds,
        arguments.seconds,
    )
}

fn throughput_table(outcome: &throughput::Outcome) -> String {
    let mut rows = Vec::new();
    for (kind, _) in &outcome.servers {
        let median =
            |figure: fn(&throughput::Measurement) -> f64| outcome.median(*kind, figure).unwrap_or(0.0);
        let ratio = outcome.ratio(*kind).filter(|_| *kind != Kind::Forwardcache);
        rows.push([
            kind.to_string(),
            grouped(median(|measurement| measurement.requests_per_second)),
            milliseconds(median(|measurement| measurement.median_milliseconds)),
            milliseconds(median(|measurement| measurement.p99_milliseconds)),
            format!("{:.4} s", median(|measurement| measurement.cpu)),
            mebibytes(median(|measurement| measurement.resident)),
            ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
        ]);
    }
    let columns = ["server", "requests/s", "p50", "p99", "CPU per 1,000", "resident", "ratio"];
    format!("## {}\n\n{}", outcome.case.name, table(columns, &rows))
}

fn beside_table(outcome: &beside::Outcome) -> String {
    let mut rows = Vec::new();
    for (kind, _) in &outcome.servers {
        let median = |figure: fn(&beside::Measurement) -> f64| outcome.median(*kind, figure).unwrap_or(0.0);
        rows.push([
            kind.to_string(),
            milliseconds(median(|measurement| measurement.quiet.median_milliseconds)),
            milliseconds(median(|measurement| measurement.disturbed.median_milliseconds)),
            milliseconds(median(|measurement| measurement.quiet.p99_milliseconds)),
            milliseconds(median(|measurement| measurement.disturbed.p99_milliseconds)),
            grouped(median(|measurement| measurement.others)),
        ]);
    }
    let columns = ["server", "p50 without", "p50 with", "p99 without", "p99 with", "others per second"];
    format!("## hits 1 KiB with {}\n\n{}", outcome.disturbance.name(), table(columns, &rows))
}

fn forms_table(outcome: &forms::Outcome) -> String {
    let row = |way| {
        let ratio = outcome.ratio(way, forms::Way::Query).unwrap_or(0.0);
        [format!("{way}"), grouped(outcome.median(way)), format!("{ratio:.2}")]
    };
    let rows: Vec<_> = outcome.ways().map(row).collect();
    format!("## hits 1 KiB by form\n\n{}", table(["form", "requests/s", "relative to `/proxy?q=`"], &rows))
}

fn idle_table(outcome: &idle::Outcome) -> String {
    let mut rows = Vec::new();
    let mut failures = String::new();
    for (kind, measurements) in &outcome.servers {
        if let Err(reason) = measurements {
            let _ = writeln!(failures, "\n{kind}: {}", reason.lines().next().unwrap_or_default());
            continue;
        }
        let median = |figure: fn(&idle::Measurement) -> f64| outcome.median(*kind, figure).unwrap_or(0.0);
        rows.push([
            kind.to_string(),
            grouped(median(|measurement| measurement.threads_before as f64)),
            grouped(median(|measurement| measurement.threads_after as f64)),
            grouped(median(|measurement| measurement.bytes_per_connection)),
            grouped(median(|measurement| measurement.hits_without)),
            grouped(median(|measurement| measurement.hits_with)),
            format!("{:.2}", median(|measurement| measurement.hits_with / measurement.hits_without)),
        ]);
    }
    let columns = [
        "server",
        "threads before",
        "threads with",
        "bytes per connection",
        "requests/s without",
        "requests/s with",
        "ratio",
    ];
    let (count, name) = (grouped(outcome.case.count() as f64), outcome.case.name());
    format!("## hits 1 KiB with {count} {name}\n\n{}{failures}", table(columns, &rows))
}

fn tunnels_table(outcome: &tunnels::Outcome) -> String {
    let rows: Vec<_> = outcome
        .servers
        .iter()
        .map(|(kind, _)| {
            let median = |of: fn(&tunnels::Measurement) -> f64| outcome.median(*kind, of).unwrap_or(0.0);
            [
                kind.map_or("direct".to_owned(), |kind| kind.to_string()),
                grouped(median(|measurement| measurement.tunnels_per_second)),
                format!("{}/s", mebibytes(median(|measurement| measurement.bytes_per_second))),
                format!("{:.2} s", median(|measurement| measurement.cpu)),
            ]
        })
        .collect();
    format!("## tunnels\n\n{}", table(["server", "tunnels/s", "1 GiB", "CPU for 1 GiB"], &rows))
}

fn objects_table(objects: &[(Kind, f64)]) -> String {
    let rows: Vec<_> = objects.iter().map(|(kind, bytes)| [kind.to_string(), grouped(*bytes)]).collect();
    format!("## a stored object of 1 KiB\n\n{}", table(["server", "resident bytes"], &rows))
}

fn disk_table(disk: disk::Outcome) -> String {
    let rows = [
        ["start to first hit with 100,000 entries".to_owned(), milliseconds(disk.start_milliseconds)],
        [format!("memory of each of {} more, in bytes", grouped(disk.more as f64)), grouped(disk.bytes)],
    ];
    format!("## entries on disk\n\n{}", table(["measure", "forwardcache"], &rows))
}

fn start_table(start: start::Outcome) -> String {
    let rows = [
        ["size of the binary".to_owned(), mebibytes(start.binary_bytes)],
        ["resident memory, idle".to_owned(), mebibytes(start.idle_resident)],
        ["start to first answer".to_owned(), milliseconds(start.milliseconds)],
    ];
    format!("## the command\n\n{}", table(["measure", "forwardcache"], &rows))
}

fn targets_table(results: &Results) -> String {
    let rows: Vec<_> = targets::of(results)
        .into_iter()
        .map(|target| {
            let (measured, is_met) = target.measured.unwrap_or_default();
            let verdict = match (measured.is_empty(), is_met) {
                (true, _) => "not measured",
                (false, true) => "met",
                (false, false) => "**not met**",
            };
            [target.name.to_owned(), target.required, measured, verdict.to_owned()]
        })
        .collect();
    format!("## targets\n\n{}", table(["target", "required", "measured", ""], &rows))
}

/// Formats a Markdown table that is aligned as plain text: the first column to the left, the others to the right.
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
