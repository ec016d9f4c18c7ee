//! The protocol of Redis (RESP2): writes commands, and reads responses within a limit of memory. Pure.

use std::io::{self, BufRead, BufWriter, Read, Write};
use std::sync::Arc;

use super::failure::Failure;
use crate::base::memory_limit::{Hold, Ledger, MemoryUse};

/// The longest line: a number, a state or an error.
const MAX_LINE: u64 = 4 << 10;

/// How many arrays may be in each other.
const MAX_DEPTH: usize = 3;

/// How many bytes of short words are written at a time.
const BUFFER: usize = 4 << 10;

/// How many bytes of a text are read at a time. Memory is counted as they arrive, whatever length was announced.
const STEP: usize = 64 << 10;

/// A response other than an error.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Integer(i64),
    /// A bulk string or a simple string.
    Text(Vec<u8>),
    Null,
    Array(Vec<Self>),
}

/// The memory that a response may take.
pub(super) struct Allowance {
    left: u64,
    hold: Option<Hold>,
}

impl Allowance {
    /// Allows this many bytes, without counting them in a ledger.
    pub(super) fn of(bytes: u64) -> Self {
        Self { left: bytes, hold: None }
    }

    /// Counts the bytes in a ledger while this value exists.
    pub(super) fn counted(mut self, ledger: Option<&Arc<Ledger>>) -> Self {
        self.hold = ledger.map(|ledger| ledger.hold(MemoryUse::Bodies, 0));
        self
    }

    /// Goes on counting this many bytes only, until the returned value is dropped.
    pub(super) fn keep(self, bytes: u64) -> Option<Hold> {
        self.hold.map(|mut hold| {
            hold.set(bytes);
            hold
        })
    }

    fn take(&mut self, bytes: u64) -> Result<(), Failure> {
        self.left = self.left.checked_sub(bytes).ok_or(Failure::Invalid("is too long"))?;
        let fits = self.hold.as_mut().is_none_or(|hold| hold.try_grow(bytes));
        if fits { Ok(()) } else { Err(Failure::NoMemory) }
    }
}

/// Writes a command. A long word is not copied.
pub(super) fn write(writer: &mut impl Write, words: &[&[u8]]) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(BUFFER, writer);
    write!(writer, "*{}\r\n", words.len())?;
    for word in words {
        write!(writer, "${}\r\n", word.len())?;
        writer.write_all(word)?;
        writer.write_all(b"\r\n")?;
    }
    writer.flush()
}

/// Reads a response.
pub(super) fn read(reader: &mut impl BufRead, allowance: &mut Allowance) -> Result<Reply, Failure> {
    read_at(reader, allowance, 0)
}

fn read_at(reader: &mut impl BufRead, allowance: &mut Allowance, depth: usize) -> Result<Reply, Failure> {
    allowance.take(size_of::<Reply>() as u64)?;
    let line = line(reader)?;
    let (kind, rest) = line.split_at_checked(1).ok_or(Failure::Invalid("is not RESP"))?;
    let number = || rest.parse::<i64>().map_err(|_| Failure::Invalid("has an invalid number"));
    match kind {
        "+" => Ok(Reply::Text(rest.into())),
        "-" if depth > 0 => Err(Failure::Invalid("has an error in an array")),
        "-" => Err(Failure::refused(rest)),
        ":" => Ok(Reply::Integer(number()?)),
        "$" | "*" if number()? == -1 => Ok(Reply::Null),
        "$" => text(reader, allowance, length(number()?)?),
        "*" if depth >= MAX_DEPTH => Err(Failure::Invalid("is nested too deeply")),
        "*" => {
            let mut replies = Vec::new();
            for _ in 0..length(number()?)? {
                replies.push(read_at(reader, allowance, depth + 1)?);
            }
            Ok(Reply::Array(replies))
        }
        _ => Err(Failure::Invalid("is not RESP")),
    }
}

fn length(number: i64) -> Result<usize, Failure> {
    usize::try_from(number).map_err(|_| Failure::Invalid("has a negative length"))
}

/// Reads a line without its end.
fn line(reader: &mut impl BufRead) -> Result<String, Failure> {
    let mut line = Vec::new();
    reader.take(MAX_LINE).read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\r\n") {
        return Err(if line.len() as u64 >= MAX_LINE || line.ends_with(b"\n") {
            Failure::Invalid("has an invalid line")
        } else {
            ended()
        });
    }
    line.truncate(line.len() - 2);
    String::from_utf8(line).map_err(|_| Failure::Invalid("has a line that is not UTF-8"))
}

fn text(reader: &mut impl BufRead, allowance: &mut Allowance, length: usize) -> Result<Reply, Failure> {
    if length as u64 > allowance.left {
        return Err(Failure::Invalid("is too long"));
    }
    let mut text = Vec::new();
    while text.len() < length {
        let step = STEP.min(length - text.len());
        allowance.take(step as u64)?;
        text.reserve(step);
        if reader.by_ref().take(step as u64).read_to_end(&mut text)? < step {
            return Err(ended());
        }
    }
    let mut end = [0; 2];
    reader.read_exact(&mut end)?;
    if end == *b"\r\n" { Ok(Reply::Text(text)) } else { Err(Failure::Invalid("has a text without an end")) }
}

fn ended() -> Failure {
    Failure::Transport(io::ErrorKind::UnexpectedEof.into())
}

