//! Makes the way to a machine: what the inventory says wins (the node's own keys, then `[ssh]`), then what ssh_config says
//! for the address, then OpenSSH's defaults.
//!
//! The name that is looked up in ssh_config is the `address`, as in `ssh ADDRESS`: `address = "pi5-01"` follows
//! `Host pi5-01`, an IP address follows a `Host` with that IP address. The node's name is not looked up.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use russh::keys::PublicKey;

use super::config::{self, Jump, Proxy, Settings, SshConfig};
use super::files::{Disk, Files};
use super::known_hosts::{Found, KnownHosts, host_name};
use super::route::{Environment, Hop, HostKeys, Route};
use crate::model::id::NodeName;
use crate::model::inventory::{Bastion, Connection, Inventory, Ssh, Via};
use crate::model::outcome::Failure;

/// More hops than this are a mistake.
const MAX_HOPS: usize = 16;

/// Key files that are tried where nothing names any: those OpenSSH tries, whose types can be used, the newest type first.
const DEFAULT_IDENTITIES: [&str; 3] = ["id_ed25519", "id_ecdsa", "id_rsa"];

/// Makes routes to the machines of one inventory.
pub struct Resolver {
    environment: Environment,
    config: SshConfig,
    bastions: Vec<Bastion>,
    project: PathBuf,
    files: Arc<dyn Files>,
    known: Mutex<BTreeMap<PathBuf, Result<Arc<KnownHosts>, String>>>,
}

/// A machine to be reached, as its table says.
struct Wanted<'a> {
    name: String,
    address: &'a str,
    port: Option<u16>,
    user: Option<&'a str>,
    identity: Option<&'a str>,
    host_keys: &'a [String],
    via: &'a Via,
}

impl Resolver {
    /// For an inventory of the project folder `project`, with an ssh_config.
    pub fn new(
        inventory: &Inventory,
        project: &Path,
        environment: Environment,
        config: SshConfig,
        files: Arc<dyn Files>,
    ) -> Self {
        Self {
            environment,
            config,
            bastions: inventory.bastions.clone(),
            project: project.to_owned(),
            files,
            known: Mutex::default(),
        }
    }

    /// With the caller's files. They are read only where a node of the inventory is reached by SSH. `variable` gives
    /// environment variables, for `${NAME}` in ssh_config.
    ///
    /// # Errors
    ///
    /// ssh_config is wrong or cannot be read.
    pub fn load(
        inventory: &Inventory,
        project: &Path,
        environment: Environment,
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let by_ssh =
            |node: &crate::model::inventory::Node| matches!(node.connection, Connection::Ssh(_));
        let config = if inventory.nodes.iter().any(by_ssh) {
            SshConfig::load(&Disk, &environment.home, variable)?
        } else {
            SshConfig::default()
        };
        Ok(Self::new(
            inventory,
            project,
            environment,
            config,
            Arc::new(Disk),
        ))
    }

    /// The way to a node.
    ///
    /// # Errors
    ///
    /// What the inventory or ssh_config says cannot be used.
    pub fn route(&self, node: &NodeName, ssh: &Ssh) -> Result<Route, Failure> {
        self.way(&Wanted {
            name: node.to_string(),
            address: &ssh.address,
            port: ssh.port,
            user: ssh.user.as_deref(),
            identity: ssh.identity.as_deref(),
            host_keys: &ssh.host_keys,
            via: &ssh.via,
        })
    }

    /// The way to a jump host of the inventory.
    ///
    /// # Errors
    ///
    /// As for [`Resolver::route`].
    pub fn bastion(&self, bastion: &Bastion) -> Result<Route, Failure> {
        self.way(&of_bastion(bastion))
    }

    fn way(&self, wanted: &Wanted<'_>) -> Result<Route, Failure> {
        let mut route = Route {
            hops: Vec::new(),
            unsupported: Vec::new(),
        };
        self.extend(wanted, &mut route, &mut Vec::new())?;
        Ok(route)
    }

    /// Adds the hops before a machine, then the machine. `seen` is what is being reached already.
    fn extend(
        &self,
        wanted: &Wanted<'_>,
        route: &mut Route,
        seen: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let settings = self.config.lookup(wanted.address);
        let (hop, notes) = self.hop(wanted, &settings)?;
        let place = settings.proxy.as_ref().map_or("", |(_, place)| place);
        if seen.len() >= MAX_HOPS || seen.contains(&wanted.name) {
            return Err(Failure::new(format!(
                "{} is reached through itself: {} -> {}",
                wanted.name,
                seen.join(" -> "),
                wanted.name
            ))
            .hint(format!("ProxyJump in ssh_config leads in a circle: see {place}; `ProxyJump none` for that host ends it")));
        }
        seen.push(wanted.name.clone());
        let mut notes = notes;
        match (wanted.via, &settings.proxy) {
            (Via::Bastion(name), _) => {
                let found = self.bastions.iter().find(|bastion| bastion.name == *name);
                let bastion = found.ok_or_else(|| {
                    Failure::new(format!("there is no bastion {name}"))
                        .hint(format!("add [bastion.{name}] to the inventory"))
                })?;
                self.extend(&of_bastion(bastion), route, seen)?;
            }
            (Via::SshConfig, Some((Proxy::Jump(jumps), _))) => {
                self.jumps(jumps, &hop, wanted, route, seen)?;
            }
            (Via::SshConfig, Some((Proxy::Command, place))) => {
                notes.push(format!("ProxyCommand ({place})"));
            }
            _ => {}
        }
        seen.pop();
        let is_end = seen.is_empty();
        route.unsupported.extend(notes.into_iter().map(|note| {
            if is_end {
                note
            } else {
                format!("{}: {note}", wanted.name)
            }
        }));
        route.hops.push(hop);
        Ok(())
    }

