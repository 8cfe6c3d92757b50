//! The private keys that open secrets: where they are looked for, which of them count, and when a passphrase is asked for.
//!
//! With `--identity` only those files count; else `$HMCO_BOOT_IDENTITY`; else all of these that are readers of the store:
//! the credential `hmco-boot-identity` of a systemd service (`LoadCredential=`), `identity.txt` in this user's folder of
//! configuration, `~/.ssh/id_ed25519` and `~/.ssh/id_rsa`. A passphrase is asked for only where no open key that was found
//! reads the store, or where a file was named.

mod file;

use std::fmt;
use std::path::{Path, PathBuf};

use age::secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::recipients::{RecipientKey, Recipients};
use crate::model::outcome::Failure;

/// The name of the credential of a systemd service.
pub const CREDENTIAL: &str = "hmco-boot-identity";

/// The name of the file in the folder of configuration.
pub const FILE: &str = "identity.txt";

/// Wrong passphrases that are put up with.
const TRIES: usize = 3;

/// What the command line and the environment say about identities.
#[derive(Clone, Debug, Default)]
pub struct IdentityEnv {
    /// `--identity`, as often as it was given.
    pub named: Vec<PathBuf>,
    /// `$HMCO_BOOT_IDENTITY`.
    pub variable: Option<PathBuf>,
    /// `$CREDENTIALS_DIRECTORY`.
    pub credentials: Option<PathBuf>,
    /// This user's folder of our configuration.
    pub config: Option<PathBuf>,
    /// `$HOME`.
    pub home: Option<PathBuf>,
}

impl IdentityEnv {
    /// The files that somebody named, each with how; the command line before the environment.
    fn named(&self) -> Vec<(&Path, &'static str)> {
        if self.named.is_empty() {
            let variable = self.variable.as_deref();
            return variable
                .map(|path| (path, "$HMCO_BOOT_IDENTITY"))
                .into_iter()
                .collect();
        }
        let named = self.named.iter();
        named.map(|path| (path.as_path(), "--identity")).collect()
    }
}

/// Who answers when a passphrase is needed.
pub trait Ask {
    /// The passphrase of what is described, as "the identity /home/anna/.ssh/id_ed25519"; an error where nobody can
    /// answer, or does not want to. `again`: the last answer was wrong.
    fn passphrase(&mut self, of: &str, again: bool) -> Result<SecretString, Failure>;
}

/// Nobody is there to answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct NobodyAnswers;

impl Ask for NobodyAnswers {
    fn passphrase(&mut self, of: &str, _: bool) -> Result<SecretString, Failure> {
        Err(Failure::new(format!(
            "{of} has a passphrase, and nobody can be asked for it"
        ))
        .hint("run this at a terminal, or name an identity without a passphrase: --identity FILE"))
    }
}

/// A private key that can open values, and where it came from.
pub struct Found {
    /// Where it came from.
    pub path: PathBuf,
    /// The public key of it: what a reader of the store has.
    pub public: RecipientKey,
    key: Key,
}

#[derive(Clone)]
enum Key {
    X25519(age::x25519::Identity),
    Ssh(Box<age::ssh::Identity>),
}

impl Found {
    /// What opens values.
    pub fn as_age(&self) -> &(dyn age::Identity + Send + Sync) {
        match &self.key {
            Key::X25519(key) => key,
            Key::Ssh(key) => &**key,
        }
    }
}

impl fmt::Debug for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key itself.
        write!(f, "{} ({})", self.path.display(), self.public.fingerprint())
    }
}

/// The identities of a command.
#[derive(Debug, Default)]
pub struct Identities {
    found: Vec<Found>,
    /// Places that gave none, each with the reason.
    looked: Vec<String>,
}

impl Identities {
    /// No identity: for what needs none.
    pub fn none() -> Self {
        Self::default()
    }

