//! What keeps secrets inside the process: everything it says goes through the redactor, it leaves no core dump, and a
//! panic does not show what it was about.

use std::borrow::Cow;
use std::io::{self, Write};

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, setrlimit};

use crate::model::redact::Redactor;

/// A stream that shows no registered value. What is written in one piece is looked through as a whole; this is the last of
/// several such places, so nothing is held back in it.
pub struct Guarded {
    stream: Box<dyn Write + Send>,
    redactor: Redactor,
    json: bool,
}

impl Guarded {
    /// Puts the redactor in front of a stream.
    pub fn new(stream: Box<dyn Write + Send>, redactor: &Redactor) -> Self {
        Self {
            stream,
            redactor: redactor.clone(),
            json: false,
        }
    }

    /// What is written is JSON, and stays it.
    pub fn set_json(&mut self, json: bool) {
        self.json = json;
    }

    /// The stream as it is, for a secret that somebody asked to see.
    pub fn unguarded(&mut self) -> &mut (dyn Write + Send) {
        &mut *self.stream
    }

    fn clean<'t>(&self, bytes: &'t [u8]) -> Cow<'t, [u8]> {
        match std::str::from_utf8(bytes) {
            Ok(text) if self.json => match self.redactor.json_text(text) {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            },
            _ => self.redactor.bytes(bytes),
        }
    }
}

impl Write for Guarded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.redactor.is_empty() {
            return self.stream.write(bytes);
        }
        match self.clean(bytes) {
            Cow::Borrowed(bytes) => self.stream.write(bytes),
            Cow::Owned(clean) => self.stream.write_all(&clean).map(|()| bytes.len()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Leaves no image of this process's memory behind: no core dumps (programs that it starts may have them again), and no
/// other process of the same user reads it.
pub fn leave_no_dump() {
    let limit = Rlimit {
        current: Some(0),
        maximum: getrlimit(Resource::Core).maximum,
    };
    let limited = setrlimit(Resource::Core, limit);
    // Where a program takes cores (systemd-coredump), the kernel asks for this and not for the limit.
    let hidden = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable);
    if let Err(error) = limited.and(hidden) {
        tracing::debug!(%error, "core dumps are not off");
    }
}

/// Shows a panic without secrets. It is a mistake in hmco-boot, and its words may quote anything.
pub fn tame_panics(redactor: &Redactor) {
    let redactor = redactor.clone();
    std::panic::set_hook(Box::new(move |panic| {
        let words = panic
            .payload_as_str()
            .unwrap_or("something that has no words");
        let place = panic.location().map(ToString::to_string);
        let text = panic_text(&redactor, words, place.as_deref());
        // Where standard error is gone, nobody is left to be told.
        io::stderr().write_all(text.as_bytes()).ok();
    }));
}

/// What is shown of a panic.
pub fn panic_text(redactor: &Redactor, words: &str, place: Option<&str>) -> String {
    let backtrace = std::backtrace::Backtrace::capture();
    let mut text = format!(
        "error: hmco-boot broke down at {}: {words}\nhint: this is a mistake in hmco-boot: please report it; `hmco-boot resume` goes on with a run\n",
        place.unwrap_or("an unknown place")
    );
    if backtrace.status() == std::backtrace::BacktraceStatus::Captured {
        text.push_str(&format!("{backtrace}\n"));
    }
    redactor.text(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_written_shows_no_value_that_is_registered_before_or_after_the_stream_was_made() {
        let (redactor, seen) = (Redactor::default(), Shared::default());
        let mut stream = Guarded::new(Box::new(seen.clone()), &redactor);
        stream.write_all(b"correct-horse ").unwrap();
        redactor.register("db/password", b"correct-horse");
        stream.write_all(b"correct-horse \xff").unwrap();
        stream.set_json(true);
        stream.write_all(b"{\"correct-horse\":1}").unwrap();
        let text = seen.0.lock().unwrap().clone();
        assert_eq!(
            text,
            b"correct-horse <secret db/password> \xff{\"<secret db/password>\":1}"
        );
    }

    #[test]
    fn a_panic_shows_no_secret() {
        let redactor = Redactor::default();
        redactor.register("db/password", b"correct-horse");
        let text = panic_text(
            &redactor,
            "no way with \"correct-horse\"",
            Some("src/x.rs:1:2"),
        );
        assert!(text.starts_with(
            "error: hmco-boot broke down at src/x.rs:1:2: no way with \"<secret db/password>\"\n"
        ));
        assert!(!text.contains("correct-horse"));
    }
}
