//! Values to armored age ciphertexts and back. What a ciphertext may be used for is in its header, which whoever opens it
//! must compare ([`Opened::header`]).

use std::fmt;
use std::io::{Read, Write};

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::{DecryptError, Decryptor, Encryptor};
use zeroize::Zeroizing;

use super::SecretValue;
use super::format::Header;
use super::identity::Identities;
use super::recipients::RecipientKey;
use crate::model::outcome::Failure;

/// How an armored ciphertext begins.
pub(super) const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";

/// What a ciphertext held.
pub struct Opened {
    /// Where it belongs and who reads it, as its first line says.
    pub header: Header,
    /// The value.
    pub value: SecretValue,
    /// How many keys its age header really is for.
    pub keys: usize,
}

/// Why a ciphertext gave nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum OpenError {
    /// None of the identities is one of its keys.
    NotOurs,
    /// It was cut off or changed; in words.
    Damaged(String),
    /// It opened, and what is in it is no value of a store; in words that show nothing of it.
    NoValue(String),
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs => f.write_str("none of the identities here can open it"),
            Self::Damaged(how) => write!(f, "its ciphertext is damaged: {how}"),
            Self::NoValue(how) => f.write_str(how),
        }
    }
}

/// Encrypts a value, its header before it, to keys; armored, lines ended by `\n`.
///
/// # Errors
///
/// No key at all, or the random numbers of the system failing.
pub fn encrypt(header: &Header, value: &[u8], keys: &[&RecipientKey]) -> Result<String, Failure> {
    let failed = |error: &dyn fmt::Display| unable(header, error);
    // Base64 in lines of 64.
    let size = size(value, keys) * 4 / 3 * 65 / 64 + 256;
    let armor = ArmoredWriter::wrap_output(Vec::with_capacity(size), Format::AsciiArmor)
        .map_err(|error| failed(&error))?;
    let armored = write(header, value, keys, armor)?
        .finish()
        .map_err(|error| failed(&error))?;
    String::from_utf8(armored).map_err(|error| failed(&error))
}

/// As [`encrypt`], not armored.
pub(super) fn encrypt_binary(
    header: &Header,
    value: &[u8],
    keys: &[&RecipientKey],
) -> Result<Vec<u8>, Failure> {
    write(header, value, keys, Vec::with_capacity(size(value, keys)))
}

/// At most so many bytes of ciphertext.
fn size(value: &[u8], keys: &[&RecipientKey]) -> usize {
    // A stanza for ssh-rsa with 4096 bits has some 750 bytes; a tag of 16 goes with every 64 KiB.
    value.len() + value.len() / 4096 + 800 * (keys.len() + 2)
}

fn write<W: Write>(
    header: &Header,
    value: &[u8],
    keys: &[&RecipientKey],
    to: W,
) -> Result<W, Failure> {
    let recipients = keys.iter().map(|key| key.as_age() as &dyn age::Recipient);
    let encryptor =
        Encryptor::with_recipients(recipients).map_err(|error| unable(header, &error))?;
    let write = || -> std::io::Result<W> {
        let mut writer = encryptor.wrap_output(to)?;
        writer.write_all(header.line().as_bytes())?;
        writer.write_all(value)?;
        writer.finish()
    };
    write().map_err(|error| unable(header, &error))
}

fn unable(header: &Header, error: &dyn fmt::Display) -> Failure {
    Failure::new(format!("cannot encrypt {}: {error}", header.name))
        .hint("see secrets/recipients.toml: every value needs a reader")
}

/// Opens an armored ciphertext.
///
/// # Errors
///
/// Why it does not open.
pub fn decrypt(armored: &str, identities: &Identities) -> Result<Opened, OpenError> {
    let mut binary = Vec::with_capacity(armored.len() / 4 * 3 + 64);
    ArmoredReader::new(armored.as_bytes())
        .read_to_end(&mut binary)
        .map_err(|_| damaged("it is cut off, or no longer what age writes"))?;
    decrypt_binary(&binary, identities)
}

/// As [`decrypt`], not armored.
pub(super) fn decrypt_binary(binary: &[u8], identities: &Identities) -> Result<Opened, OpenError> {
    let decryptor = Decryptor::new_buffered(binary).map_err(|error| why(&error))?;
    let mut reader = decryptor
        .decrypt(identities.iter())
        .map_err(|error| why(&error))?;
    // Larger than the plaintext can be, so it never moves and leaves no copy behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(binary.len() + 64));
    reader
        .read_to_end(&mut plain)
        .map_err(|_| damaged("its content was changed or cut off"))?;
    let (header, start) = Header::split(&plain).map_err(OpenError::NoValue)?;
    drop(plain.drain(..start));
    let value = SecretValue::from_zeroizing(plain);
    if header.text && !value.is_text() {
        return Err(OpenError::NoValue(
            "its header says utf8, and it is not".into(),
        ));
    }
    let value = if header.text {
        value
    } else {
        value.into_binary()
    };
    Ok(Opened {
        header,
        value,
        keys: keys_of(binary),
    })
}

fn damaged(how: &str) -> OpenError {
    OpenError::Damaged(how.into())
}

fn why(error: &DecryptError) -> OpenError {
    match error {
        DecryptError::NoMatchingKeys => OpenError::NotOurs,
        DecryptError::InvalidMac => damaged("the part that names its keys was changed"),
        DecryptError::UnknownFormat => damaged("it is of a newer version of age"),
        DecryptError::Io(_) => damaged("it is cut off"),
        DecryptError::InvalidHeader => damaged("the part that names its keys cannot be read"),
        DecryptError::DecryptionFailed | DecryptError::KeyDecryptionFailed => {
            damaged("the key in it was changed")
        }
        _ => damaged("age cannot open it"),
    }
}

/// Counts the keys that a binary age file is for. Stanzas of unknown sorts are padding that some tools add ("grease").
fn keys_of(binary: &[u8]) -> usize {
    let sorts: [&[u8]; 3] = [b"-> X25519 ", b"-> ssh-ed25519 ", b"-> ssh-rsa "];
    binary
        .split(|byte| *byte == b'\n')
        .take_while(|line| !line.starts_with(b"---"))
        .filter(|line| sorts.iter().any(|sort| line.starts_with(sort)))
        .count()
}

#[cfg(test)]
mod tests;
