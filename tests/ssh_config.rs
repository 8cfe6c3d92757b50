//! ssh_config and known_hosts as read here, compared with what OpenSSH itself says about the same files: `ssh -G` and
//! `ssh-keygen -F`. Random but the same in every run. Says that it skipped where there is no OpenSSH.

#![expect(
    clippy::panic,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that runs OpenSSH on files it writes"
)]

#[path = "support/skip.rs"]
mod skip;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use hmco_boot::transport::ssh::config::{Jump, Proxy, SshConfig};
use hmco_boot::transport::ssh::files::{Disk, Files};
use hmco_boot::transport::ssh::known_hosts::{KnownHosts, host_name};

/// The disk without the system's own ssh_config, which `ssh -F` does not read either.
struct WithoutSystem;

impl Files for WithoutSystem {
    fn read(&self, path: &Path) -> io::Result<String> {
        if path.starts_with("/etc/ssh") {
            return Err(io::ErrorKind::NotFound.into());
        }
        Disk.read(path)
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        Disk.names(folder)
    }

    fn exists(&self, path: &Path) -> bool {
        Disk.exists(path)
    }
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n).unwrap()).unwrap()
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

const NAMES: [&str; 5] = ["pi", "pi5-01", "pi5-02.lan", "10.0.0.1", "Gate"];

const LINES: [&str; 44] = [
    "Host pi*",
    "Host *",
    "Host pi5-?? 10.*",
    "Host * !pi5-01",
    "Host !pi",
    "host=\"Gate\" pi",
    "Host gate",
    "Match all",
    "HostName %h.example.org",
    "HostName = 192.0.2.7",
    "hostname \"quoted.example.org\" # a comment",
    "HostName a%%b",
    "User root",
    "User \"with blank\"",
    "User back\\\\slash",
    "Port 2222",
    "Port=65535",
    "\tPort\t 1",
    "IdentityFile /keys/one",
    "IdentityFile /keys/two",
    "IdentityFile '/keys/with blank'",
    "IdentityFile none",
    "IdentitiesOnly yes",
    "IdentitiesOnly no",
    "IdentityAgent none",
    "IdentityAgent /run/agent.sock",
    "HostKeyAlias alias",
    "UserKnownHostsFile /kh/one /kh/two",
    "UserKnownHostsFile none",
    "GlobalKnownHostsFile /kh/global",
    "ProxyJump hop",
    "ProxyJump me@hop:2222,other",
    "ProxyJump none",
    "ProxyJump [2001:db8::1]:22",
    "ProxyCommand none",
    "ProxyCommand nc %h %p",
    "SendEnv LANG LC_*",
    "ServerAliveInterval 30",
    "# Port 7",
    "",
    "   ",
    "ForwardAgent yes",
    "Compression yes\r",
    "Ciphers aes256-ctr",
];

const WRONG: [&str; 13] = [
    "Port",
    "Port 0",
    "Port 65536",
    "Port x",
    "Port 1 2",
    "ProxyCommand nc \"%h",
    "User",
    "User \"open",
    "HostName a b",
    "IdentitiesOnly perhaps",
    "ProxyJump a,,b",
    "ProxyJump @",
    "Host",
];

/// What OpenSSH says; `None` where it refuses the file.
fn openssh(file: &Path, name: &str) -> Option<BTreeMap<String, Vec<String>>> {
    let output: Output = Command::new("ssh")
        .args(["-G", "-F"])
        .arg(file)
        .arg(name)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    if !output.status.success() {
        return None;
    }
    let mut said: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let (key, value) = line.split_once(' ').unwrap_or((line, ""));
        said.entry(key.to_owned())
            .or_default()
            .push(value.to_owned());
    }
    Some(said)
}

/// The same in OpenSSH's words, where it says it.
fn ours(config: &SshConfig, name: &str) -> BTreeMap<String, Vec<String>> {
    let found = config.lookup(name);
    let mut said: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut put = |key: &str, values: Vec<String>| {
        if !values.is_empty() {
            said.insert(key.to_owned(), values);
        }
    };
    let hostname = found.hostname.unwrap_or_else(|| "%h".to_owned());
    let hostname = hostname.replace("%h", name).replace("%%", "%");
    put("hostname", vec![hostname.to_lowercase()]);
    put("user", found.user.into_iter().collect());
    put("port", vec![found.port.unwrap_or(22).to_string()]);
    put("identityfile", found.identity_files);
    let only = if found.identities_only == Some(true) {
        "yes"
    } else {
        "no"
    };
    put("identitiesonly", vec![only.to_owned()]);
    put("identityagent", found.identity_agent.into_iter().collect());
    put("hostkeyalias", found.host_key_alias.into_iter().collect());
    let files = |list: Option<Vec<String>>| list.map(|list| list.join(" ")).into_iter().collect();
    put("userknownhostsfile", files(found.user_known_hosts));
    put("globalknownhostsfile", files(found.global_known_hosts));
    let jump = |jump: &Jump| {
        let user = jump
            .user
            .as_ref()
            .map_or(String::new(), |u| format!("{u}@"));
        let host = if jump.host.contains(':') || jump.port.is_some() && jump.host.contains(':') {
            format!("[{}]", jump.host)
        } else {
            jump.host.clone()
        };
        let port = jump.port.map_or(String::new(), |port| format!(":{port}"));
        format!("{user}{host}{port}")
    };
    match found.proxy {
        Some((Proxy::Jump(jumps), _)) => {
            let jumps: Vec<String> = jumps.iter().map(jump).collect();
            put("proxyjump", vec![jumps.join(",")]);
        }
        Some((Proxy::Command, _)) => put("proxycommand", vec!["nc %h %p".to_owned()]),
        Some((Proxy::Straight, _)) | None => {}
    }
    said
}

