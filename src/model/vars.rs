//! Declared vars, their types, and which of several values counts.

mod command_line;
mod kinds;
mod layers;
mod resolve;
#[cfg(test)]
mod resolve_tests;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::value::{Span, Value};

pub use layers::{Constants, Layers};
pub use resolve::{resolve, unknown_names};

/// Names that templates have already; a playbook cannot declare a var of that name. (It can take the name of a function
/// such as `range`, which is then the var.)
pub const RESERVED_NAMES: [&str; 7] = [
    "node", "nodes", "groups", "cluster", "item", "facts", "secret",
];

/// `[vars.NAME]` of a playbook.
#[derive(Clone, Debug)]
pub struct VarDecl {
    /// Where the name is written.
    pub span: Span,
    /// What values it takes.
    pub kind: VarType,
    /// For people.
    pub doc: String,
    /// Its value where nobody sets it; without one it must be set.
    pub default: Option<Value>,
}

/// The type of a var.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VarType {
    /// Any text.
    String,
    /// A whole number.
    Int,
    /// true or false.
    Bool,
    /// An IPv4 or IPv6 address.
    Ip,
    /// `FIRST-LAST`, of one address family, in order.
    IpRange,
    /// A network with its prefix length; host bits zero.
    Cidr,
    /// An RFC 1123 host name.
    Hostname,
    /// `90s`, `1h30m`.
    Duration,
    /// `512Mi`, `10G`, a number of bytes.
    Size,
    /// A list.
    List,
    /// A table.
    Table,
    /// `{ secret = "a/b" }`: the name of a secret, never its value.
    Secret,
}
