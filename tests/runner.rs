//! The runner with machines and a journal in memory: what is on record before what is done, and how troubles of either
//! end. Time stands still but for what waits for it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

#[path = "scheduler/lab.rs"]
#[expect(dead_code, reason = "only the plans are used here")]
mod lab;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use hmco_boot::engine::clock::StillClock;
use hmco_boot::engine::locks::{LEASE, LocalLock, RunLocks};
use hmco_boot::engine::runner::{Confirm, Ended, Observer, Seams, run};
use hmco_boot::engine::scheduler::Options;
use hmco_boot::facts::fact::{Answer, Fact};
use hmco_boot::journal::fold::RunFold;
use hmco_boot::journal::memory::MemoryJournal;
use hmco_boot::journal::{Journal, JournalError, RunSummary};
use hmco_boot::model::action::{Job, JobEnd};
use hmco_boot::model::event::{
    CancelLevel, EVENT_VERSION, Event, PairInfo, Record, RunArguments, RunStarted,
};
use hmco_boot::model::id::{JobId, KindName, PairId, RunId, Target};
use hmco_boot::model::lock::{LockAnswer, LockClaim};
use hmco_boot::model::outcome::{ExitCode, Failure, Outcome};
use hmco_boot::model::path::AbsPath;
use hmco_boot::plan::{Plan, Work};
use hmco_boot::steps::line::Line;
use hmco_boot::transport::fake::{FakeHost, Fault};
use hmco_boot::transport::{Applied, BoxFuture, Host, HostError, Hosts, OutputSink};
use tokio::sync::{mpsc, watch};

use lab::{options, plan, step};

/// What the test is told of every call, before the machine is.
type Spy = Arc<dyn Fn(&str) + Send + Sync>;

#[derive(Clone)]
struct Spied {
    host: FakeHost,
    spy: Spy,
}

impl Host for Spied {
    fn read<'a>(&'a self, facts: &'a [Fact]) -> BoxFuture<'a, Result<Vec<Answer>, HostError>> {
        (self.spy)("read");
        self.host.read(facts)
    }

    fn apply<'a>(
        &'a self,
        job: &'a Job,
        facts: &'a [Fact],
        output: OutputSink<'a>,
    ) -> BoxFuture<'a, Result<Applied, HostError>> {
        (self.spy)(job.id.as_str());
        output("some output\n");
        self.host.apply(job, facts, output)
    }

    fn attach<'a>(
        &'a self,
        job: &'a JobId,
        end: bool,
        output: OutputSink<'a>,
    ) -> BoxFuture<'a, Result<JobEnd, HostError>> {
        (self.spy)("attach");
        self.host.attach(job, end, output)
    }

    fn lock<'a>(&'a self, claim: &'a LockClaim) -> BoxFuture<'a, Result<LockAnswer, HostError>> {
        (self.spy)("lock");
        self.host.lock(claim)
    }

    fn unlock<'a>(&'a self, run: &'a RunId) -> BoxFuture<'a, Result<(), HostError>> {
        (self.spy)("unlock");
        self.host.unlock(run)
    }
}

struct Farm(BTreeMap<Target, Spied>);

impl Hosts for Farm {
    fn host<'a>(&'a self, target: &'a Target) -> BoxFuture<'a, Result<Arc<dyn Host>, HostError>> {
        let host = Arc::new(self.0[target].clone());
        Box::pin(async move { Ok(host as Arc<dyn Host>) })
    }
}

struct Free;

impl LocalLock for Free {
    fn take(&self) -> Result<Box<dyn Send>, Failure> {
        Ok(Box::new(()))
    }
}

/// A lock whose holder tells when it was let go.
#[derive(Clone)]
struct Told(Arc<AtomicBool>);

impl Drop for Told {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A local lock made anew for each run.
type MakeLock = Box<dyn Fn() -> Box<dyn LocalLock>>;

struct Telling(Arc<AtomicBool>);

impl LocalLock for Telling {
    fn take(&self) -> Result<Box<dyn Send>, Failure> {
        Ok(Box::new(Told(self.0.clone())))
    }
}

struct Broken;

impl LocalLock for Broken {
    fn take(&self) -> Result<Box<dyn Send>, Failure> {
        panic!("a lock that breaks down")
    }
}

impl Confirm for Free {
    fn confirm<'a>(&'a self, _: &'a [String]) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(true))
    }
}

