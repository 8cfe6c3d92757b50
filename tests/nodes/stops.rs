//! Runs that are stopped in the middle: killed at seeded moments, by Ctrl-C, by a restart; and what is left of a holder
//! who never comes back.

use rustix::process::Signal;

use crate::rig::{Running, World, is_torture, seed, told, wait_for};

/// Steps of many kinds, nearly all in an order; 24 pairs on each node.
const MANY: &str = r#"
[[step]]
id = "folder"
on = "all"
[step.directory]
path = "/srv/tree"
mode = "0750"
[[step]]
id = "file"
on = "all"
each = ["a", "b", "c", "d", "e", "f"]
[step.file]
path = "/srv/tree/file-{{ item }}"
content = "{{ node.name }} {{ item }}\n"
mode = "0640"
[[step]]
id = "mark"
on = "all"
needs = ["folder"]
each = ["a", "b", "c", "d", "e", "f"]
[step.command]
argv = ["sh", "-c", "echo ran >> mark-{{ item }}"]
cwd = "/srv/tree"
creates = "/srv/tree/mark-{{ item }}"
[[step]]
id = "line"
on = "all"
needs = ["file"]
each = ["one", "two", "three"]
[step.line]
path = "/srv/tree/lines"
line = "{{ item }}"
create = true
mode = "0644"
[[step]]
id = "link"
on = "all"
[step.link]
path = "/srv/tree/link"
to = "file-a"
[[step]]
id = "user"
on = "all"
[step.user]
name = "hmtest1"
shell = "/bin/sh"
system = true
[[step]]
id = "unit"
on = "all"
[step.systemd_unit]
name = "hmtest.service"
enabled = true
running = true
restart_on = ["/srv/tree/file-b"]
settle = "0s"
content = """
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=multi-user.target
"""
[[step]]
id = "last"
on = "all"
needs = ["unit", "mark"]
[step.file]
path = "/srv/tree/last"
content = "done\n"
"#;

/// What such a run makes of a node. Anything half-written would be in here too.
const STATE: &str = "cd /; sudo find srv/tree etc/systemd/system/*hmtest* etc/systemd/system/*/hmtest* -printf '%p %y %m %U %G %l\\n' | sort
    sudo find srv/tree etc/systemd/system/hmtest.service -type f -exec sha256sum {} + | sort
    grep -c '^hmtest1:' etc/passwd; systemctl is-active hmtest; systemctl is-enabled hmtest
    systemctl show -p NRestarts hmtest; ls -A /run/hmco-boot/jobs 2>/dev/null; true";

fn states(world: &World) -> Vec<String> {
    (0..2).map(|node| world.on(node, STATE)).collect()
}

#[test]
fn a_run_killed_at_seeded_moments_is_resumed_to_the_same_state() {
    let Some(world) = World::with(2, MANY) else {
        return;
    };
    let mut whole = world.start(&["run", "main"]);
    let mut events = 0;
    while whole.event().is_some() {
        events += 1;
    }
    let (code, said) = whole.end();
    assert_eq!(code, Some(0), "{said}");
    let wished = states(&world);
    assert!(wished[0].lines().count() > 30, "{}", wished[0]);

    let mut state = seed();
    let moments = if is_torture() { 10 } else { 2 };
    for moment in 0..moments {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let after = usize::try_from(state >> 33).unwrap() % events;
        world.clean();
        world.forget("state");
        let mut run = world.start(&["run", "main"]);
        for _ in 0..=after {
            run.event();
        }
        run.kill();
        let resumed = world.command(&["resume"]).output().unwrap();
        let shown = format!(
            "seed {}, moment {moment}: killed after event {after} of {events}\n{}",
            seed(),
            told(&resumed)
        );
        assert_eq!(resumed.status.code(), Some(0), "{shown}");
        assert_eq!(states(&world), wished, "{shown}");
        let plan = world.command(&["plan", "main", "--exit-code"]).output();
        let plan = plan.unwrap();
        assert_eq!(plan.status.code(), Some(0), "{shown}\n{}", told(&plan));
    }
}

/// A step that goes on until it may end, and counts how often it was begun.
const SLOW: &str = r#"
[[step]]
id = "slow"
on = "all"
[step.command]
argv = ["sh", "-c", "echo begun >> /srv/begun; until test -e /srv/go; do sleep 0.1; done; touch /srv/done"]
creates = "/srv/done"
[[step]]
id = "after"
on = "all"
[step.file]
path = "/srv/after"
content = "x\n"
"#;

fn await_begin(world: &World) {
    let path = world.root(0).join("srv/begun");
    wait_for("the step", || path.exists());
}

fn was_done_once(world: &World) {
    let state = world.on(0, "cat /srv/begun /srv/after; test -e /srv/done");
    assert_eq!(state, "begun\nx\n");
}

#[test]
fn the_first_ctrl_c_lets_the_job_end_and_resume_does_the_rest() {
    let Some(world) = World::with(1, SLOW) else {
        return;
    };
    let mut run = world.start(&["run", "main"]);
    await_begin(&world);
    run.signal(Signal::INT);
    run.until(&["cancel_requested", "drain"]);
    world.on(0, "sudo touch /srv/go");
    let (code, said) = run.end();
    assert_eq!(code, Some(130), "{said}");
    let outcomes = world.outcomes();
    assert!(
        outcomes[&format!("slow@{}", world.name(0))].contains("changed"),
        "{outcomes:?}"
    );
    assert!(!world.root(0).join("srv/after").exists());
    // The lock was given back: anybody may go on.
    world.on(0, "! test -e /run/hmco-boot/lock");
    world.expect(0, &["resume"]);
    was_done_once(&world);
}

