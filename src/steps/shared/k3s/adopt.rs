//! What a K3s that somebody else installed (get.k3s.io, k3s-ansible, by hand) is set to: from its unit's arguments, its
//! environment and its configuration files, as K3s itself reads them, to what the kinds of this tool would be told.

use std::collections::BTreeMap;

use super::arguments::{self, variables};
use super::flags;
use super::setting::{Setting, Settings};
use crate::steps::preflight::Role;

/// A node as it was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Its name in the inventory.
    pub node: String,
    /// What it is, by its unit.
    pub role: Role,
    /// Its unit file.
    pub unit: String,
    /// Environment files of its unit, in systemd's order.
    pub env: Vec<String>,
    /// Configuration files in K3s' order, with their paths.
    pub config: Vec<(String, String)>,
}

/// What it is set to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Set {
    /// For `config` of the kind.
    pub config: Settings,
    /// For `env` of the kind.
    pub env: BTreeMap<String, String>,
    /// Where it joins.
    pub server: Option<String>,
    /// Secrets are encrypted.
    pub encrypts: bool,
    /// Settings and variables that hold secrets, by their names: they are shown to nobody.
    pub secrets: Vec<String>,
    /// Why the first run would restart it.
    pub restarts: Vec<String>,
}

/// Settings that the kinds decide by themselves.
const DECIDED: [&str; 5] = [
    "token",
    "token-file",
    "server",
    "cluster-init",
    "secrets-encryption",
];

/// Settings with which a K3s cannot be taken over, and the variables that say the same; with why.
const NEVER: [(&str, &str, &str); 7] = [
    ("config", "", "its configuration is in another file"),
    (
        "data-dir",
        "K3S_DATA_DIR",
        "its data are not in /var/lib/rancher/k3s",
    ),
    (
        "datastore-endpoint",
        "K3S_DATASTORE_ENDPOINT",
        "its data are in another database",
    ),
    (
        "agent-token",
        "K3S_AGENT_TOKEN",
        "its agents join with a token of their own",
    ),
    (
        "agent-token-file",
        "K3S_AGENT_TOKEN_FILE",
        "its agents join with a token of their own",
    ),
    ("with-node-id", "", "its Nodes have names with an id"),
    ("https-listen-port", "", "its API is at another port"),
];

/// Settings that are what they are without being said.
const USUAL: [(&str, &str); 3] = [
    ("config", "/etc/rancher/k3s/config.yaml"),
    ("data-dir", "/var/lib/rancher/k3s"),
    ("https-listen-port", "6443"),
];

/// Parts of names of settings and variables that hold secrets; of the token itself nothing is left by then.
const SECRET: [&str; 6] = [
    "token",
    "secret",
    "password",
    "passwd",
    "access-key",
    "vpn-auth",
];

/// Whether nobody may be shown its value: by its name, or as a URL with a password.
fn is_secret(name: &str, value: &str) -> bool {
    let name = name.to_lowercase().replace('_', "-");
    let login = value.split_once("://").and_then(|(_, rest)| {
        let (login, _) = rest.split('/').next()?.rsplit_once('@')?;
        login.split_once(':')
    });
    SECRET.iter().any(|part| name.contains(part)) || login.is_some()
}

/// Reads a node. An error is what is not understood.
pub fn read(found: &Found, wished_unit: &str) -> Result<Set, String> {
    let mut all = Settings::new();
    for (path, text) in &found.config {
        flags::add_file(&mut all, text).map_err(|_| format!("{path} is no file of flags"))?;
    }
    let from_unit = arguments::of_unit(&found.unit)?;
    let mut set = Set {
        restarts: restarts(found, &from_unit, wished_unit),
        ..Set::default()
    };
    let hidden = |(name, value): (&String, &Setting)| {
        let secret = !DECIDED.contains(&name.as_str()) && is_secret(name, &value.yaml());
        secret.then(|| name.clone())
    };
    // Files stay where they are; arguments would be written to one that everybody may read.
    if let Some(name) = from_unit.iter().find_map(hidden) {
        return Err(format!(
            "its unit has a secret among its arguments: move `{name}` to /etc/rancher/k3s/config.yaml (mode 0600)"
        ));
    }
    // The command line beats files and replaces whole lists.
    all.extend(from_unit);
    for text in &found.env {
        set.env.extend(variables(text));
    }
    never(&mut all, &set.env)?;
    for name in ["K3S_TOKEN", "K3S_TOKEN_FILE"] {
        if set.env.remove(name).is_some() {
            set.restarts
                .push(format!("{name} of its environment moves to a drop-in"));
        }
    }
    let url = set.env.remove("K3S_URL");
    if let Some(name) = set.env.remove("K3S_NODE_NAME") {
        all.entry("node-name".to_owned())
            .or_insert_with(|| Setting::text(name));
        set.restarts
            .push("K3S_NODE_NAME of its environment moves to a file, as `node-name`".to_owned());
    }
    set.encrypts = all
        .get("secrets-encryption")
        .is_some_and(|on| flags::same(on, &Setting::Switch(true)));
    set.server = match all.get("server") {
        Some(Setting::Text(url)) => Some(url.clone()),
        _ => url,
    };
    all.retain(|key, _| !DECIDED.contains(&key.as_str()));
    set.secrets = all.iter().filter_map(hidden).collect();
    all.retain(|key, _| !set.secrets.contains(key));
    set.config = all;
    set.env.retain(|name, value| {
        let shown = !is_secret(name, value);
        if !shown {
            set.secrets.push(name.clone());
        }
        shown
    });
    Ok(set)
}

