//! Going on with a run: which one, whether its plan is still the same, and what it had started. Pure; every fact is
//! read again in any case.

use std::collections::{BTreeMap, BTreeSet};

use crate::journal::RunSummary;
use crate::journal::fold::RunFold;
use crate::model::event::{Event, Record, RunStarted};
use crate::model::id::{JobId, PairId, Target};
use crate::model::outcome::{ExitCode, Failure};
use crate::plan::{Pair, Plan};

/// The newest run that nobody has gone on with and that did not end well; `runs` newest first.
pub fn newest_open(runs: &[RunSummary]) -> Option<&RunSummary> {
    runs.iter()
        .find(|run| run.resumed_by.is_none())
        .filter(|run| !ended_well(run))
}

/// Whether a run came to its end and to a good one.
pub fn ended_well(run: &RunSummary) -> bool {
    let event = run.finished.as_ref().map(|record| &record.event);
    matches!(
        event,
        Some(Event::RunFinished {
            exit: ExitCode::Done,
            ..
        })
    )
}

/// Jobs that a run had started and whose end it did not see.
pub fn prior_jobs(fold: &RunFold) -> BTreeMap<JobId, PairId> {
    fold.interrupted_jobs()
        .into_iter()
        .map(|(pair, _, job)| (job, pair))
        .collect()
}

/// Where a run that died may have left its lock behind.
pub fn left_locked(fold: &RunFold) -> Vec<Target> {
    match fold.finished() {
        Some(_) => Vec::new(),
        None => fold.locked_on().to_vec(),
    }
}

/// Why there is nothing to go on with: the run was to do what a saved plan shows, and did nothing of it. Going on without
/// that plan would do what nobody looked at.
pub fn never_began(records: &[Record]) -> Option<Failure> {
    let Event::RunStarted(started) = &records.first()?.event else {
        return None;
    };
    let file = started.arguments.saved_plan.as_ref()?;
    let began = |record: &Record| matches!(record.event, Event::StepStarted { .. });
    (!records.iter().any(began)).then(|| {
        Failure::new(format!(
            "run {} was to do what {file} shows and changed nothing",
            started.run
        ))
        .hint("make a new plan with `hmco-boot plan --out`, look at it, and run that")
    })
}

/// Why the plan of today is not the plan of then.
pub fn difference(then: &RunStarted, now: &Plan) -> Option<Failure> {
    if then.fingerprint == now.fingerprint {
        return None;
    }
    let before: BTreeSet<String> = then
        .pairs
        .iter()
        .map(|pair| format!("{}@{}", pair.step, pair.target))
        .collect();
    let after: BTreeSet<String> = now.pairs.iter().map(Pair::label).collect();
    let mut failure = Failure::new(format!("the plan is no longer the one of run {}", then.run)).hint(
        "look at `hmco-boot plan`; then begin a new run with `hmco-boot run`, or go on with the new plan by \
         `hmco-boot resume --changed-plan`",
    );
    failure
        .evidence
        .extend(before.difference(&after).map(|gone| format!("- {gone}")));
    failure
        .evidence
        .extend(after.difference(&before).map(|new| format!("+ {new}")));
    if failure.evidence.is_empty() {
        failure.evidence.push(
            "the steps are the same; what they want, or their order or policies, changed"
                .to_owned(),
        );
    }
    Some(failure)
}