impl Reply {
    /// Returns a number, also one that is written as a text.
    pub(super) fn into_number(self) -> Result<u64, Failure> {
        let number = match self {
            Self::Integer(number) => u64::try_from(number).ok(),
            Self::Text(text) => str::from_utf8(&text).ok().and_then(|text| text.parse().ok()),
            Self::Null | Self::Array(_) => None,
        };
        number.ok_or(Failure::Invalid("is not the number that was expected"))
    }

    pub(super) fn into_text(self) -> Result<Vec<u8>, Failure> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err(Failure::Invalid("is not the text that was expected")),
        }
    }

    pub(super) fn into_array(self) -> Result<Vec<Self>, Failure> {
        match self {
            Self::Array(replies) => Ok(replies),
            _ => Err(Failure::Invalid("is not the array that was expected")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: impl AsRef<[u8]>) -> Result<Reply, Failure> {
        read(&mut text.as_ref(), &mut Allowance::of(1000))
    }

    fn command(words: &[&[u8]]) -> Vec<u8> {
        let mut command = Vec::new();
        write(&mut command, words).unwrap();
        command
    }

    fn reply(text: &str) -> Reply {
        Reply::Text(text.into())
    }

    #[test]
    fn responses_of_all_types_are_read() {
        for (text, expected) in [
            ("+OK\r\n", reply("OK")),
            ("+\r\n", reply("")),
            (":-12\r\n", Reply::Integer(-12)),
            ("$5\r\na\r\nbc\r\n", reply("a\r\nbc")),
            ("$0\r\n\r\n", reply("")),
            ("$-1\r\n", Reply::Null),
            ("*-1\r\n", Reply::Null),
            ("*0\r\n", Reply::Array(vec![])),
            (
                "*2\r\n:1\r\n*1\r\n$1\r\na\r\n",
                Reply::Array(vec![Reply::Integer(1), Reply::Array(vec![reply("a")])]),
            ),
        ] {
            assert_eq!(parsed(text).unwrap(), expected, "{text}");
        }
        assert_eq!(parsed("-NOSCRIPT none\r\n").unwrap_err().code(), Some("NOSCRIPT"));
    }

    #[test]
    fn what_is_not_a_response_is_an_error() {
        for text in [
            "\r\n",
            "x\r\n",
            "%1\r\n",
            ":\r\n",
            ":x\r\n",
            "$-2\r\n",
            "*-2\r\n",
            "$1\r\nabc",
            "$x\r\n",
            "+a\nb\r\n",
            "*1\r\n-ERR\r\n",
        ] {
            assert!(matches!(parsed(text), Err(Failure::Invalid(_))), "{text}");
        }
        for text in ["", "+", "+OK\r", "$2\r\na", "$1\r\na", "*1\r\n"] {
            assert!(parsed(text).unwrap_err().is_closed_connection(), "{text}");
        }
        assert!(matches!(parsed(b"+\xff\r\n"), Err(Failure::Invalid(_))));
    }

    #[test]
    fn a_response_takes_no_more_memory_than_allowed() {
        let long = |length: usize| format!("${length}\r\n{}\r\n", "x".repeat(length));
        assert!(parsed(long(900)).is_ok());
        for text in [
            long(1001),
            "$9223372036854775807\r\n".to_owned(),
            format!("*1000\r\n{}", ":1\r\n".repeat(1000)),
            format!("*2\r\n{}{}", long(500), long(500)),
            format!("+{}\r\n", "x".repeat(5000)),
            "*1\r\n".repeat(10),
        ] {
            assert!(matches!(parsed(&text), Err(Failure::Invalid(_))), "{text}");
        }
    }

    #[test]
    fn memory_is_counted_as_it_arrives() {
        let ledger = Ledger::new(100 << 10);
        let mut allowance = Allowance::of(1 << 20).counted(Some(&ledger));
        // Announced, and not sent.
        assert!(read(&mut &b"$90000\r\nabc"[..], &mut allowance).unwrap_err().is_closed_connection());
        assert!(ledger.total() <= (STEP + 100) as u64);
        let kept = allowance.keep(100);
        assert_eq!(ledger.total(), 100);
        drop(kept);
        assert_eq!(ledger.total(), 0);
        let long = format!("$200000\r\n{}\r\n", "x".repeat(200_000));
        let mut allowance = Allowance::of(1 << 20).counted(Some(&ledger));
        assert!(matches!(read(&mut long.as_bytes(), &mut allowance), Err(Failure::NoMemory)));
    }

    #[test]
    fn commands_are_arrays_of_texts() {
        assert_eq!(command(&[b"GET", b"a\r\n", b""]), b"*3\r\n$3\r\nGET\r\n$3\r\na\r\n\r\n$0\r\n\r\n");
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_response_or_an_error(text in "[-+:$*0-9\r\nx]{0,60}") {
            let _ = parsed(text);
        }

        #[test]
        fn a_command_is_read_as_an_array(words in proptest::collection::vec(".{0,20}", 0..9)) {
            let bytes: Vec<&[u8]> = words.iter().map(String::as_bytes).collect();
            let expected = Reply::Array(words.iter().map(|word| reply(word)).collect());
            assert_eq!(read(&mut &*command(&bytes), &mut Allowance::of(10_000)).unwrap(), expected);
        }
    }
}
