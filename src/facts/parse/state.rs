//! What runs: units, programs, hmco-boot's own leftovers, logs.

use std::collections::BTreeMap;

use super::reply::Reply;
use super::texts::Texts;
use crate::facts::fact::{ExecResult, FactError, LeftoverJob, RunState, Unit};
use crate::facts::questions::{self, Place, STDERR_CAP, STDOUT_CAP};
use crate::model::id::JobId;

pub fn unit(reply: &Reply<'_>, texts: &Texts, name: &str) -> Result<Unit, FactError> {
    if !questions::is_unit_name(name) {
        return Err(FactError::Failed(format!("{name:?} is not a unit's name")));
    }
    let Some(part) = reply.get("units") else {
        return Err(FactError::Failed("systemd is not running".to_owned()));
    };
    let text = part.whole()?.text();
    let block = find_unit(&text, name).ok_or_else(|| part.missing())?;
    let mut unit = unit_of(&block).ok_or_else(|| part.missing())?;
    unit.flapping = flaps(&unit, &texts.machine("/proc/uptime"));
    unit.stamp = stamp(texts, Place::Run, &format!("/stamp/{name}"))?;
    unit.stamp_kept = stamp(texts, Place::Root, &questions::kept_stamp(name))?;
    if unit.load == "not-found" && unit.active == "inactive" {
        return Err(FactError::NotFound);
    }
    Ok(unit)
}

/// A stamp that this login may not read is as good as none: whoever cannot read it cannot restart anything either.
fn stamp(texts: &Texts, place: Place, path: &str) -> Result<Option<String>, FactError> {
    match texts.text(place, path) {
        Err(FactError::Denied) => Ok(None),
        other => other,
    }
}

/// How long after an automatic restart a unit counts as flapping.
const FLAPPING_US: u64 = 10_000_000;

/// Whether systemd has just restarted it by itself, or waits to. `uptime`: /proc/uptime, read shortly before; that both
/// clocks go on in suspend or not makes no difference to a machine that is being set up.
fn flaps(unit: &Unit, uptime: &str) -> bool {
    if unit.sub.starts_with("auto-restart") {
        return true;
    }
    let now_us = uptime
        .split(' ')
        .next()
        .and_then(|seconds| seconds.replace('.', "").parse::<u64>().ok())
        // Two digits after the point.
        .map_or(u64::MAX, |hundredths| hundredths.saturating_mul(10_000));
    unit.restarts > 0 && now_us.saturating_sub(unit.exec_start_us) < FLAPPING_US
}

/// The properties of one unit: blocks of `KEY=VALUE` lines with blank lines between.
fn find_unit<'a>(text: &'a str, name: &str) -> Option<BTreeMap<&'a str, &'a str>> {
    let blocks = text.split("\n\n").map(|block| {
        block
            .lines()
            .filter_map(|line| line.split_once('='))
            .collect::<BTreeMap<_, _>>()
    });
    let mut alias = None;
    for block in blocks {
        if block.get("Id") == Some(&name) {
            return Some(block);
        }
        let names = block.get("Names").copied().unwrap_or_default();
        if names.split(' ').any(|other| other == name) {
            alias.get_or_insert(block);
        }
    }
    alias
}

fn unit_of(block: &BTreeMap<&str, &str>) -> Option<Unit> {
    let text = |key: &str| block.get(key).map(|value| (*value).to_owned());
    let or_empty = |key: &str| text(key).unwrap_or_default();
    Some(Unit {
        load: text("LoadState")?,
        active: text("ActiveState")?,
        sub: text("SubState")?,
        enabled: or_empty("UnitFileState"),
        fragment: or_empty("FragmentPath"),
        result: or_empty("Result"),
        exit: or_empty("ExecMainStatus").parse().unwrap_or_default(),
        main_pid: or_empty("MainPID").parse().unwrap_or_default(),
        invocation: or_empty("InvocationID"),
        active_enter_us: or_empty("ActiveEnterTimestampMonotonic")
            .parse()
            .unwrap_or_default(),
        exec_start_us: or_empty("ExecMainStartTimestampMonotonic")
            .parse()
            .unwrap_or_default(),
        restarts: or_empty("NRestarts").parse().unwrap_or_default(),
        need_daemon_reload: text("NeedDaemonReload")? == "yes",
        stamp: None,
        stamp_kept: None,
        id: or_empty("Id"),
        service_type: or_empty("Type"),
        remain_after_exit: or_empty("RemainAfterExit") == "yes",
        can_reload: or_empty("CanReload") == "yes",
        flapping: false,
    })
}

