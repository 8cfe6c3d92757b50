//! A team and its readers: added, removed, lost, recovered.

use super::*;

#[test]
fn a_team_shares_secrets_by_git_adds_and_removes_a_reader_and_recovers_with_the_recovery_key() {
    let world = World::new();
    let anna = project(&world);
    world.ok(&anna, &["secrets", "set", "k3s/token", "--generate=token"]);
    let token = world.get(&anna, "k3s/token", &[]);
    assert_eq!(token.len(), 43);
    assert_eq!(world.get(&anna, "db/password", &[]), PASSWORD.as_bytes());
    assert_eq!(world.get(&anna, "door/pin", &[]), PIN);
    world.git(&anna, &["init", "-q"]);
    commit(&world, &anna);

    // Bert clones, and cannot read.
    let bert = clone(&world, &anna, "bert");
    let (bert_key, bert_print) = key(&world, &bert);
    let (_, said) = world.run(&bert, &["-vvv", "secrets", "get", "db/password"], "", 2);
    assert!(
        said.contains("there is no identity that can open the secrets"),
        "{said}"
    );

    // Anna adds him: by a fingerprint that he names.
    let add = ["secrets", "recipients", "add", "bert", &bert_key];
    let (_, said) = world.run(&anna, &add, "", 2);
    assert!(
        said.contains("nobody said that this key is the right one"),
        "{said}"
    );
    let wrong = [&add[..], &["--fingerprint", "0123456789abcdef"]].concat();
    world.run(&anna, &wrong, "", 2);
    let right = [&add[..], &["--fingerprint", &bert_print]].concat();
    let said = world.ok(&anna, &right);
    assert!(
        said.contains("3 values from before, after `hmco-boot secrets rotate`"),
        "{said}"
    );
    let said = world.ok(&anna, &["secrets", "rotate", "--dry-run"]);
    assert!(
        said.contains("bert would gain 3 values:\n  db/password\n"),
        "{said}"
    );
    let said = world.ok(&anna, &["-vvv", "secrets", "rotate"]);
    assert!(
        said.contains("bert gains 3 values")
            && said.contains("3 values encrypted anew, for 3 readers"),
        "{said}"
    );
    commit(&world, &anna);
    world.git(&bert, &["pull", "-q"]);
    assert_eq!(world.get(&bert, "db/password", &[]), PASSWORD.as_bytes());
    assert_eq!(world.get(&bert, "k3s/token", &[]), token);

    // Bert sets one himself; the others' keys are new to his machine.
    let (_, said) = world.run(&bert, &["secrets", "set", "db/new"], "canary-of-bert\n", 2);
    assert!(
        said.contains("a reader's key was not approved on this machine")
            && said.contains("recipients approve"),
        "{said}"
    );
    for name in ["anna", "recovery"] {
        let (out, _) = world.run(
            &bert,
            &["secrets", "recipients", "list", "--output", "json"],
            "",
            0,
        );
        let rows = out
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let row = rows.into_iter().find(|row| row["name"] == name).unwrap();
        let print = row["fingerprint"].as_str().unwrap().to_owned();
        world.ok(
            &bert,
            &[
                "secrets",
                "recipients",
                "approve",
                name,
                "--fingerprint",
                &print,
            ],
        );
    }
    world.run(&bert, &["secrets", "set", "db/new"], "canary-of-bert\n", 0);
    commit(&world, &bert);
    let theirs = bert.project.display().to_string();
    world.git(&anna, &["pull", "-q", &theirs]);
    assert_eq!(world.get(&anna, "db/new", &[]), b"canary-of-bert");

    // Bert goes.
    let said = world.ok(&anna, &["secrets", "recipients", "remove", "bert"]);
    assert!(said.contains("`bert` still reads 4 values"), "{said}");
    let said = world.ok(&anna, &["-vvv", "secrets", "rotate"]);
    assert!(said.contains("`bert` could read these until now"), "{said}");
    for name in ["db/new", "db/password", "door/pin", "k3s/token"] {
        assert!(said.contains(name), "{name}: {said}");
    }
    commit(&world, &anna);
    world.git(&bert, &["pull", "-q"]);
    world.run(&bert, &["secrets", "get", "db/password"], "", 2);

    // Anna loses her machine. The drawer has the recovery key.
    let recovery = anna.home.join(".config/hmco-boot/recovery-work-anna.txt");
    let heir = clone(&world, &anna, "heir");
    let with = ["--identity", recovery.to_str().unwrap()];
    assert_eq!(world.get(&heir, "db/password", &with), PASSWORD.as_bytes());
    assert_eq!(world.get(&heir, "door/pin", &with), PIN);
    let said = world.ok(&heir, &[&["secrets", "check"], &with[..]].concat());
    assert!(said.contains("4 values open and are as sealed"), "{said}");

    // She makes herself a new identity, and it takes the place of the lost one.
    let (new_key, new_print) = key(&world, &heir);
    let replace = [
        "secrets",
        "recipients",
        "add",
        "anna",
        &new_key,
        "--replace",
    ];
    let replace = [&replace[..], &["--fingerprint", &new_print], &with].concat();
    world.ok(&heir, &replace);
    let said = world.ok(&heir, &[&["secrets", "rotate"], &with[..]].concat());
    assert!(said.contains("anna gains 4 values"), "{said}");
    assert_eq!(world.get(&heir, "k3s/token", &[]), token);
    commit(&world, &heir);
    let theirs = heir.project.display().to_string();
    world.git(&anna, &["pull", "-q", &theirs]);
    world.run(&anna, &["secrets", "get", "db/password"], "", 2);
    world.never_said(&[PASSWORD.as_bytes(), PIN, &token, b"canary-of-bert"]);
    assert!(world.plain().is_empty());
}

