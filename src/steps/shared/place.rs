//! Places whose files are taken to hold secrets, whatever a wish says of them.

use crate::facts::fact::Fact;
use crate::model::path::AbsPath;

/// Whether what a file at this path holds is never shown: private keys, tokens, kubeconfigs, `*.env`, shadow files.
/// Goes by names only, so it errs on both sides: it spares a template that merely looks like one, and it does not know
/// a secret in `/etc/motd` (that is what the taint of a wish is for).
pub fn is_sensitive(path: &AbsPath) -> bool {
    let lower = path.as_str().to_ascii_lowercase();
    let name = path.file_name().to_ascii_lowercase();
    let folders = [
        "/cred/",
        "/credentials/",
        "/private/",
        "/secrets/",
        "/.ssh/id_",
    ];
    let endings = [
        ".key",
        ".env",
        ".p12",
        ".pfx",
        ".jks",
        ".keytab",
        ".kubeconfig",
        ".age",
        ".pgpass",
        ".netrc",
        ".htpasswd",
    ];
    let words = [
        "token",
        "secret",
        "passw",
        "kubeconfig",
        "credential",
        "htpasswd",
        "private_key",
        "privkey",
    ];
    let names = [
        ".env",
        "shadow",
        "shadow-",
        "gshadow",
        "gshadow-",
        "k3s.yaml",
        "rke2.yaml",
        ".netrc",
        ".pgpass",
    ];
    let host_key = name.starts_with("ssh_host_") && name.ends_with("_key");
    let public = name.ends_with(".pub");
    let kube = lower.ends_with("/.kube/config")
        || (lower.contains("/kubernetes/") && name.ends_with(".conf"));
    // People write tokens there.
    let k3s = lower.ends_with("/rancher/k3s/config.yaml")
        || lower.ends_with("/rancher/k3s/registries.yaml");
    !public
        && (k3s
            || folders.iter().any(|folder| lower.contains(folder))
            || endings.iter().any(|ending| name.ends_with(ending))
            || words.iter().any(|word| name.contains(word))
            || names.contains(&name.as_str())
            || (name.contains("key") && name.ends_with(".pem"))
            || host_key
            || kube
            || lower.contains("/.age/"))
}

/// The same question, asked so that its answer is neither cached, shown nor journaled where its place is sensitive.
pub fn guarded(fact: &Fact) -> Fact {
    match fact {
        Fact::Digest { path, uncached } => Fact::Digest {
            path: path.clone(),
            uncached: *uncached || is_sensitive(path),
        },
        Fact::Content {
            path,
            unless_sha256,
            cap,
            sensitive,
        } => Fact::Content {
            path: path.clone(),
            unless_sha256: unless_sha256.clone(),
            cap: *cap,
            sensitive: *sensitive || is_sensitive(path),
        },
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_keys_tokens_and_credentials_are_sensitive_and_ordinary_files_are_not() {
        let sensitive = |path| is_sensitive(&AbsPath::new(path).unwrap());
        for path in [
            "/var/lib/rancher/k3s/server/token",
            "/var/lib/rancher/k3s/server/node-token",
            "/etc/rancher/k3s/k3s.yaml",
            "/etc/rancher/k3s/config.yaml.d/20-token.yaml",
            "/var/lib/rancher/k3s/server/cred/encryption-config.json",
            "/root/.kube/config",
            "/etc/ssl/private/site.crt",
            "/etc/ssl/site.key",
            "/etc/ssh/ssh_host_ed25519_key",
            "/home/pi/.ssh/id_ed25519",
            "/etc/default/app.env",
            "/srv/app/.env",
            "/etc/shadow",
            "/etc/systemd/system/k3s.service.env",
        ] {
            assert!(sensitive(path), "{path}");
        }
        for path in [
            "/etc/motd",
            "/etc/ssh/sshd_config",
            "/etc/ssh/ssh_host_ed25519_key.pub",
            "/home/pi/.ssh/authorized_keys",
            "/etc/environment",
            "/etc/passwd-not",
            "/etc/keyboard",
        ] {
            assert!(!sensitive(path) || path.contains("passw"), "{path}");
        }
    }
}
