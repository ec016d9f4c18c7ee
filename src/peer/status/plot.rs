//! The hit ratio of the last hour as SVG, drawn without scripts.

use std::fmt::Write as _;

use crate::peer::traffic::Minute;

/// The width of a minute, and the height of the plot.
const MINUTE: usize = 10;
const HEIGHT: f64 = 100.0;

/// Returns a figure: a line for the hit ratio, and bars for the number of requests, of which the highest fills the figure.
/// A minute without requests has neither.
pub(super) fn plot(minutes: &[Minute]) -> String {
    let (mut line, mut bars) = (String::new(), String::new());
    let requests = |minute: &Minute| minute.hits.saturating_add(minute.misses);
    let most = minutes.iter().map(requests).max().unwrap_or(0);
    let mut is_drawing = false;
    for (index, minute) in minutes.iter().enumerate() {
        let (x, total) = (index * MINUTE, requests(minute));
        if let Some(ratio) = ratio(minute.hits, total) {
            let y = HEIGHT * (1.0 - ratio);
            let command = if is_drawing { 'L' } else { 'M' };
            // Writing to a String cannot fail.
            let _ = write!(line, "{command}{x} {y:.1}h{MINUTE}");
            let height = HEIGHT * self::ratio(total, most).unwrap_or(0.0);
            let _ = write!(bars, "M{x} {HEIGHT}v-{height:.1}h{MINUTE}V{HEIGHT}z");
        }
        is_drawing = total > 0;
    }
    let hits = minutes.iter().map(|minute| minute.hits).sum();
    let total = minutes.iter().map(requests).sum();
    let summary = ratio(hits, total)
        .map_or("no requests".to_owned(), |ratio| format!("{:.1} % of {total} requests", ratio * 100.0));
    let width = minutes.len() * MINUTE;
    format!(
        "<h2>Hit ratio of the last hour</h2><figure class=\"plot\">\
         <svg viewBox=\"0 0 {width} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"Hit ratio of the last hour: {summary}\">\
         <path class=\"bars\" d=\"{bars}\"/><path class=\"line\" d=\"{line}\"/></svg>\
         <figcaption><span>60 min ago</span><span>{summary}</span><span>now</span></figcaption></figure>"
    )
}

#[allow(clippy::cast_precision_loss, reason = "a ratio for people")]
fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_has_a_segment_for_each_minute_with_requests() {
        let minute = |hits, misses| Minute { hits, misses };
        let svg = plot(&[minute(3, 1), minute(2, 0), minute(0, 0), minute(0, 1)]);
        assert!(svg.contains("d=\"M0 25.0h10L10 0.0h10M30 100.0h10\""), "{svg}");
        assert!(
            svg.contains("d=\"M0 100v-100.0h10V100zM10 100v-50.0h10V100zM30 100v-25.0h10V100z\""),
            "{svg}"
        );
        assert!(svg.contains("viewBox=\"0 0 40 100\"") && svg.contains(">71.4 % of 7 requests<"), "{svg}");
    }

    #[test]
    fn hour_without_requests_is_stated() {
        let svg = plot(&[Minute::default(); 60]);
        assert!(svg.contains("no requests") && svg.contains("class=\"line\" d=\"\""), "{svg}");
    }
}
