//! What has to happen to a unit, from what systemd says of it, its files and its record.

use super::stamp::{self, Doubt};
use super::{Changes, OnChange, SystemdUnit, Verb};
use crate::facts::fact::Unit;
use crate::facts::known::{Known, Unreadable};
use crate::model::event::DiffLine;
use crate::model::outcome::Failure;
use crate::steps::shared::diff::shown;
use crate::steps::{Decision, Kind};

/// What is found to differ, one aspect after the other.
#[derive(Default)]
struct Found {
    lines: Vec<DiffLine>,
    verbs: Vec<Verb>,
}

impl Found {
    fn add(&mut self, verb: Verb, line: DiffLine) {
        self.lines.push(line);
        self.verbs.push(verb);
    }
}

/// Compares.
pub fn decide(wish: &SystemdUnit, known: &Known<'_>) -> Result<Decision<Changes>, Unreadable> {
    let (files, mut lines) = match files(wish, known)? {
        Decision::Unchanged => (Vec::new(), Vec::new()),
        Decision::Drift { diff, drift } => (drift, diff),
        Decision::Refused(failure) => return Ok(Decision::Refused(failure)),
        Decision::Unknown(failure) => return Ok(Decision::Unknown(failure)),
    };
    let mut found = Found::default();
    if wish.is_template() {
        // Its instances read it when they are started; systemd must know that it is new.
        if !files.is_empty() {
            found.verbs.push(Verb::DaemonReload);
        }
    } else {
        let unit = known.unit(&wish.name)?;
        let pending = !files.is_empty();
        if let Some(failure) = objection(wish, unit, pending) {
            return Ok(Decision::Refused(failure));
        }
        let nothing = Unit::default();
        let unit = unit.unwrap_or(&nothing);
        loaded(wish, unit, pending, &mut found);
        installed(wish, unit, &mut found);
        state(wish, unit, pending, known, &mut found)?;
        let starts = |verb: &Verb| matches!(verb, Verb::Start | Verb::Restart | Verb::Reload);
        let manages_files = wish.content.is_some() || !wish.drop_in.is_empty();
        // What cannot be proven to be in use may not even be known to systemd: a job may have ended in between.
        if manages_files
            && found.verbs.iter().any(starts)
            && !found.verbs.contains(&Verb::DaemonReload)
        {
            found.verbs.insert(0, Verb::DaemonReload);
        }
    }
    lines.append(&mut found.lines);
    if lines.is_empty() && found.verbs.is_empty() {
        return Ok(Decision::Unchanged);
    }
    Ok(Decision::Drift {
        diff: lines,
        drift: Changes {
            files,
            verbs: found.verbs,
        },
    })
}

type Files = Decision<Vec<crate::model::action::Action>>;

/// The files that differ: what to write, with the folder of the drop-ins.
fn files(wish: &SystemdUnit, known: &Known<'_>) -> Result<Files, Unreadable> {
    let (mut actions, mut lines) = (Vec::new(), Vec::new());
    for file in wish.files() {
        match Kind::decide(&file, known)? {
            Decision::Unchanged => {}
            Decision::Refused(failure) => return Ok(Decision::Refused(failure)),
            Decision::Unknown(failure) => return Ok(Decision::Unknown(failure)),
            Decision::Drift { diff, drift } => {
                lines.push(DiffLine::both(format!("{}:", file.path)));
                lines.extend(diff);
                let folder = file
                    .path
                    .parent()
                    .filter(|folder| folder.as_str() != super::FOLDER);
                actions.extend(
                    folder.map(|path| crate::model::action::Action::MakeDirectory {
                        path,
                        mode: crate::model::units::Mode(0o755),
                        owner: crate::model::action::Ownership::default(),
                    }),
                );
                actions.extend(drift);
            }
        }
    }
    Ok(match actions.is_empty() {
        true => Decision::Unchanged,
        false => Decision::Drift {
            diff: lines,
            drift: actions,
        },
    })
}

