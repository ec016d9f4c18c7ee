//! The list of `store manifest` and `get --frozen`: URL, status and SHA-256 of responses, one on each line.

use std::fs;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use forwardcache::{Body, Error, ErrorKind, RoundTrip};
use http::{Request, Response};
use ring::digest::{Context, SHA256};

use super::failure::Failure;

/// The largest body that is held in memory until its digest is known, in bytes. A larger one is in a temporary file.
const IN_MEMORY: usize = 8 << 20;

/// A response in the list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    pub(super) url: String,
    pub(super) status: u16,
    /// SHA-256 in hexadecimal digits.
    pub(super) digest: String,
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (url, status, digest) = (words.next()?, words.next()?, words.next()?);
        let digest = digest.strip_prefix("sha256:")?.to_ascii_lowercase();
        let is_digest = digest.len() == 64 && digest.bytes().all(|digit| digit.is_ascii_hexdigit());
        let is_valid = is_digest && words.next().is_none();
        is_valid.then_some(Self { url: url.to_owned(), status: status.parse().ok()?, digest })
    }
}

impl std::fmt::Display for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\t{}\tsha256:{}", self.url, self.status, self.digest)
    }
}

/// Returns bytes in hexadecimal digits.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns only responses that are in a list. A body is handed out after its digest was compared.
pub(super) struct Frozen<R> {
    inner: R,
    lines: Vec<Line>,
    file: String,
}

impl<R: RoundTrip> Frozen<R> {
    /// Reads the list.
    pub(super) fn read(file: &Path, inner: R) -> Result<Self, Failure> {
        let text = fs::read_to_string(file)
            .map_err(|error| Failure::io(format_args!("cannot read --frozen {}", file.display()), &error))?;
        let lines = text.lines().enumerate().filter(|(_, line)| !is_comment(line));
        let parse = |(number, line): (usize, &str)| {
            Line::parse(line).ok_or_else(|| {
                let (file, number) = (file.display(), number + 1);
                let text = "not 'URL STATUS sha256:DIGEST', as 'forwardcache store manifest' prints it";
                Failure::Usage(format!("--frozen {file}, line {number}: {text}"))
            })
        };
        let lines = lines.map(parse).collect::<Result<_, _>>()?;
        Ok(Self { inner, lines, file: file.display().to_string() })
    }
}

fn is_comment(line: &str) -> bool {
    line.trim().is_empty() || line.starts_with('#')
}

impl<R: RoundTrip> RoundTrip for Frozen<R> {
    fn round_trip(&self, request: Request<Body>) -> Result<Response<Body>, Error> {
        let url = request.uri().to_string();
        let failed = |text: String| Error::new(ErrorKind::DigestMismatch, text).with_url(&url);
        let expected: Vec<&Line> = self.lines.iter().filter(|line| line.url == url).collect();
        if expected.is_empty() {
            return Err(failed(format!("the URL is not in {}", self.file)));
        }
        let (head, mut body) = self.inner.round_trip(request)?.into_parts();
        let mut spool = tempfile::spooled_tempfile(IN_MEMORY);
        let (mut digest, mut length, mut buffer) = (Context::new(&SHA256), 0, vec![0; 64 << 10]);
        loop {
            let count = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            digest.update(&buffer[..count]);
            length += count as u64;
            spool.write_all(&buffer[..count])?;
        }
        let found = Line {
            url: url.clone(),
            status: head.status.as_u16(),
            digest: hexadecimal(digest.finish().as_ref()),
        };
        if !expected.contains(&&found) {
            let short = |line: &Line| format!("{} sha256:{}", line.status, line.digest);
            let listed: Vec<_> = expected.into_iter().map(short).collect();
            let (found, listed) = (short(&found), listed.join(" or "));
            return Err(failed(format!("the response is {found}, but {} lists {listed}", self.file)));
        }
        spool.rewind()?;
        Ok(Response::from_parts(head, Body::from_reader(spool, Some(length))))
    }
}

#[cfg(test)]
mod tests {
    use forwardcache::{ResponseExt, RoundTripFn};

    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn frozen(list: &str, body: &'static str) -> Result<String, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), list).unwrap();
        let inner = RoundTripFn(move |_: Request<Body>| Ok(Response::new(Body::from(body))));
        let frozen = Frozen::read(file.path(), inner).map_err(|failure| failure.to_string())?;
        let request = Request::get("http://host/a").body(Body::empty()).unwrap();
        let answer = frozen.round_trip(request).map_err(|error| error.to_string())?;
        answer.text().map_err(|error| error.to_string())
    }

    #[test]
    fn listed_response_passes_and_another_one_is_an_error_that_names_both_digests() {
        let list = format!("# comment\n\nhttp://host/a\t200\tsha256:{}\n", EMPTY.to_uppercase());
        assert_eq!(frozen(&list, ""), Ok(String::new()));
        let error = frozen(&list, "x").unwrap_err();
        let x = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881";
        assert!(error.contains(EMPTY) && error.contains(x), "{error}");
        let error = frozen(&list.replace("\t200\t", "\t404\t"), "").unwrap_err();
        assert!(error.contains("the response is 200 ") && error.contains("lists 404 "), "{error}");
    }

    #[test]
    fn unlisted_url_and_invalid_lines_are_errors() {
        assert!(frozen("", "").unwrap_err().contains("is not in"));
        for line in ["http://host/a 200", "http://host/a x sha256:00", "http://host/a 200 sha256:0g"] {
            let error = frozen(&format!("# comment\n{line}\n"), "").unwrap_err();
            assert!(error.contains("line 2: not 'URL STATUS"), "{error}");
        }
    }
}
