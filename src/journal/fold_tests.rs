use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::*;
use crate::model::event::{DiffLine, PairInfo, RunArguments};
use crate::model::id::StepAddr;
use crate::model::outcome::Failure;

const PAIRS: u32 = 3;

fn start() -> Event {
    let pair = |id| PairInfo {
        id: PairId(id),
        step: StepAddr::new(format!("s{id}")),
        target: Target::Node(format!("n{id}").as_str().into()),
        kind: "file".into(),
        waits_for: Vec::new(),
        disruptive: false,
    };
    Event::RunStarted(Box::new(RunStarted {
        version: 1,
        run: "r".into(),
        resumes: None,
        tool: String::new(),
        cluster: String::new(),
        playbook: String::new(),
        arguments: RunArguments::default(),
        fingerprint: String::new(),
        pairs: (0..PAIRS).map(pair).collect(),
    }))
}

fn records(events: impl IntoIterator<Item = Event>) -> Vec<Record> {
    let number = |(seq, event)| Record {
        seq: seq as u64,
        at_ms: 0,
        event,
    };
    events.into_iter().enumerate().map(number).collect()
}

fn locked() -> Event {
    Event::Locked { targets: vec![] }
}

fn decided(pair: u32, drift: bool) -> Event {
    Event::StepDecided {
        pair: PairId(pair),
        diff: drift.then(|| vec![DiffLine::new("x")]),
    }
}

fn started(pair: u32, attempt: u32) -> Event {
    Event::StepStarted {
        pair: PairId(pair),
        attempt,
        job: format!("j{pair}.{attempt}").as_str().into(),
    }
}

fn retry(pair: u32, attempt: u32) -> Event {
    Event::StepRetry {
        pair: PairId(pair),
        attempt,
        delay_ms: 1,
        failure: Failure::new("no"),
    }
}

fn ended(pair: u32, outcome: Outcome) -> Event {
    Event::StepFinished {
        pair: PairId(pair),
        outcome,
        took_ms: 1,
    }
}

fn leftover(pair: u32) -> Event {
    Event::LeftoverJob {
        target: Target::Node(format!("n{pair}").as_str().into()),
        job: "before".into(),
        waiting: true,
    }
}

fn checkpoint(pair: u32, name: &str, data: i32) -> Event {
    Event::Checkpoint {
        pair: PairId(pair),
        name: name.into(),
        data: data.into(),
    }
}

fn run_finished(counts: &[(&str, u32)], exit: ExitCode) -> Event {
    Event::RunFinished {
        counts: counts.iter().map(|(w, n)| ((*w).into(), *n)).collect(),
        exit,
        took_ms: 1,
    }
}

/// The reason why the last of these events is refused, all before it being legal.
fn refusal(events: Vec<Event>) -> String {
    let records = records(events);
    let (last, before) = records.split_last().unwrap();
    RunFold::of(before)
        .unwrap()
        .apply(last)
        .unwrap_err()
        .to_string()
}

#[test]
fn a_whole_run_is_legal_and_its_fold_tells_its_story() {
    let fold = RunFold::of(&records([
        start(),
        locked(),
        decided(0, true),
        started(0, 1),
        checkpoint(0, "stage", 1),
        retry(0, 1),
        started(0, 2),
        checkpoint(0, "stage", 2),
        decided(1, false),
        ended(1, Outcome::Unchanged),
        decided(0, false),
        ended(0, Outcome::Changed),
        ended(2, Outcome::Skipped("when".into())),
        run_finished(
            &[
                ("changed", 1),
                ("failed", 0),
                ("skipped", 1),
                ("unchanged", 1),
            ],
            ExitCode::Done,
        ),
    ]))
    .unwrap();
    assert_eq!(fold.finished(), Some(ExitCode::Done));
    assert_eq!(fold.checkpoints(PairId(0)).unwrap()["stage"], 2);
    assert_eq!(fold.unfinished(), []);
    assert_eq!(fold.interrupted_jobs(), []);
    assert_eq!(fold.pair(PairId(7)), None);
}

