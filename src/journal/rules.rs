//! Rules that every journal keeps, beside the table in `fold`: what may be appended at all, what may be pruned. Pure.

use super::{JournalError, RunSummary, trouble};
use crate::model::event::{EVENT_VERSION, Event, Record};
use crate::model::id::RunId;

/// Refuses a record that no run may have: of an unknown type, or the start of another run or version.
pub(super) fn admit(run: &RunId, record: &Record) -> Result<(), JournalError> {
    let refuse = |why: String| {
        let why = format!("record {}: {why}", record.seq);
        Err(trouble::illegal(run, why))
    };
    match &record.event {
        Event::RunStarted(started) if started.run != *run => {
            refuse(format!("it is the start of run {}", started.run))
        }
        Event::RunStarted(started) if started.version != EVENT_VERSION => refuse(format!(
            "its version is {}, not {EVENT_VERSION}",
            started.version
        )),
        Event::Other => refuse("its type is not known here".into()),
        _ => Ok(()),
    }
}

/// Which of these runs (newest first) may be removed so that the newest `keep` ended ones stay.
///
/// A run has ended when it ended by itself or when another went on with it. Never removed are those that have not, nor
/// the runs they go on with: their checkpoints may still be wanted.
pub(super) fn prunable(runs: &[RunSummary], keep: usize) -> Vec<RunId> {
    let open = |run: &&RunSummary| run.finished.is_none() && run.resumed_by.is_none();
    let mut wanted: Vec<&RunId> = Vec::new();
    for run in runs.iter().filter(open) {
        let mut next = Some(&run.started.run);
        while let Some(id) = next.filter(|id| !wanted.contains(id)) {
            wanted.push(id);
            let found = runs.iter().find(|run| run.started.run == *id);
            next = found.and_then(|run| run.started.resumes.as_ref());
        }
    }
    let ended = runs.iter().map(|run| &run.started.run);
    let ended = ended.filter(|id| !wanted.contains(id));
    ended.skip(keep).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::{Event, Record, RunArguments, RunStarted};
    use crate::model::outcome::ExitCode;

    /// `(run, the run it resumes, whether it ended by itself)`, newest first.
    fn runs(list: &[(&str, Option<&str>, bool)]) -> Vec<RunSummary> {
        let one = |&(run, resumes, ended): &(&str, Option<&str>, bool)| RunSummary {
            started: RunStarted {
                version: 1,
                run: run.into(),
                resumes: resumes.map(RunId::new),
                tool: String::new(),
                cluster: String::new(),
                playbook: String::new(),
                arguments: RunArguments::default(),
                fingerprint: String::new(),
                pairs: Vec::new(),
            },
            at_ms: 0,
            finished: ended.then(|| Record {
                seq: 1,
                at_ms: 0,
                event: Event::RunFinished {
                    counts: Default::default(),
                    exit: ExitCode::Done,
                    took_ms: 0,
                },
            }),
            resumed_by: list
                .iter()
                .find(|other| other.1 == Some(run))
                .map(|other| other.0.into()),
        };
        list.iter().map(one).collect()
    }

    #[test]
    fn the_newest_ended_runs_stay() {
        let all = runs(&[("d", None, true), ("c", None, true), ("b", None, true)]);
        assert_eq!(prunable(&all, 2), ["b".into()]);
        assert_eq!(prunable(&all, 3), []);
        assert_eq!(prunable(&all, 0).len(), 3);
    }

    #[test]
    fn a_run_that_has_not_ended_stays_and_does_not_count() {
        let all = runs(&[("d", None, true), ("c", None, false), ("b", None, true)]);
        assert_eq!(prunable(&all, 1), ["b".into()]);
        assert_eq!(prunable(&all, 0), ["d".into(), "b".into()]);
    }

    #[test]
    fn a_run_that_was_gone_on_with_goes_once_the_chain_has_ended() {
        let open = [
            ("c", Some("b"), false),
            ("b", Some("a"), false),
            ("a", None, false),
        ];
        assert_eq!(prunable(&runs(&open), 0), []);
        let ended = [
            ("c", Some("b"), true),
            ("b", Some("a"), false),
            ("a", None, false),
        ];
        assert_eq!(prunable(&runs(&ended), 1), ["b".into(), "a".into()]);
    }

    #[test]
    fn runs_that_claim_to_resume_each_other_do_not_hang_it() {
        let all = runs(&[("b", Some("b"), false), ("a", Some("a"), false)]);
        assert_eq!(prunable(&all, 0).len(), 2);
    }
}
