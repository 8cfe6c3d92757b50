//! From inventory and playbook to a plan: which pairs there are, in which order, with which wishes.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

#[path = "plan/conditions.rs"]
mod conditions;
#[path = "plan/fingerprint.rs"]
mod fingerprint;
#[path = "plan/order.rs"]
mod order;
#[path = "plan/support.rs"]
mod support;
#[path = "plan/values.rs"]
mod values;
