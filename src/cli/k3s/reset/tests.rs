//! What a reset is refused for, and what it copies, by the state that was found.

use super::*;
use crate::facts::fact::{K3sData, Unit};
use crate::k3s::look::{Member, Told};
use crate::k3s::status::{Listed, Seen, Silence};
use crate::steps::preflight::Role;

/// A server that serves as a member of etcd.
fn server(name: &str) -> Seen {
    let member = |name: &str| Member {
        name: format!("{name}-0a1b2c3d"),
        address: String::new(),
        learner: false,
    };
    Seen {
        name: name.to_owned(),
        role: Some(Role::Server),
        address: None,
        told: Ok(Told {
            data: K3sData {
                etcd: true,
                ca_sha256: Some("aa".into()),
                ..K3sData::default()
            },
            unit: Some((
                Role::Server,
                Unit {
                    load: "loaded".into(),
                    active: "active".into(),
                    sub: "running".into(),
                    enabled: "enabled".into(),
                    ..Unit::default()
                },
            )),
            node: name.to_owned(),
            readyz: "ok".into(),
            members: Some(Ok(["s1", "s2"].map(member).to_vec())),
            health: Some(Ok(())),
            ..Told::default()
        }),
    }
}

/// A server that is down, with this on its disk.
fn stopped(name: &str, data: K3sData) -> Seen {
    Seen {
        told: Ok(Told {
            data,
            node: name.to_owned(),
            ..Told::default()
        }),
        ..server(name)
    }
}

fn silent(name: &str, unreachable: bool) -> Seen {
    Seen {
        told: Err(Silence {
            unreachable,
            failure: Failure::new("K3s' version cannot be read: no answer within 30s"),
        }),
        ..server(name)
    }
}

fn args(without_copies: bool) -> Args {
    Args {
        node: None,
        all: true,
        dry_run: false,
        confirm: None,
        skip_unreachable: false,
        become_root: BecomeArgs::default(),
        copies: copies::Args {
            to: None,
            without_copies,
        },
    }
}

fn found(seen: &[Seen], api_error: Option<&str>) -> Status {
    match api_error {
        None => Status::of("c", seen, Ok(&Listed::default())),
        Some(why) => Status::of("c", seen, Err(why.to_owned())),
    }
}

fn words(result: Result<Task, CliError>) -> String {
    match result {
        Ok(task) => panic!("{:?}", task.stages.stages),
        Err(error) => format!("{error:?}"),
    }
}

fn names(task: &Task) -> Vec<&str> {
    task.stores.iter().map(NodeName::as_str).collect()
}

#[test]
fn what_a_node_has_on_its_disk_must_be_known_before_it_goes() {
    let status = found(&[silent("s1", false)], Some("no"));
    let said = words(one("s1", &args(false), &status));
    assert!(said.contains("could not be told"), "{said}");
    assert!(said.contains("no answer within 30s"), "{said}");
    let said = words(all(&args(false), &status));
    assert!(said.contains("could not be told"), "{said}");
    for task in [
        one("s1", &args(true), &status).unwrap(),
        all(&args(true), &status).unwrap(),
    ] {
        let warned = task.stages.warnings.join("; ");
        assert!(warned.contains("could not be told"), "{warned}");
        assert!(!task.links.is_empty() && task.stores.is_empty());
    }
}

#[test]
fn a_former_database_and_the_keys_of_a_cluster_are_something_to_copy() {
    let former = K3sData {
        old: vec!["etcd-old-1700000000".into(), "snapshots".into()],
        ..K3sData::default()
    };
    let keys = K3sData {
        ca_sha256: Some("aa".into()),
        ..K3sData::default()
    };
    for data in [former, keys] {
        let status = found(&[stopped("s1", data)], Some("no"));
        let task = one("s1", &args(false), &status).unwrap();
        assert_eq!(names(&task), ["s1"]);
        assert!(task.last);
        let warned = task.stages.warnings.join("; ");
        assert!(warned.contains("the end of the cluster"), "{warned}");
        assert_eq!(names(&all(&args(false), &status).unwrap()), ["s1"]);
    }
    let nothing = K3sData {
        old: vec!["snapshots".into()],
        ..K3sData::default()
    };
    let status = found(&[stopped("s1", nothing)], Some("no"));
    assert!(one("s1", &args(false), &status).unwrap().stores.is_empty());
}
