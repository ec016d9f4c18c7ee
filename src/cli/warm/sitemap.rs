//! Sitemaps and indexes of sitemaps (sitemaps.org).
//!
//! Entities that a document defines are not expanded.

use std::io::BufRead;
use std::ops::ControlFlow;

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};

/// The maximum length of a URL in a sitemap, in bytes.
const MAX_LOCATION: usize = 16 << 10;

/// The type of the entries of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// URLs to request.
    Pages,
    /// URLs of further sitemaps.
    Sitemaps,
}

impl Kind {
    fn of(root: &BytesStart<'_>) -> Result<Self, String> {
        match root.local_name().into_inner() {
            "urlset" => Ok(Self::Pages),
            "sitemapindex" => Ok(Self::Sitemaps),
            other => Err(format!("the root element is <{other:.40}>, not <urlset> or <sitemapindex>")),
        }
    }

    /// Returns the name of the elements that contain a `loc`.
    fn entry(self) -> &'static str {
        match self {
            Self::Pages => "url",
            Self::Sitemaps => "sitemap",
        }
    }
}

/// Calls `found` with the text of each `loc`, or with the reason why it has none. Stops if `found` breaks.
pub(super) fn read(
    input: impl BufRead,
    mut found: impl FnMut(Kind, Result<&str, &'static str>) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, String> {
    let mut reader = Reader::from_reader(input);
    let (mut buffer, mut depth, mut is_entry) = (Vec::new(), 0_usize, false);
    let (mut root, mut root_prefix) = (None, None);
    let mut location: Option<Result<String, &'static str>> = None;
    loop {
        buffer.clear();
        let event = reader.read_event_into(&mut buffer).map_err(|error| error.to_string())?;
        match &event {
            Event::Start(element) => {
                depth += 1;
                match (depth, root) {
                    (1, _) => (root, root_prefix) = (Some(Kind::of(element)?), prefix(element)),
                    (2, Some(kind)) => is_entry = element.local_name().into_inner() == kind.entry(),
                    // Elements of extensions have other prefixes.
                    (3, _)
                        if is_entry
                            && prefix(element) == root_prefix
                            && element.local_name().into_inner() == "loc" =>
                    {
                        location = Some(Ok(String::new()));
                    }
                    _ => {}
                }
            }
            Event::End(_) => {
                if depth == 3
                    && let (Some(location), Some(kind)) = (location.take(), root)
                    && found(kind, location.as_deref().map(str::trim).map_err(|reason| *reason)).is_break()
                {
                    return Ok(ControlFlow::Break(()));
                }
                depth -= 1;
            }
            Event::Empty(element) if depth == 0 => root = Some(Kind::of(element)?),
            Event::Text(text) => push(&mut location, Ok(text)),
            Event::CData(text) => push(&mut location, Ok(text)),
            Event::GeneralRef(reference) => {
                push(&mut location, resolve(reference).as_deref().map_err(|reason| *reason));
            }
            Event::Eof if root.is_none() => return Err("the root element is missing".to_owned()),
            Event::Eof if depth > 0 => return Err("the document is incomplete".to_owned()),
            Event::Eof => return Ok(ControlFlow::Continue(())),
            _ => {}
        }
    }
}

fn prefix(element: &BytesStart<'_>) -> Option<String> {
    element.name().prefix().map(|prefix| prefix.into_inner().to_owned())
}

/// Appends text to a `loc` that is being read.
fn push(location: &mut Option<Result<String, &'static str>>, text: Result<&str, &'static str>) {
    let Some(location) = location else { return };
    match (&mut *location, text) {
        (Ok(known), Ok(text)) if known.len() + text.len() <= MAX_LOCATION => known.push_str(text),
        (Ok(_), Ok(_)) => *location = Err("the URL is too long"),
        (Ok(_), Err(reason)) => *location = Err(reason),
        (Err(_), _) => {}
    }
}

fn resolve(reference: &BytesRef<'_>) -> Result<String, &'static str> {
    if let Ok(Some(letter)) = reference.resolve_char_ref() {
        return Ok(letter.into());
    }
    resolve_xml_entity(reference)
        .map(str::to_owned)
        .ok_or("the URL contains an entity that XML does not predefine")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the URLs of a document, or for an invalid one its reason.
    fn locations(document: &str) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        let read = read(document.as_bytes(), |kind, location| {
            all.push(format!("{kind:?} {}", location.unwrap_or_else(|reason| reason)));
            ControlFlow::Continue(())
        });
        read.map(|_| all)
    }

    #[test]
    fn locations_of_pages_and_sitemaps_are_found() {
        let pages = "<?xml version='1.0' encoding='UTF-8'?>
            <urlset xmlns='http://www.sitemaps.org/schemas/sitemap/0.9' xmlns:image='http://i'>
            <!-- <url><loc>http://host/comment</loc></url> -->
            <url><loc> http://host/a?b=1&amp;c=&#x32; </loc><lastmod>2026-01-01</lastmod>
              <image:image><image:loc>http://host/image</image:loc></image:image></url>
            <url><loc><![CDATA[http://host/b&c]]></loc><image:loc>http://host/image</image:loc></url>
            <other><loc>http://host/other</loc></other><loc>http://host/outside</loc></urlset>";
        assert_eq!(locations(pages).unwrap(), ["Pages http://host/a?b=1&c=2", "Pages http://host/b&c"]);
        let index = "<s:sitemapindex xmlns:s='x'><s:sitemap><s:loc>http://host/1.xml</s:loc></s:sitemap></s:sitemapindex>";
        assert_eq!(locations(index).unwrap(), ["Sitemaps http://host/1.xml"]);
        assert_eq!(locations("<urlset/>").unwrap(), Vec::<String>::new());
        assert_eq!(locations("<urlset><url><loc></loc></url></urlset>").unwrap(), ["Pages "]);
    }

    #[test]
    fn defined_entities_are_not_expanded_and_damaged_documents_are_errors() {
        let entity = "<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b SYSTEM 'file:///etc/passwd'>]>
            <urlset><url><loc>http://host/&a;</loc></url><url><loc>http://host/&b;</loc></url><url><loc>http://host/c</loc></url></urlset>";
        let reason = "Pages the URL contains an entity that XML does not predefine";
        assert_eq!(locations(entity).unwrap(), [reason, reason, "Pages http://host/c"]);
        let long = format!("<urlset><url><loc>http://host/{}</loc></url></urlset>", "a".repeat(MAX_LOCATION));
        assert_eq!(locations(&long).unwrap(), ["Pages the URL is too long"]);
        for (document, reason) in [
            ("<html><body></body></html>", "the root element is <html>"),
            ("<urlset><url><loc>http://host/</loc>", "incomplete"),
            ("<urlset><url></urlset>", "url"),
            ("<?xml version='1.0'?>", "element is missing"),
        ] {
            let error = locations(document).unwrap_err();
            assert!(error.contains(reason), "{document}: {error}");
        }
    }

    #[test]
    fn reading_stops_when_asked_to() {
        let mut count = 0;
        let document = "<urlset><url><loc>a</loc></url><url><loc>b</loc></url>";
        let read = read(document.as_bytes(), |_, _| {
            count += 1;
            ControlFlow::Break(())
        });
        assert_eq!((read, count), (Ok(ControlFlow::Break(())), 1));
    }
}
