//! Values: set, listed, removed.

use super::*;

#[test]
fn a_list_says_age_readers_and_uses_and_what_is_used_and_missing() {
    let world = World::new();
    let anna = project(&world);
    fs::write(
        anna.project.join("playbooks/db.toml"),
        "title = \"Database\"\n\n[[step]]\nid = \"conf\"\non = \"all\"\n[step.file]\npath = \"/etc/db\"\nmode = \"0600\"\n\
         content = \"password={{ secret('db/password') }}\\n\"\n\n[[step]]\nid = \"key\"\non = \"all\"\n[step.file]\n\
         path = \"/etc/key\"\nmode = \"0600\"\ncontent = { secret = \"db/pasword\" }\n",
    )
    .unwrap();
    let (out, err) = world.run(&anna, &["secrets", "list"], "", 0);
    let lines: Vec<Vec<&str>> = out
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines[0], ["SECRET", "AGE", "READERS", "USED"]);
    assert_eq!(
        lines[1],
        [
            "db/password",
            "today",
            "anna,",
            "recovery",
            "playbooks/db.toml:9"
        ]
    );
    assert_eq!(
        lines[2],
        ["door/pin", "today", "anna,", "recovery", "nowhere"]
    );
    assert!(
        err.contains("playbooks/db.toml:17 uses the secret db/pasword, which is not there"),
        "{err}"
    );
    assert!(err.contains("did you mean `db/password`?"), "{err}");
    let (out, _) = world.run(
        &anna,
        &["secrets", "list", "--unused", "--output", "json"],
        "",
        0,
    );
    assert_eq!(json(&out)["name"], "door/pin");
    assert_eq!(out.lines().count(), 1);

    // What is used is not removed unasked.
    let (_, err) = world.run(&anna, &["secrets", "remove", "db/password"], "", 2);
    assert!(
        err.contains("db/password is used: playbooks/db.toml:9"),
        "{err}"
    );
    world.ok(&anna, &["secrets", "remove", "db/password", "--force"]);
    let (_, err) = world.run(&anna, &["secrets", "get", "door/pn"], "", 2);
    assert!(err.contains("did you mean \"door/pin\"?"), "{err}");
}

#[test]
fn set_takes_a_line_without_its_newline_several_lines_exactly_and_never_an_argument() {
    let world = World::new();
    let anna = project(&world);
    for (given, kept) in [
        ("one line\n", "one line"),
        ("one line\r\n", "one line"),
        ("no newline", "no newline"),
        ("two\nlines\n", "two\nlines\n"),
        ("\n\n", "\n\n"),
    ] {
        world.run(&anna, &["secrets", "set", "a/b"], given, 0);
        assert_eq!(world.get(&anna, "a/b", &[]), kept.as_bytes(), "{given:?}");
    }
    world.run(
        &anna,
        &["secrets", "set", "a/b", "--from-file", "-"],
        "one line\n",
        0,
    );
    assert_eq!(world.get(&anna, "a/b", &[]), b"one line\n");
    let (_, err) = world.run(&anna, &["secrets", "set", "a/b"], "short\n", 0);
    assert!(
        err.contains("replaced a/b") && err.contains("fewer than 8 characters"),
        "{err}"
    );
    let (_, err) = world.run(&anna, &["secrets", "set", "a/b"], "\n", 2);
    assert!(err.contains("an empty value is no secret"), "{err}");
    world.run(&anna, &["secrets", "set", "a/b", "value-in-argv"], "", 2);
    let (_, err) = world.run(&anna, &["secrets", "set", "A/b"], "x\n", 2);
    assert!(err.contains("is not a name of a secret"), "{err}");
    let (out, _) = world.run(
        &anna,
        &["secrets", "set", "ssh/key", "--generate=ssh-ed25519"],
        "",
        0,
    );
    assert!(out.starts_with("ssh-ed25519 AAAA"), "{out}");
    let (_, err) = world.run(
        &anna,
        &[
            "secrets",
            "set",
            "a/pin",
            "--generate",
            "--length",
            "4",
            "--charset",
            "digits",
        ],
        "",
        0,
    );
    assert!(err.contains("only 13 bits"), "{err}");
    let (out, _) = world.run(
        &anna,
        &["secrets", "get", "ssh/key", "--output", "json"],
        "",
        0,
    );
    assert!(
        json(&out)["value"]
            .as_str()
            .unwrap()
            .starts_with("-----BEGIN OPENSSH PRIVATE KEY-----")
    );
}
