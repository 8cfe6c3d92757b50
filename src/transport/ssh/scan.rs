//! Which host keys a server shows: one handshake for each type, none of which goes on to a login. The bastions before it are
//! logged in to as always, so their keys must be trusted first.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use russh::client::{self, Handler};
use russh::keys::{Algorithm, PublicKey, PublicKeyOrCertificate};
use russh::{AlgorithmKind, Preferred};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;

use super::client::{Ending, bastion};
use super::handshake::{ClientError, dial, not_shaken, silent};
use super::route::{Hop, Route};
use super::{Access, verify};
use crate::transport::HostError;

/// The host keys of the last hop of a route, of every type that can be used; for each the server has proven that it holds
/// the private half. Says nothing of whether it is the machine that is meant.
///
/// # Errors
///
/// It does not answer, or a bastion before it cannot be passed.
pub async fn scan(route: &Route, access: &Access) -> Result<Vec<PublicKey>, HostError> {
    let Some((last, before)) = route.hops.split_last() else {
        return Ok(Vec::new());
    };
    let before = bastion(before, access).await?;
    let mut found = Vec::new();
    // Known after the first type that the server does not have.
    let mut offered: Option<Vec<String>> = None;
    for types in verify::each_type() {
        let has = |names: &Vec<String>| {
            let name = |algorithm: &Algorithm| names.contains(&algorithm.to_string());
            types.iter().any(name)
        };
        if !offered.as_ref().is_none_or(has) {
            continue;
        }
        let shown = match &before {
            None => {
                let stream = dial(last, &access.timeouts).await?;
                shown(last, stream, types, access).await?
            }
            Some(bastion) => {
                let stream = bastion.direct_tcpip(&last.address, last.port).await?;
                shown(last, stream, types, access).await?
            }
        };
        match shown {
            Shown::Key(key) => found.push(key),
            Shown::Types(names) => offered = Some(names),
        }
    }
    Ok(found)
}

/// What a server answered.
enum Shown {
    /// Its key.
    Key(PublicKey),
    /// It has none of this type, but keys of these.
    Types(Vec<String>),
}

async fn shown<S>(
    hop: &Hop,
    stream: S,
    types: Vec<Algorithm>,
    access: &Access,
) -> Result<Shown, HostError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let config = client::Config {
        preferred: Preferred {
            key: Cow::Owned(types),
            ..verify::preferred(&hop.host_keys)
        },
        ..client::Config::default()
    };
    let look = Look::default();
    let seen = look.seen.clone();
    let shaking = client::connect_stream(Arc::new(config), stream, look);
    let shaken = timeout(access.timeouts.handshake, shaking).await;
    let key = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (key, shaken) {
        (Some(key), _) => Ok(Shown::Key(key)),
        (
            None,
            Ok(Err(ClientError::Russh(russh::Error::NoCommonAlgo {
                kind: AlgorithmKind::Key,
                theirs,
                ..
            }))),
        ) => Ok(Shown::Types(theirs)),
        (None, Ok(Err(error))) => Err(not_shaken(hop, error, &Ending::default())),
        // A handshake without a host key does not end well.
        (None, Ok(Ok(_)) | Err(_)) => Err(silent(hop, &access.timeouts)),
    }
}

/// Takes the key down, and goes no further.
#[derive(Default)]
struct Look {
    seen: Arc<Mutex<Option<PublicKey>>>,
}

impl Handler for Look {
    type Error = ClientError;

    async fn check_server_key(
        &mut self,
        shown: &PublicKeyOrCertificate,
    ) -> Result<bool, ClientError> {
        if let PublicKeyOrCertificate::PublicKey { key, .. } = shown {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            *seen = Some(PublicKey::new(key.key_data().clone(), ""));
        }
        Ok(false)
    }
}