#[test]
fn a_crash_leaves_the_started_pairs_jobs_to_be_looked_for() {
    let fold = RunFold::of(&records([
        start(),
        locked(),
        decided(0, true),
        started(0, 1),
        retry(0, 1),
        started(0, 2),
        decided(1, true),
        started(1, 1),
        ended(1, Outcome::Interrupted("second Ctrl-C".into())),
        decided(2, true),
        started(2, 1),
        ended(2, Outcome::Failed(Failure::new("exit 1"))),
    ]))
    .unwrap();
    let jobs = fold.interrupted_jobs();
    let jobs: Vec<_> = jobs
        .iter()
        .map(|(_, target, job)| format!("{target} {job}"))
        .collect();
    // Both attempts of the first (the retry may have followed a lost connection), and the one that was left behind.
    assert_eq!(jobs, ["n0 j0.1", "n0 j0.2", "n1 j1.1"]);
    assert_eq!(fold.unfinished(), [PairId(0)]);
}

#[test]
fn each_illegal_move_says_which_rule_it_breaks() {
    let begun = || vec![start(), locked(), decided(0, true), started(0, 1)];
    let after = |event| {
        let mut events = begun();
        events.push(event);
        refusal(events)
    };
    assert_eq!(
        refusal(vec![locked()]),
        "record 0: the first record of a run is its start"
    );
    assert_eq!(after(start()), "record 4: the run has started already");
    assert_eq!(
        refusal(vec![start(), decided(0, true), started(0, 1)]),
        "record 2: pair #0 starts without a lock"
    );
    assert_eq!(
        after(started(1, 1)),
        "record 4: pair #1 starts without a difference decided"
    );
    assert_eq!(
        after(started(0, 2)),
        "record 4: pair #0 starts again while attempt 1 is running"
    );
    assert_eq!(
        refusal(vec![
            start(),
            decided(0, true),
            ended(0, Outcome::Unchanged)
        ]),
        "record 2: pair #0 cannot end as unchanged: it was never started and last decided to differ"
    );
    assert_eq!(
        after(ended(1, Outcome::Changed)),
        "record 4: pair #1 cannot end as changed: it was never started and last not decided"
    );
    assert_eq!(
        after(decided(9, true)),
        "record 4: pair #9 is not of this run"
    );
    assert_eq!(
        after(run_finished(&[], ExitCode::Failed)),
        "record 4: pair #0 is still running"
    );
    assert_eq!(
        refusal(vec![start(), run_finished(&[], ExitCode::Done)]),
        "record 1: not every pair ended well, and it says \"done\""
    );
    assert_eq!(
        refusal(vec![
            start(),
            run_finished(&[("changed", 1)], ExitCode::Failed)
        ]),
        "record 1: its counts are not those of its pairs"
    );
    assert_eq!(
        refusal(vec![start(), run_finished(&[], ExitCode::Failed), locked()]),
        "record 2: the run has finished"
    );
}

#[test]
fn a_lost_attempt_is_over_when_the_pair_is_decided_again() {
    let fold = RunFold::of(&records([
        start(),
        locked(),
        decided(0, true),
        started(0, 1),
        decided(0, true),
        started(0, 2),
        ended(0, Outcome::Unchanged),
    ]));
    fold.unwrap();
}

#[test]
fn what_an_earlier_runs_job_changed_may_be_told_by_the_run_that_awaited_it() {
    let credited = |target| {
        let events = [
            start(),
            locked(),
            leftover(target),
            ended(0, Outcome::Changed),
        ];
        RunFold::of(&records(events)).is_ok()
    };
    assert!(credited(0));
    assert!(!credited(1));
}

#[test]
fn a_gap_in_the_numbers_is_refused_and_changes_nothing() {
    let mut fold = RunFold::of(&records([start()])).unwrap();
    let mut later = records([start(), start(), locked()]).pop().unwrap();
    assert_eq!(
        fold.apply(&later).unwrap_err().to_string(),
        "record 2: the next one is 1"
    );
    later.seq = 1;
    fold.apply(&later).unwrap();
}

#[test]
fn an_event_of_a_later_version_is_passed_over() {
    let fold = RunFold::of(&records([start(), Event::Other, locked()])).unwrap();
    assert!(fold.locked());
}

/// An event whose details are filled in when its place is known.
#[derive(Clone, Debug)]
enum Draft {
    As(Event),
    /// A run's end with the right counts or not.
    End(bool, ExitCode),
    /// The next record with a wrong number.
    Misnumbered,
}

