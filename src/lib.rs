//! hmco-boot: a bootstrap orchestrator for bare-metal nodes. (The architecture page follows with the last module.)

pub mod config;
pub mod facts;
pub mod journal;
pub mod model;
pub mod secrets;
pub mod steps;
pub mod transport;
