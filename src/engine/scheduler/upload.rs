//! Applies with a large payload: which may go now. They share one link, and often one processor that encrypts them.

use std::time::Duration;

use super::{Busy, Phase, Purpose, Scheduler};
use crate::model::action::Action;
use crate::model::artifact::Fetch;
use crate::model::id::PairId;
use crate::plan::Pair;

/// A payload from which an apply counts as an upload.
const UPLOAD_BYTES: usize = 256 * 1024;

/// How long the others wait for the first at most: it may be behind a slow link, or stand still.
const ALONE: Duration = Duration::from_secs(20);

/// How long the first target goes on by itself before the others are sent theirs: as long as a job takes to start what comes
/// after its upload, which would wait behind theirs for the processor that encrypts them.
const HEAD_START: Duration = Duration::from_millis(500);

/// Who may send.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Turn {
    /// One, the first.
    #[default]
    First,
    /// Nobody: the first is through, and its target goes on.
    HeadStart,
    /// As many as the run's options allow.
    Several,
}

/// Uploads of a run.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    /// Under way.
    running: usize,
    turn: Turn,
    /// Before anything is sent, a target that comes first has to say whether it needs it.
    awaits: bool,
}

/// Whether these send much.
pub(super) fn is_upload(actions: &[Action]) -> bool {
    payload(actions) >= UPLOAD_BYTES
}

impl Scheduler {
    /// Whether a pair may send its payload now. The first goes alone and in the plan's order, so that what waits for the first
    /// target (as its K3s, which makes the cluster) begins soon, and goes on beside the others.
    pub(super) fn may_upload(&mut self, info: &Pair) -> bool {
        match self.uploads.turn {
            Turn::Several => self.uploads.running < self.options.uploads,
            Turn::HeadStart => false,
            Turn::First if self.uploads.running > 0 => false,
            Turn::First => {
                let after = self.earlier_that_is_read(info);
                if after && !std::mem::replace(&mut self.uploads.awaits, true) {
                    self.after(ALONE, Purpose::Uploads);
                }
                !after
            }
        }
    }

    /// An upload begins.
    pub(super) fn upload_begins(&mut self) {
        if self.uploads.turn == Turn::First {
            self.after(ALONE, Purpose::Uploads);
        }
        self.uploads.running += 1;
    }

    /// Whether a pair of the same step on an earlier target is about to be decided: its answers are on the way.
    fn earlier_that_is_read(&self, info: &Pair) -> bool {
        let same = |pair: &&Pair| pair.series == info.series && pair.id < info.id;
        let is_read = |pair: &Pair| {
            let state = self.pairs.get(pair.id.index());
            let target = state.and_then(|state| self.targets.get(state.target));
            // It answered a moment ago, when it was locked.
            target.is_some_and(|target| target.busy == Busy::Reading)
                && self.is_phase(pair.id, |phase| *phase == Phase::Ready)
        };
        self.plan.pairs.iter().filter(same).any(is_read)
    }

    /// A target was read, or did not answer: who waited for what it says looks again.
    pub(super) fn upload_may_follow(&mut self) {
        if std::mem::take(&mut self.uploads.awaits) {
            self.wake_parked();
        }
    }

    /// The upload of this pair ended, however it did.
    pub(super) fn upload_is_over(&mut self, pair: PairId) {
        self.uploads.running = self.uploads.running.saturating_sub(1);
        if self.uploads.turn == Turn::First && self.goes_on(pair) {
            self.uploads.turn = Turn::HeadStart;
            self.after(HEAD_START, Purpose::Uploads);
        } else if self.uploads.turn != Turn::HeadStart {
            self.several_uploads();
        }
    }

    /// Whether its target has more to do after it.
    fn goes_on(&self, pair: PairId) -> bool {
        let target = |pair: &PairId| self.pairs.get(pair.index()).map(|state| state.target);
        let later = self.plan.pairs.iter().filter(|other| other.id > pair);
        let mut later = later.map(|other| target(&other.id));
        later.any(|other| other == target(&pair))
    }

    /// The first is through, or takes so long that the others need not wait for it.
    pub(super) fn several_uploads(&mut self) {
        self.uploads.turn = Turn::Several;
        self.wake_parked();
    }
}

fn payload(actions: &[Action]) -> usize {
    actions
        .iter()
        .map(|action| match action {
            Action::WriteFile { content, .. } => content.expose().len(),
            Action::Run(program) => program.stdin.as_ref().map_or(0, |text| text.expose().len()),
            Action::Place { pin, .. } if pin.fetch == Fetch::Controller => {
                usize::try_from(pin.size).unwrap_or(usize::MAX)
            }
            _ => 0,
        })
        .fold(0, usize::saturating_add)
}
