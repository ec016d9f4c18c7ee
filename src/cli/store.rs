//! `forwardcache store`: lists, verifies, removes and exports what is kept in a directory.

use std::fmt::Write;
use std::fs::File;
use std::io;
use std::process::ExitCode;
use std::time::SystemTime;

use forwardcache::origin::CanonicalUrl;
use forwardcache::store::{DiskEntry, DiskStore, StoreError};
use forwardcache::{Error, Purge};
use http::header::{CONTENT_RANGE, VARY};
use serde_json::json;

use super::arguments::{Store, StoreAction};
use super::failure::{Failure, print};
use super::local;
use super::manifest::Line;

pub(crate) fn run(arguments: &Store) -> Result<ExitCode, Failure> {
    // Parse URLs first, so that an invalid one fails before the store is opened.
    let removed = match &arguments.action {
        StoreAction::Rm { prefix, all, urls } => purges(prefix.as_deref(), *all, urls)?,
        _ => Vec::new(),
    };
    let (directory, disk) = local::existing(
        arguments.directory.as_deref(),
        match &arguments.action {
            StoreAction::Rm { .. } => |directory| DiskStore::open(directory),
            // A damaged entry is removed if the directory is writable.
            StoreAction::Verify => |directory| {
                DiskStore::open(directory)
                    .or_else(|error| DiskStore::open_read_only(directory).map_err(|_| error))
            },
            _ => local::open_for_reading,
        },
    )?;
    match &arguments.action {
        StoreAction::Ls { json, prefix } => list(&disk, *json, prefix.as_deref().unwrap_or_default()),
        StoreAction::Stat { json } => stat(&disk, &directory.display().to_string(), *json),
        StoreAction::Verify => verify(&disk),
        StoreAction::Rm { .. } => {
            for purge in &removed {
                print(format_args!("{}\n", disk.purge(purge).map_err(failed)?))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        StoreAction::Export { output, digest, url } => {
            let url = CanonicalUrl::parse(url).map_err(Error::from)?;
            let entry = select(&disk, url.as_str(), digest.as_deref())?;
            if let Some(part) = entry.headers().get(CONTENT_RANGE).filter(|_| entry.is_part()) {
                let part = String::from_utf8_lossy(part.as_bytes());
                return Err(Failure::failed(format_args!("only {part} of the body are stored: {url}")));
            }
            if !disk.verify(&entry).map_err(failed)? {
                return Err(Failure::failed(format_args!("the stored body is damaged: {url}")));
            }
            match output {
                Some(path) => {
                    let create =
                        |error| Failure::io(format_args!("cannot create {}", path.display()), &error);
                    write(&entry, File::create(path).map_err(create)?)
                }
                None => write(&entry, io::stdout().lock()),
            }
        }
        StoreAction::Manifest => {
            let mut lines = Vec::new();
            for entry in disk.entries() {
                let entry = entry.map_err(failed)?;
                if let Some(digest) = entry.digest().filter(|_| !entry.is_part()) {
                    lines.push(Line { url: entry.url().to_owned(), status: entry.status().as_u16(), digest });
                }
            }
            lines.sort_unstable();
            lines.dedup();
            print(lines.iter().map(|line| format!("{line}\n")).collect::<String>())?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "the argument of `map_err`")]
fn failed(error: StoreError) -> Failure {
    Failure::failed(format_args!("{error:#}"))
}

fn purges(prefix: Option<&str>, all: bool, urls: &[String]) -> Result<Vec<Purge>, Error> {
    match prefix {
        Some(prefix) => Ok(vec![Purge::prefix(prefix)?]),
        None if all => Ok(vec![Purge::all()]),
        None => urls.iter().map(|url| Purge::url(url)).collect(),
    }
}

fn list(disk: &DiskStore, is_json: bool, prefix: &str) -> Result<ExitCode, Failure> {
    let now = SystemTime::now();
    // Rows take less memory than entries.
    let mut rows = Vec::new();
    for entry in disk.entries() {
        let entry = entry.map_err(failed)?;
        if entry.url().starts_with(prefix) {
            rows.push((entry.url().to_owned(), row(&entry, is_json, now)));
        }
    }
    rows.sort_unstable();
    print(rows.into_iter().map(|(_, row)| row).collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

/// Returns the line of a response.
fn row(entry: &DiskEntry, is_json: bool, now: SystemTime) -> String {
    let validity = entry.response().validity();
    let (status, size, url) = (entry.status().as_u16(), entry.body_length(), entry.url());
    let age = validity.age(now).as_secs();
    let (left, over) = (validity.remaining(now).as_secs(), validity.staleness(now).as_secs());
    if !is_json {
        let freshness = match (validity.no_cache, validity.is_fresh(now)) {
            (true, _) => "no-cache".to_owned(),
            (false, true) => format!("fresh {left}"),
            (false, false) => format!("stale {over}"),
        };
        return format!("{status}\t{size}\t{age}\t{freshness}\t{url}\n");
    }
    let vary = entry.headers().get(VARY).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let line = json!({
        "url": url,
        "status": status,
        "size": size,
        "age": age,
        "fresh": validity.is_fresh(now) && !validity.no_cache,
        "ttl": i64::try_from(left).unwrap_or(i64::MAX) - i64::try_from(over).unwrap_or(i64::MAX),
        "sha256": entry.digest(),
        "vary": vary,
        "private": entry.is_partitioned(),
    });
    format!("{line}\n")
}

fn stat(disk: &DiskStore, directory: &str, is_json: bool) -> Result<ExitCode, Failure> {
    let (now, usage) = (SystemTime::now(), disk.usage());
    let (mut responses, mut fresh, mut bodies) = (0_u64, 0_u64, 0_u64);
    for entry in disk.entries() {
        let entry = entry.map_err(failed)?;
        let validity = entry.response().validity();
        responses += 1;
        fresh += u64::from(validity.is_fresh(now) && !validity.no_cache);
        bodies += entry.body_length();
    }
    let rows = json!({
        "directory": directory,
        "responses": responses,
        "fresh": fresh,
        "body_bytes": bodies,
        "disk_bytes": usage.bytes,
        "capacity_bytes": usage.capacity,
    });
    if is_json {
        print(format_args!("{rows}\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let text = format!(
        "directory\t{directory}\nresponses\t{responses}\nfresh\t{fresh}\nbody bytes\t{bodies}\n\
         disk bytes\t{}\ncapacity bytes\t{}\n",
        usage.bytes, usage.capacity
    );
    print(text)?;
    Ok(ExitCode::SUCCESS)
}

fn verify(disk: &DiskStore) -> Result<ExitCode, Failure> {
    let mut responses = 0_u64;
    for entry in disk.entries() {
        let entry = entry.map_err(failed)?;
        responses += 1;
        if !disk.verify(&entry).map_err(failed)? {
            print(format_args!("damaged\t{}\n", entry.url()))?;
        }
    }
    // This includes rows of the index that cannot be read, whose URLs are unknown.
    let damaged = disk.damaged();
    print(format_args!("responses {responses} damaged {damaged}\n"))?;
    Ok(if damaged == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns the response of a URL whose digest begins with these digits.
fn select(disk: &DiskStore, url: &str, digest: Option<&str>) -> Result<DiskEntry, Failure> {
    let digest = digest.unwrap_or_default().to_ascii_lowercase();
    let mut entries = disk.entries_of(url).map_err(failed)?;
    entries.retain(|entry| entry.digest().unwrap_or_default().starts_with(&digest));
    match (entries.pop(), entries.len()) {
        (Some(entry), 0) => Ok(entry),
        (None, _) => Err(Failure::failed(format_args!("no such response is stored: {url}"))),
        (Some(last), _) => {
            let mut text = format!("the store has several responses: specify one with --digest: {url}:");
            for entry in entries.iter().chain([&last]) {
                let _ = write!(text, " {}", entry.digest().unwrap_or_default());
            }
            Err(Failure::Usage(text))
        }
    }
}

fn write(entry: &DiskEntry, mut output: impl io::Write) -> Result<ExitCode, Failure> {
    let copied = io::copy(&mut entry.body(), &mut output).and_then(|_| output.flush());
    copied.map_err(|error| Failure::io("cannot write the body", &error))?;
    Ok(ExitCode::SUCCESS)
}
