//! Real OpenSSH: connections, channels, output, ends, bastions, login shells.

use std::time::{Duration, Instant};

use hmco_boot::model::action::{Action, Job, JobStatus, Program};
use hmco_boot::model::id::JobId;
use hmco_boot::model::units::TimeSpan;
use hmco_boot::transport::shell::Shell as _;
use hmco_boot::transport::ssh::route::Route;
use hmco_boot::transport::ssh::{Access, Connection, SshShell, Sudo};
use hmco_boot::transport::{Host as _, HostErrorKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::sshd::Sshd;
use super::support::{impatient, look, machine, refused, run, shell, within};

#[tokio::test]
async fn a_machine_that_is_read_costs_one_connection_and_one_execution() {
    let Some(server) = Sshd::start("LogLevel DEBUG1") else {
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let node = machine(shell(server.route("root")), &root);
    assert_eq!(look(&node).await.unwrap().len(), 1);
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
        look(&node).await.unwrap();
    }
    assert_eq!(server.count("Connection from"), 1);
    assert_eq!(server.count("Starting session: command"), 6);
}

#[tokio::test]
async fn a_connection_that_was_begun_before_anybody_needed_it_is_the_one_that_is_used() {
    let Some(server) = Sshd::start("LogLevel DEBUG1") else {
        return;
    };
    let access = impatient();
    access.connect_ahead(&server.route("root"));
    access.connect_ahead(&server.route("root"));
    let limit = Instant::now() + Duration::from_secs(30);
    while server.count("Accepted publickey") == 0 {
        assert!(Instant::now() < limit, "{}", server.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let root = tempfile::tempdir().unwrap();
    let sh = SshShell::new(server.route("root"), Sudo::None, access.clone());
    let node = machine(sh, &root);
    assert_eq!(look(&node).await.unwrap().len(), 1);
    assert_eq!(server.count("Connection from"), 1);
    // Somebody else gets one of their own.
    let sh = SshShell::new(server.route("root"), Sudo::None, access);
    assert_eq!(look(&machine(sh, &root)).await.unwrap().len(), 1);
    assert_eq!(server.count("Connection from"), 2);
}

#[tokio::test]
async fn exit_statuses_and_signals_come_as_a_shell_would_tell_them() {
    let Some(server) = Sshd::start("") else {
        return;
    };
    let sh = shell(server.route("root"));
    let mut exits = Vec::new();
    for script in ["exit 0", "exit 3", "kill -9 $$", "kill -TERM $$"] {
        exits.push(run(&sh, script, b"").await.unwrap().exit);
    }
    assert_eq!(exits, [Some(0), Some(3), Some(137), Some(143)]);
    let said = run(&sh, "echo out; echo err >&2; cat", b"in")
        .await
        .unwrap();
    assert_eq!(said.stdout, b"out\nin");
    assert_eq!(said.stderr, "err\n");
}

#[tokio::test]
async fn input_and_output_larger_than_any_buffer_pass_whole() {
    let Some(server) = Sshd::start("") else {
        return;
    };
    let sh = shell(server.route("root"));
    let input: Vec<u8> = (0..20_000_000_u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let said = run(&sh, "cat", &input).await.unwrap();
    assert!(
        said.stdout == input,
        "{} bytes came back",
        said.stdout.len()
    );
    let said = run(&sh, "head -c 100000000 /dev/zero; exit 4", b"")
        .await
        .unwrap();
    assert_eq!((said.stdout.len(), said.exit), (100_000_000, Some(4)));
}

/// Resident memory of this process in KiB.
fn memory() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn output_that_nobody_reads_waits_on_the_machine() {
    let Some(server) = Sshd::start("") else {
        return;
    };
    let sh = shell(server.route("root"));
    let progress = server.at("progress");
    let script = format!(
        "i=0; while [ $i -lt 200 ]; do head -c 1000000 /dev/zero; i=$((i+1)); echo $i > {}; done",
        progress.display()
    );
    let mut running = within(sh.start(&["sh".to_owned()])).await.unwrap();
    let head = format!("{} mark\n{script}\n#mark", script.len() + 6);
    running.stdin.write_all(head.as_bytes()).await.unwrap();
    let written = || {
        let text = std::fs::read_to_string(&progress).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    };
    // Until it does not get on any more.
    let mut last = (0, Instant::now());
    while last.0 == 0 || last.1.elapsed() < Duration::from_millis(700) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        if written() != last.0 {
            last = (written(), Instant::now());
        }
    }
    assert!(
        last.0 < 20,
        "{} MB went somewhere; {} KiB here",
        last.0,
        memory()
    );
    let mut all = 0;
    let mut buffer = vec![0; 65536];
    loop {
        match within(running.stdout.read(&mut buffer)).await.unwrap() {
            0 => break,
            count => all += count,
        }
    }
    assert_eq!(all, 200_000_000);
    assert_eq!(within(running.control.wait()).await, Some(0));
}

#[tokio::test]
async fn a_background_process_that_holds_the_output_is_not_waited_for() {
    let Some(server) = Sshd::start("") else {
        return;
    };
    let sh = shell(server.route("root"));
    let mut running = within(sh.start(&["sh".to_owned()])).await.unwrap();
    let script = "sleep 60 & echo $!; exit 5";
    let text = format!("{} mark\n{script}\n#mark", script.len() + 6);
    running.stdin.write_all(text.as_bytes()).await.unwrap();
    let begun = Instant::now();
    assert_eq!(within(running.control.wait()).await, Some(5));
    assert!(begun.elapsed() < Duration::from_secs(20));
    let mut pid = [0; 16];
    let count = within(running.stdout.read(&mut pid)).await.unwrap();
    let pid = String::from_utf8_lossy(&pid[..count])
        .trim()
        .parse()
        .unwrap();
    super::sshd::signal("KILL", pid);
}

#[tokio::test]
async fn a_connection_that_is_cut_is_an_end_that_nobody_knows_and_the_next_start_makes_a_new_one() {
    let Some(server) = Sshd::start("") else {
        return;
    };
    let sh = shell(server.route("root"));
    let running = within(sh.start(&["sh".to_owned()])).await.unwrap();
    let cut = async {
        server.wait_for("Starting session: command", 1).await;
        server.kill_connections();
    };
    let script = "echo begun; sleep 60";
    let (said, ()) = tokio::join!(super::support::hear(running, script, b""), cut);
    assert_eq!(said.exit, None);
    assert!(said.refusal.is_none(), "{said:?}");
    let said = run(&sh, "echo again", b"").await.unwrap();
    assert_eq!(said.stdout, b"again\n");
    assert_eq!(server.count("Connection from"), 2);
}

#[tokio::test]
async fn a_job_whose_connection_is_cut_goes_on_and_is_found_again() {
    let Some(server) = Sshd::start("") else {
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let node = machine(shell(server.route("root")), &root);
    let gate = root.path().join("gate");
    std::process::Command::new("mkfifo")
        .arg(&gate)
        .status()
        .unwrap();
    let script = "echo begun > \"$HMCO_BOOT_ROOT/begun\"; read -r x < \"$HMCO_BOOT_ROOT/gate\"; echo $x > \"$HMCO_BOOT_ROOT/done\"";
    let job = Job {
        id: JobId::new("j1"),
        label: "j1".to_owned(),
        actions: vec![Action::Run(Program {
            argv: ["sh", "-c", script].map(str::to_owned).to_vec(),
            cwd: None,
            env: Vec::new(),
            stdin: None,
            ok_exit: vec![0],
            retry_exit: Vec::new(),
            purpose: None,
        })],
        timeout: TimeSpan(Duration::from_secs(60)),
        fence: None,
    };
    let begun = root.path().join("begun");
    let cut = async {
        while !begun.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        server.kill_connections();
    };
    let (applied, ()) = tokio::join!(within(node.apply(&job, &[], &|_| ())), cut);
    let error = applied.unwrap_err();
    assert_eq!(error.kind, HostErrorKind::Lost, "{error:?}");
    assert!(!error.failure.evidence.is_empty(), "{error:?}");
    let go = async { tokio::fs::write(&gate, "through\n").await.unwrap() };
    let (end, ()) = tokio::join!(within(node.attach(&job.id, false, &|_| ())), go);
    assert_eq!(end.unwrap().status, JobStatus::Succeeded);
    let done = std::fs::read_to_string(root.path().join("done")).unwrap();
    assert_eq!(done, "through\n");
}

#[tokio::test]
async fn one_session_at_a_time_is_enough() {
    let Some(server) = Sshd::start("MaxSessions 1") else {
        return;
    };
    let sh = shell(server.route("root"));
    let script = "sleep 0.05; echo done";
    let (a, b, c, d) = tokio::join!(
        run(&sh, script, b""),
        run(&sh, script, b""),
        run(&sh, script, b""),
        run(&sh, script, b"")
    );
    for said in [a, b, c, d] {
        assert_eq!(said.unwrap().stdout, b"done\n");
    }
    for _ in 0..10 {
        assert_eq!(run(&sh, "echo more", b"").await.unwrap().stdout, b"more\n");
    }
    assert_eq!(server.count("Connection from"), 1);
}

#[tokio::test]
async fn a_session_that_was_left_does_not_keep_the_next_one_out() {
    let Some(server) = Sshd::start("MaxSessions 1") else {
        return;
    };
    let sh = shell(server.route("root"));
    let mut running = within(sh.start(&["sh".to_owned()])).await.unwrap();
    // Deaf to signals and to the end of its input.
    let script = "trap '' TERM HUP PIPE; exec setsid sleep 20";
    let text = format!("{} mark\n{script}\n#mark", script.len() + 6);
    running.stdin.write_all(text.as_bytes()).await.unwrap();
    server.wait_for("Starting session: command", 1).await;
    drop(running);
    assert_eq!(run(&sh, "echo on", b"").await.unwrap().stdout, b"on\n");
}

#[tokio::test]
async fn a_server_without_sessions_is_refused_with_the_directive() {
    let Some(server) = Sshd::start("MaxSessions 0") else {
        return;
    };
    let error = run(&shell(server.route("root")), "true", b"")
        .await
        .unwrap_err();
    refused(&error);
    assert!(error.failure.hint.unwrap().contains("MaxSessions"));
}

#[tokio::test]
async fn a_login_that_may_run_nothing_is_refused_and_not_tried_again() {
    let Some(server) = Sshd::start("ForceCommand echo no; exit 1") else {
        return;
    };
    let said = run(&shell(server.route("root")), "true", b"")
        .await
        .unwrap();
    assert_eq!(said.stdout, b"no\n");
    let Some(server) = Sshd::start("ForceCommand exit 1") else {
        return;
    };
    let root = tempfile::tempdir().unwrap();
    let error = look(&machine(shell(server.route("root")), &root))
        .await
        .unwrap_err();
    refused(&error);
    assert!(
        error.failure.message.contains("ran no command"),
        "{error:?}"
    );
}

fn through(bastion: &Sshd, node: &Sshd, name: &str) -> Route {
    Route {
        hops: vec![bastion.hop("bastion gate", "root"), node.hop(name, "root")],
        unsupported: Vec::new(),
    }
}

#[tokio::test]
async fn machines_behind_a_bastion_share_one_connection_to_it() {
    let (Some(gate), Some(node)) = (Sshd::start(""), Sshd::start("")) else {
        return;
    };
    let access = impatient();
    let shells: Vec<SshShell> = (0..3)
        .map(|n| {
            SshShell::new(
                through(&gate, &node, &format!("n{n}")),
                Sudo::None,
                access.clone(),
            )
        })
        .collect();
    let (a, b, c) = tokio::join!(
        run(&shells[0], "echo 0", b""),
        run(&shells[1], "head -c 5000000 /dev/zero", b""),
        run(&shells[2], "cat", b"two")
    );
    assert_eq!(a.unwrap().stdout, b"0\n");
    assert_eq!(b.unwrap().stdout.len(), 5_000_000);
    assert_eq!(c.unwrap().stdout, b"two");
    assert_eq!(gate.count("Connection from"), 1);
    assert_eq!(gate.count("Starting session"), 0);
    assert_eq!(node.count("Connection from"), 3);
    // The bastion dies: all are found dead and come back.
    gate.kill_connections();
    gate.wait_for("Connection from", 1).await;
    within(async { while run(&shells[0], "echo 0", b"").await.is_err() {} }).await;
    assert_eq!(run(&shells[2], "echo 2", b"").await.unwrap().stdout, b"2\n");
    assert_eq!(gate.count("Connection from"), 2);
}

#[tokio::test]
async fn a_bastion_that_does_not_forward_is_named_with_the_directive() {
    for directive in ["AllowTcpForwarding no", "PermitOpen 192.0.2.1:1"] {
        let (Some(gate), Some(node)) = (Sshd::start(directive), Sshd::start("")) else {
            return;
        };
        let error = run(&shell(through(&gate, &node, "n")), "true", b"")
            .await
            .unwrap_err();
        refused(&error);
        assert!(error.failure.message.contains("bastion gate"), "{error:?}");
        assert!(
            error
                .failure
                .hint
                .as_ref()
                .unwrap()
                .contains("AllowTcpForwarding"),
            "{error:?}"
        );
        assert_eq!(node.count("Connection from"), 0);
    }
}

#[tokio::test]
async fn a_bastions_host_key_is_verified_too_and_the_machine_behind_it_as_well() {
    let (Some(gate), Some(node)) = (Sshd::start(""), Sshd::start("")) else {
        return;
    };
    for wrong in [0, 1] {
        let mut route = through(&gate, &node, "n");
        let others = [&node, &gate][wrong].host_key.clone();
        route.hops[wrong].host_keys =
            hmco_boot::transport::ssh::route::HostKeys::Pinned(vec![others]);
        let error = run(&shell(route), "true", b"").await.unwrap_err();
        refused(&error);
        let hint = error.failure.hint.unwrap();
        let name = ["hosts pin gate ", "hosts pin n "][wrong];
        assert!(hint.contains(name), "{hint}");
    }
    assert_eq!(node.count("Accepted"), 0);
}

#[tokio::test]
async fn a_port_of_the_machine_is_reached_through_its_connection() {
    let Some(server) = Sshd::start("") else {
        return;
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connection = Connection::open(&server.route("root"), &Access::default())
        .await
        .unwrap();
    let mut here = connection.direct_tcpip("127.0.0.1", port).await.unwrap();
    let (mut there, _) = listener.accept().await.unwrap();
    here.write_all(b"ask").await.unwrap();
    let mut asked = [0; 3];
    within(there.read_exact(&mut asked)).await.unwrap();
    there.write_all(b"tell").await.unwrap();
    drop(there);
    let mut told = Vec::new();
    within(here.read_to_end(&mut told)).await.unwrap();
    assert_eq!((&asked, told.as_slice()), (b"ask", b"tell".as_slice()));
    drop(listener);
    let error = connection
        .direct_tcpip("127.0.0.1", port)
        .await
        .err()
        .unwrap();
    assert_eq!(error.kind, HostErrorKind::Unreachable { transient: true });
}
