//! Which values an expression looks at: `facts.os.memory`, `read.motd.size`. For messages only, so what it cannot
//! follow (a name put together at run time) is left out.

use serde_json::Value;

use crate::model::template::Scope;

/// A dotted path into `facts` or `read`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Path {
    /// `facts` or `read`.
    pub root: String,
    /// Names and list positions below it.
    pub parts: Vec<String>,
}

impl Path {
    /// The value, and the part of the path that leads to it: what follows (a method, a filter) is no key.
    pub fn look_up<'a>(&self, scope: &'a Scope) -> Option<(String, &'a Value)> {
        let mut value = scope.get(&self.root)?;
        let mut name = self.root.clone();
        for part in &self.parts {
            let below = match value {
                Value::Array(items) => part.parse().ok().and_then(|index: usize| items.get(index)),
                other => other.get(part),
            };
            let Some(below) = below else { break };
            value = below;
            name.push('.');
            name.push_str(part);
        }
        (name != self.root).then_some((name, value))
    }
}

/// Whether a text is a name that an expression can use after a dot.
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && text.chars().all(is_word)
}

/// The paths in an expression, each once, in the order of their first use.
pub fn of(expression: &str) -> Vec<Path> {
    let mut found: Vec<Path> = Vec::new();
    let mut rest = expression;
    let mut before = ' ';
    while let Some(c) = rest.chars().next() {
        if c == '"' || c == '\'' {
            rest = skip_text(rest, c);
            before = c;
            continue;
        }
        let word_end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if word_end == 0 {
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
            before = c;
            continue;
        }
        let (word, tail) = rest.split_at(word_end);
        rest = tail;
        if matches!(word, "facts" | "read") && before != '.' {
            let (parts, tail) = parts(rest);
            rest = tail;
            let path = Path {
                root: word.to_owned(),
                parts,
            };
            if !path.parts.is_empty() && !found.contains(&path) {
                found.push(path);
            }
        }
        before = 'x';
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// What follows a quoted text.
fn skip_text(text: &str, quote: char) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return text.get(at + 1..).unwrap_or_default(),
            _ => {}
        }
    }
    ""
}

/// `.name`, `[0]` and `["name"]`, as many as follow.
fn parts(mut rest: &str) -> (Vec<String>, &str) {
    let mut parts = Vec::new();
    loop {
        let next = match rest.as_bytes().first() {
            Some(b'.') => rest.get(1..).and_then(|tail| {
                let end = tail.find(|c| !is_word(c)).unwrap_or(tail.len());
                (end > 0).then(|| tail.split_at(end))
            }),
            Some(b'[') => rest
                .get(1..)
                .and_then(|tail| tail.split_once(']'))
                .map(|(key, tail)| (key.trim().trim_matches(['"', '\'']), tail))
                .filter(|(key, _)| !key.is_empty() && key.chars().all(is_word)),
            _ => None,
        };
        match next {
            Some((part, tail)) => {
                parts.push(part.to_owned());
                rest = tail;
            }
            None => return (parts, rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(expression: &str) -> Vec<String> {
        of(expression)
            .into_iter()
            .map(|path| format!("{}.{}", path.root, path.parts.join(".")))
            .collect()
    }

    #[test]
    fn paths_are_found_outside_quotes_and_each_once() {
        assert_eq!(
            names("facts.os.memory >= 512 and 'facts.os.id' != facts.os.memory"),
            ["facts.os.memory"]
        );
        assert_eq!(
            names("read.a.stdout|trim == \"x\\\"read.b\" or facts['net'].links[0].name == ''"),
            ["read.a.stdout", "facts.net.links.0.name"]
        );
        assert_eq!(
            names("x.facts.os == artifacts.os and facts"),
            Vec::<String>::new()
        );
        assert_eq!(names("'read.a"), Vec::<String>::new());
        assert_eq!(names("\u{e4}read.a"), ["read.a"]);
    }

    #[test]
    fn a_value_is_looked_up_as_far_as_the_path_is_one() {
        let os = serde_json::json!({ "os": { "id": "debian", "like": ["a"] } });
        let names = Scope::default().with("facts", os);
        let look = |text: &str| {
            of(text)[0]
                .look_up(&names)
                .map(|(name, value)| format!("{name}={value}"))
        };
        assert_eq!(
            look("facts.os.id.startswith('d')").as_deref(),
            Some("facts.os.id=\"debian\"")
        );
        assert_eq!(
            look("facts.os.like[0]").as_deref(),
            Some("facts.os.like.0=\"a\"")
        );
        assert_eq!(look("facts.gone.x"), None);
    }
}
