//! The encrypted tree on a real disk: what is written comes back, what is tampered with is refused by name and place.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::panic,
    reason = "tests look at files, and may stop at the first surprise"
)]

#[path = "support/skip.rs"]
mod skip;
#[path = "secrets/support.rs"]
mod support;

#[path = "secrets/crash.rs"]
mod crash;
#[path = "secrets/merge.rs"]
mod merge;
#[path = "secrets/power.rs"]
mod power;
#[path = "secrets/readers.rs"]
mod readers;
#[path = "secrets/tamper.rs"]
mod tamper;
#[path = "secrets/values.rs"]
mod values;
#[path = "secrets/watched.rs"]
mod watched;
