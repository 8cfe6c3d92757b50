//! Plaintext, found before it is committed.

use super::*;

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