    /// Adds the hosts of a `ProxyJump`. As with OpenSSH the first one is reached as its own settings say, and the others
    /// through the one before.
    fn jumps(
        &self,
        jumps: &[Jump],
        to: &Hop,
        wanted: &Wanted<'_>,
        route: &mut Route,
        seen: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let fill = |text: &str| {
            config::fill(text, |token| match token {
                'h' => Some(to.address.clone()),
                'n' => Some(wanted.address.to_owned()),
                'p' => Some(to.port.to_string()),
                'r' => Some(to.user.clone()),
                _ => None,
            })
            .map_err(|what| {
                Failure::new(format!("ProxyJump for {}: `{text}`: {what}", wanted.name))
                    .hint("write the name of the host")
            })
        };
        for (index, jump) in jumps.iter().enumerate() {
            let host = fill(&jump.host)?;
            let user = jump.user.as_deref().map(fill).transpose()?;
            let via = if index == 0 {
                Via::SshConfig
            } else {
                Via::Direct
            };
            let next = Wanted {
                name: format!("jump host {host}"),
                address: &host,
                port: jump.port,
                user: user.as_deref(),
                identity: None,
                host_keys: &[],
                via: &via,
            };
            self.extend(&next, route, seen)?;
        }
        Ok(())
    }

    /// One machine, and what is not followed of what ssh_config says for it.
    fn hop(&self, wanted: &Wanted<'_>, settings: &Settings) -> Result<(Hop, Vec<String>), Failure> {
        let mut notes = settings.unsupported.clone();
        let user = wanted.user.or(settings.user.as_deref());
        let user = user.unwrap_or(&self.environment.user).to_owned();
        let port = wanted.port.or(settings.port).unwrap_or(22);
        let address = match &settings.hostname {
            Some(name) => config::fill(name, |token| {
                (token == 'h').then(|| wanted.address.to_owned())
            })
            .map_err(|what| {
                Failure::new(format!("HostName for {}: `{name}`: {what}", wanted.name))
                    .hint("only %h and %% have a meaning there")
            })?,
            None => wanted.address.to_owned(),
        };
        let mut hop = Hop {
            name: wanted.name.clone(),
            address: address.to_lowercase(),
            port,
            user,
            identities: Vec::new(),
            identities_only: false,
            agent: None,
            host_keys: HostKeys::Pinned(Vec::new()),
            password: None,
            host_key_alias: settings.host_key_alias.clone(),
        };
        self.identities(wanted, settings, &mut hop, &mut notes)?;
        hop.host_keys = if wanted.host_keys.is_empty() {
            self.known(wanted, settings, &hop, &mut notes)
        } else {
            HostKeys::Pinned(pinned(&wanted.name, wanted.host_keys)?)
        };
        Ok((hop, notes))
    }

    fn identities(
        &self,
        wanted: &Wanted<'_>,
        settings: &Settings,
        hop: &mut Hop,
        notes: &mut Vec<String>,
    ) -> Result<(), Failure> {
        let home = &self.environment.home;
        hop.agent = match settings.identity_agent.as_deref() {
            None | Some("SSH_AUTH_SOCK") => self.environment.agent.clone(),
            Some("none") => None,
            Some(path) => self.note(notes, "IdentityAgent", self.path(path, wanted, hop)),
        };
        if let Some(identity) = wanted.identity {
            let path = config::tilde(identity, home).map_err(|what| {
                Failure::new(format!("the identity of {}: {what}", wanted.name))
                    .hint("write `~/.ssh/NAME`, a whole path, or one relative to the project")
            })?;
            hop.identities = vec![self.project.join(path)];
            hop.identities_only = true;
            return Ok(());
        }
        hop.identities_only = settings.identities_only.unwrap_or(false);
        let named = if settings.identity_files.is_empty() {
            let usual = DEFAULT_IDENTITIES.iter();
            usual.map(|name| home.join(".ssh").join(name)).collect()
        } else {
            let files = settings.identity_files.iter();
            files
                .filter(|file| !file.eq_ignore_ascii_case("none"))
                .filter_map(|file| self.note(notes, "IdentityFile", self.path(file, wanted, hop)))
                .collect::<Vec<_>>()
        };
        // Files that are not there are passed over, as by OpenSSH. An agent may hold the key of a `.pub` alone.
        let is_there = |path: &PathBuf| {
            let mut public = path.clone().into_os_string();
            public.push(".pub");
            self.files.exists(path) || self.files.exists(Path::new(&public))
        };
        hop.identities = named.into_iter().filter(is_there).collect();
        Ok(())
    }

