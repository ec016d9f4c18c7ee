//! The access log of a peer: one line for each request, written to a file by a thread of its own.
//!
//! | file | content |
//! |---|---|
//! | `line` | the text of a line; pure |
//! | `file` | [`AccessLogFile`]: the buffer, the thread that writes, and how the file is reopened |

mod file;
mod line;

pub use file::AccessLogFile;
pub use line::AccessLogFormat;
pub(super) use line::{logged_url, rfc_3339};
