//! A server that misbehaves, and a network that does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hmco_boot::model::path::AbsPath;
use hmco_boot::transport::machine::{Machine, Settings};
use hmco_boot::transport::ssh::route::{HostKeys, Route};
use hmco_boot::transport::ssh::{SshShell, Sudo};
use hmco_boot::transport::{Host as _, HostError, HostErrorKind};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::ssh_server::{Manner, Server, identity, route};
use super::sshd::Sshd;
use super::support::{hear, impatient, look, passing, refused, run, within};

struct Node {
    machine: Machine<SshShell>,
    _folder: TempDir,
}

/// A machine at the end of a route.
fn node(route: impl FnOnce(&std::path::Path) -> Route) -> Node {
    let folder = tempfile::tempdir().unwrap();
    let key = identity(folder.path());
    let shell = SshShell::new(route(&key), Sudo::None, impatient());
    let settings = Settings {
        root: Some(AbsPath::new(folder.path().to_str().unwrap()).unwrap()),
        ..Settings::default()
    };
    Node {
        machine: Machine::new(shell, settings),
        _folder: folder,
    }
}

async fn error_of(manner: Manner) -> (HostError, Server) {
    let server = Server::start(manner).await;
    let node = node(|key| server.route(key));
    let error = look(&node.machine).await.unwrap_err();
    (error, server)
}

