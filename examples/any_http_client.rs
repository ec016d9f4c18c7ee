//! Any HTTP client through a pool, such as the blocking client of reqwest: this crate computes the owner and the
//! URL to request there, and the client sends an ordinary GET.
//!
//! ```sh
//! forwardcache serve &
//! cargo run --example any_http_client -- http://127.0.0.1:3000 https://example.com/
//! ```
//!
//! With reqwest, the last step of `main` is `reqwest::blocking::get(url)?`. If the pool has a token, add the header field
//! `Proxy-Authorization: Bearer <token>`.
//!
//! From a shell:
//!
//! ```sh
//! owner=$(forwardcache owner --peer http://127.0.0.1:3000 https://example.com/ | cut -f1)
//! curl -i --get --data-urlencode 'q=https://example.com/' "$owner/proxy"
//! ```
//!
//! All origins have the host of the peer for such a program, so the peer removes `Set-Cookie` and similar fields from its
//! responses. Prefer `Client` or `forwardcache::agent` where you can: they also move on when a peer fails.

use forwardcache::Client;
use forwardcache::origin::CanonicalUrl;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(peer), Some(url)) = (arguments.next(), arguments.next()) else {
        return Err("usage: any_http_client PEER URL".into());
    };
    let client = Client::builder().pool([peer]).build()?;
    let owner = client.owner(&url)?.ok_or("the pool is empty")?;
    let url = owner.request_url("/proxy", &CanonicalUrl::parse(&url)?);
    println!("GET {url}");

    // An agent of ureq as it comes. It stands for the client of your program.
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut response = agent.get(&url).call()?;
    let status = response.headers().get("cache-status").and_then(|value| value.to_str().ok());
    println!("{}: {}", response.status(), status.unwrap_or("no Cache-Status"));
    println!("{} bytes", response.body_mut().read_to_vec()?.len());
    Ok(())
}
