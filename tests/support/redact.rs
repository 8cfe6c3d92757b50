//! Makes what a command says the same on every machine and in every run: the one place that knows what differs.

use std::path::Path;

use regex_lite::Regex;

/// Replaces what differs between runs by names in angle brackets.
pub struct Redactor {
    rules: Vec<(Regex, &'static str)>,
}

impl Redactor {
    /// For commands that work in `folder`.
    pub fn new(folder: &Path) -> Self {
        let rule = |pattern: &str, name| (Regex::new(pattern).unwrap(), name);
        let folder = regex_lite::escape(folder.to_str().unwrap());
        let version = regex_lite::escape(env!("CARGO_PKG_VERSION"));
        Self {
            rules: vec![
                rule(&folder, "<DIR>"),
                rule(r"\bage1[02-9ac-hj-np-z]{58}\b", "<AGE KEY>"),
                rule(r"\b[0-9a-f]{16}\b", "<FINGERPRINT>"),
                rule(r"\b\d{8}-\d{6}-[0-9a-z]{4}\b", "<RUN>"),
                rule(&format!(r"\bhmco-boot {version}\b"), "hmco-boot <VERSION>"),
                rule(r"\b\d{4}-\d\d-\d\d\b", "<DATE>"),
                rule(r"\b\d\d:\d\d:\d\d\b", "<CLOCK>"),
                // With the blanks of the column it stands in, as wide as the time is long.
                rule(r"\b\d+(\.\d+)? ?(ms|s)\b", "<TIME>"),
                rule(r"<TIME> +", "<TIME> "),
                rule(r"\bTOOK +", "TOOK "),
            ],
        }
    }

    /// The text without what differs.
    pub fn apply(&self, text: &str) -> String {
        self.rules
            .iter()
            .fold(text.to_owned(), |text, (pattern, name)| {
                pattern.replace_all(&text, *name).into_owned()
            })
    }
}
