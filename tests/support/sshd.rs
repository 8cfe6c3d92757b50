//! A real OpenSSH server on the loopback address, with its own configuration, keys and log.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use hmco_boot::transport::ssh::route::{Hop, HostKeys, Route};
use russh::keys::PublicKey;
use tempfile::TempDir;

const SSHD: &str = "/usr/sbin/sshd";

pub struct Sshd {
    pub port: u16,
    pub host_key: PublicKey,
    /// Holds the client's key `key` and what the server has.
    pub folder: TempDir,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Sshd {
    /// A server with more lines of configuration. `None`, said aloud: this machine cannot.
    pub fn start(more: &str) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            crate::skip::tell("an SSH server of one's own needs root");
            return None;
        }
        if !Path::new(SSHD).exists() {
            crate::skip::tell(format_args!(
                "this machine has no {SSHD} (package openssh-server)"
            ));
            return None;
        }
        std::fs::create_dir_all("/run/sshd").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        keygen(&at("host"), "ed25519", "");
        keygen(&at("key"), "ed25519", "");
        std::fs::copy(at("key.pub"), at("authorized")).unwrap();
        open_to_all(folder.path());
        open_to_all(&at("authorized"));
        let host_key = public(&at("host.pub"));
        let (port, child, log) = (0..5)
            .find_map(|_| launch(folder.path(), more))
            .expect("an SSH server starts");
        Some(Self {
            port,
            host_key,
            folder,
            child,
            log,
        })
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The way to it for a user, with the client's key.
    pub fn route(&self, user: &str) -> Route {
        Route {
            hops: vec![self.hop("node", user)],
            unsupported: Vec::new(),
        }
    }

    pub fn hop(&self, name: &str, user: &str) -> Hop {
        Hop {
            name: name.to_owned(),
            address: "127.0.0.1".to_owned(),
            port: self.port,
            user: user.to_owned(),
            identities: vec![self.at("key")],
            identities_only: false,
            agent: None,
            host_keys: HostKeys::Pinned(vec![self.host_key.clone()]),
            password: None,
            host_key_alias: None,
        }
    }

    /// Lets a key in.
    pub fn authorize(&self, line: &str) {
        let file = self.at("authorized");
        let mut lines = std::fs::read_to_string(&file).unwrap();
        lines.push_str(line);
        lines.push('\n');
        std::fs::write(file, lines).unwrap();
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until the log has so many lines with these words.
    pub async fn wait_for(&self, words: &str, count: usize) {
        let begun = Instant::now();
        while self.count(words) < count {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "the log has no {count} x {words:?}:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub fn count(&self, words: &str) -> usize {
        let log = self.log();
        log.lines().filter(|line| line.contains(words)).count()
    }

    /// Process ids of the server's children: one per connection, or two.
    pub fn children(&self) -> Vec<u32> {
        let id = self.child.id();
        let path = format!("/proc/{id}/task/{id}/children");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace()
            .map(|word| word.parse().unwrap())
            .collect()
    }

    /// Ends all connections, as a crash of their processes would. The server goes on.
    pub fn kill_connections(&self) {
        for id in self.children() {
            signal("KILL", id);
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.kill_connections();
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// One of our own processes.
pub fn signal(name: &str, id: u32) {
    Command::new("kill")
        .args(["-s", name, &id.to_string()])
        .stderr(Stdio::null())
        .status()
        .unwrap();
}

/// Makes a key pair.
pub fn keygen(path: &Path, kind: &str, passphrase: &str) {
    let bits = if kind == "rsa" { "2048" } else { "256" };
    let made = Command::new("ssh-keygen")
        .args([
            "-q", "-t", kind, "-b", bits, "-N", passphrase, "-C", "test", "-f",
        ])
        .arg(path)
        .status()
        .unwrap();
    assert!(made.success());
}

pub fn public(path: &Path) -> PublicKey {
    PublicKey::from_openssh(std::fs::read_to_string(path).unwrap().trim()).unwrap()
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// `None`: the port was taken in between.
fn launch(folder: &Path, more: &str) -> Option<(u16, Child, Arc<Mutex<String>>)> {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let config = format!(
        "{more}\nPort {port}\nListenAddress 127.0.0.1\nHostKey {0}/host\nPidFile none\nStrictModes no\nUsePAM no\n\
         AuthorizedKeysFile {0}/authorized\nPermitRootLogin yes\nPasswordAuthentication no\nLogLevel VERBOSE\n\
         MaxStartups 200\nSetEnv SHLVL=1\n",
        folder.display()
    );
    let file = folder.join("sshd_config");
    std::fs::write(&file, config).unwrap();
    let mut child = Command::new(SSHD)
        .args(["-D", "-e", "-f"])
        .arg(&file)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut text = String::new();
    loop {
        let Some(Ok(line)) = lines.next() else {
            child.wait().unwrap();
            assert!(text.contains("Bind to port"), "{text}");
            return None;
        };
        text.push_str(&line);
        text.push('\n');
        if line.contains("Server listening") {
            break;
        }
    }
    let log = Arc::new(Mutex::new(text));
    let more = log.clone();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let mut log = more.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
    Some((port, child, log))
}
