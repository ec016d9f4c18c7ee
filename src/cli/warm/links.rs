//! The links of an HTML page: a small reader of tags, which neither builds a document nor runs scripts.

use std::collections::BTreeSet;

use forwardcache::origin::CanonicalUrl;

/// The attributes that name what a browser requests for a page or a click, by the name of their element.
const ATTRIBUTES: [(&str, &str); 11] = [
    ("a", "href"),
    ("area", "href"),
    ("audio", "src"),
    ("embed", "src"),
    ("frame", "src"),
    ("iframe", "src"),
    ("img", "src"),
    ("link", "href"),
    ("script", "src"),
    ("source", "src"),
    ("video", "src"),
];

/// Returns what a page links to on its own origin, each URL once and without the page itself.
pub(super) fn of(page: &CanonicalUrl, html: &str) -> Vec<CanonicalUrl> {
    let (mut base, mut links) = (page.clone(), BTreeSet::new());
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if let Some(comment) = rest.strip_prefix("!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end..]);
            continue;
        }
        let length = rest.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (name, after) = (rest[..length].to_ascii_lowercase(), &rest[length..]);
        if name.is_empty() {
            continue;
        }
        let wanted = if name == "base" { Some("href") } else { attribute_of(&name) };
        let (value, after) = attribute(after, wanted);
        rest = after;
        if let Some(link) = value.and_then(|value| base.join(unescape(value.trim()).as_str())) {
            if name == "base" {
                base = link;
            } else if link.same_origin(page) && link != *page {
                links.insert(link);
            }
        }
        // The text of these elements contains no tags.
        if name == "script" || name == "style" {
            rest = skip_text(rest, &name);
        }
    }
    links.into_iter().collect()
}

fn attribute_of(element: &str) -> Option<&'static str> {
    ATTRIBUTES.iter().find(|(name, _)| *name == element).map(|(_, attribute)| *attribute)
}

/// Returns the value of an attribute of a tag, whose name precedes `rest`, and what follows the tag.
fn attribute<'a>(mut rest: &'a str, wanted: Option<&str>) -> (Option<&'a str>, &'a str) {
    let mut found = None;
    loop {
        rest = rest.trim_start_matches(|letter: char| letter.is_ascii_whitespace() || letter == '/');
        if rest.is_empty() || rest.starts_with('>') {
            return (found, rest);
        }
        let is_end = |letter: char| letter.is_ascii_whitespace() || matches!(letter, '=' | '>' | '/');
        let length = rest.find(is_end).unwrap_or(rest.len());
        // An equals sign may begin a name.
        let length = if length == 0 { 1 } else { length };
        let name = &rest[..length];
        rest = rest[length..].trim_start();
        let Some(value) = rest.strip_prefix('=') else { continue };
        let value = value.trim_start();
        let (value, after) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                let value = &value[1..];
                let end = value.find(quote).unwrap_or(value.len());
                (&value[..end], value.get(end + 1..).unwrap_or_default())
            }
            _ => {
                let is_end = |letter: char| letter.is_ascii_whitespace() || letter == '>';
                value.split_at(value.find(is_end).unwrap_or(value.len()))
            }
        };
        rest = after;
        if found.is_none() && wanted.is_some_and(|wanted| name.eq_ignore_ascii_case(wanted)) {
            found = Some(value);
        }
    }
}

/// Returns what begins with the end tag of an element.
fn skip_text<'a>(text: &'a str, element: &str) -> &'a str {
    let ends = text.match_indices("</").map(|(at, _)| &text[at..]);
    let is_end =
        |rest: &&str| rest.get(2..2 + element.len()).is_some_and(|name| name.eq_ignore_ascii_case(element));
    ends.into_iter().find(is_end).unwrap_or_default()
}

/// Replaces the character references that occur in URLs.
fn unescape(value: &str) -> String {
    let mut text = value.to_owned();
    for (reference, letter) in
        [("&#38;", "&"), ("&#x26;", "&"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")]
    {
        text = text.replace(reference, letter);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links(html: &str) -> Vec<String> {
        let page = CanonicalUrl::parse("http://host/dir/page").unwrap();
        of(&page, html).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn links_of_the_same_origin_are_found_once() {
        let html = r#"<!doctype html><!-- <a href="/comment"> --><A HREF = 'a?b=1&amp;c=2#top'>x</A>
            <a class="x" href=/b>y</a><a href="/b"><img src="//host/c.png" alt="a > b"/><script src=d.js>
            document.write('<a href="/script">')</script><style>a:before{content:'<a href="/style">'}</style>
            <link rel=stylesheet href="e.css"><a href="https://other/f"><a href="mailto:a@host"><a name="href">
            <a href="page"><a data-href="/g"><a href="/h" href="/i"><p href="/j"><iframe src='../k'></iframe>"#;
        assert_eq!(
            links(html),
            [
                "http://host/b",
                "http://host/c.png",
                "http://host/dir/a?b=1&c=2",
                "http://host/dir/d.js",
                "http://host/dir/e.css",
                "http://host/h",
                "http://host/k",
            ]
        );
    }

    #[test]
    fn base_changes_what_links_are_relative_to() {
        assert_eq!(links("<base href='/other/'><a href=a>"), ["http://host/other/a"]);
        assert_eq!(links("<base href='http://other/'><a href=a><a href='http://host/b'>"), ["http://host/b"]);
    }

    #[test]
    fn damaged_pages_end_without_links() {
        for html in [
            "<",
            "<a",
            "<a href",
            "<a href=",
            "<a href='",
            "<a =",
            "<!--",
            "<script>",
            "</a href=/b>",
            "< a>",
            "<a/=/",
        ] {
            assert_eq!(links(html), [""; 0], "{html}");
        }
        assert_eq!(links("<a href='/é\u{0}"), [""; 0]);
    }
}
