//! People with homes of their own, who share a project by git; and a record of everything the command ever said.

use std::cell::RefCell;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A folder for a test, in memory: so that `edit` and `exec` have a place of their own there.
pub struct World {
    folder: tempfile::TempDir,
    said: RefCell<Vec<u8>>,
}

/// Somebody, and their clone of the project.
#[derive(Clone)]
pub struct Person {
    pub home: PathBuf,
    pub project: PathBuf,
}

impl World {
    pub fn new() -> Self {
        let folder = tempfile::tempdir_in("/dev/shm").unwrap();
        fs::create_dir(folder.path().join("runtime")).unwrap();
        Self {
            folder,
            said: RefCell::default(),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn person(&self, name: &str) -> Person {
        let person = Person {
            home: self.path(&format!("home-{name}")),
            project: self.path(&format!("work-{name}")),
        };
        fs::create_dir_all(&person.home).unwrap();
        fs::create_dir_all(&person.project).unwrap();
        person
    }

    /// What is in the folder for plaintext now.
    pub fn plain(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path("runtime")).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }

    pub fn command(&self, who: &Person, args: &[&str]) -> Command {
        // Without a terminal, also where the tests are started at one.
        let mut command = Command::new("setsid");
        command.args(["--wait", env!("CARGO_BIN_EXE_hmco-boot")]);
        command.args(args);
        self.around(&mut command, who);
        command
    }

    /// The folder, the environment and the streams of somebody.
    pub fn around(&self, command: &mut Command, who: &Person) {
        let ours = Path::new(env!("CARGO_BIN_EXE_hmco-boot")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        command
            .current_dir(&who.project)
            .env_clear()
            .env("PATH", format!("{}:{path}", ours.display()))
            .env("HOME", &who.home)
            .env(
                "USER",
                who.home
                    .file_name()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .trim_start_matches("home-"),
            )
            .env("XDG_RUNTIME_DIR", self.path("runtime"))
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_AUTHOR_NAME", "x")
            .env("GIT_AUTHOR_EMAIL", "x@example.org")
            .env("GIT_COMMITTER_NAME", "x")
            .env("GIT_COMMITTER_EMAIL", "x@example.org")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
    }

    /// Runs a command that is given `stdin`, and keeps what it says.
    pub fn speak(&self, mut command: Command, stdin: &[u8]) -> Output {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin).ok();
        let output = child.wait_with_output().unwrap();
        self.keep(&output);
        output
    }

    pub fn keep(&self, output: &Output) {
        self.said.borrow_mut().extend_from_slice(&output.stdout);
        self.said.borrow_mut().extend_from_slice(&output.stderr);
    }

    /// Runs hmco-boot, at the most talkative; expects this exit code; gives standard output and error.
    pub fn run(&self, who: &Person, args: &[&str], stdin: &str, exit: i32) -> (String, String) {
        let output = self.speak(self.command(who, args), stdin.as_bytes());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(exit), "{args:?}\n{out}\n{err}");
        (out, err)
    }

    /// The same, where only success matters.
    pub fn ok(&self, who: &Person, args: &[&str]) -> String {
        let (out, err) = self.run(who, args, "", 0);
        format!("{out}{err}")
    }

    /// A value, byte for byte; what is printed is not kept as said: it was asked for.
    pub fn get(&self, who: &Person, name: &str, more: &[&str]) -> Vec<u8> {
        let mut args = vec!["-vvv", "secrets", "get", name];
        args.extend(more);
        let output = self.command(who, &args).output().unwrap();
        self.said.borrow_mut().extend_from_slice(&output.stderr);
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output.stdout
    }

    pub fn git(&self, who: &Person, args: &[&str]) -> Output {
        let mut command = Command::new("git");
        command.args(args);
        self.around(&mut command, who);
        let output = self.speak(command, b"");
        assert!(
            output.status.success(),
            "git {args:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        output
    }

    /// An editor: a script that is handed the file as `$1`.
    pub fn editor(&self, name: &str, script: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    /// Panics where one of these was ever said, in any encoding that hides nothing.
    pub fn never_said(&self, canaries: &[&[u8]]) {
        use base64::Engine as _;
        let said = self.said.borrow();
        for canary in canaries {
            let hex: String = canary.iter().map(|byte| format!("{byte:02x}")).collect();
            let base64 = base64::engine::general_purpose::STANDARD_NO_PAD.encode(canary);
            // The last characters depend on what follows.
            let base64 = &base64[..base64.len() / 4 * 4];
            for form in [
                canary.to_vec(),
                hex.into_bytes(),
                base64.as_bytes().to_vec(),
            ] {
                let found = said.windows(form.len()).any(|window| window == form);
                assert!(!found, "it said {}", String::from_utf8_lossy(canary));
            }
        }
    }
}
