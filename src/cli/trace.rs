//! What `-v` shows: the program's own account of what it does, on standard error. Never what is said to a machine or by one:
//! no contents, no passwords.
//!
//! `-v`: one line for each connection. `-vv`: each execution with its bytes, connections that end and are made again.
//! `-vvv`: what the SSH library tells of itself, too, as far as that holds no contents.

use tracing_subscriber::EnvFilter;

/// Parts of the SSH library that tell of algorithms, types and lengths of messages. Others show messages as they are, with
/// passwords and files in them.
const HARMLESS: [&str; 5] = [
    "russh::cipher",
    "russh::client::kex",
    "russh::negotiation",
    "russh::ssh_read",
    "russh::sshbuffer",
];

/// The name under which the library's own words are told.
const LIBRARY: &str = "russh";

/// Which of the events are shown; `None` without `-v`.
pub fn filter(verbose: u8) -> Option<EnvFilter> {
    let directives = match verbose {
        0 => return None,
        1 => "off,hmco_boot=info",
        2 => "off,hmco_boot=debug",
        _ => "off,hmco_boot=trace,russh=trace",
    };
    Some(EnvFilter::new(directives))
}

/// Passes on what the SSH library tells by way of `log`.
pub fn listen_to_library() {
    // Somebody else listens already: a test, in the same process.
    if log::set_logger(&Passage).is_ok() {
        log::set_max_level(log::LevelFilter::Trace);
    }
}

struct Passage;

impl log::Log for Passage {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        HARMLESS.contains(&metadata.target())
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            tracing::trace!(target: LIBRARY, "{}: {}", record.target(), record.args());
        }
    }

    fn flush(&self) {}
}
