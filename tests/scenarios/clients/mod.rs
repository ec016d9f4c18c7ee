//! Programs that do not know the pool use it: download tools, package managers, git.
//!
//! Each program runs five times, each time without anything of its former runs: first everything comes from the origin;
//! then nothing does; then a peer of the pool is killed; then again nothing comes from the origin; then the origin is off.
//!
//! | module | content |
//! |---|---|
//! | `site` | an origin that serves files |
//! | `program` | runs a program, and a pool of three behind a gateway |
//! | `downloads` | curl, wget, Python requests, Go's `net/http`, git, `get -L` |
//! | `browser` | Chromium |
//! | `packages` | pip, npm, cargo, apt |
//! | `mirrors` | mirrors with credentials, origins over TLS, a proxy on an address of its own |
//! | `refusals` | clients and requests that get nothing |

mod browser;
mod downloads;
mod mirrors;
mod packages;
mod program;
mod refusals;
mod site;
