//! What a spawned task owes the scheduler: exactly one input, also when it panics or is cancelled. A run whose task died
//! silently would wait for ever.

use tokio::sync::mpsc;

use super::scheduler::Input;
use crate::model::outcome::Failure;
use crate::transport::{HostError, HostErrorKind};

/// Sends an input when dropped, unless it was kept by sending a better one.
pub(super) struct Promise {
    inputs: mpsc::UnboundedSender<Input>,
    broken: Option<Input>,
}

impl Promise {
    /// `broken` is sent where the promise is not kept.
    pub fn new(inputs: &mpsc::UnboundedSender<Input>, broken: Input) -> Self {
        Self {
            inputs: inputs.clone(),
            broken: Some(broken),
        }
    }

    /// Sends what came of it.
    pub fn keep(mut self, input: Input) {
        self.broken = Some(input);
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if let Some(input) = self.broken.take() {
            // Nobody listens after the end of the run.
            drop(self.inputs.send(input));
        }
    }
}

/// The error of an execution whose task died.
pub(super) fn died(kind: HostErrorKind) -> HostError {
    HostError {
        kind,
        failure: died_failure(),
    }
}

/// See [`died`].
pub(super) fn died_failure() -> Failure {
    Failure::new("hmco-boot broke down while it worked on this")
        .hint("this is a mistake in hmco-boot: please report it with what was shown before")
}
