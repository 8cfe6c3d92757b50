use serde_json::json;

use super::super::shared::given::{Given, written};
use super::super::shared::testing::{drift, lines, mistakes, refusal, wish};
use super::*;
use crate::facts::fact::{FactValue, Login};

const BODY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
const OTHER: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ== bob@desk";
const FILE: &str = "/home/pi/.ssh/authorized_keys";

fn pi() -> Given {
    let account = Account {
        uid: 1000,
        gid: 1000,
        home: "/home/pi".to_owned(),
        ..Account::default()
    };
    Given::pi().folder("/home/pi").fact(
        Fact::Account {
            name: "pi".to_owned(),
        },
        FactValue::Account(account),
    )
}

fn with_keys(text: &str) -> Given {
    pi().folder("/home/pi/.ssh")
        .with("/home/pi/.ssh", |stat| {
            (stat.uid, stat.mode) = (1000, 0o700)
        })
        .file(FILE, text)
        .with(FILE, |stat| (stat.uid, stat.mode) = (1000, 0o600))
}

fn key(more: serde_json::Value) -> AuthorizedKey {
    let mut table = json!({ "user": "pi", "key": format!("ssh-ed25519 {BODY} anna@desk") });
    table
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    wish(table)
}

#[test]
fn the_folder_and_the_file_are_made_as_sshd_wants_them() {
    let (diff, actions) = drift(pi().decide(&key(json!({}))));
    insta::assert_snapshot!(lines(&diff), @r"
    +/home/pi/.ssh, mode 0700, owner pi
     /home/pi/.ssh/authorized_keys, mode 0600, owner pi
     @@ line 1 @@
    +ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f anna@desk
    ");
    let [
        Action::MakeDirectory { owner, .. },
        Action::WriteFile {
            owner: of_file,
            mode,
            ..
        },
    ] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!((owner, *mode), (of_file, Mode(0o600)));
    assert_eq!(owner.user.as_deref(), Some("1000"));
    with_keys(&written(&actions, FILE).unwrap()).assert_converged(&key(json!({})));
}

#[test]
fn other_keys_stay_and_the_same_key_gets_its_options_in_its_place() {
    let old = format!("# keys\nfrom=\"10.0.0.1 x\",no-pty ssh-ed25519 {BODY} old\n{OTHER}");
    let (_, actions) = drift(with_keys(&old).decide(&key(json!({ "options": ["no-pty"] }))));
    assert_eq!(
        written(&actions, FILE).unwrap(),
        format!("# keys\nno-pty ssh-ed25519 {BODY} anna@desk\n{OTHER}\n")
    );
}

#[test]
fn only_exclusive_removes_other_keys() {
    let old = format!("{OTHER}\n# note\nssh-ed25519 {BODY} anna@desk\n");
    with_keys(&old).assert_converged(&key(json!({})));
    let (_, actions) = drift(with_keys(&old).decide(&key(json!({ "exclusive": true }))));
    assert_eq!(
        written(&actions, FILE).unwrap(),
        format!("# note\nssh-ed25519 {BODY} anna@desk\n")
    );
}

#[test]
fn a_key_that_shall_be_gone_goes_and_a_file_that_others_may_write_is_made_safe() {
    let old = format!("{OTHER}\nno-pty ssh-ed25519 {BODY}\n");
    let (_, actions) = drift(with_keys(&old).decide(&key(json!({ "state": "absent" }))));
    assert_eq!(written(&actions, FILE).unwrap(), format!("{OTHER}\n"));
    with_keys(OTHER).assert_converged(&key(json!({ "state": "absent" })));
    let open =
        with_keys(&format!("ssh-ed25519 {BODY} anna@desk\n")).with(FILE, |stat| stat.mode = 0o664);
    drift(open.decide(&key(json!({}))));
}

#[test]
fn a_missing_user_a_home_elsewhere_and_a_linked_file_are_refused() {
    let told = refusal(Given::pi().decide(&key(json!({}))));
    assert!(told.contains("make it with a `user` step"), "{told}");
    let told = refusal(pi().decide(&key(json!({ "home": "/srv/pi" }))));
    assert!(
        told.contains("say so in the step: `home = \"/home/pi\"`"),
        "{told}"
    );
    let linked = with_keys("").with(FILE, |stat| stat.kind = FileKind::Symlink);
    assert!(refusal(linked.decide(&key(json!({})))).contains("symbolic link"));
    Given::pi().assert_converged(&key(json!({ "state": "absent" })));
}

#[test]
fn mistakes_are_told() {
    let told = |key: &str| mistakes::<AuthorizedKey>(json!({ "user": "pi", "key": key }));
    assert!(told("-----BEGIN OPENSSH PRIVATE KEY-----\nx").contains("that is a private key"));
    assert!(told(&format!("no-pty ssh-ed25519 {BODY}")).contains("go into `options`"));
    for bad in [
        "",
        "ssh-ed25519",
        "ssh-ed25519 AAAA",
        &format!("ssh-rsa {BODY}"),
        "ssh-ed25519 !!",
    ] {
        assert!(told(bad).contains("not a public key"), "{bad}");
    }
    let options = json!({ "user": "pi", "key": format!("ssh-ed25519 {BODY}"), "options": ["a b", "from=\"x y, z\""] });
    assert_eq!(mistakes::<AuthorizedKey>(options).lines().count(), 1);
}

fn logged_in(given: Given, user: &str, key: Option<&str>) -> Given {
    let login = Login {
        user: user.to_owned(),
        key: key.map(str::to_owned),
    };
    given.fact(Fact::Login, FactValue::Login(login))
}

#[test]
fn the_key_that_hmco_boot_logged_in_with_is_neither_removed_nor_restricted() {
    let own = format!("ssh-ed25519 {BODY}");
    let both = format!("{OTHER}\n{own} anna@desk\n");
    let other = |more: serde_json::Value| {
        let mut table = json!({ "user": "pi", "key": OTHER });
        table
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        wish::<AuthorizedKey>(table)
    };
    for bad in [
        other(json!({ "exclusive": true })),
        key(json!({ "state": "absent" })),
        key(json!({ "options": ["from=\"10.0.0.1\""] })),
    ] {
        let told = refusal(logged_in(with_keys(&both), "pi", Some(&own)).decide(&bad));
        assert!(
            told.contains("the key that hmco-boot is using for pi"),
            "{told}"
        );
        assert!(told.contains("log in with the new key first"), "{told}");
        // Another user's, another key, and no key at all (a certificate) are not in the way.
        for (user, key) in [
            ("root", Some(own.as_str())),
            ("pi", Some("ssh-ed25519 AAAAother")),
            ("pi", None),
        ] {
            drift(logged_in(with_keys(&both), user, key).decide(&bad));
        }
    }
    let login = |text: &str| logged_in(with_keys(text), "pi", Some(&own));
    drift(login(&both).decide(&key(json!({ "exclusive": true }))));
    drift(login(&both).decide(&other(json!({ "state": "absent" }))));
    // It came in by another file, or by a line that stays as it is.
    drift(login(OTHER).decide(&other(json!({ "options": ["no-pty"] }))));
    let restricted = format!("from=\"10.0.0.1, x\" {own} a\n{OTHER}\n");
    let same = key(json!({ "options": ["from=\"10.0.0.1, x\""], "exclusive": true }));
    drift(login(&restricted).decide(&same));
    drift(login(&restricted).decide(&key(json!({}))));
    // Which of two lines let it in is not known.
    refusal(login(&format!("{restricted}{own}\n")).decide(&same));
}

#[test]
fn options_end_where_the_key_begins() {
    let own = format!("ssh-ed25519 {BODY}");
    for (before, options) in [
        ("", ""),
        ("  no-pty ", "no-pty"),
        (
            "command=\"x ssh-ed25519 y\" ",
            "command=\"x ssh-ed25519 y\"",
        ),
    ] {
        let line = format!("{before}{own} {own}");
        assert_eq!(key::options_of(&line), options, "{line}");
    }
}
