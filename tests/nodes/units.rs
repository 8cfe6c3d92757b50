//! `systemd_unit` on a real systemd: when it restarts, when it does not, and what it says of a unit that will not run.

use crate::rig::{Running, World, wait_for};

/// A unit with an input; `vars` so that both can be changed from outside.
const APP: &str = r#"
[vars.seconds]
type = "string"
doc = "How long it runs"
default = "infinity"
[vars.conf]
type = "string"
doc = "What its input holds"
default = "one"

[[step]]
id = "conf"
on = "all"
[step.file]
path = "/srv/app.conf"
content = "{{ conf }}\n"

[[step]]
id = "app"
on = "all"
[step.systemd_unit]
name = "UNIT.service"
enabled = true
running = true
settle = "500ms"
restart_on = "/srv/app.conf"
content = """
[Service]
ExecStart=/bin/sleep {{ seconds }}
[Install]
WantedBy=multi-user.target
"""
"#;

fn app(unit: &str) -> Option<World> {
    World::with(1, &APP.replace("UNIT", unit))
}

/// A playbook of one unit.
fn unit(table: &str) -> String {
    format!(
        "[[step]]\nid = \"unit\"\non = \"all\"\n[step.systemd_unit]\nsettle = \"500ms\"\n{table}"
    )
}

fn invocation(world: &World, unit: &str) -> String {
    let id = world.on(
        0,
        &format!("systemctl show --value -p InvocationID {unit}.service"),
    );
    assert!(!id.trim().is_empty());
    id
}

fn run(world: &World, more: &[&str]) -> String {
    world.expect(0, &[&["run", "main", "--output", "plain"], more].concat())
}

fn nothing_to_do(world: &World, more: &[&str]) {
    let told = run(world, more);
    assert!(told.contains("nothing to change"), "{told}");
}

#[test]
fn a_unit_is_restarted_once_for_each_change_of_its_file_or_inputs() {
    let Some(world) = app("hm-once") else { return };
    let told = run(&world, &[]);
    assert!(
        told.contains("-> enabled") && told.contains("-> running"),
        "{told}"
    );
    let mut last = invocation(&world, "hm-once");
    nothing_to_do(&world, &[]);
    let input = ["--var", "conf=two"];
    let both = ["--var", "conf=two", "--var", "seconds=1000000"];
    let changes: [(&[&str], &str); 2] = [
        (
            &input,
            "restart: its inputs changed since it was started: /srv/app.conf",
        ),
        (&both, "restart: its unit file changes"),
    ];
    for (vars, reason) in changes {
        let told = run(&world, vars);
        assert!(told.contains(reason), "{told}");
        let now = invocation(&world, "hm-once");
        assert_ne!(now, last, "{reason}");
        nothing_to_do(&world, vars);
        assert_eq!(invocation(&world, "hm-once"), now, "{reason}");
        last = now;
    }
    assert_eq!(
        world
            .on(
                0,
                "systemctl show --value -p ExecStart hm-once | grep -o 1000000 | head -n1"
            )
            .trim(),
        "1000000"
    );
}

#[test]
fn a_start_by_others_is_fine_while_the_inputs_are_untouched_and_in_doubt_it_is_restarted() {
    let Some(world) = app("hm-doubt") else { return };
    run(&world, &[]);
    // Another start, the same inputs.
    world.on(0, "sudo systemctl restart hm-doubt");
    nothing_to_do(&world, &[]);
    // A power cut: what started at boot read what is on record.
    world.kill(0);
    world.boot(0);
    nothing_to_do(&world, &[]);
    // Started with something else, and then the file was put back.
    world.on(
        0,
        "sudo sh -c 'cd /srv; cp -p app.conf old; echo x >app.conf; systemctl restart hm-doubt; cp -p old app.conf'",
    );
    let told = run(&world, &[]);
    assert!(
        told.contains("restart: it was started by something else since, and written meanwhile was: /srv/app.conf"),
        "{told}"
    );
    nothing_to_do(&world, &[]);
    // Nobody knows what it was started with.
    world.on(
        0,
        "sudo rm -r /run/hmco-boot/stamp /var/lib/hmco-boot/stamp",
    );
    let told = run(&world, &[]);
    assert!(
        told.contains("restart: no record of what it was started with"),
        "{told}"
    );
    nothing_to_do(&world, &[]);
    // A record of this boot is enough, and so is one of an earlier boot.
    for folder in ["/run/hmco-boot/stamp", "/var/lib/hmco-boot/stamp"] {
        world.on(0, &format!("sudo mv {folder} {folder}.away"));
        nothing_to_do(&world, &[]);
        world.on(0, &format!("sudo mv {folder}.away {folder}"));
    }
}

