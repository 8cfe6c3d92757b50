//! Two operators, each with a state folder of their own, on the same nodes.

use crate::rig::{Running, World, wait_for};

const SLOW: &str = r#"
[[step]]
id = "slow"
on = "all"
[step.command]
argv = ["sh", "-c", "until test -e /srv/go; do sleep 0.2; done; echo done >> /srv/done"]
creates = "/srv/done"
"#;

#[test]
fn the_second_operator_is_told_who_holds_the_lock() {
    let Some(world) = World::with(1, SLOW) else {
        return;
    };
    let mut first = Running::new(
        world
            .command_as("anna", &["run", "main", "--output", "json"])
            .env("USER", "anna"),
    );
    first.until(&["step_started"]);
    let second = world.command_as("bob", &["run", "main"]).output().unwrap();
    let told = crate::rig::told(&second);
    assert_eq!(second.status.code(), Some(5), "{told}");
    assert!(
        told.contains("anna") && told.contains(world.name(0)),
        "{told}"
    );
    world.on(0, "sudo touch /srv/go");
    let (code, said) = first.end();
    assert_eq!(code, Some(0), "{said}");
    // Given back at the end.
    let third = world.command_as("bob", &["run", "main"]).output().unwrap();
    assert_eq!(third.status.code(), Some(0), "{}", crate::rig::told(&third));
    assert_eq!(world.on(0, "cat /srv/done"), "done\n");
}

#[test]
fn a_run_that_was_killed_is_gone_on_with_at_once_and_its_job_is_awaited() {
    let Some(world) = World::with(1, SLOW) else {
        return;
    };
    let mut first = world.start(&["run", "main"]);
    first.until(&["step_started"]);
    wait_for("the job", || {
        world.on(0, "pgrep -fc 'test -e /srv/go' || true").trim() != "0"
    });
    first.kill();
    // Somebody else does not get in: the dead run's job still works.
    let other = world.command_as("bob", &["run", "main"]).output().unwrap();
    assert_eq!(other.status.code(), Some(5), "{}", crate::rig::told(&other));
    world.on(0, "sudo touch /srv/go");
    let told = world.expect(0, &["resume"]);
    assert_eq!(world.on(0, "cat /srv/done"), "done\n", "{told}");
}
