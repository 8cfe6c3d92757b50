//! TOML text to [`Value`], with every syntax mistake of the text at once. Knows nothing of what the keys mean.

use std::collections::HashMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml_parser::parser::{Event, EventKind};

use crate::model::mistake::Mistake;
use crate::model::value::{Data, FileId, Key, Span, Value};

/// More syntax mistakes than this in one file are counted, not shown: it is not TOML.
const SHOWN: usize = 50;

/// What a text holds.
#[derive(Debug)]
pub struct Parsed {
    /// Its tables, as far as they could be read.
    pub root: Value,
    /// What is wrong with its syntax.
    pub mistakes: Vec<Mistake>,
    /// Parts of the text were not understood, so that what seems to be missing may be there.
    pub broken: bool,
}

/// Reads a text.
pub fn parse(file: FileId, text: &str) -> Parsed {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader {
        file,
        mistakes: Vec::new(),
    };
    let data = reader.table(table.get_ref());
    let root = Value {
        span: Span::new(file, 0..0),
        data,
    };
    let mut mistakes = reader.mistakes;
    let mut broken = false;
    let mut first_uses = None;
    let mut twice: Vec<String> = Vec::new();
    let total = errors.len();
    for error in errors.into_iter().take(SHOWN) {
        let range = on_boundaries(text, error.span().unwrap_or(text.len()..text.len()));
        let span = Span::new(file, range.clone());
        if error.message() == "duplicate key" {
            let uses = first_uses.get_or_insert_with(|| FirstUses::read(text));
            // What is inside a table defined twice is not told again, key by key.
            let path = uses.path_at.get(&range.start).cloned().unwrap_or_default();
            if !twice.iter().any(|table| is_inside(&path, table)) {
                mistakes.push(duplicate(span, text, range, uses));
                twice.push(path);
            }
        } else {
            broken = true;
            mistakes.push(syntax(span, text, range, error.message()));
        }
    }
    if total > SHOWN
        && let Some(last) = mistakes.last_mut()
    {
        let more = format!(
            "{} more syntax mistakes in this file are not shown",
            total - SHOWN
        );
        last.hint = Some(match last.hint.take() {
            Some(hint) => format!("{hint}; {more}"),
            None => more,
        });
        broken = true;
    }
    Parsed {
        root,
        mistakes,
        broken,
    }
}

fn is_inside(path: &str, table: &str) -> bool {
    path.strip_prefix(table)
        .is_some_and(|rest| rest.starts_with(SEPARATOR) || rest.starts_with('#'))
}

/// `range` inside the text and on character boundaries.
fn on_boundaries(text: &str, range: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let mut start = range.start.min(text.len());
    while !text.is_char_boundary(start) {
        start -= 1;
    }
    let mut end = range.end.clamp(start, text.len());
    while !text.is_char_boundary(end) {
        end += 1;
    }
    start..end
}

fn syntax(span: Span, text: &str, range: std::ops::Range<usize>, message: &str) -> Mistake {
    let hint = if message.contains("recurs") {
        "nest fewer tables and arrays: 80 levels are the limit"
    } else if message.contains("quoted") {
        "put strings in quotes: key = \"value\""
    } else if message.contains("unclosed")
        || message.contains("invalid basic string")
        || message.contains("invalid literal string")
    {
        "close it: brackets and quotes come in pairs"
    } else if message.contains("key with no value") {
        "write `key = value`"
    } else if text
        .get(range.start..)
        .is_some_and(|rest| rest.starts_with('\t') || rest.starts_with(char::is_control))
    {
        "remove the control character, or write it as an escape such as \\t"
    } else {
        "the file must be TOML: https://toml.io"
    };
    Mistake::error("syntax", span, message.to_owned()).hint(hint)
}

fn duplicate(span: Span, text: &str, range: std::ops::Range<usize>, uses: &FirstUses) -> Mistake {
    let name = text.get(range.clone()).unwrap_or_default();
    let mistake = Mistake::error("duplicate-key", span, format!("`{name}` is defined twice"))
        .label("defined again here")
        .hint("keep one of the two");
    match uses.before(range.start) {
        Some(first) => mistake.related(Span::new(span.file, first), "first defined here"),
        None => mistake,
    }
}

struct Reader {
    file: FileId,
    mistakes: Vec<Mistake>,
}

