//! What is not tried here is told although its test passes: past the test harness, which shows only what failing tests
//! say. `.ci/test` lists these lines at its end, and counts the tests they are from.

use std::fmt::Display;
use std::io::Write as _;

/// Tells why the test that this thread runs, or a part of it, is skipped.
pub fn tell(why: impl Display) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a thread of a test");
    // As one write: other tests write too.
    let line = format!("SKIPPED: {test}: {why}\n");
    std::io::stderr().write_all(line.as_bytes()).ok();
}