#[test]
fn what_was_killed_between_the_restart_and_its_record_is_restarted_again_and_said() {
    let playbook = APP.replace("UNIT", "hm-killed").replace("500ms", "20s");
    let Some(world) = World::with(1, &playbook.replace("20s", "0s")) else {
        return;
    };
    run(&world, &[]);
    let old = invocation(&world, "hm-killed");
    world.write_playbook(&playbook);
    let change = ["--var", "conf=two"];
    let running = Running::new(
        world
            .command(&["run", "main", "--output", "json"])
            .args(change),
    );
    wait_for("the restart", || invocation(&world, "hm-killed") != old);
    // Power would take both; here the tool and its job die, and the unit runs on.
    world.on(
        0,
        "sudo sh -c 'kill -9 -$(cut -d\" \" -f1 /run/hmco-boot/jobs/*/pid)'",
    );
    running.kill();
    let between = invocation(&world, "hm-killed");
    world.write_playbook(&playbook.replace("20s", "0s"));
    let told = run(&world, &change);
    assert!(
        told.contains("restart: its inputs changed since it was started: /srv/app.conf"),
        "{told}"
    );
    assert_ne!(invocation(&world, "hm-killed"), between);
    nothing_to_do(&world, &change);
}

#[test]
fn a_unit_that_will_not_run_fails_with_its_journal() {
    let service = |keys: &str| {
        unit(&format!(
            "name = \"hm-bad.service\"\nrunning = true\ncontent = \"\"\"\n{keys}\n\"\"\"\n"
        ))
    };
    let cases = [
        (
            "[Service]\nExecStart=/bin/sh -c 'echo no such socket >&2; exit 3'",
            vec!["no such socket", "exit status 3", "result exit-code"],
        ),
        (
            "[Service]\nExecStart=/no/such/program",
            vec!["exit status 203"],
        ),
        (
            "[Service]\nExecStart=/bin/sh -c 'echo hello; sleep 0.2; exit 4'\nRestart=always\nRestartSec=100ms",
            vec!["it does not stay up", "hello"],
        ),
        (
            "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'kill -9 $$$$'",
            vec!["ended by signal 9"],
        ),
        (
            "[Unit]\nConditionPathExists=/nope\n[Service]\nType=oneshot\nExecStart=/bin/true",
            vec!["a condition of the unit", "ConditionPathExists=/nope"],
        ),
        (
            "[Service]\nExecStart=",
            vec!["bad unit file setting", "Refusing"],
        ),
    ];
    let Some(world) = World::with(1, "") else {
        return;
    };
    for (keys, words) in cases {
        world.write_playbook(&service(keys));
        let told = world.expect(1, &["run", "main", "--output", "plain"]);
        for word in words {
            assert!(told.contains(word), "{keys}: {word:?} is not in:\n{told}");
        }
        world.on(
            0,
            "sudo systemctl stop hm-bad; sudo systemctl reset-failed hm-bad; true",
        );
    }
}

