//! Who we are to a server: certificates, keys in files, keys in an agent, and for `hosts enroll` a password.
//!
//! What is most likely right is tried first, because a server counts failures and every attempt is a round trip: key files
//! that need no passphrase, the agent's keys, key files that need one. A passphrase is asked for only after the server said
//! that it accepts the key.

use std::sync::Arc;

use russh::client::{AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKey, PublicKey};
use tokio::time::timeout;

use super::Access;
use super::client::Ending;
use super::handshake::Client;
use super::keyring::KeyFile;
use super::route::{Hop, Password};
use super::sign::{Sign, SignError};
use super::verify::fingerprint;
use crate::model::outcome::Failure;

/// Why nobody was let in.
pub(super) enum AuthError {
    /// The server says no.
    Refused(Failure),
    /// The connection ended.
    Closed(Failure),
    /// The connection ended while somebody was asked for a passphrase, which is known now.
    Again,
}

/// An attempt that was not a success.
enum Attempt {
    Refused,
    Closed,
    Locked,
    /// The key could not sign.
    Failed(String),
}

/// A session that is being authenticated.
struct Session<'a> {
    handle: &'a mut Handle<Client>,
    hop: &'a Hop,
    access: &'a Access,
    ending: &'a Ending,
    /// What was tried, and how it went.
    tried: Vec<String>,
    /// What the server would take, as it said last.
    methods: String,
    /// It took a key and wants something else as well.
    partial: bool,
    asked: bool,
    /// The public key that was taken last.
    key: Option<PublicKey>,
    /// What was taken last.
    by: String,
}

/// What a server let us in by.
pub(super) struct Taken {
    /// The key, where it was a bare key.
    pub key: Option<PublicKey>,
    /// In words: where it is from and its fingerprint, or that it was a password.
    pub by: String,
}

/// Authenticates; [`AuthError`] names everything that was tried.
pub(super) async fn authenticate(
    handle: &mut Handle<Client>,
    hop: &Hop,
    access: &Access,
    ending: &Ending,
) -> Result<Taken, AuthError> {
    let mut session = Session {
        handle,
        hop,
        access,
        ending,
        tried: Vec::new(),
        methods: String::new(),
        partial: false,
        asked: false,
        key: None,
        by: String::new(),
    };
    if session.all_methods().await? {
        Ok(Taken {
            key: session.key,
            by: session.by,
        })
    } else {
        Err(session.refused())
    }
}

