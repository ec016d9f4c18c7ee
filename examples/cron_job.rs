//! A job that cron starts: it fetches a URL through a pool within a time limit, accepts a stale response if the
//! origin is slow, and replaces its output file only when the new content is complete.
//!
//! ```sh
//! forwardcache serve &
//! cargo run --example cron_job -- http://127.0.0.1:3000 https://example.com/ page.html
//! ```
//!
//! As a line of a crontab: `*/5 * * * * cron_job http://10.0.0.1:3000 https://example.com/feed feed.xml`. It ends with
//! 0 after a success, and with 1 and a message otherwise, which cron sends by mail. The time of the clock and the
//! number of machines do not matter: the pool fetches the URL once for all jobs that start at the same minute.

use std::fs;
use std::time::Duration;

use forwardcache::{Client, Outcome, ResponseExt};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [peer, url, file] = arguments.as_slice() else {
        return Err("usage: cron_job PEER URL FILE".into());
    };
    let client = Client::builder()
        .pool([peer.as_str()])
        // For the whole request, including its body.
        .deadline(Duration::from_secs(60))
        // After 10 s a stale response is good enough, where HTTP allows it.
        .soft_deadline(Duration::from_secs(10))
        .build()?;
    let response = client.get(url).send()?.error_for_status()?;
    let outcome = response.info().outcome().map_or("fetched directly", Outcome::name);
    // A body that is cut short is an error, so an incomplete file never replaces a complete one.
    let content = response.bytes_limited(100 << 20)?;
    let temporary = format!("{file}.new");
    fs::write(&temporary, &content)?;
    fs::rename(&temporary, file)?;
    println!("{file}: {} bytes, {outcome}", content.len());
    Ok(())
}
