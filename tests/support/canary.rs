//! Values that must show nowhere, every form they could show in, and what looks for them: bytes, folders, and the process
//! lists of this machine while something runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// Characters in a row that are no accident.
const WINDOW: usize = 10;

/// How many of them have to be the value's own.
const OWN: usize = 6;

/// Plain letters and digits.
pub const PLAIN: &str = "cAnArY7f3a9cPlainWord01";
/// What shells, JSON, URLs and terminals escape.
pub const ODD: &str = "cAn\"aRy'8d2\\b $HOME `id` é€🦀 {{x}} <&> 100%\tq";
/// Several lines, as keys have them.
pub const KEY: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIGcAnArYk3yQ9xR7uL2mN8pS5tV1wZ0aB4dE6fH8jK\nzT2rX5cAnArYv9bQ3nM6kP0sW8yD1gJ4hL7iO2uC5eA==\n-----END PRIVATE KEY-----\n";
/// Comes to a program by its environment, where root can see it.
pub const ENV: &str = "cAnArYenv4e1b6d0f2a";

/// All of them, by the names of the secrets that hold them.
pub const ALL: [(&str, &str); 4] = [
    ("canary/plain", PLAIN),
    ("canary/odd", ODD),
    ("canary/key", KEY),
    ("canary/env", ENV),
];

/// Looks for values in every form.
pub struct Finder {
    search: AhoCorasick,
    forms: Vec<String>,
}

impl Finder {
    pub fn of<'v>(values: impl IntoIterator<Item = (&'v str, &'v str)>) -> Self {
        let mut windows = BTreeMap::new();
        for (name, value) in values {
            for (form, text) in forms(value) {
                for window in text.windows(WINDOW).filter(|window| !is_common(window)) {
                    let name = || format!("{name} {form}");
                    windows.entry(window.to_vec()).or_insert_with(name);
                }
            }
        }
        Self {
            search: AhoCorasick::new(windows.keys()).unwrap(),
            forms: windows.into_values().collect(),
        }
    }

    /// The forms that are in these bytes.
    pub fn found(&self, bytes: &[u8]) -> BTreeSet<&str> {
        let found = self.search.find_overlapping_iter(bytes);
        let forms = found.map(|found| self.forms[found.pattern().as_usize()].as_str());
        forms.collect()
    }

    #[track_caller]
    pub fn expect_none(&self, place: &str, bytes: &[u8]) {
        let found = self.found(bytes);
        assert!(
            found.is_empty(),
            "{place} shows {found:?}:\n{}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(20_000)])
        );
    }

    /// Looks through all files below a folder, and their names; gives how many there were.
    #[track_caller]
    pub fn expect_none_below(&self, folder: &Path) -> usize {
        let mut files = 0;
        for path in below(folder) {
            self.expect_none("a name", path.to_string_lossy().as_bytes());
            // What goes while it is looked at is not left behind.
            if path.is_file()
                && let Ok(bytes) = std::fs::read(&path)
            {
                files += 1;
                self.expect_none(&path.display().to_string(), &bytes);
            }
        }
        files
    }
}

/// What belongs to everybody: headers of keys, the padding and line ends around them, and what has too little else. A file
/// of age's may end in "A==", and the header of its end follows.
fn is_common(window: &[u8]) -> bool {
    let common = ["-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"];
    let text = String::from_utf8_lossy(window);
    let parts = text.split(['\n', '\\', '%', '\r']);
    let others = parts.filter(|part| !common.iter().any(|common| common.contains(part)));
    let own: usize = others.map(|part| part.trim_matches('=').len()).sum();
    own < OWN
}

fn forms(value: &str) -> Vec<(&'static str, Vec<u8>)> {
    let hex: String = value.bytes().map(|b| format!("{b:02x}")).collect();
    let url: String = value
        .bytes()
        .map(|b| match b {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' | b'_' | b'~' => {
                char::from(b).to_string()
            }
            b => format!("%{b:02X}"),
        })
        .collect();
    let json = serde_json::to_string(value).unwrap();
    let mut forms = vec![
        ("as it is", value.to_owned()),
        ("as JSON", json[1..json.len() - 1].to_owned()),
        ("as Rust", format!("{value:?}")),
        ("as hex", hex.clone()),
        ("as HEX", hex.to_uppercase()),
        ("as URL", url.clone()),
        ("as form", url.replace("%20", "+")),
        ("as url", url.to_lowercase()),
        ("for a shell", value.replace('\'', r"'\''")),
        (
            "for a shell, in double quotes",
            value.replace('\'', "'\"'\"'"),
        ),
    ];
    for (name, padding) in [
        ("as base64", ""),
        ("as base64 +1", "x"),
        ("as base64 +2", "xx"),
    ] {
        let whole = format!("{padding}{value}");
        // What of it depends on what is around it is left out.
        let part = |text: String| text[4..text.len() - 4].to_owned();
        forms.push((name, part(STANDARD.encode(&whole))));
        forms.push((name, part(URL_SAFE.encode(&whole))));
    }
    // Lower-cased plain letters are no form of their own.
    forms.retain(|(name, text)| *name != "as url" || text.contains('%'));
    forms
        .into_iter()
        .map(|(name, text)| (name, text.into_bytes()))
        .collect()
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            found.push(path.clone());
            if is_folder {
                folders.push(path);
            }
        }
    }
    found
}

