//! URLs without their secrets, for logs and errors. Pure.

/// Returns the URL without userinfo, query and fragment, which may contain secrets. The text need not be a valid URL, and may be
/// a path that contains one.
pub(crate) fn redacted(url: &str) -> String {
    let shown = without_query(url);
    if !shown.contains('@') && !shown.contains("%40") {
        return shown.to_owned();
    }
    // The escape of `@` also ends userinfo.
    let after_userinfo = |segment: &str| {
        let plain = segment.rfind('@').map(|at| (at, at + 1));
        plain.max(segment.rfind("%40").map(|at| (at, at + 3)))
    };
    let mut redacted = String::with_capacity(shown.len());
    let (mut start, mut is_authority) = (0, false);
    for part in shown.split_inclusive(['/', '\\']) {
        let segment = part.trim_end_matches(['/', '\\']);
        let from = after_userinfo(segment).filter(|(at, _)| {
            let user = &segment[..*at];
            is_authority || user.contains(':') || user.contains("%3A") || user.contains("%3a")
        });
        redacted.push_str(&part[from.map_or(0, |(_, after)| after)..]);
        start += part.len();
        // An authority follows two slashes.
        is_authority = segment.is_empty() && start > 1;
    }
    redacted
}

/// Returns the URL without query and fragment. Also cuts at an escaped `?`: a program that escapes a whole URL makes its query a
/// part of the path.
fn without_query(url: &str) -> &str {
    let is_query = |&(at, byte): &(usize, u8)| match byte {
        b'?' | b'#' => true,
        b'%' => {
            // Each further escaping turns `%` into `%25`.
            let escaped = url[at + 1..].trim_start_matches("25");
            escaped.starts_with("3F") || escaped.starts_with("3f")
        }
        _ => false,
    };
    let end = url.bytes().enumerate().find(is_query);
    end.map_or(url, |(at, _)| &url[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn userinfo_is_redacted_wherever_a_program_writes_it() {
        for (url, expected) in [
            ("http://u:p@h/x?q#f", "http://h/x"),
            ("http://u:p@q@h:1/", "http://h:1/"),
            ("https://token@h", "https://h"),
            ("/fetch/https://u:p@h/a@b", "/fetch/https://h/a@b"),
            ("/fetch/https%3A//u%3Ap%40h/", "/fetch/https%3A//h/"),
            ("/fetch/https%3A%2F%2Fu:p@h/", "/fetch/h/"),
            ("/fetch/http:/u:p@h/", "/fetch/http:/h/"),
            ("http://peer/fetch/http://u:p@h/", "http://peer/fetch/http://h/"),
            ("//u:p@h/", "//h/"),
            ("u:p@h/", "h/"),
            ("http:\\\\u:p@h\\x", "http:\\\\h\\x"),
            ("/mirror/npm/@types/node", "/mirror/npm/@types/node"),
            ("/v2/image@sha256:ab", "/v2/image@sha256:ab"),
            ("", ""),
        ] {
            assert_eq!(redacted(url), expected, "{url}");
        }
    }

    #[test]
    fn query_is_cut_also_if_a_program_escaped_it() {
        for (url, expected) in [
            ("http://h/x?q", "http://h/x"),
            ("http://h/x%3Fq", "http://h/x"),
            ("http://h/x%3fq", "http://h/x"),
            ("http%3A%2F%2Fh%2Fx%3Fq", "http%3A%2F%2Fh%2Fx"),
            ("http://h/x%25253Fq", "http://h/x"),
            ("http://h/%25/%3", "http://h/%25/%3"),
            ("http://h/%", "http://h/%"),
            ("http://h/%253", "http://h/%253"),
            ("http://h/\u{e9}%\u{e9}", "http://h/\u{e9}%\u{e9}"),
        ] {
            assert_eq!(without_query(url), expected, "{url}");
        }
    }
}
