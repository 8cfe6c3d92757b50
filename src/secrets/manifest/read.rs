//! From the text of `manifest.toml` to its lines: strictly, but for what a merge by git leaves behind.

use super::{FORMAT, Heir, Line, Manifest, Seal};
use crate::model::outcome::Failure;

/// Most mistakes that are told.
const MOST: usize = 8;

/// Reads a manifest.
pub(super) fn read(text: &str) -> Result<Manifest, Failure> {
    let mut reader = Reader::default();
    for (index, line) in text.lines().enumerate() {
        if let Err(wrong) = reader.line(line.trim()) {
            reader.wrong.push(format!("line {}: {wrong}", index + 1));
        }
    }
    if reader.wrong.is_empty() && reader.format.is_none() {
        reader.wrong.push("it does not say its format".into());
    }
    if reader.wrong.is_empty() && reader.found.store.is_empty() {
        reader.wrong.push("it does not say its store".into());
    }
    if reader.wrong.is_empty() {
        return Ok(reader.found);
    }
    let mut failure = Failure::new("secrets/manifest.toml cannot be read")
        .hint("take it back from git: git checkout -- secrets/manifest.toml (nothing makes it anew by itself)");
    let more = reader.wrong.len().saturating_sub(MOST);
    reader.wrong.truncate(MOST);
    failure.evidence = reader.wrong;
    if more > 0 {
        failure.evidence.push(format!("and {more} more"));
    }
    Err(failure)
}

#[derive(Default)]
struct Reader {
    found: Manifest,
    format: Option<String>,
    list: Option<String>,
    /// Inside of the part of a conflict that shows what both sides began with.
    in_base: bool,
    wrong: Vec<String>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if self.mark(line) || self.in_base || line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if line == "]" {
            self.list = None;
            return Ok(());
        }
        if let Some(item) = line.strip_prefix('"') {
            let item = item.trim_end_matches(',');
            let item = item.strip_suffix('"').ok_or("a string without its end")?;
            return self.item(item);
        }
        let (key, value) = line.split_once('=').ok_or("this belongs to nothing")?;
        let value = value.trim();
        match (key.trim(), value) {
            (name @ ("keys" | "heirs" | "seals" | "values"), "[") => {
                self.list = Some(name.to_owned());
            }
            ("format", FORMAT) => self.format = Some(value.to_owned()),
            ("format", _) => {
                return Err("its format is of a newer hmco-boot: use that one".into());
            }
            ("store", id) => self.store(id)?,
            (other, _) => return Err(format!("unknown key {other:?}")),
        }
        Ok(())
    }

    /// Whether the line is a mark of a conflict.
    fn mark(&mut self, line: &str) -> bool {
        let is = |mark: &str| line == mark || line.starts_with(&format!("{mark} "));
        if is("|||||||") {
            self.in_base = true;
        } else if is("=======") || is(">>>>>>>") || is("<<<<<<<") {
            self.in_base = false;
        } else {
            return false;
        }
        self.found.marked = true;
        true
    }

    fn store(&mut self, text: &str) -> Result<(), String> {
        let id = text.trim_matches('"');
        if !is_hex(id, 16) {
            return Err("the id of a store has 16 hex digits".into());
        }
        if !self.found.store.is_empty() && self.found.store != id {
            return Err("two stores were merged into one".into());
        }
        self.found.store = id.to_owned();
        Ok(())
    }

    fn item(&mut self, item: &str) -> Result<(), String> {
        match self.list.as_deref() {
            Some("keys") => {
                let base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
                if item.is_empty() || !item.bytes().all(base64) {
                    return Err("a key is not base64".into());
                }
                self.found.keys.push(item.to_owned());
            }
            Some("heirs") => self.found.heirs.push(heir(item)?),
            Some("seals") => self.found.seals.push(seal(item)?),
            Some("values") => self.found.lines.push(value(item)?),
            _ => return Err("a string that stands in no list".into()),
        }
        Ok(())
    }
}

fn is_hex(text: &str, length: usize) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == length && text.bytes().all(hex)
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|digest| is_hex(digest, 64))
}

fn words<const N: usize>(item: &str) -> Option<[&str; N]> {
    let words: Vec<&str> = item.split(' ').collect();
    words.try_into().ok()
}

fn heir(item: &str) -> Result<Heir, String> {
    let wrong = "the line of a key that followed another is not whole";
    let [from, to, wrapped, mac] = words::<4>(item).ok_or(wrong)?;
    let lengths = [(from, 32), (to, 32), (wrapped, 64), (mac, 64)];
    if !lengths.iter().all(|(text, length)| is_hex(text, *length)) {
        return Err(wrong.into());
    }
    let [from, to, wrapped, mac] = [from, to, wrapped, mac].map(str::to_owned);
    Ok(Heir {
        from,
        to,
        wrapped,
        mac,
    })
}

fn seal(item: &str) -> Result<Seal, String> {
    let wrong = "the seal is not whole";
    let [counter, recipients, mac] = words::<3>(item).ok_or(wrong)?;
    if !is_digest(recipients) || !is_hex(mac, 64) {
        return Err(wrong.into());
    }
    Ok(Seal {
        counter: counter.parse().map_err(|_| wrong)?,
        recipients: recipients.to_owned(),
        mac: mac.to_owned(),
    })
}

fn value(item: &str) -> Result<Line, String> {
    let [name, digest, write, set_on, readers, mac] =
        words::<6>(item).ok_or("the line of a value has not six words")?;
    let wrong = |what: &str| format!("the line of {name:?} has a wrong {what}");
    if !is_digest(digest) {
        return Err(wrong("digest"));
    }
    if !is_hex(mac, 64) {
        return Err(wrong("MAC"));
    }
    let readers: Result<Vec<_>, _> = readers.split(',').map(str::parse).collect();
    Ok(Line {
        name: name.parse().map_err(|_| wrong("name"))?,
        digest: digest.to_owned(),
        write: write.parse().map_err(|_| wrong("write"))?,
        set_on: set_on.parse().map_err(|_| wrong("day"))?,
        readers: readers.map_err(|_| wrong("reader"))?,
        mac: mac.to_owned(),
    })
}
