//! The engine against random playbooks: every order of events, every fault, a crash after every single event.
//!
//! `oracle.rs` says from the words of the order rule how each pair must end; `world.rs` is a few machines in memory;
//! `sim.rs` drives a real plan and a real scheduler between them. `HMCO_TORTURE_CASES` makes it longer.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may stop at the first surprise, and reads its length from the environment"
)]

#[path = "engine/oracle.rs"]
mod oracle;
#[path = "engine/sim.rs"]
mod sim;
#[path = "engine/spec.rs"]
mod spec;
#[path = "engine/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use hmco_boot::facts::fact::{Fact, FactValue};
use hmco_boot::facts::known::{Known, Unreadable};
use hmco_boot::model::action::Action;
use hmco_boot::model::event::CancelLevel;
use hmco_boot::model::fingerprint::Fingerprinter;
use hmco_boot::model::id::{PairId, Target};
use hmco_boot::model::outcome::{ExitCode, Outcome};
use hmco_boot::model::units::TimeSpan;
use hmco_boot::plan::build::{Request, build};
use hmco_boot::plan::{Gate, Plan};
use hmco_boot::steps::{Decision, Touches, Want, Wish};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, RngSeed, TestRng, TestRunner};

use oracle::{Expected, Key, Verdict, expected, verdicts};
use sim::{Dice, Sim, Trace, files, key_of, keys, options, prior_jobs};
use spec::{Fate, Spec, spec};
use world::World;

/// A gate that the world opens.
#[derive(Debug)]
struct Open(String);

impl Open {
    fn fact(&self) -> Fact {
        let name = self.0.clone();
        Fact::Sysctl { name }
    }
}

