//! Tests of the `artifact` kind.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::super::Wish;
use super::super::shared::testing::{
    Machine, drift, file_stat, lines, mistakes, refusal, sha256, stat_of,
};
use super::*;
use crate::model::artifact::{Artifact as Pinned, PinArch};

fn pin(arch: PinArch, bytes: &[u8]) -> Pin {
    let member = Member {
        path: "linux-arm64/tool".to_owned(),
        sha256: sha256(b"inner"),
        size: 5,
    };
    Pin {
        name: "tool".to_owned(),
        version: "v1".to_owned(),
        arch,
        url: "https://example.org/tool".to_owned(),
        sha256: sha256(bytes),
        size: bytes.len() as u64,
        fetch: Fetch::Node,
        members: BTreeMap::from([("tool".to_owned(), member)]),
    }
}

fn book() -> PinBook {
    let mut book = PinBook::default();
    book.add(Pinned {
        name: "tool".to_owned(),
        pins: vec![
            pin(PinArch::Arm64, b"the tool"),
            pin(PinArch::Armhf, b"small"),
        ],
    });
    book.add(Pinned {
        name: "amd-only".to_owned(),
        pins: vec![pin(PinArch::Amd64, b"x")],
    });
    book.add_open("open", vec![PinArch::Arm64]);
    book
}

fn wish(more: Json) -> Artifact {
    let mut table = json!({ "name": "tool", "path": "/usr/local/bin/tool" });
    for (key, value) in more.as_object().unwrap() {
        table[key] = value.clone();
    }
    let mut wish: Artifact = serde_json::from_value(table).unwrap();
    assert_eq!(wish.validate(), []);
    assert_eq!(Kind::pins(&mut wish, &book()), []);
    wish
}

fn executable() -> FileStat {
    FileStat {
        mode: 0o755,
        ..file_stat()
    }
}

#[test]
fn a_missing_file_is_placed_from_the_pin_of_the_userland() {
    let (diff, actions) = drift(Machine::empty().decide(&wish(json!({}))).1);
    insta::assert_snapshot!(lines(&diff), @"+tool v1 (arm64), 8 bytes, mode 0755");
    let [
        Action::Place {
            pin,
            member,
            path,
            mode,
            ..
        },
    ] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!(
        (pin.arch, pin.fetch, member),
        (PinArch::Arm64, Fetch::Node, &None)
    );
    assert_eq!((path.as_str(), mode.0), ("/usr/local/bin/tool", 0o755));
}

#[test]
fn the_digest_of_the_lock_file_alone_says_that_nothing_is_to_be_done() {
    let mut there = Machine::file(b"the tool");
    there.stat = Some(executable());
    assert_eq!(there.decide(&wish(json!({}))).1, Decision::Unchanged);
    let (diff, actions) = drift(there.decide(&wish(json!({ "mode": "0700" }))).1);
    insta::assert_snapshot!(lines(&diff), @" mode 0755 -> 0700");
    assert!(matches!(&actions[..], [Action::SetAttributes { .. }]));
    there.bytes = b"the t00l".to_vec();
    let (diff, actions) = drift(there.decide(&wish(json!({}))).1);
    insta::assert_snapshot!(lines(&diff), @r"
    -sha256 2f907480f74f, 1 bytes
    +sha256 6866d28d44ec, tool v1 (arm64), 8 bytes
    ");
    assert!(matches!(&actions[..], [Action::Place { .. }]));
}

#[test]
fn a_member_is_held_to_its_own_digest() {
    let wished = wish(json!({ "member": "tool", "fetch": "controller" }));
    let mut there = Machine::file(b"inner");
    there.stat = Some(executable());
    assert_eq!(there.decide(&wished).1, Decision::Unchanged);
    let (diff, actions) = drift(Machine::empty().decide(&wished).1);
    insta::assert_snapshot!(lines(&diff), @"+linux-arm64/tool of tool v1 (arm64), 5 bytes, mode 0755");
    let [
        Action::Place {
            pin,
            member: Some(member),
            ..
        },
    ] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!((pin.fetch, member.size), (Fetch::Controller, 5));
}

#[test]
fn what_the_lock_file_lacks_is_told_before_anything_is_asked() {
    let told = |table: Json| {
        let mut wish: Artifact = serde_json::from_value(table).unwrap();
        let problems = Kind::pins(&mut wish, &book());
        let lines: Vec<String> = problems
            .into_iter()
            .map(|(key, problem)| format!("{key}: {}: {}", problem.message, problem.hint))
            .collect();
        lines.join("\n")
    };
    let unknown = told(json!({ "name": "toll", "path": "/a" }));
    assert!(unknown.ends_with("did you mean `tool`?"), "{unknown}");
    let open = told(json!({ "name": "open", "path": "/a" }));
    assert!(open.contains("hmco-boot pins update open"), "{open}");
    let member = told(json!({ "name": "tool", "path": "/a", "member": "other" }));
    assert!(
        member.starts_with("member: `other` is not pinned in tool v1 (arm64), tool v1 (armhf)"),
        "{member}"
    );
    assert_eq!(
        told(json!({ "name": "toll", "path": "/a", "state": "absent" })),
        ""
    );
}

#[test]
fn a_node_that_nothing_is_pinned_for_is_refused() {
    let wished = wish(json!({ "name": "amd-only" }));
    insta::assert_snapshot!(refusal(Machine::empty().decide(&wished).1), @r#"
    `amd-only` is not pinned for arm64, the node's userland
      pinned for: amd64
    hint: add an `[[artifact]]` with `arch = "arm64"` to hmco-boot.lock and run `hmco-boot pins update amd-only`, or leave the node out of the step
    "#);
}

#[test]
fn a_folder_is_not_replaced_and_a_link_is() {
    let folder = Machine::with(stat_of(FileKind::Directory));
    assert!(matches!(
        folder.decide(&wish(json!({}))).1,
        Decision::Refused(_)
    ));
    let link = Machine::with(stat_of(FileKind::Symlink));
    let (_, actions) = drift(link.decide(&wish(json!({}))).1);
    assert!(matches!(&actions[..], [Action::Place { .. }]));
    let gone = wish(json!({ "state": "absent" }));
    assert!(matches!(
        &drift(link.decide(&gone).1).1[..],
        [Action::Remove { .. }]
    ));
    assert_eq!(Machine::empty().decide(&gone).1, Decision::Unchanged);
}

#[test]
fn mistakes_name_their_keys() {
    for (table, expected) in [
        (json!({ "name": "a", "path": "/" }), "path: `/` is a folder"),
        (
            json!({ "name": "a", "path": "/a", "owner": "a:b" }),
            "owner: ",
        ),
        (
            json!({ "name": "a", "path": "/a", "member": "../x" }),
            "member: ",
        ),
        (
            json!({ "name": "a", "path": "/a", "member": "-rf" }),
            "member: ",
        ),
        (
            json!({ "name": "a", "path": "/a", "member": "bin/*" }),
            "member: ",
        ),
        (
            json!({ "name": "a", "path": "/a", "member": "bin/" }),
            "member: ",
        ),
    ] {
        let told = mistakes::<Artifact>(table);
        assert!(told.starts_with(expected), "{told}");
    }
}

#[test]
fn another_digest_is_another_plan() {
    let before = Wish::fingerprint_text(&wish(json!({})));
    assert!(before.contains(&sha256(b"the tool")), "{before}");
}
