//! Differences of texts as lines for people: context, caps, nothing that a terminal would obey. Whether a text may be
//! shown at all is the caller's question.

use similar::{ChangeTag, TextDiff};

use crate::model::event::DiffLine;

/// Files above this many bytes are not shown.
pub const SHOWN_BYTES: u64 = 64 * 1024;
/// Lines of one difference.
const MAX_LINES: usize = 200;
/// Characters of one line.
const MAX_CHARS: usize = 400;
/// Lines around a change.
const CONTEXT: usize = 3;
/// Lines that differ, on both sides together, up to which they are compared one by one: comparing takes time in the
/// product of their numbers.
const MAX_COMPARED: usize = 4_000;

/// The difference between what a file holds and what it shall hold. `old: None`: could not be read (or not for a diff).
pub fn content(old: Option<&[u8]>, new: &str) -> Vec<DiffLine> {
    let Some(old) = old else {
        return vec![DiffLine::both(
            "content differs (not shown: large, or not readable)",
        )];
    };
    match std::str::from_utf8(old) {
        Ok(old) if !old.contains('\0') && !new.contains('\0') => text(old, new),
        _ => vec![DiffLine::both(format!(
            "content differs (not shown: no UTF-8 text; {} bytes -> {} bytes)",
            old.len(),
            new.len()
        ))],
    }
}

/// All lines of a text that is new.
pub fn added(new: &str) -> Vec<DiffLine> {
    if new.len() as u64 > SHOWN_BYTES || new.contains('\0') {
        return vec![DiffLine::both(format!(
            "content not shown: {} bytes",
            new.len()
        ))];
    }
    capped(new.lines().map(|line| DiffLine::new(shown(line))))
}

/// The difference of two texts.
pub fn text(old: &str, new: &str) -> Vec<DiffLine> {
    let (old_lines, new_lines) = changed_lines(old, new);
    if old_lines + new_lines > MAX_COMPARED {
        return vec![DiffLine::both(format!(
            "content differs (not shown: {old_lines} lines -> {new_lines} lines)"
        ))];
    }
    let diff = TextDiff::from_lines(old, new);
    let mut lines = Vec::new();
    for group in diff.grouped_ops(CONTEXT) {
        let first = group.first().map_or(0, |op| op.old_range().start);
        lines.push(DiffLine::both(format!("@@ line {} @@", first + 1)));
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let line = shown(change.value().strip_suffix('\n').unwrap_or(change.value()));
            lines.push(match change.tag() {
                ChangeTag::Delete => DiffLine::old(line),
                ChangeTag::Insert => DiffLine::new(line),
                ChangeTag::Equal => DiffLine::both(line),
            });
            if change.missing_newline() {
                lines.push(DiffLine::both("\\ no line end at the end of the file"));
            }
        }
    }
    capped(lines)
}

/// Lines that are left on each side once what both begin and end with is taken off.
fn changed_lines(old: &str, new: &str) -> (usize, usize) {
    let (old, new): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
    let same =
        |pairs: &mut dyn Iterator<Item = (&&str, &&str)>| pairs.take_while(|(a, b)| a == b).count();
    let head = same(&mut old.iter().zip(&new));
    let shorter = old.len().min(new.len());
    let tail = same(&mut old.iter().rev().zip(new.iter().rev())).min(shorter - head);
    (old.len() - head - tail, new.len() - head - tail)
}

fn capped(lines: impl IntoIterator<Item = DiffLine>) -> Vec<DiffLine> {
    let mut lines: Vec<_> = lines.into_iter().collect();
    if lines.len() > MAX_LINES {
        let more = lines.len() - MAX_LINES;
        lines.truncate(MAX_LINES);
        lines.push(DiffLine::both(format!("... {more} more lines")));
    }
    lines
}

/// A text as it can be printed on one line: control characters escaped (a file must not drive the terminal), long ones
/// cut.
pub fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(MAX_CHARS));
    let mut rest = text.chars();
    for c in rest.by_ref().take(MAX_CHARS) {
        let direction = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}');
        if (c.is_control() && c != '\t') || direction {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    match rest.count() {
        0 => {}
        more => out.push_str(&format!(" ... {more} more characters")),
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::testing::lines;
    use super::*;

    #[test]
    fn a_change_is_shown_with_three_lines_around_it() {
        let old: String = (1..=20).map(|n| format!("line {n}\n")).collect();
        let new = old.replace("line 10\n", "line ten\n");
        insta::assert_snapshot!(lines(&text(&old, &new)), @r"
         @@ line 7 @@
         line 7
         line 8
         line 9
        -line 10
        +line ten
         line 11
         line 12
         line 13
        ");
    }

    #[test]
    fn line_ends_that_differ_can_be_seen() {
        insta::assert_snapshot!(lines(&text("a\nb", "a\r\nb\n")), @r"
         @@ line 1 @@
        -a
        -b
         \ no line end at the end of the file
        +a\r
        +b
        ");
    }

    #[test]
    fn what_a_terminal_would_obey_is_escaped_and_long_lines_are_cut() {
        assert_eq!(
            shown("\u{1b}[31mred\u{202e}\tx"),
            "\\u{1b}[31mred\\u{202e}\tx"
        );
        assert!(shown(&"x".repeat(1000)).ends_with("x ... 600 more characters"));
    }

    #[test]
    fn a_long_difference_ends_with_the_number_of_lines_left_out() {
        let new: String = (0..500).map(|n| format!("{n}\n")).collect();
        let diff = text("", &new);
        assert_eq!(diff.len(), 201);
        assert_eq!(diff.last().unwrap().text, "... 301 more lines");
        assert_eq!(added(&new).last().unwrap().text, "... 300 more lines");
    }

    #[test]
    fn what_is_no_text_or_too_much_is_told_in_words() {
        insta::assert_snapshot!(lines(&content(Some(b"\xff\x00"), "x\n")), @" content differs (not shown: no UTF-8 text; 2 bytes -> 2 bytes)");
        insta::assert_snapshot!(lines(&content(None, "x\n")), @" content differs (not shown: large, or not readable)");
        let (old, new): (String, String) = (0..5000)
            .map(|n| (format!("{n}\n"), format!("{n}a\n")))
            .unzip();
        insta::assert_snapshot!(lines(&text(&old, &new)), @" content differs (not shown: 5000 lines -> 5000 lines)");
        let tail = format!("{old}one more\n");
        assert_eq!(
            text(&old, &tail).len(),
            5,
            "a small change of a large text is shown"
        );
    }
}