    fn known(
        &self,
        wanted: &Wanted<'_>,
        settings: &Settings,
        hop: &Hop,
        notes: &mut Vec<String>,
    ) -> HostKeys {
        let usual = |paths: [&str; 2]| paths.map(str::to_owned).to_vec();
        let user = settings.user_known_hosts.clone();
        let global = settings.global_known_hosts.clone();
        let named = user
            .unwrap_or_else(|| usual(["~/.ssh/known_hosts", "~/.ssh/known_hosts2"]))
            .into_iter()
            .chain(global.unwrap_or_else(|| {
                usual(["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"])
            }));
        let mut files: Vec<PathBuf> = Vec::new();
        let (mut found, mut portless) = (Found::default(), Found::default());
        for path in named.filter(|path| !path.eq_ignore_ascii_case("none")) {
            let path = self.path(&path, wanted, hop);
            let Some(path) = self.note(notes, "UserKnownHostsFile", path) else {
                continue;
            };
            match self.known_hosts(&path) {
                Ok(known) => {
                    let host = host_name(&hop.address, hop.port);
                    found.merge(known.find(hop.host_key_alias.as_ref().unwrap_or(&host)));
                    if hop.host_key_alias.is_none() && hop.port != 22 {
                        portless.merge(known.find(&host_name(&hop.address, 22)));
                    }
                }
                Err(what) => notes.push(what),
            }
            files.push(path);
        }
        // A key known for the host without a port is good for its other ports, where none is known for that port itself.
        let keys = if found.keys.is_empty() {
            portless.keys
        } else {
            Vec::new()
        };
        found.merge(Found {
            keys,
            damaged: Vec::new(),
            ..portless
        });
        if found.keys.is_empty() {
            let authorities = found.authorities.iter();
            notes.extend(authorities.map(|place| format!("@cert-authority ({place})")));
        }
        let damaged = found.damaged.iter();
        notes.extend(damaged.map(|place| format!("a line that is no host key ({place})")));
        HostKeys::Known {
            files,
            keys: found.keys,
            revoked: found.revoked,
        }
    }

    /// A file of host keys, read once; one that is not there is empty.
    fn known_hosts(&self, path: &Path) -> Result<Arc<KnownHosts>, String> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let read = || {
            let shown = config::shown(path, &self.environment.home);
            match self.files.read(path) {
                Ok(text) => Ok(Arc::new(KnownHosts::parse(&shown, &text))),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Arc::default()),
                Err(error) => Err(format!("{shown}, which cannot be read: {error}")),
            }
        };
        known.entry(path.to_owned()).or_insert_with(read).clone()
    }

    /// A path of ssh_config with its tokens filled in.
    fn path(&self, text: &str, wanted: &Wanted<'_>, hop: &Hop) -> Result<PathBuf, String> {
        let own = &self.environment;
        if text.starts_with('$') || text.contains("${") {
            return Err(format!("`{text}` names a variable that is not set"));
        }
        let path = config::fill(text, |token| match token {
            'd' => Some(own.home.to_string_lossy().into_owned()),
            'h' => Some(hop.address.clone()),
            'i' => Some(own.uid.to_string()),
            'k' => Some(
                hop.host_key_alias
                    .clone()
                    .unwrap_or_else(|| wanted.address.to_owned()),
            ),
            'l' => Some(own.host.clone()),
            'L' => Some(own.host.split('.').next().unwrap_or_default().to_owned()),
            'n' => Some(wanted.address.to_owned()),
            'p' => Some(hop.port.to_string()),
            'r' => Some(hop.user.clone()),
            'u' => Some(own.user.clone()),
            _ => None,
        })
        .map_err(|what| format!("`{text}`: {what}"))?;
        config::tilde(&path, &own.home)
    }

    /// A path, or a note why there is none.
    fn note(
        &self,
        notes: &mut Vec<String>,
        directive: &str,
        path: Result<PathBuf, String>,
    ) -> Option<PathBuf> {
        path.map_err(|what| notes.push(format!("{directive} {what}")))
            .ok()
    }
}

fn of_bastion(bastion: &Bastion) -> Wanted<'_> {
    Wanted {
        name: format!("bastion {}", bastion.name),
        address: &bastion.address,
        port: bastion.port,
        user: bastion.user.as_deref(),
        identity: bastion.identity.as_deref(),
        host_keys: &bastion.host_keys,
        via: &bastion.via,
    }
}

/// The keys of `host_keys`.
///
/// # Errors
///
/// One is of a type that cannot be used.
pub fn pinned(name: &str, lines: &[String]) -> Result<Vec<PublicKey>, Failure> {
    lines
        .iter()
        .map(|line| {
            PublicKey::from_openssh(line).map_err(|error| {
                Failure::new(format!("a host key of {name} cannot be read: {error}"))
                    .evidence(line.clone())
                    .hint("remove it from `host_keys`; `hmco-boot hosts pin` writes those that can be used")
            })
        })
        .collect()
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
