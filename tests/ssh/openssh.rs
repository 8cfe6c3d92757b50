//! Real OpenSSH.

use std::time::Instant;

use hmco_boot::transport::shell::Shell as _;

use super::sshd::Sshd;
use super::support::{impatient, look, machine, passing, refused, run, shell, within};

#[tokio::test]
async fn a_machine_that_is_read_costs_one_connection_and_one_execution() {
    let Some(server) = Sshd::start("") else {
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let node = machine(shell(server.route("root")), &root);
    let begun = Instant::now();
    assert_eq!(look(&node).await.unwrap().len(), 1);
    eprintln!("first {:?}", begun.elapsed());
    assert_eq!(server.count("Connection from"), 1);
    assert_eq!(server.count("Starting session: command"), 1);
    // No key was offered in vain, and nothing but the command was asked of the channel.
    assert_eq!(server.count("Accepted publickey"), 1);
    assert_eq!(server.count("Failed"), 0);
    let requests = server
        .log()
        .lines()
        .filter(|line| line.contains("server_input_channel_req"))
        .count();
    assert_eq!(requests, 1, "{}", server.log());
    for _ in 0..5 {
        let begun = Instant::now();
        look(&node).await.unwrap();
        eprintln!("more {:?}", begun.elapsed());
    }
    assert_eq!(server.count("Connection from"), 1);
    assert_eq!(server.count("Starting session: command"), 6);
}

#[tokio::test]
async fn timing() {
    let Some(server) = Sshd::start("") else {
        return;
    };
    let sh = shell(server.route("root"));
    for script in [
        "exit 0",
        "exit 0",
        "echo hallo",
        "echo a; sleep 0.01; echo b",
        "echo a >&2; echo b",
    ] {
        let begun = Instant::now();
        let said = run(&sh, script, b"").await.unwrap();
        eprintln!("{script:?} {:?} {said:?}", begun.elapsed());
    }
    let local = hmco_boot::transport::local::LocalHost::new(Default::default());
    for _ in 0..3 {
        let begun = Instant::now();
        look(&local).await.unwrap();
        eprintln!("local {:?}", begun.elapsed());
    }
}
