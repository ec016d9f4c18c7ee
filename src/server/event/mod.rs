//! The event loop: a fixed number of I/O threads over non-blocking sockets.
//!
//! The entry is [`Server::bind`]. In reading order:
//!
//! | file | subject |
//! |---|---|
//! | `server` | [`Server`]: its threads, from start to shutdown |
//! | `io_thread` | the loop of one thread: socket events, messages, deadlines, fair turns |
//! | `listening` | listening sockets of either kind |
//! | `acceptor` | accepting connections and distributing them to the threads |
//! | `context` | state that the connections of one thread share |
//! | `connection` | one connection: its state machine |
//! | `connection/reading` | reading and validating heads; sending hits |
//! | `connection/proxy_header` | reading the header of the PROXY protocol |
//! | `connection/content` | receiving request bodies |
//! | `connection/response` | passing a request to the responder, and sending the response |
//! | `connection/deadlines` | the deadlines of a connection |
//! | `connection/rejections` | reasons for rejecting requests, and their metric labels |
//! | `exchange` | one request and its response |
//! | `input` | received bytes that are not processed yet |
//! | `head_end` | finding the end of a request head; pure |
//! | `partial_head` | finding faults in an incomplete head; pure |
//! | `decoder` | removing the framing of a request body; pure |
//! | `upload` | passing a request body to the handler while it arrives |
//! | `outbound` | output that the socket has not accepted yet |
//! | `sending_files` | sending bytes from files without copying them |
//! | `transport` | the bytes of a connection, plain or through TLS |
//! | `round_robin` | fair turns for clients; pure |
//! | `budget` | how much one connection may do in a turn of the loop; pure |
//! | `transfer_rate` | whether a client is fast enough; pure |
//! | `admission` | limits for the number of connections |
//! | `next` | what the thread does next for a connection |
//! | `tunnel` | tunnels of CONNECT requests |
//! | `upstream` | requests to peers that the event loop sends itself |
//! | `tunnel_limits` | limits for the number of tunnels |
//! | `inbox` | messages from other threads to an I/O thread |
//!
//! # The life of a request
//!
//! ```text
//!             hit: one read, one write
//! socket ───▶ I/O thread ◀───────────────▶ Responder::hit, Responder::step    never block
//!                │   ▲
//!            job │   │ message
//!                ▼   │
//!           scheduler ───────────────────▶ Handler::handle                    may block
//! ```
//!
//! Each turn of the loop first serves connections that complete at once. Then a bounded number of the others gets a
//! turn: connections that have more of a response to write, and TLS handshakes.
//!
//! The I/O thread reads a growing response body as it arrives. A worker fetches that body at the origin's speed,
//! independently of its readers, and is free again once the body is complete.

mod acceptor;
mod admission;
mod budget;
mod connection;
mod context;
mod decoder;
mod exchange;
mod head_end;
mod inbox;
mod input;
mod io_thread;
mod listening;
mod next;
mod outbound;
mod partial_head;
mod round_robin;
mod sending_files;
mod server;
mod transfer_rate;
mod transport;
mod tunnel;
mod tunnel_limits;
mod upload;
mod upstream;

pub use server::Server;
