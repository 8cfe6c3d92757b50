//! The commands of `hmco-boot secrets` as people use them: the real command, real git, real editors, a real terminal.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests start the real command and read its files"
)]

#[path = "secrets_cli/world.rs"]
mod world;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use world::{Person, World};

const PASSWORD: &str = "canary-Tr0ub4dor-x9Kq";
const PIN: &[u8] = b"\x00\x01canary-binary\xff\xfe";

/// Somebody with a project of two secrets.
fn project(world: &World) -> Person {
    let anna = world.person("anna");
    world.ok(&anna, &["init"]);
    world.run(
        &anna,
        &["-vvv", "secrets", "set", "db/password"],
        &format!("{PASSWORD}\n"),
        0,
    );
    fs::write(world.path("pin"), PIN).unwrap();
    let pin = world.path("pin");
    world.ok(
        &anna,
        &[
            "-vvv",
            "secrets",
            "set",
            "door/pin",
            "--from-file",
            pin.to_str().unwrap(),
        ],
    );
    anna
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text.lines().next().unwrap()).unwrap()
}

/// Somebody else's public key and its fingerprint.
fn key(world: &World, who: &Person) -> (String, String) {
    world.ok(who, &["secrets", "init"]);
    let (out, _) = world.run(who, &["secrets", "identity", "--output", "json"], "", 0);
    let row = json(&out);
    let text = |name: &str| row[name].as_str().unwrap().to_owned();
    (text("key"), text("fingerprint"))
}

fn clone(world: &World, from: &Person, name: &str) -> Person {
    let person = world.person(name);
    fs::remove_dir(&person.project).unwrap();
    let to = person.project.display().to_string();
    world.git(from, &["clone", "-q", ".", &to]);
    person
}

fn commit(world: &World, who: &Person) {
    world.git(who, &["add", "-A"]);
    world.git(who, &["commit", "-q", "-m", "x"]);
}

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
    assert!(said.contains("could read these until now"), "{said}");
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
    world.never_said(&[PASSWORD.as_bytes(), PIN, &token, b"canary-of-bert"]);
    assert!(world.plain().is_empty());
}

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

#[test]
fn an_edit_encrypts_only_what_changed_and_leaves_no_plaintext() {
    let world = World::new();
    let anna = project(&world);
    world.run(
        &anna,
        &["secrets", "set", "db/other"],
        "stays-as-it-is\n",
        0,
    );
    let file = anna.project.join("secrets/db.toml");
    let before = fs::read_to_string(&file).unwrap();
    let seen = world.path("seen");
    // It also looks at what every process on the machine was started with, as anybody here could.
    let script = format!(
        "cat /proc/[0-9]*/cmdline > {0}/argv 2>/dev/null; ls -ldn \"$1\" \"$(dirname \"$1\")\" > {0}/modes\n\
         cp \"$1\" {0}/text; sed -i 's/{PASSWORD}/canary-changed-value/' \"$1\"; echo 'added = \"canary-added\"' >> \"$1\"",
        seen.display()
    );
    fs::create_dir(&seen).unwrap();
    let editor = world.editor("editor", &script);
    let mut command = world.command(&anna, &["-vvv", "secrets", "edit", "db"]);
    command.env("EDITOR", &editor);
    let output = world.speak(command, b"");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("set db/added\n") && said.contains("replaced db/password\n"),
        "{said}"
    );
    assert!(!said.contains("db/other"), "{said}");
    assert_eq!(
        world.get(&anna, "db/password", &[]),
        b"canary-changed-value"
    );
    assert_eq!(world.get(&anna, "db/added", &[]), b"canary-added");
    let text = fs::read_to_string(seen.join("text")).unwrap();
    assert!(
        text.contains(&format!("password = \"{PASSWORD}\"")),
        "{text}"
    );
    let modes = fs::read_to_string(seen.join("modes")).unwrap();
    assert!(
        modes
            .lines()
            .all(|line| line.starts_with("-rw-------") || line.starts_with("drwx------")),
        "{modes}"
    );
    let argv = fs::read(seen.join("argv")).unwrap();
    assert!(
        argv.windows(9).any(|window| window == b"hmco-boot")
            && !argv.windows(12).any(|window| window == b"canary-Tr0ub")
    );
    // The value that was not touched is the same ciphertext.
    let after = fs::read_to_string(&file).unwrap();
    let part = |text: &str| {
        let from = text.find("other = ").unwrap();
        let end = text[from..].find("END AGE").unwrap();
        text[from..from + end].to_owned()
    };
    assert_eq!(part(&before), part(&after));
    assert!(world.plain().is_empty());
    world.never_said(&[
        PASSWORD.as_bytes(),
        b"canary-changed-value",
        b"canary-added",
    ]);
}

