//! K3s' files.

use super::digests::Digests;
use super::reply::Reply;
use crate::facts::digest_cache::DigestCache;
use crate::facts::fact::{FactError, K3sData, K3sInstall};
use crate::facts::questions::{self, K3S_CA};

pub fn install(reply: &Reply<'_>) -> Result<K3sInstall, FactError> {
    let part = reply.part("k3s-install", "k3s-install")?.whole()?;
    let mut install = K3sInstall::default();
    for (word, value) in part.records() {
        match word.as_str() {
            // The same folder may have two names.
            "unit" if install.units.contains(&value) => {}
            "unit" => install.units.push(value),
            "config" => install.config_files.push(value),
            "binary" => install.binary = value,
            "identity" => install.binary_identity = value,
            "version" => install.version = value,
            _ => {}
        }
    }
    install.config_files.sort();
    install.config_files.dedup();
    Ok(install)
}

/// A version is asked once per binary: starting it costs more than all other facts together.
pub fn remember_version(install: &K3sInstall, reply: &Reply<'_>, cache: &mut DigestCache) {
    let precise = !install.binary_identity.ends_with(".000000000 +0000");
    if !install.version.is_empty() && !install.binary_identity.is_empty() && precise {
        let full = format!("{}{}", reply.root, install.binary);
        cache.put(
            &questions::version_key(&full),
            &reply.boot,
            &install.binary_identity,
            &install.version,
        );
    }
}

pub fn data(reply: &Reply<'_>, digests: &Digests) -> Result<K3sData, FactError> {
    let part = reply.part("k3s-data", "k3s-data")?.whole()?;
    let mut data = K3sData {
        ca_sha256: match digests.get(K3S_CA) {
            Ok(digest) => Some(digest),
            Err(FactError::NotFound) => None,
            Err(error) => return Err(error),
        },
        ..K3sData::default()
    };
    for (word, value) in part.records() {
        match word.as_str() {
            "etcd" => data.etcd = true,
            "sqlite" => data.sqlite = true,
            "agent" => data.agent = true,
            "started" => data.started = true,
            "reset" => data.reset_flag = true,
            "old" => data.old.push(value),
            _ => {}
        }
    }
    data.old.sort();
    Ok(data)
}
