//! JSON output: one object per line, each an event of the run as the journal holds it.
//!
//! ```json
//! {"v":1,"seq":7,"at_ms":1714561384000,"event":{"type":"step_finished","pair":3,"outcome":"changed","took_ms":420}}
//! ```
//!
//! - `v`: version of this format ([`EVENT_VERSION`]). A later minor version may add event types and fields: skip what
//!   you do not know. A change that breaks readers raises `v`.
//! - `seq`: position in the run, from 0 without gaps; `at_ms`: wall clock, milliseconds since 1970 (UTC).
//! - `event`: an object whose `type` says what happened; all types and their fields are in [`crate::model::event`].
//!   Pairs are numbers that index `pairs` of the first event, `run_started`, which names step and target of each.
//! - The last event of a run that ended by itself is `run_finished`; its `exit` is a word, the process's exit status is
//!   the number. A stream that ends without it was cut off.
//!
//! Characters that could drive a terminal are escaped (`\u001b`), also those that JSON itself would let pass. Every line
//! ends with a line feed and is flushed at once; a closed pipe is an error for the caller.

use std::io::{self, Write};

use serde::Serialize;

use super::Reporter;
use super::text;
use crate::model::event::{EVENT_VERSION, Event, Record};

/// Writes JSON lines.
#[derive(Debug)]
pub struct Json<W> {
    out: W,
}

#[derive(Serialize)]
struct JsonLine<'a> {
    v: u32,
    seq: u64,
    at_ms: i64,
    event: &'a Event,
}

impl<W: Write> Json<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write + Send> Reporter for Json<W> {
    fn record(&mut self, record: &Record) -> io::Result<()> {
        let line = JsonLine {
            v: EVENT_VERSION,
            seq: record.seq,
            at_ms: record.at_ms,
            event: &record.event,
        };
        // One write for the whole line: readers of a pipe never see half of one.
        let line = format!("{}\n", to_json(&line)?);
        self.out.write_all(line.as_bytes())?;
        self.out.flush()
    }

    fn tick(&mut self, _now_ms: i64) -> io::Result<()> {
        Ok(())
    }

    fn resize(&mut self, _width: usize, _height: usize) {}

    fn finish(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A value as JSON on one line, safe to show on a terminal.
pub fn to_json(value: &impl Serialize) -> io::Result<String> {
    let json = serde_json::to_string(value).map_err(io::Error::other)?;
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        // Outside strings JSON is ASCII, so whatever is escaped here stands inside one.
        if c.is_control() || text::is_deceptive(c) {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            safe.push(c);
        }
    }
    Ok(safe)
}
