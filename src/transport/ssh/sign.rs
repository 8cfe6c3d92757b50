//! Signing a login: by a key at hand or by an agent.

use std::sync::Arc;

use russh::keys::agent::AgentIdentity;
use russh::keys::agent::client::AgentClient;
use russh::keys::{HashAlg, PrivateKey, signature, ssh_encoding, ssh_key};
use tokio::net::UnixStream;

/// Who signs.
pub(super) enum Sign<'a> {
    Key(Arc<PrivateKey>),
    Agent(&'a mut AgentClient<UnixStream>),
    /// Nobody yet: the key needs its passphrase.
    Locked,
}

#[derive(Debug)]
pub(super) enum SignError {
    Gone,
    Locked,
    Failed(String),
}

impl From<russh::SendError> for SignError {
    fn from(_: russh::SendError) -> Self {
        Self::Gone
    }
}

impl russh::Signer for Sign<'_> {
    type Error = SignError;

    async fn auth_sign(
        &mut self,
        identity: &AgentIdentity,
        hash: Option<HashAlg>,
        mut request: Vec<u8>,
    ) -> Result<Vec<u8>, SignError> {
        match self {
            Self::Locked => Err(SignError::Locked),
            Self::Agent(agent) => agent
                .sign_request(identity, hash, request)
                .await
                .map_err(|error| SignError::Failed(format!("the agent does not sign: {error}"))),
            Self::Key(key) => {
                sign(key, hash, &mut request).map_err(|e| SignError::Failed(e.to_string()))?;
                Ok(request)
            }
        }
    }
}

/// Appends the signature of a request to it.
fn sign(
    key: &PrivateKey,
    hash: Option<HashAlg>,
    request: &mut Vec<u8>,
) -> Result<(), ssh_key::Error> {
    use signature::Signer as _;
    use ssh_encoding::Encode as _;
    let signature = match key.key_data() {
        ssh_key::private::KeypairData::Rsa(pair) => (pair, hash).try_sign(request)?,
        other => other.try_sign(request)?,
    };
    signature.encode_prefixed(request)?;
    Ok(())
}
