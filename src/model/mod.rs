//! Pure data and rules: what an inventory, a playbook, a run and its events *are*. No IO, no clock, no environment;
//! everything else in the crate may use this and it uses nothing else.

pub mod action;
pub mod artifact;
pub mod event;
pub mod fingerprint;
pub mod id;
pub mod inventory;
pub mod kube;
pub mod lock;
pub mod mistake;
pub mod outcome;
pub mod path;
pub mod playbook;
pub mod redact;
pub mod selector;
pub mod sensitive;
pub mod shape;
pub mod shell;
pub mod template;
pub mod units;
pub mod value;
pub mod vars;