impl Session<'_> {
    /// Whether one of the methods was taken.
    async fn all_methods(&mut self) -> Result<bool, AuthError> {
        if let Some(password) = &self.hop.password {
            return self.password(password).await;
        }
        let files: Vec<Arc<KeyFile>> = self
            .hop
            .identities
            .iter()
            .map(|path| self.access.keys.file(path))
            .collect();
        let (open, shut): (Vec<_>, Vec<_>) = files.iter().partition(|file| file.opened().is_some());
        for file in &open {
            if self.file(file).await? {
                return Ok(true);
            }
        }
        let (done, held) = self.agent(&files, &open).await?;
        if done {
            return Ok(true);
        }
        for file in shut {
            if file.public.as_ref().is_some_and(|key| is_in(key, &held)) {
                continue;
            }
            if self.file(file).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A key file, by its certificate first.
    async fn file(&mut self, file: &KeyFile) -> Result<bool, AuthError> {
        let name = file.path.display().to_string();
        if let Some(trouble) = &file.trouble {
            self.tried.push(trouble.message.clone());
            return Ok(false);
        }
        let public = match &file.public {
            Some(public) => public.clone(),
            // An old format that shows nothing of itself while it is locked.
            None => match self.unlock(file).await? {
                Some(key) => key.public_key().clone(),
                None => return Ok(false),
            },
        };
        let identities = file
            .certificate
            .iter()
            .map(|certificate| AgentIdentity::from(certificate.clone()))
            .chain([AgentIdentity::from(public)]);
        for identity in identities {
            let mut signer = file.opened().map_or(Sign::Locked, Sign::Key);
            let mut attempt = self.offer(&identity, &mut signer).await;
            if matches!(attempt, Err(Attempt::Locked)) {
                let Some(key) = self.unlock(file).await? else {
                    return Ok(false);
                };
                attempt = self.offer(&identity, &mut Sign::Key(key)).await;
            }
            if self.went(attempt, &describe(&name, &identity))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The keys of an agent, and which it has.
    async fn agent(
        &mut self,
        files: &[Arc<KeyFile>],
        tried: &[&Arc<KeyFile>],
    ) -> Result<(bool, Vec<PublicKey>), AuthError> {
        let Some(path) = &self.hop.agent else {
            self.tried
                .push("no agent (SSH_AUTH_SOCK is not set)".to_owned());
            return Ok((false, Vec::new()));
        };
        let limit = self.access.timeouts.auth;
        let listed = timeout(limit, async {
            let mut agent = AgentClient::connect_uds(path).await?;
            let identities = agent.request_identities().await?;
            Ok::<_, russh::keys::Error>((agent, identities))
        });
        let (mut agent, mut identities) = match listed.await {
            Ok(Ok(listed)) => listed,
            Ok(Err(error)) => {
                self.tried
                    .push(format!("agent {}: {error}", path.display()));
                return Ok((false, Vec::new()));
            }
            Err(_) => {
                self.tried
                    .push(format!("agent {}: it does not answer", path.display()));
                return Ok((false, Vec::new()));
            }
        };
        let held: Vec<PublicKey> = identities
            .iter()
            .map(|identity| identity.public_key().into_owned())
            .collect();
        if identities.is_empty() {
            self.tried.push("the agent has no keys".to_owned());
        }
        let wanted = |key: &PublicKey, files: &[Arc<KeyFile>]| {
            files
                .iter()
                .position(|file| file.public.as_ref().is_some_and(|p| same(p, key)))
        };
        identities.retain(|identity| {
            let key = identity.public_key();
            let place = wanted(&key, files);
            let known = tried
                .iter()
                .any(|file| file.public.as_ref().is_some_and(|p| same(p, &key)));
            let plain = matches!(identity, AgentIdentity::PublicKey { .. });
            !(known && plain) && (place.is_some() || !self.hop.identities_only)
        });
        identities
            .sort_by_key(|identity| wanted(&identity.public_key(), files).unwrap_or(usize::MAX));
        for identity in identities {
            let attempt = self.offer(&identity, &mut Sign::Agent(&mut agent)).await;
            if self.went(attempt, &describe("agent", &identity))? {
                return Ok((true, held));
            }
        }
        Ok((false, held))
    }

    /// Whether an attempt was a success; remembers what it was.
    fn went(&mut self, attempt: Result<(), Attempt>, what: &str) -> Result<bool, AuthError> {
        let how = match attempt {
            Ok(()) => {
                what.clone_into(&mut self.by);
                return Ok(true);
            }
            Err(Attempt::Refused) if self.partial => "taken, but not enough",
            Err(Attempt::Refused) => "refused",
            Err(Attempt::Locked) => "locked",
            Err(Attempt::Failed(why)) => {
                self.tried.push(format!("{what}: {why}"));
                return Ok(false);
            }
            Err(Attempt::Closed) => {
                self.tried.push(format!("{what}: the connection ended"));
                return Err(self.closed());
            }
        };
        self.tried.push(format!("{what}: {how}"));
        Ok(false)
    }

    async fn offer(
        &mut self,
        identity: &AgentIdentity,
        signer: &mut Sign<'_>,
    ) -> Result<(), Attempt> {
        let user = self.hop.user.clone();
        let offered = async {
            let hash = if identity.public_key().algorithm().is_rsa() {
                // Servers that do not say what they take (no `server-sig-algs`) are old, and take this.
                let best = self.handle.best_supported_rsa_hash().await;
                Some(best.ok().flatten().flatten().unwrap_or(HashAlg::Sha512))
            } else {
                None
            };
            match identity {
                AgentIdentity::PublicKey { key, .. } => {
                    let key = key.clone();
                    self.handle
                        .authenticate_publickey_with(user, key, hash, signer)
                        .await
                }
                AgentIdentity::Certificate { certificate, .. } => {
                    let certificate = certificate.clone();
                    self.handle
                        .authenticate_certificate_with(user, certificate, hash, signer)
                        .await
                }
            }
        };
        let answer = timeout(self.access.timeouts.auth, offered).await;
        match answer {
            Ok(Ok(result)) => {
                self.answered(result)?;
                self.key = match identity {
                    AgentIdentity::PublicKey { key, .. } => Some(key.clone()),
                    AgentIdentity::Certificate { .. } => None,
                };
                Ok(())
            }
            Ok(Err(SignError::Locked)) => Err(Attempt::Locked),
            Ok(Err(SignError::Gone)) => Err(Attempt::Closed),
            Ok(Err(SignError::Failed(why))) => Err(Attempt::Failed(why)),
            Err(_) => {
                self.ending.say("the server did not answer a login in time");
                Err(Attempt::Closed)
            }
        }
    }

    fn answered(&mut self, result: AuthResult) -> Result<(), Attempt> {
        match result {
            AuthResult::Success => Ok(()),
            AuthResult::Failure {
                remaining_methods,
                partial_success,
            } => {
                // An empty list is also what is left when the connection ends.
                if remaining_methods.is_empty() {
                    return Err(Attempt::Closed);
                }
                let methods: Vec<&str> = remaining_methods.iter().map(Into::into).collect();
                self.methods = methods.join(", ");
                self.partial |= partial_success;
                Err(Attempt::Refused)
            }
        }
    }

    async fn password(&mut self, password: &Password) -> Result<bool, AuthError> {
        let user = self.hop.user.clone();
        let limit = self.access.timeouts.auth;
        let given = self
            .handle
            .authenticate_password(user.clone(), password.expose());
        let attempt = match timeout(limit, given).await {
            Ok(Ok(result)) => self.answered(result),
            _ => Err(Attempt::Closed),
        };
        let wants_words = self.methods.contains("keyboard-interactive");
        if self.went(attempt, "password")? {
            return Ok(true);
        }
        if !wants_words || self.methods.contains("password") {
            return Ok(false);
        }
        let attempt = match timeout(limit, self.in_words(user, password)).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) => Err(Attempt::Refused),
            _ => Err(Attempt::Closed),
        };
        self.went(attempt, "keyboard-interactive")
    }

    /// Answers the one question that a server asks instead of taking a password.
    async fn in_words(&mut self, user: String, password: &Password) -> Result<bool, russh::Error> {
        let mut answer = self
            .handle
            .authenticate_keyboard_interactive_start(user, None)
            .await?;
        let mut given = false;
        loop {
            let responses = match answer {
                KeyboardInteractiveAuthResponse::Success => return Ok(true),
                KeyboardInteractiveAuthResponse::Failure { .. } => return Ok(false),
                KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } => match prompts.len()
                {
                    0 => Vec::new(),
                    1 if !given => {
                        given = true;
                        vec![password.expose().to_owned()]
                    }
                    _ => return Ok(false),
                },
            };
            answer = self
                .handle
                .authenticate_keyboard_interactive_respond(responses)
                .await?;
        }
    }

    async fn unlock(&mut self, file: &KeyFile) -> Result<Option<Arc<PrivateKey>>, AuthError> {
        self.asked = true;
        match self.access.keys.unlock(file).await {
            Ok(_) if self.handle.is_closed() => Err(AuthError::Again),
            Ok(key) => Ok(Some(key)),
            Err(failure) => {
                self.tried
                    .push(format!("{}: {}", file.path.display(), failure.message));
                Ok(None)
            }
        }
    }

    fn closed(&mut self) -> AuthError {
        let words = self.ending.words();
        let many = words
            .as_deref()
            .is_some_and(|words| words.contains("Too many auth"));
        if many {
            let mut failure = self.summary(format!(
                "{} allows no more logins after these failed",
                self.hop.name
            ));
            failure.hint = Some(format!(
                "name the right key as `identity` of {}, so that it is tried first",
                self.hop.name
            ));
            return AuthError::Refused(failure);
        }
        if self.asked {
            return AuthError::Again;
        }
        let mut failure = self.summary(format!("{} ended the connection at login", self.hop.name));
        failure.evidence.extend(words);
        AuthError::Closed(failure)
    }

    fn refused(&self) -> AuthError {
        let name = &self.hop.name;
        let bare = name.rsplit(' ').next().unwrap_or_default();
        let mut failure = self.summary(format!("{name} does not let {} in", self.hop.user));
        if !self.methods.is_empty() {
            failure = failure.evidence(format!("it would take: {}", self.methods));
        }
        AuthError::Refused(failure.hint(format!(
            "`hmco-boot hosts enroll {bare}` installs a key; or name the right one as `identity`"
        )))
    }

    fn summary(&self, message: String) -> Failure {
        let mut failure = Failure::new(message).evidence(format!(
            "as {} at {} port {}",
            self.hop.user, self.hop.address, self.hop.port
        ));
        failure.evidence.extend(self.tried.iter().cloned());
        if self.tried.is_empty() {
            failure = failure.evidence("there was no key to try");
        }
        failure
    }
}

fn same(one: &PublicKey, other: &PublicKey) -> bool {
    one.key_data() == other.key_data()
}

fn is_in(key: &PublicKey, keys: &[PublicKey]) -> bool {
    keys.iter().any(|each| same(each, key))
}

fn describe(place: &str, identity: &AgentIdentity) -> String {
    let key = fingerprint(&identity.public_key());
    match identity {
        AgentIdentity::Certificate { certificate, .. } => {
            format!("{place}: certificate {:?}, {key}", certificate.key_id())
        }
        AgentIdentity::PublicKey { .. } => format!("{place}: {key}"),
    }
}
