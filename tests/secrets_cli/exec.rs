//! Commands that are handed secrets.

use super::*;

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
