//! Secrets made at random: passwords, tokens, keys. Every choice is even, from the system's own randomness.

use russh::keys::PrivateKey;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{Ed25519Keypair, KeypairData};
use zeroize::Zeroizing;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::SecretValue;
use crate::model::mistake::nearest;
use crate::model::outcome::Failure;

/// Fewer bits can be tried out by a machine that holds the hash.
pub const WEAK_BITS: u32 = 64;

/// What to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sort {
    /// Characters of a set; the length counts characters.
    Password,
    /// Bytes as URL-safe base64 without padding; the length counts bytes.
    Token,
    /// Bytes as hex; the length counts bytes.
    Hex,
    /// Bytes as standard base64; the length counts bytes.
    Base64,
    /// Bytes as they are; the length counts bytes.
    Bytes,
    /// An SSH key pair; the private key in OpenSSH's form.
    SshEd25519,
}

/// What was made.
#[derive(Debug)]
pub struct Generated {
    /// The secret.
    pub value: SecretValue,
    /// How many bits of it nobody knows.
    pub bits: u32,
    /// What may be known of it: the public key.
    pub public: Option<String>,
}

/// Sets of characters by name.
const SETS: [(&str, &str); 5] = [
    (
        "alnum",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
    ),
    // Without those that are taken for others when read aloud or typed from a sheet.
    (
        "safe",
        "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789",
    ),
    ("lower", "abcdefghijklmnopqrstuvwxyz0123456789"),
    ("digits", "0123456789"),
    (
        "symbols",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&()*+,-./:;<=>?@[]^_{|}~",
    ),
];

/// Makes a secret.
///
/// `length` counts as [`Sort`] says (default: 32). `charset`, for passwords: `alnum` (default), `safe`, `lower`, `digits`,
/// `symbols`, or `chars:` and the characters themselves.
///
/// # Errors
///
/// A length or a set that cannot be, or that does not belong to the sort; a system without randomness.
pub fn generate(
    sort: Sort,
    length: Option<usize>,
    charset: Option<&str>,
) -> Result<Generated, Failure> {
    if charset.is_some() && sort != Sort::Password {
        return Err(Failure::new("only a password has a set of characters")
            .hint("leave --charset out, or generate a password"));
    }
    if length.is_some() && sort == Sort::SshEd25519 {
        return Err(
            Failure::new("the length of an ssh-ed25519 key is given").hint("leave --length out")
        );
    }
    let length = length.unwrap_or(32);
    if !(1..=4096).contains(&length) {
        return Err(
            Failure::new(format!("{length} cannot be the length of a secret"))
                .hint("from 1 to 4096; 32 is plenty"),
        );
    }
    match sort {
        Sort::Password => password(length, &set(charset.unwrap_or("alnum"))?),
        Sort::SshEd25519 => ssh_key(),
        Sort::Token => encoded(length, |bytes| URL_SAFE_NO_PAD.encode(bytes).into_bytes()),
        Sort::Base64 => encoded(length, |bytes| STANDARD.encode(bytes).into_bytes()),
        Sort::Bytes => encoded(length, <[u8]>::to_vec),
        Sort::Hex => encoded(length, |bytes| {
            let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
            digits
                .map(|digit| {
                    if digit < 10 {
                        b'0' + digit
                    } else {
                        b'a' + digit - 10
                    }
                })
                .collect()
        }),
    }
}

/// The characters of a set, by its name or as they are.
fn set(name: &str) -> Result<Vec<char>, Failure> {
    if let Some(characters) = name.strip_prefix("chars:") {
        let mut set: Vec<char> = characters.chars().collect();
        set.sort_unstable();
        set.dedup();
        if set.len() < 2 || set.iter().any(|one| one.is_control()) {
            return Err(Failure::new("these characters make no password")
                .hint("give at least two that can be seen: --charset chars:abc123"));
        }
        return Ok(set);
    }
    let found = SETS.iter().find(|(known, _)| *known == name);
    found.map(|(_, set)| set.chars().collect()).ok_or_else(|| {
        let failure = Failure::new(format!("there is no set of characters {name:?}"));
        let names = SETS.map(|(name, _)| name);
        match nearest(name, names) {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None => failure.hint(format!(
                "use {}, or chars: and the characters",
                names.join(", ")
            )),
        }
    })
}

fn password(length: usize, set: &[char]) -> Result<Generated, Failure> {
    let widest = set.iter().map(|one| one.len_utf8()).max().unwrap_or(1);
    let mut text = Zeroizing::new(Vec::with_capacity(length * widest));
    let mut letter = [0; 4];
    for _ in 0..length {
        let one = set.get(below(set.len())?).copied().unwrap_or('?');
        text.extend_from_slice(one.encode_utf8(&mut letter).as_bytes());
    }
    // A secret is shorter than 2^32 bits, and a set has fewer than 2^32 characters.
    let bits = (set.len() as f64).log2() * length as f64;
    Ok(Generated {
        value: SecretValue::from_zeroizing(text),
        bits: bits as u32,
        public: None,
    })
}

