//! Where the body of each URL goes.

use std::path::{Component, Path, PathBuf};

use forwardcache::origin::CanonicalUrl;

use super::part::paths;

/// The longest name that file systems accept, less the end of the name of a partial download, in bytes.
const MAX_NAME: usize = 255 - ".part.meta".len();

/// Where a body goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Stdout,
    /// Nowhere: standard output is for metadata.
    Discard,
    File(PathBuf),
}

/// The flags that specify targets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// The values of `-o`.
    pub(super) files: &'a [PathBuf],
    /// `-O`
    pub(super) is_remote_name: bool,
    /// `--json`
    pub(super) is_json: bool,
}

/// Returns the target of each URL, in the same order.
///
/// # Errors
///
/// One line if the flags do not specify one target for each URL.
pub(super) fn targets(urls: &[CanonicalUrl], wanted: Wanted<'_>) -> Result<Vec<Target>, String> {
    let Wanted { files, is_remote_name, is_json } = wanted;
    if is_remote_name {
        let named = urls.iter().map(|url| {
            file_name(url)
                .map(|name| Target::File(name.into()))
                .map_err(|why| format!("-O: {}: {why}: use -o FILE", without_query(url)))
        });
        return named.collect::<Result<_, _>>().and_then(distinct);
    }
    let targets: Vec<_> = files.iter().map(|path| target(path)).collect::<Result<_, _>>()?;
    if is_json && targets.contains(&Target::Stdout) {
        return Err("--json prints to standard output: -o cannot be - too".to_owned());
    }
    match (targets.len(), urls.len()) {
        (0, count) => Ok(vec![if is_json { Target::Discard } else { Target::Stdout }; count]),
        (1, count) if targets[0] == Target::Stdout => Ok(vec![Target::Stdout; count]),
        (given, count) if given != count => {
            let s = |count| if count == 1 { "" } else { "s" };
            let (files, urls) = (s(given), s(count));
            Err(format!(
                "-o names {given} file{files} for {count} URL{urls}: give it once for each, or use -O"
            ))
        }
        _ => distinct(targets),
    }
}

fn target(path: &Path) -> Result<Target, String> {
    match path.to_str() {
        Some("") => Err("-o requires the name of a file".to_owned()),
        Some("-" | "/dev/stdout") => Ok(Target::Stdout),
        _ if path.file_name().is_none() => Err(format!("-o {}: not the name of a file", path.display())),
        _ => Ok(Target::File(path.components().filter(|part| *part != Component::CurDir).collect())),
    }
}

/// Returns the targets if no file occurs twice.
fn distinct(targets: Vec<Target>) -> Result<Vec<Target>, String> {
    for (at, target) in targets.iter().enumerate() {
        if let Target::File(path) = target
            && targets[..at].contains(target)
        {
            return Err(format!("two URLs have the same file {}: give each its own with -o", path.display()));
        }
        if let Target::File(path) = target
            && let Some(part) =
                paths(path).into_iter().find(|part| targets.contains(&Target::File(part.clone())))
        {
            let (part, path) = (part.display(), path.display());
            return Err(format!("{part} is the partial file of {path}: give it another name with -o"));
        }
    }
    Ok(targets)
}

/// Returns the last part of the URL's path, decoded, as the name of a file.
///
/// # Errors
///
/// The reason why it is not one. A name never leads to another folder.
pub(super) fn file_name(url: &CanonicalUrl) -> Result<String, &'static str> {
    let escaped = url.path().rsplit('/').next().unwrap_or_default();
    let name = decoded(escaped).unwrap_or_else(|| escaped.to_owned());
    if name.is_empty() {
        return Err("the path ends without a file name");
    }
    let is_one_part = Path::new(&name).components().eq([Component::Normal(name.as_ref())]);
    if !is_one_part || name.contains(['/', '\\']) || name.contains(char::is_control) {
        return Err("the last part of the path is not a valid file name");
    }
    if name.len() > MAX_NAME {
        return Err("the last part of the path is too long for a file name");
    }
    Ok(name)
}

