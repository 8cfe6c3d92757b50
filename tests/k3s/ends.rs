//! The end of a cluster: of two servers one leaves, then the other one is reset, with what was saved copied off before.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::ops::{healthy, nothing_is_left, status};
use crate::rig::World;

const SERVER: &str = "/var/lib/rancher/k3s/server";

/// Files with the sha256 of what is in them, by their paths below where they are copied to.
type Files = BTreeMap<PathBuf, String>;

/// The token and the snapshots that a node has.
fn kept(world: &World, number: usize) -> Files {
    let text = format!("cd {SERVER} && sha256sum token db/snapshots/*");
    let said = world.on(number, &text);
    let lines = said.lines().filter_map(|line| line.split_once("  "));
    lines
        .map(|(digest, path)| {
            let place = path.strip_prefix("db/").unwrap_or(path);
            (PathBuf::from(place), digest.to_owned())
        })
        .collect()
}

fn below(folder: &Path, base: &Path, found: &mut Files) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            below(&path, base, found);
            continue;
        }
        let digest = Sha256::digest(std::fs::read(&path).unwrap());
        let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        found.insert(path.strip_prefix(base).unwrap().to_owned(), digest);
    }
}

/// What was copied of a node into a folder.
fn copied(to: &Path, node: &str) -> Files {
    let mut folders = std::fs::read_dir(to).unwrap();
    let folder = folders.next().unwrap().unwrap().path().join(node);
    assert!(folders.next().is_none(), "one copy, one folder");
    let mut found = Files::new();
    below(&folder, &folder, &mut found);
    found
}

/// Takes a node out of the inventory, as the end of `node remove` says.
fn out_of_the_inventory(world: &World, node: &str) {
    let folder = world.project().join("inventory");
    let file = std::fs::read_dir(folder).unwrap().next().unwrap();
    let path = file.unwrap().path();
    let text = std::fs::read_to_string(&path).unwrap();
    let begin = text.find(&format!("[node.{node}]")).unwrap();
    let rest = &text[begin + 1..];
    let end = rest.find("\n[").map_or(text.len(), |at| begin + 1 + at);
    let left = format!("{}{}", &text[..begin], &text[end..]);
    std::fs::write(path, left).unwrap();
}

fn has_snapshot(files: &Files, name: &str) -> bool {
    let mut paths = files.keys();
    paths.any(|path| {
        path.to_string_lossy()
            .starts_with(&format!("snapshots/{name}"))
    })
}

#[test]
fn a_cluster_of_two_ends_with_its_snapshots_and_its_token_copied_and_another_begins() {
    let Some(world) = World::up(2, 0) else {
        return;
    };
    let names = [1, 2].map(|number| world.node(number));
    let [first, second] = names.each_ref().map(String::as_str);
    world.expect(0, &["run", "k3s", "--yes"]);
    world.kubectl(1, "create configmap former");
    world.on(1, "k3s etcd-snapshot save --name before");
    world.on(2, "k3s etcd-snapshot save --name second");
    let ca = format!("sha256sum {SERVER}/tls/server-ca.crt");
    let former = world.on(1, &ca);

    // Of two both have to agree that one leaves, so it leaves first and is stopped then.
    let (of_first, of_second) = (kept(&world, 1), kept(&world, 2));
    assert!(has_snapshot(&of_first, "before") && has_snapshot(&of_second, "second"));
    let to = world.project().join("left");
    let remove = [
        "k3s",
        "node",
        "remove",
        second,
        "--to",
        to.to_str().unwrap(),
    ];
    let said = world.expect(0, &[&remove[..], &["--yes"]].concat());
    assert!(said.contains("kept from starting again"), "{said}");
    assert_eq!(copied(&to, second), of_second);
    nothing_is_left(&world, 2);
    let (_, now) = status(&world);
    assert_eq!(now["etcd"]["voters"], 1, "{now}");
    assert_eq!(now["etcd"]["has_quorum"], true, "{now}");
    world.kubectl(1, "get configmap former");

    out_of_the_inventory(&world, second);

    // The wrong name ends nothing; the right one everything.
    let to = world.project().join("ended");
    let reset = [
        "k3s",
        "reset",
        "--all",
        "--to",
        to.to_str().unwrap(),
        "--confirm",
    ];
    let said = world.expect(2, &[&reset[..], &[first]].concat());
    assert!(said.contains("nothing was done") && !to.exists(), "{said}");
    let of_first = kept(&world, 1);
    let said = world.expect(0, &[&reset[..], &[world.cluster()]].concat());
    assert!(said.contains(&format!("copied from {first}")), "{said}");
    assert_eq!(copied(&to, first), of_first);
    assert!(of_first.contains_key(Path::new("token")), "{of_first:?}");
    nothing_is_left(&world, 1);
    nothing_is_left(&world, 2);

    // Another cluster: nothing of the former one is in it.
    world.expect(0, &["run", "k3s", "--yes"]);
    let now = healthy(&world);
    assert_eq!(now["etcd"]["healthy_voters"], 1, "{now}");
    assert_ne!(world.on(1, &ca), former);
    assert!(!world.kubectl(1, "get configmaps").contains("former"));
}
