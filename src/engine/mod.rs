//! Runs a plan: a synchronous scheduler that owns the truth about what runs, and a thin asynchronous runner that carries
//! out what it asks for.
//!
//! - `scheduler/`: inputs in, commands out. No IO, no clock, no randomness: the same inputs give the same commands, which
//!   is what lets a test crash it after every single event.
//! - `runner`: journal before effect, then hosts, timers, signals.
//! - `locks`: this machine's and those on the machines that may change, taken all or none, renewed, given back.
//! - `resume`: which run to go on with, and what it had started.
//! - `promise`: every task that was started tells the scheduler its end, even if it dies.
//! - `record`: numbers, times and the journal's thread.

pub mod clock;
pub mod locks;
mod promise;
mod record;
pub mod resume;
pub mod runner;
pub mod scheduler;
mod sensitive;
