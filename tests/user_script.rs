//! What the script of `user` refuses, under the shells of this machine, with stand-ins for the tools that it would run.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may stop at the first surprise"
)]

#[path = "support/skip.rs"]
mod skip;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use hmco_boot::facts::fact::{Account, Fact, FactValue};
use hmco_boot::facts::known::Store;
use hmco_boot::model::action::Action;
use hmco_boot::model::id::Target;
use hmco_boot::steps::user::User;
use hmco_boot::steps::{Decision, Kind as _};
use serde_json::json;
use tempfile::TempDir;

const SHELLS: [&[&str]; 3] = [&["sh"], &["bash", "--posix"], &["busybox", "ash"]];

/// A sandbox where `deploy` lives in /home/deploy.
fn sandbox() -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for folder in ["etc", "bin", "tools", "home"] {
        fs::create_dir(root.path().join(folder)).unwrap();
    }
    let line = "other:x:1:1::/:/bin/sh\ndeploy:x:1001:1001:,,,:/home/deploy:/bin/sh\n";
    fs::write(root.path().join("etc/passwd"), line).unwrap();
    for tool in ["useradd", "usermod", "userdel"] {
        put(
            &root,
            &format!("tools/{tool}"),
            0o755,
            "echo \"ran ${0##*/}\"\n",
        );
    }
    root
}

fn put(root: &TempDir, name: &str, mode: u32, text: &str) {
    let path = root.path().join(name);
    fs::write(&path, format!("#!/bin/sh\n{text}")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What the step does where the account is there or not: whether it succeeds, and all it says.
fn run(
    shell: &[&str],
    root: &Path,
    wish: serde_json::Value,
    there: bool,
) -> Option<(bool, String)> {
    let wish: User = serde_json::from_value(wish).unwrap();
    let target = Target::Controller;
    let mut store = Store::default();
    let account = Account {
        uid: 1001,
        gid: 1001,
        home: "/home/deploy".to_owned(),
        shell: "/bin/sh".to_owned(),
        groups: Vec::new(),
    };
    let fact = Fact::Account {
        name: wish.name.clone(),
    };
    let answer = match there {
        true => Ok(FactValue::Account(account)),
        false => Err(hmco_boot::facts::fact::FactError::NotFound),
    };
    store.insert(&target, [(fact, answer)]);
    let Decision::Drift { drift, .. } = wish.decide(&store.view(&target)).unwrap() else {
        panic!("nothing to do")
    };
    let [Action::Run(program)] = &wish.apply(&drift)[..] else {
        panic!("one program")
    };
    let (interpreter, words) = shell.split_first().unwrap();
    let tools = root.join("tools");
    let spawned = Command::new(interpreter)
        .args(words)
        .args(&program.argv[1..])
        .env_remove("SUDO_USER")
        .env("HMCO_BOOT_ROOT", root)
        .env("PATH", format!("{}:/usr/bin:/bin", tools.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = spawned else {
        return None;
    };
    let text = program.stdin.as_ref().unwrap().expose();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    Some((output.status.success(), said))
}

#[test]
fn a_shell_that_could_not_be_logged_in_with_is_refused() {
    let root = sandbox();
    put(&root, "bin/zsh", 0o755, "");
    put(&root, "bin/text", 0o644, "");
    symlink("zsh", root.path().join("bin/linked")).unwrap();
    symlink("none", root.path().join("bin/dangling")).unwrap();
    fs::create_dir(root.path().join("bin/folder")).unwrap();
    let mut ran = 0;
    for shell in SHELLS {
        for (name, there, tool) in [("deploy", true, "usermod"), ("anna", false, "useradd")] {
            for (path, good) in [
                ("/bin/zsh", true),
                ("/bin/linked", true),
                ("/bin/none", false),
                ("/bin/text", false),
                ("/bin/dangling", false),
                ("/bin/folder", false),
            ] {
                let wish = json!({ "name": name, "shell": path });
                let Some((done, said)) = run(shell, root.path(), wish, there) else {
                    continue;
                };
                ran += 1;
                assert_eq!(
                    (done, said.contains("ran ")),
                    (good, good),
                    "{shell:?} {path}: {said}"
                );
                let words = match good {
                    true => format!("ran {tool}"),
                    false => format!("the shell {path} is not installed: {name} could not log in"),
                };
                assert!(said.contains(&words), "{said}");
            }
        }
    }
    assert!(ran >= 12, "no shell");
}

#[test]
fn a_home_with_something_mounted_in_it_is_not_removed() {
    let wish = json!({ "name": "deploy", "state": "absent", "remove_home": true });
    let keep = json!({ "name": "deploy", "state": "absent" });
    for shell in SHELLS {
        // The home is a link to a mount point, to the folder of all mounts, to a folder that is one.
        for place in ["/proc", "/"] {
            let root = sandbox();
            symlink(place, root.path().join("home/deploy")).unwrap();
            let Some((done, said)) = run(shell, root.path(), wish.clone(), true) else {
                continue;
            };
            assert!(!done && !said.contains("ran "), "{shell:?} {place}: {said}");
            assert!(said.contains("is mounted in the home of deploy"), "{said}");
            let kept = run(shell, root.path(), keep.clone(), true).unwrap();
            assert!(kept.0 && kept.1.contains("ran userdel"), "{kept:?}");
        }
        for made in [false, true] {
            let root = sandbox();
            if made {
                fs::create_dir(root.path().join("home/deploy")).unwrap();
            }
            let Some((done, said)) = run(shell, root.path(), wish.clone(), true) else {
                continue;
            };
            assert!(done && said.contains("ran userdel"), "{shell:?}: {said}");
        }
    }
}

/// In a mount namespace of its own, which needs a kernel that lets this user have one.
#[test]
fn a_mount_below_the_home_is_found_by_its_name_with_blanks() {
    let root = sandbox();
    let place = root.path().join("home/deploy/old data\\x");
    fs::create_dir_all(&place).unwrap();
    fs::create_dir(root.path().join("home/deploy2")).unwrap();
    let wish = json!({ "name": "deploy", "state": "absent", "remove_home": true });
    for (at, refused) in [(place, true), (root.path().join("home/deploy2"), false)] {
        let mount = format!("mount -t tmpfs none \"{}\" && exec \"$@\"", at.display());
        let mount = mount.replace("\\x", "\\\\x");
        let inside = |shell: &str| {
            let words = ["unshare", "-rm", "sh", "-c", &mount, "sh", shell];
            run(&words, root.path(), wish.clone(), true)
        };
        if !Command::new("unshare")
            .args(["-rm", "sh", "-c", &mount, "sh", "true"])
            .status()
            .is_ok_and(|status| status.success())
        {
            skip::tell("no mount namespaces here");
            return;
        }
        for shell in ["sh", "bash"] {
            let (done, said) = inside(shell).unwrap();
            assert_eq!(!done, refused, "{shell}: {said}");
            assert_eq!(said.contains("ran userdel"), !refused, "{shell}: {said}");
            assert_eq!(said.contains("old data\\x is mounted"), refused, "{said}");
        }
    }
}
