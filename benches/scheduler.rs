//! What the scheduler alone costs per event: 100 targets with 100 steps each, all as wished, and all to be changed.
//! `cargo bench --bench scheduler`. One iteration is a whole run; the throughput is in events.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement that cannot go on fails"
)]

#[path = "../tests/scheduler/lab.rs"]
#[expect(dead_code, reason = "only the plans are used here")]
mod lab;

use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use hmco_boot::engine::scheduler::{Command, Input, Scheduler};
use hmco_boot::facts::fact::{Answer, Fact, FactError, FactValue, RunState};
use hmco_boot::model::action::{Action, JobStatus};
use hmco_boot::model::id::Target;
use hmco_boot::model::outcome::ExitCode;
use hmco_boot::plan::Plan;
use hmco_boot::transport::Applied;

const TARGETS: usize = 100;
const STEPS: usize = 100;

/// Every step waits for the one above on its target, as by default.
fn plan() -> Plan {
    let mut steps = Vec::new();
    for step in 0..STEPS {
        for target in 0..TARGETS {
            let made = lab::step(&format!("s{step}"), &format!("n{target}"));
            let above = step.checked_sub(1).map(|above| above * TARGETS + target);
            steps.push(made.needs(above.as_slice()));
        }
    }
    lab::plan(steps)
}

/// Runs to the end with what the world holds; gives the number of events.
fn run(plan: Arc<Plan>, converged: bool) -> u64 {
    let mut scheduler = Scheduler::new(plan, lab::options());
    let mut written: BTreeSet<(Target, Fact)> = BTreeSet::new();
    let mut events = 0;
    let mut inputs = VecDeque::from([Input::Start]);
    while let Some(input) = inputs.pop_front() {
        for command in scheduler.handle(input) {
            match command {
                Command::Emit { .. } => events += 1,
                Command::Read { target, facts } => {
                    let result = Ok(answers(&target, facts, converged, &written));
                    let took_ms = 0;
                    inputs.push_back(Input::Read {
                        target,
                        result,
                        took_ms,
                    });
                }
                Command::Lock { .. } => inputs.push_back(Input::Locked(Ok(Vec::new()))),
                Command::Apply {
                    pair,
                    target,
                    job,
                    facts,
                } => {
                    for action in &job.actions {
                        let Action::WriteFile { path, .. } = action else {
                            panic!("unexpected {action:?}")
                        };
                        let name = path.as_str().trim_start_matches('/');
                        written.insert((target.clone(), lab::fact(name)));
                    }
                    let answers = answers(&target, facts, converged, &written);
                    let end = lab::end(JobStatus::Succeeded);
                    let result = Ok(Applied { end, answers });
                    inputs.push_back(Input::Applied { pair, result });
                }
                Command::Finished(exit) => assert_eq!(exit, ExitCode::Done),
                other => panic!("unexpected {other:?}"),
            }
        }
    }
    events
}

fn answers(
    target: &Target,
    facts: Vec<Fact>,
    converged: bool,
    written: &BTreeSet<(Target, Fact)>,
) -> Vec<Answer> {
    let answer = |fact: Fact| {
        let value = match &fact {
            Fact::RunState => Ok(FactValue::RunState(RunState::default())),
            _ if converged || written.contains(&(target.clone(), fact.clone())) => {
                Ok(FactValue::Digest("good".to_owned()))
            }
            _ => Err(FactError::NotFound),
        };
        (fact, value)
    };
    facts.into_iter().map(answer).collect()
}

fn scheduler(c: &mut Criterion) {
    let plan = Arc::new(plan());
    let mut group = c.benchmark_group("scheduler");
    group.sample_size(10);
    for (name, converged) in [("all_unchanged", true), ("all_changed", false)] {
        group.throughput(Throughput::Elements(run(plan.clone(), converged)));
        group.bench_function(name, |b| {
            b.iter_batched(
                || plan.clone(),
                |plan| run(plan, converged),
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, scheduler);
criterion_main!(benches);
