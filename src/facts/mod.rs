//! Facts: what can be read from a target without changing it, the one POSIX-sh script that reads them all at once, and
//! its parser. Pure text in, text out; carrying the script to a target is `transport`'s.

pub mod answer;
pub mod digest_cache;
pub mod fact;
pub mod frame;
pub mod known;
pub mod network;
pub mod parse;
pub mod questions;
pub mod script;