/// Why it cannot be brought to the wish. `pending`: its files are about to change, and with them what systemd says.
fn objection(wish: &SystemdUnit, unit: Option<&Unit>, pending: bool) -> Option<Failure> {
    let name = &wish.name;
    let Some(unit) = unit else {
        let wants = wish.enabled == Some(true) || wish.running == Some(true);
        return (wants && !pending && wish.content.is_none()).then(|| {
            Failure::new(format!("there is no unit {name} on the machine"))
                .hint("install what brings it in a step before this one, or give its `content`")
        });
    };
    if !unit.id.is_empty() && unit.id != *name {
        return Some(
            Failure::new(format!(
                "{name} is only another name (an alias) of {}",
                unit.id
            ))
            .hint(format!("write `name = \"{}\"`", unit.id)),
        );
    }
    let starts = wish.enabled == Some(true) || wish.running == Some(true);
    if unit.load == "masked" && wish.masked.is_none() && (starts || wish.content.is_some()) {
        return Some(
            Failure::new(format!(
                "{name} is masked: somebody forbade every start of it"
            ))
            .hint("to take that back, add `masked = false`"),
        );
    }
    let own = format!("{}/{name}", super::FOLDER);
    if wish.masked == Some(true) && unit.load != "masked" && unit.fragment == own {
        return Some(
            Failure::new(format!("{name} cannot be masked: its unit file is {own}, where the mask would be"))
                .hint("remove that file with a `file` step with `state = \"absent\"`, or use `enabled = false` and `running = false`"),
        );
    }
    if !pending && matches!(unit.load.as_str(), "error" | "bad-setting") && starts {
        return Some(
            Failure::new(format!(
                "systemd cannot load {name}: its unit file has a mistake"
            ))
            .evidence(format!("LoadState={}, {}", unit.load, unit.fragment))
            .hint(format!("see `systemd-analyze verify {name}` there")),
        );
    }
    if pending || unit.load == "masked" {
        return None;
    }
    not_installable(wish, unit)
}

/// Units whose start at boot is not decided by `[Install]`.
fn not_installable(wish: &SystemdUnit, unit: &Unit) -> Option<Failure> {
    let name = &wish.name;
    let state = unit.enabled.as_str();
    let (what, hint) = match (wish.enabled?, state) {
        (true, "static") => (
            "it has no [Install] section (static): other units start it",
            "leave `enabled` out, or give it an [Install] section by a `drop_in`",
        ),
        (true, "indirect") => (
            "its [Install] section only names other units (indirect)",
            "enable the unit that its `Also=` or `DefaultInstance=` names",
        ),
        (_, "generated" | "transient" | "") => (
            "its file is made by a generator or at run time",
            "change what makes it (/etc/fstab, a script of /etc/init.d); to forbid its start use `masked = true`",
        ),
        _ => return None,
    };
    let word = match wish.enabled {
        Some(true) => "enabled",
        _ => "disabled",
    };
    Some(
        Failure::new(format!("{name} cannot be {word}: {what}"))
            .evidence(format!("UnitFileState={state}"))
            .hint(hint),
    )
}

/// Whether systemd knows the files as they are.
fn loaded(wish: &SystemdUnit, unit: &Unit, pending: bool, found: &mut Found) {
    let own = format!("{}/{}", super::FOLDER, wish.name);
    let other = wish.content.is_some() && unit.load != "masked" && unit.fragment != own;
    if pending {
        // Its reason is the difference of the files.
        found.verbs.push(Verb::DaemonReload);
    } else if unit.need_daemon_reload || other {
        let used = match other && !unit.fragment.is_empty() {
            true => format!(": it uses {}", shown(&unit.fragment)),
            false => String::new(),
        };
        let line = format!("daemon-reload: systemd has not read its files as they are now{used}");
        found.add(Verb::DaemonReload, DiffLine::new(line));
    }
}

/// Masked and enabled.
fn installed(wish: &SystemdUnit, unit: &Unit, found: &mut Found) {
    let masked = unit.load == "masked";
    let runtime = unit.enabled.ends_with("-runtime");
    match wish.masked {
        Some(true) if !masked || runtime => {
            found.add(Verb::Mask, DiffLine::new("masked"));
            return;
        }
        Some(false) if masked => {
            found.lines.push(DiffLine::old("masked"));
            found.verbs.push(Verb::Unmask { runtime });
        }
        _ => {}
    }
    let is = match unit.enabled.as_str() {
        "" => "no unit file",
        word => word,
    };
    let enabled = unit.enabled == "enabled";
    // A changed unit file may have another [Install] section.
    let anew = enabled && found.verbs.contains(&Verb::DaemonReload) && wish.content.is_some();
    match wish.enabled {
        Some(true) if anew => found.verbs.push(Verb::Reenable),
        Some(true) if !enabled => {
            found.add(Verb::Enable, DiffLine::new(format!("{is} -> enabled")));
        }
        Some(false) if matches!(unit.enabled.as_str(), "enabled" | "enabled-runtime") => {
            let line = DiffLine::new(format!("{is} -> disabled"));
            found.add(Verb::Disable { runtime }, line);
        }
        _ => {}
    }
}