pub fn exec(reply: &Reply<'_>, index: usize) -> Result<ExecResult, FactError> {
    let batch = format!("exec-{index}");
    if let Some(refused) = reply.get(&format!("exec-refused {index}")) {
        return Err(match refused.status() {
            "absent" => FactError::NotFound,
            "denied" => FactError::Denied,
            _ => refused.missing(),
        });
    }
    let out = reply.part(&format!("exec {index}"), &batch)?.whole()?;
    let end = reply.part(&format!("exec-end {index}"), &batch)?.whole()?;
    if out.body.len() > STDOUT_CAP {
        return Err(FactError::Truncated);
    }
    let (stderr, exit) = stderr_and_exit(end.body, end.mark).ok_or_else(|| {
        FactError::Failed("no answer: the exit status did not come back".to_owned())
    })?;
    let start = stderr.len().saturating_sub(STDERR_CAP);
    Ok(ExecResult {
        exit,
        stdout: out.body.to_vec(),
        stderr: stderr.get(start..).unwrap_or_default().to_vec(),
    })
}

/// Standard error, then `\nMARK;STATUS`.
fn stderr_and_exit<'a>(body: &'a [u8], mark: &str) -> Option<(&'a [u8], i32)> {
    let mark = format!("\n{mark};");
    let at = body
        .windows(mark.len())
        .rposition(|window| window == mark.as_bytes())?;
    let status = std::str::from_utf8(body.get(at + mark.len()..)?).ok()?;
    Some((body.get(..at)?, status.trim().parse().ok()?))
}

pub fn run_state(reply: &Reply<'_>, texts: &Texts) -> Result<RunState, FactError> {
    let part = reply.part("jobs", "jobs")?.whole()?;
    Ok(RunState {
        boot_id: reply.boot.clone(),
        lock: texts.text(Place::Run, "/lock")?,
        jobs: jobs(part.records()),
        procedure: texts.text(Place::Root, "/var/lib/hmco-boot/procedure.json")?,
    })
}

/// Records `job ID`, then for each what there is: `pid PID STARTTIME`, `stat TEXT` of /proc/PID/stat, `status TEXT`.
fn jobs(records: Vec<(String, String)>) -> Vec<LeftoverJob> {
    let mut jobs: Vec<LeftoverJob> = Vec::new();
    let mut start = String::new();
    for (word, value) in records {
        if word == "job" {
            start.clear();
            jobs.push(LeftoverJob {
                id: JobId::new(value),
                running: false,
                status: None,
            });
            continue;
        }
        let Some(job) = jobs.last_mut() else {
            continue;
        };
        match word.as_str() {
            "pid" => start = value.split(' ').nth(1).unwrap_or_default().to_owned(),
            "stat" => job.running = runs(&value, &start),
            "status" => job.status = Some(value),
            _ => {}
        }
    }
    jobs
}

/// Whether /proc/PID/stat is of the process that began at `start`, and not of one that ended and is not yet reaped.
/// The name in it may hold anything, so fields count from its last parenthesis: state is the 3rd, start the 22nd.
fn runs(stat: &str, start: &str) -> bool {
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let alive = fields
        .first()
        .is_some_and(|state| !matches!(*state, "Z" | "X" | "x"));
    alive && !start.is_empty() && fields.get(19) == Some(&start)
}

pub fn log(reply: &Reply<'_>, index: usize) -> Result<String, FactError> {
    let batch = format!("log-{index}");
    let words = format!("log {index}");
    if reply.get(&words).is_none() && !reply.timed_out(&batch) {
        return Err(FactError::Failed("systemd is not running".to_owned()));
    }
    let text = reply.part(&words, &batch)?.whole()?.text();
    if text.contains("insufficient permissions") && text.lines().count() == 1 {
        return Err(FactError::Denied);
    }
    Ok(text)
}
