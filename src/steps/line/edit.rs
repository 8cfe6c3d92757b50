//! The edit itself: text in, text out. Lines keep their own ends (LF or CRLF); what is compared is a line without its end.

use regex_lite::Regex;

use crate::model::outcome::Failure;

/// Line numbers that a refusal names.
const NAMED_LINES: usize = 10;

/// What to do with a text.
#[derive(Debug)]
pub struct Edit<'a> {
    /// The line.
    pub line: Option<&'a str>,
    /// Which lines it stands for.
    pub pattern: Option<Regex>,
    /// Whether several may match.
    pub all: bool,
    /// Where to add it.
    pub place: Place,
}

/// Where to add a line.
#[derive(Debug)]
pub enum Place {
    /// At the end.
    End,
    /// After the last line that matches.
    After(Regex),
    /// Before the first line that matches.
    Before(Regex),
}

/// What an edit gave.
#[derive(PartialEq, Debug)]
pub enum Edited {
    /// The text is as wished.
    Same,
    /// The text as wished.
    Text(String),
    /// It cannot be edited.
    Refused(Failure),
}

impl Edit<'_> {
    /// Makes sure that the line is there.
    pub fn ensure(&self, text: &str) -> Edited {
        let line = self.line.unwrap_or_default();
        let parts: Vec<&str> = text.split_inclusive('\n').collect();
        let mut present = false;
        let mut others = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            if body(part) == line {
                present = true;
            } else if self.is_match(part) {
                others.push(index);
            }
        }
        match &others[..] {
            [] if present => Edited::Same,
            [] => self.insert(&parts, line),
            // Where the line is there already and another one matches too, nobody can say which of them is meant.
            [_] if !present => replace(&parts, &others, line),
            _ if self.all => replace(&parts, &others, line),
            _ => Edited::Refused(self.ambiguous(&parts, line)),
        }
    }

    /// Makes sure that no such line is there.
    pub fn remove(&self, text: &str) -> Edited {
        let goes = |part: &str| self.line == Some(body(part)) || self.is_match(part);
        let kept: String = text
            .split_inclusive('\n')
            .filter(|part| !goes(part))
            .collect();
        if kept.len() == text.len() {
            Edited::Same
        } else {
            Edited::Text(kept)
        }
    }

    fn is_match(&self, part: &str) -> bool {
        self.pattern
            .as_ref()
            .is_some_and(|pattern| pattern.is_match(body(part)))
    }

    fn insert(&self, parts: &[&str], line: &str) -> Edited {
        let found = match &self.place {
            Place::End => Ok(parts.len()),
            Place::After(anchor) => parts
                .iter()
                .rposition(|part| anchor.is_match(body(part)))
                .map(|index| index + 1)
                .ok_or(("after", anchor)),
            Place::Before(anchor) => parts
                .iter()
                .position(|part| anchor.is_match(body(part)))
                .ok_or(("before", anchor)),
        };
        let at = match found {
            Ok(at) => at,
            Err((key, anchor)) => {
                return Edited::Refused(
                    Failure::new(format!(
                        "no line matches `{key}`, so there is no place for the new line"
                    ))
                    .evidence(format!("{key} = {:?}", anchor.as_str()))
                    .hint(format!(
                        "correct `{key}`, or leave it out to add the line at the end"
                    )),
                );
            }
        };
        let (head, tail) = parts.split_at_checked(at).unwrap_or((parts, &[]));
        let end = head
            .iter()
            .rev()
            .chain(tail)
            .map(|part| end_of(part))
            .find(|end| !end.is_empty())
            .unwrap_or("\n");
        let mut text = head.concat();
        if head.last().is_some_and(|last| end_of(last).is_empty()) {
            text.push_str(end);
        }
        text.push_str(line);
        text.push_str(end);
        text.push_str(&tail.concat());
        Edited::Text(text)
    }

    fn ambiguous(&self, parts: &[&str], line: &str) -> Failure {
        let numbers: Vec<String> = parts
            .iter()
            .enumerate()
            .filter(|(_, part)| body(part) == line || self.is_match(part))
            .map(|(index, _)| (index + 1).to_string())
            .collect();
        let mut named = numbers
            .iter()
            .take(NAMED_LINES)
            .cloned()
            .collect::<Vec<_>>()
            .join(", ");
        if numbers.len() > NAMED_LINES {
            named.push_str(", ...");
        }
        Failure::new(format!(
            "`match` fits {} lines, so it is not clear which one is meant",
            numbers.len()
        ))
        .evidence(format!("lines {named}"))
        .hint("make `match` fit one line only, or set `all = true` to replace them all")
    }
}

/// Puts the line in the place of those at `which` (ascending).
fn replace(parts: &[&str], which: &[usize], line: &str) -> Edited {
    let mut text = String::new();
    for (index, part) in parts.iter().enumerate() {
        if which.binary_search(&index).is_ok() {
            text.push_str(line);
            text.push_str(end_of(part));
        } else {
            text.push_str(part);
        }
    }
    Edited::Text(text)
}

/// A line without its end.
fn body(part: &str) -> &str {
    part.strip_suffix("\r\n")
        .or_else(|| part.strip_suffix('\n'))
        .unwrap_or(part)
}

