//! /etc/fstab, fstab(5): its lines, read and written without touching those of others.

use super::replaces;
use crate::facts::fact::Fact;
use crate::facts::known::{Known, Unreadable};
use crate::model::action::{Action, Ownership};
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::model::sensitive::Text;
use crate::model::units::Mode;

/// Where it is.
pub const PATH: &str = "/etc/fstab";
const CAP: u64 = 1 << 20;

/// An active line, its fields as they are meant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Device, `UUID=...`, `nas:/export`.
    pub source: String,
    /// Mount point; `none` for swap.
    pub point: String,
    /// Type.
    pub fs_type: String,
    /// Options in their order.
    pub options: Vec<String>,
    /// Field 5.
    pub dump: String,
    /// Field 6: order of file system checks.
    pub pass: String,
}

/// What a line says; `None` for comments, blank lines, and what is no entry.
pub fn parse(line: &str) -> Option<Entry> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let mut fields = line.split_whitespace();
    let (source, point, fs_type) = (fields.next()?, fields.next()?, fields.next()?);
    let mut next = |default: &str| fields.next().unwrap_or(default).to_owned();
    Some(Entry {
        source: unescape(source),
        point: unescape(point),
        fs_type: fs_type.to_owned(),
        options: next("defaults").split(',').map(unescape).collect(),
        dump: next("0"),
        pass: next("0"),
    })
}

impl Entry {
    /// As a line without its end.
    pub fn line(&self) -> String {
        let options = if self.options.is_empty() {
            "defaults".to_owned()
        } else {
            self.options
                .iter()
                .map(|option| escape(option))
                .collect::<Vec<_>>()
                .join(",")
        };
        format!(
            "{} {} {} {options} {} {}",
            escape(&self.source),
            escape(&self.point),
            self.fs_type,
            self.dump,
            self.pass
        )
    }
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\134")
        .replace(' ', "\\040")
        .replace('\t', "\\011")
        .replace('#', "\\043")
}

fn unescape(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (head, tail) = rest.split_at(at);
        plain.push_str(head);
        let known = [
            ("\\040", ' '),
            ("\\011", '\t'),
            ("\\043", '#'),
            ("\\134", '\\'),
        ];
        let found = known
            .iter()
            .find_map(|(code, c)| Some((*c, tail.strip_prefix(code)?)));
        let (c, after) = found.unwrap_or(('\\', tail.get(1..).unwrap_or_default()));
        plain.push(c);
        rest = after;
    }
    plain.push_str(rest);
    plain
}

/// The facts about the file.
pub fn facts() -> Vec<Fact> {
    let path = AbsPath::new(PATH).ok();
    path.into_iter()
        .flat_map(|path| [Fact::Stat { path: path.clone() }, content(path)])
        .collect()
}

fn content(path: AbsPath) -> Fact {
    Fact::Content {
        path,
        unless_sha256: None,
        cap: CAP,
        sensitive: false,
    }
}

/// Its text; empty where there is none.
pub fn text<'a>(known: &Known<'a>) -> Result<Result<&'a str, Failure>, Unreadable> {
    let Ok(path) = AbsPath::new(PATH) else {
        return Ok(Ok(""));
    };
    let content = known.content(&content(path))?;
    let bytes = content
        .and_then(|content| content.bytes.as_deref())
        .unwrap_or_default();
    Ok(std::str::from_utf8(bytes).map_err(|_| {
        Failure::new("/etc/fstab is no UTF-8 text").hint("repair it by hand: it is not edited")
    }))
}

/// Writes it, keeping mode and owner, where it still is what [`text`] gave.
pub fn write(known: &Known<'_>, new: String) -> Result<Option<Action>, Unreadable> {
    let Ok(path) = AbsPath::new(PATH) else {
        return Ok(None);
    };
    let stat = known.stat(&path)?;
    let replaces = replaces(stat, known.content(&content(path.clone()))?);
    Ok(Some(Action::WriteFile {
        path,
        content: Text::plain(new),
        mode: Mode(stat.map_or(0o644, |stat| stat.mode)),
        owner: Ownership {
            user: stat.map(|stat| stat.uid.to_string()),
            group: stat.map(|stat| stat.gid.to_string()),
        },
        backup: false,
        replaces,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_and_written_with_blanks_in_names() {
        let line = "UUID=1-2 /mnt/a\\040b ext4 defaults,noatime 0 2";
        let entry = parse(line).unwrap();
        assert_eq!(entry.point, "/mnt/a b");
        assert_eq!(entry.options, ["defaults", "noatime"]);
        assert_eq!(entry.line(), line);
        assert_eq!(
            parse("proc /proc proc").unwrap().line(),
            "proc /proc proc defaults 0 0"
        );
        for none in ["", "# /dev/sda1 / ext4", "   ", "one two"] {
            assert_eq!(parse(none), None, "{none:?}");
        }
        assert_eq!(unescape(&escape("a\\040 b\t#")), "a\\040 b\t#");
    }
}