/// Keeps every record; tells how many starts it has seen.
struct Seen {
    records: Arc<Mutex<Vec<Record>>>,
    starts: watch::Sender<usize>,
}

impl Observer for Seen {
    fn record(&mut self, record: &Record) {
        self.records.lock().unwrap().push(record.clone());
        if matches!(record.event, Event::StepStarted { .. }) {
            self.starts.send_modify(|starts| *starts += 1);
        }
    }

    fn tick(&mut self, _: i64) {}
}

/// A run in the making.
struct Rig {
    plan: Arc<Plan>,
    options: Options,
    hosts: BTreeMap<Target, FakeHost>,
    spy: Spy,
    local: MakeLock,
    /// The state folder that it belongs to.
    owner: &'static str,
    journal: Arc<dyn Journal>,
    memory: MemoryJournal,
    records: Arc<Mutex<Vec<Record>>>,
    starts: watch::Sender<usize>,
    cancel: mpsc::UnboundedSender<CancelLevel>,
    cancelled: Option<mpsc::UnboundedReceiver<CancelLevel>>,
}

impl Rig {
    fn new(plan: Plan) -> Self {
        let memory = MemoryJournal::new();
        let (cancel, cancelled) = mpsc::unbounded_channel();
        let host = |target: &Target| (target.clone(), FakeHost::new());
        Self {
            hosts: plan.targets.iter().map(host).collect(),
            plan: Arc::new(plan),
            options: options(),
            spy: Arc::new(|_| {}),
            local: Box::new(|| Box::new(Free)),
            owner: "a",
            journal: Arc::new(memory.clone()),
            memory,
            records: Arc::default(),
            starts: watch::Sender::new(0),
            cancel,
            cancelled: Some(cancelled),
        }
    }

    fn host(&self, name: &str) -> FakeHost {
        self.hosts[&lab::node(name)].clone()
    }

    async fn run(&mut self) -> Result<Ended, Failure> {
        let spied = |(target, host): (&Target, &FakeHost)| {
            let (host, spy) = (host.clone(), self.spy.clone());
            (target.clone(), Spied { host, spy })
        };
        let (_, nobody) = mpsc::unbounded_channel();
        let hosts = Arc::new(Farm(self.hosts.iter().map(spied).collect()));
        let claim = LockClaim {
            run: self.options.run.clone(),
            holder: format!("the test's run {}", self.options.run),
            owner: self.owner.to_owned(),
            lease: LEASE,
        };
        let locks = RunLocks::new((self.local)(), hosts.clone(), claim);
        let seams = Seams {
            redactor: hmco_boot::model::redact::Redactor::default(),
            hosts,
            locks: Some(Arc::new(locks)),
            journal: Some(self.journal.clone()),
            confirm: Arc::new(Free),
            clock: Arc::new(StillClock::default()),
            cancel: self.cancelled.take().unwrap_or(nobody),
        };
        let info = |pair: &hmco_boot::plan::Pair| PairInfo {
            id: pair.id,
            step: pair.step.clone(),
            target: pair.target.clone(),
            kind: KindName::new(pair.kind.name),
            waits_for: Vec::new(),
            disruptive: false,
        };
        let started = RunStarted {
            version: EVENT_VERSION,
            run: self.options.run.clone(),
            resumes: None,
            tool: "test".to_owned(),
            cluster: "test".to_owned(),
            playbook: "test".to_owned(),
            arguments: RunArguments::default(),
            fingerprint: "test".to_owned(),
            pairs: self.plan.pairs.iter().map(info).collect(),
        };
        let mut seen = Seen {
            records: self.records.clone(),
            starts: self.starts.clone(),
        };
        run(
            self.plan.clone(),
            self.options.clone(),
            seams,
            started,
            &mut seen,
        )
        .await
    }

    fn seen(&self) -> Vec<Record> {
        self.records.lock().unwrap().clone()
    }
}

fn outcome(ended: &Ended, id: u32) -> &Outcome {
    ended.scheduler.outcome(PairId(id)).unwrap()
}

