//! Lines that give something called a password, or its like, a value that looks random.

use super::Kind;

/// Words that mean that the value is one.
const WORDS: [&str; 14] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "pass",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "credential",
    "credentials",
    "psk",
];

/// Pairs that mean the same when apart: `api_key`.
const PAIRS: [(&str, &str); 6] = [
    ("api", "key"),
    ("access", "key"),
    ("secret", "key"),
    ("private", "key"),
    ("encryption", "key"),
    ("auth", "key"),
];

/// Last words of names whose value is about a secret, and none.
const ABOUT: [&str; 18] = [
    "file",
    "path",
    "name",
    "ref",
    "id",
    "url",
    "uri",
    "type",
    "kind",
    "ttl",
    "length",
    "policy",
    "field",
    "env",
    "hash",
    "sha256",
    "fingerprint",
    "hint",
];

/// Whether a file is a program: there, only values in quotes count; the rest are names.
pub(super) fn is_code(path: &str) -> bool {
    const ENDS: [&str; 16] = [
        "rs", "go", "py", "js", "ts", "tsx", "jsx", "java", "kt", "c", "h", "cpp", "rb", "php",
        "lua", "swift",
    ];
    let end = path.rsplit_once('.').map(|(_, end)| end);
    end.is_some_and(|end| ENDS.contains(&end))
}

/// What a line gives away.
pub(super) fn find(line: &str, code: bool) -> Option<Kind> {
    // Data in one line is not written by hand.
    if line.len() > 2000 {
        return None;
    }
    assignments(line).find_map(|(name, rest)| {
        let speaks = speaks_of_secret(&name);
        let value = speaks.then(|| value(rest, code)).flatten()?;
        looks_random(value).then_some(Kind::Line(name))
    })
}

/// Names with what stands behind their `=` or `:`.
fn assignments(line: &str) -> impl Iterator<Item = (String, &str)> {
    line.char_indices()
        .filter(|(_, one)| matches!(one, '=' | ':'))
        .filter_map(|(at, _)| {
            let before = line
                .get(..at)?
                .trim_end()
                .trim_end_matches(['"', '\'', '?', '+', ':']);
            let rest = line.get(at + 1..)?;
            let name: String = {
                let tail = before.rsplit(|one: char| {
                    !(one.is_ascii_alphanumeric() || matches!(one, '_' | '-' | '.'))
                });
                tail.take(1).collect()
            };
            // `==`, `:=`, `=>`, `::` are no assignments of a value at this sign.
            let next = rest.chars().next();
            let operator = matches!(next, Some('=' | ':' | '>' | '~'));
            (!name.is_empty() && name.len() <= 60 && !operator).then_some((name, rest))
        })
}

/// Whether the words of a name say that its value is a secret.
fn speaks_of_secret(name: &str) -> bool {
    let words = words(name);
    let last = words.last().map_or("", String::as_str);
    if ABOUT.contains(&last) {
        return false;
    }
    words.iter().any(|word| WORDS.contains(&word.as_str()))
        || words
            .iter()
            .zip(words.iter().skip(1))
            .any(|(one, two)| PAIRS.contains(&(one, two)))
}

/// `adminPassword`, `admin_password`, `ADMIN-PASSWORD` -> admin, password.
fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut lower = false;
    for one in name.chars() {
        if !one.is_ascii_alphanumeric() || (lower && one.is_ascii_uppercase()) {
            words.push(std::mem::take(&mut word));
        }
        if one.is_ascii_alphanumeric() {
            word.push(one.to_ascii_lowercase());
        }
        lower = one.is_ascii_lowercase() || one.is_ascii_digit();
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// The value behind an assignment: in quotes, or (not in programs) the rest of the line.
fn value(rest: &str, code: bool) -> Option<&str> {
    let rest = rest.trim_start();
    for quote in ["'''", "\"\"\"", "\"", "'", "`"] {
        if let Some(inner) = rest.strip_prefix(quote) {
            return inner.split(quote).next();
        }
    }
    if code {
        return None;
    }
    let value = rest.split(" #").next().unwrap_or(rest).trim();
    let value = value.trim_end_matches([',', ';']);
    let calls = value.contains(['(', '[', '{', '<', '\\']) || value.contains("::");
    (!calls).then_some(value)
}

/// Whether nobody would call it a word, a path or a place to put something.
fn looks_random(value: &str) -> bool {
    let length = value.chars().count();
    if !(8..=512).contains(&length) || value.contains(char::is_whitespace) || is_placeholder(value)
    {
        return false;
    }
    let has = |of: fn(&char) -> bool| usize::from(value.chars().any(|one| of(&one)));
    let classes = has(char::is_ascii_lowercase)
        + has(char::is_ascii_uppercase)
        + has(char::is_ascii_digit)
        + has(|one| one.is_ascii_punctuation());
    // Names of things, and words put together.
    let wordy = value
        .chars()
        .all(|one| one.is_ascii_lowercase() || matches!(one, '-' | '_' | '/' | '.'));
    classes >= 2 && !wordy && entropy(value) * length as f64 >= 30.0
}

/// Shannon's entropy of the characters, in bits per character.
fn entropy(text: &str) -> f64 {
    let mut counts = std::collections::BTreeMap::new();
    for one in text.chars() {
        *counts.entry(one).or_insert(0_u32) += 1;
    }
    let length = f64::from(counts.values().sum::<u32>());
    let parts = counts.values().map(|count| f64::from(*count) / length);
    -parts.map(|part| part * part.log2()).sum::<f64>()
}

/// Whether it stands for a value, says where one is, or is public by itself.
pub(super) fn is_placeholder(value: &str) -> bool {
    const INSIDE: [&str; 17] = [
        "{{",
        "${",
        "$(",
        "%(",
        "}}",
        "changeme",
        "change-me",
        "change_me",
        "example",
        "placeholder",
        "xxxx",
        "****",
        "....",
        "redacted",
        "secret(",
        "your-",
        "your_",
    ];
    const START: [&str; 15] = [
        "$",
        "<",
        "%",
        "@",
        "/",
        "./",
        "~/",
        "http://",
        "https://",
        "age1",
        "ssh-",
        "sha256:",
        "ENC[",
        "!vault",
        "-----BEGIN AGE",
    ];
    let lower = value.to_ascii_lowercase();
    INSIDE.iter().any(|one| lower.contains(one)) || START.iter().any(|one| value.starts_with(one))
}
