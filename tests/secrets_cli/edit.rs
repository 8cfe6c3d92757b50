//! Editors: what changed, what failed, what was killed.

use super::*;

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
    command.env("EDITOR", editor).stdout(Stdio::null());
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
    command.args(["-m", "sh", "-c", &format!("mkdir -p /var/tmp/hmco-boot-no-shm && mount --bind /var/tmp/hmco-boot-no-shm /dev/shm && cd /proc/self/cwd; true; cd \"$OLDPWD\" 2>/dev/null; exec {ours} --project \"$P\" secrets edit db")]);
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
    fs::remove_dir("/var/tmp/hmco-boot-no-shm").ok();
    if said.contains("unshare") || said.contains("mount:") {
        crate::skip::tell(format_args!("this takes a mount namespace: {said}"));
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
