//! Machines over SSH.

pub mod route;