    /// Looks for identities. `readers`: those of the store, where there is one; keys found by themselves that are none of
    /// them are left aside. None at all is no failure here ([`Identities::require`]); a named file that cannot be used
    /// is, and so is a reader's key that others can read.
    pub fn find(
        env: &IdentityEnv,
        readers: Option<&Recipients>,
        ask: &mut dyn Ask,
    ) -> Result<Self, Failure> {
        let mut identities = Self::default();
        let named = env.named();
        if !named.is_empty() {
            for (path, by) in named {
                identities.take_named(path, by, ask)?;
            }
            return Ok(identities);
        }
        let mut locked = Vec::new();
        let places = places(env);
        for place in &places {
            identities.look(place, readers, &mut locked)?;
        }
        if identities.found.is_empty() {
            for (place, locked) in locked {
                identities.found.extend(open(&place.path, locked, ask)?);
                if !identities.found.is_empty() {
                    break;
                }
            }
        }
        Ok(identities)
    }

    /// The public keys of those that [`find`](Self::find) would find, with the file of each. A passphrase is asked for
    /// only where the public half is under it too.
    pub fn public(
        env: &IdentityEnv,
        ask: &mut dyn Ask,
    ) -> Result<Vec<(PathBuf, RecipientKey)>, Failure> {
        let mut keys = Vec::new();
        let mut take = |path: &Path, content| -> Result<(), Failure> {
            let found = match content {
                file::Content::Open(found) => found,
                file::Content::Locked(locked) => match locked.public() {
                    Some(key) => {
                        keys.push((path.to_path_buf(), key));
                        return Ok(());
                    }
                    None => open(path, locked, ask)?,
                },
            };
            keys.extend(found.into_iter().map(|one| (one.path, one.public)));
            Ok(())
        };
        let named = env.named();
        for (path, by) in &named {
            take(path, named_file(path, by)?)?;
        }
        let places = if named.is_empty() {
            places(env)
        } else {
            Vec::new()
        };
        for place in &places {
            let Some(held) = file::read(&place.path, place.rule)? else {
                continue;
            };
            match file::parse(&place.path, &held.bytes) {
                Ok(content) => take(&place.path, content)?,
                Err(_) if place.by_the_way => {}
                Err(failure) => return Err(failure),
            }
        }
        Ok(keys)
    }

    /// A file that somebody named: it must be one, and it must open.
    fn take_named(&mut self, path: &Path, by: &str, ask: &mut dyn Ask) -> Result<(), Failure> {
        let keys = match named_file(path, by)? {
            file::Content::Open(keys) => keys,
            file::Content::Locked(locked) => open(path, locked, ask)?,
        };
        self.found.extend(keys);
        Ok(())
    }