#[test]
fn the_second_ctrl_c_leaves_the_job_to_the_node_and_resume_awaits_it() {
    let Some(world) = World::with(1, SLOW) else {
        return;
    };
    let mut run = world.start(&["run", "main"]);
    await_begin(&world);
    run.signal(Signal::INT);
    run.until(&["cancel_requested", "drain"]);
    run.signal(Signal::INT);
    let (code, said) = run.end();
    assert_eq!(code, Some(130), "{said}");
    assert!(!world.root(0).join("srv/done").exists());
    let mut resumed = world.start(&["resume"]);
    resumed.until(&["leftover_job", "\"waiting\":true"]);
    world.on(0, "sudo touch /srv/go");
    let (code, said) = resumed.end();
    assert_eq!(code, Some(0), "{said}");
    was_done_once(&world);
}

#[test]
fn the_lock_of_a_holder_who_never_comes_back_ends_with_its_lease() {
    let Some(world) = World::with(1, SLOW) else {
        return;
    };
    let mut first = Running::new(
        world
            .command_as("anna", &["run", "main", "--output", "json"])
            .env("USER", "anna"),
    );
    first.until(&["step_started"]);
    await_begin(&world);
    first.kill();
    world.forget("anna");
    let refused = |why: &str| {
        let bob = world.command_as("bob", &["run", "main"]).output().unwrap();
        assert_eq!(bob.status.code(), Some(5), "{why}: {}", told(&bob));
        assert!(told(&bob).contains("anna"), "{why}: {}", told(&bob));
    };
    // Its time goes by. The lock's states are never written to, only followed by others.
    let pass = "sudo sh -c 'cd /run/hmco-boot; n=$(ls | sed -n s/^lock[.]//p | sort -n | tail -n 1)
        sed \"s/^until .*/until 1/\" lock.$n > new; ln new lock.$((n + 1)); mv new lock'";
    refused("within its lease");
    world.on(0, pass);
    refused("its job still works");
    world.on(0, "sudo touch /srv/go");
    let done = world.root(0).join("srv/done");
    wait_for("the job's end", || done.exists());
    let mut last = None;
    // A job that has just begun to end still counts.
    wait_for("the lock", || {
        world.on(0, pass);
        let bob = world.command_as("bob", &["run", "main"]).output().unwrap();
        let code = bob.status.code();
        last = Some(bob);
        code != Some(5)
    });
    let bob = last.unwrap();
    assert_eq!(bob.status.code(), Some(0), "{}", told(&bob));
    was_done_once(&world);
}

const REBOOT: &str = r#"
[[step]]
id = "needs-it"
on = "all"
[step.command]
argv = ["sh", "-c", "touch /run/hmtest-needs-it /srv/asked"]
creates = "/srv/asked"
[[step]]
id = "reboot"
on = "all"
timeout = "5m"
[step.reboot]
required = false
cmdline = false
files = "/run/hmtest-needs-it"
[[step]]
id = "after"
on = "all"
[step.file]
path = "/srv/after"
content = "x\n"
"#;

const BOOT_ID: &str = "cat /proc/sys/kernel/random/boot_id";

#[test]
fn a_node_is_restarted_where_it_needs_it_and_not_again() {
    let Some(world) = World::with(1, REBOOT) else {
        return;
    };
    let before = world.on(0, BOOT_ID);
    // Nobody is there to be asked.
    let told = world.expect(1, &["run", "main"]);
    assert!(told.contains("--yes"), "{told}");
    assert_eq!(world.on(0, BOOT_ID), before);
    let told = world.expect(0, &["run", "main", "--yes"]);
    assert!(told.contains("2 changed"), "{told}");
    let after = world.on(0, BOOT_ID);
    assert_ne!(after, before);
    let told = world.expect(0, &["run", "main", "--yes"]);
    assert!(told.contains("nothing to change"), "{told}");
    assert_eq!(world.on(0, BOOT_ID), after);
}

#[test]
fn a_power_cut_while_a_node_restarts_changes_nothing_about_it() {
    let Some(world) = World::for_torture("a power cut while a node restarts", 1, REBOOT) else {
        return;
    };
    // Something that takes its time to be stopped, and says so.
    world.on(
        0,
        "sudo systemd-run --unit=hmtest-slow -p TimeoutStopSec=60 -p ExecStop='/bin/sh -c \"touch /srv/stopping; sleep 50\"' sleep infinity",
    );
    let run = world.start(&["run", "main", "--yes"]);
    let stopping = world.root(0).join("srv/stopping");
    wait_for("the restart", || stopping.exists());
    world.kill(0);
    world.boot(0);
    let (code, said) = run.end();
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(
        world.on(0, "cat /srv/after; ! test -e /run/hmtest-needs-it"),
        "x\n"
    );
}

#[test]
fn a_rollout_stops_at_a_node_that_cannot_be_reached() {
    let steps = r#"
[[step]]
id = "roll"
on = "all"
serial = 1
[step.file]
path = "/srv/rolled"
content = "x\n"
"#;
    let Some(world) = World::for_torture("a rollout over an unreachable node", 3, steps) else {
        return;
    };
    world.kill(1);
    let told = world.expect(1, &["run", "main"]);
    let outcomes = world.outcomes();
    for (node, word) in [(0, "changed"), (1, "unreachable"), (2, "blocked")] {
        let outcome = &outcomes[&format!("roll@{}", world.name(node))];
        assert!(outcome.contains(word), "{outcome}\n{told}");
    }
    world.boot(1);
    world.expect(0, &["resume"]);
    assert_eq!(world.on(2, "cat /srv/rolled"), "x\n");
}
