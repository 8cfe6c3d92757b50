//! `reboot` on a real machine.

use crate::rig::World;

const STEPS: &str = r#"
[[step]]
id = "restart"
on = "all"
[step.reboot]
files = "/run/hm-restart"
message = "it's for the firmware"
"#;

#[test]
fn a_machine_is_restarted_for_a_reason_only_and_its_new_boot_is_awaited() {
    let Some(world) = World::with(1, STEPS) else {
        return;
    };
    // Where control groups are of version 1, systemd in a container does not notice that the login's manager has ended.
    world.on(
        0,
        "sudo mkdir -p /etc/systemd/system/user@.service.d; \
         printf '[Service]\\nTimeoutStopSec=1s\\n' | sudo tee /etc/systemd/system/user@.service.d/stop.conf; \
         sudo systemctl daemon-reload",
    );
    let boot = || world.on(0, "cat /proc/sys/kernel/random/boot_id");
    let first = boot();
    let told = world.expect(0, &["run", "main", "--output", "plain"]);
    assert!(told.contains("nothing to change"), "{told}");
    for (mark, reason) in [
        ("/run/hm-restart", "because /run/hm-restart is there"),
        (
            "/run/reboot-required",
            "because the distribution asks for it",
        ),
    ] {
        world.on(0, &format!("sudo touch {mark}"));
        let before = boot();
        let told = world.expect(1, &["run", "main", "--output", "plain"]);
        assert!(told.contains("--yes"), "it disturbs: {told}");
        assert_eq!(boot(), before);
        let told = world.expect(0, &["run", "main", "--yes", "--output", "plain"]);
        assert!(
            told.contains(reason) && told.contains("1 changed"),
            "{told}"
        );
        assert_ne!(boot(), before);
    }
    assert_ne!(boot(), first);
    let told = world.expect(0, &["run", "main", "--output", "plain"]);
    assert!(told.contains("nothing to change"), "{told}");
}