impl Wish for Open {
    fn facts(&self, known: &Known<'_>) -> Want {
        Want::all(known, [self.fact()])
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Vec<Action>>, Unreadable> {
        Ok(match known.value(&self.fact())? {
            Some(FactValue::Text(text)) if text == "open" => Decision::Unchanged,
            _ => Decision::Drift {
                diff: Vec::new(),
                drift: Vec::new(),
            },
        })
    }

    fn touches(&self) -> Touches {
        Touches::default()
    }

    fn verifiable(&self) -> bool {
        true
    }

    fn fingerprint_text(&self) -> String {
        self.0.clone()
    }
}

fn plan_of(spec: &Spec) -> Arc<Plan> {
    let inventory = spec.inventory();
    let playbooks = spec.playbooks();
    let request = Request {
        inventory: &inventory,
        playbooks: &playbooks,
        playbook: &playbooks["main"],
        limit: None,
        vars: &BTreeMap::new(),
        secrets: &|name| Err(format!("no secret {name}")),
        pins: &hmco_boot::model::artifact::PinBook::default(),
        fingerprinter: &Fingerprinter::new([7; 32]),
    };
    let mut plan = build(&request).expect("a generated playbook plans");
    for at in 0..plan.pairs.len() {
        let (address, node) = key_of(&plan, plan.pairs[at].id);
        if oracle::gate(spec, &address, node) > 0 {
            plan.pairs[at].gate = Some(Gate {
                wish: Arc::new(Open(address)),
                timeout: TimeSpan(spec::GATE_LIMIT),
                interval: TimeSpan(spec::GATE_INTERVAL),
            });
        }
    }
    Arc::new(plan)
}

fn world_of(spec: &Spec, plan: &Plan) -> World {
    let fate = |pair: PairId| {
        let (address, node) = key_of(plan, pair);
        oracle::fate(spec, &address, node)
    };
    let mut world = World::new(
        plan.pairs
            .iter()
            .map(|pair| (pair.id, fate(pair.id)))
            .collect(),
    );
    for pair in &plan.pairs {
        let machine = world.machines.entry(pair.target.clone()).or_default();
        let (address, node) = key_of(plan, pair.id);
        let gate = oracle::gate(spec, &address, node);
        machine.gates.insert(address, gate);
        if fate(pair.id) == Fate::Converged {
            machine
                .files
                .insert(path_of(&pair.step.to_string()), "wished\n".to_owned());
        }
    }
    if let Some(dead) = spec.dead {
        world
            .machines
            .entry(Target::Node(spec::node(dead)))
            .or_default()
            .dead = true;
    }
    world
}

/// The file that the generated step at an address writes.
fn path_of(address: &str) -> String {
    format!("/main-{}", address.replace('/', "-"))
}

fn check_outcomes(plan: &Plan, trace: &Trace, verdicts: &BTreeMap<Key, Verdict>, resumed: bool) {
    for pair in &plan.pairs {
        let key = key_of(plan, pair.id);
        let outcome = &trace.outcomes[&pair.id];
        let fits = match verdicts[&key] {
            Verdict::Unchanged => matches!(outcome, Outcome::Unchanged),
            Verdict::Changed if resumed => matches!(outcome, Outcome::Changed | Outcome::Unchanged),
            Verdict::Changed => matches!(outcome, Outcome::Changed),
            Verdict::Failed => matches!(outcome, Outcome::Failed(_)),
            Verdict::Blocked => matches!(outcome, Outcome::Blocked { .. }),
            Verdict::Unreachable => {
                matches!(outcome, Outcome::Unreachable(_) | Outcome::Blocked { .. })
            }
        };
        assert!(
            fits,
            "{}: {outcome:?}, expected {:?}",
            pair.label(),
            verdicts[&key]
        );
    }
    let any = |test: fn(&Outcome) -> bool| trace.outcomes.values().any(test);
    let exit = if any(|outcome| {
        matches!(
            outcome,
            Outcome::Failed(_) | Outcome::Blocked { .. } | Outcome::Unknown(_)
        )
    }) {
        ExitCode::Failed
    } else if any(|outcome| matches!(outcome, Outcome::Unreachable(_))) {
        ExitCode::Unreachable
    } else {
        ExitCode::Done
    };
    assert_eq!(trace.exit, Some(exit));
}

/// One playbook: undisturbed, then crashed after every event and resumed. Gives the number of crash cases.
fn torture(spec: &Spec, seed: u64) -> usize {
    let plan = plan_of(spec);
    let expected: BTreeMap<Key, Expected> = expected(spec);
    assert_eq!(
        keys(&plan),
        expected.keys().cloned().collect(),
        "the plan has the pairs that the words say"
    );
    let verdicts = verdicts(&expected);
    let fresh = |faults, world| Sim {
        run: String::new(),
        theft: None,
        late: Vec::new(),
        restarted: Default::default(),
        plan: plan.clone(),
        expected: &expected,
        world,
        dice: Dice(seed),
        faults,
        cancel: None,
        cut: None,
    };

    let mut calm = fresh(0, world_of(spec, &plan));
    let trace = calm.run(options("r1"), None);
    check_outcomes(&plan, &trace, &verdicts, false);
    for (pair, times) in &calm.world.done {
        assert_eq!(*times, 1, "{} was applied {times} times", plan.label(*pair));
    }

    // A second run finds nothing to do but what failed.
    let events = trace.events.len();
    let mut again = fresh(0, calm.world.clone());
    let second = again.run(options("r2"), None);
    for (pair, outcome) in &second.outcomes {
        let good = verdicts[&key_of(&plan, *pair)].is_good();
        assert_eq!(
            good,
            matches!(outcome, Outcome::Unchanged),
            "{}: {outcome:?}",
            plan.label(*pair)
        );
    }

    for crash in 0..events {
        let mut sim = fresh(5, world_of(spec, &plan));
        sim.dice = Dice(seed.wrapping_add(crash as u64));
        crash_and_resume(sim, crash, &verdicts, &calm.world);
    }
    events
        + stops(
            spec,
            &plan,
            events,
            &|| fresh(5, world_of(spec, &plan)),
            &verdicts,
            &calm.world,
        )
}

/// The same, not crashed but stopped by Ctrl-C, or with a machine that goes away in the middle and is back for the resume,
/// or whose lock somebody else gets in the middle.
fn stops<'a>(
    spec: &Spec,
    plan: &Plan,
    events: usize,
    fresh: &dyn Fn() -> Sim<'a>,
    verdicts: &BTreeMap<Key, Verdict>,
    calm: &World,
) -> usize {
    let mut cases = 0;
    for stop in (0..events).step_by(5) {
        for level in [CancelLevel::Drain, CancelLevel::Abort] {
            let mut sim = fresh();
            sim.cancel = Some((stop, level));
            crash_and_resume(sim, usize::MAX, verdicts, calm);
            cases += 1;
        }
        let mut sim = fresh();
        let Some(target) = plan.targets.get(stop % plan.targets.len().max(1)) else {
            continue;
        };
        if spec
            .dead
            .map(|dead| Target::Node(spec::node(dead)))
            .as_ref()
            != Some(target)
        {
            sim.cut = Some((stop, target.clone()));
            crash_and_resume(sim, usize::MAX, verdicts, calm);
            let mut sim = fresh();
            sim.theft = Some((stop, target.clone()));
            crash_and_resume(sim, usize::MAX, verdicts, calm);
            cases += 2;
        }
    }
    cases
}