/// A number from 0 to `count` - 1, each as likely: draws that would favour the first ones are drawn again.
fn below(count: usize) -> Result<usize, Failure> {
    let count = count as u64;
    let even = u64::MAX - u64::MAX % count;
    loop {
        let mut bytes = [0; 8];
        fill(&mut bytes)?;
        let number = u64::from_le_bytes(bytes);
        if number < even {
            // Smaller than a usize: `count` was one.
            return Ok((number % count) as usize);
        }
    }
}

fn encoded(length: usize, encode: impl Fn(&[u8]) -> Vec<u8>) -> Result<Generated, Failure> {
    let mut bytes = Zeroizing::new(vec![0; length]);
    fill(&mut bytes)?;
    Ok(Generated {
        value: SecretValue::new(encode(&bytes)),
        bits: length as u32 * 8,
        public: None,
    })
}

fn ssh_key() -> Result<Generated, Failure> {
    let failed = |_| {
        Failure::new("the SSH key cannot be put in words")
            .hint("this is a fault of hmco-boot: make it with ssh-keygen and `secrets set NAME --from-file`")
    };
    let mut seed = Zeroizing::new([0; 32]);
    fill(&mut *seed)?;
    let pair = KeypairData::Ed25519(Ed25519Keypair::from_seed(&seed));
    let key = PrivateKey::new(pair, "").map_err(failed)?;
    let public = key.public_key().to_openssh().map_err(failed)?;
    let text = key.to_openssh(LineEnding::LF).map_err(failed)?;
    Ok(Generated {
        value: SecretValue::new(text.as_bytes().to_vec()),
        bits: 128,
        public: Some(public),
    })
}

fn fill(bytes: &mut [u8]) -> Result<(), Failure> {
    getrandom::fill(bytes).map_err(|error| {
        Failure::new(format!("the system gives no randomness: {error}"))
            .hint("see why /dev/urandom cannot be read; nothing weaker is used instead")
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn text(sort: Sort, length: Option<usize>, charset: Option<&str>) -> String {
        let made = generate(sort, length, charset).unwrap();
        made.value.text().unwrap().to_owned()
    }

    #[test]
    fn every_sort_has_its_alphabet_and_its_length() {
        assert_eq!(text(Sort::Password, None, None).len(), 32);
        assert_eq!(text(Sort::Hex, Some(16), None).len(), 32);
        assert_eq!(text(Sort::Token, Some(32), None).len(), 43);
        assert_eq!(text(Sort::Base64, Some(32), None).len(), 44);
        assert_eq!(generate(Sort::Bytes, Some(9), None).unwrap().value.len(), 9);
        assert!(
            text(Sort::Hex, Some(200), None)
                .bytes()
                .all(|b| b.is_ascii_hexdigit())
        );
        let digits = text(Sort::Password, Some(500), Some("digits"));
        assert!(digits.bytes().all(|b| b.is_ascii_digit()));
        let own = text(Sort::Password, Some(500), Some("chars:äb"));
        assert!(
            own.chars().all(|c| c == 'ä' || c == 'b') && own.contains('ä') && own.contains('b')
        );
        assert_ne!(
            text(Sort::Password, None, None),
            text(Sort::Password, None, None)
        );
    }

    #[test]
    fn no_character_is_likelier_than_another() {
        // 62 does not divide a power of two. With 62,000 draws, the count of one character is within 6 standard
        // deviations (190) of 1000, or the choice is uneven.
        let mut counts = BTreeMap::new();
        for _ in 0..20 {
            for one in text(Sort::Password, Some(3100), None).chars() {
                *counts.entry(one).or_insert(0_i32) += 1;
            }
        }
        assert_eq!(counts.len(), 62);
        assert!(
            counts.values().all(|count| (count - 1000).abs() < 190),
            "{counts:?}"
        );
    }

    #[test]
    fn the_bits_are_those_of_the_choice() {
        assert_eq!(
            generate(Sort::Password, Some(10), Some("digits"))
                .unwrap()
                .bits,
            33
        );
        assert_eq!(generate(Sort::Hex, Some(16), None).unwrap().bits, 128);
    }

    #[test]
    fn an_ssh_key_is_one_that_can_be_read_again_and_fits_its_public_key() {
        let made = generate(Sort::SshEd25519, None, None).unwrap();
        let key = PrivateKey::from_openssh(made.value.expose()).unwrap();
        assert_eq!(key.public_key().to_openssh().unwrap(), made.public.unwrap());
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_way_out() {
        for (sort, length, charset, words) in [
            (Sort::Password, Some(0), None, "0 cannot be"),
            (Sort::Password, Some(5000), None, "5000 cannot be"),
            (Sort::Password, None, Some("alnm"), "no set of characters"),
            (Sort::Password, None, Some("chars:aa"), "make no password"),
            (Sort::Hex, None, Some("digits"), "only a password"),
            (Sort::SshEd25519, Some(1), None, "is given"),
        ] {
            let failure = generate(sort, length, charset).unwrap_err();
            assert!(failure.message.contains(words), "{failure:?}");
            assert!(failure.hint.is_some());
        }
        let hint = generate(Sort::Password, None, Some("alnm"))
            .unwrap_err()
            .hint;
        assert_eq!(hint.unwrap(), "did you mean `alnum`?");
    }
}
