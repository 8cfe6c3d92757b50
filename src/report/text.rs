//! Words, numbers and foreign text for people: plurals, durations, widths, wrapping; and the one place where text that
//! came from a target is made harmless. Knows nothing of events.

use unicode_width::UnicodeWidthChar;

/// `1 node`, `8 nodes`.
pub fn count(n: usize, one: &str, many: &str) -> String {
    format!("{n} {}", if n == 1 { one } else { many })
}

/// Joins with commas and a last `and`: `a`, `a and b`, `a, b and c`.
pub fn and_list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// The first `most` items with commas, and how many more there are.
pub fn some_of(items: &[String], most: usize) -> String {
    let shown = items.iter().take(most).cloned().collect::<Vec<_>>();
    match items.len().saturating_sub(most) {
        0 => and_list(&shown),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// A length of time for people: `20ms`, `0.4s`, `12s`, `3m05s`, `1h02m`, `2d03h`. Never longer than six characters below 100
/// days.
pub fn duration(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0 if ms < 100 => format!("{ms}ms"),
        0..10 => format!("{s}.{}s", ms % 1000 / 100),
        10..60 => format!("{s}s"),
        60..3600 => format!("{}m{:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h{:02}m", s / 3600, s % 3600 / 60),
        _ => format!("{}d{:02}h", s / 86_400, s % 86_400 / 3600),
    }
}

/// Like [`duration`], but in whole seconds from the start: for times that tick on a screen.
pub fn elapsed(ms: u64) -> String {
    match ms / 1000 {
        s @ 0..10 => format!("{s}s"),
        _ => duration(ms),
    }
}

/// Time between two wall-clock readings; none if the clock was set back meanwhile.
pub fn since(then_ms: i64, now_ms: i64) -> u64 {
    u64::try_from(now_ms.saturating_sub(then_ms)).unwrap_or(0)
}

/// Text that cannot drive a terminal: control characters, escapes, marks that reorder or hide text become visible as
/// `\x1b` or `\u{202e}`; a tab becomes blanks. Line ends are shown as `\n`: split lines before.
pub fn harmless(text: &str) -> String {
    clean(text, "    ")
}

/// Like [`harmless`], for lines that are compared: a tab is shown as `\t`, and a blank at the end as `\x20`.
pub fn harmless_exact(text: &str) -> String {
    match text.strip_suffix(' ') {
        Some(body) => format!("{}\\x20", clean(body, "\\t")),
        None => clean(text, "\\t"),
    }
}

fn clean(text: &str, tab: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut marks = 0;
    for c in text.chars() {
        marks = if c.width() == Some(0) { marks + 1 } else { 0 };
        match c {
            '\t' => out.push_str(tab),
            c if c.is_control() || is_deceptive(c) || marks > MARKS => push_escaped(&mut out, c),
            c => out.push(c),
        }
    }
    out
}

/// Most combining marks on one character that a terminal is trusted with.
const MARKS: usize = 3;

/// Whether a character that is no control character still changes how its neighbours look, or is not seen at all.
pub fn is_deceptive(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{fff0}'..='\u{fffb}' | '\u{fffe}'..='\u{ffff}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}')
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\0' => out.push_str("\\0"),
        c if u32::from(c) < 0x100 => out.push_str(&format!("\\x{:02x}", u32::from(c))),
        c => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
    }
}

/// The lines of foreign text, each harmless; what a carriage return overwrote is left out, as a terminal would.
pub fn harmless_lines(text: &str) -> Vec<String> {
    let shown = |line: &str| {
        let line = line.trim_end_matches('\r');
        harmless(line.rsplit('\r').next().unwrap_or(line))
    };
    text.lines().map(shown).collect()
}

/// Columns that a harmless text takes, as terminals count them: character by character.
pub fn width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

fn char_width(c: char) -> usize {
    c.width().unwrap_or(0)
}

/// The text, cut to `max` columns; a cut shows as `…` (ASCII: `~`).
pub fn fit(text: &str, max: usize, unicode: bool) -> String {
    if width(text) <= max {
        return text.to_owned();
    }
    let Some(room) = max.checked_sub(1) else {
        return String::new();
    };
    let mut out = prefix(text, room).to_owned();
    out.push(if unicode { '…' } else { '~' });
    out
}

/// The longest start of `text` that takes at most `max` columns.
pub fn prefix(text: &str, max: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += char_width(c);
        if used > max {
            return text.get(..at).unwrap_or_default();
        }
    }
    text
}

