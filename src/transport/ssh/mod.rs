//! Machines over SSH.

pub mod config;
pub mod files;
pub mod known_hosts;
pub mod resolve;
pub mod route;