/// Running, and with what.
fn state(
    wish: &SystemdUnit,
    unit: &Unit,
    pending: bool,
    known: &Known<'_>,
    found: &mut Found,
) -> Result<(), Unreadable> {
    let is = match (unit.active.as_str(), unit.sub.as_str()) {
        ("", _) => "not there".to_owned(),
        (active, sub) => format!("{active} ({sub})"),
    };
    let alive = matches!(
        unit.active.as_str(),
        "active" | "reloading" | "refreshing" | "activating"
    );
    match wish.running {
        Some(false) => {
            if alive || unit.active == "deactivating" {
                stop(&is, found);
            }
            return Ok(());
        }
        None if wish.restart_on.0.is_empty() || !alive => return Ok(()),
        _ => {}
    }
    let inputs = stamp::inputs(wish, known)?;
    let doubt = match (pending, inputs.is_empty()) {
        (true, _) => Some(None),
        (false, true) => None,
        (false, false) => stamp::proven(unit, &inputs, false).err().map(Some),
    };
    // Of a start that somebody else waits for, one restart by systemd may have been the last that was needed.
    let flaps = wish.wait || unit.restarts > 1 || unit.sub.starts_with("auto-restart");
    if unit.flapping && flaps {
        let line = format!(
            "restart: it does not stay up: {is}, restarts by systemd so far: {}",
            unit.restarts
        );
        found.add(Verb::Restart, DiffLine::new(line));
    } else if alive && unit.active == "activating" && wish.wait {
        starting(doubt, found);
    } else if alive {
        if let Some(doubt) = doubt {
            changed(wish, doubt, found);
        }
    } else if pending || !is_done_oneshot(unit) || !has_run(unit, &inputs) {
        let result = match unit.result.as_str() {
            "" | "success" => String::new(),
            result => format!(", {result}, exit status {}", unit.exit),
        };
        let line = format!("{is}{result} -> running");
        found.add(Verb::Start, DiffLine::new(line));
    }
    Ok(())
}

fn stop(is: &str, found: &mut Found) {
    found.lines.push(DiffLine::new(format!("{is} -> stopped")));
    // Before the mask: a masked unit that is stopped ends as failed.
    let mask = found.verbs.iter().position(|verb| *verb == Verb::Mask);
    let place = mask.unwrap_or(found.verbs.len());
    found.verbs.insert(place, Verb::Stop);
}

/// It is on its way. `doubt`: whether with its inputs; `Some(None)`: its unit file is about to change.
fn starting(doubt: Option<Option<Doubt>>, found: &mut Found) {
    let (verb, words) = match doubt {
        None => (Verb::Start, "wait: it is still starting".to_owned()),
        Some(None) => (
            Verb::Restart,
            "restart: it is still starting, and its unit file changes".to_owned(),
        ),
        Some(Some(doubt)) => (
            Verb::Restart,
            format!("restart: it is still starting; {}", doubt.words()),
        ),
    };
    found.add(verb, DiffLine::new(words));
}

/// It runs with something else, or nobody knows with what. `None`: its unit file is about to change.
fn changed(wish: &SystemdUnit, doubt: Option<Doubt>, found: &mut Found) {
    let own: Vec<_> = wish.files().into_iter().map(|file| file.path).collect();
    let (of_unit, words) = match &doubt {
        None => (true, "its unit file changes".to_owned()),
        Some(Doubt::NoRecord) => (!own.is_empty(), Doubt::NoRecord.words()),
        Some(
            doubt @ (Doubt::Changed(paths) | Doubt::Written(paths) | Doubt::NotOnRecord(paths)),
        ) => (paths.iter().any(|path| own.contains(path)), doubt.words()),
    };
    // A reload would not take a changed unit file into use.
    match wish.on_change {
        OnChange::Reload if !of_unit => {
            found.add(Verb::Reload, DiffLine::new(format!("reload: {words}")));
        }
        _ => found.add(Verb::Restart, DiffLine::new(format!("restart: {words}"))),
    }
}

/// Whether it is a oneshot whose run, if there was one, is over.
fn is_done_oneshot(unit: &Unit) -> bool {
    unit.service_type == "oneshot"
        && !unit.remain_after_exit
        && unit.active == "inactive"
        && unit.result == "success"
}

/// Whether a oneshot has run in this boot with these inputs: by the record of this boot, or because systemd remembers a
/// run and its inputs are untouched since the record.
fn has_run(unit: &Unit, inputs: &[stamp::Input]) -> bool {
    let remembered = unit.exec_start_us > 0;
    let recorded = unit.stamp.is_some();
    match inputs.is_empty() {
        true => remembered || recorded,
        false => {
            (recorded && stamp::proven(unit, inputs, true).is_ok())
                || (remembered && stamp::proven(unit, inputs, false).is_ok())
        }
    }
}