/// Why the first run would restart it, by its files.
fn restarts(found: &Found, from_unit: &Settings, wished_unit: &str) -> Vec<String> {
    let mut why = Vec::new();
    if !from_unit.is_empty() {
        let names: Vec<&str> = from_unit.keys().map(String::as_str).collect();
        why.push(format!(
            "its unit has arguments, which move to a file: {}",
            names.join(", ")
        ));
    } else if found.unit != wished_unit {
        why.push("its unit file is another one".to_owned());
    }
    let written = found
        .config
        .iter()
        .filter(|(_, text)| !text.trim().is_empty());
    why.extend(
        written.map(|(path, _)| format!("its settings in {path} are also written to drop-ins")),
    );
    why
}

/// Refuses what cannot be taken over; takes out what is said without need.
fn never(settings: &mut Settings, env: &BTreeMap<String, String>) -> Result<(), String> {
    for (key, value) in USUAL {
        if settings
            .get(key)
            .is_some_and(|at| flags::same(at, &Setting::text(value)))
        {
            settings.remove(key);
        }
    }
    if env.contains_key("K3S_CONFIG_FILE") {
        return Err("its configuration is in another file (K3S_CONFIG_FILE)".to_owned());
    }
    for (key, variable, why) in NEVER {
        let is_off = |value: &Setting| flags::same(value, &Setting::Switch(false));
        if settings.get(key).is_some_and(|value| !is_off(value)) {
            return Err(format!("{why} (`{key}`)"));
        }
        settings.remove(key);
        let usual = USUAL.iter().find(|(usual, _)| *usual == key);
        if let Some(value) = env.get(variable)
            && usual.is_none_or(|(_, usual)| value != usual)
        {
            return Err(format!("{why} ({variable})"));
        }
    }
    Ok(())
}

