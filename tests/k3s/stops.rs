//! A bootstrap that is killed again and again, and goes on every time.

use std::process::Stdio;

use crate::rig::{World, end};

/// The seed of the moments: `HMCO_TORTURE_SEED`.
fn seed() -> u64 {
    std::env::var("HMCO_TORTURE_SEED").map_or(20_261_122, |seed| seed.parse().unwrap())
}

/// Knuth's MMIX constants.
const fn next(state: u64) -> u64 {
    state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407)
}

/// The cluster's make-up: what a run must not do twice or leave out.
fn looks(world: &World, servers: usize) {
    let cas: Vec<String> = (1..=servers)
        .map(|node| {
            world.on(
                node,
                "sha256sum </var/lib/rancher/k3s/server/tls/server-ca.crt",
            )
        })
        .collect();
    assert!(cas.iter().all(|ca| *ca == cas[0]), "one cluster: {cas:?}");
    let nodes = world.kubectl(1, "get nodes --no-headers");
    assert!(
        nodes.lines().count() == servers + 1 && !nodes.contains("NotReady"),
        "{nodes}"
    );
    for node in 1..=servers {
        let restarts = world.on(node, "systemctl show -p NRestarts --value k3s");
        assert_eq!(restarts.trim(), "0");
    }
    let leftover = world.on(1, "ls -A /run/hmco-boot/jobs 2>/dev/null; true");
    assert_eq!(leftover, "", "no job is left");
}

/// What the cluster has is as wished: a whole run asks its API servers to change nothing, as they say themselves.
pub fn nothing_is_written_again(world: &World) {
    let mark = world.mark();
    let playbook = world.bootstrap();
    let said = world.expect(0, &["run", playbook]);
    let asked = world.asked_since(&mark);
    assert_eq!(asked.writes, Vec::<String>::new(), "{said}");
    // A log that knows nothing of hmco-boot would prove nothing.
    let before = world.asked_since(&world.beginning()).writes.len();
    let knows = before > 0 && !asked.lists.is_empty();
    assert!(knows || playbook != "bootstrap-all", "{before}: {said}");
    let (lists, tries) = (asked.lists.len(), asked.dry_runs.len());
    eprintln!("{before} writes before; again: none, {lists} lists, {tries} dry runs");
}

/// The steps of a bootstrap that it is killed in, in their order; the first kill comes before any of them.
const STEPS: [&str; 4] = ["binary", "servers", "join", "tried"];

/// One bootstrap from bare nodes, killed at a moment of its first look and of each of `STEPS`.
fn bootstrap_with_kills(servers: usize, mut state: u64) -> Option<u64> {
    let world = World::up(servers, 1)?;
    world.audit();
    let mut random = |below: u64| {
        state = next(state);
        usize::try_from((state >> 33) % below).unwrap()
    };
    let mut verb: &[&str] = &["run", world.bootstrap(), "--yes"];
    let kill = |mut child: std::process::Child, moment: &str| {
        eprintln!("killed {moment}");
        child.kill().unwrap();
        let (code, said) = end(child);
        assert_eq!(
            code, None,
            "{moment}: it ended before it was killed: {said}"
        );
    };
    let events = random(30);
    kill(
        world.start_after(verb, events),
        &format!("after {events} events"),
    );
    for step in STEPS {
        // Pods run only where there are images.
        if step == "tried" && world.bootstrap() != "bootstrap-all" {
            continue;
        }
        // One that was killed before it said anything need not be on record.
        if step != STEPS[0] || events > 0 {
            verb = &["resume", "--yes"];
        }
        // After the last one nothing comes that it could be killed in.
        let more = if step == "tried" { 0 } else { random(3) };
        kill(
            world.start_in(step, more, verb),
            &format!("{more} events after the start of {step}"),
        );
    }
    verb = &["resume", "--yes"];
    let output = world.command(verb).stdin(Stdio::null()).output().unwrap();
    let shown = crate::rig::told(&output);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    looks(&world, servers);
    world.expect(0, &["plan", world.bootstrap(), "--exit-code"]);
    nothing_is_written_again(&world);
    Some(state)
}

#[test]
fn a_bootstrap_killed_at_seeded_moments_is_resumed_to_a_whole_cluster() {
    let mut state = seed();
    let rounds = if std::env::var_os("HMCO_TORTURE").is_some() {
        10
    } else {
        1
    };
    for round in 0..rounds {
        eprintln!("seed {}, round {round}", seed());
        // Every second one has three servers, of those that `make torture` does.
        let servers = if round % 2 == 0 { 1 } else { 3 };
        let Some(later) = bootstrap_with_kills(servers, state) else {
            return;
        };
        state = later;
    }
}