#[test]
fn identities_that_others_can_read_and_a_single_reader_are_said() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::new();
    let anna = project(&world);
    let identity = anna.home.join(".config/hmco-boot/identity.txt");
    fs::set_permissions(&identity, fs::Permissions::from_mode(0o644)).unwrap();
    let (_, err) = world.run(&anna, &["secrets", "get", "db/password"], "", 2);
    assert!(
        err.contains("others can read the identity") && err.contains("chmod 600"),
        "{err}"
    );
    fs::set_permissions(&identity, fs::Permissions::from_mode(0o600)).unwrap();
    let said = world.ok(&anna, &["secrets", "recipients", "remove", "recovery"]);
    assert!(said.contains("no recovery key reads the secrets"), "{said}");
    world.ok(&anna, &["secrets", "rotate"]);
    let said = world.ok(&anna, &["secrets", "check"]);
    assert!(said.contains("only one key reads the secrets"), "{said}");
    let (_, err) = world.run(&anna, &["secrets", "recipients", "remove", "anna"], "", 2);
    assert!(
        err.contains("nobody but the recovery key could read"),
        "{err}"
    );
}

/// Anna and Bert, who both read the secrets and have approved each other.
fn two(world: &World) -> (Person, Person) {
    let anna = project(world);
    world.git(&anna, &["init", "-q"]);
    commit(world, &anna);
    let bert = clone(world, &anna, "bert");
    let (key, print) = key(world, &bert);
    let add = ["secrets", "recipients", "add", "bert", &key];
    world.ok(&anna, &[&add[..], &["--fingerprint", &print]].concat());
    world.ok(&anna, &["secrets", "rotate"]);
    commit(world, &anna);
    world.git(&bert, &["pull", "-q"]);
    let list = ["secrets", "recipients", "list", "--output", "json"];
    let (out, _) = world.run(&bert, &list, "", 0);
    for row in out.lines().map(json) {
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        let approve = ["secrets", "recipients", "approve", &text("name")];
        let print = text("fingerprint");
        world.ok(&bert, &[&approve[..], &["--fingerprint", &print]].concat());
    }
    (anna, bert)
}

#[test]
fn what_two_people_wrote_is_merged_by_git_looked_at_and_sealed_again() {
    let world = World::new();
    let (anna, bert) = two(&world);
    world.run(&anna, &["secrets", "set", "a/one"], "canary-of-anna\n", 0);
    commit(&world, &anna);
    world.run(&bert, &["secrets", "set", "b/two"], "canary-of-bert\n", 0);
    commit(&world, &bert);
    let theirs = bert.project.display().to_string();
    world.git(&anna, &["pull", "-q", "--no-rebase", "--no-edit", &theirs]);

    // The seal is neither side's.
    let (_, err) = world.run(&anna, &["secrets", "check"], "", 1);
    assert!(err.contains("check --accept-merge"), "{err}");
    // Looking is not accepting.
    let accept = ["secrets", "check", "--accept-merge"];
    let (out, err) = world.run(&anna, &accept, "", 2);
    assert!(
        out.contains("added    b/two\n") && !out.contains("a/one"),
        "{out}"
    );
    assert!(
        err.contains("nobody said that what came in is right"),
        "{err}"
    );
    world.run(&anna, &["secrets", "check"], "", 1);

    let said = world.ok(&anna, &[&accept[..], &["--yes"]].concat());
    assert!(said.contains("sealed 4 values"), "{said}");
    let said = world.ok(&anna, &["secrets", "check"]);
    assert!(said.contains("4 values open and are as sealed"), "{said}");
    let said = world.ok(&anna, &accept);
    assert!(said.contains("there is nothing to accept"), "{said}");
    assert_eq!(world.get(&anna, "b/two", &[]), b"canary-of-bert");

    // Bert takes the merge as it is: sealed by somebody whose key reads.
    commit(&world, &anna);
    let ours = anna.project.display().to_string();
    world.git(&bert, &["pull", "-q", "--no-rebase", "--no-edit", &ours]);
    let said = world.ok(&bert, &["secrets", "check"]);
    assert!(said.contains("4 values open and are as sealed"), "{said}");
    assert_eq!(world.get(&bert, "a/one", &[]), b"canary-of-anna");
    world.never_said(&[
        PASSWORD.as_bytes(),
        PIN,
        b"canary-of-anna",
        b"canary-of-bert",
    ]);
}