#[test]
fn an_edit_that_fails_changes_nothing() {
    let world = World::new();
    let anna = project(&world);
    let file = anna.project.join("secrets/db.toml");
    let before = fs::read(&file).unwrap();
    for (script, exit, words) in [
        ("exit 3", 1, "ended with status 3: nothing was changed"),
        (":", 0, "nothing was changed"),
        ("echo 'broken canary' >> \"$1\"", 2, "this is no TOML"),
        ("echo 'n = 5' >> \"$1\"", 2, "db/n is no string"),
        ("rm \"$1\"", 1, "the text in memory is gone"),
        ("kill -9 $$", 1, "ended with status 137"),
    ] {
        let mut command = world.command(&anna, &["secrets", "edit", "db.toml"]);
        command
            .env("VISUAL", world.editor("editor", script))
            .env("EDITOR", "false");
        let output = world.speak(command, b"");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(exit), "{script}: {said}");
        assert!(said.contains(words), "{script}: {said}");
        assert_eq!(fs::read(&file).unwrap(), before, "{script}");
        assert!(world.plain().is_empty(), "{script}");
    }
    world.never_said(&[PASSWORD.as_bytes(), b"broken canary"]);
    let (_, err) = world.run(&anna, &["secrets", "edit"], "", 2);
    assert!(
        err.contains("name one: hmco-boot secrets edit db|door"),
        "{err}"
    );
}

/// Waits until something holds.
fn wait_for(what: &str, mut ready: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !ready() {
        assert!(Instant::now() < end, "waited for {what} in vain");
        std::thread::yield_now();
    }
}

/// An edit whose editor waits; its process group is its own, as at a terminal.
fn editing(world: &World, who: &Person) -> std::process::Child {
    let there = world.path("there");
    fs::remove_file(&there).ok();
    let editor = world.editor(
        "waits",
        &format!("touch {}; exec sleep 1000", there.display()),
    );
    let mut command = world.command(who, &["secrets", "edit", "db"]);
    command
        .env("EDITOR", editor)
        .process_group(0)
        .stdout(Stdio::null());
    let child = command.spawn().unwrap();
    wait_for("the editor", || there.exists());
    child
}

#[test]
fn a_kill_in_the_middle_of_an_edit_leaves_plaintext_until_the_next_start_only() {
    let world = World::new();
    let anna = project(&world);
    let before = fs::read(anna.project.join("secrets/db.toml")).unwrap();
    let mut child = editing(&world, &anna);
    let group = Pid::from_child(&child);
    kill_process(group, Signal::KILL).unwrap();
    child.wait().unwrap();
    assert_eq!(world.plain().len(), 1);
    world.ok(&anna, &["secrets", "list"]);
    assert!(world.plain().is_empty(), "{:?}", world.plain());
    assert_eq!(
        fs::read(anna.project.join("secrets/db.toml")).unwrap(),
        before
    );
    kill_process_group(group, Signal::KILL).ok();
    // Nothing is locked either.
    world.run(
        &anna,
        &["secrets", "set", "db/password"],
        "another-value\n",
        0,
    );
}

#[test]
fn an_interrupted_edit_clears_away_and_changes_nothing() {
    let world = World::new();
    let anna = project(&world);
    let before = fs::read(anna.project.join("secrets/db.toml")).unwrap();
    // Ctrl-C at a terminal goes to the editor too; a closed terminal or a service manager tells us alone.
    for (signal, to_all, exit) in [
        (Signal::INT, true, 1),
        (Signal::TERM, false, 130),
        (Signal::HUP, false, 130),
    ] {
        let child = editing(&world, &anna);
        let group = Pid::from_child(&child);
        if to_all {
            kill_process_group(group, signal).unwrap();
        } else {
            kill_process(group, signal).unwrap();
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(exit), "{signal:?}: {said}");
        assert!(said.contains("nothing was changed"), "{said}");
        assert!(world.plain().is_empty(), "{signal:?}");
    }
    assert_eq!(
        fs::read(anna.project.join("secrets/db.toml")).unwrap(),
        before
    );
}

