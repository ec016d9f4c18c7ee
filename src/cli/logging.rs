//! The log on standard error.

use std::io::{self, Write};
use std::sync::LazyLock;
use std::time::SystemTime;

use forwardcache::peer::RecentWarnings;
use log::{Level, Log, Metadata, Record};

/// Starts the log. `RUST_LOG` selects what is logged. Default: warnings, and with `-v` the outcome of every request.
pub(super) fn start(verbose: bool, hides_client_warnings: bool) {
    // tiny_http is off because it logs an error when its listener is closed, which is how its server shuts down.
    let default = match (verbose, hides_client_warnings) {
        (true, _) => "warn,tiny_http=off,forwardcache=debug",
        (false, false) => "warn,tiny_http=off",
        (false, true) => "warn,tiny_http=off,forwardcache::client=off",
    };
    let environment = env_logger::Env::default().default_filter_or(default);
    let logger = env_logger::Builder::from_env(environment).format(write_line).build();
    // The status page shows warnings even if the log does not.
    log::set_max_level(logger.filter().max(Level::Warn.to_level_filter()));
    // This fails only if a logger is already set, and nothing else in this program sets one.
    let _ = log::set_boxed_logger(Box::new(CredentialSafeLogger(logger)));
}

/// The last warnings of this process.
pub(super) static WARNINGS: LazyLock<RecentWarnings> = LazyLock::new(RecentWarnings::new);

/// Libraries whose debug messages contain whole requests with their credentials.
const LIBRARIES_THAT_LOG_CREDENTIALS: [&str; 2] = ["ureq", "rustls"];

/// A logger that lets those libraries log only warnings and errors, whatever `RUST_LOG` specifies.
struct CredentialSafeLogger(env_logger::Logger);

impl Log for CredentialSafeLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let may_log_credentials =
            LIBRARIES_THAT_LOG_CREDENTIALS.iter().any(|library| metadata.target().starts_with(library));
        !(may_log_credentials && metadata.level() > Level::Warn) && self.0.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        // Messages of libraries may contain what this crate removes from its own.
        if record.level() <= Level::Warn && record.target().starts_with("forwardcache") {
            WARNINGS.add(&record.args().to_string(), SystemTime::now());
        }
        if self.enabled(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// Writes a message as `[Sun, 29 Nov 2026 05:38:29 GMT WARN] message`.
fn write_line(output: &mut env_logger::fmt::Formatter, record: &Record<'_>) -> io::Result<()> {
    let time = httpdate::fmt_http_date(SystemTime::now());
    writeln!(output, "[{time} {}] {}", record.level(), record.args())
}
