//! Lines of authorized_keys files, sshd(8): options, type, key, comment.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Types that OpenSSH takes for public keys.
fn is_type(word: &str) -> bool {
    let known = [
        "ssh-ed25519",
        "ssh-rsa",
        "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    ];
    known.contains(&word)
        || word.starts_with("ecdsa-sha2-nistp")
        || word.ends_with("-cert-v01@openssh.com")
}

/// Type and key of a line, wherever its options end (they may hold blanks in quotes).
pub fn key_of(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let mut quoted = false;
    let mut before = ' ';
    let words: Vec<&str> = line
        .split(|c: char| {
            quoted ^= c == '"' && before != '\\';
            before = c;
            c.is_whitespace() && !quoted
        })
        .filter(|word| !word.is_empty())
        .collect();
    words.windows(2).take(2).find_map(|pair| match pair {
        [kind, key] if is_type(kind) => Some((*kind, *key)),
        _ => None,
    })
}

/// What stands before type and key of a line.
pub fn options_of(line: &str) -> &str {
    let line = line.trim();
    let Some((kind, body)) = key_of(line) else {
        return "";
    };
    // Options may hold the same words in quotes, a comment as well: it is the first place where the two follow each other.
    let place = line.match_indices(kind).find_map(|(place, _)| {
        let rest = line.get(place + kind.len()..)?;
        let follows = rest.trim_start().starts_with(body) && rest.starts_with(char::is_whitespace);
        follows.then_some(place)
    });
    place
        .and_then(|place| line.get(..place))
        .unwrap_or_default()
        .trim_end()
}

/// Whether a key's base64 says of itself that it is of this type: a line that was cut or glued wrongly does not.
pub fn is_body(kind: &str, body: &str) -> bool {
    let Ok(bytes) = STANDARD.decode(body) else {
        return false;
    };
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return false;
    };
    let length = u32::from_be_bytes(*length) as usize;
    rest.get(..length) == Some(kind.as_bytes()) && rest.len() > length
}
