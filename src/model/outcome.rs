//! How a (step, target) pair ended, and what that makes of a whole run.

use serde::{Deserialize, Serialize};

use super::id::{StepAddr, Target};

/// How a pair ended. There is no silent variant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The target was as wished; nothing was done.
    Unchanged,
    /// It was changed, and reading it again proved it.
    Changed,
    /// It was not to be done, and why (`when` was false, `--limit`).
    Skipped(String),
    /// It failed.
    Failed(Failure),
    /// It was not tried, because this (and perhaps more) did not end well.
    Blocked {
        /// The step that failed.
        step: StepAddr,
        /// The target it failed on.
        target: Target,
    },
    /// The target did not answer.
    Unreachable(Failure),
    /// It was started and its end was not seen (a crash, a power cut, a second Ctrl-C), or never started because the
    /// run was stopped.
    Interrupted(String),
    /// It may or may not be as wished; nothing could tell.
    Unknown(Failure),
}

/// How the message of [`Failure::exited`] begins.
const EXITED: &str = "it ended with exit status ";

/// An error with its causes in one line, each said once: libraries repeat their causes' words.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !words.contains(&text) {
            words.push_str(": ");
            words.push_str(&text);
        }
        next = cause.source();
    }
    words
}

/// The message of a disruptive step that nobody agreed to.
const NOT_AGREED: &str = "it disturbs what runs on its target and was not agreed to";

/// Why something failed: what happened, the evidence, what to do.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Failure {
    /// What happened, in one sentence.
    pub message: String,
    /// Lines that show it: exit status, the tail of stderr, the difference that remains.
    pub evidence: Vec<String>,
    /// What to do.
    pub hint: Option<String>,
}

impl Failure {
    /// A failure that speaks for itself.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            ..Self::default()
        }
    }

    /// A program's exit status that is none of its good ones.
    pub fn exited(status: i32) -> Self {
        Self::new(format!("{EXITED}{status}"))
    }

    /// The exit status, where this is a failure of [`Failure::exited`].
    pub fn exit_status(&self) -> Option<i32> {
        self.message.strip_prefix(EXITED)?.parse().ok()
    }

    /// A disruptive step that nobody agreed to.
    pub fn not_agreed() -> Self {
        Self::new(NOT_AGREED)
    }

    /// Whether this is a failure of [`Failure::not_agreed`].
    pub fn is_not_agreed(&self) -> bool {
        self.message == NOT_AGREED
    }

    /// With what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With a line of evidence.
    #[must_use]
    pub fn evidence(mut self, line: impl Into<String>) -> Self {
        self.evidence.push(line.into());
        self
    }
}

impl Outcome {
    /// Whether those that wait for this pair may go on.
    pub fn satisfies(&self) -> bool {
        matches!(self, Self::Unchanged | Self::Changed | Self::Skipped(_))
    }

    /// One stable lowercase word, the same as in JSON.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::Skipped(_) => "skipped",
            Self::Failed(_) => "failed",
            Self::Blocked { .. } => "blocked",
            Self::Unreachable(_) => "unreachable",
            Self::Interrupted(_) => "interrupted",
            Self::Unknown(_) => "unknown",
        }
    }

    /// The failure inside, where there is one.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed(failure) | Self::Unreachable(failure) | Self::Unknown(failure) => {
                Some(failure)
            }
            _ => None,
        }
    }
}

/// Exit codes of the command.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitCode {
    /// 0: done.
    Done,
    /// 1: a step failed, was blocked, or nobody knows.
    Failed,
    /// 2: usage or configuration.
    Usage,
    /// 3: a target could not be reached.
    Unreachable,
    /// 4: there is drift (`plan --exit-code`).
    Drift,
    /// 5: somebody else holds the lock.
    Locked,
    /// 130: interrupted.
    Interrupted,
}

impl ExitCode {
    /// The number the process exits with.
    pub fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::Drift => 4,
            Self::Locked => 5,
            Self::Interrupted => 130,
        }
    }

    /// The one that counts when several hold: the first in 130, 5, 2, 1, 3, 4, 0.
    pub fn strongest(codes: impl IntoIterator<Item = ExitCode>) -> ExitCode {
        let rank = |code: &ExitCode| match code {
            Self::Interrupted => 0,
            Self::Locked => 1,
            Self::Usage => 2,
            Self::Failed => 3,
            Self::Unreachable => 4,
            Self::Drift => 5,
            Self::Done => 6,
        };
        codes.into_iter().min_by_key(rank).unwrap_or(Self::Done)
    }

    /// What one pair's outcome asks for.
    pub fn of(outcome: &Outcome) -> ExitCode {
        match outcome {
            Outcome::Unchanged | Outcome::Changed | Outcome::Skipped(_) => Self::Done,
            Outcome::Failed(_) | Outcome::Blocked { .. } | Outcome::Unknown(_) => Self::Failed,
            Outcome::Unreachable(_) => Self::Unreachable,
            Outcome::Interrupted(_) => Self::Interrupted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_several_codes_hold_the_first_of_the_documented_order_counts() {
        use ExitCode::*;
        assert_eq!(ExitCode::strongest([Done, Unreachable, Failed]), Failed);
        assert_eq!(ExitCode::strongest([Failed, Interrupted]), Interrupted);
        assert_eq!(ExitCode::strongest([Usage, Locked]), Locked);
        assert_eq!(ExitCode::strongest([Drift, Unreachable]), Unreachable);
        assert_eq!(ExitCode::strongest([]), Done);
    }
}