/// The end of a line: `\n`, `\r\n`, or nothing.
fn end_of(part: &str) -> &str {
    part.strip_prefix(body(part)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edit<'a>(line: &'a str, pattern: Option<&str>) -> Edit<'a> {
        Edit {
            line: Some(line),
            pattern: pattern.map(|pattern| Regex::new(pattern).unwrap()),
            all: false,
            place: Place::End,
        }
    }

    fn text(edited: Edited) -> String {
        match edited {
            Edited::Text(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_missing_line_is_added_at_the_end_and_the_file_then_ends_with_a_line_end() {
        assert_eq!(text(edit("c", None).ensure("a\nb\n")), "a\nb\nc\n");
        assert_eq!(text(edit("c", None).ensure("a\nb")), "a\nb\nc\n");
        assert_eq!(text(edit("c", None).ensure("")), "c\n");
        assert_eq!(edit("b", None).ensure("a\nb"), Edited::Same);
    }

    #[test]
    fn line_ends_stay_what_they_are() {
        assert_eq!(text(edit("c", None).ensure("a\r\nb")), "a\r\nb\r\nc\r\n");
        assert_eq!(
            text(edit("b=2", Some("^b=")).ensure("a\r\nb=1\r\n")),
            "a\r\nb=2\r\n"
        );
        assert_eq!(text(edit("b=2", Some("^b=")).ensure("a\nb=1")), "a\nb=2");
        assert_eq!(edit("a", None).ensure("a\r\n"), Edited::Same);
    }

    #[test]
    fn anchors_choose_the_place_and_a_missing_anchor_is_refused() {
        let after = Edit {
            place: Place::After(Regex::new("^a").unwrap()),
            ..edit("x", None)
        };
        assert_eq!(text(after.ensure("a1\na2\nb\n")), "a1\na2\nx\nb\n");
        assert_eq!(text(after.ensure("b\na")), "b\na\nx\n");
        let before = Edit {
            place: Place::Before(Regex::new("^a").unwrap()),
            ..edit("x", None)
        };
        assert_eq!(text(before.ensure("b\na1\na2\n")), "b\nx\na1\na2\n");
        assert!(matches!(before.ensure("b\n"), Edited::Refused(_)));
        assert_eq!(
            before.ensure("b\nx\n"),
            Edited::Same,
            "a line that is there is not moved"
        );
    }

    #[test]
    fn several_matches_are_refused_unless_all_are_meant() {
        let one = edit("Port 22", Some("^#?Port "));
        assert_eq!(text(one.ensure("#Port 1\nx\n")), "Port 22\nx\n");
        for several in [
            "#Port 1\nPort 2\n",
            "Port 22\n#Port 2\n",
            "#Port 2\nPort 22\n",
        ] {
            assert!(
                matches!(one.ensure(several), Edited::Refused(_)),
                "{several:?}"
            );
        }
        assert_eq!(one.ensure("Port 22\nPort 22\n"), Edited::Same);
        let all = Edit {
            all: true,
            ..edit("Port 22", Some("^#?Port "))
        };
        assert_eq!(
            text(all.ensure("#Port 1\nx\nPort 2\n")),
            "Port 22\nx\nPort 22\n"
        );
    }

    #[test]
    fn removing_takes_every_such_line() {
        assert_eq!(text(edit("b", None).remove("b\na\nb\nbb")), "a\nbb");
        assert_eq!(text(edit("b", Some("^a")).remove("b\na\nc\n")), "c\n");
        assert_eq!(edit("b", None).remove("a\n"), Edited::Same);
    }

    fn any_text() -> impl Strategy<Value = String> {
        let line = prop::sample::select(vec!["", "a", "a=1", "#a=2", "b", "b ", "\u{e4}"]);
        let end = prop::sample::select(vec!["\n", "\n", "\r\n"]);
        (prop::collection::vec((line, end), 0..6), any::<bool>()).prop_map(|(lines, ended)| {
            let mut text: String = lines.iter().flat_map(|(line, end)| [*line, *end]).collect();
            if !ended {
                text.truncate(body(&text).len());
            }
            text
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(5), ..ProptestConfig::default() })]

        #[test]
        fn what_was_edited_is_as_wished_and_all_other_lines_are_as_before(
            before in any_text(),
            pattern in prop::option::of(prop::sample::select(vec!["^#?a=", "a", "1$", "^"])),
            all in any::<bool>(),
            place in 0..3,
        ) {
            let anchor = Regex::new("^b").unwrap();
            let place = match place {
                0 => Place::End,
                1 => Place::After(anchor),
                _ => Place::Before(anchor),
            };
            let edit = Edit { all, place, ..edit("a=1", pattern) };
            if let Edited::Text(after) = edit.ensure(&before) {
                prop_assert_eq!(edit.ensure(&after), Edited::Same);
                let rest = |text: &str| -> Vec<String> {
                    text.lines().filter(|l| *l != "a=1" && !edit.is_match(l)).map(str::to_owned).collect()
                };
                prop_assert_eq!(rest(&before), rest(&after));
            }
            if let Edited::Text(after) = edit.remove(&before) {
                prop_assert_eq!(edit.remove(&after), Edited::Same);
                prop_assert!(after.lines().all(|l| l != "a=1"));
            }
        }
    }
}
