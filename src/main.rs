//! The `hmco-boot` command.
fn main() {}
