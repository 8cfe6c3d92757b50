//! `hosts pin`, `hosts enroll` and `hosts facts` by the real command against real OpenSSH servers on the loopback address.
//! Needs root and an sshd, and says so where it is skipped.

#![expect(
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that starts servers and the real command"
)]

#[path = "support/skip.rs"]
mod skip;
#[path = "support/sshd.rs"]
#[expect(dead_code, reason = "other tests use all of it")]
mod sshd;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sshd::{Sshd, keygen};

/// What the command said.
struct Said {
    exit: Option<i32>,
    out: String,
    err: String,
}

/// A project with a home of its own.
struct Project {
    folder: tempfile::TempDir,
}

impl Project {
    fn new(inventory: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("home/.ssh")).unwrap();
        std::fs::create_dir_all(folder.path().join("p/inventory")).unwrap();
        let project = Self { folder };
        std::fs::write(project.inventory(), inventory).unwrap();
        project
    }

    fn inventory(&self) -> PathBuf {
        self.folder.path().join("p/inventory/lab.toml")
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.inventory()).unwrap()
    }

    fn home(&self, name: &str) -> PathBuf {
        self.folder.path().join("home").join(name)
    }

    fn run(&self, args: &[&str], input: &str) -> Said {
        let mut child = Command::new(env!("CARGO_BIN_EXE_hmco-boot"))
            .args(args)
            .current_dir(self.folder.path().join("p"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.folder.path().join("home"))
            .env("USER", "root")
            .env("HMCO_BOOT_STATE_DIR", self.folder.path().join("state"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that does not read it closes it.
        child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
        let output = child.wait_with_output().unwrap();
        Said {
            exit: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    fn expect(&self, exit: i32, args: &[&str]) -> Said {
        let said = self.run(args, "");
        assert_eq!(
            said.exit,
            Some(exit),
            "{args:?}\n{}\n{}",
            said.out,
            said.err
        );
        said
    }
}

fn node(name: &str, port: u16, more: &str) -> String {
    format!(
        "\n[node.{name}] # {name}\naddress = \"127.0.0.1\"\nport = {port}\nuser = \"root\"\n{more}"
    )
}

const CLUSTER: &str = "# my lab\n[cluster]\nname = \"lab\" # the one\n";

/// A port where nobody listens.
fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Fingerprints as `ssh-keygen -lf` prints them: `256 SHA256:... (ED25519)`.
fn fingerprint(public: &Path) -> String {
    let output = Command::new("ssh-keygen")
        .arg("-lf")
        .arg(public)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    format!("{} {} {}", words[0], words[1], words.last().unwrap())
}

#[test]
fn pin_shows_what_ssh_keygen_shows_and_writes_all_types_without_touching_anything_else() {
    let keys = tempfile::tempdir().unwrap();
    let file = |kind: &str| keys.path().join(kind);
    keygen(&file("ecdsa"), "ecdsa", "");
    keygen(&file("rsa"), "rsa", "");
    let more = format!(
        "HostKey {}\nHostKey {}",
        file("ecdsa").display(),
        file("rsa").display()
    );
    let Some(server) = Sshd::start(&more) else {
        return;
    };
    let dead = free_port();
    let text = format!(
        "{CLUSTER}{}{}\n# the end\n",
        node("a", server.port, "roles = [\"server\"] # keep\n"),
        node("b", dead, "")
    );
    let project = Project::new(&text);

    let said = project.expect(2, &["hosts", "pin"]);
    assert!(
        said.err.contains("there is no terminal to ask at"),
        "{}",
        said.err
    );
    assert_eq!(project.text(), text);

    let said = project.expect(3, &["hosts", "pin", "--yes"]);
    assert!(said.err.contains("b (127.0.0.1 port"), "{}", said.err);
    for public in [server.at("host.pub"), file("ecdsa.pub"), file("rsa.pub")] {
        let wanted = fingerprint(&public);
        assert!(said.out.contains(&wanted), "{wanted} in\n{}", said.out);
    }
    let pinned = project.text();
    let added: Vec<&str> = pinned
        .lines()
        .filter(|line| !text.lines().any(|old| old == *line))
        .collect();
    assert_eq!(added.len(), 5, "{pinned}");
    let kept: Vec<&str> = pinned
        .lines()
        .filter(|line| text.lines().any(|old| old == *line))
        .collect();
    assert_eq!(kept, text.lines().collect::<Vec<_>>());
    let written: BTreeSet<&str> = added[1..4]
        .iter()
        .filter_map(|line| line.trim().split(' ').next())
        .collect();
    assert_eq!(
        written,
        BTreeSet::from(["\"ecdsa-sha2-nistp256", "\"ssh-ed25519", "\"ssh-rsa"])
    );

    let said = project.expect(0, &["hosts", "pin", "a"]);
    assert_eq!(said.out.matches("  pinned ").count(), 3, "{}", said.out);
    assert_eq!(project.text(), pinned);
    std::fs::copy(server.at("key"), project.home(".ssh/id_ed25519")).unwrap();
    std::fs::copy(server.at("key.pub"), project.home(".ssh/id_ed25519.pub")).unwrap();
    let said = project.expect(3, &["hosts", "facts", "--output", "json"]);
    let lines: Vec<serde_json::Value> = said
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[0]["type"], "facts");
    assert_eq!(lines[0]["node"], "a");
    assert_eq!(lines[0]["facts"]["sudo"]["is_root"], true);
    assert_eq!(
        (&lines[1]["type"], &lines[1]["node"]),
        (&"unreachable".into(), &"b".into())
    );
    let said = project.expect(0, &["hosts", "facts", "a"]);
    assert!(said.out.starts_with("a\n  os "), "{}", said.out);
}

#[test]
fn another_key_than_the_pinned_one_is_told_aloud_and_taken_only_with_replace() {
    let Some(server) = Sshd::start("") else {
        return;
    };
    let Some(other) = Sshd::start("") else {
        return;
    };
    let pin = |server: &Sshd| {
        let text = std::fs::read_to_string(server.at("host.pub")).unwrap();
        let words: Vec<&str> = text.split_whitespace().take(2).collect();
        words.join(" ")
    };
    let wrong = format!("host_keys = [\"{}\"] # old\n", pin(&other));
    let text = format!("{CLUSTER}{}", node("a", server.port, &wrong));
    let project = Project::new(&text);
    let said = project.expect(1, &["hosts", "pin", "--yes"]);
    assert!(said.out.contains("  CHANGED "), "{}", said.out);
    assert!(said.out.contains("pinned, and not shown"), "{}", said.out);
    assert!(said.err.contains("hosts pin a --replace"), "{}", said.err);
    assert_eq!(project.text(), text);

    let said = project.expect(1, &["hosts", "pin", "--yes", "--output", "json"]);
    let told: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(told["machines"][0]["keys"][0]["state"], "changed");
    assert_eq!(told["written"], false);

    project.expect(0, &["hosts", "pin", "--yes", "--replace"]);
    assert_eq!(project.text(), text.replace(&pin(&other), &pin(&server)));
    let said = project.expect(0, &["hosts", "pin", "--replace"]);
    assert!(said.out.contains("  pinned "), "{}", said.out);
}

#[tokio::test]
async fn a_bastion_is_pinned_before_the_node_behind_it_is_asked() {
    let (Some(gate), Some(server)) = (Sshd::start(""), Sshd::start("")) else {
        return;
    };
    let key = gate.at("key").display().to_string();
    let text = format!(
        "{CLUSTER}[bastion.gate]\naddress = \"127.0.0.1\"\nport = {}\nidentity = \"{key}\"\n{}",
        gate.port,
        node("a", server.port, "bastion = \"gate\"\n")
    );
    let project = Project::new(&text);
    let said = project.expect(0, &["hosts", "pin", "--yes"]);
    let (first, second) = (said.out.find("bastion gate"), said.out.find("a  127.0.0.1"));
    assert!(first.unwrap() < second.unwrap(), "{}", said.out);
    assert_eq!(project.text().matches("host_keys = ").count(), 2);
    // It was looked at through the gate.
    gate.wait_for("Accepted publickey", 1).await;
    let said = project.expect(0, &["hosts", "pin", "gate"]);
    assert!(said.out.starts_with("bastion gate"), "{}", said.out);
    project.expect(2, &["hosts", "pin", "gaet"]);
}

#[test]
fn keys_of_known_hosts_are_taken_without_asking_the_machine() {
    let Some(server) = Sshd::start("") else {
        return;
    };
    let dead = free_port();
    let text = format!(
        "{CLUSTER}{}{}",
        node("a", server.port, ""),
        node("b", dead, "")
    );
    let project = Project::new(&text);
    let public = std::fs::read_to_string(server.at("host.pub")).unwrap();
    std::fs::write(
        project.home(".ssh/known_hosts"),
        format!("[127.0.0.1]:{dead} {public}"),
    )
    .unwrap();
    let said = project.expect(1, &["hosts", "pin", "--from-known-hosts", "--yes"]);
    assert!(
        said.err.contains("known_hosts has no key of a"),
        "{}",
        said.err
    );
    assert!(said.out.contains("as in known_hosts"), "{}", said.out);
    let words: Vec<&str> = public.split_whitespace().take(2).collect();
    assert!(
        project
            .text()
            .ends_with(&format!("host_keys = [\"{}\"]\n", words.join(" ")))
    );
}

#[test]
fn what_ssh_config_says_and_is_not_done_is_told() {
    let Some(server) = Sshd::start("") else {
        return;
    };
    let project = Project::new(&format!("{CLUSTER}{}", node("a", server.port, "")));
    std::fs::write(
        project.home(".ssh/config"),
        "Host 127.*\n  ProxyCommand nc %h %p\n  ForwardAgent yes\n",
    )
    .unwrap();
    let said = project.expect(0, &["hosts", "pin", "--yes"]);
    assert!(
        said.err.contains("ProxyCommand (~/.ssh/config:2)"),
        "{}",
        said.err
    );
    assert!(!said.err.contains("ForwardAgent"), "{}", said.err);
    std::fs::write(project.home(".ssh/config"), "Host 127.*\n  Port none\n").unwrap();
    let said = project.expect(2, &["hosts", "pin"]);
    assert!(
        said.err.contains("~/.ssh/config:2: `none` is not a port"),
        "{}",
        said.err
    );
}

/// A server that knows one more user, by files of its own in a mount namespace of its own.
struct WithUser {
    folder: tempfile::TempDir,
    port: u16,
    child: std::process::Child,
}

impl WithUser {
    fn start(password: &str) -> Option<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let unshared = Command::new("unshare")
            .args(["-m", "true"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !unshared {
            skip::tell("no mount namespaces here");
            return None;
        }
        // Says so itself where there is no sshd.
        let keys = Sshd::start("")?;
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::create_dir(at("home")).unwrap();
        std::os::unix::fs::chown(at("home"), Some(4711), Some(4711)).unwrap();
        std::fs::copy(keys.at("host"), at("host")).unwrap();
        let hash = Command::new("openssl")
            .args(["passwd", "-6", password])
            .output()
            .unwrap();
        let hash = String::from_utf8(hash.stdout).unwrap();
        for (name, line) in [
            (
                "passwd",
                format!("hmcouser:x:4711:4711::{}:/bin/sh\n", at("home").display()),
            ),
            (
                "shadow",
                format!("hmcouser:{}:19000:0:99999:7:::\n", hash.trim()),
            ),
        ] {
            let mut text = std::fs::read_to_string(Path::new("/etc").join(name)).unwrap();
            text.push_str(&line);
            std::fs::write(at(name), text).unwrap();
        }
        let port = free_port();
        std::fs::write(
            at("config"),
            format!(
                "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none\nUsePAM no\nPasswordAuthentication yes\n",
                at("host").display()
            ),
        )
        .unwrap();
        let script = "mount --bind $1/passwd /etc/passwd && mount --bind $1/shadow /etc/shadow && \
                      exec /usr/sbin/sshd -D -e -f $1/config";
        let mut child = Command::new("unshare")
            .args(["-m", "sh", "-c", script, "sh"])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = std::io::BufReader::new(child.stderr.take().unwrap());
        let mut lines = std::io::BufRead::lines(log);
        let listens = lines.any(|line| line.unwrap().contains("Server listening"));
        assert!(listens);
        // The rest of the log is taken so that the server never waits for us.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self {
            folder,
            port,
            child,
        })
    }
}

impl Drop for WithUser {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn enroll_installs_the_key_once_by_password_and_proves_it() {
    let Some(server) = WithUser::start("a secret word") else {
        return;
    };
    let text = format!(
        "{CLUSTER}[node.a]\naddress = \"127.0.0.1\"\nport = {}\nuser = \"hmcouser\"\n",
        server.port
    );
    let project = Project::new(&text);
    let enroll = ["hosts", "enroll", "a", "--yes", "--password-stdin"];
    let said = project.run(&enroll, "a secret word\n");
    assert_eq!(said.exit, Some(2), "{}", said.err);
    assert!(
        said.err.contains("there is no public key for a"),
        "{}",
        said.err
    );
    keygen(&project.home(".ssh/id_ed25519"), "ed25519", "");

    let said = project.run(&enroll, "another word\n");
    assert_eq!(said.exit, Some(1), "{}\n{}", said.out, said.err);
    assert!(said.err.contains("password: refused"), "{}", said.err);
    let authorized = server.folder.path().join("home/.ssh/authorized_keys");
    assert!(!authorized.exists());

    std::fs::create_dir(authorized.parent().unwrap()).unwrap();
    std::fs::write(&authorized, "# no newline at its end").unwrap();
    for path in [authorized.parent().unwrap(), &authorized] {
        use std::os::unix::fs::PermissionsExt as _;
        std::os::unix::fs::chown(path, Some(4711), Some(4711)).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let said = project.run(&enroll, "a secret word\n");
    assert_eq!(said.exit, Some(0), "{}\n{}", said.out, said.err);
    assert!(
        said.out.ends_with("a  key installed, login proven\n"),
        "{}",
        said.out
    );
    let public = std::fs::read_to_string(project.home(".ssh/id_ed25519.pub")).unwrap();
    let wanted = format!("# no newline at its end\n{public}");
    assert_eq!(std::fs::read_to_string(&authorized).unwrap(), wanted);
    assert!(!format!("{}{}", said.out, said.err).contains("secret word"));

    let said = project.run(&["hosts", "enroll", "a"], "");
    assert_eq!(said.exit, Some(0), "{}", said.err);
    assert_eq!(said.out, "a  lets the key in already\n");
    assert_eq!(std::fs::read_to_string(&authorized).unwrap(), wanted);
}
