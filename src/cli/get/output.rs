//! Writes a body to its target.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use forwardcache::client::BodyIdentity;

use super::super::failure::Failure;
use super::part::{Part, cannot_write};
use super::target::Target;

/// The target of a response, while it is written.
pub(super) struct Output {
    sink: Sink,
    /// The identity of the body that is written, if its rest can be requested.
    identity: Option<BodyIdentity>,
    /// How many bytes of the body are written, including those of an earlier run.
    received: u64,
    /// Whether something was written that cannot be taken back.
    is_final: bool,
}

/// How files are opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Files {
    /// `-C -`: the bytes of an earlier run stay.
    pub(super) continues: bool,
    /// Whether the file that a symbolic link leads to is replaced, and not the link.
    pub(super) follows_links: bool,
}

enum Sink {
    Discard,
    Stdout,
    /// A file that is not regular, such as `/dev/null`, and is not replaced.
    Device(File, PathBuf),
    Part(Part),
}

impl Output {
    /// Opens the target of a URL.
    pub(super) fn open(target: &Target, url: &str, files: Files) -> Result<Self, Failure> {
        let sink = sink(target, url, files)?;
        let mut output = Self { sink, identity: None, received: 0, is_final: false };
        if let (Sink::Part(part), true) = (&mut output.sink, files.continues)
            && let Some((received, identity)) = part.earlier()
        {
            (output.received, output.identity) = (received, Some(identity));
        }
        Ok(output)
    }

    /// Returns the number of bytes and their identity, if the rest of the body can be requested.
    pub(super) fn rest(&self) -> Option<(u64, &BodyIdentity)> {
        let identity = self.identity.as_ref().filter(|_| self.received > 0)?;
        let is_part = identity.length().is_none_or(|length| self.received < length);
        is_part.then_some((self.received, identity))
    }

    /// Returns whether another attempt can lead to a complete body.
    pub(super) fn may_be_repeated(&self) -> bool {
        !self.is_final || self.rest().is_some()
    }

    /// Makes the next attempt request the complete body.
    pub(super) fn forget(&mut self) {
        self.identity = None;
    }

    /// Restarts the target for a body of this identity.
    pub(super) fn begin(&mut self, identity: Option<BodyIdentity>) -> Result<(), Failure> {
        if self.is_final {
            let text = "the response has changed after a part of it was written, so the rest cannot follow";
            return Err(Failure::failed(text));
        }
        if let Sink::Part(part) = &mut self.sink {
            part.begin(identity.as_ref())?;
        }
        (self.identity, self.received) = (identity, 0);
        Ok(())
    }

    /// Writes bytes that precede the body.
    pub(super) fn write_head(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match &mut self.sink {
            Sink::Discard => return Ok(()),
            Sink::Part(part) => return part.write(bytes),
            // Each piece is flushed, so that a slow response appears as it arrives.
            Sink::Stdout => {
                let mut out = io::stdout().lock();
                let written = out.write_all(bytes).and_then(|()| out.flush());
                written.map_err(|error| Failure::io("cannot write to standard output", &error))?;
            }
            Sink::Device(file, path) => file.write_all(bytes).map_err(|error| cannot_write(path, &error))?,
        }
        self.is_final = true;
        Ok(())
    }

    /// Writes the next bytes of the body.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.write_head(bytes)?;
        self.received += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Makes a complete body visible at its target.
    pub(super) fn finish(self) -> Result<(), Failure> {
        match self.sink {
            Sink::Part(part) => part.finish(),
            _ => Ok(()),
        }
    }

    /// Removes bytes that are known to be wrong.
    pub(super) fn spoil(&mut self) {
        self.identity = None;
        if let Sink::Part(part) = &mut self.sink {
            let _ = part.begin(None);
        }
    }

    /// Returns the partial file that a later run can continue.
    pub(super) fn kept(&self) -> Option<&Path> {
        match &self.sink {
            Sink::Part(part) if self.rest().is_some() => Some(part.path()),
            _ => None,
        }
    }
}

fn sink(target: &Target, url: &str, files: Files) -> Result<Sink, Failure> {
    let path = match target {
        Target::Stdout => return Ok(Sink::Stdout),
        Target::Discard => return Ok(Sink::Discard),
        Target::File(path) => path,
    };
    if !files.follows_links && path.is_symlink() {
        return Part::open(path.clone(), url).map(Sink::Part);
    }
    match fs::metadata(path) {
        Ok(existing) if existing.is_dir() => {
            Err(Failure::failed(format_args!("cannot write {}: it is a directory", path.display())))
        }
        Ok(existing) if !existing.is_file() => {
            let opened = File::options().write(true).open(path);
            let file = opened.map_err(|error| cannot_write(path, &error))?;
            Ok(Sink::Device(file, path.clone()))
        }
        _ => {
            let target = if path.is_symlink() { fs::canonicalize(path).ok() } else { None };
            Part::open(target.unwrap_or_else(|| path.clone()), url).map(Sink::Part)
        }
    }
}
