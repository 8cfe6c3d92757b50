//! Runs a plan: a synchronous scheduler that owns the truth about what runs, and a thin asynchronous runner that carries
//! out what it asks for.
//!
//! - `scheduler/`: inputs in, commands out. No IO, no clock, no randomness: the same inputs give the same commands, which
//!   is what lets a test crash it after every single event.
//! - `runner`: journal before effect, then hosts, timers, signals.
//! - `preview`: the same scheduler in a mode that has no command to change anything, for `plan`.

pub mod clock;
pub mod preview;
pub mod runner;
pub mod scheduler;
