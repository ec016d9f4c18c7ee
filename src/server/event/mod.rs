//! The front on sockets that never wait.
//!
//! | file | what it holds |
//! |---|---|
//! | `server` | [`Server`]: its threads, from start to shutdown |
//! | `io_thread` | a thread that serves connections: it accepts, waits for sockets, looks at the clock |
//! | `context` | what the connections of one thread have in common |
//! | `connection` | one connection: its requests, each read, handed on and answered |
//! | `exchange` | one request and its answer |
//! | `input` | what a client has sent and nobody has worked on |
//! | `head_end` | where the head of a request ends; pure |
//! | `begun_head` | what is wrong with a head that is not whole; pure |
//! | `decoder` | content out of its framing; pure |
//! | `upload` | content on its way to whoever handles the request |
//! | `outbound` | what is to be written and has not been taken |
//! | `transport` | the bytes of a connection, plain or through TLS |
//! | `rotation` | whose turn is next; pure |
//! | `turn` | how much one connection may do before the others; pure |
//! | `pace` | whether a client is fast enough; pure |
//! | `admission` | how many connections there may be |
//! | `inbox` | what other threads have for one that serves connections |
//!
//! # How it serves
//!
//! ```text
//!             hit: one read, one write
//! socket ───▶ io thread ◀───────────────▶ Responder::hit, at_once      never wait
//!                │   ▲
//!            job │   │ letter
//!                ▼   │
//!           scheduler ───────────────────▶ Handler::handle              may wait
//! ```
//!
//! Connections that have a response to write that did not go out at once, and TLS handshakes, have their turn when
//! everybody else has been served, a few of them before others are looked at again.
//!
//! A response that is still coming is read by the io thread as it grows; a worker moves it on as fast as
//! its origin sends it, whoever reads it, and is free again when it has come.

mod admission;
mod begun_head;
mod connection;
mod context;
mod decoder;
mod exchange;
mod head_end;
mod inbox;
mod input;
mod io_thread;
mod outbound;
mod pace;
mod rotation;
mod server;
mod transport;
mod turn;
mod upload;

pub use server::Server;
