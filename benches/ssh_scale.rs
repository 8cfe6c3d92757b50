//! What many machines cost: 1,000 targets (or `-- NUMBER`) are read at once over SSH, from a server in another process, so
//! that its cost is not counted. Prints wall time, processor time per target and peak memory of the client.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a program for measuring"
)]

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use hmco_boot::facts::fact::Fact;
use hmco_boot::transport::Host as _;
use hmco_boot::transport::machine::{Machine, Settings};
use hmco_boot::transport::ssh::route::Route;
use hmco_boot::transport::ssh::{Access, SshShell, Sudo, Timeouts};
use russh::keys::PublicKey;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[path = "../tests/support/ssh_server.rs"]
#[expect(dead_code, reason = "shared with tests, which use all of it")]
mod ssh_server;

const SERVE: &str = "--serve";

#[tokio::main]
async fn main() {
    let highest = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: highest,
            maximum: highest,
        },
    )
    .unwrap();
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| word != "--bench")
        .collect();
    if arguments.first().is_some_and(|word| word == SERVE) {
        let server = ssh_server::Server::start(ssh_server::Manner::Good).await;
        println!(
            "{} {}",
            server.address,
            server.host_key.to_openssh().unwrap()
        );
        return std::future::pending().await;
    }
    let targets = arguments.first().map_or(1000, |word| word.parse().unwrap());
    let mut server = Command::new(std::env::current_exe().unwrap())
        .arg(SERVE)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(server.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let (address, key) = line.trim().split_once(' ').unwrap();
    let folder = tempfile::tempdir().unwrap();
    let identity = ssh_server::identity(folder.path());
    let route = ssh_server::route(
        address.parse().unwrap(),
        &PublicKey::from_openssh(key).unwrap(),
        &identity,
    );
    read_all(targets, &route).await;
    server.kill().unwrap();
    server.wait().unwrap();
}

async fn read_all(targets: usize, route: &Route) {
    // The other end has as few processors as we have: a handshake may wait its turn.
    let timeouts = Timeouts {
        connect: std::time::Duration::from_secs(60),
        handshake: std::time::Duration::from_secs(60),
        ..Timeouts::default()
    };
    let access = Arc::new(Access::new(timeouts, Arc::default()));
    let before = processor();
    let begun = Instant::now();
    let machines: Vec<_> = (0..targets)
        .map(|_| {
            let shell = SshShell::new(route.clone(), Sudo::None, access.clone());
            Arc::new(Machine::new(shell, Settings::default()))
        })
        .collect();
    let tasks: Vec<_> = machines
        .iter()
        .map(|machine| {
            let machine = machine.clone();
            tokio::spawn(async move { machine.read(&[Fact::Os]).await })
        })
        .collect();
    let mut failed = 0;
    for task in tasks {
        failed += usize::from(task.await.unwrap().is_err());
    }
    let wall = begun.elapsed().as_secs_f64();
    let used = (processor() - before) * 1000.0;
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let each = used / targets as f64;
    println!(
        "{targets} targets: {wall:.2} s, {each:.2} ms of processor time per target, {failed} failed"
    );
    println!("peak memory: {} MiB, all connected", peak() / 1024);
}

/// Seconds of processor time that this process has used.
fn processor() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    let own: f64 = text.split(' ').next().unwrap().parse().unwrap();
    let mut all = 0.0;
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
        all += text
            .split(' ')
            .next()
            .and_then(|word| word.parse::<f64>().ok())
            .unwrap_or(0.0);
    }
    all.max(own) / 1e9
}

/// KiB.
fn peak() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
