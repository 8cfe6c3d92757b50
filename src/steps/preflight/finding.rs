//! What a check found: the value, the limit it is held against, and the cure.

use crate::model::event::DiffLine;

/// How bad it is. Ordered: the worst is the greatest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Severity {
    /// As it should be.
    Fine,
    /// Something to know: what was not tested, and why.
    Note,
    /// It works, but badly, or not for long.
    Warning,
    /// K3s will not work here, or the cluster will not.
    Error,
}

impl Severity {
    /// One stable lowercase word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// The result of one check on one node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Name of the check, as `warn` takes it.
    pub check: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was found, with its unit.
    pub measured: String,
    /// What it is held against.
    pub limit: String,
    /// What to do; empty where nothing needs to be done.
    pub cure: String,
}

impl Finding {
    /// One of this severity.
    pub fn new(
        check: &'static str,
        severity: Severity,
        measured: impl Into<String>,
        limit: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        Self {
            check,
            severity,
            measured: measured.into(),
            limit: limit.into(),
            cure: match severity {
                Severity::Fine => String::new(),
                _ => cure.into(),
            },
        }
    }

    /// One that holds or is of this severity.
    pub fn unless(
        holds: bool,
        severity: Severity,
        check: &'static str,
        measured: impl Into<String>,
        limit: impl Into<String>,
        cure: impl Into<String>,
    ) -> Self {
        let severity = if holds { Severity::Fine } else { severity };
        Self::new(check, severity, measured, limit, cure)
    }

    /// Everything about it in one line: `memory: 900 MiB; limit: at least 1700 MiB; cure: more memory`.
    pub fn line(&self) -> String {
        let mut line = format!("{}: {}", self.check, self.measured);
        if !self.limit.is_empty() {
            line.push_str(&format!("; limit: {}", self.limit));
        }
        if !self.cure.is_empty() {
            line.push_str(&format!("; cure: {}", self.cure));
        }
        line
    }

    /// The line with its severity in front.
    pub fn told(&self) -> String {
        format!("{} {}", self.severity.word(), self.line())
    }

    /// As a line of context in a difference.
    pub fn diff_line(&self) -> DiffLine {
        DiffLine::both(self.told())
    }
}

/// A number of bytes in words: `7.8 GiB`, `512 MiB`.
pub fn bytes(n: u64) -> String {
    const MIB: u64 = 1 << 20;
    const GIB: u64 = 1 << 30;
    match n {
        0..MIB => format!("{} KiB", n >> 10),
        MIB..GIB => format!("{} MiB", n >> 20),
        _ => format!("{}.{} GiB", n >> 30, (n % GIB) * 10 / GIB),
    }
}

/// Milliseconds, at least 0, in words: `40 ms`, `62.0 s`.
pub fn seconds(ms: i64) -> String {
    match ms {
        ..1000 => format!("{ms} ms"),
        _ => format!("{}.{} s", ms / 1000, (ms % 1000) / 100),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_value_limit_and_cure_in_one_line() {
        let bad = Finding::new(
            "memory",
            Severity::Error,
            "900 MiB",
            "at least 1 GiB",
            "buy some",
        );
        assert_eq!(
            bad.told(),
            "error memory: 900 MiB; limit: at least 1 GiB; cure: buy some"
        );
        let fine = Finding::unless(true, Severity::Error, "memory", "8.0 GiB", "", "buy some");
        assert_eq!(fine.told(), "fine memory: 8.0 GiB");
    }

    #[test]
    fn sizes_and_times_are_told_in_fitting_units() {
        assert_eq!(bytes(2047), "1 KiB");
        assert_eq!(bytes((1 << 30) - 1), "1023 MiB");
        assert_eq!(bytes((3 << 30) / 2), "1.5 GiB");
        assert_eq!(seconds(62_040), "62.0 s");
        assert_eq!(seconds(950), "950 ms");
    }
}
