//! The state of a peer as a page for browsers. It works without scripts and requests nothing from other origins.

use std::fmt::Write as _;

use super::plot::plot;
use super::report::{Report, StoreStatus};
use crate::peer::access_log::rfc_3339;
use crate::peer::traffic::{Order, Subject};

/// The style sheet, which the page requests from the same address.
pub(in crate::peer) const STYLE: &str = include_str!("page.css");

/// The `Content-Security-Policy` of the page: only its own style sheet, and forms that lead back to this address.
pub(in crate::peer) const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; form-action 'self'; img-src data:; base-uri 'none'; frame-ancestors 'none'";

impl Report {
    pub(in crate::peer) fn page(&self) -> String {
        let mut body = String::with_capacity(8 << 10);
        // Writing to a String cannot fail.
        let _ =
            write!(body, "<h1>{}</h1><p>forwardcache {}", escaped(&self.self_url), env!("CARGO_PKG_VERSION"));
        body.push_str(if self.is_leaving { ", leaving the pool</p>" } else { "</p>" });
        self.write_tiles(&mut body);
        body.push_str(&plot(&self.last_hour));
        self.write_pool(&mut body);
        body.push_str(FORMS);
        self.write_top(&mut body, "Top URLs", "URL", Subject::Urls);
        self.write_slow_origins(&mut body);
        self.write_warnings(&mut body);
        table(&mut body, "Requests by outcome", ["Outcome", "Requests"], self.outcomes());
        self.write_fetches(&mut body);
        let memory = self.memory.iter().map(|(purpose, held)| (*purpose, size(*held)));
        table(&mut body, "Memory by use", ["Use", "Size"], memory);
        let skip = self.outcomes().count();
        table(&mut body, "Counters", ["Event", "Count"], self.counts.iter().skip(skip));
        page("forwardcache", &body)
    }

    fn write_tiles(&self, body: &mut String) {
        let percent = |ratio: f64| format!("{:.1} %", ratio * 100.0);
        let requests: u64 = self.outcomes().map(|(_, count)| count).sum();
        let held: u64 = self.memory.iter().map(|(_, held)| held).sum();
        let mut tiles = vec![
            ("Hit ratio", self.counts.hit_ratio().map_or("–".to_owned(), percent), None),
            ("Requests", requests.to_string(), None),
            ("Stored in memory", self.store.keys.to_string(), None),
            ("Memory", size(held), self.memory_limit.map(|limit| (held, limit))),
        ];
        let meter = |store: &StoreStatus| Some((store.bytes, store.capacity));
        if let Some(disk) = &self.disk {
            tiles.push(("Disk", size(disk.bytes), meter(disk)));
        }
        if let Some(redis) = &self.redis {
            let state = match redis.circuit {
                "closed" => "up",
                "slow" => "slow",
                _ => "down",
            };
            tiles.push(("Redis", format!("{state}, {} errors", redis.errors), None));
        }
        body.push_str("<div class=\"tiles\">");
        for (label, value, meter) in tiles {
            let _ = write!(body, "<div class=\"tile\">{label}<b>{value}</b>");
            if let Some((value, max)) = meter {
                let of = size(max);
                let _ = write!(
                    body,
                    "<meter value=\"{value}\" max=\"{}\" title=\"of {of}\"></meter>",
                    max.max(1)
                );
            }
            body.push_str("</div>");
        }
        body.push_str("</div>");
    }

    fn write_pool(&self, body: &mut String) {
        body.push_str("<h2>Pool</h2><p>The states are those that requests of this peer found last.</p>");
        body.push_str("<table><tr><th>Peer<th>State<th class=\"number\">Fair share</tr>");
        for member in &self.members {
            let (url, state, share) = (escaped(&member.url), member.state, member.share * 100.0);
            let class = if state == "up" || state == "self" { state } else { "down" };
            let _ = write!(
                body,
                "<tr><td>{url}<td class=\"{class}\">{state}<td class=\"number\">{share:.1} %</tr>"
            );
        }
        body.push_str("</table>");
    }

    /// Writes the names with the most requests.
    fn write_top(&self, body: &mut String, title: &str, column: &str, subject: Subject) {
        let names = self.top.list(subject, Order::Requests);
        if names.is_empty() {
            return;
        }
        let rows = names.iter().take(MAX_ROWS).map(|(name, amounts)| {
            let numbers = [amounts.requests.to_string(), size(amounts.bytes), amounts.misses.to_string()];
            (&**name, numbers)
        });
        let covered = self.top.covers.as_secs() / 60 + 1;
        let title = format!("{title} of the last {covered} min");
        wide_table(body, &title, [column, "Requests", "Sent", "Misses"], rows);
    }