/// Compares one configuration for all names; gives whether OpenSSH takes it.
fn compare(home: &Path, text: &str) -> bool {
    let file = home.join(".ssh/config");
    fs::write(&file, text).unwrap();
    let config = SshConfig::load(&WithoutSystem, home, &|_| None);
    for name in NAMES {
        let Some(wanted) = openssh(&file, name) else {
            assert!(config.is_err(), "OpenSSH refuses this for {name}:\n{text}");
            return false;
        };
        let config = config
            .as_ref()
            .unwrap_or_else(|failure| panic!("OpenSSH takes this, {failure:?}:\n{text}"));
        let found = ours(config, name);
        for (key, values) in &found {
            let wanted = wanted.get(key).cloned().unwrap_or_default();
            assert_eq!(*values, wanted, "{key} of {name} in\n{text}");
        }
        for key in ["hostkeyalias", "identityagent", "proxyjump"] {
            let is_said = wanted
                .get(key)
                .is_some_and(|values| values[0] != "none" && values[0] != "SSH_AUTH_SOCK");
            assert!(
                !is_said || found.contains_key(key),
                "{key} of {name} in\n{text}"
            );
        }
    }
    true
}

fn is_there(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .stdout(Stdio::null())
        .status();
    let found = found.unwrap().success();
    if !found {
        crate::skip::tell(format_args!("there is no {program} here"));
    }
    found
}

fn home() -> (tempfile::TempDir, PathBuf) {
    let temporary = tempfile::tempdir().unwrap();
    let home = temporary.path().canonicalize().unwrap();
    fs::create_dir(home.join(".ssh")).unwrap();
    (temporary, home)
}

#[test]
fn random_configurations_mean_what_openssh_says_they_mean() {
    if !is_there("ssh") {
        return;
    }
    let (_temporary, home) = home();
    let included = home.join("included");
    let mut random = Random(4);
    let mut taken = 0;
    for _ in 0..80 {
        let line = |random: &mut Random| {
            if random.below(60) == 0 {
                random.pick(&WRONG).to_owned()
            } else {
                random.pick(&LINES).to_owned()
            }
        };
        let below: Vec<String> = (0..random.below(6)).map(|_| line(&mut random)).collect();
        fs::write(&included, below.join("\n")).unwrap();
        let mut lines: Vec<String> = (0..3 + random.below(14))
            .map(|_| line(&mut random))
            .collect();
        let at = random.below(lines.len());
        lines.insert(at, format!("Include {} /no/such/file*", included.display()));
        taken += usize::from(compare(&home, &lines.join("\n")));
    }
    assert!((20..80).contains(&taken), "{taken} of 80 were taken");
}

#[test]
fn each_line_alone_means_what_openssh_says_it_means() {
    if !is_there("ssh") {
        return;
    }
    let (_temporary, home) = home();
    for line in LINES {
        assert!(compare(&home, line), "{line}");
    }
    for line in WRONG {
        assert!(!compare(&home, &format!("Host nobody\n{line}")), "{line}");
    }
}

#[test]
fn known_hosts_has_the_keys_that_ssh_keygen_finds_hashed_or_not() {
    if !is_there("ssh-keygen") {
        return;
    }
    let (_temporary, home) = home();
    let mut keys = Vec::new();
    for (index, kind) in ["ed25519", "ecdsa", "rsa", "ed25519"].iter().enumerate() {
        let file = home.join(format!("key{index}"));
        let made = Command::new("ssh-keygen")
            .args(["-q", "-N", "", "-C", "somebody@somewhere", "-t", kind, "-f"])
            .arg(&file)
            .status();
        assert!(made.unwrap().success());
        keys.push(fs::read_to_string(file.with_extension("pub")).unwrap());
    }
    let plain = home.join("plain");
    let text = format!(
        "# known hosts\npi,10.0.0.1 {}[pi]:2222 {}pi {}\n*.lan,!bad.lan {}::1 {}PI5.LAN {}",
        keys[0], keys[1], keys[2], keys[3], keys[0], keys[1]
    );
    fs::write(&plain, &text).unwrap();
    let hashed = home.join("hashed");
    fs::copy(&plain, &hashed).unwrap();
    let done = Command::new("ssh-keygen")
        .args(["-q", "-H", "-f"])
        .arg(&hashed)
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .status();
    assert!(done.unwrap().success());
    assert!(fs::read_to_string(&hashed).unwrap().contains("|1|"));
    for file in [&plain, &hashed] {
        let known = KnownHosts::parse("known_hosts", &fs::read_to_string(file).unwrap());
        let mut found_any = 0;
        for (host, port) in [
            ("pi", 22),
            ("pi", 2222),
            ("pi", 2223),
            ("10.0.0.1", 22),
            ("x.lan", 22),
            ("bad.lan", 22),
            ("::1", 22),
            ("pi5.lan", 22),
            ("nobody", 22),
        ] {
            let name = host_name(host, port);
            let output = Command::new("ssh-keygen")
                .args(["-F", &name, "-f"])
                .arg(file)
                .output()
                .unwrap();
            let output = String::from_utf8(output.stdout).unwrap();
            let wanted: BTreeSet<String> = output
                .lines()
                .filter(|line| !line.starts_with('#'))
                .map(|line| {
                    line.split(' ')
                        .skip(1)
                        .take(2)
                        .collect::<Vec<_>>()
                        .join(" ")
                })
                .collect();
            let found: BTreeSet<String> = known
                .find(&name)
                .keys
                .iter()
                .map(|key| key.to_openssh().unwrap().trim().to_owned())
                .collect();
            found_any += found.len();
            assert_eq!(found, wanted, "{name} in {}", file.display());
        }
        assert!(found_any >= 8);
    }
}
