//! Private keys in files: read once for all machines, passphrases asked for once per key.

#![expect(
    clippy::disallowed_methods,
    reason = "the adapter that reads key files"
)]

use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use russh::keys::{Certificate, PrivateKey, PublicKey, decode_secret_key, ssh_key};
use tokio::sync::Mutex as AsyncMutex;
use zeroize::Zeroizing;

use super::route::Password;
use crate::model::outcome::Failure;

/// Times a passphrase is asked for before the key is given up.
const TRIES: u32 = 3;

/// Asks the person at the terminal, showing this prompt. Blocks. Fails where there is nobody to ask.
pub type Ask = dyn Fn(&str) -> Result<Password, Failure> + Send + Sync;

/// The key files of all machines.
pub struct Keyring {
    ask: Box<Ask>,
    files: Mutex<HashMap<PathBuf, Arc<KeyFile>>>,
}

/// A private key in a file.
pub struct KeyFile {
    /// Where.
    pub path: PathBuf,
    /// Its public half, where it can be had without the passphrase.
    pub public: Option<PublicKey>,
    /// The certificate beside it.
    pub certificate: Option<Certificate>,
    /// Why there is no key.
    pub trouble: Option<Failure>,
    state: AsyncMutex<State>,
    /// What of `state` can be had without waiting.
    open: Mutex<Option<Arc<PrivateKey>>>,
}

enum State {
    Locked(Zeroizing<String>),
    Open(Arc<PrivateKey>),
    Refused(Failure),
}

impl Default for Keyring {
    /// With nobody to ask.
    fn default() -> Self {
        Self::new(Box::new(|_| {
            Err(Failure::new("there is no terminal to ask for a passphrase")
                .hint("put the key into an agent with `ssh-add`"))
        }))
    }
}

impl Keyring {
    /// With somebody to ask.
    pub fn new(ask: Box<Ask>) -> Self {
        Self {
            ask,
            files: Mutex::default(),
        }
    }

    /// A key file, read when it is first asked for.
    pub(super) fn file(&self, path: &Path) -> Arc<KeyFile> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        files
            .entry(path.to_owned())
            .or_insert_with(|| Arc::new(KeyFile::read(path)))
            .clone()
    }

    /// The private key, after asking for its passphrase where it has one. Machines that need it at the same time wait for
    /// one question, and share its answer for good.
    pub(super) async fn unlock(
        self: &Arc<Self>,
        file: &KeyFile,
    ) -> Result<Arc<PrivateKey>, Failure> {
        if let Some(key) = file.opened() {
            return Ok(key);
        }
        let mut state = file.state.lock().await;
        let text = match &*state {
            State::Open(key) => return Ok(key.clone()),
            State::Refused(failure) => return Err(failure.clone()),
            State::Locked(text) => text.clone(),
        };
        let (keyring, path) = (self.clone(), file.path.clone());
        let asked = tokio::task::spawn_blocking(move || keyring.ask_for(&path, &text)).await;
        match asked.unwrap_or_else(|error| Err(Failure::new(error.to_string()))) {
            Ok(key) => {
                let key = Arc::new(key);
                *file.open.lock().unwrap_or_else(PoisonError::into_inner) = Some(key.clone());
                *state = State::Open(key.clone());
                Ok(key)
            }
            Err(failure) => {
                *state = State::Refused(failure.clone());
                Err(failure)
            }
        }
    }

    fn ask_for(&self, path: &Path, text: &str) -> Result<PrivateKey, Failure> {
        let mut prompt = format!("Passphrase for {}: ", path.display());
        for _ in 0..TRIES {
            let passphrase = (self.ask)(&prompt)?;
            match decode_secret_key(text, Some(passphrase.expose())) {
                Ok(key) => return Ok(key),
                Err(error) => tracing::debug!(%error, path = %path.display(), "passphrase refused"),
            }
            prompt = format!("That is not it. Passphrase for {}: ", path.display());
        }
        Err(
            Failure::new(format!("the passphrase of {} is wrong", path.display()))
                .hint("put the key into an agent with `ssh-add`, or try again"),
        )
    }
}

impl KeyFile {
    fn read(path: &Path) -> Self {
        let mut file = Self {
            path: path.to_owned(),
            public: None,
            certificate: beside(path, "-cert.pub").and_then(|text| {
                Certificate::from_openssh(text.trim())
                    .inspect_err(|error| {
                        tracing::warn!(%error, path = %path.display(), "a certificate cannot be read");
                    })
                    .ok()
            }),
            trouble: None,
            state: AsyncMutex::new(State::Refused(Failure::new("there is no key"))),
            open: Mutex::default(),
        };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => Zeroizing::new(text),
            Err(error) => {
                // The private half may be in an agent only, as with `IdentityFile key.pub`.
                file.public = public_beside(path);
                file.trouble = Some(no_file(path, &error));
                return file;
            }
        };
        if let Ok(public) = PublicKey::from_openssh(text.trim()) {
            file.public = Some(public);
            file.trouble = Some(Failure::new(format!(
                "{} is a public key, and no agent has its private half",
                path.display()
            )));
            return file;
        }
        match decode_secret_key(&text, None) {
            Ok(key) => {
                let key = Arc::new(key);
                file.public = Some(key.public_key().clone());
                file.open = Mutex::new(Some(key.clone()));
                file.state = AsyncMutex::new(State::Open(key));
            }
            Err(error) if is_locked(&text, &error) => {
                file.public = public_beside(path).or_else(|| {
                    let locked = PrivateKey::from_openssh(text.as_bytes()).ok()?;
                    Some(locked.public_key().clone())
                });
                file.state = AsyncMutex::new(State::Locked(text));
            }
            Err(error) => {
                file.trouble = Some(
                    Failure::new(format!(
                        "{} cannot be read as a private key",
                        path.display()
                    ))
                    .evidence(error.to_string()),
                );
            }
        }
        file
    }

    /// The private key, where no passphrase is needed (any more).
    pub fn opened(&self) -> Option<Arc<PrivateKey>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.clone()
    }
}

fn is_locked(text: &str, error: &russh::keys::Error) -> bool {
    matches!(error, russh::keys::Error::KeyIsEncrypted)
        || matches!(error, russh::keys::Error::SshKey(ssh_key::Error::Encrypted))
        || text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----")
        || text.contains("Proc-Type: 4,ENCRYPTED")
}

fn beside(path: &Path, ending: &str) -> Option<String> {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    std::fs::read_to_string(PathBuf::from(name)).ok()
}

fn public_beside(path: &Path) -> Option<PublicKey> {
    PublicKey::from_openssh(beside(path, ".pub")?.trim()).ok()
}

fn no_file(path: &Path, error: &std::io::Error) -> Failure {
    let what = match error.kind() {
        ErrorKind::NotFound => "is not there".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    Failure::new(format!("{} {what}", path.display()))
}
