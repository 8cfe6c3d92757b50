//! Files with private keys: read only where nobody else could have read them, and understood as age identities, age
//! identities under a passphrase, or SSH keys. No error repeats anything of their content.

#![expect(
    clippy::disallowed_methods,
    reason = "the one place that reads files with private keys"
)]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use age::secrecy::SecretString;
use age::ssh::UnsupportedKey;
use zeroize::Zeroizing;

use super::{Found, Key};
use crate::model::outcome::Failure;
use crate::model::shell::quote;
use crate::secrets::recipients::RecipientKey;

/// A file with a private key is not bigger.
const LIMIT: u64 = 1 << 20;

/// Who may be able to read it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Its owner alone.
    Owner,
    /// A credential of systemd: where it was handed to a service's user by an access list, the group bits show the
    /// list's mask, not a group.
    Credential,
}

/// A file as it was read.
pub(super) struct Held {
    path: PathBuf,
    mode: u32,
    owner: u32,
    rule: Rule,
    /// Its bytes.
    pub bytes: Zeroizing<Vec<u8>>,
}

impl Held {
    /// Refuses a file that others may have read, with the command that ends it.
    pub fn expect_private(&self) -> Result<(), Failure> {
        let others = match self.rule {
            Rule::Owner => 0o077,
            Rule::Credential => 0o037,
        };
        let shown = self.path.display();
        let user = rustix::process::geteuid().as_raw();
        if self.owner != user && self.owner != 0 {
            let message = format!(
                "the identity {shown} belongs to user id {}, not to this user",
                self.owner
            );
            return Err(Failure::new(message).hint("name one of your own: --identity FILE"));
        }
        if self.mode & others == 0 {
            return Ok(());
        }
        let message = format!(
            "others can read the identity {shown} (mode {:04o})",
            self.mode & 0o7777
        );
        Err(Failure::new(message).hint(format!(
            "chmod 600 {}; if somebody else may have read it, make another and rotate the secrets",
            quote(&self.path.to_string_lossy())
        )))
    }
}

/// Reads a file; `None` where there is none. Its mode is that of what was opened, not of what the name means a moment
/// later.
pub(super) fn read(path: &Path, rule: Rule) -> Result<Option<Held>, Failure> {
    let failed = |error: io::Error| {
        Failure::new(format!(
            "cannot read the identity {}: {error}",
            path.display()
        ))
        .hint("give it to this user (chown, chmod 600), or name another: --identity FILE")
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(None);
        }
        Err(error) => return Err(failed(error)),
    };
    let about = file.metadata().map_err(failed)?;
    if about.is_dir() || about.len() > LIMIT {
        let message = format!("{} is not an identity", path.display());
        return Err(Failure::new(message).hint("name the file with your private key"));
    }
    // At once as big as needed: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(LIMIT).unwrap_or(0) + 1));
    file.take(LIMIT).read_to_end(&mut bytes).map_err(failed)?;
    Ok(Some(Held {
        path: path.to_path_buf(),
        mode: about.mode(),
        owner: about.uid(),
        rule,
        bytes,
    }))
}

/// What is in a file.
pub(super) enum Content {
    /// Keys that are ready.
    Open(Vec<Found>),
    /// Something under a passphrase.
    Locked(Locked),
}

/// Something under a passphrase.
pub(super) enum Locked {
    /// An age file with identities in it.
    Age(Vec<u8>),
    /// An SSH key; the public half is legible.
    Ssh(Box<age::ssh::EncryptedKey>, Option<RecipientKey>),
}

impl Locked {
    /// The public key, where it can be told without the passphrase.
    pub fn public(&self) -> Option<RecipientKey> {
        match self {
            Self::Age(_) => None,
            Self::Ssh(_, public) => public.clone(),
        }
    }

    /// The keys; `None`: the passphrase is wrong.
    pub fn open(
        &self,
        path: &Path,
        passphrase: SecretString,
    ) -> Result<Option<Vec<Found>>, Failure> {
        match self {
            Self::Age(bytes) => match decrypt(bytes, passphrase) {
                Ok(text) => age_keys(path, &text).map(Some),
                Err(
                    age::DecryptError::DecryptionFailed | age::DecryptError::KeyDecryptionFailed,
                ) => Ok(None),
                Err(error) => Err(damaged(path, &error.to_string())),
            },
            Self::Ssh(key, public) => {
                use age::secrecy::ExposeSecret;
                if passphrase.expose_secret().is_empty() {
                    return Ok(None);
                }
                let (Ok(key), Some(public)) = (key.decrypt(passphrase), public.clone()) else {
                    return Ok(None);
                };
                Ok(Some(vec![Found {
                    path: path.to_path_buf(),
                    public,
                    key: Key::Ssh(Box::new(age::ssh::Identity::Unencrypted(key))),
                }]))
            }
        }
    }
}

