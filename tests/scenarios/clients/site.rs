//! An origin that serves files, all of them fresh for an hour.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use crate::support::origin::{Origin, Received, Reply};

/// The files of an origin, by path.
#[derive(Default)]
pub(super) struct Files(BTreeMap<String, (String, Vec<u8>)>);

/// This text in a file becomes the origin's URL with another host: indexes often name files of other hosts.
pub(super) const OTHER_HOST: &str = "@OTHER_HOST@";

impl Files {
    pub(super) fn add(mut self, path: &str, content_type: &str, content: impl Into<Vec<u8>>) -> Self {
        self.0.insert(path.to_owned(), (content_type.to_owned(), content.into()));
        self
    }

    /// Adds all files below a folder.
    pub(super) fn add_folder(mut self, path: &str, folder: &Path) -> io::Result<Self> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let below = format!("{path}/{}", entry.file_name().to_str().expect("the name is in UTF-8"));
            self = if entry.file_type()?.is_dir() {
                self.add_folder(&below, &entry.path())?
            } else {
                self.add(&below, "text/plain", fs::read(entry.path())?)
            };
        }
        Ok(self)
    }

    pub(super) fn serve(self) -> Origin {
        let files = Arc::new(self.0);
        Origin::start(move |received| reply(&files, received))
    }
}

fn reply(files: &BTreeMap<String, (String, Vec<u8>)>, received: &Received) -> Reply {
    let path = received.target.split('?').next().unwrap_or_default();
    let fresh = |reply: Reply| reply.field("Cache-Control", "max-age=3600");
    if let Some(name) = path.strip_prefix("/moved/") {
        return fresh(Reply::status(302).field("Location", format!("/{name}")));
    }
    let Some((content_type, content)) = files.get(path) else { return fresh(Reply::status(404)) };
    let host = received.field("host").expect("each request has a host");
    let port = host.rsplit(':').next().unwrap_or_default();
    let content = match std::str::from_utf8(content) {
        Ok(text) => text.replace(OTHER_HOST, &format!("http://localhost:{port}")).into_bytes(),
        Err(_) => content.clone(),
    };
    fresh(Reply::ok(content).field("Content-Type", content_type))
}
