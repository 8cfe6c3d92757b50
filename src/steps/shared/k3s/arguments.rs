//! The arguments and the environment of somebody's unit of K3s, as K3s itself takes them (Go's `flag`). Arguments may hold a
//! secret: what is not understood is named by its position.

use std::collections::BTreeMap;

use super::{Setting, Settings};

/// Flags that take no value beside them (`k3s server --help`).
const SWITCHES: &[&str] = &[
    "alsologtostderr",
    "cluster-init",
    "cluster-reset",
    "debug",
    "disable-agent",
    "disable-apiserver",
    "disable-apiserver-lb",
    "disable-cloud-controller",
    "disable-controller-manager",
    "disable-default-registry-endpoint",
    "disable-etcd",
    "disable-helm-controller",
    "disable-kube-proxy",
    "disable-network-policy",
    "disable-scheduler",
    "docker",
    "embedded-registry",
    "enable-pprof",
    "etcd-disable-snapshots",
    "etcd-expose-metrics",
    "etcd-s3",
    "etcd-s3-insecure",
    "etcd-s3-skip-ssl-verify",
    "etcd-snapshot-compress",
    "flannel-external-ip",
    "flannel-ipv6-masq",
    "kine-tls",
    "no-flannel",
    "nonroot-devices",
    "prefer-bundled-bin",
    "protect-kernel-defaults",
    "rootless",
    "secrets-encryption",
    "selinux",
    "supervisor-metrics",
    "tls-san-security",
    "with-node-id",
];

/// One-letter names.
const SHORT: [(&str, &str); 7] = [
    ("c", "config"),
    ("d", "data-dir"),
    ("i", "node-ip"),
    ("l", "log"),
    ("o", "write-kubeconfig"),
    ("s", "server"),
    ("t", "token"),
];

/// The settings that a unit's arguments make; a flag that comes several times is a list. An error is what is not understood.
pub fn of_unit(unit: &str) -> Result<Settings, String> {
    let mut settings = Settings::new();
    let arguments = arguments(unit);
    let mut rest = arguments.iter().enumerate().peekable();
    while let Some((at, word)) = rest.next() {
        let (name, value) = flag(word).ok_or_else(|| {
            format!(
                "argument {} of its unit, after `server` or `agent`, is no flag",
                at + 1
            )
        })?;
        let value = match value {
            Some(value) => Setting::text(value),
            None => match rest.next_if(|(_, next)| takes(name, next)) {
                Some((_, value)) => Setting::text(value.as_str()),
                None => Setting::Switch(true),
            },
        };
        let value = match (value, settings.remove(name)) {
            (value, None) => value,
            (value, Some(Setting::List(mut items))) => {
                items.push(value);
                Setting::List(items)
            }
            (value, Some(first)) => Setting::List(vec![first, value]),
        };
        settings.insert(name.to_owned(), value);
    }
    Ok(settings)
}

/// Name and value of a flag: `--name`, `--name=value`, with one dash as well. A name that K3s cannot have is none: it may be a
/// secret where somebody forgot a blank.
fn flag(word: &str) -> Option<(&str, Option<&str>)> {
    let long = word.strip_prefix("--");
    let flag = long.or_else(|| word.strip_prefix('-'))?;
    let (name, value) = match flag.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (flag, None),
    };
    let full = SHORT.iter().find(|(short, _)| *short == name);
    let name = full.map_or(name, |(_, full)| full);
    let is_known = full.is_some() || name == "v" || has_value(name) || SWITCHES.contains(&name);
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    };
    (is_known || (long.is_some() && is_name(name))).then_some((name, value))
}

/// Flags whose value is what comes next, whatever it looks like.
fn has_value(name: &str) -> bool {
    let full = |(_, full): &(&str, &str)| *full == name;
    SHORT.iter().any(full) || name.ends_with("-arg") || SECRET.contains(&name)
}

/// Flags with secrets.
const SECRET: [&str; 6] = [
    "agent-token",
    "datastore-endpoint",
    "etcd-s3-access-key",
    "etcd-s3-secret-key",
    "etcd-s3-session-token",
    "vpn-auth",
];

/// Whether a flag takes the word after it for its value. Of a flag that is not known here a word with a dash is the next flag.
fn takes(name: &str, next: &str) -> bool {
    !SWITCHES.contains(&name) && (has_value(name) || !next.starts_with('-'))
}

/// The arguments after `k3s server` or `k3s agent` in the last `ExecStart=` of a unit file.
fn arguments(unit: &str) -> Vec<String> {
    let joined = unit.replace("\\\n", " ");
    let mut lines = joined
        .lines()
        .filter_map(|line| line.strip_prefix("ExecStart="));
    let line = lines.next_back().unwrap_or_default();
    let mut words = words(line).into_iter();
    let is_role = |word: &String| matches!(word.as_str(), "server" | "agent");
    words.by_ref().find(is_role);
    words.collect()
}

/// Words of a line with quotes, systemd.service(5).
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut begun) = (Vec::new(), String::new(), None, false);
    for c in line.chars() {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '"' | '\'') => {
                quote = Some(c);
                begun = true;
            }
            None if c.is_whitespace() => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            _ => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

/// `NAME=VALUE` lines of an environment file.
pub fn variables(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.starts_with(['#', ';']))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| {
            let value = words(value).join(" ");
            (name.trim().to_owned(), value)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(arguments: &str) -> String {
        let unit = format!("ExecStart=/usr/local/bin/k3s server {arguments}\n");
        serde_json::to_string(&of_unit(&unit).unwrap()).unwrap()
    }

    #[test]
    fn short_flags_are_the_long_ones() {
        assert_eq!(
            json(
                "-s https://n0:6443 -d /srv/k3s -c /srv/k3s.yaml -l /var/log/k3s -v 2 -t x -i 192.0.2.1"
            ),
            r#"{"config":"/srv/k3s.yaml","data-dir":"/srv/k3s","log":"/var/log/k3s","node-ip":"192.0.2.1","server":"https://n0:6443","token":"x","v":"2"}"#
        );
    }

    #[test]
    fn a_switch_takes_no_value_and_a_flag_of_flags_takes_dashes() {
        assert_eq!(
            json(
                "--cluster-init -t x --kubelet-arg --max-pods=50 -disable-etcd=false --something-new --debug"
            ),
            r#"{"cluster-init":true,"debug":true,"disable-etcd":"false","kubelet-arg":"--max-pods=50","something-new":true,"token":"x"}"#
        );
    }

    #[test]
    fn the_switches_are_those_of_the_stand_in() {
        let table = include_str!("../../../../tests/k3s-standin/internal/config/table.go");
        let names = table.split("truth(\"").skip(1);
        let names = names.filter_map(|rest| rest.split('"').next());
        let missing: Vec<&str> = names.filter(|name| !SWITCHES.contains(name)).collect();
        assert_eq!(missing, [""; 0]);
    }
}