/// Steps whose wish is that the machine has their file; what the machines write is not "good", so nothing is proven.
fn many(count: usize) -> Plan {
    let always = |at| step("a", &format!("n{at}")).wish(|wish| wish.verifiable = false);
    plan((0..count).map(always).collect())
}

#[tokio::test(start_paused = true)]
async fn every_record_is_seen_and_kept_in_order_without_gaps() {
    let mut rig = Rig::new(many(5));
    let ended = rig.run().await.unwrap();
    assert_eq!(ended.exit, ExitCode::Done);
    let seen = rig.seen();
    assert!(
        seen.iter()
            .map(|record| record.seq)
            .eq(0..seen.len() as u64)
    );
    assert_eq!(rig.memory.read(&"r".into()).unwrap(), seen);
    assert!(matches!(
        seen.last().unwrap().event,
        Event::RunFinished { .. }
    ));
    assert!(
        seen.iter()
            .any(|r| matches!(r.event, Event::StepOutput { .. }))
    );
    rig.memory.lose_what_is_not_durable();
    assert_eq!(
        rig.memory.read(&"r".into()).unwrap(),
        seen,
        "its end is safe"
    );
}

/// A journal that keeps apart what was appended durably.
struct Durable {
    inner: MemoryJournal,
    safe: Mutex<Vec<Record>>,
    waiting: Mutex<Vec<Record>>,
    appends: AtomicUsize,
    open: Mutex<bool>,
    opened: Condvar,
}

impl Durable {
    fn new(open: bool) -> Self {
        Self {
            inner: MemoryJournal::new(),
            safe: Mutex::default(),
            waiting: Mutex::default(),
            appends: AtomicUsize::new(0),
            open: Mutex::new(open),
            opened: Condvar::new(),
        }
    }

    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

impl Journal for Durable {
    fn append(&self, run: &RunId, records: &[Record], durable: bool) -> Result<(), JournalError> {
        let starts = |record: &Record| matches!(record.event, Event::StepStarted { .. });
        if records.iter().any(starts) {
            drop(
                self.opened
                    .wait_while(self.open.lock().unwrap(), |open| !*open)
                    .unwrap(),
            );
        }
        self.inner.append(run, records, durable)?;
        let mut waiting = self.waiting.lock().unwrap();
        waiting.extend_from_slice(records);
        if durable {
            self.appends.fetch_add(1, Ordering::SeqCst);
            self.safe.lock().unwrap().append(&mut waiting);
        }
        Ok(())
    }

    fn runs(&self) -> Result<Vec<RunSummary>, JournalError> {
        self.inner.runs()
    }

    fn read(&self, run: &RunId) -> Result<Vec<Record>, JournalError> {
        self.inner.read(run)
    }

