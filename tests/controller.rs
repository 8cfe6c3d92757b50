//! What the controller says of services, against real servers on the loopback interface: HTTP, TLS, DNS, TCP; those that
//! answer, and those that do not.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may stop at the first surprise, and writes the files its servers need"
)]

#[path = "controller/dns.rs"]
mod dns;
#[path = "controller/http.rs"]
mod http;
#[path = "controller/names.rs"]
mod names;
#[path = "controller/servers.rs"]
mod servers;
#[path = "controller/together.rs"]
mod together;
#[path = "controller/web.rs"]
mod web;
