//! The protocol of jobs: the scripts of `sh/` put together for an apply or an attach.

use std::sync::LazyLock;

use super::HostError;
use super::actions::{self, Paths, Payload};
use super::exec::Input;
use super::machine::Settings;
use super::shell::LOADER;
use super::story::not_started;
use crate::facts::frame::Delimiter;
use crate::model::action::{Action, Job, OUTPUT_CAP};
use crate::model::id::{JobId, RunId};
use crate::model::lock::LockClaim;
use crate::model::shell::{quote, quote_all};

/// The nap of `sh/lib.sh`, in milliseconds.
const NAP: u128 = 200;

pub(super) static LIB: LazyLock<String> = LazyLock::new(|| dense(include_str!("sh/lib.sh")));
static JOB: LazyLock<String> = LazyLock::new(|| dense(include_str!("sh/job.sh")));
static GUARD: LazyLock<String> = LazyLock::new(|| dense(include_str!("sh/guard.sh")));
static APPLY: LazyLock<String> = LazyLock::new(|| dense(include_str!("sh/apply.sh")));
static FENCE: LazyLock<String> = LazyLock::new(|| dense(include_str!("sh/fence.sh")));
static LOCK: LazyLock<String> = LazyLock::new(|| dense(include_str!("sh/lock.sh")));
static ATTACH: LazyLock<String> = LazyLock::new(|| dense(include_str!("sh/attach.sh")));

/// Without comments, blank lines and indentation.
pub(super) fn dense(text: &str) -> String {
    text.lines()
        .map(str::trim_start)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .flat_map(|line| [line, "\n"])
        .collect()
}

/// What every script begins with. The path is set because a login over SSH may have any.
pub(super) fn prelude(settings: &Settings) -> String {
    format!(
        "PATH={}; LANG=C.UTF-8; TERM=dumb; export PATH LANG TERM; unset LC_ALL LANGUAGE CDPATH; umask 077\n",
        quote(&settings.path)
    )
}

/// The mark that a script has said all.
pub(super) fn end_mark(delimiter: &Delimiter) -> String {
    let mark = delimiter.as_str();
    format!("printf '\\n{mark} < end\\n\\n{mark} > 0\\n'\n")
}

/// A script of its own inside another: it may exit, and standard input is not its own.
pub(super) fn enclosed(script: &str) -> String {
    format!("(\n{script}\n) </dev/null\n")
}

/// Folder of the jobs' books as the target's tools see it.
fn run_dir(settings: &Settings, paths: &Paths) -> String {
    paths.full(&settings.run_dir)
}

fn variables(settings: &Settings, paths: &Paths, delimiter: &Delimiter, id: &JobId) -> String {
    let run = run_dir(settings, paths);
    let mut text = String::new();
    for (name, value) in [
        ("D", delimiter.as_str()),
        ("RUN", &run),
        ("ID", id.as_str()),
        ("HERE", &format!("{run}/jobs/{id}")),
        ("KEEP", &OUTPUT_CAP.to_string()),
        (
            "GRACE",
            &settings.grace.as_millis().div_ceil(NAP).to_string(),
        ),
        ("UPLOADS", &paths.full(&settings.upload.folder)),
        ("STALL", &settings.upload.stall.as_secs().max(1).to_string()),
        (
            "PAUSE",
            &format!("{:.3}", settings.upload.pause.as_secs_f64()),
        ),
        ("SHELL_WORDS", &settings.shell.join(" ")),
        ("LOADER", LOADER),
    ] {
        text.push_str(&format!("{name}={}\n", quote(value)));
    }
    text
}

/// Why a job cannot be sent at all.
pub(super) fn check(job: &Job) -> Result<(), HostError> {
    check_id(&job.id)?;
    if let Some(fence) = &job.fence {
        check_run(fence)?;
    }
    let last = job.actions.len().saturating_sub(1);
    let early = |(at, action): (usize, &Action)| *action == Action::Reboot && at < last;
    if job.actions.iter().enumerate().any(early) {
        return Err(not_started(format!(
            "{}: a restart is the last action of a job",
            job.label
        )));
    }
    match job.actions.iter().find_map(actions::objection) {
        Some(objection) => Err(not_started(format!("{}: {objection}", job.label))),
        None => Ok(()),
    }
}

/// The id becomes the name of a folder, a line of a file, and the value of an environment variable.
pub(super) fn check_id(id: &JobId) -> Result<(), HostError> {
    let text = id.as_str();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let good = (1..=200).contains(&text.len())
        && text.bytes().all(plain)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric());
    if good {
        Ok(())
    } else {
        Err(not_started(format!("{text:?} cannot be the id of a job")))
    }
}

/// A run's name becomes a line of a file.
fn check_run(run: &RunId) -> Result<(), HostError> {
    check_id(&JobId::new(run.as_str()))
}

/// Whether the job restarts the machine.
pub(super) fn restarts(job: &Job) -> bool {
    job.actions.last() == Some(&Action::Reboot)
}