/// A setting as TOML.
pub fn toml(settings: &Settings) -> String {
    let entries: Vec<String> = settings
        .iter()
        .map(|(name, value)| format!("{name} = {}", value.yaml()))
        .collect();
    match entries.is_empty() {
        true => "{}".to_owned(),
        false => format!("{{ {} }}", entries.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(unit: &str, env: &str, config: &str) -> Found {
        Found {
            node: "n1".to_owned(),
            role: Role::Server,
            unit: unit.to_owned(),
            env: vec![env.to_owned()],
            config: vec![("/etc/rancher/k3s/config.yaml".to_owned(), config.to_owned())],
        }
    }

    #[test]
    fn an_installation_by_the_script_is_read_from_its_units_arguments() {
        // As install.sh writes it.
        let unit = "[Service]\nExecStart=/usr/local/bin/k3s \\\n    server \\\n\t'--cluster-init' \\\n\t'--disable' \\\n\t'traefik' \\\n\t'--disable=servicelb' \\\n\t'--kubelet-arg' \\\n\t'max-pods=50' \\\n\n";
        let set = read(
            &found(unit, "K3S_TOKEN='s3cret'\nHTTPS_PROXY=\"http://p:1\"\n", ""),
            "",
        )
        .unwrap();
        assert_eq!(
            toml(&set.config),
            r#"{ disable = ["traefik", "servicelb"], kubelet-arg = "max-pods=50" }"#
        );
        assert_eq!(
            set.env,
            BTreeMap::from([("HTTPS_PROXY".to_owned(), "http://p:1".to_owned())])
        );
        assert_eq!(
            set.restarts,
            [
                "its unit has arguments, which move to a file: cluster-init, disable, kubelet-arg",
                "K3S_TOKEN of its environment moves to a drop-in",
            ]
        );
        assert!(!format!("{set:?}").contains("s3cret"));
    }

    #[test]
    fn an_installation_with_files_is_read_from_them_and_arguments_win() {
        let config =
            "token: x\nserver: https://n0:6443\nflannel-backend: vxlan\nsecrets-encryption: true\n";
        let unit = "ExecStart=/usr/local/bin/k3s server --flannel-backend=host-gw\n";
        let set = read(&found(unit, "", config), "").unwrap();
        assert_eq!(toml(&set.config), r#"{ flannel-backend = "host-gw" }"#);
        assert_eq!(set.server.as_deref(), Some("https://n0:6443"));
        assert!(set.encrypts);
    }

    #[test]
    fn a_token_among_arguments_is_shown_in_no_way() {
        for arguments in [
            "--cluster-init -t canary-7Q2x",
            "-t=canary-7Q2x --cluster-init",
            "--cluster-init --token -canary-7Q2x",
            "--debug -token canary-7Q2x",
        ] {
            let unit = format!("ExecStart=/usr/local/bin/k3s server {arguments}\n");
            let set = read(&found(&unit, "", ""), "").unwrap();
            assert!(
                !format!("{set:?}").contains("canary"),
                "{arguments}: {set:?}"
            );
            assert!(set.restarts.concat().contains("token"), "{set:?}");
        }
        for arguments in [
            "--cluster-init canary-7Q2x",
            "--debug -tcanary-7Q2x",
            "--debug -canary-7Q2x",
            "--debug --Canary-7Q2x=x",
            "--debug --=canary-7Q2x",
        ] {
            let unit = format!("ExecStart=/usr/local/bin/k3s server {arguments}\n");
            let odd = read(&found(&unit, "", ""), "").unwrap_err();
            assert!(!odd.to_lowercase().contains("canary"), "{arguments}: {odd}");
            assert!(odd.contains("argument 2 "), "{odd}");
        }
    }

    #[test]
    fn what_a_drop_in_appends_is_not_lost() {
        let mut found = found(
            "ExecStart=/usr/local/bin/k3s server\n",
            "",
            "disable: [traefik]\ntls-san: [k3s.lab]\n",
        );
        found.config.push((
            "/etc/rancher/k3s/config.yaml.d/50-more.yaml".to_owned(),
            "disable+: [servicelb]\ntls-san+: 192.0.2.1\n".to_owned(),
        ));
        assert_eq!(
            toml(&read(&found, "").unwrap().config),
            r#"{ disable = ["traefik", "servicelb"], tls-san = ["k3s.lab", "192.0.2.1"] }"#
        );
    }

    #[test]
    fn no_value_that_may_be_a_secret_is_given_on() {
        let config = "etcd-s3-secret-key: canary-7Q2x\netcd-s3-bucket: b\n";
        let env = "AWS_SECRET_ACCESS_KEY=canary-7Q2x\nHTTPS_PROXY=http://me:canary-7Q2x@proxy:1\nNO_PROXY=a@b\n";
        let unit = "ExecStart=/usr/local/bin/k3s server\n";
        let set = read(&found(unit, env, config), "").unwrap();
        assert!(!format!("{set:?}").contains("canary"), "{set:?}");
        assert_eq!(
            set.secrets,
            ["etcd-s3-secret-key", "AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY"]
        );
        assert_eq!(toml(&set.config), r#"{ etcd-s3-bucket = "b" }"#);
        assert_eq!(set.env.keys().collect::<Vec<_>>(), ["NO_PROXY"]);
        let argument = "ExecStart=/usr/local/bin/k3s server --etcd-s3-secret-key=canary-7Q2x\n";
        let odd = read(&found(argument, "", ""), "").unwrap_err();
        assert!(
            odd.contains("etcd-s3-secret-key") && !odd.contains("canary"),
            "{odd}"
        );
    }

    #[test]
    fn the_name_of_a_node_moves_to_the_configuration() {
        let unit = "ExecStart=/usr/local/bin/k3s server\n";
        let set = read(&found(unit, "K3S_NODE_NAME='shelf-1'\n", ""), "").unwrap();
        assert_eq!(toml(&set.config), r#"{ node-name = "shelf-1" }"#);
        assert!(set.env.is_empty());
    }

    #[test]
    fn what_is_elsewhere_or_not_understood_is_said() {
        for (env, config, word) in [
            ("K3S_DATA_DIR=/srv\n", "", "K3S_DATA_DIR"),
            (
                "K3S_DATASTORE_ENDPOINT=postgres://u:canary-7Q2x@db\n",
                "",
                "another database",
            ),
            ("K3S_CONFIG_FILE=/srv/k3s.yaml\n", "", "K3S_CONFIG_FILE"),
            ("", "agent-token: canary-7Q2x\n", "agent-token"),
            ("", "with-node-id: true\n", "with-node-id"),
            ("", "https-listen-port: 7443\n", "another port"),
        ] {
            let unit = "ExecStart=/usr/local/bin/k3s server\n";
            let odd = read(&found(unit, env, config), "").unwrap_err();
            assert!(odd.contains(word) && !odd.contains("canary"), "{odd}");
        }
        let usual =
            "data-dir: /var/lib/rancher/k3s\nhttps-listen-port: 6443\nwith-node-id: false\n";
        let unit = "ExecStart=/usr/local/bin/k3s server\n";
        assert!(read(&found(unit, "", usual), "").unwrap().config.is_empty());

        let moved = found(
            "ExecStart=/usr/local/bin/k3s server --data-dir /srv/k3s\n",
            "",
            "",
        );
        assert!(read(&moved, "").unwrap_err().contains("data-dir"));
        let odd = found("ExecStart=/usr/local/bin/k3s server\n", "", "a: {b: c}\n");
        assert!(read(&odd, "").unwrap_err().contains("no file of flags"));
        let plain = found("the unit", "", "");
        assert_eq!(read(&plain, "the unit").unwrap(), Set::default());
    }
}
