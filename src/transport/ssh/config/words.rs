//! The words of ssh_config: how a line falls into a keyword and arguments, how patterns match, how tokens are filled in.
//! As OpenSSH's `strdelim`, `argv_split`, `match_pattern` and `percent_dollar_expand` do it.

const BLANK: [char; 4] = [' ', '\t', '\r', '\n'];

/// A line as keyword and the rest; `None` for a blank line or a comment. Between the two stand blanks, one `=`, or both.
pub(super) fn keyword(line: &str) -> Option<(&str, &str)> {
    let line = line.trim_start_matches(BLANK);
    let line = line.trim_end_matches([' ', '\t', '\r', '\n', '\u{c}']);
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (word, rest) = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
        None => {
            let end = line
                .find(|c| BLANK.contains(&c) || c == '=')
                .unwrap_or(line.len());
            line.split_at_checked(end).unwrap_or((line, ""))
        }
    };
    let rest = rest.trim_start_matches(BLANK);
    let rest = rest.strip_prefix('=').unwrap_or(rest);
    Some((word, rest.trim_start_matches(BLANK)))
}

/// Arguments: parted by blanks, quoted by `"` or `'`, with `\` before a quote, a `\` or (unquoted) a blank; a `#` that
/// begins a word ends the line. `None` where a quote is not closed.
pub(super) fn arguments(text: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
        match rest.peek() {
            None | Some('#') => return Some(found),
            Some(_) => found.push(argument(&mut rest)?),
        }
    }
}

fn argument(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<String> {
    let mut word = String::new();
    let mut quote: Option<char> = None;
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('\\', _) => {
                let escaped = |next: &char| {
                    matches!(next, '\'' | '"' | '\\') || (quote.is_none() && *next == ' ')
                };
                word.push(rest.next_if(escaped).unwrap_or('\\'));
            }
            (' ' | '\t', None) => return Some(word),
            ('"' | '\'', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            (c, _) => word.push(c),
        }
    }
    quote.is_none().then_some(word)
}

/// Whether a text matches a pattern of `*` (any characters) and `?` (one).
pub fn matches(pattern: &str, text: &str) -> bool {
    wild(pattern, text, |pattern, c| match pattern {
        ['?', ..] => Some(1),
        [first, ..] => (*first == c).then_some(1),
        [] => None,
    })
}

/// Whether a text matches a pattern in which `*` stands for any characters. `one` says how much of the rest of a pattern a
/// character takes; `None` where it does not match.
fn wild(pattern: &str, text: &str, one: impl Fn(&[char], char) -> Option<usize>) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where to go on when the last `*` takes one character more.
    let mut back: Option<(usize, usize)> = None;
    while let Some(c) = text.get(t) {
        let rest = pattern.get(p..).unwrap_or_default();
        if rest.first() == Some(&'*') {
            back = Some((p + 1, t));
            p += 1;
        } else if let Some(used) = one(rest, *c) {
            p += used;
            t += 1;
        } else if let Some((after, from)) = back {
            back = Some((after, from + 1));
            (p, t) = (after, from + 1);
        } else {
            return false;
        }
    }
    let rest = pattern.get(p..).unwrap_or_default();
    rest.iter().all(|c| *c == '*')
}

/// Whether a text matches a list of patterns, of which none with `!` in front may match. `Some(false)`: one did.
pub fn matches_list<'a>(patterns: impl IntoIterator<Item = &'a str>, text: &str) -> Option<bool> {
    let mut found = None;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(negated) if matches(negated, text) => return Some(false),
            None if matches(pattern, text) => found = Some(true),
            _ => {}
        }
    }
    found
}

/// Whether a file name matches a pattern of a shell: `*`, `?`, `[abc]`, `[a-z]`, `[!a]`. A leading dot is not guessed.
pub fn glob_matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    wild(pattern, name, one)
}

/// How much of a pattern one character takes; `None` where it does not match.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern {
        ['?', ..] => Some(1),
        ['[', rest @ ..] => {
            let negated = matches!(rest.first(), Some('!' | '^'));
            let start = usize::from(negated);
            // A `]` that comes first is one of the characters.
            let end = start + 1 + rest.get(start + 1..)?.iter().position(|c| *c == ']')?;
            let set = rest.get(start..end)?;
            let mut found = false;
            let mut at = 0;
            while let Some(from) = set.get(at) {
                match (set.get(at + 1), set.get(at + 2)) {
                    (Some('-'), Some(to)) => {
                        found |= (*from..=*to).contains(&c);
                        at += 3;
                    }
                    _ => {
                        found |= *from == c;
                        at += 1;
                    }
                }
            }
            (found != negated).then_some(end + 2)
        }
        [first, ..] => (*first == c).then_some(1),
        [] => None,
    }
}

