//! Reads Rust source just well enough to know which paths it names: comments and literals are skipped, groups are
//! spelled out, `super` is resolved.

use std::path::{Path, PathBuf};

/// A path that a file names, from its root: `["crate", "model", "id"]`, `["std", "fs", "read"]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Use {
    pub line: usize,
    pub path: Vec<String>,
    /// Inside `#[cfg(test)]`.
    pub test: bool,
}

/// An attribute: the words in it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attribute {
    pub line: usize,
    pub words: Vec<String>,
}

/// What a file names.
#[derive(Debug, Default)]
pub struct Source {
    pub uses: Vec<Use>,
    pub attributes: Vec<Attribute>,
    /// `mod name;`: the modules in files of their own, and whether only tests have them.
    pub modules: Vec<(String, bool)>,
}

/// All Rust files below a folder, in order.
pub fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ext| ext == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

/// The module a file below `src/` is: `["steps", "file"]`.
pub fn module_of(below_src: &Path) -> Vec<String> {
    let mut parts: Vec<String> = below_src
        .with_extension("")
        .iter()
        .map(|part| part.to_str().unwrap().to_owned())
        .collect();
    if matches!(
        parts.last().map(String::as_str),
        Some("mod" | "lib" | "main")
    ) {
        parts.pop();
    }
    parts
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    Word(String),
    Sign(char),
    /// `::`
    Path,
}

/// Reads a file that is the module `module`.
pub fn read(text: &str, module: &[String]) -> Source {
    Reader {
        tokens: tokens(text),
        at: 0,
        module: module.to_vec(),
        inline: Vec::new(),
        depth: 0,
        test_pending: false,
        found: Source::default(),
    }
    .read()
}

struct Reader {
    tokens: Vec<(usize, Token)>,
    at: usize,
    module: Vec<String>,
    /// Inline modules we are in: brace depth outside of it, whether it is for tests.
    inline: Vec<(usize, bool)>,
    depth: usize,
    test_pending: bool,
    found: Source,
}

impl Reader {
    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead).map(|(_, token)| token)
    }

    fn word(&self, ahead: usize) -> Option<String> {
        match self.peek(ahead) {
            Some(Token::Word(word)) => Some(word.clone()),
            _ => None,
        }
    }

    fn in_test(&self) -> bool {
        self.inline.iter().any(|(_, test)| *test)
    }

    fn read(mut self) -> Source {
        while let Some((line, token)) = self.tokens.get(self.at).cloned() {
            match token {
                Token::Sign('#') => self.attribute(line),
                Token::Sign('{') => {
                    self.depth += 1;
                    self.at += 1;
                }
                Token::Sign('}') => {
                    self.depth -= 1;
                    if self
                        .inline
                        .last()
                        .is_some_and(|(outside, _)| *outside == self.depth)
                    {
                        self.inline.pop();
                    }
                    self.at += 1;
                }
                Token::Sign(';') => {
                    self.test_pending = false;
                    self.at += 1;
                }
                Token::Word(word) if word == "mod" => self.module(),
                Token::Word(word) if self.peek(1) == Some(&Token::Path) => {
                    self.path(line, &word);
                }
                _ => self.at += 1,
            }
        }
        self.found
    }

    fn attribute(&mut self, line: usize) {
        let mut at = self.at + 1;
        let token = |at: usize| self.tokens.get(at).map(|(_, token)| token);
        if token(at) == Some(&Token::Sign('!')) {
            at += 1;
        }
        if token(at) != Some(&Token::Sign('[')) {
            self.at += 1;
            return;
        }
        let (mut open, mut words) = (0, Vec::new());
        while let Some(token) = token(at) {
            match token {
                Token::Sign('[') => open += 1,
                Token::Sign(']') => open -= 1,
                Token::Word(word) => words.push(word.clone()),
                _ => {}
            }
            at += 1;
            if open == 0 {
                break;
            }
        }
        self.test_pending |= words == ["cfg", "test"];
        self.found.attributes.push(Attribute { line, words });
        self.at = at;
    }

    fn module(&mut self) {
        let name = self.word(1);
        let test = std::mem::take(&mut self.test_pending);
        match (name, self.peek(2)) {
            (Some(_), Some(Token::Sign('{'))) => {
                self.inline.push((self.depth, test));
                self.depth += 1;
                self.at += 3;
            }
            (Some(name), Some(Token::Sign(';'))) => {
                self.found.modules.push((name, test));
                self.at += 3;
            }
            _ => self.at += 1,
        }
    }

    /// Reads `root::...`, also with groups.
    fn path(&mut self, line: usize, root: &str) {
        let here = self.module.len() + self.inline.len();
        let mut start = match root {
            "crate" => vec!["crate".to_owned()],
            "self" | "super" => {
                let up = usize::from(root == "super");
                self.levels_from_root(here.saturating_sub(up))
            }
            other => vec![other.to_owned()],
        };
        self.at += 2;
        let mut up = 1;
        while self.word(0).as_deref() == Some("super") && self.peek(1) == Some(&Token::Path) {
            up += 1;
            start = self.levels_from_root(here.saturating_sub(up));
            self.at += 2;
        }
        self.rest(line, start);
    }

    /// The path of the first `depth` levels of where we are. Inline modules have no names here: none is at the top.
    fn levels_from_root(&self, depth: usize) -> Vec<String> {
        let levels = self.module.iter().cloned();
        let levels = levels.chain(std::iter::repeat_n("inline".to_owned(), self.inline.len()));
        std::iter::once("crate".to_owned())
            .chain(levels.take(depth))
            .collect()
    }

    fn rest(&mut self, line: usize, mut path: Vec<String>) {
        loop {
            match self.peek(0).cloned() {
                Some(Token::Word(word)) => {
                    path.push(word);
                    self.at += 1;
                    if self.peek(0) != Some(&Token::Path) {
                        break;
                    }
                    self.at += 1;
                }
                Some(Token::Sign('{')) => {
                    self.group(&path);
                    return;
                }
                _ => break,
            }
        }
        let test = self.in_test();
        self.found.uses.push(Use { line, path, test });
    }

    fn group(&mut self, path: &[String]) {
        self.at += 1;
        while let Some((line, token)) = self.tokens.get(self.at).cloned() {
            match token {
                Token::Sign('}') => {
                    self.at += 1;
                    return;
                }
                Token::Word(word) if word == "as" => self.at += 2,
                Token::Word(_) => self.rest(line, path.to_vec()),
                _ => self.at += 1,
            }
        }
    }
}

