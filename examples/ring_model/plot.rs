//! The results as SVG: the keys of each peer as a line, the load of the busiest peer as bars.

use std::fmt::Write as _;

use crate::model::{Counted, Model};
use crate::table::on;

const WIDTH: f64 = 720.0;
const LEFT: f64 = 48.0;
const RIGHT: f64 = 96.0;
const MARGIN: f64 = 14.0;
const LINES: f64 = 220.0;
const BARS_LEFT: f64 = 250.0;
const BAR: f64 = 18.0;
const STEP: f64 = 24.0;

/// The maximum number of points of a line; more are not visible.
const POINTS: usize = 400;

/// The colors are legible on light and dark backgrounds; the text adapts to the preferred scheme.
const STYLE: &str = "\
text { font: 13px system-ui, -apple-system, 'Segoe UI', sans-serif; fill: #24292f; }
.title { font-weight: 600; }
.axis { stroke: #8b949e; stroke-width: 1; }
polyline { fill: none; stroke-width: 2; }
.compatible { stroke: #8b949e; } .rendezvous { stroke: #2f81f7; }
rect.compatible { fill: #8b949e; stroke: none; } rect.rendezvous { fill: #2f81f7; stroke: none; }
@media (prefers-color-scheme: dark) { text { fill: #e6edf3; } }
";

/// Renders the results as SVG. Writing to a String never fails.
pub(crate) fn svg(model: &Model, counted: &[Counted]) -> String {
    let mut body = String::new();
    let top = lines(&mut body, counted, MARGIN);
    let height = bars(&mut body, counted, top);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\" aria-label=\"Keys and requests of {} peers with each ring\">\n\
         <style>\n{STYLE}</style>\n{body}</svg>\n",
        model.peers
    )
}

fn lines(body: &mut String, counted: &[Counted], top: f64) -> f64 {
    let most = counted.iter().filter_map(|ring| ring.shares.first()).copied().fold(1.0, f64::max).ceil();
    let (end, width) = (top + 28.0 + LINES, WIDTH - LEFT - RIGHT);
    let _ = writeln!(
        body,
        r#"<text class="title" x="{MARGIN}" y="{}">keys of each peer by the mean, the busiest first</text>"#,
        top + 14.0
    );
    let place = |ratio: f64| end - ratio / most * LINES;
    for ratio in [0.0, 1.0, most] {
        let y = place(ratio);
        let _ = writeln!(
            body,
            r#"<line class="axis" x1="{LEFT}" y1="{y:.1}" x2="{:.1}" y2="{y:.1}"/>"#,
            WIDTH - RIGHT
        );
        let _ =
            writeln!(body, r#"<text x="{}" y="{:.1}" text-anchor="end">{ratio}</text>"#, LEFT - 8.0, y + 4.5);
    }
    for ring in counted {
        let count = ring.shares.len();
        let step = count.div_ceil(POINTS).max(1);
        let shown = (0..count).step_by(step).chain(count.checked_sub(1));
        let points: Vec<String> = shown
            .map(|at| {
                let x = LEFT + at as f64 / (count.max(2) - 1) as f64 * width;
                format!("{x:.1},{:.1}", place(ring.shares[at]))
            })
            .collect();
        let _ = writeln!(body, r#"<polyline class="{}" points="{}"/>"#, ring.name, points.join(" "));
        let last = ring.shares.last().copied().unwrap_or_default();
        let _ = writeln!(
            body,
            r#"<text x="{:.1}" y="{:.1}">{}</text>"#,
            WIDTH - RIGHT + 6.0,
            place(last) + 4.5,
            ring.name
        );
    }
    end + 2.0 * MARGIN
}

fn bars(body: &mut String, counted: &[Counted], top: f64) -> f64 {
    let _ = writeln!(
        body,
        r#"<text class="title" x="{MARGIN}" y="{}">requests at the busiest peer by the mean</text>"#,
        top + 14.0
    );
    let mut top = top + 30.0;
    let all = || counted.iter().flat_map(|ring| ring.loads.iter().map(move |loaded| (ring.name, loaded)));
    let most = all().map(|(_, loaded)| loaded.load.busiest()).fold(1.0, f64::max);
    for (name, loaded) in all() {
        let (busiest, text) = (loaded.load.busiest(), top + BAR - 4.5);
        let length = busiest / most * (WIDTH - BARS_LEFT - RIGHT);
        let _ = writeln!(
            body,
            r#"<text x="{}" y="{text}" text-anchor="end">{name}, bound {}, near {}</text>"#,
            BARS_LEFT - 8.0,
            on(loaded.is_bounded),
            on(loaded.is_near)
        );
        let _ = writeln!(
            body,
            r#"<rect class="{name}" x="{BARS_LEFT}" y="{top}" width="{length:.1}" height="{BAR}" rx="2"/>"#
        );
        let _ = writeln!(body, r#"<text x="{:.1}" y="{text}">{busiest:.2}</text>"#, BARS_LEFT + length + 6.0);
        top += STEP;
    }
    top + MARGIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn svg_contains_every_line_and_bar() {
        let model = Model { peers: 5, keys: 100, requests: 200, exponent: 1.0, seed: 1 };
        let svg = svg(&model, &model.run(|_| ()));
        assert_eq!(svg.matches("<polyline").count(), 2);
        assert_eq!(svg.matches("<rect").count(), 8);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && !svg.contains("NaN"));
    }
}