    fn write_slow_origins(&self, body: &mut String) {
        if self.slow_origins.is_empty() {
            return;
        }
        let rows = self.slow_origins.iter().take(MAX_ROWS).map(|slow| {
            let seconds = |time: std::time::Duration| format!("{:.3} s", time.as_secs_f64());
            (slow.origin.as_str(), [slow.fetches.to_string(), seconds(slow.average), seconds(slow.slowest)])
        });
        wide_table(
            body,
            "Slowest origins of the last hour",
            ["Origin", "Fetches", "Average", "Slowest"],
            rows,
        );
    }

    fn write_warnings(&self, body: &mut String) {
        if self.warnings.is_empty() {
            return;
        }
        body.push_str("<h2>Recent warnings</h2><table><tr><th>Warning<th class=\"number\">Count</tr>");
        for warning in &self.warnings {
            let (time, text, count) = (rfc_3339(warning.last), escaped(&warning.text), warning.count);
            let _ = write!(
                body,
                "<tr><td><time datetime=\"{time}\">{time}</time><br>{text}<td class=\"number\">{count}</tr>"
            );
        }
        body.push_str("</table>");
    }

    fn write_fetches(&self, body: &mut String) {
        for fetches in &self.fetches {
            let rows = [
                ("running", fetches.running),
                ("streams among them", fetches.streams),
                ("limit", fetches.threads),
                ("queued", fetches.queued),
            ];
            table(body, "Fetches", ["Workers", "Count"], rows.into_iter());
            if !fetches.queues.is_empty() {
                let rows = fetches.queues.iter().map(|(origin, count)| (origin.as_str(), *count));
                table(body, "Longest queues", ["Origin", "Waiting"], rows);
            }
        }
    }
}

/// The maximum number of rows of a list of names; `/status.json` has more.
const MAX_ROWS: usize = 10;

/// Forms to explain and to purge.
const FORMS: &str = "<h2>Explain</h2><form action=\"/why\" method=\"get\">\
    <input type=\"text\" name=\"q\" required aria-label=\"URL to explain\" placeholder=\"https://example.com/\">\
    <button>Why?</button></form>\
    <h2>Purge</h2><form action=\"/purge\" method=\"post\">\
    <select name=\"kind\" aria-label=\"What to purge\"><option value=\"q\">URL<option value=\"prefix\">Prefix</select>\
    <input type=\"text\" name=\"url\" required aria-label=\"URL to purge\" placeholder=\"https://example.com/\">\
    <button>Purge from the pool</button></form>";

/// Returns a page that shows a text, with a link back.
pub(in crate::peer) fn result_page(title: &str, text: &str) -> String {
    let text = escaped(text);
    page(
        title,
        &format!("<h1>{title}</h1><pre>{text}</pre><p><a href=\"/status\">Back to the status</a></p>"),
    )
}

fn page(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <link rel=\"icon\" href=\"data:,\"><link rel=\"stylesheet\" href=\"/status.css\"></head>\
         <body>{body}</body></html>\n"
    )
}

fn table<'a, V: std::fmt::Display>(
    body: &mut String,
    title: &str,
    [name, value]: [&str; 2],
    rows: impl Iterator<Item = (&'a str, V)>,
) {
    let _ = write!(body, "<h2>{title}</h2><table><tr><th>{name}<th class=\"number\">{value}</tr>");
    for (name, value) in rows {
        let _ = write!(body, "<tr><td>{}<td class=\"number\">{value}</tr>", escaped(name));
    }
    body.push_str("</table>");
}

/// Writes a table of names, each with three numbers.
fn wide_table<'a>(
    body: &mut String,
    title: &str,
    columns: [&str; 4],
    rows: impl Iterator<Item = (&'a str, [String; 3])>,
) {
    let [name, numbers @ ..] = columns;
    let numbers = numbers.map(|column| format!("<th class=\"number\">{column}")).concat();
    let _ = write!(body, "<h2>{title}</h2><table class=\"names\"><tr><th>{name}{numbers}</tr>");
    for (name, numbers) in rows {
        let numbers = numbers.map(|number| format!("<td class=\"number\">{number}")).concat();
        let _ = write!(body, "<tr><td>{}{numbers}</tr>", escaped(name));
    }
    body.push_str("</table>");
}

/// Returns a number of bytes for people.
fn size(bytes: u64) -> String {
    #[allow(clippy::cast_precision_loss, reason = "a size for people")]
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// Escapes a text for HTML.
fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            other => html.push(other),
        }
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_cannot_become_markup() {
        let page = result_page("Why", "<script>alert(1)</script> & \"x\"");
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;x&quot;"), "{page}");
    }

    #[test]
    fn sizes_have_units() {
        let sizes = [0, 1023, 1536, 5 << 20, 3 << 30, 2 << 40].map(size);
        assert_eq!(sizes, ["0 B", "1023 B", "1.5 KiB", "5.0 MiB", "3.0 GiB", "2.0 TiB"]);
    }
}
