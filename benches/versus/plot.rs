//! A bar chart of requests per second: hits of two sizes, and misses with fast and slow origins, each with its own
//! scale.

use std::fmt::Write as _;

use crate::arguments::Scenario;
use crate::figures::grouped;
use crate::report::Results;
use crate::servers::Kind;

const SHOWN: [Scenario; 5] = [
    Scenario::SmallHits,
    Scenario::MediumHits,
    Scenario::Misses,
    Scenario::SlowMisses,
    Scenario::SlowTlsMisses,
];

const WIDTH: f64 = 720.0;
const LEFT: f64 = 120.0;
/// The space to the right of the longest bar, for its number.
const RIGHT: f64 = 90.0;
const BAR: f64 = 18.0;
const STEP: f64 = 24.0;
const TITLE: f64 = 30.0;
const MARGIN: f64 = 14.0;

/// The colors are legible on light and dark backgrounds; the text adapts to the preferred scheme.
const STYLE: &str = "\
text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #24292f; }
.title { font-weight: 600; }
.own { fill: #2f81f7; }
.other { fill: #8b949e; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } }
";

/// Renders the results as SVG.
pub(crate) fn svg(results: &Results) -> String {
    let mut body = String::new();
    let mut top = MARGIN;
    for outcome in SHOWN.iter().filter_map(|scenario| results.throughput(*scenario)) {
        let bars: Vec<(Kind, f64)> = outcome
            .servers
            .iter()
            .filter_map(|(kind, _)| Some((*kind, outcome.median(*kind, |turn| turn.requests_per_second)?)))
            .collect();
        let most = bars.iter().map(|(_, value)| *value).fold(1.0, f64::max);
        let name = outcome.case.name;
        let _ = writeln!(
            body,
            r#"<text class="title" x="{MARGIN}" y="{}">{name}, requests/s</text>"#,
            top + 14.0
        );
        top += TITLE;
        for (kind, value) in bars {
            let length = value / most * (WIDTH - LEFT - RIGHT);
            let class = if kind == Kind::Forwardcache { "own" } else { "other" };
            let text = top + BAR - 4.5;
            let _ = writeln!(body, r#"<text x="{}" y="{text}" text-anchor="end">{kind}</text>"#, LEFT - 8.0);
            let _ = writeln!(
                body,
                r#"<rect class="{class}" x="{LEFT}" y="{top}" width="{length:.1}" height="{BAR}" rx="2"/>"#
            );
            let figure = grouped(value);
            let _ = writeln!(body, r#"<text x="{:.1}" y="{text}">{figure}</text>"#, LEFT + length + 6.0);
            top += STEP;
        }
        top += MARGIN;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top}\" width=\"{WIDTH}\" \
         height=\"{top}\" role=\"img\" aria-label=\"Requests per second of forwardcache, nginx, Varnish and \
         Squid\">\n<style>\n{STYLE}</style>\n{body}</svg>\n"
    )
}