/// Fills in `%x` tokens; `%%` is one `%`. Says what is wrong with a token that has no meaning here.
pub fn fill(text: &str, token: impl Fn(char) -> Option<String>) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '%' {
            filled.push(c);
            continue;
        }
        match rest.next() {
            Some('%') => filled.push('%'),
            Some(name) => match token(name) {
                Some(value) => filled.push_str(&value),
                None => return Err(format!("the token `%{name}` is not supported here")),
            },
            None => return Err("it ends with a single `%`".to_owned()),
        }
    }
    Ok(filled)
}

/// Fills in `${NAME}`. What is filled in is no token any more. A variable that is not set stays as it is written.
pub(super) fn variables(text: &str, value: &dyn Fn(&str) -> Option<String>) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        filled.push_str(before);
        match after
            .split_once('}')
            .map(|(name, rest)| (name, value(name), rest))
        {
            Some((_, Some(found), next)) => {
                filled.push_str(&found.replace('%', "%%"));
                rest = next;
            }
            _ => {
                filled.push_str("${");
                rest = after;
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_keyword_and_a_rest_with_blanks_or_one_equals_sign_between() {
        for line in [
            "Port 22",
            "Port=22",
            "Port = 22",
            "  Port\t =22 \t",
            "\"Port\" 22",
            "Port= 22\u{c}",
        ] {
            assert_eq!(keyword(line), Some(("Port", "22")), "{line:?}");
        }
        assert_eq!(keyword("Port == 22"), Some(("Port", "= 22")));
        assert_eq!(keyword("Port"), Some(("Port", "")));
        for line in ["", "   ", "# Port 22", "\t#"] {
            assert_eq!(keyword(line), None, "{line:?}");
        }
    }

    #[test]
    fn arguments_are_parted_quoted_and_escaped_as_in_openssh() {
        let is = |text: &str, words: &[&str]| {
            assert_eq!(arguments(text).unwrap(), words, "{text:?}");
        };
        is("a b\tc", &["a", "b", "c"]);
        is("\"a b\" 'c d'", &["a b", "c d"]);
        is(r#"a\ b "c\"d" e\f \\"#, &["a b", "c\"d", "e\\f", "\\"]);
        is("x\"y z\"w", &["xy zw"]);
        is("a # b", &["a"]);
        is("a#b", &["a#b"]);
        is("\"\"", &[""]);
        assert_eq!(arguments("\"a"), None);
        assert_eq!(arguments("a 'b"), None);
    }

    #[test]
    fn patterns_know_any_characters_and_one_character() {
        for (pattern, text, yes) in [
            ("*", "", true),
            ("*", "x", true),
            ("?", "", false),
            ("pi?-*", "pi5-01", true),
            ("pi?-*", "pi55-01", false),
            ("*.lan", "a.b.lan", true),
            ("*.lan", "lan", false),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbY", false),
            ("abc", "ABC", false),
        ] {
            assert_eq!(matches(pattern, text), yes, "{pattern} {text}");
        }
        assert_eq!(matches_list(["*", "!pi*"], "pi5"), Some(false));
        assert_eq!(matches_list(["!x", "y"], "z"), None);
        assert_eq!(matches_list(["!x", "*"], "z"), Some(true));
    }

    #[test]
    fn file_names_match_as_in_a_shell() {
        for (pattern, name, yes) in [
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", false),
            (".*", ".conf", true),
            ("[0-9][0-9]-*", "10-x", true),
            ("[0-9]*", "x", false),
            ("[!a]b", "cb", true),
            ("[!a]b", "ab", false),
            ("[]]", "]", true),
            ("[a", "[a", false),
            ("a?c", "abc", true),
        ] {
            assert_eq!(glob_matches(pattern, name), yes, "{pattern} {name}");
        }
    }

    #[test]
    fn tokens_and_variables_are_filled_in_once() {
        let token = |c| (c == 'h').then(|| "host%h".to_owned());
        assert_eq!(fill("a%h%%b", token).unwrap(), "ahost%h%b");
        assert!(fill("%q", token).is_err());
        assert!(fill("%", token).is_err());
        let value = |name: &str| (name == "A").then(|| "1%h".to_owned());
        assert_eq!(variables("x${A}y${B}${A", &value), "x1%%hy${B}${A");
    }
}
