//! Whether a host key is trusted, and which key types to ask a server for. Pure. Nothing is sent to a server before its
//! key was found trusted here, not even a user name.

use std::borrow::Cow;

use russh::Preferred;
use russh::keys::{Algorithm, EcdsaCurve, HashAlg, PublicKey};
use russh::{compression, kex};

use super::route::{Hop, HostKeys};
use crate::model::outcome::Failure;

/// curve25519 first: post-quantum exchanges cost many times the processor time, which on a Raspberry Pi is most of a
/// connection.
const KEY_EXCHANGES: &[kex::Name] = &[
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::MLKEM768X25519_SHA256,
    kex::DH_GEX_SHA256,
    kex::DH_G18_SHA512,
    kex::DH_G16_SHA512,
    kex::DH_G14_SHA256,
    kex::EXTENSION_SUPPORT_AS_CLIENT,
    kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
];

/// Most wanted first.
const KEY_TYPES: [Algorithm; 4] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
];

/// With which an RSA host key may sign.
const RSA_SIGNATURES: [Option<HashAlg>; 3] = [Some(HashAlg::Sha512), Some(HashAlg::Sha256), None];

/// The algorithms to offer a server: host key types are those that are trusted, so that a server with several keys
/// shows the one we know. Where none is known, all: the refusal shall show a key that could be pinned.
pub(super) fn preferred(trusted: &HostKeys) -> Preferred {
    let keys = trusted.keys();
    let wanted = |algorithm: &Algorithm| {
        keys.is_empty() || keys.iter().any(|key| key.algorithm() == *algorithm)
    };
    let mut types: Vec<Algorithm> = KEY_TYPES.into_iter().filter(wanted).collect();
    if keys.is_empty() || keys.iter().any(|key| key.algorithm().is_rsa()) {
        types.extend(RSA_SIGNATURES.map(|hash| Algorithm::Rsa { hash }));
    }
    Preferred {
        kex: Cow::Borrowed(KEY_EXCHANGES),
        key: Cow::Owned(types),
        compression: Cow::Borrowed(&[compression::NONE]),
        ..Preferred::DEFAULT
    }
}

/// The algorithms of each host key type, to ask for one type at a time.
pub(super) fn each_type() -> impl Iterator<Item = Vec<Algorithm>> {
    let rsa = RSA_SIGNATURES.map(|hash| Algorithm::Rsa { hash }).to_vec();
    KEY_TYPES
        .into_iter()
        .map(|algorithm| vec![algorithm])
        .chain([rsa])
}

/// Whether the key that a server showed is trusted; else why not and what to do.
pub(super) fn check(hop: &Hop, shown: &PublicKey) -> Result<(), Failure> {
    let same = |key: &PublicKey| key.key_data() == shown.key_data();
    if let HostKeys::Known { files, revoked, .. } = &hop.host_keys
        && revoked.iter().any(same)
    {
        return Err(Failure::new(format!(
            "{} shows a host key that {} revokes; nothing was sent to it",
            hop.name,
            listed(files)
        ))
        .evidence(format!("offered: {}", fingerprint(shown)))
        .hint("find out why the key was revoked; do not trust this machine before that"));
    }
    let trusted = hop.host_keys.keys();
    if trusted.iter().any(same) {
        return Ok(());
    }
    let message = if trusted.is_empty() {
        format!(
            "the host key of {} is not known; nothing was sent to it",
            hop.name
        )
    } else {
        format!(
            "{} shows another host key than the one that is trusted; nothing was sent to it",
            hop.name
        )
    };
    Err(with_keys(hop, Failure::new(message))
        .evidence(format!("offered: {}", fingerprint(shown)))
        .hint(cure(hop)))
}

/// The server has no key of a type that is trusted.
pub(super) fn no_common_type(hop: &Hop, offered: &[String]) -> Failure {
    with_keys(
        hop,
        Failure::new(format!(
            "{} has no host key of a type that is trusted; nothing was sent to it",
            hop.name
        )),
    )
    .evidence(format!("offered types: {}", offered.join(", ")))
    .hint(cure(hop))
}

fn with_keys(hop: &Hop, mut failure: Failure) -> Failure {
    for key in hop.host_keys.keys() {
        failure = failure.evidence(format!("expected: {}", fingerprint(key)));
    }
    match &hop.host_keys {
        HostKeys::Pinned(_) => failure.evidence("trusted by: host_keys in the inventory"),
        HostKeys::Known { files, .. } if !files.is_empty() => {
            failure.evidence(format!("looked in: {}", listed(files)))
        }
        HostKeys::Known { .. } => failure,
    }
}

