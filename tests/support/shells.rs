//! Runs the facts script under the shells of this machine, as transport does: the text by standard input, evaluated
//! with standard input at /dev/null.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use hmco_boot::facts::digest_cache::DigestCache;
use hmco_boot::facts::fact::{Answer, Fact, FactError, FactValue};
use hmco_boot::facts::frame::{Delimiter, Frame, Splitter};
use hmco_boot::facts::parse::answers;
use hmco_boot::facts::script::{Request, script};
use hmco_boot::model::path::AbsPath;

/// A shell, and the tools it finds first.
#[derive(Clone, Debug)]
pub struct Shell {
    pub name: &'static str,
    pub argv: Vec<String>,
    /// Folder in front of PATH.
    pub tools: Option<PathBuf>,
}

/// All shells of this machine; busybox comes with its own tools.
pub fn shells() -> Vec<Shell> {
    let mut shells = Vec::new();
    for (name, argv) in [
        ("dash", vec!["dash"]),
        ("bash", vec!["bash"]),
        ("bash --posix", vec!["bash", "--posix"]),
        ("busybox ash", vec!["busybox", "ash"]),
    ] {
        let there = std::env::var("PATH")
            .unwrap()
            .split(':')
            .any(|folder| Path::new(folder).join(argv[0]).exists());
        if there {
            shells.push(Shell {
                name,
                argv: argv.into_iter().map(str::to_owned).collect(),
                tools: (name == "busybox ash").then(applets),
            });
        } else {
            crate::skip::tell(format_args!("{name} is not installed: not tested with it"));
        }
    }
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(
        !ci || shells.len() > 1,
        "CI must have more shells than one: apt-get install dash bash busybox-static"
    );
    if shells.is_empty() {
        shells.push(Shell {
            name: "sh",
            argv: vec!["sh".to_owned()],
            tools: None,
        });
    }
    shells
}

/// A folder of links to busybox, one per tool the script may use.
fn applets() -> PathBuf {
    static FOLDER: OnceLock<tempfile::TempDir> = OnceLock::new();
    FOLDER
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            let busybox = std::env::var("PATH")
                .unwrap()
                .split(':')
                .map(|dir| Path::new(dir).join("busybox"))
                .find(|path| path.exists())
                .unwrap();
            let list = Command::new(&busybox).arg("--list").output().unwrap();
            for applet in String::from_utf8(list.stdout).unwrap().lines() {
                // The package tools of busybox are toys; a machine with dpkg has the real ones.
                if !applet.starts_with("dpkg") && applet != "rpm" {
                    std::os::unix::fs::symlink(&busybox, folder.path().join(applet)).unwrap();
                }
            }
            folder
        })
        .path()
        .to_owned()
}

/// A machine for tests: a tree as root prefix, and a run folder.
pub struct Machine {
    pub root: String,
    pub run_dir: String,
    pub cache: DigestCache,
    pub batch_seconds: u32,
    /// Extra command in front of the shell, to become another user.
    pub prefix: Vec<String>,
}

impl Machine {
    pub fn new(root: &Path) -> Self {
        let root = root.to_str().unwrap().to_owned();
        Self {
            run_dir: format!("{root}/run/hmco-boot"),
            root,
            cache: DigestCache::default(),
            batch_seconds: 20,
            prefix: Vec::new(),
        }
    }

    /// The script's text for some facts.
    pub fn text(&self, facts: &[Fact], delimiter: &Delimiter) -> String {
        script(&Request {
            facts,
            root: &self.root,
            run_dir: &self.run_dir,
            delimiter,
            digests: &self.cache,
            batch_seconds: self.batch_seconds,
        })
    }

    /// The script's text for some facts, and its delimiter.
    pub fn text_of(&self, facts: &[Fact]) -> (String, Delimiter) {
        let delimiter = delimiter();
        (self.text(facts, &delimiter), delimiter)
    }

    /// Answers from a script's output.
    pub fn parse(&mut self, facts: &[Fact], out: &[u8], delimiter: &Delimiter) -> Vec<Answer> {
        let mut splitter = Splitter::new(delimiter);
        let mut frames = splitter.push(out);
        frames.extend(splitter.finish());
        answers(facts, &frames, &mut self.cache)
    }

    /// The frames that a shell gives for some facts.
    pub fn frames(&self, shell: &Shell, facts: &[Fact]) -> Vec<Frame> {
        let delimiter = delimiter();
        let out = run(shell, &self.prefix, &self.text(facts, &delimiter));
        let mut splitter = Splitter::new(&delimiter);
        let mut frames = splitter.push(&out);
        frames.extend(splitter.finish());
        frames
    }

    /// Answers under one shell.
    pub fn read(&mut self, shell: &Shell, facts: &[Fact]) -> Vec<Answer> {
        let frames = self.frames(shell, facts);
        for frame in &frames {
            if let Frame::Loose(bytes) = frame {
                panic!(
                    "{}: stray output: {}",
                    shell.name,
                    String::from_utf8_lossy(bytes)
                );
            }
        }
        let given = answers(facts, &frames, &mut self.cache);
        assert_eq!(
            given
                .iter()
                .map(|(fact, _)| fact.clone())
                .collect::<Vec<_>>(),
            facts
        );
        given
    }

    /// Answer to one fact.
    pub fn one(&mut self, shell: &Shell, fact: Fact) -> Result<FactValue, FactError> {
        self.read(shell, &[fact]).remove(0).1
    }
}

/// New for every execution.
pub fn delimiter() -> Delimiter {
    static COUNT: AtomicU8 = AtomicU8::new(0);
    let mut bytes = [0xa5; 16];
    bytes[0] = COUNT.fetch_add(1, Ordering::Relaxed);
    Delimiter::new(bytes)
}

/// Standard output of a shell that evaluates the text. The shell runs with `-eu` and has a variable and a folder of its
/// own, which must survive.
pub fn run(shell: &Shell, prefix: &[String], text: &str) -> Vec<u8> {
    let argv: Vec<&String> = prefix.iter().chain(&shell.argv).collect();
    let mut command = Command::new(argv[0]);
    command
        .args(&argv[1..])
        .args([
            "-c",
            r#"set -eu; T=mine; here=$PWD; eval "$(cat)" </dev/null; [ "$T $PWD" = "mine $here" ]; set -u; echo"#,
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    if let Some(tools) = &shell.tools {
        let path = std::env::var("PATH").unwrap();
        command.env("PATH", format!("{}:{path}", tools.display()));
    }
    let mut child = command.spawn().unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let out = child.wait_with_output().unwrap();
    assert!(out.status.success(), "{}: {}", shell.name, out.status);
    assert_eq!(
        String::from_utf8_lossy(&out.stderr),
        "",
        "{}: talk on standard error",
        shell.name
    );
    out.stdout
}

/// A path for a fact.
pub fn path(text: &str) -> AbsPath {
    AbsPath::new(text).unwrap()
}
