//! The key of a reader, and the short digest that people and headers name it by.

use std::fmt;
use std::str::FromStr;

use age::ssh::ParseRecipientKeyError;
use sha2::{Digest, Sha256};

use crate::model::outcome::Failure;

/// A public key that values are encrypted to: age X25519, ssh-ed25519 or ssh-rsa. Its text is canonical: no comment, one
/// space.
#[derive(Clone)]
pub struct RecipientKey {
    inner: Inner,
    text: String,
}

#[derive(Clone)]
enum Inner {
    X25519(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
}

impl RecipientKey {
    /// What encrypts to it.
    pub fn as_age(&self) -> &(dyn age::Recipient + Send + Sync) {
        match &self.inner {
            Inner::X25519(key) => key,
            Inner::Ssh(key) => key,
        }
    }

    /// The canonical text: `age1...`, `ssh-ed25519 AAAA...`, `ssh-rsa AAAA...`.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What sort of key it is, in one word.
    pub fn sort(&self) -> &'static str {
        match &self.inner {
            Inner::X25519(_) => "age",
            Inner::Ssh(age::ssh::Recipient::SshEd25519(..)) => "ssh-ed25519",
            Inner::Ssh(age::ssh::Recipient::SshRsa(..)) => "ssh-rsa",
        }
    }

    /// Its fingerprint.
    pub fn fingerprint(&self) -> Fingerprint {
        let digest = Sha256::digest(self.text.as_bytes());
        let mut short = [0; 8];
        for (to, from) in short.iter_mut().zip(digest) {
            *to = from;
        }
        Fingerprint(short)
    }
}

impl From<age::x25519::Recipient> for RecipientKey {
    fn from(key: age::x25519::Recipient) -> Self {
        let text = key.to_string();
        let inner = Inner::X25519(key);
        Self { inner, text }
    }
}

impl From<age::ssh::Recipient> for RecipientKey {
    fn from(key: age::ssh::Recipient) -> Self {
        let text = key.to_string();
        let inner = Inner::Ssh(key);
        Self { inner, text }
    }
}

impl FromStr for RecipientKey {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let text = text.trim();
        if text.contains("AGE-SECRET-KEY-") || text.contains("PRIVATE KEY-----") {
            // Nothing of it is repeated: what is said may be logged.
            return Err(Failure::new("this is a private key").hint(
                "nobody else may have it: give the public one (`age-keygen -y FILE`, or the .pub file beside an SSH key)",
            ));
        }
        let mut words = text.split_whitespace();
        let (first, second) = (words.next().unwrap_or(""), words.next());
        if first.starts_with("age1") {
            let key = first.parse::<age::x25519::Recipient>();
            return key.map(Self::from).map_err(|_| {
                Failure::new(
                    "this is not a whole age key, or one of a plugin, which are not supported",
                )
                .hint("copy it again: age1 and 58 characters after it")
            });
        }
        let Some(data) = second.filter(|_| {
            first.starts_with("ssh-") || first.contains("-sha2-") || first.starts_with("sk-")
        }) else {
            return Err(Failure::new("this is not a public key")
                .hint("age1..., ssh-ed25519 AAAA... and ssh-rsa AAAA... are"));
        };
        // The parser takes a key without its comment, and wants to see where it ends.
        format!("{first} {data} ")
            .parse::<age::ssh::Recipient>()
            .map(Self::from)
            .map_err(|error| unusable(first, &error))
    }
}

fn unusable(sort: &str, error: &ParseRecipientKeyError) -> Failure {
    let others = "use an age key (hmco-boot secrets init makes one), ssh-ed25519 or ssh-rsa";
    match error {
        ParseRecipientKeyError::RsaModulusTooSmall => {
            Failure::new("this ssh-rsa key has fewer than 2048 bits").hint(others)
        }
        ParseRecipientKeyError::RsaModulusTooLarge => {
            Failure::new("this ssh-rsa key has more than 4096 bits").hint(others)
        }
        ParseRecipientKeyError::Unsupported(_) | ParseRecipientKeyError::Ignore => Failure::new(
            format!("nothing can be encrypted to a key of the sort {sort:?}"),
        )
        .hint(others),
        ParseRecipientKeyError::Invalid(_) => {
            Failure::new("this is not a whole SSH key").hint("copy the line of the .pub file again")
        }
    }
}

impl fmt::Display for RecipientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for RecipientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for RecipientKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for RecipientKey {}

/// The first 8 bytes of the SHA-256 of a key's canonical text; shown as 16 hex digits. In the headers of values it says
/// who can read them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 8]);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Fingerprint {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let bad = || {
            Failure::new(format!("{text:?} is not a fingerprint"))
                .hint("it has 16 hex digits; hmco-boot secrets recipients list shows them")
        };
        let lower = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 16 || !text.bytes().all(lower) {
            return Err(bad());
        }
        let number = u64::from_str_radix(text, 16).map_err(|_| bad())?;
        Ok(Self(number.to_be_bytes()))
    }
}