/// Decodes percent-escapes. `None` if the result is not UTF-8.
fn decoded(escaped: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.get(..2).filter(|_| *first == b'%').and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

fn without_query(url: &CanonicalUrl) -> &str {
    url.as_str().split('?').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> CanonicalUrl {
        CanonicalUrl::parse(text).unwrap()
    }

    fn all(
        urls: &[&str],
        files: &[&str],
        is_remote_name: bool,
        is_json: bool,
    ) -> Result<Vec<Target>, String> {
        let urls: Vec<_> = urls.iter().map(|text| url(text)).collect();
        let files: Vec<_> = files.iter().map(PathBuf::from).collect();
        targets(&urls, Wanted { files: &files, is_remote_name, is_json })
    }

    #[test]
    fn name_is_the_decoded_last_part_of_the_path() {
        let long = format!("http://h/{}", "a".repeat(246));
        for (text, expected) in [
            ("http://h/a/b.tar.gz?version=1", Ok("b.tar.gz")),
            ("http://h/a%20b", Ok("a b")),
            ("http://h/%C3%A9", Ok("é")),
            ("http://h/%FF", Ok("%FF")),
            ("http://h/100%25", Ok("100%")),
            ("http://h/.profile", Ok(".profile")),
            ("http://h", Err("without")),
            ("http://h/a/", Err("without")),
            ("http://h/a/..", Err("without")),
            ("http://h/a/%2e%2e", Err("without")),
            ("http://h/..%2Fetc%2Fpasswd", Err("not a valid")),
            ("http://h/%2Fetc%2Fpasswd", Err("not a valid")),
            ("http://h/..%5Cx", Err("not a valid")),
            ("http://h/a%00b", Err("not a valid")),
            ("http://h/a%0Ab", Err("not a valid")),
            (&long, Err("too long")),
        ] {
            match (file_name(&url(text)), expected) {
                (Ok(name), Ok(expected)) => assert_eq!(name, expected, "{text}"),
                (Err(why), Err(words)) => assert!(why.contains(words), "{text}: {why}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }

    #[test]
    fn each_url_has_one_target() {
        let file = |name: &str| Target::File(name.into());
        let (a, b) = ("http://h/a", "http://h/b");
        assert_eq!(all(&[a, b], &[], false, false), Ok(vec![Target::Stdout; 2]));
        assert_eq!(all(&[a, b], &["-"], false, false), Ok(vec![Target::Stdout; 2]));
        assert_eq!(all(&[a, b], &[], false, true), Ok(vec![Target::Discard; 2]));
        assert_eq!(all(&[a, b], &["x", "-"], false, false), Ok(vec![file("x"), Target::Stdout]));
        assert_eq!(all(&[a, b], &[], true, true), Ok(vec![file("a"), file("b")]));
        for (urls, files, is_remote_name, is_json, words) in [
            (&[a, b][..], &["x"][..], false, false, "-o names 1 file for 2 URLs"),
            (&[a], &["x", "y"], false, false, "-o names 2 files for 1 URL"),
            (&[a, b], &["x", "./x"], false, false, "same file x"),
            (&[a, b], &["x.part", "x"], false, false, "x.part is the partial file of x"),
            (&[a], &[""], false, false, "requires the name"),
            (&[a], &["x/.."], false, false, "not the name of a file"),
            (&[a], &["-"], false, true, "--json"),
            (&[a, "http://h/c/a"], &[], true, false, "same file a"),
            (&[a, "http://h/?secret"], &[], true, false, "-O: http://h/: the path ends without"),
        ] {
            let error = all(urls, files, is_remote_name, is_json).unwrap_err();
            assert!(error.contains(words) && !error.contains("secret"), "{error}");
        }
    }
}