#[test]
fn without_a_place_in_memory_nothing_is_edited() {
    let world = World::new();
    let anna = project(&world);
    let seen = world.path("seen");
    let editor = world.editor("editor", &format!("touch {}", seen.display()));
    // A mount namespace in which /dev/shm is on a disk; it takes root.
    let mut command = Command::new("unshare");
    let ours = env!("CARGO_BIN_EXE_hmco-boot");
    command.args(["-m", "sh", "-c", &format!("mkdir -p /var/tmp/people-no-shm && mount --bind /var/tmp/people-no-shm /dev/shm && cd /proc/self/cwd; true; cd \"$OLDPWD\" 2>/dev/null; exec {ours} --project \"$P\" secrets edit db")]);
    let home = tempfile::tempdir_in("/var/tmp").unwrap();
    copy(&anna.home, &home.path().join("home"));
    copy(&anna.project, &home.path().join("work"));
    let person = Person {
        home: home.path().join("home"),
        project: home.path().join("work"),
    };
    world.around(&mut command, &person);
    command
        .env("EDITOR", editor)
        .env("P", &person.project)
        .env_remove("XDG_RUNTIME_DIR");
    let output = world.speak(command, b"");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    fs::remove_dir("/var/tmp/people-no-shm").ok();
    if said.contains("unshare") || said.contains("mount:") {
        eprintln!("skipped: this takes a mount namespace: {said}");
        return;
    }
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("there is no place in memory for plaintext")
            && said.contains("/dev/shm: not a tmpfs"),
        "{said}"
    );
    assert!(!seen.exists());
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(done.unwrap().success());
}

#[test]
fn exec_hands_secrets_over_in_the_environment_or_in_files_and_passes_the_exit_code_on() {
    let world = World::new();
    let anna = project(&world);
    let out = world.path("out");
    let script = format!("printf %s \"$PW\" > {}; exit 7", out.display());
    let args = [
        "-vvv",
        "secrets",
        "exec",
        "--env",
        "PW=db/password",
        "--",
        "sh",
        "-c",
        &script,
    ];
    world.run(&anna, &args, "", 7);
    assert_eq!(fs::read(&out).unwrap(), PASSWORD.as_bytes());
    // Both, the file for its owner alone, gone afterwards; standard input is the command's.
    let script = format!(
        "cat \"$PIN\" > {0}; stat -c '%a %n' \"$PIN\" > {0}.mode; cat > {0}.in; cat /proc/$$/cmdline > {0}.argv; exit 0",
        out.display()
    );
    let args = [
        "secrets",
        "exec",
        "--file",
        "PIN=door/pin",
        "--env",
        "PW=db/password",
        "--",
        "sh",
        "-c",
        &script,
    ];
    world.run(&anna, &args, "given", 0);
    assert_eq!(fs::read(&out).unwrap(), PIN);
    assert_eq!(fs::read(world.path("out.in")).unwrap(), b"given");
    let mode = fs::read_to_string(world.path("out.mode")).unwrap();
    let (mode, path) = mode.trim().split_once(' ').unwrap();
    assert_eq!(mode, "600");
    assert!(
        path.starts_with(world.path("runtime").to_str().unwrap()) && !Path::new(path).exists(),
        "{path}"
    );
    assert!(world.plain().is_empty());
    let argv = fs::read(world.path("out.argv")).unwrap();
    assert!(!argv.windows(6).any(|window| window == b"canary"));
    let file = [
        "secrets",
        "exec",
        "--file",
        "PIN=door/pin",
        "--",
        "sh",
        "-c",
    ];
    world.run(&anna, &[&file[..], &["exit 9"]].concat(), "", 9);
    world.run(&anna, &[&file[..], &["kill -TERM $$"]].concat(), "", 143);
    for (args, exit, words) in [
        (
            &["secrets", "exec", "--", "true"][..],
            2,
            "no secret is named",
        ),
        (
            &["secrets", "exec", "--env", "X=door/pin", "--", "true"],
            2,
            "a zero byte",
        ),
        (
            &["secrets", "exec", "--env", "X=db/pasword", "--", "true"],
            2,
            "did you mean",
        ),
        (
            &["secrets", "exec", "--env", "1=a/b", "--", "true"],
            2,
            "cannot name a variable",
        ),
        (
            &[
                "secrets",
                "exec",
                "--env",
                "X=db/password",
                "--file",
                "X=door/pin",
                "--",
                "true",
            ],
            2,
            "set twice",
        ),
        (
            &[
                "secrets",
                "exec",
                "--env",
                "X=db/password",
                "--",
                "no-such-program",
            ],
            2,
            "cannot start no-such-program",
        ),
        (
            &[
                "secrets",
                "exec",
                "--file",
                "X=db/password",
                "--",
                "no-such-program",
            ],
            2,
            "cannot start no-such-program",
        ),
    ] {
        let (_, err) = world.run(&anna, args, "", exit);
        assert!(err.contains(words), "{args:?}: {err}");
        assert!(world.plain().is_empty());
    }
    world.never_said(&[PASSWORD.as_bytes(), PIN]);
}

