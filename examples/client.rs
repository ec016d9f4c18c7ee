//! A client of a pool: fetches URLs and prints the outcome of each.
//!
//! ```sh
//! forwardcache serve &
//! cargo run --example client -- http://127.0.0.1:3000 https://example.com/ https://example.com/
//! ```

use forwardcache::{Client, Outcome};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let peer = arguments.next().ok_or("usage: client PEER URL...")?;
    let client = Client::builder().pool([peer]).build()?;
    for url in arguments {
        let response = client.get(&url)?;
        let outcome = Outcome::of(response.headers()).map_or("not from a peer", Outcome::name);
        let status = response.status();
        let length = response.into_body().into_bytes()?.len();
        println!("{url}: {status}, {length} bytes, {outcome}");
    }
    Ok(())
}
