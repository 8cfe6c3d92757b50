//! Host keys and logins, with real OpenSSH and its own tools.

use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hmco_boot::facts::fact::{Fact, FactValue};
use hmco_boot::transport::Host as _;
use hmco_boot::transport::machine::{Machine, Settings};
use hmco_boot::transport::shell::Shell as _;
use hmco_boot::transport::ssh::route::{HostKeys, Password};
use hmco_boot::transport::ssh::{Access, Keyring, SshShell, Sudo, Timeouts, fingerprint};

use super::sshd::{Sshd, keygen, public};
use super::support::{refused, run, shell};

#[tokio::test]
async fn keys_of_all_types_log_in() {
    let Some(server) = Sshd::start("") else {
        return;
    };
    for kind in ["ed25519", "ecdsa", "rsa"] {
        let path = server.at(kind);
        keygen(&path, kind, "");
        server.authorize(&std::fs::read_to_string(path.with_extension("pub")).unwrap());
        let mut route = server.route("root");
        route.hops[0].identities = vec![path.clone()];
        let shell = shell(route);
        assert_eq!(shell.login().await, None);
        assert_eq!(run(&shell, "echo in", b"").await.unwrap().stdout, b"in\n");
        let line = std::fs::read_to_string(path.with_extension("pub")).unwrap();
        let words: Vec<&str> = line.split(' ').take(2).collect();
        let login = shell.login().await.unwrap();
        assert_eq!(login.user, "root");
        assert_eq!(login.key, Some(words.join(" ").trim().to_owned()));
        let asked = [Fact::Login];
        let answers = Machine::new(shell, Settings::default()).read(&asked).await;
        assert_eq!(
            answers.unwrap(),
            [(Fact::Login, Ok(FactValue::Login(login)))]
        );
    }
    assert!(
        server
            .log()
            .contains("Accepted publickey for root from 127.0.0.1")
    );
    assert_eq!(server.count("Failed"), 0);
}

#[tokio::test]
async fn host_keys_of_all_types_are_verified_and_the_pinned_one_is_asked_for() {
    for kind in ["ecdsa", "rsa"] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("more");
        keygen(&path, kind, "");
        // It has an ed25519 key as well, which it would rather show.
        let Some(server) = Sshd::start(&format!("HostKey {}", path.display())) else {
            return;
        };
        let mut route = server.route("root");
        route.hops[0].host_keys = HostKeys::Pinned(vec![public(&path.with_extension("pub"))]);
        assert_eq!(
            run(&shell(route), "echo in", b"").await.unwrap().stdout,
            b"in\n"
        );
    }
}

#[tokio::test]
async fn a_host_key_that_is_not_trusted_is_refused_before_anything_is_said() {
    let Some(server) = Sshd::start("LogLevel DEBUG3") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let other = |kind: &str| {
        let path = folder.path().join(kind);
        keygen(&path, kind, "");
        public(&path.with_extension("pub"))
    };
    let known = |keys| HostKeys::Known {
        files: vec!["/home/anna/.ssh/known_hosts".into()],
        keys,
        revoked: Vec::new(),
    };
    let cases = [
        (HostKeys::Pinned(vec![other("ed25519")]), "another host key"),
        (
            HostKeys::Pinned(vec![other("ecdsa")]),
            "no host key of a type",
        ),
        (known(Vec::new()), "is not known"),
    ];
    for (host_keys, message) in cases {
        let offered =
            !matches!(&host_keys, HostKeys::Pinned(keys) if keys[0].algorithm().is_ecdsa());
        let mut route = server.route("root");
        route.hops[0].host_keys = host_keys;
        let error = run(&shell(route), "true", b"").await.unwrap_err();
        refused(&error);
        assert!(error.failure.message.contains(message), "{error:?}");
        let evidence = error.failure.evidence.join("\n");
        assert_eq!(
            evidence.contains(&fingerprint(&server.host_key)),
            offered,
            "{evidence}"
        );
        assert!(
            error
                .failure
                .hint
                .unwrap()
                .contains("hmco-boot hosts pin node")
        );
    }
    server.wait_for("Connection from", 3).await;
    assert_eq!(server.count("userauth-request"), 0, "{}", server.log());
}

#[tokio::test]
async fn a_refused_login_names_all_that_was_tried_and_the_cure() {
    let Some(server) = Sshd::start("") else {
        return;
    };
    let stranger = server.at("stranger");
    keygen(&stranger, "ed25519", "");
    let mut route = server.route("root");
    route.hops[0].identities = vec![stranger.clone(), server.at("missing")];
    let error = run(&shell(route), "true", b"").await.unwrap_err();
    refused(&error);
    let evidence = error.failure.evidence.join("\n");
    let key = fingerprint(&public(&stranger.with_extension("pub")));
    for words in [
        &key,
        "missing is not there",
        "no agent",
        "it would take: publickey",
    ] {
        assert!(evidence.contains(words), "{words}: {evidence}");
    }
    assert!(
        error
            .failure
            .hint
            .unwrap()
            .contains("hmco-boot hosts enroll node")
    );
}