fn cure(hop: &Hop) -> String {
    let known = hop.host_keys.keys().is_empty();
    // `bastion gate`: the command takes the bare name.
    let name = hop.name.rsplit(' ').next().unwrap_or_default();
    // A host of ssh_config's ProxyJump is not in the inventory, so nothing can be pinned for it.
    if hop.name.starts_with("jump host ") {
        return format!(
            "compare with the machine's own console; `ssh {name}` then asks, or `[bastion.NAME]` in the inventory and `hosts pin`"
        );
    }
    if known {
        format!(
            "`hmco-boot hosts pin {name}` shows its fingerprints and writes them into the inventory"
        )
    } else {
        format!(
            "if it was installed anew, `hmco-boot hosts pin {name} --replace`; if not, somebody may be in between: do not go on"
        )
    }
}

fn listed(files: &[std::path::PathBuf]) -> String {
    let names: Vec<String> = files
        .iter()
        .map(|file| file.display().to_string())
        .collect();
    names.join(", ")
}

/// As `ssh-keygen -l` shows it, with the type in front.
pub fn fingerprint(key: &PublicKey) -> String {
    format!(
        "{} {}",
        key.algorithm().as_str(),
        key.fingerprint(HashAlg::Sha256)
    )
}

impl HostKeys {
    /// The keys that are trusted.
    pub fn keys(&self) -> &[PublicKey] {
        match self {
            Self::Pinned(keys) | Self::Known { keys, .. } => keys,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ one";
    const OTHER: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIK2pr+Bfus1hvPof4Wb/plZCzSbqadHH0u+/f4ODtKnE two";
    const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=";

    fn key(line: &str) -> PublicKey {
        PublicKey::from_openssh(line).unwrap()
    }

    fn hop(host_keys: HostKeys) -> Hop {
        Hop {
            name: "pi5-01".to_owned(),
            address: "192.0.2.1".to_owned(),
            port: 22,
            user: "pi".to_owned(),
            identities: Vec::new(),
            identities_only: false,
            agent: None,
            host_keys,
            password: None,
            host_key_alias: None,
        }
    }

    #[test]
    fn only_types_that_are_trusted_are_asked_for() {
        let types = |keys: &[&str]| {
            let keys = keys.iter().map(|line| key(line)).collect();
            let names = preferred(&HostKeys::Pinned(keys)).key;
            names.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(types(&[ED25519]), ["ssh-ed25519"]);
        assert_eq!(types(&[ECDSA]), ["ecdsa-sha2-nistp256"]);
        assert_eq!(
            types(&[ECDSA, ED25519]),
            ["ssh-ed25519", "ecdsa-sha2-nistp256"]
        );
        assert_eq!(types(&[]).len(), KEY_TYPES.len() + RSA_SIGNATURES.len());
    }

    #[test]
    fn a_key_is_trusted_whatever_its_comment_says() {
        let pinned = hop(HostKeys::Pinned(vec![key(OTHER), key(ED25519)]));
        assert_eq!(check(&pinned, &key(&ED25519.replace("one", "x"))), Ok(()));
    }

    #[test]
    fn another_key_is_refused_with_both_fingerprints_and_the_command() {
        let failure = check(&hop(HostKeys::Pinned(vec![key(ED25519)])), &key(OTHER)).unwrap_err();
        let shown = failure.evidence.join("\n");
        assert!(shown.contains(&fingerprint(&key(ED25519))), "{shown}");
        assert!(shown.contains(&fingerprint(&key(OTHER))), "{shown}");
        assert!(failure.hint.unwrap().contains("hmco-boot hosts pin pi5-01"));
    }

    #[test]
    fn a_revoked_key_is_refused_even_where_it_is_known() {
        let known = hop(HostKeys::Known {
            files: vec!["/home/anna/.ssh/known_hosts".into()],
            keys: vec![key(ED25519)],
            revoked: vec![key(ED25519)],
        });
        let failure = check(&known, &key(ED25519)).unwrap_err();
        assert!(failure.message.contains("revokes"), "{failure:?}");
    }

    #[test]
    fn an_unknown_key_is_refused_and_named() {
        let unknown = hop(HostKeys::Pinned(Vec::new()));
        let failure = check(&unknown, &key(ED25519)).unwrap_err();
        assert!(failure.message.contains("not known"), "{failure:?}");
        assert!(
            failure
                .evidence
                .contains(&format!("offered: {}", fingerprint(&key(ED25519))))
        );
    }
}
