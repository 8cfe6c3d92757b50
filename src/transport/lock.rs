//! The lock of a machine behind a shell: what is asked, and what the answer means.

use super::machine::{Machine, cut_off, delimiter};
use super::shell::Shell;
use super::story::not_started;
use super::{HostError, HostErrorKind, job};
use crate::facts::frame::Frame;
use crate::model::id::{JobId, RunId};
use crate::model::lock::{LockAnswer, LockClaim};

impl<S: Shell> Machine<S> {
    pub(super) async fn take_lock(&self, claim: &LockClaim) -> Result<LockAnswer, HostError> {
        let delimiter = delimiter()?;
        let (settings, paths) = self.settled();
        let mut input = job::lock_input(settings, paths, &delimiter, claim)?;
        input.expect_words_within(settings.silence);
        let execution = self.execute(&delimiter, &input, &mut Some).await?;
        let answer = execution.frames.iter().find_map(said);
        match answer.filter(|_| execution.ended) {
            Some(Said::Answer(answer)) => {
                let held = matches!(answer, LockAnswer::Taken | LockAnswer::Renewed);
                self.remember(held.then(|| claim.clone()));
                Ok(answer)
            }
            Some(Said::Free) => Err(cut_off(&execution, HostErrorKind::Protocol)),
            Some(Said::Refused(why)) => Err(self.refused(&why)),
            None => Err(cut_off(
                &execution,
                HostErrorKind::Unreachable { transient: true },
            )),
        }
    }

    pub(super) async fn give_lock_back(&self, run: &RunId) -> Result<(), HostError> {
        let delimiter = delimiter()?;
        let (settings, paths) = self.settled();
        let mut input = job::unlock_input(settings, paths, &delimiter, run)?;
        input.expect_words_within(settings.silence);
        self.remember(None);
        let execution = self.execute(&delimiter, &input, &mut Some).await?;
        match execution.frames.iter().find_map(said) {
            Some(Said::Free) => Ok(()),
            Some(Said::Refused(why)) => Err(self.refused(&why)),
            Some(Said::Answer(_)) | None => Err(cut_off(
                &execution,
                HostErrorKind::Unreachable { transient: true },
            )),
        }
    }

    fn refused(&self, why: &str) -> HostError {
        let run_dir = &self.settled().0.run_dir;
        let mut error = not_started(format!("the lock of this machine cannot be kept: {why}"));
        error.failure = error.failure.hint(format!(
            "see that {run_dir} there can be written: by the user that logs in, or by root through `become = \"sudo\"`"
        ));
        error
    }
}

/// What a frame says of the lock.
enum Said {
    Answer(LockAnswer),
    Free,
    Refused(String),
}

fn said(frame: &Frame) -> Option<Said> {
    let Frame::Whole {
        name, args, body, ..
    } = frame
    else {
        return None;
    };
    let text = || String::from_utf8_lossy(body).into_owned();
    let word = |at: usize| args.get(at).map(String::as_str).unwrap_or_default();
    Some(match name.as_str() {
        "lock-taken" => Said::Answer(LockAnswer::Taken),
        "lock-renewed" => Said::Answer(LockAnswer::Renewed),
        "lock-held" => Said::Answer(LockAnswer::Held {
            run: RunId::new(word(0)),
            holder: text(),
            seconds_left: word(1).parse().unwrap_or(1),
        }),
        "lock-working" => Said::Answer(LockAnswer::Working {
            run: RunId::new(word(0)),
            holder: text(),
            job: JobId::new(word(1)),
        }),
        "lock-free" => Said::Free,
        "lock-refused" => Said::Refused(text()),
        _ => return None,
    })
}