/// Looks at the arguments and the environment of every process of this machine, again and again.
pub struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Seen>,
}

/// What a [`Watch`] saw.
#[derive(Default)]
pub struct Seen {
    /// How often it looked at all processes.
    pub rounds: usize,
    /// What was found in arguments, with the text around it.
    pub arguments: BTreeSet<String>,
    /// What was found in environments, and the marks of the processes' jobs (`HMCO_BOOT_JOB`).
    pub environments: BTreeSet<String>,
}

impl Watch {
    pub fn start(finder: Arc<Finder>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut seen = Seen::default();
            while !told.load(Ordering::Relaxed) {
                seen.look(&finder);
                seen.rounds += 1;
            }
            seen
        });
        Self { stop, thread }
    }

    pub fn stop(self) -> Seen {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

impl Seen {
    fn look(&mut self, finder: &Finder) {
        let own = std::process::id().to_string();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == own || !name.bytes().all(|b| b.is_ascii_digit()) {
                continue;
            }
            let arguments = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            for form in finder.found(&arguments) {
                let text = String::from_utf8_lossy(&arguments).replace('\0', " ");
                self.arguments.insert(format!("{form}: {text}"));
            }
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            for form in finder.found(&environment) {
                let text = String::from_utf8_lossy(&environment);
                let job = text
                    .split('\0')
                    .find(|text| text.starts_with("HMCO_BOOT_JOB="));
                self.environments
                    .insert(format!("{form} {}", job.unwrap_or("no job")));
            }
        }
    }

    /// Nothing in arguments; in environments only what a program was given by its own, in a job.
    #[track_caller]
    pub fn expect_clean(&self) {
        assert!(self.rounds > 3, "{} rounds", self.rounds);
        assert!(self.arguments.is_empty(), "{:?}", self.arguments);
        let given = |text: &&String| text.starts_with("canary/env as it is HMCO_BOOT_JOB=");
        let others: Vec<&String> = self
            .environments
            .iter()
            .filter(|text| !given(text))
            .collect();
        assert!(others.is_empty(), "{others:?}");
    }
}

/// Steps that do with the canaries all that may go wrong; each says what it has, and most fail.
pub const STEPS: &str = r#"
[vars.key]
type = "secret"
default = { secret = "canary/key" }

[[step]]
id = "file"
on = "all"
needs = []
[step.file]
path = "/srv/app.conf"
content = "plain = {{ secret('canary/plain') }}\nodd = {{ secret('canary/odd') }}\n"

[[step]]
id = "whole"
on = "all"
needs = []
[step.file]
path = "/srv/key.pem"
content = "{{ key }}"

[[step]]
id = "nowhere"
on = "all"
needs = []
[step.file]
path = "/proc/canary/app.conf"
content = { secret = "canary/odd" }

[[step]]
id = "talks"
on = "all"
needs = []
[step.command]
argv = ["sh", "-c", "cat; echo; exit 3"]
stdin = "{{ secret('canary/plain') }} {{ secret('canary/odd') }} {{ secret('canary/key') }}"
always = true

[[step]]
id = "complains"
on = "all"
needs = []
[step.command]
argv = ["sh", "-c", "cat >&2; exit 3"]
stdin = "{{ secret('canary/key') }}"
always = true

[[step]]
id = "encodes"
on = "all"
needs = []
[step.command]
argv = ["sh", "-c", "s=$(cat); printf %s \"$s\" | base64; printf %s \"x$s\" | base64 -w 0; echo; printf %s \"$s\" | od -An -v -tx1 | tr -d ' \\n'; echo; exit 4"]
stdin = "{{ secret('canary/odd') }}"
always = true

[[step]]
id = "drips"
on = "all"
needs = []
[step.command]
argv = ["sh", "-c", "s=$(cat); a=${s%Plain*}; printf %s \"$a\"; echo between >&2; sleep 1.3; printf '%s\\n' \"${s#\"$a\"}\"; exit 5"]
stdin = "{{ secret('canary/plain') }}"
always = true

[[step]]
id = "traces"
on = "all"
needs = []
[step.command]
script = """
set -x
password='{{ secret('canary/plain') }}'
test "$password" = other
"""
always = true

[[step]]
id = "environment"
on = "all"
needs = []
[step.command]
argv = ["sh", "-c", "sleep 0.3; env; exit 6"]
env = { CANARY = "{{ secret('canary/env') }}" }
always = true

[[step]]
id = "late"
on = "all"
needs = []
[step.command]
argv = ["sh", "-c", "s=$(cat); i=0; while [ $i -lt 9000 ]; do echo \"$s\"; i=$((i+1)); done; exit 7"]
stdin = "{{ secret('canary/plain') }}"
always = true
"#;

#[test]
fn what_all_armoured_files_share_is_no_canary_and_part_of_a_key_is_one() {
    let finder = Finder::of(ALL);
    for end in ["eA==", "5eA==", "A==", "=="] {
        let text = format!("{end}\n-----END AGE ENCRYPTED FILE-----\n");
        finder.expect_none("a sealed value", text.as_bytes());
    }
    for part in [
        "iO2uC5eA==\n---",
        "fH8jK\nzT2rX",
        "d2\\b $HOME ",
        "%3C%26%3E%20",
    ] {
        assert_eq!(finder.found(part.as_bytes()).len(), 1, "{part}");
    }
}