impl Reader {
    fn table(&mut self, table: &DeTable<'_>) -> Data {
        let mut entries: Vec<(Key, Value)> = table
            .iter()
            .map(|(key, value)| {
                let key = Key {
                    span: Span::new(self.file, key.span()),
                    name: key.get_ref().to_string(),
                };
                (key, self.value(value))
            })
            .collect();
        // The parser sorts by name; people think in the order of the file.
        entries.sort_by_key(|(key, _)| key.span.start);
        Data::Table(entries)
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>) -> Value {
        let span = Span::new(self.file, value.span());
        let data = match value.get_ref() {
            DeValue::String(text) => Data::String(text.to_string()),
            DeValue::Integer(n) => {
                let digits: String = n.as_str().chars().filter(|c| *c != '_').collect();
                Data::Integer(i64::from_str_radix(&digits, n.radix()).unwrap_or_else(|_| {
                    self.mistakes.push(
                        Mistake::error("number", span, "the integer is too large").hint(
                            "integers go from -2^63 to 2^63 - 1; write larger ones as a string",
                        ),
                    );
                    0
                }))
            }
            DeValue::Float(n) => match n.as_str().replace('_', "").parse::<f64>() {
                Ok(n) if n.is_finite() => Data::Float(n),
                _ => {
                    self.mistakes.push(
                        Mistake::error("number", span, "the number is infinite or not a number")
                            .hint("write a finite number"),
                    );
                    Data::Integer(0)
                }
            },
            DeValue::Boolean(b) => Data::Bool(*b),
            DeValue::Datetime(at) => Data::Datetime(at.to_string()),
            DeValue::Array(items) => {
                Data::List(items.iter().map(|item| self.value(item)).collect())
            }
            DeValue::Table(table) => self.table(table),
        };
        Value { span, data }
    }
}

/// Where each key of a text is written first. Built only when a key was found twice: the parser does not tell.
struct FirstUses {
    first: HashMap<String, std::ops::Range<usize>>,
    path_at: HashMap<usize, String>,
}

impl FirstUses {
    fn read(text: &str) -> Self {
        let source = toml_parser::Source::new(text);
        let tokens = source.lex().into_vec();
        let mut events: Vec<Event> = Vec::new();
        toml_parser::parser::parse_document(&tokens, &mut events, &mut ());
        let mut walk = Walk {
            uses: Self {
                first: HashMap::new(),
                path_at: HashMap::new(),
            },
            frames: vec![String::new()],
            lists: vec![false],
            pending: Vec::new(),
            key: String::new(),
            rows: HashMap::new(),
        };
        for event in &events {
            let name = || {
                let mut name = std::borrow::Cow::Borrowed("");
                if let Some(raw) = source.get(event) {
                    raw.decode_key(&mut name, &mut ());
                }
                name.into_owned()
            };
            walk.event(event.kind(), event.span().start()..event.span().end(), name);
        }
        walk.uses
    }

    /// The first place of the key that is written at `offset`, or of the nearest table around it that was there before.
    fn before(&self, offset: usize) -> Option<std::ops::Range<usize>> {
        let mut path = self.path_at.get(&offset)?.as_str();
        loop {
            match self.first.get(path) {
                Some(range) if range.start < offset => return Some(range.clone()),
                _ => path = path.rsplit_once(SEPARATOR)?.0,
            }
        }
    }
}

/// Between the parts of a path; no key can hold it unescaped, and one that does only blurs a hint.
const SEPARATOR: char = '\u{0}';

struct Walk {
    uses: FirstUses,
    /// Paths of the tables around; the first is the one of the last header.
    frames: Vec<String>,
    /// Whether each open bracket is an array.
    lists: Vec<bool>,
    pending: Vec<(String, std::ops::Range<usize>)>,
    key: String,
    /// How many rows each array of tables has so far.
    rows: HashMap<String, usize>,
}

