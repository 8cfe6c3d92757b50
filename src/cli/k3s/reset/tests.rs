//! What a reset is refused for, and what it copies, by the state that was found.

use super::*;
use crate::facts::fact::{K3sData, Unit};
use crate::k3s::look::{Member, Told};
use crate::k3s::status::{Listed, Seen, Silence};
use crate::model::outcome::Failure;
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
            member: format!("{name}-0a1b2c3d"),
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

#[test]
fn a_member_is_not_reset_although_the_api_cannot_be_asked_from_here() {
    for why in [
        None,
        Some("it cannot be reached\nn1: the cluster has another CA"),
    ] {
        let status = found(&[server("s1"), server("s2")], why);
        let said = words(one("s2", &args(true), &status));
        assert!(said.contains("is a member of etcd"), "{said}");
        assert!(said.contains("k3s node remove s2"), "{said}");
        if why.is_some() {
            assert!(said.contains("another CA"), "{said}");
            assert!(said.contains("hmco-boot status"), "{said}");
        }
    }
    // By names that say nothing, with the member on its disk.
    let mut second = server("s2");
    second.name = "other".into();
    let status = found(&[server("s1"), second], Some("no"));
    let said = words(one("other", &args(true), &status));
    assert!(said.contains("is a member of etcd"), "{said}");
}

#[test]
fn a_member_that_could_not_be_told_is_not_reset() {
    let etcd = K3sData {
        etcd: true,
        ..K3sData::default()
    };
    // Nobody lists the members.
    let status = found(
        &[stopped("s1", etcd.clone()), stopped("s2", etcd.clone())],
        Some("no"),
    );
    let said = words(one("s2", &args(false), &status));
    assert!(said.contains("its member could not be told"), "{said}");
    assert!(said.contains("k3s reset --all"), "{said}");
    // They are listed, and its disk does not say which it is.
    let status = found(&[server("s1"), stopped("other", etcd.clone())], None);
    let said = words(one("other", &args(false), &status));
    assert!(said.contains("its member could not be told"), "{said}");
    // With all others silent.
    let status = found(
        &[silent("s1", true), stopped("s2", etcd.clone())],
        Some("no"),
    );
    let said = words(one("s2", &args(false), &status));
    assert!(said.contains("its member could not be told"), "{said}");
    // It has left: etcd has no member of its name.
    let mut left = stopped("s3", etcd.clone());
    left.told.as_mut().unwrap().member = "s3-00000000".into();
    let status = found(&[server("s1"), left], None);
    let task = one("s3", &args(false), &status).unwrap();
    assert_eq!(names(&task), ["s3"]);
    // There are no others.
    let status = found(&[stopped("s1", etcd)], Some("no"));
    let task = one("s1", &args(false), &status).unwrap();
    let warned = task.stages.warnings.join("; ");
    assert!(warned.contains("the end of the cluster"), "{warned}");
}

#[test]
fn a_database_that_is_a_file_is_copied_once_k3s_is_stopped() {
    let sqlite = K3sData {
        sqlite: true,
        ca_sha256: Some("aa".into()),
        ..K3sData::default()
    };
    let status = found(&[stopped("s1", sqlite)], None);
    for task in [
        one("s1", &args(false), &status).unwrap(),
        all(&args(false), &status).unwrap(),
    ] {
        assert_eq!(task.sqlite, task.stores);
        assert!(task.last && task.sqlite.len() == 1);
    }
    let task = all(&args(false), &found(&[server("s1")], None)).unwrap();
    assert!(task.sqlite.is_empty());
}

#[test]
fn the_command_that_is_given_again_has_all_that_was_said() {
    assert_eq!(args(false).words(), "k3s reset --all");
    let mut all = args(true);
    all.skip_unreachable = true;
    assert_eq!(
        all.words(),
        "k3s reset --all --skip-unreachable --without-copies"
    );
    let mut one = args(false);
    one.node = Some("s1".into());
    one.copies.to = Some("my stick".into());
    assert_eq!(one.words(), "k3s reset --node s1 --to 'my stick'");
}

#[test]
fn a_server_with_a_ca_of_its_own_is_the_last_of_its_cluster() {
    let mut other = server("s0");
    let told = other.told.as_mut().unwrap();
    told.data.ca_sha256 = Some("bb".into());
    told.members = Some(Ok(vec![Member {
        name: "s0-0a1b2c3d".into(),
        address: String::new(),
        learner: false,
    }]));
    let status = found(&[other, server("s1"), server("s2")], None);
    let task = one("s0", &args(false), &status).unwrap();
    assert!(task.last && names(&task) == ["s0"]);
    let warned = task.stages.warnings.join("; ");
    assert!(
        warned.contains("its CA is not that of the cluster"),
        "{warned}"
    );
    // Nothing is deleted in a cluster that may be the other one.
    assert_eq!(task.links.len(), 1);
    let said = words(one("s1", &args(false), &status));
    assert!(said.contains("different clusters"), "{said}");
    let task = all(&args(false), &status).unwrap();
    let warned = task.stages.warnings.join("; ");
    assert!(warned.contains("different clusters"), "{warned}");
}

#[test]
fn the_node_that_is_deleted_is_named_where_it_has_another_name() {
    let mut agent = stopped("a1", K3sData::default());
    agent.role = Some(Role::Agent);
    agent.told.as_mut().unwrap().node = "shelf-3".into();
    let listed = Listed {
        nodes: vec![serde_json::json!({ "metadata": { "name": "shelf-3" } })],
        ..Listed::default()
    };
    let status = Status::of("c", &[server("s1"), server("s2"), agent], Ok(&listed));
    let task = one("a1", &args(false), &status).unwrap();
    let stages = task.stages.stages.join("; ");
    assert!(stages.contains("its Node `shelf-3`"), "{stages}");
}