    fn look<'a>(
        &mut self,
        place: &'a Place,
        readers: Option<&Recipients>,
        locked: &mut Vec<(&'a Place, file::Locked)>,
    ) -> Result<(), Failure> {
        let shown = place.path.display();
        let Some(held) = file::read(&place.path, place.rule)? else {
            self.looked.push(format!("{shown}: not there"));
            return Ok(());
        };
        let reads = |key: &RecipientKey| {
            readers.is_none_or(|readers| readers.by_fingerprint(key.fingerprint()).is_some())
        };
        match file::parse(&place.path, &held.bytes) {
            Ok(file::Content::Open(keys)) => {
                let (mine, others): (Vec<Found>, Vec<Found>) =
                    keys.into_iter().partition(|key| reads(&key.public));
                for key in others {
                    self.looked.push(format!(
                        "{shown}: no reader (fingerprint {})",
                        key.public.fingerprint()
                    ));
                }
                if !mine.is_empty() {
                    held.expect_private()?;
                }
                self.found.extend(mine);
            }
            Ok(file::Content::Locked(one)) => match one.public() {
                Some(key) if !reads(&key) => self.looked.push(format!(
                    "{shown}: no reader (fingerprint {})",
                    key.fingerprint()
                )),
                _ => {
                    held.expect_private()?;
                    locked.push((place, one));
                }
            },
            // An SSH key that is there for something else may be of any sort.
            Err(failure) if place.by_the_way => {
                self.looked.push(format!("{shown}: {}", failure.message));
            }
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// Those that were found.
    pub fn found(&self) -> &[Found] {
        &self.found
    }

    /// For age.
    pub fn iter(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.found
            .iter()
            .map(|one| one.as_age() as &dyn age::Identity)
    }

    /// Refuses to go on without an identity that reads something of the store: says where was looked, and whose keys
    /// were found instead.
    pub fn require(&self, readers: &Recipients) -> Result<(), Failure> {
        let reads = |one: &Found| readers.by_fingerprint(one.public.fingerprint()).is_some();
        if self.found.iter().any(reads) {
            return Ok(());
        }
        let mut failure = Failure::new(if self.found.is_empty() {
            "there is no identity that can open the secrets"
        } else {
            "this identity is not among the readers of the secrets"
        })
        .hint(
            "name another with --identity FILE, or let a reader add your public key: hmco-boot secrets recipients add NAME KEY",
        );
        failure.evidence.clone_from(&self.looked);
        for one in &self.found {
            failure = failure.evidence(format!(
                "{}: no reader (fingerprint {})",
                one.path.display(),
                one.public.fingerprint()
            ));
        }
        Err(failure)
    }
}

/// What is in a file that somebody named.
fn named_file(path: &Path, by: &str) -> Result<file::Content, Failure> {
    let missing = || {
        Failure::new(format!("there is no identity {} ({by})", path.display()))
            .hint("name the file with your private key: an age identity, or an SSH key")
    };
    let held = file::read(path, file::Rule::Owner)?.ok_or_else(missing)?;
    held.expect_private()?;
    file::parse(path, &held.bytes)
}

/// A place where an identity may be.
struct Place {
    path: PathBuf,
    rule: file::Rule,
    /// What is there may be for something else.
    by_the_way: bool,
}

fn places(env: &IdentityEnv) -> Vec<Place> {
    let place = |path: PathBuf, rule, by_the_way| Place {
        path,
        rule,
        by_the_way,
    };
    let credential = env.credentials.as_ref();
    let credential =
        credential.map(|dir| place(dir.join(CREDENTIAL), file::Rule::Credential, false));
    let config = env.config.as_ref();
    let config = config.map(|dir| place(dir.join(FILE), file::Rule::Owner, false));
    let ssh = env.home.iter().flat_map(|home| {
        let names = ["id_ed25519", "id_rsa"];
        names.map(|name| place(home.join(".ssh").join(name), file::Rule::Owner, true))
    });
    credential.into_iter().chain(config).chain(ssh).collect()
}

/// Opens a locked file; asks again after a wrong answer.
fn open(path: &Path, locked: file::Locked, ask: &mut dyn Ask) -> Result<Vec<Found>, Failure> {
    let of = format!("the identity {}", path.display());
    for attempt in 0..TRIES {
        let passphrase = ask.passphrase(&of, attempt > 0)?;
        if let Some(keys) = locked.open(path, passphrase)? {
            return Ok(keys);
        }
    }
    Err(
        Failure::new(format!("{of} does not open with that passphrase"))
            .hint("try again, or name another identity: --identity FILE"),
    )
}

/// A new age key: the text of its file, and the public key. `about`: a line that says what it is for.
pub fn generate(about: &str) -> (Zeroizing<String>, RecipientKey) {
    let key = age::x25519::Identity::generate();
    let public = RecipientKey::from(key.to_public());
    let secret = key.to_string();
    let text = Zeroizing::new(format!(
        "# {about}\n# public key: {public}\n{}\n",
        secret.expose_secret()
    ));
    (text, public)
}

pub use file::write_new;

#[cfg(test)]
mod tests;
