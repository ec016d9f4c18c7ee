//! A job that cron starts, with a cache in a directory: a run that finds a fresh response sends no request.
//!
//! ```sh
//! cargo run --features disk --example cron -- ~/.cache/feed-reader https://example.com/feed
//! ```
//!
//! The second run prints `from the store`. Runs that overlap can use the same directory. The directory holds at most
//! 1 GiB; `forwardcache store ls --store DIR` lists it.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [directory, url] = arguments.as_slice() else {
        return Err("usage: cron DIRECTORY URL".into());
    };
    // Warnings, such as one about a directory that cannot be used, go to the log of the program (the crate `log`).
    let agent = forwardcache::cached_agent(directory)?;
    let mut response = agent.get(url).call()?;
    let is_stored = response.headers().contains_key("x-from-cache");
    let content = response.body_mut().read_to_vec()?;
    println!("{} bytes, {}", content.len(), if is_stored { "from the store" } else { "from the origin" });
    // The end of `main` drops the agent, which writes what is not yet on the disk.
    Ok(())
}
