//! All findings of a node, and what they come to.

use super::finding::{Finding, Severity};
use crate::model::outcome::Failure;

/// All that preflight has to say of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// By checks of facts, then by the measuring.
    pub findings: Vec<Finding>,
    /// Whether there is a measuring of this boot, or why there is none.
    pub measuring: Measuring,
}

/// The state of the measuring.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Measuring {
    /// Its results are among the findings. `age_ms`: how long ago it was made.
    Done {
        /// How long ago.
        age_ms: u64,
    },
    /// It is to be made, and why.
    Needed(&'static str),
    /// It is not made here, and why.
    Left(&'static str),
}

impl Report {
    /// Findings of a severity.
    pub fn of(&self, severity: Severity) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .filter(move |finding| finding.severity == severity)
    }

    /// Findings of at least this severity as lines, the worst first.
    pub fn lines(&self, least: Severity) -> Vec<String> {
        let mut findings: Vec<&Finding> = self
            .findings
            .iter()
            .filter(|finding| finding.severity >= least)
            .collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        findings.into_iter().map(Finding::told).collect()
    }

    /// The errors, and the rest for completeness.
    pub(super) fn failure(&self) -> Failure {
        let count = self.of(Severity::Error).count();
        let mut failure = Failure::new(match count {
            1 => "one thing stands against K3s here".to_owned(),
            count => format!("{count} things stand against K3s here"),
        });
        failure.evidence = self.lines(Severity::Note);
        failure.hint("cure them and run again; `hmco-boot hosts preflight` shows all values")
    }
}
