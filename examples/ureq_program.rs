//! An existing ureq program that uses a pool: it takes another agent, and nothing else changes.
//!
//! ```sh
//! forwardcache serve &
//! cargo run --example ureq_program -- http://127.0.0.1:3000 https://example.com/
//! ```

use forwardcache::Client;

/// The program, unchanged. It knows nothing of a cache.
fn title_of(agent: &ureq::Agent, url: &str) -> Result<String, ureq::Error> {
    let page = agent.get(url).header("accept", "text/html").call()?.body_mut().read_to_string()?;
    let title = page.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>"));
    Ok(title.map_or("(no title)", |(title, _)| title).trim().to_owned())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(peer), Some(url)) = (arguments.next(), arguments.next()) else {
        return Err("usage: ureq_program PEER URL".into());
    };
    // Before: let agent = ureq::Agent::new_with_defaults();
    let agent = forwardcache::agent(Client::builder().pool([peer]).build()?);
    println!("{}", title_of(&agent, &url)?);
    Ok(())
}
