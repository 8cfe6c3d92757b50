//! What is seen of a run: views as snapshots, the live view on an emulated terminal, graphs, plans and lists.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

mod graphs;
mod properties;
mod scripted_run;
mod tables;
mod tty;
mod views;
