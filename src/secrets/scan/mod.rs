//! Plaintext that looks like a secret, in bytes that somebody is about to share: private keys, kubeconfigs, tokens by
//! their shapes, values of lines like `password = ...` that nobody would call a word, and the values of the store
//! themselves, also as base64. Pure: bytes in, places and kinds out. A finding never holds what was found.

mod known;
mod line;
mod shapes;

pub use known::Known;

/// Written on a line, it says that what stands there is meant to be seen. It does not cover values of the store.
pub const MARKER: &str = "hmco-boot: not a secret";

/// Something that looks like a secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Finding {
    /// The line, from 1.
    pub line: usize,
    /// What it looks like.
    pub kind: Kind,
}

/// What it looks like.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// It has the shape of this: "a private key (PEM)", "a token of GitHub".
    Shape(&'static str),
    /// A line that gives a password or its like by this name a value that looks random.
    Line(String),
    /// The value of this secret of the store; in what form.
    Stored {
        /// Its name.
        name: String,
        /// `as it is`, `in base64`.
        form: &'static str,
    },
}

impl Kind {
    /// In words.
    pub fn words(&self) -> String {
        match self {
            Self::Shape(what) => (*what).to_owned(),
            Self::Line(name) => format!("a value of `{name}` that looks random"),
            Self::Stored { name, form } => format!("the value of the secret {name}, {form}"),
        }
    }

    /// One stable word.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Shape(_) => "shape",
            Self::Line(_) => "line",
            Self::Stored { .. } => "stored",
        }
    }
}

/// What is found in a file's bytes. `path` only says what sort of file it is.
pub fn scan(path: &str, bytes: &[u8], known: &Known) -> Vec<Finding> {
    let lines = Lines::new(bytes);
    let mut found = known.find(bytes, &lines);
    let mut looks = shapes::find(bytes, &lines);
    // Noise of a binary file has no lines; shapes are long enough to mean something there too.
    if !bytes.iter().take(8000).any(|byte| *byte == 0) {
        let code = line::is_code(path);
        for (index, text) in bytes.split(|byte| *byte == b'\n').enumerate() {
            let kinds = line::find(&String::from_utf8_lossy(text), code);
            looks.extend(kinds.into_iter().map(|kind| Finding {
                line: index + 1,
                kind,
            }));
        }
    }
    looks.retain(|finding| !lines.has_marker(bytes, finding.line));
    // One thing, said once: a token behind `password =` has a shape and a line.
    let shaped: Vec<usize> = looks
        .iter()
        .chain(&found)
        .filter(|one| !matches!(one.kind, Kind::Line(_)))
        .map(|one| one.line)
        .collect();
    looks.retain(|one| !(matches!(one.kind, Kind::Line(_)) && shaped.contains(&one.line)));
    found.extend(looks);
    found.sort();
    found.dedup();
    found
}

/// Where the lines of a text begin.
struct Lines {
    starts: Vec<usize>,
}

impl Lines {
    fn new(bytes: &[u8]) -> Self {
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        Self {
            starts: std::iter::once(0)
                .chain(ends.map(|(at, _)| at + 1))
                .collect(),
        }
    }

    /// The line of a place, from 1.
    fn of(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at)
    }

    fn has_marker(&self, bytes: &[u8], line: usize) -> bool {
        let start = self
            .starts
            .get(line.saturating_sub(1))
            .copied()
            .unwrap_or(0);
        let end = self.starts.get(line).copied().unwrap_or(bytes.len());
        let text = bytes.get(start..end).unwrap_or_default();
        text.windows(MARKER.len())
            .any(|window| window == MARKER.as_bytes())
    }
}

#[cfg(test)]
mod tests;
