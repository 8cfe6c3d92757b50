//! The facts script, run for real under every shell there is, against hostile trees; what Rust's own `std::fs` and
//! sha2 say of the same tree is the oracle.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::panic,
    reason = "a test starts shells, makes trees, and may fail loudly"
)]

#[path = "facts/files.rs"]
mod files;
#[path = "facts/hang.rs"]
mod hang;
#[path = "facts/machine.rs"]
mod machine;
#[path = "support/shells.rs"]
mod shells;
#[path = "support/skip.rs"]
mod skip;
#[path = "facts/state.rs"]
mod state;