#[test]
fn a_scan_finds_plaintext_in_files_and_in_the_index_and_keeps_it_out_of_commits() {
    let world = World::new();
    let anna = project(&world);
    world.git(&anna, &["init", "-q"]);
    commit(&world, &anna);
    let said = world.ok(&anna, &["-vvv", "secrets", "scan"]);
    assert!(said.contains("no secret in plain text in"), "{said}");
    let said = world.ok(&anna, &["secrets", "scan", "--install-hook"]);
    assert!(
        said.contains("made ") && said.contains("hooks/pre-commit"),
        "{said}"
    );
    let said = world.ok(&anna, &["secrets", "scan", "--install-hook"]);
    assert!(said.contains("scans already"), "{said}");

    // A value of the store, as it is and in base64; and a key that is not in it.
    let base64 = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(format!("user:{PASSWORD}"))
    };
    fs::write(
        anna.project.join("notes.md"),
        format!("# Notes\n\nthe db has {PASSWORD}\nAuthorization: Basic {base64}\n"),
    )
    .unwrap();
    let body = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz";
    fs::write(
        anna.project.join("id"),
        format!("-----BEGIN OPENSSH {}-----\n{body}\n", "PRIVATE KEY"),
    )
    .unwrap();
    let (out, err) = world.run(&anna, &["secrets", "scan"], "", 1);
    assert_eq!(
        out,
        "id:1  a private key\nnotes.md:3  the value of the secret db/password, as it is\n\
         notes.md:4  the value of the secret db/password, in base64\n"
    );
    assert!(err.contains("3 secrets in plain text in"), "{err}");
    let commit = |exit: i32| {
        let mut command = Command::new("git");
        command.args(["commit", "-q", "-m", "x"]);
        world.around(&mut command, &anna);
        let output = world.speak(command, b"");
        assert_eq!(
            output.status.code(),
            Some(exit),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr)
    };
    world.git(&anna, &["add", "-A"]);
    let said = commit(1);
    assert!(said.contains("notes.md:3"), "{said}");

    // Only what is staged counts for a commit, also when the file is clean by now.
    fs::write(anna.project.join("notes.md"), "# Notes\n").unwrap();
    fs::remove_file(anna.project.join("id")).unwrap();
    let (out, _) = world.run(
        &anna,
        &["secrets", "scan", "--staged", "--output", "json"],
        "",
        1,
    );
    assert!(
        json(&out)["staged"] == true && out.contains("\"found\":3"),
        "{out}"
    );
    let (out, _) = world.run(&anna, &["secrets", "scan"], "", 1);
    assert!(
        out.contains("notes.md:3") && out.contains("(in git's index)"),
        "{out}"
    );
    world.git(&anna, &["add", "-A"]);
    commit(0);
    let ignored = anna.project.join("ignored.env");
    fs::write(anna.project.join(".gitignore"), "ignored.env\n").unwrap();
    fs::write(&ignored, format!("PASSWORD={PASSWORD}\n")).unwrap();
    world.ok(&anna, &["secrets", "scan"]);
    world.run(&anna, &["secrets", "scan", "nowhere.txt"], "", 0);

    // A hook that is there stays.
    let hook = anna.project.join(".git/hooks/pre-commit");
    fs::write(&hook, "#!/bin/sh\nexit 0\n").unwrap();
    let (_, err) = world.run(&anna, &["secrets", "scan", "--install-hook"], "", 2);
    assert!(
        err.contains("there is a hook already") && err.contains("add this line"),
        "{err}"
    );
    assert_eq!(fs::read_to_string(&hook).unwrap(), "#!/bin/sh\nexit 0\n");
    world.never_said(&[PASSWORD.as_bytes(), body.as_bytes()]);
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

/// Runs hmco-boot at a terminal of its own, and types `keys`. Everything that appears is given back.
fn at_a_terminal(world: &World, who: &Person, args: &[&str], keys: &str) -> Option<(String, i32)> {
    if Command::new("script")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        eprintln!("skipped: there is no `script` to make a terminal");
        return None;
    }
    let words: Vec<String> = args.iter().map(|word| format!("'{word}'")).collect();
    let line = format!("{} {}", env!("CARGO_BIN_EXE_hmco-boot"), words.join(" "));
    let mut command = Command::new("script");
    command.args(["-qec", &line, "/dev/null"]);
    world.around(&mut command, who);
    command.env("TERM", "xterm").env("LANG", "C.UTF-8");
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, keys.as_bytes()).unwrap();
    // Held open: at the end of its input, `script` would close the terminal.
    let output = child.wait_with_output().unwrap();
    drop(stdin);
    Some((
        String::from_utf8_lossy(&output.stdout).replace('\r', ""),
        output.status.code().unwrap(),
    ))
}

