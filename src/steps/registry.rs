//! All step kinds, one line each.

use std::sync::Arc;

use crate::model::artifact::PinBook;
use crate::model::mistake::Mistake;
use crate::model::value::Value;

use super::{Class, Kind, Scope, Wish};

/// A decoded wish, or every mistake in its table.
pub type Decoded = Result<Arc<dyn Wish>, Vec<Mistake>>;

/// What the rest of the crate knows of a kind without its type.
#[derive(Clone, Debug)]
pub struct KindInfo {
    /// The name of its table.
    pub name: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Its class.
    pub class: Class,
    /// What it works on.
    pub scope: Scope,
    /// Whether applying it may disturb.
    pub disruptive: bool,
    /// At most so many targets at once.
    pub serial: Option<u32>,
    /// Whether the controller is no target for it.
    pub nodes_only: bool,
    /// Whether it asks other nodes than its target.
    pub asks_others: bool,
    /// JSON schema of its table.
    pub schema: fn() -> schemars::Schema,
    /// Decodes a rendered table.
    pub decode: fn(&Value) -> Decoded,
    /// Decodes a table that was rendered from another, whose templates may have given numbers where text is wanted.
    pub decode_rendered: fn(&Value, Value) -> Decoded,
}

/// All kinds, by name.
pub fn kinds() -> &'static [KindInfo] {
    KINDS
}

/// A kind by its name.
pub fn kind(name: &str) -> Option<&'static KindInfo> {
    KINDS.iter().find(|kind| kind.name == name)
}

const KINDS: &[KindInfo] = &[
    info::<super::artifact::Artifact>(),
    info::<super::assert::Assert>(),
    info::<super::authorized_key::AuthorizedKey>(),
    info::<super::boot_cmdline::BootCmdline>(),
    info::<super::command::Command>(),
    info::<super::directory::Directory>(),
    info::<super::dns_check::DnsCheck>(),
    info::<super::file::File>(),
    info::<super::hostname::Hostname>(),
    info::<super::http_check::HttpCheck>(),
    info::<super::k3s_agent::K3sAgent>(),
    info::<super::k3s_server::K3sServer>(),
    info::<super::kernel_module::KernelModule>(),
    info::<super::line::Line>(),
    info::<super::link::Link>(),
    info::<super::manifest::Manifest>(),
    info::<super::mount::Mount>(),
    info::<super::namespace::Namespace>(),
    info::<super::node::Node>(),
    info::<super::packages::Packages>(),
    info::<super::preflight::Preflight>(),
    info::<super::reboot::Reboot>(),
    info::<super::swap::Swap>(),
    info::<super::sysctl::Sysctl>(),
    info::<super::systemd_unit::SystemdUnit>(),
    info::<super::user::User>(),
    info::<super::volume_check::VolumeCheck>(),
    info::<super::wait::Wait>(),
];

pub(crate) const fn info<K: Kind>() -> KindInfo {
    KindInfo {
        name: K::NAME,
        summary: K::SUMMARY,
        class: K::CLASS,
        scope: K::SCOPE,
        disruptive: K::DISRUPTIVE,
        serial: K::SERIAL,
        nodes_only: K::NODES_ONLY,
        asks_others: K::ASKS_OTHERS,
        schema: schema::<K>,
        decode: decode::<K>,
        decode_rendered: decode_rendered::<K>,
    }
}

fn schema<K: Kind>() -> schemars::Schema {
    schemars::schema_for!(K)
}

fn decode_rendered<K: Kind>(original: &Value, rendered: Value) -> Decoded {
    let schema = crate::model::shape::schema_of::<K>();
    decode::<K>(&crate::model::shape::coerce(original, rendered, &schema))
}

fn decode<K: Kind>(table: &Value) -> Decoded {
    let wish: K = crate::model::shape::decode(table)?;
    let mistakes: Vec<Mistake> = wish
        .validate()
        .into_iter()
        .map(|(key, message)| {
            let span = table.get(key).map_or(table.span, |value| value.span);
            Mistake::error("invalid-value", span, message)
        })
        .collect();
    if mistakes.is_empty() {
        Ok(Arc::new(wish))
    } else {
        Err(mistakes)
    }
}

/// Looks up the artifacts that a wish, fresh from its decoder, names; `table` is where it was written.
pub fn resolve(
    wish: &mut Arc<dyn Wish>,
    table: &Value,
    book: &PinBook,
) -> Result<(), Vec<Mistake>> {
    let Some(wish) = Arc::get_mut(wish) else {
        // Shared already, so it was resolved before.
        return Ok(());
    };
    let mistakes: Vec<Mistake> = wish
        .pins(book)
        .into_iter()
        .map(|(key, problem)| {
            let span = table.get(key).map_or(table.span, |value| value.span);
            Mistake::error(problem.code, span, problem.message).hint(problem.hint)
        })
        .collect();
    if mistakes.is_empty() {
        Ok(())
    } else {
        Err(mistakes)
    }
}
