//! The frames of one script, by name: what is there, what timed out, what was cut.

use std::collections::{BTreeMap, BTreeSet};

use crate::facts::fact::FactError;
use crate::facts::frame::Frame;

/// A frame's content.
#[derive(Clone, Copy, Debug)]
pub struct Part<'a> {
    /// The bytes.
    pub body: &'a [u8],
    /// The random text that marks records inside the body.
    pub mark: &'a str,
    /// Text of the end mark; `None` = it never came.
    status: Option<&'a str>,
}

impl<'a> Part<'a> {
    /// Why something is missing from this part.
    pub fn missing(&self) -> FactError {
        match self.status {
            Some("timeout") => FactError::TimedOut,
            Some("127") => FactError::Failed(self.first_line("the tool is not installed")),
            Some(_) => FactError::Failed(self.first_line("the tool gave no answer")),
            None => FactError::Failed("the answer was cut off".to_owned()),
        }
    }

    fn first_line(&self, otherwise: &str) -> String {
        // Where records came, the first line is not the complaint.
        match lines(self.body).next() {
            Some(line) if !line.is_empty() && !line.starts_with(self.mark) => {
                line.chars().take(300).collect()
            }
            _ => otherwise.to_owned(),
        }
    }

    /// This part, where it came whole and in time.
    pub fn whole(self) -> Result<Self, FactError> {
        match self.status {
            Some("timeout") | None => Err(self.missing()),
            Some("denied") => Err(FactError::Denied),
            Some(_) => Ok(self),
        }
    }

    /// Whether the tool said success.
    pub fn succeeded(&self) -> bool {
        self.status == Some("0")
    }

    /// Text of the end mark.
    pub fn status(&self) -> &'a str {
        self.status.unwrap_or_default()
    }

    /// The body as lossy text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.body).into_owned()
    }

    /// Records `MARK;WORD REST` of the body: word and rest (up to the next record).
    pub fn records(&self) -> Vec<(String, String)> {
        let text = self.text();
        let mark = format!("{};", self.mark);
        let mut records = Vec::new();
        let mut rest = text.strip_prefix(mark.as_str());
        let separator = format!("\n{mark}");
        while let Some(record) = rest {
            let (this, next) = match record.split_once(separator.as_str()) {
                Some((this, next)) => (this, Some(next)),
                None => (record, None),
            };
            let (word, value) = this.split_once(' ').unwrap_or((this, ""));
            records.push((
                word.trim_end().to_owned(),
                value.trim_end_matches('\n').to_owned(),
            ));
            rest = next;
        }
        records
    }
}

/// All frames of one script.
#[derive(Debug)]
pub struct Reply<'a> {
    /// By their words after `facts-`, the mark left out.
    parts: BTreeMap<String, Part<'a>>,
    timed_out: BTreeSet<String>,
    /// Root prefix.
    pub root: String,
    /// Folder for jobs and lock.
    pub run_dir: String,
    /// Boot id.
    pub boot: String,
    started: bool,
}

impl<'a> Reply<'a> {
    /// Sorts frames; those of others are left out.
    pub fn new(frames: &'a [Frame]) -> Self {
        let mut reply = Self {
            parts: BTreeMap::new(),
            timed_out: BTreeSet::new(),
            root: String::new(),
            run_dir: String::new(),
            boot: String::new(),
            started: false,
        };
        for frame in frames {
            let (name, args, body, status) = match frame {
                Frame::Whole {
                    name,
                    args,
                    body,
                    status,
                } => (name, args, body, Some(status.as_str())),
                Frame::Cut { name, args, body } => (name, args, body, None),
                Frame::Loose(_) => continue,
            };
            let (Some(name), Some((mark, args))) = (name.strip_prefix("facts-"), args.split_last())
            else {
                continue;
            };
            let words: Vec<&str> = std::iter::once(name)
                .chain(args.iter().map(String::as_str))
                .collect();
            let part = Part { body, mark, status };
            match (name, words.get(1)) {
                ("timeout", Some(batch)) => {
                    reply.timed_out.insert((*batch).to_owned());
                }
                ("header", _) if part.status.is_some() => reply.header(part),
                // Of two frames with one name the first counts: none is ever sent twice.
                _ => {
                    reply.parts.entry(words.join(" ")).or_insert(part);
                }
            }
        }
        reply
    }

    fn header(&mut self, part: Part<'_>) {
        let Ok(text) = std::str::from_utf8(part.body) else {
            return;
        };
        let mut lines = text.lines().map(str::to_owned);
        if let (Some(root), Some(run_dir), Some(boot)) = (lines.next(), lines.next(), lines.next())
        {
            (self.root, self.run_dir, self.boot) = (root, run_dir, boot);
            self.started = true;
        }
    }

    /// An error unless the script's first frame came.
    pub fn started(&self) -> Result<(), FactError> {
        if self.started {
            Ok(())
        } else {
            Err(FactError::Failed(
                "no answer: the script that reads facts did not start".to_owned(),
            ))
        }
    }

    /// A frame by its words.
    pub fn get(&self, words: &str) -> Option<Part<'a>> {
        self.parts.get(words).copied()
    }

    /// A frame by its words, or why it is not there. `batch`: whose watchdog would have ended it.
    pub fn part(&self, words: &str, batch: &str) -> Result<Part<'a>, FactError> {
        if self.timed_out.contains(batch) {
            return Err(FactError::TimedOut);
        }
        self.get(words)
            .ok_or_else(|| FactError::Failed(format!("no answer: `{words}` did not come back")))
    }

    /// A frame by its words that came whole, even where its batch was ended after it, or why it is not there.
    pub fn whole(&self, words: &str, batch: &str) -> Result<Part<'a>, FactError> {
        match self.get(words).map(Part::whole) {
            Some(Ok(part)) => Ok(part),
            _ if self.timed_out(batch) => Err(FactError::TimedOut),
            Some(Err(error)) => Err(error),
            None => self.part(words, batch),
        }
    }

    /// Whether the watchdog ended one of the batches whose names begin so.
    pub fn any_timed_out(&self, prefix: &str) -> bool {
        self.timed_out.iter().any(|batch| batch.starts_with(prefix))
    }

    /// Whether a batch's watchdog ended it.
    pub fn timed_out(&self, batch: &str) -> bool {
        self.timed_out.contains(batch)
    }
}

/// Lines as lossy text.
pub fn lines(bytes: &[u8]) -> impl Iterator<Item = String> {
    bytes
        .split(|byte| *byte == b'\n')
        .map(|line| String::from_utf8_lossy(line).into_owned())
}

/// What a tool's complaint means.
pub fn complaint(line: &str) -> FactError {
    let ends = |endings: &[&str]| endings.iter().any(|ending| line.ends_with(ending));
    if ends(&["No such file or directory", "Not a directory"]) {
        FactError::NotFound
    } else if ends(&["Permission denied", "Operation not permitted"]) {
        FactError::Denied
    } else {
        FactError::Failed(line.chars().take(300).collect())
    }
}