#[test]
fn at_a_terminal_a_value_is_typed_unseen_and_shown_only_when_asked_for() {
    let world = World::new();
    let anna = project(&world);
    let Some((said, exit)) = at_a_terminal(
        &world,
        &anna,
        &["secrets", "set", "a/typed"],
        "canary-typed\ncanary-typed\n",
    ) else {
        return;
    };
    assert_eq!(exit, 0, "{said}");
    assert!(
        said.contains("Value of a/typed: ") && said.contains("set a/typed"),
        "{said}"
    );
    assert_eq!(world.get(&anna, "a/typed", &[]), b"canary-typed");
    let (said, exit) = at_a_terminal(
        &world,
        &anna,
        &["secrets", "set", "a/typed"],
        "one-value\nanother-value\n",
    )
    .unwrap();
    assert!(
        exit == 2 && said.contains("the two are not the same: nothing was set"),
        "{said}"
    );
    let (said, exit) = at_a_terminal(&world, &anna, &["secrets", "get", "a/typed"], "").unwrap();
    assert!(
        exit == 2 && said.contains("not printed on a terminal unasked") && !said.contains("canary"),
        "{said}"
    );
    let (said, exit) =
        at_a_terminal(&world, &anna, &["secrets", "get", "a/typed", "--show"], "").unwrap();
    assert!(exit == 0 && said.contains("canary-typed\n"), "{said}");
}

#[test]
fn at_a_terminal_the_recovery_key_is_shown_once_and_without_a_yes_nothing_is_made() {
    let world = World::new();
    let anna = world.person("anna");
    let Some((said, exit)) = at_a_terminal(&world, &anna, &["init"], "n\n") else {
        return;
    };
    assert!(exit == 1 && said.contains("no store was made"), "{said}");
    assert!(!anna.project.join("secrets/manifest.toml").exists());
    let (said, exit) = at_a_terminal(&world, &anna, &["secrets", "init"], "y\n").unwrap();
    assert_eq!(exit, 0, "{said}");
    let key = said
        .lines()
        .find(|line| line.starts_with("AGE-SECRET-KEY-1"))
        .unwrap();
    // It is nowhere but on the screen.
    let grep = Command::new("grep")
        .args(["-r", key])
        .arg(world.path(""))
        .output()
        .unwrap();
    assert!(
        grep.stdout.is_empty(),
        "{}",
        String::from_utf8_lossy(&grep.stdout)
    );
    world.run(&anna, &["secrets", "set", "a/b"], "canary-value\n", 0);
    let recovery = world.path("recovery.txt");
    fs::write(&recovery, key).unwrap();
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&recovery, fs::Permissions::from_mode(0o600)).unwrap();
    let value = world.get(&anna, "a/b", &["--identity", recovery.to_str().unwrap()]);
    assert_eq!(value, b"canary-value");
}

#[test]
fn at_a_terminal_the_passphrase_of_an_ssh_key_is_asked_for() {
    let world = World::new();
    let anna = project(&world);
    let bert = world.person("bert");
    fs::create_dir(bert.home.join(".ssh")).unwrap();
    let made = Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "canary-swordfish", "-f"])
        .arg(bert.home.join(".ssh/id_ed25519"))
        .status();
    assert!(made.unwrap().success());
    let public = bert.home.join(".ssh/id_ed25519.pub");
    let add = [
        "secrets",
        "recipients",
        "add",
        "bert",
        "--key-file",
        public.to_str().unwrap(),
    ];
    let Some((said, exit)) = at_a_terminal(&world, &anna, &add, "y\n") else {
        return;
    };
    assert!(
        exit == 0 && said.contains("Did the owner of `bert` name this fingerprint?"),
        "{said}"
    );
    world.ok(&anna, &["secrets", "rotate"]);
    let bert = Person {
        project: anna.project.clone(),
        ..bert
    };
    let (_, err) = world.run(&bert, &["secrets", "check"], "", 2);
    assert!(
        err.contains("has a passphrase, and nobody can be asked for it"),
        "{err}"
    );
    let (said, exit) = at_a_terminal(
        &world,
        &bert,
        &["secrets", "check"],
        "wrong\ncanary-swordfish\n",
    )
    .unwrap();
    assert_eq!(exit, 0, "{said}");
    assert!(
        said.contains("Passphrase of the identity") && said.contains("That was not it."),
        "{said}"
    );
    assert!(
        said.contains("2 values open and are as sealed") && !said.contains("canary"),
        "{said}"
    );
}
