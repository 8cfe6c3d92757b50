//! What the kinds `k3s_server` and `k3s_agent` have in common: files, a start behind a gate, what a failed start means. How
//! a server finds its cluster is in [`cluster`]; no kind.

pub mod adopt;
pub mod arguments;
pub mod causes;
pub mod cluster;
pub mod files;
pub mod flags;
pub mod install;
pub mod live;
mod objection;
pub mod ready;
pub mod scripts;
pub mod setting;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::sensitive::Text;
use crate::model::units::TimeSpan;

pub use setting::{Setting, Settings};

/// Keys of K3s' configuration that `config` may not have, and what says them instead.
const KEPT: [(&str, &str); 13] = [
    ("token", "`token`"),
    ("token-file", "`token`"),
    ("agent-token", "nothing: agents join with `token`"),
    ("agent-token-file", "nothing: agents join with `token`"),
    ("server", "`nodes`"),
    (
        "cluster-init",
        "`nodes`: whether a cluster is made is decided over all servers",
    ),
    ("cluster-reset", "nothing: it is a procedure, not a setting"),
    (
        "cluster-reset-restore-path",
        "nothing: it is a procedure, not a setting",
    ),
    (
        "data-dir",
        "nothing: data are looked for in /var/lib/rancher/k3s",
    ),
    ("secrets-encryption", "`secrets_encryption`"),
    (
        "datastore-endpoint",
        "nothing: servers of this tool keep their data in etcd",
    ),
    (
        "with-node-id",
        "`node-name`: the Node is looked for by its name",
    ),
    (
        "https-listen-port",
        "nothing: the API is looked for at 6443",
    ),
];

/// Variables that K3s reads and `env` may not have, and what says them instead.
const KEPT_ENV: [(&str, &str); 9] = [
    ("K3S_TOKEN", "`token`"),
    ("K3S_TOKEN_FILE", "`token`"),
    ("K3S_AGENT_TOKEN", "nothing: agents join with `token`"),
    ("K3S_AGENT_TOKEN_FILE", "nothing: agents join with `token`"),
    ("K3S_URL", "`nodes`"),
    ("K3S_NODE_NAME", "`node-name` of `config`"),
    (
        "K3S_DATA_DIR",
        "nothing: data are looked for in /var/lib/rancher/k3s",
    ),
    (
        "K3S_CONFIG_FILE",
        "nothing: the configuration is that of /etc/rancher/k3s",
    ),
    (
        "K3S_DATASTORE_ENDPOINT",
        "nothing: servers of this tool keep their data in etcd",
    ),
];

/// For `#[serde(default = ...)]`: a first start on a Raspberry Pi with a slow disk.
pub fn default_start_timeout() -> TimeSpan {
    TimeSpan(Duration::from_secs(300))
}

/// For `#[serde(default = ...)]`.
pub fn default_artifact() -> crate::model::artifact::ArtifactRef {
    "k3s".to_owned().into()
}

/// What is wrong with the parts of a wish that both kinds have.
pub fn mistakes(
    config: &Settings,
    env: &BTreeMap<String, Text>,
    token: &Text,
    start_timeout: TimeSpan,
) -> Vec<(&'static str, String)> {
    let mut mistakes = Vec::new();
    for (key, value) in config {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if let Some((_, instead)) = KEPT.iter().find(|(kept, _)| kept == key) {
            mistakes.push(("config", format!("`{key}` is said by {instead}")));
        } else if key.is_empty() || !key.chars().all(plain) {
            let hint = match key.contains(['_', '+']) {
                true => "; flags are written with `-`, and each key has its whole value",
                false => "",
            };
            mistakes.push(("config", format!("{key:?} is no flag of K3s{hint}")));
        } else if matches!(value, Setting::List(items) if items.iter().any(|item| matches!(item, Setting::List(_))))
        {
            mistakes.push(("config", format!("`{key}`: no flag takes a list of lists")));
        }
    }
    for (name, value) in env {
        let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if !first || !name.chars().all(word) {
            mistakes.push(("env", format!("{name:?} cannot be the name of a variable")));
        } else if value.expose().chars().any(char::is_control) {
            mistakes.push((
                "env",
                format!("the value of {name} has a control character"),
            ));
        } else if let Some((_, instead)) = KEPT_ENV.iter().find(|(kept, _)| kept == name) {
            mistakes.push(("env", format!("{name} is said by {instead}")));
        }
    }
    let text = token.expose();
    if text.is_empty() {
        mistakes.push((
            "token",
            "a token is needed: without one K3s starts a cluster of its own".to_owned(),
        ));
    } else if text.trim() != text || text.chars().any(char::is_control) {
        let what = "the token has blanks around it or control characters";
        mistakes.push(("token", what.to_owned()));
    }
    if start_timeout.0 < Duration::from_secs(10) {
        mistakes.push((
            "start_timeout",
            "K3s needs at least 10s to start".to_owned(),
        ));
    }
    mistakes
}

/// The password in a token, which may be the long form `K10HASH::server:PASSWORD`.
pub fn password(token: &str) -> &str {
    let token = token.trim_end_matches(['\n', '\r']);
    match token
        .strip_prefix("K10")
        .and_then(|rest| rest.split_once("::"))
    {
        Some((_, credentials)) => credentials
            .split_once(':')
            .map_or(credentials, |(_, word)| word),
        None => token,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_of_a_long_token_is_its_last_part() {
        assert_eq!(password("short"), "short");
        assert_eq!(password("K10abc::server:pass:word\n"), "pass:word");
        assert_eq!(password("K10abc"), "K10abc");
    }
}
