//! What of a file from a sensitive place looks secret. Its plain words must stay words: a kubeconfig also says
//! `kind: Config`, and a report without that could not be read.

/// Letters and digits in a row that are taken for a key.
const KEY: usize = 16;

/// Words in the name of a setting whose value is secret, however it looks.
const NAMES: [&str; 8] = [
    "pass", "secret", "token", "key", "cred", "auth", "data", "pwd",
];

/// Bytes of a file that are looked through.
const MOST: usize = 1 << 20;

/// The values in a file: all of it where it is one line, else the lines and settings that look secret.
pub(super) fn values(content: &[u8]) -> Vec<&[u8]> {
    let content = content.get(..MOST).unwrap_or(content).trim_ascii();
    let Ok(text) = std::str::from_utf8(content) else {
        return vec![content];
    };
    if !text.contains('\n') {
        return vec![content];
    }
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        let setting = line.split_once(['=', ':']).map(|(name, value)| {
            let value = value.trim().trim_matches(['"', '\'', ',']);
            (name.to_ascii_lowercase(), value)
        });
        match setting {
            Some((name, value)) if is_secret(&name, value) => found.push(value.as_bytes()),
            _ if is_key(line) => found.push(line.as_bytes()),
            _ => {}
        }
    }
    found
}

fn is_secret(name: &str, value: &str) -> bool {
    let named = NAMES.iter().any(|word| name.contains(word));
    let words = ["true", "false", "none", "null", "yes", "no"];
    (named && value.len() >= super::SHORT && !words.contains(&value)) || is_key(value)
}

/// Whether a text has a part that looks like a key: long, of letters and digits.
fn is_key(text: &str) -> bool {
    let part = |c: char| !(c.is_ascii_alphanumeric() || "+/=_-".contains(c));
    text.split(part).any(|part| {
        part.len() >= KEY
            && part.bytes().any(|b| b.is_ascii_digit())
            && part.bytes().any(|b| b.is_ascii_alphabetic())
            && !part.starts_with("-----")
    })
}