#[test]
fn a_crash_soon_after_the_start_is_found_by_the_next_look() {
    let table = "name = \"hm-late.service\"\nrunning = true\ncontent = \"\"\"\n[Service]\nExecStart=/bin/sleep 2\n\
                 Restart=always\nRestartSec=100ms\nStartLimitIntervalSec=0\n\"\"\"\n";
    let Some(world) = World::with(1, &unit(table)) else {
        return;
    };
    run(&world, &[]);
    wait_for("its first restart", || {
        world
            .on(0, "systemctl show --value -p NRestarts hm-late")
            .trim()
            != "0"
    });
    let told = world.expect(4, &["plan", "main", "--exit-code"]);
    assert!(told.contains("it does not stay up"), "{told}");
    world.on(0, "sudo systemctl stop hm-late");
}

#[test]
fn a_start_that_takes_too_long_fails_and_the_next_run_waits_for_the_same_start() {
    let table = |limit: &str, wait: bool| {
        unit(&format!(
            "name = \"hm-slow.service\"\nrunning = true\nwait = {wait}\nstart_timeout = \"{limit}\"\ncontent = \"\"\"\n\
             [Service]\nType=notify\nNotifyAccess=all\nTimeoutStartSec=infinity\n\
             ExecStart=/bin/sh -c 'until test -e /srv/go; do sleep 0.1; done; systemd-notify --ready; exec sleep infinity'\n\"\"\"\n"
        ))
    };
    let Some(world) = World::with(1, &table("1s", true)) else {
        return;
    };
    let told = world.expect(1, &["run", "main", "--output", "plain"]);
    assert!(told.contains("it is still activating"), "{told}");
    let first = invocation(&world, "hm-slow");
    // With `wait = false`, on its way is good enough.
    world.write_playbook(&table("1s", false));
    nothing_to_do(&world, &[]);
    world.write_playbook(&table("60s", true));
    let mut running = world.start(&["run", "main"]);
    running.until(&["step_started"]);
    world.on(0, "sudo touch /srv/go");
    let (code, said) = running.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("wait: it is still starting"), "{said}");
    assert_eq!(invocation(&world, "hm-slow"), first, "not started over");
    world.on(0, "sudo systemctl stop hm-slow");
}

#[test]
fn oneshots_run_once_in_a_boot_and_again_when_their_file_changes() {
    let table = |word: &str| {
        unit(&format!(
            "name = \"hm-oneshot.service\"\nrunning = true\ncontent = \"\"\"\n[Service]\nType=oneshot\n\
             ExecStart=/bin/sh -c 'echo {word} >>/srv/log'\n\"\"\"\n"
        ))
    };
    let Some(world) = World::with(1, &table("a")) else {
        return;
    };
    run(&world, &[]);
    nothing_to_do(&world, &[]);
    world.write_playbook(&table("b"));
    run(&world, &[]);
    nothing_to_do(&world, &[]);
    assert_eq!(world.on(0, "cat /srv/log"), "a\nb\n");
    // Nothing starts it at boot.
    world.kill(0);
    world.boot(0);
    run(&world, &[]);
    assert_eq!(world.on(0, "cat /srv/log"), "a\nb\nb\n");
}