fn outcomes() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Unchanged),
        Just(Outcome::Changed),
        Just(Outcome::Skipped("s".into())),
        Just(Outcome::Failed(Failure::new("f"))),
        Just(Outcome::Unreachable(Failure::new("u"))),
        Just(Outcome::Interrupted("i".into())),
        Just(Outcome::Unknown(Failure::new("?"))),
        Just(Outcome::Blocked {
            step: "s".into(),
            target: Target::Cluster
        }),
    ]
}

fn drafts() -> impl Strategy<Value = Draft> {
    let pair = || prop_oneof![20 => 0..PAIRS, 1 => Just(9)];
    let exit = prop_oneof![Just(ExitCode::Done), Just(ExitCode::Failed)];
    prop_oneof![
        1 => Just(Draft::As(start())),
        3 => Just(Draft::As(locked())),
        1 => Just(Draft::As(Event::Other)),
        1 => Just(Draft::Misnumbered),
        1 => Just(Draft::As(Event::CancelRequested { level: CancelLevel::Drain })),
        1 => (0..PAIRS).prop_map(|p| Draft::As(leftover(p))),
        8 => (pair(), any::<bool>()).prop_map(|(p, d)| Draft::As(decided(p, d))),
        8 => (pair(), 0..4u32).prop_map(|(p, a)| Draft::As(started(p, a))),
        4 => (pair(), 0..4u32).prop_map(|(p, a)| Draft::As(retry(p, a))),
        4 => (pair(), outcomes()).prop_map(|(p, o)| Draft::As(ended(p, o))),
        3 => (pair(), any::<bool>(), 0..9).prop_map(|(p, n, d)| {
            Draft::As(checkpoint(p, if n { "a" } else { "b" }, d))
        }),
        1 => (any::<bool>(), exit).prop_map(|(right, exit)| Draft::End(right, exit)),
    ]
}

/// The oracle: looks at the list of records again for every question and remembers nothing.
mod scan {
    use super::*;

    pub fn of_pair(before: &[Record], id: PairId) -> Vec<&Event> {
        let events = before.iter().map(|record| &record.event);
        events.filter(|event| pair_of(event) == Some(id)).collect()
    }

    pub fn outcome(before: &[Record], id: PairId) -> Option<&Outcome> {
        of_pair(before, id)
            .into_iter()
            .find_map(|event| match event {
                Event::StepFinished { outcome, .. } => Some(outcome),
                _ => None,
            })
    }

    pub fn jobs(before: &[Record], id: PairId) -> Vec<JobId> {
        let job = |event: &Event| match event {
            Event::StepStarted { job, .. } => Some(job.clone()),
            _ => None,
        };
        of_pair(before, id).into_iter().filter_map(job).collect()
    }

    pub fn running(before: &[Record], id: PairId) -> Option<u32> {
        let last = of_pair(before, id)
            .into_iter()
            .rev()
            .find_map(|event| match event {
                Event::StepStarted { attempt, .. } => Some(Some(*attempt)),
                Event::StepRetry { .. }
                | Event::StepDecided { .. }
                | Event::StepFinished { .. } => Some(None),
                _ => None,
            });
        last.flatten()
    }

    pub fn drift(before: &[Record], id: PairId) -> Option<bool> {
        of_pair(before, id)
            .into_iter()
            .rev()
            .find_map(|event| match event {
                Event::StepDecided { diff, .. } => Some(diff.is_some()),
                _ => None,
            })
    }

    pub fn counts(before: &[Record]) -> BTreeMap<String, u32> {
        let mut counts = BTreeMap::new();
        for outcome in (0..PAIRS).filter_map(|id| outcome(before, PairId(id))) {
            *counts.entry(outcome.word().to_owned()).or_default() += 1;
        }
        counts
    }

