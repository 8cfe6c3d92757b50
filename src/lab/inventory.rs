//! The inventory of a lab: its text, and the rules by which the file is written and removed.

use std::fmt::Write as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::files;
use super::place::Place;
use super::record::Record;
use crate::model::outcome::Failure;

/// First line of every inventory that a lab wrote.
const MARK: &str = "# Written by `hmco-boot lab up`";

/// The text, with the host keys of each node in order.
pub fn text(place: &Place, record: &Record, host_keys: &[Vec<String>]) -> String {
    let mut text = format!(
        "{MARK}: the rehearsal lab `{}` on this machine.\n\
         # `hmco-boot lab down` removes this file, unless it was changed.\n\
         [cluster]\nname = {}\n",
        place.name,
        quoted(&place.name)
    );
    let nodes = record.nodes();
    if let Some(first) = nodes.iter().find(|node| node.role == "server") {
        line(
            &mut text,
            "api_address",
            &quoted(&first.address.to_string()),
        );
    }
    text.push_str("\n[ssh]\n");
    line(&mut text, "user", &quoted(&record.user));
    line(
        &mut text,
        "identity",
        &quoted(&place.key().to_string_lossy()),
    );
    let how = if record.user == "root" {
        "none"
    } else {
        "sudo"
    };
    line(&mut text, "become", &quoted(how));
    for (index, node) in nodes.iter().enumerate() {
        write!(text, "\n[node.{}]\n", node.name).ok();
        line(&mut text, "address", &quoted(&node.address.to_string()));
        line(&mut text, "roles", &format!("[{}]", quoted(&node.role)));
        text.push_str("host_keys = [\n");
        for key in host_keys.get(index).into_iter().flatten() {
            writeln!(text, "  {},", quoted(key)).ok();
        }
        text.push_str("]\n");
    }
    text
}

fn line(text: &mut String, key: &str, value: &str) {
    // Writing to a String cannot fail.
    writeln!(text, "{key} = {value}").ok();
}

fn quoted(text: &str) -> String {
    toml_edit::Value::from(text).to_string()
}

/// What there is at an inventory's path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// What this lab wrote, unchanged.
    Ours,
    /// What this lab wrote, and somebody changed.
    Edited,
    /// Something else.
    Foreign,
}

/// Looks at the file.
///
/// # Errors
/// Where it cannot be read.
pub fn look(path: &Path, place: &Place, written: &[String]) -> Result<Found, Failure> {
    let Some(text) = files::read(path)? else {
        return Ok(Found::Nothing);
    };
    let mark = format!(
        "{MARK}: the rehearsal lab `{}` on this machine.",
        place.name
    );
    Ok(if written.contains(&digest(&text)) {
        Found::Ours
    } else if text.lines().next() == Some(mark.as_str()) && !written.is_empty() {
        Found::Edited
    } else {
        Found::Foreign
    })
}

/// Refuses early what [`write`] would refuse at the end.
///
/// # Errors
/// Where another file is at the inventory's place.
pub fn check(path: &Path, place: &Place, written: &[String]) -> Result<(), Failure> {
    if look(path, place, written)? != Found::Foreign {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{} is there, and this lab did not write it",
        path.display()
    ))
    .hint("move it away, name another file with -i FILE, or give the lab another name with --name"))
}

/// Writes the inventory where it is missing or as this lab wrote it; gives what was found. An edited one is left alone.
///
/// # Errors
/// Where it is somebody else's, or cannot be written.
pub fn write(
    place: &Place,
    record: &mut Record,
    host_keys: &[Vec<String>],
) -> Result<Found, Failure> {
    let Some(path) = record.inventory.clone() else {
        return Ok(Found::Nothing);
    };
    check(&path, place, &record.written)?;
    let found = look(&path, place, &record.written)?;
    if found == Found::Edited {
        return Ok(found);
    }
    let text = text(place, record, host_keys);
    let new = digest(&text);
    if files::read(&path)?.as_deref() == Some(text.as_str()) {
        return Ok(found);
    }
    // Noted before it is written: after a crash in between, the old one and the new one are known as the lab's.
    record.written.retain(|known| *known != new);
    record.written.push(new.clone());
    record.save(place)?;
    if let Some(folder) = path.parent() {
        files::folder(folder)?;
    }
    files::write(&path, &text, 0o644)?;
    record.written = vec![new];
    record.save(place)?;
    Ok(found)
}

fn digest(text: &str) -> String {
    Sha256::digest(text.as_bytes())
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}
