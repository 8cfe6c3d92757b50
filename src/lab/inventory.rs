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

/// What the shipped playbooks have to know of a lab's nodes, whatever K3s they get.
const VARS: &str = "
[vars]
preflight_resolve = []                               # no uplink
flannel_backend = \"host-gw\"                        # one network, and a kernel without vxlan
";

/// Where a real K3s under cgroup v1 puts its pods: below a group that each node makes at its start (sh/pods.sh). So were
/// those set up on which its ways were recorded.
const PODS: &str = r#""kubelet-arg" = ["cgroup-root=/lab", "cgroups-per-qos=true"]"#;

/// How K3s is set up in a lab: vars of the playbook `k3s`.
fn k3s_vars(record: &Record, cgroup_v1: bool) -> String {
    let backend = r#""flannel-backend" = "host-gw""#;
    let real = record.k3s.as_ref().is_none_or(|k3s| k3s.real);
    match real && cgroup_v1 {
        true => format!("k3s_config = {{ {backend}, {PODS} }}\nk3s_agent_config = {{ {PODS} }}\n"),
        false => format!("k3s_config = {{ {backend} }}\n"),
    }
}

/// The text, with the host keys of each node in order.
pub fn text(place: &Place, record: &Record, host_keys: &[Vec<String>], cgroup_v1: bool) -> String {
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
    text.push_str(VARS);
    text.push_str(&k3s_vars(record, cgroup_v1));
    if let Some(k3s) = &record.k3s {
        text.push_str(&k3s.artifact());
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
    cgroup_v1: bool,
) -> Result<Found, Failure> {
    let Some(path) = record.inventory.clone() else {
        return Ok(Found::Nothing);
    };
    check(&path, place, &record.written)?;
    let found = look(&path, place, &record.written)?;
    if found == Found::Edited {
        return Ok(found);
    }
    let text = text(place, record, host_keys, cgroup_v1);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::place::Shelf;

    fn lab(folder: &Path) -> (Place, Record) {
        let place = Shelf::open(folder).unwrap().lab("lab").unwrap();
        drop(place.lock().unwrap());
        let mut record = Record {
            subnet: "172.30.0.0/24".parse().unwrap(),
            suite: "bookworm".into(),
            base: "bookworm-0".into(),
            mirror: "http://m".into(),
            security_mirror: "http://s".into(),
            user: "pi".into(),
            cpu: None,
            k3s: None,
            inventory: Some(folder.join("inventory/lab.toml")),
            written: Vec::new(),
            nodes: Vec::new(),
        };
        record.grow("lab", "server", 1);
        record.grow("lab", "agent", 1);
        (place, record)
    }

    fn keys() -> Vec<Vec<String>> {
        vec![
            vec!["ssh-ed25519 AAAA".to_owned()],
            vec!["ssh-rsa B".to_owned()],
        ]
    }

    #[test]
    fn it_names_the_nodes_with_their_keys() {
        let folder = tempfile::tempdir().unwrap();
        let (place, record) = lab(folder.path());
        let text = text(&place, &record, &keys(), false);
        let read: toml::Table = toml::from_str(&text).unwrap();
        assert_eq!(read["cluster"]["api_address"].as_str(), Some("172.30.0.11"));
        assert_eq!(read["ssh"]["become"].as_str(), Some("sudo"));
        let two = &read["node"]["lab-2"];
        assert_eq!(two["address"].as_str(), Some("172.30.0.12"));
        assert_eq!(two["roles"][0].as_str(), Some("agent"));
        assert_eq!(two["host_keys"][0].as_str(), Some("ssh-rsa B"));
    }

    #[test]
    fn k3s_is_told_what_is_special_about_the_nodes_and_the_stand_in_nothing_of_pods() {
        let folder = tempfile::tempdir().unwrap();
        let (place, mut record) = lab(folder.path());
        let vars = |record: &Record, cgroup_v1| {
            let text = text(&place, record, &keys(), cgroup_v1);
            toml::from_str::<toml::Table>(&text).unwrap()["vars"].clone()
        };
        // The pinned release.
        let pinned = vars(&record, true);
        let backend = pinned["k3s_config"]["flannel-backend"].as_str();
        assert_eq!(backend, Some("host-gw"));
        for role in ["k3s_config", "k3s_agent_config"] {
            let argument = pinned[role]["kubelet-arg"][0].as_str();
            assert_eq!(argument, Some("cgroup-root=/lab"));
        }
        assert!(vars(&record, false).get("k3s_agent_config").is_none());
        for real in [true, false] {
            record.k3s = Some(crate::lab::k3s::K3s {
                path: "/k3s".into(),
                version: "v1".into(),
                sha256: "ab".repeat(32),
                size: 1,
                real,
            });
            let found = vars(&record, true);
            assert_eq!(found["k3s_config"].get("kubelet-arg").is_some(), real);
        }
    }

    #[test]
    fn only_what_the_lab_wrote_is_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let (place, mut record) = lab(folder.path());
        let path = record.inventory.clone().unwrap();
        assert_eq!(
            write(&place, &mut record, &keys(), false).unwrap(),
            Found::Nothing
        );
        assert_eq!(look(&path, &place, &record.written).unwrap(), Found::Ours);
        // As after a crash between the note and the file.
        record.written.push("another".into());
        record.grow("lab", "agent", 2);
        assert_eq!(
            write(&place, &mut record, &keys(), false).unwrap(),
            Found::Ours
        );
        assert_eq!(record.written.len(), 1);
        assert_eq!(Record::load(&place).unwrap(), Some(record.clone()));

        let edited = files::read(&path).unwrap().unwrap() + "# mine\n";
        files::write(&path, &edited, 0o644).unwrap();
        record.grow("lab", "agent", 3);
        assert_eq!(
            write(&place, &mut record, &keys(), false).unwrap(),
            Found::Edited
        );
        assert_eq!(files::read(&path).unwrap(), Some(edited));

        files::write(&path, "[cluster]\n", 0o644).unwrap();
        let refused = write(&place, &mut record, &keys(), false).unwrap_err();
        assert!(refused.message.ends_with("this lab did not write it"));
    }
}