    fn prune(&self, keep: usize) -> Result<Vec<RunId>, JournalError> {
        self.inner.prune(keep)
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_is_durable_before_its_machine_hears_of_it() {
    let mut rig = Rig::new(many(10));
    let journal = Arc::new(Durable::new(true));
    rig.journal = journal.clone();
    let unsafe_calls = Arc::new(Mutex::new(Vec::new()));
    let bad = unsafe_calls.clone();
    rig.spy = Arc::new(move |call| {
        let started = |record: &Record| matches!(&record.event, Event::StepStarted { job, .. } if job.as_str() == call);
        if call.starts_with("r-") && !journal.safe.lock().unwrap().iter().any(started) {
            bad.lock().unwrap().push(call.to_owned());
        }
    });
    assert_eq!(rig.run().await.unwrap().exit, ExitCode::Done);
    assert_eq!(*unsafe_calls.lock().unwrap(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_hundred_starts_at_once_share_few_commits() {
    let mut rig = Rig::new(many(100));
    rig.options.parallel = 100;
    let journal = Arc::new(Durable::new(false));
    rig.journal = journal.clone();
    let mut starts = rig.starts.subscribe();
    let disk = journal.clone();
    // The disk is slow until all starts have been handed over.
    let slow = async move {
        starts.wait_for(|starts| *starts == 100).await.unwrap();
        disk.open();
    };
    let (ended, ()) = tokio::join!(rig.run(), slow);
    assert_eq!(ended.unwrap().exit, ExitCode::Done);
    let commits = journal.appends.load(Ordering::SeqCst);
    assert!(commits <= 10, "{commits} durable appends");
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_fails_before_an_apply_keeps_the_job_from_its_machine() {
    // However many appends succeed, no machine gets a job whose start was not taken.
    for appends in 1..12 {
        let mut rig = Rig::new(many(2));
        rig.memory.fail_after(appends);
        let ended = rig.run().await.unwrap();
        let kept = rig.memory.read(&"r".into()).unwrap();
        let on_record = |id: &JobId| {
            let starts =
                |r: &Record| matches!(&r.event, Event::StepStarted { job, .. } if job == id);
            kept.iter().any(starts)
        };
        for host in rig.hosts.values() {
            assert!(
                host.applied().iter().all(on_record),
                "after {appends} appends"
            );
        }
        let whole = matches!(kept.last().unwrap().event, Event::RunFinished { .. });
        assert_eq!(
            ended.exit == ExitCode::Done,
            whole,
            "after {appends} appends"
        );
        assert!(whole || ended.exit == ExitCode::Failed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_first_record_is_not_taken_does_not_begin() {
    let mut rig = Rig::new(many(1));
    rig.memory.fail_after(0);
    assert!(rig.run().await.is_err());
    assert_eq!(rig.host("n0").calls().reads, 0);
}

/// A journal whose thread dies at the first durable start.
struct Dies(MemoryJournal);

impl Journal for Dies {
    fn append(&self, run: &RunId, records: &[Record], durable: bool) -> Result<(), JournalError> {
        let starts = |record: &Record| matches!(record.event, Event::StepStarted { .. });
        assert!(!records.iter().any(starts), "a journal that breaks down");
        self.0.append(run, records, durable)
    }

    fn runs(&self) -> Result<Vec<RunSummary>, JournalError> {
        self.0.runs()
    }

    fn read(&self, run: &RunId) -> Result<Vec<Record>, JournalError> {
        self.0.read(run)
    }

    fn prune(&self, keep: usize) -> Result<Vec<RunId>, JournalError> {
        self.0.prune(keep)
    }
}

#[tokio::test(start_paused = true)]
async fn the_death_of_the_journals_thread_keeps_jobs_from_machines_and_fails_the_run() {
    let mut rig = Rig::new(many(2));
    rig.journal = Arc::new(Dies(rig.memory.clone()));
    let ended = rig.run().await.unwrap();
    assert_eq!(ended.exit, ExitCode::Failed);
    assert!(ended.unrecorded.is_some());
    assert!(rig.hosts.values().all(|host| host.applied().is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_followed_by_an_attach_and_the_job_runs_once() {
    for fault in [Fault::LostDuring, Fault::LostAfter, Fault::LostBefore] {
        let mut rig = Rig::new(many(1));
        let host = rig.host("n0");
        host.fail_next([fault]);
        let ended = rig.run().await.unwrap();
        assert_eq!(outcome(&ended, 0), &Outcome::Changed, "{fault:?}");
        assert_eq!(host.applied().len(), 1, "{fault:?}");
        assert_eq!(host.calls().attaches, 1, "{fault:?}");
        RunFold::of(&rig.seen()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_does_not_answer_ends_as_unreachable_after_the_tries_it_has() {
    let mut rig = Rig::new(many(2));
    let host = rig.host("n0");
    host.fail_always(Fault::Unreachable { transient: true });
    let ended = rig.run().await.unwrap();
    assert_eq!(ended.exit, ExitCode::Unreachable);
    assert_eq!(outcome(&ended, 1), &Outcome::Changed);
    assert_eq!(host.calls().reads, 2);
}

#[tokio::test(start_paused = true)]
async fn the_first_ctrl_c_waits_for_the_job_and_the_second_leaves_it_alone() {
    for levels in [1, 2] {
        let mut rig = Rig::new(plan(vec![
            step("a", "n").wish(|wish| wish.verifiable = false),
            step("b", "n").needs(&[0]),
        ]));
        let host = rig.host("n");
        host.hold_jobs(true);
        let (cancel, mut starts) = (rig.cancel.clone(), rig.starts.subscribe());
        let person = async {
            starts.wait_for(|starts| *starts == 1).await.unwrap();
            cancel.send(CancelLevel::Drain).unwrap();
            if levels == 2 {
                cancel.send(CancelLevel::Abort).unwrap();
            } else {
                // Only time passes when nothing else can: the run waits.
                tokio::time::sleep(std::time::Duration::from_secs(60)).await;
                host.hold_jobs(false);
            }
        };
        let (ended, ()) = tokio::join!(rig.run(), person);
        let ended = ended.unwrap();
        assert_eq!(ended.exit, ExitCode::Interrupted);
        let first = outcome(&ended, 0).word();
        assert_eq!(
            first,
            if levels == 2 {
                "interrupted"
            } else {
                "changed"
            }
        );
        assert_eq!(outcome(&ended, 1).word(), "interrupted");
        RunFold::of(&rig.seen()).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_breaks_down_does_not_hang_the_run() {
    for (call, word) in [
        ("read", "unreachable"),
        ("r-#0-1", "changed"),
        ("r-", "interrupted"),
    ] {
        let mut rig = Rig::new(many(1));
        rig.spy = Arc::new(move |called| assert!(!called.starts_with(call), "it breaks down"));
        let ended = rig.run().await.unwrap();
        assert_eq!(outcome(&ended, 0).word(), word, "{call}");
    }
    let mut rig = Rig::new(many(1));
    rig.local = Box::new(|| Box::new(Broken));
    assert_eq!(rig.run().await.unwrap().exit, ExitCode::Locked);
}

#[tokio::test(start_paused = true)]
async fn the_lock_is_kept_until_the_end_of_the_run_is_on_record_and_then_let_go() {
    let mut rig = Rig::new(many(1));
    let gone = Arc::new(AtomicBool::new(false));
    let (held, told) = (gone.clone(), gone.clone());
    rig.local = Box::new(move || Box::new(Telling(told.clone())));
    rig.spy = Arc::new(move |_| assert!(!held.load(Ordering::SeqCst), "let go too early"));
    assert_eq!(rig.run().await.unwrap().exit, ExitCode::Done);
    assert!(gone.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_dies_and_is_begun_again_finds_its_job_and_does_not_repeat_it() {
    let mut rig = Rig::new(many(1));
    let host = rig.host("n0");
    host.hold_jobs(true);
    let mut starts = rig.starts.subscribe();
    let dies = async {
        starts.wait_for(|starts| *starts == 1).await.unwrap();
        // Long enough for the job to have begun.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    };
    tokio::select! {
        _ = rig.run() => panic!("the job is held"),
        () = dies => {}
    }
    host.hold_jobs(false);
    let fold = RunFold::of(&rig.memory.read(&"r".into()).unwrap()).unwrap();
    rig.options = Options::new("s".into());
    rig.options.prior_jobs = hmco_boot::engine::resume::prior_jobs(&fold);
    let ended = rig.run().await.unwrap();
    assert_eq!(outcome(&ended, 0), &Outcome::Changed);
    assert_eq!(host.applied().len(), 1, "once, by the first run");
}

fn claim(run: &str, owner: &str) -> LockClaim {
    LockClaim {
        run: run.into(),
        holder: format!("{run} of somebody else"),
        owner: owner.to_owned(),
        lease: LEASE,
    }
}

/// The failure that a run without its locks ended with.
fn refusal(rig: &Rig) -> Failure {
    let refused = |record: Record| match record.event {
        Event::LockRefused { failure } => Some(failure),
        _ => None,
    };
    rig.seen().into_iter().find_map(refused).unwrap()
}

#[tokio::test(start_paused = true)]
async fn where_one_machine_is_locked_no_other_stays_locked_and_nothing_is_changed() {
    let mut rig = Rig::new(many(3));
    rig.host("n2").lock(&claim("other", "b")).await.unwrap();
    let ended = rig.run().await.unwrap();
    assert_eq!(ended.exit, ExitCode::Locked);
    let failure = refusal(&rig);
    let start = "n2 is locked by run other (other of somebody else); it counts 120 s more";
    assert!(failure.message.starts_with(start), "{}", failure.message);
    for name in ["n0", "n1"] {
        assert_eq!(rig.host(name).locked_by(), None, "{name}");
    }
    assert_eq!(rig.host("n2").locked_by(), Some("other".into()));
    assert!(rig.hosts.values().all(|host| host.applied().is_empty()));
}

#[tokio::test(start_paused = true)]
async fn all_machines_are_locked_before_the_first_apply_and_free_at_the_end() {
    let mut rig = Rig::new(many(3));
    let hosts: Vec<FakeHost> = rig.hosts.values().cloned().collect();
    rig.spy = Arc::new(move |call| {
        if call.starts_with("r-") {
            let held = |host: &FakeHost| host.locked_by() == Some("r".into());
            assert!(hosts.iter().all(held), "{call}");
        }
    });
    assert_eq!(rig.run().await.unwrap().exit, ExitCode::Done);
    assert!(rig.hosts.values().all(|host| host.locked_by().is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_long_run_renews_its_locks_and_one_failed_renewal_is_no_drama() {
    let mut rig = Rig::new(many(2));
    let (slow, idle) = (rig.host("n0"), rig.host("n1"));
    slow.hold_jobs(true);
    let mut starts = rig.starts.subscribe();
    let minutes = async {
        starts.wait_for(|starts| *starts == 2).await.unwrap();
        tokio::time::sleep(std::time::Duration::from_secs(15)).await;
        idle.fail_next([Fault::Unreachable { transient: true }]);
        for _ in 0..20 {
            tokio::time::sleep(std::time::Duration::from_secs(30)).await;
            for host in [&slow, &idle] {
                host.pass(std::time::Duration::from_secs(30));
                assert_ne!(
                    host.lock(&claim("other", "b")).await.unwrap(),
                    LockAnswer::Taken
                );
            }
        }
        slow.hold_jobs(false);
    };
    let (ended, ()) = tokio::join!(rig.run(), minutes);
    assert_eq!(ended.unwrap().exit, ExitCode::Done);
    assert!(idle.locked_by().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_somebody_else_got_meanwhile_ends_the_run_with_5() {
    let late = step("late", "n1")
        .needs(&[0])
        .wish(|wish| wish.verifiable = false);
    let first = step("a", "n0").wish(|wish| wish.verifiable = false);
    let mut rig = Rig::new(plan(vec![first, late]));
    let (slow, robbed) = (rig.host("n0"), rig.host("n1"));
    slow.hold_jobs(true);
    let mut starts = rig.starts.subscribe();
    let meanwhile = async {
        starts.wait_for(|starts| *starts == 1).await.unwrap();
        // This machine slept for an hour, say.
        robbed.pass(std::time::Duration::from_secs(3600));
        let taken = robbed.lock(&claim("other", "b")).await.unwrap();
        assert_eq!(taken, LockAnswer::Taken);
        tokio::time::sleep(std::time::Duration::from_secs(60)).await;
        slow.hold_jobs(false);
    };
    let (ended, ()) = tokio::join!(rig.run(), meanwhile);
    let ended = ended.unwrap();
    assert_eq!(ended.exit, ExitCode::Locked);
    assert_eq!(
        outcome(&ended, 0),
        &Outcome::Changed,
        "what ran came to its end"
    );
    assert_eq!(outcome(&ended, 1).word(), "interrupted");
    let failure = refusal(&rig);
    let start = "the lock on n1 was lost to run other";
    assert!(failure.message.starts_with(start), "{}", failure.message);
    assert_eq!(
        robbed.locked_by(),
        Some("other".into()),
        "it is not given back by us"
    );
    RunFold::of(&rig.seen()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_restarted_meanwhile_is_locked_again_before_it_is_changed() {
    let late = step("late", "n1")
        .needs(&[0])
        .wish(|wish| wish.verifiable = false);
    let first = step("a", "n0").wish(|wish| wish.verifiable = false);
    // Found by the fence right away, or by a renewal before.
    for wait in [1, 60] {
        let steps = vec![first.clone(), late.clone()];
        let mut rig = Rig::new(plan(steps));
        let (slow, restarted) = (rig.host("n0"), rig.host("n1"));
        slow.hold_jobs(true);
        let mut starts = rig.starts.subscribe();
        let meanwhile = async {
            starts.wait_for(|starts| *starts == 1).await.unwrap();
            restarted.reboot();
            tokio::time::sleep(std::time::Duration::from_secs(wait)).await;
            slow.hold_jobs(false);
        };
        let (ended, ()) = tokio::join!(rig.run(), meanwhile);
        let ended = ended.unwrap();
        assert_eq!(ended.exit, ExitCode::Done);
        assert_eq!(outcome(&ended, 1), &Outcome::Changed);
        assert_eq!(restarted.applied().len(), 1);
        assert_eq!(restarted.locked_by(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn an_aborted_run_gives_its_locks_back_too() {
    let mut rig = Rig::new(many(2));
    rig.host("n0").hold_jobs(true);
    let cancel = rig.cancel.clone();
    let mut starts = rig.starts.subscribe();
    let twice = async {
        starts.wait_for(|starts| *starts == 2).await.unwrap();
        cancel.send(CancelLevel::Drain).unwrap();
        cancel.send(CancelLevel::Abort).unwrap();
    };
    let (ended, ()) = tokio::join!(rig.run(), twice);
    assert_eq!(ended.unwrap().exit, ExitCode::Interrupted);
    assert!(rig.hosts.values().all(|host| host.locked_by().is_none()));
}

/// A plan with one step that adds a line to /etc/hosts of `n`.
fn adds_a_line() -> Plan {
    let mut plan = plan(vec![step("a", "n")]);
    let line: Line = serde_json::from_value(serde_json::json!({
        "path": "/etc/hosts",
        "line": "10.0.0.1 ours",
    }))
    .unwrap();
    plan.pairs[0].work = Work::Wish(Arc::new(line));
    plan
}

/// Somebody adds a line right before each of the first `times` applies.
fn somebody_else_adds(rig: &mut Rig, times: usize) {
    let (host, path) = (rig.host("n"), AbsPath::new("/etc/hosts").unwrap());
    host.with_tree(|tree| tree.write(&path, "127.0.0.1 localhost\n", 0o644));
    let applies = AtomicUsize::new(0);
    rig.spy = Arc::new(move |call| {
        if !call.starts_with("r-") {
            return;
        }
        let number = applies.fetch_add(1, Ordering::SeqCst);
        if number < times {
            host.with_tree(|tree| {
                let mut text = String::from_utf8(tree.content(&path).unwrap().to_vec()).unwrap();
                text.push_str(&format!("10.0.1.{number} theirs\n"));
                tree.write(&path, text, 0o644);
            });
        }
    });
}

#[tokio::test(start_paused = true)]
async fn a_line_that_somebody_adds_between_reading_and_writing_is_kept() {
    let mut rig = Rig::new(adds_a_line());
    somebody_else_adds(&mut rig, 2);
    let ended = rig.run().await.unwrap();
    assert_eq!(outcome(&ended, 0), &Outcome::Changed);
    assert_eq!(
        hosts_of(&rig),
        "127.0.0.1 localhost\n10.0.1.0 theirs\n10.0.1.1 theirs\n10.0.0.1 ours\n"
    );
    assert_eq!(rig.host("n").applied().len(), 3);
    let warned = |record: &&Record| matches!(&record.event, Event::Warning { failure } if failure.message.contains("looking again"));
    assert_eq!(rig.seen().iter().filter(warned).count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_somebody_keeps_changing_is_left_to_them() {
    let mut rig = Rig::new(adds_a_line());
    somebody_else_adds(&mut rig, usize::MAX);
    let ended = rig.run().await.unwrap();
    let Outcome::Failed(failure) = outcome(&ended, 0) else {
        panic!("{:?}", outcome(&ended, 0))
    };
    assert!(failure.message.contains("3 times"), "{failure:?}");
    assert!(
        failure.evidence[0].contains("/etc/hosts was changed"),
        "{failure:?}"
    );
    assert!(failure.hint.is_some());
    assert!(!hosts_of(&rig).contains("ours"));
    assert_eq!(rig.host("n").applied().len(), 3);
}

fn hosts_of(rig: &Rig) -> String {
    let path = AbsPath::new("/etc/hosts").unwrap();
    let bytes = rig
        .host("n")
        .with_tree(|tree| tree.content(&path).unwrap().to_vec());
    String::from_utf8(bytes).unwrap()
}
