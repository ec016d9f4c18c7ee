//! The front on the crate `tiny_http`: small, and for trusted clients only.
//!
//! | file | what it holds |
//! |---|---|
//! | `listener` | the listening socket and the options that accepted sockets inherit |
//! | `server` | [`TinyHttpFront`]: its threads, from start to shutdown |
//! | `lanes` | two bounded queues, and who is turned away |
//! | `exchange` | one request, from its checked head to the handler's answer |
//! | `nudge` | a connection now and then, which frees those that tiny_http forgot |
//! | `answer` | one response on its way to the wire |
//!
//! # How it serves
//!
//! tiny_http has one thread for each connection and puts what it reads into one queue. A dispatcher
//! takes requests from there and offers each to one of two lanes: requests without a body, or with a
//! short one that has been read already, and requests whose body is still to be read. A lane is a
//! bounded queue, a fixed number of workers, and one thread that tells those who find the queue full.
//! So a client that announces a body and does not send it holds up nobody without a body. A worker
//! reads the body, calls the handler and writes the answer.
//!
//! # Limits
//!
//! They come with tiny_http 0.12 and cannot be mended from outside. Bind it to a loopback address or
//! to a network where every client is trusted.
//!
//! * **Heads have no limit while they are read.** A client that sends an endless request line, or one
//!   huge field, takes as much memory; the limits here apply to a head that is complete.
//! * **Reading has no timeout.** A connection on which nothing comes costs a thread and two file
//!   descriptors for as long as it lasts, and a body that does not come holds a worker of its lane.
//!   (A receive timeout on the listener would end `accept` as well.)
//! * **Connections have no limit.** When file descriptors or threads run out, tiny_http's accepting
//!   thread may die without a word. An `accept` that merely fails is taken up again after a second.
//! * **A burst of connections may leave some waiting:** tiny_http forgets them until another connection
//!   ends, so one is made and ended four times a second. Those show up in a count of connections.
//! * **Pipelining has no limit.** Answers of a connection go out in order, so a slow request holds the
//!   workers that have the requests behind it.
//! * **A connection cannot be closed from here.** tiny_http closes it when the client asked for that,
//!   and not otherwise. Hence:
//!   * an error is answered with `Connection: close`, and closing is left to the client;
//!   * a request whose body must not be read (too large, or framed in a doubtful way) is answered
//!     and never released, since releasing it would allocate as much as the client announced: its
//!     connection stays silent, and a thread and its file descriptors are lost;
//!   * a streamed response goes out in chunks, even when its length is known, so that one that
//!     breaks off can be told by a line that is no chunk size. A client that asked for the connection
//!     to be closed gets the length instead, and sees the connection close short of it;
//!   * a streamed response for an HTTP/1.0 client is collected first, up to 16 MiB; a larger one is
//!     answered with 505, unless its length is known and the connection closes behind it.
//! * **A chunked request body that is cut inside a chunk looks whole.**
//! * **A folded field line arrives as a field of its own,** a byte above 0x7F in a head ends the
//!   connection without an answer, a version above 1.1 leaves the connection silent, and trailers are an
//!   error. Do not put it behind a proxy that reads heads differently.
//! * **After a shutdown** requests on connections still open are answered with 503 for a minute;
//!   from then on they get no answer until the process ends.
//! * **No TLS.**

mod answer;
mod exchange;
mod lanes;
mod listener;
mod nudge;
mod server;
#[cfg(test)]
mod tests;

pub use server::TinyHttpFront;