/// Splits source into words and signs; comments and literals are left out.
fn tokens(text: &str) -> Vec<(usize, Token)> {
    let bytes: Vec<char> = text.chars().collect();
    let (mut at, mut line, mut found) = (0, 1, Vec::new());
    let get = |at: usize| bytes.get(at).copied().unwrap_or('\0');
    while at < bytes.len() {
        let c = get(at);
        let from = at;
        match c {
            '/' if get(at + 1) == '/' => at = until(&bytes, at, |c| c == '\n'),
            '/' if get(at + 1) == '*' => at = block_comment(&bytes, at),
            '"' => at = string(&bytes, at),
            'r' | 'b' | 'c' if let Some(end) = prefixed_literal(&bytes, at) => at = end,
            '\'' => at = char_or_lifetime(&bytes, at),
            c if c.is_alphanumeric() || c == '_' => {
                at = until(&bytes, at, |c| !(c.is_alphanumeric() || c == '_'));
                found.push((line, Token::Word(bytes[from..at].iter().collect())));
            }
            ':' if get(at + 1) == ':' => {
                found.push((line, Token::Path));
                at += 2;
            }
            c => {
                if !c.is_whitespace() {
                    found.push((line, Token::Sign(c)));
                }
                at += 1;
            }
        }
        line += bytes[from..at].iter().filter(|c| **c == '\n').count();
    }
    found
}

fn until(text: &[char], from: usize, stop: impl Fn(char) -> bool) -> usize {
    let found = text[from..].iter().position(|c| stop(*c));
    found.map_or(text.len(), |offset| from + offset)
}

fn block_comment(text: &[char], from: usize) -> usize {
    let (mut at, mut open) = (from, 0);
    while at + 1 < text.len() {
        match (text[at], text[at + 1]) {
            ('/', '*') => (open, at) = (open + 1, at + 2),
            ('*', '/') => (open, at) = (open - 1, at + 2),
            _ => at += 1,
        }
        if open == 0 {
            return at;
        }
    }
    text.len()
}

/// A string from its opening quote to behind its closing one.
fn string(text: &[char], from: usize) -> usize {
    let mut at = from + 1;
    while at < text.len() && text[at] != '"' {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// `r"..."`, `r#"..."#`, `b"..."`, `b'x'`, `br#"..."#`, `c"..."`: where it ends.
fn prefixed_literal(text: &[char], from: usize) -> Option<usize> {
    let quote = until(text, from, |c| !matches!(c, 'r' | 'b' | 'c' | '#'));
    let prefix: String = text[from..quote].iter().collect();
    let hashes = prefix.chars().filter(|c| *c == '#').count();
    let letters = prefix.trim_end_matches('#');
    match text.get(quote)? {
        '"' if letters.contains('r') && letters.len() <= 2 => {
            let close: Vec<char> = std::iter::once('"').chain(vec!['#'; hashes]).collect();
            let end = text[quote + 1..]
                .windows(close.len())
                .position(|w| w == close)?;
            Some(quote + 1 + end + close.len())
        }
        '"' if hashes == 0 && letters.len() == 1 => Some(string(text, quote)),
        '\'' if prefix == "b" => Some(char_or_lifetime(text, quote)),
        _ => None,
    }
}

fn char_or_lifetime(text: &[char], from: usize) -> usize {
    match (text.get(from + 1), text.get(from + 2)) {
        (Some('\\'), _) => until(text, from + 3, |c| c == '\'') + 1,
        (Some(_), Some('\'')) => from + 3,
        _ => from + 1,
    }
}
