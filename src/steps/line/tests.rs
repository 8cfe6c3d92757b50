use serde_json::json;

use super::super::shared::given::was;
use super::super::shared::testing::{
    CANARY, Machine, assert_hidden, drift, lines, mistakes, refusal, secret, stat_of, wish,
};
use super::*;

const SSHD: &str = "# sshd\nPort 22\n#PermitRootLogin yes\nUsePAM yes\n";

fn root_login() -> Line {
    wish(
        json!({ "path": "/etc/ssh/sshd_config", "match": "^#?PermitRootLogin ", "line": "PermitRootLogin no" }),
    )
}

#[test]
fn the_matching_line_is_replaced_and_mode_and_owner_stay() {
    let mut machine = Machine::file(SSHD);
    machine.stat = machine.stat.map(|stat| FileStat {
        mode: 0o600,
        uid: 7,
        ..stat
    });
    let (diff, actions) = drift(machine.decide(&root_login()).1);
    insta::assert_snapshot!(lines(&diff), @r"
     @@ line 1 @@
     # sshd
     Port 22
    -#PermitRootLogin yes
    +PermitRootLogin no
     UsePAM yes
    ");
    let [
        Action::WriteFile {
            content,
            mode,
            owner,
            replaces,
            ..
        },
    ] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!(
        content.expose(),
        SSHD.replace("#PermitRootLogin yes", "PermitRootLogin no")
    );
    assert_eq!(
        (*mode, owner.user.as_deref(), owner.group.as_deref()),
        (Mode(0o600), Some("7"), Some("0"))
    );
    assert_eq!(*replaces, was(SSHD));
    assert_eq!(
        Machine::file(content.expose()).decide(&root_login()).1,
        Decision::Unchanged
    );
}

#[test]
fn several_matches_and_a_missing_anchor_are_refused_with_their_lines() {
    let twice = format!("{SSHD}PermitRootLogin yes\n");
    insta::assert_snapshot!(refusal(Machine::file(twice).decide(&root_login()).1), @r"
    /etc/ssh/sshd_config: `match` fits 2 lines, so it is not clear which one is meant
      lines 3, 5
    hint: make `match` fit one line only, or set `all = true` to replace them all
    ");
    let after = wish::<Line>(json!({ "path": "/etc/fstab", "line": "x", "after": "^/dev/sda" }));
    insta::assert_snapshot!(refusal(Machine::file("y\n").decide(&after).1), @r#"
    /etc/fstab: no line matches `after`, so there is no place for the new line
      after = "^/dev/sda"
    hint: correct `after`, or leave it out to add the line at the end
    "#);
}

#[test]
fn a_missing_file_is_refused_or_made() {
    let strict = wish::<Line>(json!({ "path": "/etc/a", "line": "x" }));
    insta::assert_snapshot!(refusal(Machine::empty().decide(&strict).1), @r"
    there is no file /etc/a
    hint: set `create = true` to make it
    ");
    let making = wish::<Line>(
        json!({ "path": "/etc/a", "line": "x", "create": true, "after": "nothing yet" }),
    );
    let (diff, actions) = drift(Machine::empty().decide(&making).1);
    insta::assert_snapshot!(lines(&diff), @r"
    +new file, mode 0644
    +x
    ");
    assert!(
        matches!(&actions[..], [Action::WriteFile { content, mode: Mode(0o644), .. }] if content.expose() == "x\n")
    );
    let gone = wish::<Line>(json!({ "path": "/etc/a", "line": "x", "state": "absent" }));
    assert_eq!(Machine::empty().decide(&gone).1, Decision::Unchanged);
}

#[test]
fn what_is_no_editable_text_is_refused() {
    let wish = wish::<Line>(json!({ "path": "/etc/a", "line": "x" }));
    insta::assert_snapshot!(refusal(Machine::file(b"\xff\n").decide(&wish).1), @r"
    /etc/a is no UTF-8 text
    hint: lines are edited in UTF-8 text only: write the whole file with a `file` step, or use `command`
    ");
    insta::assert_snapshot!(refusal(Machine::file("x\n".repeat(600_000)).decide(&wish).1), @r"
    /etc/a has 1200000 bytes; lines are edited in files up to 1 MiB
    hint: write the whole file with a `file` step
    ");
    insta::assert_snapshot!(refusal(Machine::with(stat_of(FileKind::Symlink)).decide(&wish).1), @r#"
    /etc/a is a symbolic link, not a file
      it leads to /elsewhere
    hint: name what it leads to, or remove it with a `link` step with `state = "absent"`
    "#);
}

#[test]
fn removed_lines_are_shown() {
    let gone = wish::<Line>(
        json!({ "path": "/etc/a", "match": "^#?PermitRoot", "state": "absent", "backup": true }),
    );
    let (diff, actions) = drift(Machine::file(SSHD).decide(&gone).1);
    insta::assert_snapshot!(lines(&diff), @r"
     @@ line 1 @@
     # sshd
     Port 22
    -#PermitRootLogin yes
     UsePAM yes
    ");
    assert!(matches!(
        &actions[..],
        [Action::WriteFile { backup: true, .. }]
    ));
}

#[test]
fn a_secret_line_and_the_file_around_it_are_shown_nowhere() {
    let tainted = json!({ "path": "/etc/app.conf", "line": secret(&format!("password={CANARY}")), "match": "^password=" });
    let plain = json!({ "path": "/srv/app/.env", "line": "A=1" });
    for wish in [wish::<Line>(tainted), wish::<Line>(plain)] {
        let machine = Machine::file(format!("password={CANARY}-old\n"));
        let (store, decision) = machine.decide(&wish);
        assert_hidden(&wish, &store, &decision);
        assert!(format!("{store:?}").contains("sensitive: true"));
        let (diff, actions) = drift(decision);
        assert_eq!(
            lines(&diff),
            " the line differs (not shown: it may hold a secret)"
        );
        assert!(
            matches!(&actions[..], [Action::WriteFile { content, .. }] if content.is_tainted())
        );
    }
    let made = wish::<Line>(json!({ "path": "/etc/a", "line": secret(CANARY), "create": true }));
    let (_, actions) = drift(Machine::empty().decide(&made).1);
    assert!(matches!(
        &actions[..],
        [Action::WriteFile {
            mode: Mode(0o600),
            ..
        }]
    ));
}

#[test]
fn a_pattern_that_does_not_match_its_own_line_is_a_mistake_that_shows_no_secret() {
    let told = mistakes::<Line>(json!({ "path": "/a", "line": secret(CANARY), "match": "^#x" }));
    assert!(
        told.starts_with("match: `match` must match `line` too"),
        "{told}"
    );
    assert!(!told.contains(CANARY));
}

#[test]
fn mistakes_name_their_keys() {
    for (table, expected) in [
        (json!({ "path": "/a" }), "line: which line?"),
        (
            json!({ "path": "/a", "state": "absent" }),
            "line: which lines shall go?",
        ),
        (
            json!({ "path": "/a", "line": "" }),
            "line: the line is empty",
        ),
        (
            json!({ "path": "/a", "line": "a\n" }),
            "line: a line holds no line break",
        ),
        (
            json!({ "path": "/a", "line": "a", "match": "(" }),
            "match: \"(\" is not a regular expression: ",
        ),
        (
            json!({ "path": "/a", "line": "a", "after": "" }),
            "after: an empty pattern matches every line",
        ),
        (
            json!({ "path": "/a", "line": "a", "all": true }),
            "all: `all` belongs to `match`",
        ),
        (
            json!({ "path": "/a", "line": "a", "after": "b", "before": "c" }),
            "before: a line has one place",
        ),
        (
            json!({ "path": "/a", "line": "a", "mode": "0600" }),
            "mode: `mode` is for a file that",
        ),
        (json!({ "path": "/", "line": "a" }), "path: `/` is a folder"),
    ] {
        let told = mistakes::<Line>(table);
        assert!(told.starts_with(expected), "{told}");
    }
}
