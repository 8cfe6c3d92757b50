use serde_json::json;

use super::super::shared::digest::sha256;
use super::super::shared::testing::{file_stat, lines, mistakes, refusal, target, wish};
use super::*;
use crate::facts::fact::{Content, FactError, FactValue, FileKind, FileStat, Unit};
use crate::facts::known::Store;
use crate::steps::Wish;

const UNIT: &str = "[Service]\nExecStart=/bin/app\n[Install]\nWantedBy=multi-user.target\n";
const OWN: &str = "/etc/systemd/system/app.service";

/// A machine: its files (path, content, identity) and what systemd says of the unit.
struct Machine {
    files: Vec<(&'static str, String, &'static str)>,
    unit: Option<Unit>,
}

impl Machine {
    fn answer(&self, fact: &Fact) -> Result<FactValue, FactError> {
        let file = fact
            .path()
            .and_then(|path| self.files.iter().find(|(name, ..)| *name == path.as_str()));
        match (fact, file) {
            (Fact::Unit { .. }, _) => self
                .unit
                .clone()
                .map(FactValue::Unit)
                .ok_or(FactError::NotFound),
            (_, None) => Err(FactError::NotFound),
            (Fact::Stat { .. }, Some((_, content, identity))) => Ok(FactValue::Stat(FileStat {
                kind: if *identity == "link" {
                    FileKind::Symlink
                } else {
                    FileKind::File
                },
                size: content.len() as u64,
                identity: format!("8:{identity}"),
                ..file_stat()
            })),
            (Fact::Digest { .. }, Some((_, content, _))) => {
                Ok(FactValue::Digest(sha256(content.as_bytes())))
            }
            (_, Some((_, content, _))) => Ok(FactValue::Content(Content {
                sha256: sha256(content.as_bytes()),
                bytes: Some(content.clone().into_bytes()),
            })),
        }
    }

    fn decide(&self, unit: &SystemdUnit) -> Decision<Vec<Action>> {
        let mut store = Store::default();
        for _ in 0..3 {
            let Want::More(facts) = Kind::facts(unit, &store.view(&target())) else {
                break;
            };
            let answers: Vec<_> = facts
                .into_iter()
                .map(|wanted| (wanted.fact.clone(), self.answer(&wanted.fact)))
                .collect();
            store.insert(&target(), answers);
        }
        Wish::decide(unit, &store.view(&target())).unwrap()
    }

    fn told(&self, unit: &SystemdUnit) -> String {
        match self.decide(unit) {
            Decision::Unchanged => "unchanged".to_owned(),
            Decision::Drift { diff, drift } => format!("{}\n{}", lines(&diff), programs(&drift)),
            refused => format!("refused: {}", refusal(refused)),
        }
    }
}