/// The text with blanks after it up to `columns`.
pub fn pad(text: &str, columns: usize) -> String {
    let blanks = columns.saturating_sub(width(text));
    format!("{text}{}", " ".repeat(blanks))
}

/// The text in lines of at most `max` columns, broken at blanks where possible; blanks at the start are kept for all
/// lines. At least one line.
pub fn wrap(text: &str, max: usize) -> Vec<String> {
    let max = max.max(1);
    if width(text) <= max {
        return vec![text.to_owned()];
    }
    let body = text.trim_start_matches(' ');
    let indent = (text.len() - body.len()).min(max / 2);
    let (lead, room) = (" ".repeat(indent), max - indent);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in body.split(' ') {
        let mut word = word;
        let gap = usize::from(!line.is_empty());
        if width(&line) + gap + width(word) > room && !line.is_empty() {
            lines.push(format!("{lead}{}", line.trim_end()));
            line.clear();
        } else if gap == 1 {
            line.push(' ');
        }
        while width(word) > room {
            let start = prefix(word, room);
            // A character wider than the room: give up on the width rather than on the text.
            let start = if start.is_empty() { word } else { start };
            lines.push(format!("{lead}{start}"));
            word = word.get(start.len()..).unwrap_or_default();
        }
        line.push_str(word);
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(format!("{lead}{line}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_and_times_read_as_people_say_them() {
        assert_eq!(count(1, "node", "nodes"), "1 node");
        assert_eq!(count(0, "node", "nodes"), "0 nodes");
        assert_eq!(duration(20), "20ms");
        assert_eq!(duration(440), "0.4s");
        assert_eq!(duration(12_999), "12s");
        assert_eq!(duration(185_000), "3m05s");
        assert_eq!(duration(3_725_000), "1h02m");
        assert_eq!(duration(183_600_000), "2d03h");
        assert_eq!(elapsed(3_900), "3s");
        assert_eq!(since(10, 5), 0);
        let abc = ["a", "b", "c"].map(str::to_owned);
        assert_eq!(and_list(&abc), "a, b and c");
        assert_eq!(some_of(&abc, 2), "a, b and 1 more");
        assert_eq!(some_of(&abc, 3), "a, b and c");
    }

    #[test]
    fn escapes_from_a_target_become_words() {
        assert_eq!(
            harmless("\x1b[2J\x07a\u{9b}1m\u{202e}b"),
            r"\x1b[2J\x07a\x9b1m\u{202e}b"
        );
        assert_eq!(harmless("a\tb\nc\0"), r"a    b\nc\0");
        assert_eq!(harmless_exact("\ta b "), r"\ta b\x20");
        assert_eq!(harmless("é 漢字 ✓"), "é 漢字 ✓");
        assert_eq!(harmless_lines("10%\r20%\r\nend"), ["20%", "end"]);
    }

    #[test]
    fn a_letter_under_a_heap_of_marks_keeps_only_a_few() {
        let heap = format!("a{}", "\u{301}".repeat(50));
        assert!(harmless(&heap).contains(r"\u{301}"));
        assert_eq!(harmless("e\u{301}"), "e\u{301}");
    }

    #[test]
    fn long_text_is_wrapped_at_blanks_and_long_words_anywhere() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("  one two three", 9), ["  one two", "  three"]);
        assert_eq!(wrap("abcdefghij k", 4), ["abcd", "efgh", "ij k"]);
        assert_eq!(wrap("", 5), [""]);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: proptest::test_runner::RngSeed::Fixed(3),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn harmless_text_holds_no_control_character(text in any::<String>()) {
            let safe = |t: String| !t.chars().any(|c| c.is_control() || is_deceptive(c));
            prop_assert!(safe(harmless(&text)));
            prop_assert!(safe(harmless_exact(&text)));
        }

        #[test]
        fn fitting_and_wrapping_keep_the_width_and_wrapping_every_word(text in any::<String>(), max in 2usize..40) {
            let text = harmless(&text);
            prop_assert!(width(&fit(&text, max, true)) <= max);
            let lines = wrap(&text, max);
            let letters = |t: &str| t.chars().filter(|c| *c != ' ').collect::<String>();
            prop_assert!(lines.iter().all(|l| width(l) <= max), "{lines:?}");
            prop_assert_eq!(letters(&lines.concat()), letters(&text));
        }
    }
}