/// An access that answers passphrases, and how often it was asked.
fn answering(passphrase: &'static str) -> (Arc<Access>, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let keyring = Keyring::new(Box::new(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        Ok(Password::new(passphrase.to_owned()))
    }));
    (
        Arc::new(Access::new(Timeouts::default(), Arc::new(keyring))),
        asked,
    )
}

#[tokio::test]
async fn a_passphrase_is_asked_for_once_for_all_machines_and_only_where_the_key_is_welcome() {
    let Some(server) = Sshd::start("") else {
        return;
    };
    let (welcome, stranger) = (server.at("welcome"), server.at("stranger"));
    keygen(&welcome, "ed25519", "open sesame");
    keygen(&stranger, "ed25519", "another");
    server.authorize(&std::fs::read_to_string(welcome.with_extension("pub")).unwrap());
    let mut route = server.route("root");
    route.hops[0].identities = vec![stranger, welcome];
    let (access, asked) = answering("open sesame");
    let shells: Vec<_> = (0..4)
        .map(|_| SshShell::new(route.clone(), Sudo::None, access.clone()))
        .collect();
    let (a, b, c, d) = tokio::join!(
        run(&shells[0], "echo in", b""),
        run(&shells[1], "echo in", b""),
        run(&shells[2], "echo in", b""),
        run(&shells[3], "echo in", b"")
    );
    for said in [a, b, c, d] {
        assert_eq!(said.unwrap().stdout, b"in\n");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);

    let (access, asked) = answering("wrong");
    let error = run(
        &SshShell::new(route.clone(), Sudo::None, access),
        "true",
        b"",
    )
    .await
    .unwrap_err();
    refused(&error);
    assert_eq!(asked.load(Ordering::Relaxed), 3);
    assert!(
        error.failure.evidence.join("\n").contains("passphrase"),
        "{error:?}"
    );
    // Nobody to ask.
    let error = run(&shell(route), "true", b"").await.unwrap_err();
    refused(&error);
    assert!(
        error.failure.evidence.join("\n").contains("no terminal"),
        "{error:?}"
    );
}

struct Agent(Child);

impl Agent {
    fn start(socket: &std::path::Path) -> Self {
        let child = Command::new("ssh-agent")
            .args(["-D", "-a"])
            .arg(socket)
            .stdout(Stdio::null())
            .spawn();
        let agent = Self(child.unwrap());
        while !socket.exists() {
            std::thread::yield_now();
        }
        agent
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

fn add(socket: &std::path::Path, key: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let added = Command::new("ssh-add")
        .arg("-q")
        .arg(key)
        .env("SSH_AUTH_SOCK", socket)
        .stderr(Stdio::null())
        .status();
    assert!(added.unwrap().success());
}

#[tokio::test]
async fn keys_of_an_agent_log_in_and_stand_in_for_a_locked_file() {
    let Some(server) = Sshd::start("") else {
        return;
    };
    let socket = server.at("agent");
    let _agent = Agent::start(&socket);
    for kind in ["rsa", "ed25519"] {
        let path = server.at(kind);
        keygen(&path, kind, "");
        add(&socket, &path);
    }
    server.authorize(&std::fs::read_to_string(server.at("rsa.pub")).unwrap());
    let mut route = server.route("root");
    route.hops[0].identities = Vec::new();
    route.hops[0].agent = Some(socket.clone());
    assert_eq!(
        run(&shell(route.clone()), "echo in", b"")
            .await
            .unwrap()
            .stdout,
        b"in\n"
    );
    // Only what is named, and that only the agent can use.
    Command::new("ssh-keygen")
        .args(["-q", "-p", "-N", "locked", "-f"])
        .arg(server.at("rsa"))
        .status()
        .unwrap();
    route.hops[0].identities = vec![server.at("rsa")];
    route.hops[0].identities_only = true;
    let failed = server.count("Failed publickey");
    assert_eq!(
        run(&shell(route.clone()), "echo in", b"")
            .await
            .unwrap()
            .stdout,
        b"in\n"
    );
    assert_eq!(server.count("Failed publickey"), failed);
    route.hops[0].identities = Vec::new();
    refused(&run(&shell(route), "true", b"").await.unwrap_err());
}

#[tokio::test]
async fn certificates_log_in_where_the_key_alone_does_not() {
    let authority = tempfile::tempdir().unwrap();
    let ca = authority.path().join("ca");
    keygen(&ca, "ed25519", "");
    let Some(server) = Sshd::start(&format!("TrustedUserCAKeys {}.pub", ca.display())) else {
        return;
    };
    for kind in ["ed25519", "rsa", "ecdsa"] {
        let path = server.at(&format!("certified-{kind}"));
        keygen(&path, kind, "");
        let mut route = server.route("root");
        route.hops[0].identities = vec![path.clone()];
        refused(&run(&shell(route.clone()), "true", b"").await.unwrap_err());
        let signed = Command::new("ssh-keygen")
            .args(["-q", "-s"])
            .arg(&ca)
            .args(["-I", "anna", "-n", "root"])
            .arg(path.with_extension("pub"))
            .status();
        assert!(signed.unwrap().success());
        let said = run(&shell(route), "echo in", b"").await;
        assert_eq!(said.unwrap().stdout, b"in\n", "{kind}");
    }
}
