//! The values of the store, looked for as they are and as base64 (standard and URL-safe, at each of its three
//! alignments: a value inside of a longer text that was encoded).

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

use super::{Finding, Kind, Lines};
use crate::secrets::SecretValue;

/// Shorter values would be found everywhere.
pub const LEAST: usize = 8;

/// A line of a value of several lines counts from this length.
const LEAST_LINE: usize = 16;

/// Values to look for.
#[derive(Default)]
pub struct Known {
    search: Option<AhoCorasick>,
    forms: Vec<(String, &'static str)>,
    /// Names of values that are too short to look for.
    short: Vec<String>,
}

impl Known {
    /// None.
    pub fn none() -> Self {
        Self::default()
    }

    /// The values of these names. What is too short to mean anything is left out ([`Known::short`]).
    pub fn new<'a>(values: impl IntoIterator<Item = (&'a str, &'a SecretValue)>) -> Self {
        let mut known = Self::default();
        let mut patterns: Vec<Zeroizing<Vec<u8>>> = Vec::new();
        for (name, value) in values {
            let bytes = trimmed(value.expose());
            if bytes.len() < LEAST {
                known.short.push(name.to_owned());
                continue;
            }
            let mut add = |form: &'static str, pattern: Vec<u8>| {
                known.forms.push((name.to_owned(), form));
                patterns.push(Zeroizing::new(pattern));
            };
            add("as it is", bytes.to_vec());
            let lines = bytes.split(|byte| *byte == b'\n').map(trimmed);
            let telling = |line: &&[u8]| {
                line.len() >= LEAST_LINE && line.len() < bytes.len() && !line.starts_with(b"-----")
            };
            for line in lines.filter(telling) {
                add("in part", line.to_vec());
            }
            for alignment in 0..3 {
                for form in encoded(bytes, alignment) {
                    add("in base64", form);
                }
            }
        }
        known.search = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(patterns.iter().map(|pattern| pattern.as_slice()))
            .ok();
        known
    }

    /// Names of values that are too short to look for.
    pub fn short(&self) -> &[String] {
        &self.short
    }

    pub(super) fn find(&self, bytes: &[u8], lines: &Lines) -> Vec<Finding> {
        let search = self.search.iter();
        let found = search.flat_map(|search| search.find_iter(bytes));
        found
            .filter_map(|found| {
                let (name, form) = self.forms.get(found.pattern().as_usize())?;
                Some(Finding {
                    line: lines.of(found.start()),
                    kind: Kind::Stored {
                        name: name.clone(),
                        form,
                    },
                })
            })
            .collect()
    }
}

/// Without the white space around it: a value often ends with a newline that its use somewhere else does not.
fn trimmed(bytes: &[u8]) -> &[u8] {
    bytes.trim_ascii()
}

/// The characters of base64 that only `bytes` decides, where so many bytes modulo 3 stand before it. What follows it is
/// not known, so the last, partial group does not count either.
fn encoded(bytes: &[u8], before: usize) -> Vec<Vec<u8>> {
    let mut padded = Zeroizing::new(vec![0; before]);
    padded.extend_from_slice(bytes);
    let whole = padded.len() / 3 * 3;
    let Some(groups) = padded.get(..whole) else {
        return Vec::new();
    };
    // The characters that bits of the bytes before have a part in.
    let skip = [0, 2, 3].get(before).copied().unwrap_or(0);
    let texts = [
        STANDARD_NO_PAD.encode(groups),
        URL_SAFE_NO_PAD.encode(groups),
    ];
    let mut forms: Vec<Vec<u8>> = texts
        .iter()
        .filter_map(|text| text.as_bytes().get(skip..).map(<[u8]>::to_vec))
        .filter(|form| form.len() >= LEAST)
        .collect();
    forms.dedup();
    forms
}
