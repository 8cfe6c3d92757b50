//! Where K3s' files are, and what is in those that its kinds write. As get.k3s.io lays them out (k3s-io/k3s install.sh;
//! docs.k3s.io, Configuration File); its killall and uninstall scripts are in `scripts`.

use std::collections::BTreeMap;

use super::Settings;
use super::setting::{quoted, yaml};
use crate::model::path::AbsPath;
use crate::model::sensitive::Text;
use crate::model::units::Mode;
use crate::steps::file::File;
use crate::steps::preflight::Role;
use crate::steps::shared::Presence;

/// The binary.
pub const BINARY: &str = "/usr/local/bin/k3s";
/// Commands that K3s is when it is called so.
pub const LINKS: [&str; 3] = ["kubectl", "crictl", "ctr"];
/// The folder of its configuration.
pub const CONFIG: &str = "/etc/rancher/k3s";
/// The folder of drop-ins; of two that set a key, the later one by name wins.
pub const DROP_INS: &str = "/etc/rancher/k3s/config.yaml.d";
/// The drop-in of the kinds `k3s_server` and `k3s_agent`.
pub const BASE: &str = "/etc/rancher/k3s/config.yaml.d/10-base.yaml";
/// The drop-in with the token.
pub const TOKEN: &str = "/etc/rancher/k3s/config.yaml.d/20-token.yaml";
/// The drop-ins that kinds of this tool write.
pub const OWN: [&str; 4] = [
    BASE,
    TOKEN,
    "/etc/rancher/k3s/config.yaml.d/30-encryption.yaml",
    "/etc/rancher/k3s/config.yaml.d/40-snapshots.yaml",
];
/// Image registries; K3s reads it when it starts.
pub const REGISTRIES: &str = "/etc/rancher/k3s/registries.yaml";
/// A server's token, with the hash of the cluster's CA.
pub const SERVER_TOKEN: &str = "/var/lib/rancher/k3s/server/token";
/// There where Secrets are, or ever were, encrypted in the datastore.
pub const ENCRYPTION: &str = "/var/lib/rancher/k3s/server/cred/encryption-config.json";

/// Holds a server that is leaving its cluster: K3s is not started again by systemd. Until the next boot.
pub const HOLD: &str = "/run/systemd/system/k3s.service.d/hmco-boot-leaving.conf";

/// A path that is written in this module.
#[expect(
    clippy::expect_used,
    reason = "constants; every test of these kinds asks for all of them"
)]
pub fn path(text: &str) -> AbsPath {
    AbsPath::new(text).expect("a constant is a path")
}

/// The unit of a role.
pub fn unit_name(role: Role) -> &'static str {
    match role {
        Role::Server => "k3s.service",
        Role::Agent => "k3s-agent.service",
    }
}

/// The unit of the other role, which must not run beside.
pub fn other_unit(role: Role) -> &'static str {
    match role {
        Role::Server => unit_name(Role::Agent),
        Role::Agent => unit_name(Role::Server),
    }
}

/// The first of these units that is neither of both: a K3s that was installed with INSTALL_K3S_NAME.
pub fn named_unit(units: &[String]) -> Option<&str> {
    let own = [Role::Server, Role::Agent].map(unit_name);
    let mut units = units.iter().map(String::as_str);
    units.find(|unit| !own.contains(unit))
}

/// The unit file of a role.
pub fn unit_path(role: Role) -> AbsPath {
    path(&format!("/etc/systemd/system/{}", unit_name(role)))
}

/// The environment file of a role's unit.
pub fn env_path(role: Role) -> AbsPath {
    path(&format!("/etc/systemd/system/{}.env", unit_name(role)))
}

/// The unit file: that of get.k3s.io without arguments, for all settings are in files.
pub fn unit_text(role: Role) -> String {
    let (unit, word) = (unit_name(role), role.word());
    // Limits other than these cost the kernel accounting; a container's limits are its control group's.
    format!(
        "[Unit]\nDescription=Lightweight Kubernetes\nDocumentation=https://k3s.io\nWants=network-online.target\n\
         After=network-online.target\n\n[Install]\nWantedBy=multi-user.target\n\n[Service]\nType=notify\n\
         EnvironmentFile=-/etc/default/%N\nEnvironmentFile=-/etc/sysconfig/%N\n\
         EnvironmentFile=-/etc/systemd/system/{unit}.env\nKillMode=process\nDelegate=yes\nUser=root\n\
         LimitNOFILE=1048576\nLimitNPROC=infinity\nLimitCORE=infinity\nTasksMax=infinity\nTimeoutStartSec=0\n\
         Restart=always\nRestartSec=5s\nExecStartPre=-/sbin/modprobe br_netfilter\nExecStartPre=-/sbin/modprobe overlay\n\
         ExecStart={BINARY} {word}\n"
    )
}

/// The drop-in with everything but the token.
pub fn base(settings: &Settings) -> File {
    let text = format!(
        "# Written by hmco-boot, which overwrites changes. Further keys: `config` of the step.\n{}",
        yaml(settings)
    );
    file(BASE, Text::plain(text), 0o644)
}

/// The drop-in with the token.
pub fn token(token: &Text) -> File {
    let text = format!("token: {}\n", quoted(token.expose()));
    let text = match token.is_tainted() {
        true => Text::tainted(text),
        false => Text::plain(text),
    };
    file(TOKEN, text, 0o600)
}

/// The environment file: `NAME="value"` lines, systemd.exec(5).
pub fn env(role: Role, env: &BTreeMap<String, Text>) -> File {
    let tainted = env.values().any(Text::is_tainted);
    let line = |(name, value): (&String, &Text)| {
        let escaped = value.expose().replace('\\', "\\\\").replace('"', "\\\"");
        format!("{name}=\"{escaped}\"\n")
    };
    let text: String = env.iter().map(line).collect();
    let text = match tainted {
        true => Text::tainted(text),
        false => Text::plain(text),
    };
    file(env_path(role).as_str(), text, 0o600)
}

fn file(at: &str, content: Text, mode: u32) -> File {
    File {
        path: path(at),
        content: Some(content),
        mode: Some(Mode(mode)),
        owner: None,
        group: None,
        state: Presence::Present,
        replace: true,
        backup: false,
    }
}

/// The value of a key in a drop-in that this module wrote.
pub fn value<'t>(text: &'t str, key: &str) -> Option<&'t str> {
    text.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| *name == key)
        .map(|(_, value)| value.trim().trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_that_of_the_installer_without_arguments() {
        let text = unit_text(Role::Agent);
        assert!(text.ends_with("ExecStart=/usr/local/bin/k3s agent\n"));
        assert!(text.contains("\nType=notify\n") && text.contains("/k3s-agent.service.env\n"));
        assert!(!text.contains("  "), "{text}");
    }

    #[test]
    fn a_key_of_a_drop_in_is_found() {
        let own = "cluster-init: true\nserver: \"https://192.0.2.1:6443\"\n";
        assert_eq!(value(own, "server"), Some("https://192.0.2.1:6443"));
        assert_eq!(value(own, "cluster-init"), Some("true"));
        assert_eq!(value(own, "token"), None);
    }

    #[test]
    fn a_secret_value_makes_the_whole_environment_file_secret() {
        let vars = [
            ("A".to_owned(), Text::plain("1 \"x\"")),
            ("B".to_owned(), Text::tainted("s")),
        ];
        let file = env(Role::Server, &BTreeMap::from(vars));
        let content = file.content.unwrap();
        assert!(content.is_tainted());
        assert_eq!(content.expose(), "A=\"1 \\\"x\\\"\"\nB=\"s\"\n");
    }
}