/// What is run, one line each, without the script.
fn programs(actions: &[Action]) -> String {
    let line = |action: &Action| match action {
        Action::Run(program) => format!("$ {}", program.argv.join(" ")),
        Action::WriteFile { path, .. } => format!("$ write {path}"),
        Action::MakeDirectory { path, .. } => format!("$ folder {path}"),
        other => panic!("{other:?}"),
    };
    actions.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn record(invocation: &str, inputs: &[(&str, &str, &str)]) -> Option<String> {
    let mut text = "salt s1\n".to_owned();
    for (path, content, identity) in inputs {
        let digest = match *content {
            "absent" => "absent".to_owned(),
            content => sha256(content.as_bytes()),
        };
        let digest = sha256(format!("s1:{digest}").as_bytes());
        text.push_str(&format!("input {digest} {identity} {path}\n"));
    }
    Some(format!("{text}invocation {invocation}"))
}

fn running(invocation: &str, stamp: Option<String>, kept: Option<String>) -> Option<Unit> {
    Some(Unit {
        load: "loaded".to_owned(),
        active: "active".to_owned(),
        sub: "running".to_owned(),
        enabled: "enabled".to_owned(),
        fragment: OWN.to_owned(),
        result: "success".to_owned(),
        id: "app.service".to_owned(),
        service_type: "simple".to_owned(),
        invocation: invocation.to_owned(),
        stamp,
        stamp_kept: kept,
        ..Unit::default()
    })
}

fn app(more: serde_json::Value) -> SystemdUnit {
    let mut table =
        json!({ "name": "app.service", "running": true, "restart_on": "/etc/app.conf" });
    table
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    wish(table)
}

fn conf(content: &str, identity: &'static str) -> (&'static str, String, &'static str) {
    ("/etc/app.conf", content.to_owned(), identity)
}

/// What is said where the input holds this now, with this identity, and these records are there.
fn said(now: (&str, &'static str), stamp: Option<String>, kept: Option<String>) -> String {
    let machine = Machine {
        files: vec![conf(now.0, now.1)],
        unit: running("i2", stamp, kept),
    };
    let told = machine.told(&app(json!({})));
    told.lines().next().unwrap().to_owned()
}

#[test]
fn the_inputs_are_in_use_if_the_start_is_on_record_or_nothing_was_written_since() {
    let on = |invocation: &str, content: &str, identity: &str| {
        record(invocation, &[("/etc/app.conf", content, identity)])
    };
    // This very start; that the file was touched since says nothing.
    assert_eq!(said(("a", "9"), on("i2", "a", "1"), None), "unchanged");
    // Another start, and nobody wrote in between: in this boot, and from an earlier boot.
    assert_eq!(said(("a", "1"), on("i1", "a", "1"), None), "unchanged");
    assert_eq!(said(("a", "1"), None, on("i1", "a", "1")), "unchanged");
    // One of two records is enough.
    assert_eq!(
        said(("a", "1"), on("i1", "b", "1"), on("i1", "a", "1")),
        "unchanged"
    );
}

#[test]
fn in_doubt_it_is_restarted_and_the_reason_is_said() {
    let on = |invocation: &str, content: &str, identity: &str| {
        record(invocation, &[("/etc/app.conf", content, identity)])
    };
    let told = [
        said(("a", "1"), None, None),
        said(("b", "1"), on("i2", "a", "1"), None),
        // The same again, and somebody started it meanwhile.
        said(("a", "2"), on("i1", "a", "1"), None),
        said(("a", "2"), None, on("i1", "a", "1")),
        said(("a", "1"), record("i2", &[("/etc/other", "a", "1")]), None),
        // What a power cut left of a record.
        said(
            ("a", "1"),
            Some("salt s1\ninput abc 1 /etc".to_owned()),
            Some(String::new()),
        ),
        // A link's own identity does not tell what it leads to.
        said(("a", "link"), on("i1", "a", "link"), None),
    ];
    insta::assert_snapshot!(told.join("\n"), @r"
    +restart: no record of what it was started with
    +restart: its inputs changed since it was started: /etc/app.conf
    +restart: it was started by something else since, and written meanwhile was: /etc/app.conf
    +restart: it was started by something else since, and written meanwhile was: /etc/app.conf
    +restart: no record of what it was started with in: /etc/app.conf
    +restart: no record of what it was started with
    +restart: it was started by something else since, and written meanwhile was: /etc/app.conf
    ");
}

#[test]
fn an_input_that_comes_or_goes_has_changed() {
    let there = record("i2", &[("/etc/app.conf", "a", "1")]);
    let gone = record("i2", &[("/etc/app.conf", "absent", "absent")]);
    let machine = |files: Vec<(&'static str, String, &'static str)>, stamp| Machine {
        files,
        unit: running("i2", stamp, None),
    };
    let app = app(json!({}));
    assert!(
        machine(vec![], there.clone())
            .told(&app)
            .starts_with("+restart: its inputs changed")
    );
    assert!(
        machine(vec![conf("a", "1")], gone.clone())
            .told(&app)
            .starts_with("+restart: its inputs changed")
    );
    assert_eq!(machine(vec![], gone).told(&app), "unchanged");
}

#[test]
fn without_inputs_there_is_nothing_to_restart_for() {
    let machine = Machine {
        files: vec![],
        unit: running("i1", None, None),
    };
    let ssh =
        wish::<SystemdUnit>(json!({ "name": "app.service", "running": true, "enabled": true }));
    assert_eq!(machine.told(&ssh), "unchanged");
}

#[test]
fn a_new_unit_is_written_read_enabled_and_started() {
    let machine = Machine {
        files: vec![],
        unit: None,
    };
    let unit = app(json!({
        "content": UNIT, "enabled": true, "drop_in": { "a": "[Unit]\n", "b.conf": "[Service]\n" }, "settle": "2s",
    }));
    insta::assert_snapshot!(machine.told(&unit), @r"
     /etc/systemd/system/app.service:
    +new file, mode 0644
    +[Service]
    +ExecStart=/bin/app
    +[Install]
    +WantedBy=multi-user.target
     /etc/systemd/system/app.service.d/a.conf:
    +new file, mode 0644
    +[Unit]
     /etc/systemd/system/app.service.d/b.conf:
    +new file, mode 0644
    +[Service]
    +no unit file -> enabled
    +not there -> running
    $ sh -s -- verify app.service
    $ write /etc/systemd/system/app.service
    $ folder /etc/systemd/system/app.service.d
    $ write /etc/systemd/system/app.service.d/a.conf
    $ folder /etc/systemd/system/app.service.d
    $ write /etc/systemd/system/app.service.d/b.conf
    $ systemctl daemon-reload
    $ systemctl enable -- app.service
    $ sh -s -- start app.service 12000 200 1 /etc/app.conf /etc/systemd/system/app.service /etc/systemd/system/app.service.d/a.conf /etc/systemd/system/app.service.d/b.conf
    ");
}

#[test]
fn a_changed_unit_file_is_read_linked_anew_and_taken_into_use() {
    let machine = Machine {
        files: vec![(OWN, "[Service]\n".to_owned(), "1"), conf("a", "1")],
        unit: running("i1", None, None),
    };
    let unit = app(json!({ "content": UNIT, "enabled": true, "on_change": "reload" }));
    let told = machine.told(&unit);
    let done: Vec<&str> = told
        .lines()
        .filter(|line| line.starts_with(['$', '+']))
        .collect();
    insta::assert_snapshot!(done.join("\n"), @r"
    +ExecStart=/bin/app
    +[Install]
    +WantedBy=multi-user.target
    +restart: its unit file changes
    $ sh -s -- verify app.service
    $ write /etc/systemd/system/app.service
    $ systemctl daemon-reload
    $ systemctl reenable -- app.service
    $ sh -s -- restart app.service 12000 300 1 /etc/app.conf /etc/systemd/system/app.service
    ");
}

#[test]
fn a_changed_input_is_reloaded_where_that_is_wished() {
    let stamp = record("i2", &[("/etc/app.conf", "a", "1")]);
    let machine = Machine {
        files: vec![conf("b", "2")],
        unit: running("i2", stamp, None),
    };
    insta::assert_snapshot!(machine.told(&app(json!({ "on_change": "reload" }))), @r"
    +reload: its inputs changed since it was started: /etc/app.conf
    $ sh -s -- reload app.service 12000 300 1 /etc/app.conf
    ");
}

#[test]
fn what_a_job_that_was_cut_off_left_is_read_by_systemd_before_it_is_started() {
    // The file is written, and systemd has not been told.
    let machine = Machine {
        files: vec![(OWN, UNIT.to_owned(), "1"), conf("a", "1")],
        unit: running(
            "i2",
            record("i2", &[("/etc/app.conf", "a", "1"), (OWN, "old", "0")]),
            None,
        ),
    };
    insta::assert_snapshot!(machine.told(&app(json!({ "content": UNIT }))), @r"
    +restart: its inputs changed since it was started: /etc/systemd/system/app.service
    $ systemctl daemon-reload
    $ sh -s -- restart app.service 12000 300 1 /etc/app.conf /etc/systemd/system/app.service
    ");
}

#[test]
fn states_of_running_mean_what_systemd_means_by_them() {
    let with = |change: &dyn Fn(&mut Unit)| {
        let mut unit = running("i2", record("i2", &[("/etc/app.conf", "a", "1")]), None).unwrap();
        change(&mut unit);
        Machine {
            files: vec![conf("a", "1")],
            unit: Some(unit),
        }
    };
    let activating = |unit: &mut Unit| {
        unit.active = "activating".to_owned();
        unit.sub = "start".to_owned();
    };
    let first = |told: String| told.lines().next().unwrap().to_owned();
    let plain = app(json!({}));
    let no_wait = app(json!({ "wait": false }));
    let flapping = |unit: &mut Unit| {
        unit.flapping = true;
        unit.restarts = 4;
    };
    let failed = |unit: &mut Unit| {
        unit.active = "failed".to_owned();
        unit.sub = "failed".to_owned();
        unit.result = "exit-code".to_owned();
        unit.exit = 203;
    };
    let stop = wish::<SystemdUnit>(json!({ "name": "app.service", "running": false }));
    insta::assert_snapshot!([
        first(with(&activating).told(&plain)),
        first(with(&activating).told(&no_wait)),
        first(with(&flapping).told(&plain)),
        first(with(&failed).told(&plain)),
        with(&|_| ()).told(&stop),
        with(&failed).told(&stop),
    ].join("\n"), @r"
    +wait: it is still starting
    unchanged
    +restart: it does not stay up: active (running), restarts by systemd so far: 4
    +failed (failed), exit-code, exit status 203 -> running
    +active (running) -> stopped
    $ systemctl stop -- app.service
    unchanged
    ");
}

#[test]
fn a_oneshot_runs_once_in_a_boot_and_again_for_other_inputs() {
    let oneshot = |exec_start_us: u64, stamp: Option<String>, kept: Option<String>| {
        let mut unit = running("", stamp, kept).unwrap();
        unit.service_type = "oneshot".to_owned();
        (unit.active, unit.sub) = ("inactive".to_owned(), "dead".to_owned());
        unit.exec_start_us = exec_start_us;
        Machine {
            files: vec![conf("a", "1")],
            unit: Some(unit),
        }
    };
    let on = |content: &str, identity: &str| record("", &[("/etc/app.conf", content, identity)]);
    let is_done = |machine: Machine| machine.told(&app(json!({}))) == "unchanged";
    assert!(
        is_done(oneshot(0, on("a", "1"), None)),
        "on record in this boot"
    );
    assert!(
        !is_done(oneshot(0, on("b", "1"), None)),
        "with other inputs"
    );
    assert!(
        !is_done(oneshot(0, None, on("a", "1"))),
        "in an earlier boot only"
    );
    assert!(
        is_done(oneshot(7, None, on("a", "1"))),
        "at boot, with what is on record"
    );
    assert!(
        !is_done(oneshot(7, None, on("a", "2"))),
        "written since, before or after"
    );
    let any = wish::<SystemdUnit>(json!({ "name": "app.service", "running": true }));
    assert_eq!(oneshot(7, None, None).told(&any), "unchanged");
    assert_ne!(oneshot(0, None, None).told(&any), "unchanged");
}

/// A unit in this state: LoadState, UnitFileState, Id, FragmentPath.
fn unit_as([load, enabled, id, fragment]: [&str; 4]) -> Machine {
    let mut unit = running("i1", None, None).unwrap();
    (unit.load, unit.enabled) = (load.to_owned(), enabled.to_owned());
    (unit.id, unit.fragment) = (id.to_owned(), fragment.to_owned());
    Machine {
        files: vec![],
        unit: Some(unit),
    }
}

const NO_UNIT: Machine = Machine {
    files: Vec::new(),
    unit: None,
};

const LIB: &str = "/usr/lib/systemd/system/app.service";

fn of_app(more: serde_json::Value) -> SystemdUnit {
    let mut table = json!({ "name": "app.service" });
    table
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    wish(table)
}

#[test]
fn what_cannot_be_is_refused_with_a_way_out() {
    let told = [
        NO_UNIT.told(&of_app(json!({ "running": true }))),
        unit_as(["loaded", "enabled", "real.service", LIB])
            .told(&of_app(json!({ "running": true }))),
        unit_as(["masked", "masked", "app.service", ""]).told(&of_app(json!({ "running": true }))),
        unit_as(["loaded", "static", "app.service", LIB]).told(&of_app(json!({ "enabled": true }))),
        unit_as(["loaded", "generated", "app.service", LIB])
            .told(&of_app(json!({ "enabled": false }))),
        unit_as(["loaded", "disabled", "app.service", OWN])
            .told(&of_app(json!({ "masked": true }))),
        unit_as(["bad-setting", "disabled", "app.service", LIB])
            .told(&of_app(json!({ "running": true }))),
    ];
    insta::assert_snapshot!(told.join("\n"), @r#"
    refused: there is no unit app.service on the machine
    hint: install what brings it in a step before this one, or give its `content`
    refused: app.service is only another name (an alias) of real.service
    hint: write `name = "real.service"`
    refused: app.service is masked: somebody forbade every start of it
    hint: to take that back, add `masked = false`
    refused: app.service cannot be enabled: it has no [Install] section (static): other units start it
      UnitFileState=static
    hint: leave `enabled` out, or give it an [Install] section by a `drop_in`
    refused: app.service cannot be disabled: its file is made by a generator or at run time
      UnitFileState=generated
    hint: change what makes it (/etc/fstab, a script of /etc/init.d); to forbid its start use `masked = true`
    refused: app.service cannot be masked: its unit file is /etc/systemd/system/app.service, where the mask would be
    hint: remove that file with a `file` step with `state = "absent"`, or use `enabled = false` and `running = false`
    refused: systemd cannot load app.service: its unit file has a mistake
      LoadState=bad-setting, /usr/lib/systemd/system/app.service
    hint: see `systemd-analyze verify app.service` there
    "#);
}

#[test]
fn enabled_and_masked_are_set_and_taken_back() {
    // As wished already.
    assert_eq!(
        NO_UNIT.told(&of_app(json!({ "enabled": false, "running": false }))),
        "unchanged"
    );
    assert_eq!(
        unit_as(["loaded", "static", "app.service", LIB])
            .told(&of_app(json!({ "enabled": false }))),
        "unchanged"
    );
    insta::assert_snapshot!(
        unit_as(["masked", "masked-runtime", "app.service", ""]).told(&of_app(json!({ "masked": false, "enabled": true }))),
        @r"
    -masked
    +masked-runtime -> enabled
    $ systemctl unmask --runtime -- app.service
    $ systemctl enable -- app.service
    "
    );
    insta::assert_snapshot!(
        unit_as(["loaded", "enabled-runtime", "app.service", LIB]).told(&of_app(json!({ "enabled": false, "masked": true, "running": false }))),
        @r"
    +masked
    +active (running) -> stopped
    $ systemctl stop -- app.service
    $ systemctl mask -- app.service
    "
    );
}

#[test]
fn contradictions_and_slips_are_mistakes() {
    let cases = [
        json!({ "name": "app", "running": true }),
        json!({ "name": "/etc/systemd/system/app.service", "running": true }),
        json!({ "name": "a b.service", "running": true }),
        json!({ "name": "app.service" }),
        json!({ "name": "app@.service", "content": UNIT, "running": true }),
        json!({ "name": "app.service", "content": " \n" }),
        json!({ "name": "app.service", "content": "[Service]\n", "enabled": true }),
        json!({ "name": "app.service", "content": UNIT, "masked": true }),
        json!({ "name": "app.service", "drop_in": { "../x": "" } }),
        json!({ "name": "app.service", "masked": true, "running": true }),
        json!({ "name": "app.service", "running": false, "restart_on": "/x" }),
        json!({ "name": "app.service", "running": true, "on_change": "reload" }),
        json!({ "name": "app.service", "running": true, "start_timeout": "0s" }),
    ];
    let told: Vec<String> = cases.into_iter().map(mistakes::<SystemdUnit>).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    name: a unit's full name ends with its type; did you mean `app.service`?
    name: a unit's name, not a path: the file is /etc/systemd/system/NAME
    name: "a b.service" is not a unit's name
    name: nothing is wished of the unit: `content`, `drop_in`, `enabled`, `running`, `masked` or `restart_on`
    name: a template (`NAME@.service`) takes `content` and `drop_in` only; the rest belongs to a step for an instance (`NAME@INSTANCE.service`)
    content: an empty unit file masks the unit: use `masked = true` if that is meant
    enabled: its `content` has no [Install] section, so it cannot be enabled: add one (WantedBy=multi-user.target)
    masked: a masked unit has no file: leave `content` out
    drop_in: "../x" cannot be the name of a drop-in: letters, digits, `-`, `_` and `.`
    masked: a masked unit can neither be enabled nor started
    restart_on: `running = false` and a reason to restart contradict each other
    on_change: without `restart_on` there is nothing whose change asks for a reload
    start_timeout: nothing can start in no time
    "#);
}

#[test]
fn the_ssh_server_is_not_taken_away_from_under_hmco_boot() {
    let cases = [
        json!({ "name": "ssh.service", "running": false }),
        json!({ "name": "sshd.service", "masked": true }),
        json!({ "name": "ssh.socket", "running": false, "masked": true }),
        json!({ "name": "ssh.service", "enabled": false }),
        json!({ "name": "ssh.service", "running": true, "enabled": true }),
        json!({ "name": "ssh-agent.service", "masked": true }),
    ];
    let told: Vec<String> = cases.into_iter().map(mistakes::<SystemdUnit>).collect();
    insta::assert_snapshot!(told.join("\n"), @"
    running: this is how hmco-boot reaches its nodes: a node without ssh.service cannot be reached again
    masked: this is how hmco-boot reaches its nodes: a node whose sshd.service is masked cannot be reached after its next start; where something else starts its SSH server, do this by hand
    running: this is how hmco-boot reaches its nodes: a node without ssh.socket cannot be reached again
    masked: this is how hmco-boot reaches its nodes: a node whose ssh.socket is masked cannot be reached after its next start; where something else starts its SSH server, do this by hand
    enabled: this is how hmco-boot reaches its nodes: a node whose ssh.service is disabled cannot be reached after its next start; where something else starts its SSH server, do this by hand
    ");
}
