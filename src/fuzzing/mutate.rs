//! Mutates heads, and parses them leniently.

use http::{HeaderMap, HeaderName, HeaderValue};

/// A random number generator whose numbers depend only on the seed (splitmix64).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `end`, which must not be zero.
    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    /// Returns two offsets in order, at most `length`.
    fn span(&mut self, length: usize) -> (usize, usize) {
        let start = self.below(length + 1);
        (start, start + self.below((length - start).min(40) + 1))
    }
}

/// Words that parsers look for, and separators that may confuse them.
const WORDS: &[&str] = &[
    "no-store",
    "no-cache",
    "private",
    "public",
    "max-age=",
    "s-maxage=",
    "must-revalidate",
    "proxy-revalidate",
    "must-understand",
    "immutable",
    "stale-while-revalidate=",
    "stale-if-error=",
    "min-fresh=",
    "max-stale",
    "only-if-cached",
    "*",
    "\"",
    "\\",
    ",",
    ", ",
    ";",
    "=",
    "\t",
    "\r\n ",
    "\n",
    "\0",
    "%",
    "%00",
    "%2e%2e",
    "/../",
    "#",
    "?",
    "&",
    "q=",
    "@",
    ":",
    "[",
    "]",
    "W/",
    "bytes=",
    "bytes ",
    "0-",
    "-1",
    "\u{e9}",
    "\ncache-control: ",
    "\nage: ",
    "\nexpires: ",
    "\ndate: ",
    "\nvary: ",
    "\nrange: ",
    "\ncontent-range: bytes ",
    "\nconnection: ",
    "\nlast-modified: ",
    "\netag: ",
    "\nif-range: ",
    "\nset-cookie: ",
    "\nauthorization: ",
    "\ntransfer-encoding: chunked",
    "\ncontent-length: ",
    "\nhost: a",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT",
    "http://",
    "https://",
    "xn--",
    "127.1",
    "::ffff:1.2.3.4",
];

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "00",
    "-1",
    "+1",
    "1.5",
    "2147483647",
    "2147483648",
    "2147483649",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551614",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999",
];

/// The heads from which mutations start.
pub(super) struct Corpus(Vec<Vec<u8>>);

impl Corpus {
    /// Reads heads that blank lines separate.
    pub(super) fn new(text: &str) -> Self {
        let heads: Vec<Vec<u8>> = text.split("\n\n").map(|head| head.trim().as_bytes().to_vec()).collect();
        assert!(heads.len() > 1, "the corpus must have several heads");
        Self(heads)
    }

    fn pick_head<'a>(&'a self, random: &mut Random) -> &'a [u8] {
        &self.0[random.below(self.0.len())]
    }

    /// Returns one of the heads with up to eight mutations.
    pub(super) fn mutated(&self, random: &mut Random) -> Vec<u8> {
        let mut head = self.pick_head(random).to_vec();
        for _ in 0..random.below(9) {
            let (start, end) = random.span(head.len());
            match random.below(8) {
                0 => drop(head.drain(start..end)),
                1 => {
                    let copied = head[start..end].to_vec();
                    let at = random.below(head.len() + 1);
                    head.splice(at..at, copied);
                }
                2 if start < head.len() => head[start] ^= 1 << random.below(8),
                3 => {
                    let other = self.pick_head(random);
                    let (from, to) = random.span(other.len());
                    head.splice(start..end, other[from..to].iter().copied());
                }
                4 | 5 => drop(head.splice(start..start, random.pick(WORDS).bytes())),
                _ => {
                    // Replace a number by another.
                    let Some(first) = head.iter().skip(start).position(u8::is_ascii_digit) else { continue };
                    let first = start + first;
                    let digits = head[first..].iter().take_while(|byte| byte.is_ascii_digit()).count();
                    head.splice(first..first + digits, random.pick(NUMBERS).bytes());
                }
            }
        }
        head
    }
}

/// Name and value of a field line.
type Line<'a> = (&'a [u8], &'a [u8]);

/// Splits a head into its first line and its field lines.
pub(super) fn lines(head: &[u8]) -> (&[u8], Vec<Line<'_>>) {
    let mut lines = head.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let first = lines.next().unwrap_or_default();
    let fields = lines.filter_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        Some((&line[..colon], line[colon + 1..].trim_ascii()))
    });
    (first, fields.collect())
}

/// Returns the syntactically valid fields.
pub(super) fn headers(head: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines(head).1 {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}
