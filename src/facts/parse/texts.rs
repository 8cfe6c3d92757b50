//! Small text files, all read by one `grep` that puts the file's name before each line.

use std::collections::BTreeMap;

use super::reply::{Part, Reply, complaint};
use crate::facts::fact::{Fact, FactError};
use crate::facts::questions::{self, Place, chunks};

/// Small text files.
pub struct Texts {
    found: BTreeMap<String, Text>,
    prefixes: [(Place, String); 3],
    missing: Option<FactError>,
}

/// One small file.
enum Text {
    Lines(Vec<u8>),
    Absent,
    Denied,
    Failed(String),
}

impl Texts {
    pub fn new(facts: &[Fact], reply: &Reply<'_>) -> Self {
        let prefixes = [
            (Place::Machine, String::new()),
            (Place::Root, reply.root.clone()),
            (Place::Run, reply.run_dir.clone()),
        ];
        let mut texts = Self {
            found: BTreeMap::new(),
            prefixes,
            missing: None,
        };
        let names: Vec<String> = questions::text_files(facts)
            .iter()
            .map(|(place, path)| texts.full(*place, path))
            .collect();
        let length = |name: &String| crate::model::shell::quote(name).len() + 1;
        for (n, names) in chunks(&names, length).into_iter().enumerate() {
            match reply
                .part(&format!("files {n}"), "files")
                .and_then(Part::whole)
            {
                Ok(part) => texts.fill(names, part),
                Err(error) => texts.missing = Some(error),
            }
        }
        texts
    }

    fn full(&self, place: Place, path: &str) -> String {
        let prefix = self.prefixes.iter().find(|(other, _)| *other == place);
        format!("{}{path}", prefix.map_or("", |(_, prefix)| prefix))
    }

    fn fill(&mut self, names: &[String], part: Part<'_>) {
        let empty = |name: &String| (name.clone(), Text::Lines(Vec::new()));
        self.found.extend(names.iter().map(empty));
        let mark = format!("{};", part.mark);
        for line in part.body.split(|byte| *byte == b'\n') {
            if let Some(rest) = line.strip_prefix(mark.as_bytes()) {
                let text = String::from_utf8_lossy(rest);
                if let Some((word, name)) = text.split_once(' ') {
                    let state = match word {
                        "absent" => Text::Absent,
                        "denied" => Text::Denied,
                        _ => Text::Failed("it is not a regular file".to_owned()),
                    };
                    self.found.insert(name.to_owned(), state);
                }
            } else if let Some(rest) = line.strip_prefix(b"grep: ") {
                let text = String::from_utf8_lossy(rest);
                if let Some((name, why)) = text.rsplit_once(": ") {
                    let state = match complaint(why) {
                        FactError::NotFound => Text::Absent,
                        FactError::Denied => Text::Denied,
                        _ => Text::Failed(why.to_owned()),
                    };
                    self.found.insert(name.to_owned(), state);
                }
            } else if let Some((name, content)) = owner(names, line)
                && let Some(Text::Lines(bytes)) = self.found.get_mut(name)
            {
                bytes.extend_from_slice(content);
                bytes.push(b'\n');
            }
        }
    }

    /// The bytes of a file, `None` where there is none.
    pub fn bytes(&self, place: Place, path: &str) -> Result<Option<&[u8]>, FactError> {
        if let Some(error) = &self.missing {
            return Err(error.clone());
        }
        let name = self.full(place, path);
        match self.found.get(&name) {
            Some(Text::Lines(bytes)) => Ok(Some(bytes)),
            Some(Text::Absent) => Ok(None),
            Some(Text::Denied) => Err(FactError::Denied),
            Some(Text::Failed(why)) => Err(FactError::Failed(format!("{name}: {why}"))),
            None => Err(FactError::Failed(format!("no answer: {name} was not read"))),
        }
    }

    /// The text of a file without its last newline, `None` where there is none.
    pub fn text(&self, place: Place, path: &str) -> Result<Option<String>, FactError> {
        Ok(self.bytes(place, path)?.map(|bytes| {
            let text = String::from_utf8_lossy(bytes);
            text.trim_end_matches('\n').to_owned()
        }))
    }

    /// The text of a file of the machine, trimmed; empty where it is not there or not readable.
    pub fn machine(&self, path: &str) -> String {
        match self.text(Place::Machine, path) {
            Ok(Some(text)) => text.trim_matches(['\0', '\n', ' ']).to_owned(),
            _ => String::new(),
        }
    }
}

/// Whose line this is (`NAME:TEXT`): the longest name that fits.
fn owner<'a, 'b>(names: &'a [String], line: &'b [u8]) -> Option<(&'a str, &'b [u8])> {
    names
        .iter()
        .filter_map(|name| {
            let rest = line.strip_prefix(name.as_bytes())?.strip_prefix(b":")?;
            Some((name.as_str(), rest))
        })
        .max_by_key(|(name, _)| name.len())
}
