//! A client of a pool: fetches URLs and prints the outcome of each.
//!
//! ```sh
//! forwardcache serve &
//! cargo run --example client -- http://127.0.0.1:3000 https://example.com/ https://example.com/
//! ```

use forwardcache::{Client, ResponseExt};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let peer = arguments.next().ok_or("usage: client PEER URL...")?;
    let client = Client::builder().pool([peer]).build()?;
    for url in arguments {
        let response = client.get(&url).send()?;
        let (status, info) = (response.status(), response.info());
        let length = response.bytes()?.len();
        println!("{url}: {status}, {length} bytes, from {:?}, {:?}", info.peer(), info.outcome());
    }
    Ok(())
}
