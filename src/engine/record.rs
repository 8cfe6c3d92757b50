//! From the scheduler's events to records: numbers, times, what may be dropped; then to the journal, in order, by a
//! thread of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::clock::Clock;
use super::scheduler::Input;
use crate::journal::Journal;
use crate::model::event::{Event, Record};
use crate::model::id::{PairId, RunId};
use crate::model::outcome::Failure;

/// Bytes of output that one step may put on record; more is dropped, its job's own tail is kept on failure.
const OUTPUT_BUDGET: usize = 64 * 1024;

/// Numbers and stamps events.
pub(super) struct Stamper {
    clock: Arc<dyn Clock>,
    seq: u64,
    began: Duration,
    started: BTreeMap<PairId, Duration>,
    output: BTreeMap<PairId, usize>,
    gates: BTreeMap<PairId, String>,
}

impl Stamper {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let began = clock.monotonic();
        Self {
            clock,
            seq: 0,
            began,
            started: BTreeMap::new(),
            output: BTreeMap::new(),
            gates: BTreeMap::new(),
        }
    }

    /// Whether a gate's reason is still the last one.
    fn said_before(&mut self, pair: PairId, reason: &str) -> bool {
        self.gates
            .insert(pair, reason.to_owned())
            .is_some_and(|last| last == reason)
    }

    /// The record of an event; `None` for one that may be dropped and is.
    pub fn stamp(&mut self, mut event: Event) -> Option<Record> {
        let now = self.clock.monotonic();
        match &mut event {
            Event::StepStarted { pair, .. } => drop(self.started.entry(*pair).or_insert(now)),
            Event::StepFinished { pair, took_ms, .. } => {
                *took_ms = self
                    .started
                    .get(pair)
                    .map_or(0, |since| millis(now.saturating_sub(*since)));
            }
            Event::RunFinished { took_ms, .. } => *took_ms = millis(now.saturating_sub(self.began)),
            Event::StepOutput { pair, text } => {
                let used = self.output.entry(*pair).or_insert(0);
                let left = OUTPUT_BUDGET.saturating_sub(*used);
                *used += text.len();
                if left == 0 {
                    return None;
                }
                if text.len() > left {
                    text.truncate(text.floor_char_boundary(left));
                    text.push_str("\n[what comes after this is not on record]\n");
                    *used = OUTPUT_BUDGET;
                }
            }
            // A check that waits is never started; what it takes counts from its first look.
            Event::GateWaiting { pair, .. } if !self.started.contains_key(pair) => {
                self.started.insert(*pair, now);
            }
            Event::GateWaiting { pair, reason } if self.said_before(*pair, reason) => return None,
            _ => {}
        }
        let record = Record {
            seq: self.seq,
            at_ms: self.clock.wall_ms(),
            event,
        };
        self.seq += 1;
        Some(record)
    }
}

/// Told when records are as safe as they were asked to be, or why they are not.
pub(super) type Ack = oneshot::Receiver<Result<(), Failure>>;

struct Batch {
    records: Vec<Record>,
    durable: bool,
    ack: oneshot::Sender<Result<(), Failure>>,
}

/// The way to the journal. Without a journal (a preview) everything is safe at once.
pub(super) struct Recorder {
    queue: Option<std::sync::mpsc::Sender<Batch>>,
    /// Told when the thread has ended by itself.
    ended: Option<oneshot::Receiver<()>>,
}

impl Recorder {
    /// Starts the journal's thread. Its first error also reaches the scheduler as an input.
    pub fn new(
        journal: Option<Arc<dyn Journal>>,
        run: RunId,
        inputs: mpsc::UnboundedSender<Input>,
    ) -> Self {
        let Some(journal) = journal else {
            return Self {
                queue: None,
                ended: None,
            };
        };
        let (queue, batches) = std::sync::mpsc::channel();
        // A thread of its own: an append waits for the disk, and the runner must not.
        let (last, ended) = oneshot::channel();
        let work = move || {
            write(journal.as_ref(), &run, &batches, &inputs);
            drop(journal);
            if last.send(()).is_err() {
                tracing::debug!("nobody waits for the journal's end");
            }
        };
        // Where there is no thread, `batches` is gone with it: every append fails, and nothing is started.
        drop(
            std::thread::Builder::new()
                .name("journal".to_owned())
                .spawn(work),
        );
        Self {
            queue: Some(queue),
            ended: Some(ended),
        }
    }

    /// Waits until everything is written and nobody uses the journal any more.
    pub async fn close(self) -> Result<(), Failure> {
        drop(self.queue);
        match self.ended {
            Some(ended) => ended.await.map_err(|_| thread_gone()),
            None => Ok(()),
        }
    }

    /// Hands records over, in order.
    pub fn append(&self, records: Vec<Record>, durable: bool) -> Ack {
        let (ack, done) = oneshot::channel();
        match &self.queue {
            None => drop(ack.send(Ok(()))),
            // A dead journal thread drops the batch, and with it `ack`: the receiver sees that.
            Some(queue) => drop(queue.send(Batch {
                records,
                durable,
                ack,
            })),
        }
        done
    }
}

/// What an [`Ack`] says.
pub(super) async fn acknowledged(ack: Ack) -> Result<(), Failure> {
    ack.await.unwrap_or_else(|_| Err(thread_gone()))
}

fn thread_gone() -> Failure {
    Failure::new("hmco-boot broke down while it wrote to the journal")
        .hint("this is a mistake in hmco-boot: please report it with what was shown before")
}

/// Writes batches until the queue is closed. What has queued up meanwhile shares one commit. After an error nothing
/// more is written: a journal with a hole would lie.
fn write(
    journal: &dyn Journal,
    run: &RunId,
    batches: &std::sync::mpsc::Receiver<Batch>,
    inputs: &mpsc::UnboundedSender<Input>,
) {
    let mut broken: Option<Failure> = None;
    while let Ok(first) = batches.recv() {
        let mut group = vec![first];
        group.extend(batches.try_iter());
        let durable = group.iter().any(|batch| batch.durable);
        let mut records = Vec::new();
        let mut acks = Vec::new();
        for batch in group {
            records.extend(batch.records);
            acks.push(batch.ack);
        }
        let result = match &broken {
            Some(failure) => Err(failure.clone()),
            None => journal
                .append(run, &records, durable)
                .map_err(|error| error.failure),
        };
        if let Err(failure) = &result
            && broken.is_none()
        {
            broken = Some(failure.clone());
            drop(inputs.send(Input::JournalFailed {
                failure: failure.clone(),
                unstarted: None,
            }));
        }
        for ack in acks {
            drop(ack.send(result.clone()));
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