/// Everything that is said to the shell of an apply: its script, the payloads in order, the script that the job
/// itself reads. `facts` is the script that reads the facts, or empty.
pub(super) fn apply_input<'a>(
    settings: &Settings,
    paths: &Paths,
    delimiter: &Delimiter,
    job: &Job,
    payloads: &[Payload<'a>],
    facts: &str,
) -> Input<'a> {
    let mut text = prelude(settings);
    text.push_str(&variables(settings, paths, delimiter, &job.id));
    text.push_str(&LIB);
    text.push_str(&APPLY);
    if job.fence.is_some() {
        text.push_str(&FENCE);
    }
    text.push_str("hb_claim\n");
    if let Some(run) = &job.fence {
        text.push_str(&format!("hb_fence {}\n", quote(run.as_str())));
    }
    for payload in payloads {
        let (folder, file) = payload
            .place
            .as_ref()
            .map_or(("", ""), |(folder, file)| (folder, file));
        text.push_str(&format!(
            "hb_receive {} {} {} {} {}\n",
            payload.action,
            payload.bytes.len(),
            payload.sha256,
            quote(folder),
            quote(file)
        ));
    }
    let programs = actions::runs_programs(&job.actions);
    text.push_str(&format!("hb_run {}\n", if programs { "1" } else { "''" }));
    if !facts.is_empty() {
        text.push_str(&enclosed(facts));
    }
    text.push_str("hb_goodbye\n");

    let mut input = Input::new();
    input.script(delimiter, &text);
    for payload in payloads {
        input.payload(payload.bytes);
    }
    input.script(
        delimiter,
        &job_script(settings, paths, delimiter, job, payloads, programs),
    );
    input
}

fn job_script(
    settings: &Settings,
    paths: &Paths,
    delimiter: &Delimiter,
    job: &Job,
    payloads: &[Payload<'_>],
    programs: bool,
) -> String {
    let mut text = prelude(settings);
    text.push_str(&variables(settings, paths, delimiter, &job.id));
    text.push_str(&format!("LIB={}\neval \"$LIB\"\n", quote(&LIB)));
    text.push_str(&format!("GUARD=$LIB{}\n", quote(&GUARD)));
    text.push_str(&JOB);
    let ms = job.timeout.0.as_millis().max(1);
    let seconds = match ms % 1000 {
        0 => (ms / 1000).to_string(),
        rest => format!("{}.{rest:03}", ms / 1000),
    };
    text.push_str(&format!(
        "hb_begin {seconds} {}\n",
        if programs { "1" } else { "''" }
    ));
    if let Some(run) = &job.fence {
        text.push_str(&FENCE);
        text.push_str(&format!("hb_hold {}\n", quote(run.as_str())));
    }
    text.push_str(&actions::script(&job.actions, payloads, paths));
    text.push_str(match restarts(job) {
        true => "hb_restart\n",
        false => "hb_finish succeeded\n",
    });
    text
}

/// Everything that is said to the shell that takes or renews the lock.
pub(super) fn lock_input(
    settings: &Settings,
    paths: &Paths,
    delimiter: &Delimiter,
    claim: &LockClaim,
) -> Result<Input<'static>, HostError> {
    check_run(&claim.run)?;
    let lease = claim.lease.0.as_secs().max(1).to_string();
    // One line each.
    let plain = |text: &str| text.replace(char::is_control, " ");
    let (holder, owner) = (plain(&claim.holder), plain(&claim.owner));
    let words = [claim.run.as_str(), &holder, &owner, &lease];
    Ok(lock_script(settings, paths, delimiter, "hb_lock", &words))
}

/// Everything that is said to the shell that gives the lock back.
pub(super) fn unlock_input(
    settings: &Settings,
    paths: &Paths,
    delimiter: &Delimiter,
    run: &RunId,
) -> Result<Input<'static>, HostError> {
    check_run(run)?;
    let words = [run.as_str()];
    Ok(lock_script(settings, paths, delimiter, "hb_unlock", &words))
}

fn lock_script(
    settings: &Settings,
    paths: &Paths,
    delimiter: &Delimiter,
    function: &str,
    words: &[&str],
) -> Input<'static> {
    let mut text = prelude(settings);
    for (name, value) in [
        ("D", delimiter.as_str()),
        ("RUN", &run_dir(settings, paths)),
    ] {
        text.push_str(&format!("{name}={}\n", quote(value)));
    }
    for part in [&LIB, &FENCE, &LOCK] {
        text.push_str(part);
    }
    let words = quote_all(words.iter().copied());
    text.push_str(&format!(
        "{function} {words} < /dev/null\n{}",
        end_mark(delimiter)
    ));
    let mut input = Input::new();
    input.script(delimiter, &text);
    input
}

/// Everything that is said to the shell of an attach.
pub(super) fn attach_input(
    settings: &Settings,
    paths: &Paths,
    delimiter: &Delimiter,
    id: &JobId,
    end: bool,
) -> Input<'static> {
    let mut text = prelude(settings);
    text.push_str(&variables(settings, paths, delimiter, id));
    text.push_str(if end { "END=1\n" } else { "END=\n" });
    text.push_str(&LIB);
    text.push_str(&ATTACH);
    text.push_str("hb_attach\n");
    let mut input = Input::new();
    input.script(delimiter, &text);
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_sent_without_comments_and_hold_no_here_documents() {
        for text in [&LIB, &JOB, &GUARD, &APPLY, &ATTACH, &FENCE, &LOCK] {
            assert!(
                text.lines()
                    .all(|line| !line.starts_with('#') && !line.is_empty())
            );
            // Some shells make a temporary file of one.
            assert!(!text.contains("<<"), "{}", text.as_str());
        }
    }
}