#[tokio::test]
async fn a_good_one_is_read_with_one_connection_and_one_command() {
    let server = Server::start(Manner::Good).await;
    let node = node(|key| server.route(key));
    look(&node.machine).await.unwrap();
    let seen = &server.seen;
    assert_eq!(seen.connections.load(Ordering::Relaxed), 1);
    assert_eq!(seen.offers.load(Ordering::Relaxed), 1);
    assert_eq!(seen.commands.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_slow_one_is_waited_for() {
    let server = Server::start(Manner::Slow).await;
    let node = node(|key| server.route(key));
    look(&node.machine).await.unwrap();
}

#[tokio::test]
async fn a_connection_dropped_in_a_command_may_be_tried_again() {
    let (error, _server) = error_of(Manner::DropsInCommand).await;
    passing(&error);
    assert!(!error.failure.evidence.is_empty(), "{error:?}");
}

#[tokio::test]
async fn a_job_that_may_have_begun_when_the_connection_dropped_is_lost_and_never_called_not_started()
 {
    for manner in [Manner::DropsInCommand, Manner::ClosesSilently] {
        let server = Server::start(manner).await;
        let node = node(|key| server.route(key));
        let job = hmco_boot::model::action::Job {
            id: hmco_boot::model::id::JobId::new("j"),
            label: "j".to_owned(),
            actions: Vec::new(),
            timeout: hmco_boot::model::units::TimeSpan(Duration::from_secs(5)),
            fence: None,
        };
        let error = within(node.machine.apply(&job, &[], &|_| ()))
            .await
            .unwrap_err();
        // Whether all was taken before the end came is a race; nothing else may be said.
        let kinds = [HostErrorKind::Lost, HostErrorKind::NotStarted];
        assert!(kinds.contains(&error.kind), "{error:?}");
    }
}

#[tokio::test]
async fn a_channel_closed_without_a_status_is_an_end_that_nobody_knows() {
    let server = Server::start(Manner::ClosesSilently).await;
    let folder = tempfile::tempdir().unwrap();
    let shell = SshShell::new(
        server.route(&identity(folder.path())),
        Sudo::None,
        impatient(),
    );
    let said = run(&shell, "true", b"").await.unwrap();
    assert_eq!(said.exit, None);
    assert!(said.refusal.is_none());
    let (error, _server) = error_of(Manner::ClosesSilently).await;
    passing(&error);
}

#[tokio::test]
async fn another_host_key_gets_not_even_a_login() {
    let server = Server::start(Manner::Good).await;
    let other = Server::start(Manner::Good).await;
    let node = node(|key| {
        let mut route = server.route(key);
        route.hops[0].host_keys = HostKeys::Pinned(vec![other.host_key.clone()]);
        route
    });
    let error = look(&node.machine).await.unwrap_err();
    refused(&error);
    assert_eq!(server.seen.offers.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn commands_and_channels_that_are_refused_are_not_tried_for_ever() {
    let (error, server) = error_of(Manner::RefusesCommands).await;
    refused(&error);
    assert!(error.failure.hint.unwrap().contains("ForceCommand"));
    assert_eq!(server.seen.commands.load(Ordering::Relaxed), 1);
    let (error, server) = error_of(Manner::RefusesChannels).await;
    refused(&error);
    assert!(error.failure.hint.unwrap().contains("MaxSessions"));
    assert_eq!(server.seen.connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn one_channel_that_is_refused_is_tried_again_on_the_same_connection() {
    let server = Server::start(Manner::RefusesFirst).await;
    let node = node(|key| server.route(key));
    look(&node.machine).await.unwrap();
    assert_eq!(server.seen.connections.load(Ordering::Relaxed), 1);
    assert_eq!(server.seen.refused.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_flood_of_answers_is_given_up() {
    let (error, _server) = error_of(Manner::Floods).await;
    passing(&error);
    let evidence = error.failure.evidence.join("\n");
    assert!(evidence.contains("more than 32 MiB"), "{evidence}");
    assert!(evidence.len() < 10_000);
}

#[tokio::test]
async fn of_a_flood_of_errors_the_end_is_kept() {
    let (error, _server) = error_of(Manner::FloodsErrors).await;
    refused(&error);
    assert!(error.failure.evidence.join("\n").len() < 20_000);
}

#[tokio::test]
async fn silence_is_given_up_though_the_connection_is_alive() {
    let begun = Instant::now();
    for manner in [Manner::SaysNothing, Manner::Deaf] {
        let server = Server::start(manner).await;
        let folder = tempfile::tempdir().unwrap();
        let shell = SshShell::new(
            server.route(&identity(folder.path())),
            Sudo::None,
            impatient(),
        );
        let settings = Settings {
            silence: Duration::from_millis(300),
            ..Settings::default()
        };
        let error = look(&Machine::new(shell, settings)).await.unwrap_err();
        passing(&error);
        assert!(
            error.failure.evidence.join("\n").contains("said nothing"),
            "{error:?}"
        );
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_login_that_hangs_is_given_up() {
    let server = Server::start(Manner::HangsAtLogin).await;
    let folder = tempfile::tempdir().unwrap();
    let mut access = hmco_boot::transport::ssh::Access::default();
    access.timeouts.auth = Duration::from_millis(300);
    let shell = SshShell::new(
        server.route(&identity(folder.path())),
        Sudo::None,
        Arc::new(access),
    );
    let error = run(&shell, "true", b"").await.unwrap_err();
    passing(&error);
    assert!(error.failure.message.contains("at login"), "{error:?}");
}

#[tokio::test]
async fn a_port_that_accepts_and_says_nothing_is_given_up_and_the_socket_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let key = Server::start(Manner::Good).await.host_key.clone();
    let mute = node(|identity| route(address, &key, identity));
    let accept = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.ok();
        String::from_utf8_lossy(&said).into_owned()
    };
    let (read, said) = tokio::join!(look(&mute.machine), within(accept));
    let error = read.unwrap_err();
    passing(&error);
    assert!(error.failure.message.contains("says nothing"), "{error:?}");
    assert!(said.starts_with("SSH-2.0-"), "{said}");

    // One that says its version and stops there: the handshake has begun.
    let accept = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"SSH-2.0-mute\r\n").await.unwrap();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.ok();
    };
    let (read, ()) = tokio::join!(look(&mute.machine), within(accept));
    passing(&read.unwrap_err());
}

#[tokio::test]
async fn something_else_than_ssh_and_nothing_at_all_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let key = Server::start(Manner::Good).await.host_key.clone();
    let web = node(|identity| route(address, &key, identity));
    let accept = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
    };
    let (read, ()) = tokio::join!(look(&web.machine), accept);
    let error = read.unwrap_err();
    assert!(
        matches!(error.kind, HostErrorKind::Unreachable { .. }),
        "{error:?}"
    );
    drop(listener);
    let error = look(&web.machine).await.unwrap_err();
    passing(&error);
    assert!(
        error.failure.message.contains("does not answer"),
        "{error:?}"
    );
    assert!(error.failure.hint.is_some());
    let nowhere = node(|identity| {
        let mut route = route(address, &key, identity);
        route.hops[0].address = "no-such-host.invalid".to_owned();
        route
    });
    let error = look(&nowhere.machine).await.unwrap_err();
    assert!(error.failure.message.contains("not found"), "{error:?}");
}

/// Passes bytes on until it is frozen; then it keeps the connections and passes nothing.
async fn proxy(port: u16) -> (std::net::SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let frozen = Arc::new(AtomicBool::new(false));
    let stop = frozen.clone();
    tokio::spawn(async move {
        while let Ok((here, _)) = listener.accept().await {
            let there = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let (a, b) = here.into_split();
            let (c, d) = there.into_split();
            tokio::spawn(pass(a, d, stop.clone()));
            tokio::spawn(pass(c, b, stop.clone()));
        }
    });
    (address, frozen)
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    frozen: Arc<AtomicBool>,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count) = from.read(&mut buffer).await {
        if frozen.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if count == 0 || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

#[tokio::test]
async fn a_peer_that_went_away_without_a_word_is_found_dead() {
    let Some(server) = Sshd::start("") else {
        return;
    };
    // While nothing is sent, and in the middle of sending more than all buffers hold.
    for input in [0, 40_000_000] {
        let (address, frozen) = proxy(server.port).await;
        let mut way = server.route("root");
        way.hops[0].port = address.port();
        let shell = SshShell::new(way, Sudo::None, impatient());
        let program = ["sh".to_owned()];
        use hmco_boot::transport::shell::Shell as _;
        let running = within(shell.start(&program)).await.unwrap();
        let freeze = async {
            let seen = server.count("Starting session");
            server.wait_for("Starting session", seen.max(1)).await;
            frozen.store(true, Ordering::Relaxed);
        };
        let begun = Instant::now();
        let input = vec![b'x'; input];
        let (said, ()) = tokio::join!(hear(running, "cat > /dev/null; sleep 60", &input), freeze);
        assert_eq!(said.exit, None);
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{:?}",
            begun.elapsed()
        );
        // The network is back: the next start makes a new connection.
        frozen.store(false, Ordering::Relaxed);
        assert_eq!(
            run(&shell, "echo back", b"").await.unwrap().stdout,
            b"back\n"
        );
    }
}