impl Walk {
    fn event(&mut self, kind: EventKind, at: std::ops::Range<usize>, name: impl Fn() -> String) {
        match kind {
            EventKind::StdTableOpen | EventKind::ArrayTableOpen => {
                self.frames = vec![String::new()];
                self.lists = vec![false];
                self.pending.clear();
            }
            EventKind::SimpleKey => self.pending.push((name(), at)),
            EventKind::StdTableClose => {
                let path = self.record();
                self.frames = vec![path];
            }
            EventKind::ArrayTableClose => {
                let path = self.record();
                let row = self.rows.entry(path.clone()).or_insert(0);
                *row += 1;
                self.frames = vec![format!("{path}#{row}")];
            }
            EventKind::KeyValSep => self.key = self.record(),
            EventKind::InlineTableOpen => {
                let in_list = self.lists.last().copied().unwrap_or(false);
                let path = if in_list {
                    format!("{}#{}", self.key, at.start)
                } else {
                    self.key.clone()
                };
                self.frames.push(path);
                self.lists.push(false);
            }
            EventKind::ArrayOpen => self.lists.push(true),
            EventKind::InlineTableClose => {
                self.key = self.frames.pop().unwrap_or_default();
                self.lists.pop();
                self.pending.clear();
            }
            EventKind::ArrayClose => {
                self.lists.pop();
            }
            _ => {}
        }
    }

    /// Notes the keys read since the last table or value, and returns the path they lead to.
    fn record(&mut self) -> String {
        let mut path = self.frames.last().cloned().unwrap_or_default();
        for (name, at) in self.pending.drain(..) {
            path.push(SEPARATOR);
            path.push_str(&name);
            self.uses.path_at.insert(at.start, path.clone());
            self.uses.first.entry(path.clone()).or_insert(at);
            if let Some(row) = self.rows.get(&path) {
                path = format!("{path}#{row}");
            }
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Parsed {
        parse(FileId(0), text)
    }

    #[test]
    fn tables_keep_the_order_of_the_file_and_their_places() {
        let parsed = read("[b]\nz = 1\na = \"x\"\n[a]\n");
        assert!(parsed.mistakes.is_empty());
        let names: Vec<&str> = parsed
            .root
            .entries()
            .iter()
            .map(|(k, _)| k.name.as_str())
            .collect();
        assert_eq!(names, ["b", "a"]);
        let b = parsed.root.get("b").unwrap();
        assert_eq!(b.entries()[0].0.name, "z");
        assert_eq!(
            (b.get("a").unwrap().span.start, b.get("a").unwrap().span.end),
            (14, 17)
        );
    }

    #[test]
    fn a_key_defined_twice_is_shown_with_its_first_place_wherever_it_is() {
        let cases = [
            ("a = 1\na = 2\n", 0, 6),
            ("[n.x]\nk = 1\n[n.y]\n[n.x]\n", 3, 21),
            (
                "[[s]]\nid = 1\n[s.f]\np = 1\n[[s]]\nid = 2\nid = 3\n",
                31,
                38,
            ),
            ("a = { b = 1, b = 2 }\n", 6, 13),
            ("a = [{ b = 1 }, { b = 2, b = 3 }]\n", 18, 25),
            ("a.b = 1\na.b = 2\n", 2, 10),
        ];
        for (text, first, second) in cases {
            let parsed = read(text);
            assert_eq!(parsed.mistakes.len(), 1, "{text}: {:?}", parsed.mistakes);
            let mistake = &parsed.mistakes[0];
            assert_eq!(mistake.code, "duplicate-key");
            assert_eq!(mistake.span.unwrap().start, second, "{text}");
            assert_eq!(mistake.related[0].0.start, first, "{text}");
            assert!(!parsed.broken);
        }
    }

    #[test]
    fn several_syntax_mistakes_are_all_found() {
        let parsed = read("a = \nb = yes\nc = 1\nd = \"x\n");
        assert!(parsed.broken);
        assert_eq!(parsed.mistakes.len(), 3, "{:?}", parsed.mistakes);
        assert!(parsed.root.get("c").is_some());
    }

    #[test]
    fn numbers_that_cannot_be_held_are_mistakes() {
        let parsed =
            read("a = 9223372036854775808\nb = nan\nc = 1e999\nd = 1_000\ne = 0xff\nf = -1\n");
        assert_eq!(parsed.mistakes.len(), 3, "{:?}", parsed.mistakes);
        assert_eq!(parsed.root.get("d").unwrap().data, Data::Integer(1000));
        assert_eq!(parsed.root.get("e").unwrap().data, Data::Integer(255));
        assert_eq!(parsed.root.get("f").unwrap().data, Data::Integer(-1));
    }
}