fn crash_and_resume(
    mut sim: Sim<'_>,
    crash: usize,
    verdicts: &BTreeMap<Key, Verdict>,
    calm: &World,
) {
    let plan = sim.plan.clone();
    let (cancelled, cut) = (sim.cancel, sim.cut.clone());
    let first = sim.run(options("r1"), Some(crash));
    if cancelled.is_some() && sim.cancel.take().is_none() {
        assert_eq!(first.exit, Some(ExitCode::Interrupted));
    }
    if let Some((_, target)) = cut {
        // It is back for the resume.
        sim.cut = None;
        sim.world.machines.entry(target).or_default().dead = false;
    }
    let mut settings = options("r2");
    settings.prior_jobs = prior_jobs(&first);
    sim.theft = None;
    sim.world.thief_goes();
    let resumed = sim.run(settings, None);
    check_outcomes(&plan, &resumed, verdicts, true);
    assert_eq!(
        files(&sim.world),
        files(calm),
        "crash after event {crash}: the same end state"
    );
    for (pair, times) in &sim.world.done {
        assert_eq!(
            *times,
            1,
            "crash after event {crash}: {} was applied {times} times",
            plan.label(*pair)
        );
    }
    for target in &plan.targets {
        assert!(
            !sim.world.has_job(target),
            "a job is left running on {target}"
        );
    }
}

/// A resume has all its tries again, so a step that failed for want of tries may work by then: such fates would make the
/// end state a matter of luck.
fn settled(mut spec: Spec) -> Spec {
    fn fewest(steps: &[spec::StepSpec]) -> u32 {
        let of = |step: &spec::StepSpec| match &step.content {
            spec::Content::Leaf(_) => step.attempts,
            spec::Content::Nested(inner, _) => fewest(inner),
        };
        steps.iter().map(of).min().unwrap_or(1)
    }
    let attempts = fewest(&spec.steps);
    for fate in &mut spec.fates {
        if matches!(fate, Fate::Flaky(times) if *times >= attempts) {
            *fate = Fate::Fine;
        }
    }
    spec
}

#[test]
fn a_run_that_dies_after_any_event_and_resumes_ends_like_one_that_did_not() {
    let wanted: usize = std::env::var("HMCO_TORTURE_CASES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(6_000);
    let mut rng = TestRunner::new_with_rng(
        Config::default(),
        TestRng::from_seed(RngAlgorithm::ChaCha, &[42; 32]),
    );
    let strategy = spec();
    let (mut cases, mut playbooks) = (0, 0_u64);
    while cases < wanted {
        let spec = settled(strategy.new_tree(&mut rng).unwrap().current());
        let label = format!("{spec:?}");
        let ran = std::panic::catch_unwind(|| torture(&spec, playbooks));
        cases += ran.unwrap_or_else(|_| panic!("playbook {playbooks}: {label}"));
        playbooks += 1;
    }
    eprintln!("{cases} crashes over {playbooks} playbooks");
}

proptest! {
    #![proptest_config(Config { cases: 300, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Config::default() })]

    #[test]
    fn outcomes_are_those_that_the_order_rule_says(spec in spec(), seed in any::<u64>()) {
        let plan = plan_of(&spec);
        let expected = expected(&spec);
        let verdicts = verdicts(&expected);
        let world = world_of(&spec, &plan);
        let mut sim = Sim { plan: plan.clone(), expected: &expected, world, dice: Dice(seed), faults: 4, run: String::new(), theft: None, late: Vec::new(), restarted: Default::default(), cancel: None, cut: None };
        let trace = sim.run(options("r1"), None);
        check_outcomes(&plan, &trace, &verdicts, false);
    }
}

/// Gives every leaf step this `serial`.
fn rolled_out(steps: &mut [spec::StepSpec], serial: u32) {
    for step in steps {
        match &mut step.content {
            spec::Content::Leaf(_) => step.serial = Some(serial),
            spec::Content::Nested(inner, _) => rolled_out(inner, serial),
        }
    }
}

proptest! {
    #![proptest_config(Config { cases: 300, rng_seed: RngSeed::Fixed(8), failure_persistence: None, ..Config::default() })]

    // Who of a series is stopped by a failure depends on who was started by then: only what must hold at every moment is
    // checked, and that both runs come to an end.
    #[test]
    fn of_a_series_no_more_than_its_limit_are_under_way(spec in spec(), seed in any::<u64>(), serial in 2..4_u32) {
        let mut spec = spec;
        rolled_out(&mut spec.steps, serial);
        let plan = plan_of(&spec);
        let expected = expected(&spec);
        let world = world_of(&spec, &plan);
        let mut sim = Sim { plan: plan.clone(), expected: &expected, world, dice: Dice(seed), faults: 4, run: String::new(), theft: None, late: Vec::new(), restarted: Default::default(), cancel: None, cut: None };
        let first = sim.run(options("r1"), Some(usize::try_from(seed % 100).unwrap()));
        let mut settings = options("r2");
        settings.prior_jobs = prior_jobs(&first);
        prop_assert!(sim.run(settings, None).exit.is_some());
    }
}
