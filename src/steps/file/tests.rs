use serde_json::json;

use super::super::shared::testing::{
    CANARY, Machine, assert_hidden, drift, file_stat, lines, mistakes, refusal, secret, stat_of,
    wish,
};
use super::*;

fn motd() -> File {
    wish(json!({ "path": "/etc/motd", "content": "welcome\nto pi5-01\n" }))
}

#[test]
fn a_file_as_wished_is_unchanged_after_one_round() {
    let (store, decision) = Machine::file("welcome\nto pi5-01\n").decide(&motd());
    assert_eq!(decision, Decision::Unchanged);
    let target = super::super::shared::testing::target();
    assert!(
        store.get(&target, &motd().content_fact()).is_none(),
        "no content is read to find that nothing differs"
    );
}

#[test]
fn a_missing_file_is_written_and_shown_whole() {
    let (diff, actions) = drift(Machine::empty().decide(&motd()).1);
    insta::assert_snapshot!(lines(&diff), @r"
    +new file, mode 0644
    +welcome
    +to pi5-01
    ");
    let [
        Action::WriteFile {
            content,
            mode,
            owner,
            backup,
            ..
        },
    ] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!(content.expose(), "welcome\nto pi5-01\n");
    assert_eq!(
        (*mode, owner, *backup),
        (Mode(0o644), &Default::default(), false)
    );
}

#[test]
fn another_content_is_shown_as_a_difference_and_the_owner_stays() {
    let mut machine = Machine::file("welcome\nto pi4\n");
    machine.stat = machine.stat.map(|stat| FileStat {
        uid: 1000,
        user: "pi".to_owned(),
        mode: 0o600,
        ..stat
    });
    let (diff, actions) = drift(machine.decide(&motd()).1);
    insta::assert_snapshot!(lines(&diff), @r"
     mode 0600 -> 0644
     @@ line 1 @@
     welcome
    -to pi4
    +to pi5-01
    ");
    let [Action::WriteFile { owner, .. }] = &actions[..] else {
        panic!("{actions:?}")
    };
    assert_eq!(
        owner.user.as_deref(),
        Some("1000"),
        "by number: the name may not be known on another machine"
    );
}

#[test]
fn where_only_attributes_differ_the_file_is_not_written_again() {
    let wish = wish::<File>(json!({ "path": "/a", "content": "x", "mode": "0600", "owner": "pi" }));
    let (diff, actions) = drift(Machine::file("x").decide(&wish).1);
    insta::assert_snapshot!(lines(&diff), @r"
    mode 0644 -> 0600
    owner root -> pi
    ");
    assert!(matches!(
        &actions[..],
        [Action::SetAttributes {
            mode: Some(Mode(0o600)),
            ..
        }]
    ));
}

#[test]
fn a_link_is_replaced_and_its_text_shown() {
    let (diff, actions) = drift(Machine::with(stat_of(FileKind::Symlink)).decide(&motd()).1);
    insta::assert_snapshot!(lines(&diff), @r"
    -link to /elsewhere
    +new file, mode 0644
    +welcome
    +to pi5-01
    ");
    assert!(matches!(&actions[..], [Action::WriteFile { .. }]));
}

#[test]
fn a_folder_or_a_device_in_the_way_is_refused() {
    insta::assert_snapshot!(refusal(Machine::with(stat_of(FileKind::Directory)).decide(&motd()).1), @r#"
    /etc/motd is a folder, not a file
    hint: remove it first with a `directory` step with `state = "absent"` and `recursive = true`, if that is meant
    "#);
    insta::assert_snapshot!(refusal(Machine::with(stat_of(FileKind::Special)).decide(&motd()).1), @r"
    /etc/motd is a device, socket or FIFO, not a file
    hint: look at what made it; it is not removed for you
    ");
}

#[test]
fn a_file_that_is_only_made_keeps_its_content_but_takes_the_attributes_that_are_written_down() {
    let table = json!({ "path": "/a", "content": "new", "replace": false });
    let made = wish::<File>(table);
    let mut machine = Machine::file("edited by hand");
    machine.stat = machine.stat.map(|stat| FileStat {
        mode: 0o640,
        ..stat
    });
    assert_eq!(machine.decide(&made).1, Decision::Unchanged);
    assert_eq!(
        Machine::with(stat_of(FileKind::Symlink)).decide(&made).1,
        Decision::Unchanged
    );
    assert!(matches!(
        Machine::empty().decide(&made).1,
        Decision::Drift { .. }
    ));
    let strict =
        wish::<File>(json!({ "path": "/a", "content": "new", "replace": false, "mode": "0600" }));
    let (_, actions) = drift(machine.decide(&strict).1);
    assert!(matches!(&actions[..], [Action::SetAttributes { .. }]));
}

#[test]
fn a_secret_is_shown_nowhere_and_the_old_content_is_not_even_read() {
    let wish = wish::<File>(
        json!({ "path": "/etc/app.conf", "content": secret(&format!("password={CANARY}\n")) }),
    );
    for machine in [
        Machine::empty(),
        Machine::file(format!("password={CANARY}-old\n")),
    ] {
        let (store, decision) = machine.decide(&wish);
        assert_hidden(&wish, &store, &decision);
        let (diff, actions) = drift(decision);
        assert!(lines(&diff).contains("not shown: it may hold a secret"));
        assert!(
            matches!(&actions[..], [Action::WriteFile { mode: Mode(0o600), content, .. }] if content.is_tainted())
        );
        assert!(!format!("{store:?}").contains("Content"), "{store:?}");
    }
    let (store, _) = Machine::file("x").decide(&wish);
    assert!(format!("{store:?}").contains("uncached: true"), "{store:?}");
}

#[test]
fn what_lies_in_a_sensitive_place_is_not_shown_even_where_the_wish_is_no_secret() {
    let wish = wish::<File>(json!({ "path": "/etc/rancher/node/token", "content": "x\n" }));
    let (store, decision) = Machine::file(CANARY).decide(&wish);
    assert_hidden(&wish, &store, &decision);
    insta::assert_snapshot!(lines(&drift(decision).0), @" content differs (not shown: it may hold a secret)");
}

#[test]
fn what_is_large_or_no_text_is_told_in_words() {
    let large = Machine::file("x".repeat(100_000));
    insta::assert_snapshot!(lines(&drift(large.decide(&motd()).1).0), @" content differs (not shown: large, or not readable)");
    let binary = Machine::file(b"\x7fELF\xff\0");
    insta::assert_snapshot!(lines(&drift(binary.decide(&motd()).1).0), @" content differs (not shown: no UTF-8 text; 6 bytes -> 18 bytes)");
}

#[test]
fn other_names_of_the_same_file_are_told_of() {
    let mut machine = Machine::file("welcome\n");
    machine.stat = machine.stat.map(|stat| FileStat { links: 2, ..stat });
    insta::assert_snapshot!(lines(&drift(machine.decide(&motd()).1).0), @r"
     the file has 2 names (hard links); only this one gets the new content
     @@ line 1 @@
     welcome
    +to pi5-01
    ");
}

#[test]
fn absent_removes_files_and_links_and_nothing_else() {
    let gone = wish::<File>(json!({ "path": "/a", "state": "absent", "content": "ignored" }));
    assert_eq!(Machine::empty().decide(&gone).1, Decision::Unchanged);
    for stat in [file_stat(), stat_of(FileKind::Symlink)] {
        let (_, actions) = drift(Machine::with(stat).decide(&gone).1);
        assert!(matches!(
            &actions[..],
            [Action::Remove {
                recursive: false,
                ..
            }]
        ));
    }
    insta::assert_snapshot!(refusal(Machine::with(stat_of(FileKind::Directory)).decide(&gone).1), @r#"
    /a is a folder, not a file
    hint: remove it first with a `directory` step with `state = "absent"` and `recursive = true`, if that is meant
    "#);
}

#[test]
fn a_digest_that_could_not_be_read_is_an_error_and_not_a_difference() {
    use crate::facts::fact::FactError;
    let target = super::super::shared::testing::target();
    let mut store = crate::facts::known::Store::default();
    let stat = crate::facts::fact::FactValue::Stat(file_stat());
    store.insert(
        &target,
        [
            (motd().stat_fact(), Ok(stat)),
            (motd().digest_fact(), Err(FactError::Denied)),
        ],
    );
    let error = Kind::decide(&motd(), &store.view(&target)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "could not read sha256 of /etc/motd on pi5-01"
    );
}

#[test]
fn mistakes_name_their_keys() {
    insta::assert_snapshot!(mistakes::<File>(json!({ "path": "/", "group": "a b" })), @r#"
    group: "a b" is not a name or number of a user or group
    content: a file needs its `content` ("" for an empty one), or `state = "absent"`
    path: `/` is a folder
    "#);
}

#[test]
fn it_touches_its_path_and_the_backup_it_keeps() {
    let touches = |table| Kind::touches(&wish::<File>(table));
    let stat = |text| Fact::Stat {
        path: super::super::shared::testing::path(text),
    };
    let plain = touches(json!({ "path": "/etc/a", "content": "" }));
    assert!(plain.intersects(&stat("/etc/a")) && !plain.intersects(&stat("/etc/a.hmco-boot-old")));
    let kept = touches(json!({ "path": "/etc/a", "content": "", "backup": true }));
    assert!(kept.intersects(&stat("/etc/a.hmco-boot-old")) && !kept.intersects(&stat("/etc/b")));
}
