//! The line of a mount in /etc/fstab.

use super::{Mount, State};
use crate::model::outcome::Failure;
use crate::steps::shared::fstab::{self, Entry};

impl Mount {
    /// The line as wished; what it does not say stays as in `old`.
    fn entry(&self, old: Option<&Entry>) -> Entry {
        let pass = self.pass.map(|pass| pass.to_string());
        Entry {
            source: self.source().to_owned(),
            point: self.path.to_string(),
            fs_type: self.fs_type().to_owned(),
            options: self.options(),
            dump: old.map_or("0", |old| &old.dump).to_owned(),
            pass: pass.unwrap_or_else(|| old.map_or("0", |old| &old.pass).to_owned()),
        }
    }

    /// The new text of /etc/fstab, where it is to be changed.
    pub(super) fn fstab(&self, text: &str) -> Result<Option<String>, Failure> {
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        let own = |line: &str| {
            fstab::parse(line).filter(|entry| {
                entry.fs_type != "swap" && trimmed(&entry.point) == self.path.as_str()
            })
        };
        let at: Vec<usize> = (0..)
            .zip(&lines)
            .filter(|(_, line)| own(line).is_some())
            .map(|(n, _)| n)
            .collect();
        if self.state == State::Absent {
            let kept: String = lines
                .iter()
                .filter(|line| own(line).is_none())
                .copied()
                .collect();
            return Ok((!at.is_empty()).then_some(kept));
        }
        if at.len() > 1 {
            let numbers: Vec<String> = at.iter().map(|n| (n + 1).to_string()).collect();
            return Err(Failure::new(format!(
                "/etc/fstab has {} lines for {}",
                at.len(),
                self.path
            ))
            .evidence(format!("lines {}", numbers.join(", ")))
            .hint("leave one of them"));
        }
        let old = at.first().and_then(|n| own(lines.get(*n)?));
        let new = self.entry(old.as_ref());
        if old.as_ref().is_some_and(|old| same(old, &new)) {
            return Ok(None);
        }
        let line = format!("{}\n", new.line());
        let mut text: String = (0..)
            .zip(&lines)
            .map(|(n, old): (usize, _)| if at.contains(&n) { line.as_str() } else { old })
            .collect();
        if at.is_empty() {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push('\n');
            }
            text.push_str(&line);
        }
        Ok(Some(text))
    }
}

fn trimmed(point: &str) -> &str {
    match point.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed,
    }
}

/// Whether two lines say the same.
fn same(one: &Entry, other: &Entry) -> bool {
    let set = |entry: &Entry| -> std::collections::BTreeSet<String> {
        entry
            .options
            .iter()
            .filter(|o| *o != "defaults")
            .cloned()
            .collect()
    };
    let rest = |entry: &Entry| {
        (
            entry.source.clone(),
            entry.fs_type.clone(),
            entry.pass.clone(),
        )
    };
    set(one) == set(other) && rest(one) == rest(other)
}