    pub fn legal(before: &[Record], next: &Record) -> bool {
        let is_start = matches!(next.event, Event::RunStarted(_));
        let over = before
            .iter()
            .any(|r| matches!(r.event, Event::RunFinished { .. }));
        if next.seq != before.len() as u64 || over || is_start != before.is_empty() {
            return false;
        }
        match (&next.event, pair_of(&next.event)) {
            (_, Some(id)) if id.0 >= PAIRS => false,
            (_, Some(id)) if outcome(before, id).is_some() => false,
            (Event::StepStarted { attempt, .. }, Some(id)) => {
                let tried = of_pair(before, id).into_iter().any(
                    |e| matches!(e, Event::StepStarted { attempt: earlier, .. } if earlier >= attempt),
                );
                before
                    .iter()
                    .any(|r| matches!(r.event, Event::Locked { .. }))
                    && running(before, id).is_none()
                    && drift(before, id) == Some(true)
                    && *attempt > 0
                    && !tried
            }
            (Event::StepRetry { attempt, .. }, Some(id)) => {
                running(before, id).is_none_or(|running| running == *attempt)
            }
            (Event::StepFinished { outcome, .. }, Some(id)) => match outcome.word() {
                "changed" => {
                    !jobs(before, id).is_empty()
                        || before.iter().any(|r| match &r.event {
                            Event::LeftoverJob { target, .. } => {
                                target.to_string() == format!("n{}", id.0)
                            }
                            _ => false,
                        })
                }
                "unchanged" => !jobs(before, id).is_empty() || drift(before, id) != Some(true),
                "skipped" | "blocked" => jobs(before, id).is_empty(),
                _ => true,
            },
            (
                Event::RunFinished {
                    counts: said, exit, ..
                },
                _,
            ) => {
                let all = (0..PAIRS).map(PairId);
                all.clone().all(|id| running(before, id).is_none())
                    && *said == counts(before)
                    && (*exit != ExitCode::Done
                        || all
                            .clone()
                            .all(|id| outcome(before, id).is_some_and(|o| o.satisfies())))
            }
            _ => true,
        }
    }

    pub fn checkpoints(before: &[Record], id: PairId) -> BTreeMap<String, serde_json::Value> {
        let mut found = BTreeMap::new();
        for event in of_pair(before, id).into_iter().rev() {
            if let Event::Checkpoint { name, data, .. } = event {
                found.entry(name.clone()).or_insert_with(|| data.clone());
            }
        }
        found
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150,
        rng_seed: RngSeed::Fixed(20),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_fold_takes_what_a_scan_finds_legal_and_tells_what_a_scan_finds(
        drafts in proptest::collection::vec(drafts(), 1..250)
    ) {
        let mut fold = RunFold::new();
        let mut taken = Vec::new();
        for draft in std::iter::once(Draft::As(start())).chain(drafts) {
            let seq = taken.len() as u64;
            let (seq, event) = match draft {
                Draft::As(event) => (seq, event),
                Draft::Misnumbered => (seq + 1, locked()),
                Draft::End(right, exit) => {
                    let mut counts = scan::counts(&taken);
                    if !right {
                        *counts.entry("changed".into()).or_default() += 1;
                    }
                    (seq, Event::RunFinished { counts, exit, took_ms: 0 })
                }
            };
            let record = Record { seq, at_ms: 0, event };
            prop_assert_eq!(fold.apply(&record).is_ok(), scan::legal(&taken, &record), "{:?}", record);
            if scan::legal(&taken, &record) {
                taken.push(record);
            }
            // Cut off here: what the fold says is what was recorded.
            prop_assert_eq!(fold.next_seq(), taken.len() as u64);
            for id in (0..PAIRS).map(PairId) {
                let outcome = match fold.pair(id) {
                    Some(PairState::Finished(outcome)) => Some(outcome),
                    _ => None,
                };
                prop_assert_eq!(outcome, scan::outcome(&taken, id));
                let running = match fold.pair(id) {
                    Some(PairState::Started { attempt, .. }) => Some(*attempt),
                    _ => None,
                };
                prop_assert_eq!(running, scan::running(&taken, id));
                prop_assert_eq!(fold.checkpoints(id).unwrap(), &scan::checkpoints(&taken, id));
                let told: Vec<_> = fold.interrupted_jobs().into_iter().filter(|job| job.0 == id).map(|job| job.2).collect();
                let unseen = outcome.is_none_or(|o| ["interrupted", "unreachable", "unknown"].contains(&o.word()));
                prop_assert_eq!(told, if unseen { scan::jobs(&taken, id) } else { vec![] });
                prop_assert_eq!(fold.unfinished().contains(&id), outcome.is_none());
            }
        }
    }
}
