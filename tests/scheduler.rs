//! The scheduler alone, rule by rule: hand-made plans, hand-fed inputs, no machine and no clock.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

#[path = "scheduler/facts.rs"]
mod facts;
#[path = "scheduler/lab.rs"]
mod lab;
#[path = "scheduler/limits.rs"]
mod limits;
#[path = "scheduler/locks.rs"]
mod locks;
#[path = "scheduler/stops.rs"]
mod stops;
#[path = "scheduler/troubles.rs"]
mod troubles;
#[path = "scheduler/waits.rs"]
mod waits;