fn decrypt(
    bytes: &[u8],
    passphrase: SecretString,
) -> Result<Zeroizing<Vec<u8>>, age::DecryptError> {
    let decryptor = age::Decryptor::new(age::armor::ArmoredReader::new(bytes))?;
    let identity = age::scrypt::Identity::new(passphrase);
    let mut reader = decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity))?;
    let mut text = Zeroizing::new(Vec::with_capacity(bytes.len()));
    reader.read_to_end(&mut text)?;
    Ok(text)
}

/// What is in a file, by its first line.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Content, Failure> {
    let locked = [
        &b"-----BEGIN AGE ENCRYPTED FILE-----"[..],
        b"age-encryption.org/v1",
    ];
    if locked.iter().any(|start| bytes.starts_with(start)) {
        return match age::Decryptor::new(age::armor::ArmoredReader::new(bytes)) {
            Ok(file) if file.is_scrypt() => Ok(Content::Locked(Locked::Age(bytes.to_vec()))),
            Ok(_) => Err(Failure::new(format!(
                "{} is encrypted to a key, not with a passphrase",
                path.display()
            ))
            .hint("decrypt it with that key first")),
            Err(error) => Err(damaged(path, &error.to_string())),
        };
    }
    if bytes.starts_with(b"-----BEGIN ") {
        return ssh_key(path, bytes);
    }
    age_keys(path, bytes).map(Content::Open)
}

fn ssh_key(path: &Path, bytes: &[u8]) -> Result<Content, Failure> {
    let key = age::ssh::Identity::from_buffer(bytes, Some(path.display().to_string()))
        .map_err(|_| damaged(path, "it is no SSH key that is understood"))?;
    let public = age::ssh::Recipient::try_from(key.clone())
        .ok()
        .map(RecipientKey::from);
    match (key, public) {
        (age::ssh::Identity::Encrypted(key), public) => {
            Ok(Content::Locked(Locked::Ssh(Box::new(key), public)))
        }
        (key @ age::ssh::Identity::Unencrypted(_), Some(public)) => {
            Ok(Content::Open(vec![Found {
                path: path.to_path_buf(),
                public,
                key: Key::Ssh(Box::new(key)),
            }]))
        }
        (age::ssh::Identity::Unsupported(UnsupportedKey::EncryptedPem), _) => {
            let message = format!(
                "{} has a passphrase in the old PEM form, which is weak",
                path.display()
            );
            Err(Failure::new(message).hint(format!(
                "write it anew with `ssh-keygen -p -f {}`",
                quote(&path.to_string_lossy())
            )))
        }
        _ => {
            let message = format!(
                "{} is an SSH key of a sort that nothing can be encrypted to",
                path.display()
            );
            Err(Failure::new(message).hint("use an ssh-ed25519 or ssh-rsa key, or an age identity"))
        }
    }
}

/// The lines of an age identity file.
fn age_keys(path: &Path, bytes: &[u8]) -> Result<Vec<Found>, Failure> {
    let text = std::str::from_utf8(bytes).map_err(|_| damaged(path, "it is not text"))?;
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with("AGE-PLUGIN-") {
            return Err(Failure::new(format!(
                "{} is an identity of an age plugin",
                path.display()
            ))
            .hint("plugins (hardware keys) are not supported: use an age identity or an SSH key"));
        }
        let key = line.parse::<age::x25519::Identity>();
        let key =
            key.map_err(|_| damaged(path, &format!("line {} is no private key", index + 1)))?;
        keys.push(Found {
            path: path.to_path_buf(),
            public: RecipientKey::from(key.to_public()),
            key: Key::X25519(key),
        });
    }
    if keys.is_empty() {
        return Err(damaged(path, "there is no private key in it"));
    }
    Ok(keys)
}

fn damaged(path: &Path, why: &str) -> Failure {
    Failure::new(format!("{} is not an identity: {why}", path.display()))
        .hint("name a file with an age identity (age-keygen makes one) or an SSH key")
}

/// Writes a file for this user's eyes only that must not be there yet, and its folder.
pub fn write_new(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    if written.is_err() {
        fs::remove_file(path).ok();
    }
    written
}