#[test]
fn enabled_masked_static_and_alias_mean_what_systemd_means_by_them() {
    let Some(world) = World::with(1, "") else {
        return;
    };
    let refused = [
        ("systemd-logind.service", "enabled = true", "static"),
        (
            "sshd.service",
            "running = true",
            "write `name = \"ssh.service\"`",
        ),
        ("no-such.service", "running = true", "there is no unit"),
        ("-.mount", "enabled = true", "made by a generator"),
        (
            "hm-masked.service",
            "running = true",
            "add `masked = false`",
        ),
    ];
    world.on(0, "sudo systemctl mask hm-masked.service");
    for (name, wish, words) in refused {
        world.write_playbook(&unit(&format!("name = \"{name}\"\n{wish}\n")));
        let told = world.expect(1, &["run", "main", "--output", "plain"]);
        assert!(told.contains(words), "{name}: {told}");
    }
    world.on(0, "sudo systemctl unmask hm-masked.service");
    let state = |name: &str| {
        let shown = world.on(
            0,
            &format!("systemctl show --value -p LoadState -p UnitFileState -p ActiveState {name}"),
        );
        shown.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let file =
        "content = \"\"\"\n[Timer]\nOnCalendar=yearly\n[Install]\nWantedBy=timers.target\n\"\"\"\n";
    let name = "name = \"hm-tick.timer\"\n";
    world.on(0, "printf '[Service]\\nExecStart=/bin/true\\n' | sudo tee /etc/systemd/system/hm-tick.service");
    let steps = [
        (
            format!("{name}{file}enabled = true\nrunning = true\n"),
            "loaded active enabled",
        ),
        (
            format!("{name}enabled = false\nrunning = false\n"),
            "loaded inactive disabled",
        ),
    ];
    for (table, wanted) in steps {
        world.write_playbook(&unit(&table));
        run(&world, &[]);
        nothing_to_do(&world, &[]);
        assert_eq!(state("hm-tick.timer"), wanted);
    }
    // What a package brings can be masked, what has its file in /etc cannot.
    world.write_playbook(&unit(&format!("{name}masked = true\n")));
    let told = world.expect(1, &["run", "main", "--output", "plain"]);
    assert!(told.contains("cannot be masked"), "{told}");
    let shipped = "name = \"systemd-tmpfiles-clean.timer\"\n";
    world.write_playbook(&unit(&format!("{shipped}masked = true\nrunning = false\n")));
    run(&world, &[]);
    nothing_to_do(&world, &[]);
    assert_eq!(
        state("systemd-tmpfiles-clean.timer"),
        "masked inactive masked"
    );
    world.write_playbook(&unit(&format!("{shipped}masked = false\nrunning = true\n")));
    run(&world, &[]);
    nothing_to_do(&world, &[]);
    assert_eq!(
        state("systemd-tmpfiles-clean.timer"),
        "loaded active static"
    );
}

#[test]
fn a_template_gets_its_file_its_instance_runs_and_a_changed_input_is_reloaded() {
    let steps = |drop_in: &str, input: &str| {
        format!(
            r#"
[[step]]
id = "input"
on = "all"
[step.file]
path = "/srv/input"
content = "{input}"
[[step]]
id = "template"
on = "all"
[step.systemd_unit]
name = "hm-tpl@.service"
content = """
[Service]
ExecStart=/bin/sleep %i
ExecReload=/bin/sh -c 'echo reloaded >>/srv/log'
[Install]
WantedBy=multi-user.target
"""
[[step]]
id = "instance"
on = "all"
[step.systemd_unit]
name = "hm-tpl@1000.service"
enabled = true
running = true
settle = "0s"
restart_on = "/srv/input"
on_change = "reload"
[step.systemd_unit.drop_in]
more = "[Service]\nEnvironment=A={drop_in}\n"
"#
        )
    };
    let Some(world) = World::with(1, &steps("1", "a")) else {
        return;
    };
    run(&world, &[]);
    nothing_to_do(&world, &[]);
    let first = invocation(&world, "hm-tpl@1000");
    world.write_playbook(&steps("1", "b"));
    let told = run(&world, &[]);
    assert!(
        told.contains("reload: its inputs changed since it was started: /srv/input"),
        "{told}"
    );
    assert_eq!(invocation(&world, "hm-tpl@1000"), first);
    assert_eq!(world.on(0, "cat /srv/log"), "reloaded\n");
    nothing_to_do(&world, &[]);
    world.write_playbook(&steps("2", "b"));
    let told = run(&world, &[]);
    assert!(told.contains("restart: its unit file changes"), "{told}");
    assert_ne!(invocation(&world, "hm-tpl@1000"), first);
    assert_eq!(
        world
            .on(0, "systemctl show --value -p Environment hm-tpl@1000")
            .trim(),
        "A=2"
    );
    nothing_to_do(&world, &[]);
}

#[test]
fn facts_of_units_logs_and_the_clock_are_what_systemd_says() {
    let asserts = r#"
[[step]]
id = "facts"
on = "all"
[step.assert]
that = [
  "read.ssh.load == 'loaded' and read.ssh.active == 'active' and read.ssh.sub == 'running'",
  "read.ssh.enabled == 'enabled' and read.ssh.id == 'ssh.service' and read.ssh.service_type == 'notify'",
  "read.ssh.can_reload and not read.ssh.need_daemon_reload and not read.ssh.flapping and read.ssh.main_pid > 1",
  "read.alias.id == 'ssh.service' and read.alias.active == 'active'",
  "read.gone is none",
  "read.root.active == 'active' and read.root.invocation == ''",
  "'hm-log says 7' in read.log and 'hm-log says 4' not in read.log",
  "facts.clock.synchronized is not none",
]
[step.assert.read]
ssh = { unit = { name = "ssh.service" } }
alias = { unit = { name = "sshd.service" } }
gone = { unit = { name = "hm-gone.service" } }
root = { unit = { name = "-.mount" } }
log = { log = { unit = "hm-log.service", lines = 3 } }
"#;
    let Some(world) = World::with(1, asserts) else {
        return;
    };
    world.on(
        0,
        "sudo systemd-run -q --unit=hm-log sh -c 'for i in 1 2 3 4 5 6 7; do echo hm-log says $i; done; exec sleep infinity'",
    );
    // That it was started is told by systemd itself, before what it says or after.
    wait_for("the log", || {
        let log = world.on(0, "sudo journalctl -q -o cat -u hm-log");
        log.contains("says 7") && log.contains("Started hm-log")
    });
    nothing_to_do(&world, &[]);
    world.on(0, "sudo systemctl stop hm-log");
}

#[test]
fn a_unit_that_systemd_would_not_load_is_not_put_in_place_and_what_runs_stays() {
    let Some(world) = app("hm-bad") else { return };
    run(&world, &[]);
    let file = "/etc/systemd/system/hm-bad.service";
    let (before, invoked) = (
        world.on(0, &format!("cat {file}")),
        invocation(&world, "hm-bad"),
    );
    let service = |lines: &str| {
        unit(&format!(
            "name = \"hm-bad.service\"\nrunning = true\ncontent = \"\"\"\n{lines}\n\"\"\"\n"
        ))
    };
    for bad in [
        "[Service]\nType=simple",
        "[Servic]\nExecStart=/bin/sleep 1",
        "[Service]\nExecStart=sleep/x",
    ] {
        world.write_playbook(&service(bad));
        let told = world.expect(1, &["run", "main", "--output", "plain"]);
        for words in [
            "could not put the files of hm-bad.service in place",
            "bad unit file setting",
            "nothing was changed",
        ] {
            assert!(told.contains(words), "{words}: {told}");
        }
        assert_eq!(world.on(0, &format!("cat {file}")), before);
        assert_eq!(invocation(&world, "hm-bad"), invoked);
    }
    assert_eq!(
        world.on(
            0,
            "sudo sh -c 'ls -d /run/hmco-boot/verify.* 2>/dev/null || true'"
        ),
        ""
    );
    // What does no harm is no reason to refuse: a unit that is not there yet, a key of a later systemd.
    world.write_playbook(&service(
        "[Unit]\nAfter=hm-later.service\n[Service]\nOfTomorrow=yes\nExecStart=/bin/sleep infinity",
    ));
    run(&world, &[]);
    // A drop-in is tried together with the unit that is there.
    let drop_in = |text: &str| {
        unit(&format!(
            "name = \"hm-bad.service\"\n[step.systemd_unit.drop_in]\nx = {text:?}\n"
        ))
    };
    world.write_playbook(&drop_in("[Service]\nExecStart=\n"));
    let told = world.expect(1, &["run", "main", "--output", "plain"]);
    assert!(told.contains("nothing was changed"), "{told}");
    world.write_playbook(&drop_in("[Service]\nNice=5\n"));
    run(&world, &[]);
}
