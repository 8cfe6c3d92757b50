//! Packages for nodes, which have no uplink: an HTTP proxy on the lab's bridge that serves Debian's archives, and
//! nothing else, from a cache that all labs share.

/// Its port on the bridge's address.
pub const PORT: u16 = 3142;
