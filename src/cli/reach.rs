//! How commands reach nodes over SSH: the caller's ssh_config, keys and environment, and the password of sudo.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Context;
use super::error::{CliError, Kind};
use super::secrets::identity::IdentityArgs;
use super::secrets::prompt;
use super::vault::Vault;
use crate::model::id::{NodeName, Target};
use crate::model::inventory::{Connection, Inventory, Ssh};
use crate::model::outcome::Failure;
use crate::transport::machines::SshWays;
use crate::transport::ssh::resolve::Resolver;
use crate::transport::ssh::route::{Environment, Password, Route};
use crate::transport::ssh::{Access, Keyring, Sudo, Timeouts};

/// How to become root on nodes that ask for a password.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct BecomeArgs {
    /// Ask for the password of sudo, once for all nodes
    #[arg(long)]
    pub ask_become_pass: bool,
    /// Read the password of sudo from the first line of standard input
    #[arg(long, conflicts_with = "ask_become_pass")]
    pub become_pass_stdin: bool,
    /// Whose secrets: the password of sudo may be one.
    #[command(flatten)]
    pub identity: IdentityArgs,
}

impl BecomeArgs {
    /// The secrets that hold sudo's passwords of these targets, each with a node that wants it; none where another
    /// password is given.
    pub fn secrets(&self, inventory: &Inventory, targets: &[Target]) -> BTreeMap<String, String> {
        if self.ask_become_pass || self.become_pass_stdin {
            return BTreeMap::new();
        }
        let nodes = inventory.nodes.iter();
        nodes
            .filter(|node| targets.contains(&Target::Node(node.name.clone())))
            .filter_map(|node| match &node.connection {
                Connection::Ssh(ssh) if ssh.become_root => {
                    Some((ssh.become_password.clone()?, node.name.to_string()))
                }
                _ => None,
            })
            .collect()
    }
}

/// The ways to the nodes of an inventory, before it is known how to become root there.
#[derive(Clone)]
pub struct Roads {
    resolver: Arc<Resolver>,
    access: Arc<Access>,
}

impl Roads {
    /// Those of an inventory whose project is in `root`. Warns of what ssh_config says about one of the `targets` and is
    /// not done.
    pub fn of(
        inventory: &Inventory,
        root: &Path,
        targets: &[Target],
        context: &mut Context<'_>,
    ) -> Result<Self, CliError> {
        let env = context.env;
        let variable = |name: &str| env.var(name).and_then(|value| value.into_string().ok());
        let resolver = Resolver::load(inventory, root, environment(context), &variable)
            .map_err(|failure| CliError::from_failure(Kind::Usage, &failure))?;
        let roads = Self {
            resolver: Arc::new(resolver),
            access: Arc::new(Access::new(Timeouts::default(), Arc::new(keyring()))),
        };
        for (node, route) in roads.routes(inventory, targets) {
            warn_unsupported(node.as_str(), &route, context);
        }
        Ok(roads)
    }

    fn routes<'i>(
        &self,
        inventory: &'i Inventory,
        targets: &[Target],
    ) -> Vec<(&'i NodeName, Route)> {
        let nodes = inventory.nodes.iter();
        nodes
            .filter(|node| targets.contains(&Target::Node(node.name.clone())))
            .filter_map(|node| match &node.connection {
                Connection::Ssh(ssh) => {
                    Some((&node.name, self.resolver.route(&node.name, ssh).ok()?))
                }
                Connection::Local { .. } => None,
            })
            .collect()
    }

    /// Connects to these targets already: there is other work until something is asked of them.
    pub fn ahead(&self, inventory: &Inventory, targets: &[Target]) {
        for (_, route) in self.routes(inventory, targets) {
            self.access.connect_ahead(&route);
        }
    }
}

/// The ways to the `targets` of an inventory, root's powers included: asks for sudo's password where the arguments say so,
/// and takes it from the secrets where the inventory says so.
pub async fn ways(
    inventory: &Inventory,
    roads: Roads,
    targets: &[Target],
    arguments: &BecomeArgs,
    vault: &mut Vault,
    context: &mut Context<'_>,
) -> Result<SshWays, CliError> {
    let wanted = arguments.secrets(inventory, targets);
    expect(vault, &wanted)?;
    let names: BTreeSet<String> = wanted.into_keys().collect();
    vault.open(&names, context.output).await?;
    let mut passwords = BTreeMap::new();
    for name in names {
        let password = vault
            .password(&name)
            .map_err(|failure| CliError::from_failure(Kind::Usage, &failure))?;
        passwords.insert(name, password);
    }
    let redactor = context.output.redactor();
    let given = become_password(arguments)?;
    if let Some(password) = &given {
        redactor.register("", password.expose().as_bytes());
    }
    let Roads { resolver, access } = roads;
    Ok(SshWays {
        route: Box::new(move |node, ssh| resolver.route(node, ssh)),
        sudo: Box::new(move |node, ssh, route| {
            let secret = ssh.become_password.as_ref();
            let secret = secret.and_then(|name| passwords.get(name));
            sudo(node.as_str(), ssh, route, given.as_ref().or(secret))
        }),
        access,
    })
}

/// Refuses passwords of sudo that are in no secret.
pub fn expect(vault: &Vault, wanted: &BTreeMap<String, String>) -> Result<(), CliError> {
    for (name, node) in wanted {
        if let Err(failure) = vault.expect(name) {
            let what = format!(
                "sudo on {node} wants the secret `{name}` (`become_password` in the inventory): {}",
                failure.message
            );
            let hints = failure.hint.into_iter();
            return Err(hints
                .fold(CliError::usage(what), CliError::hint)
                .hint("or give the password with `--ask-become-pass`"));
        }
    }
    Ok(())
}

/// Warns of what the caller's SSH files say about a machine and is not done.
pub fn warn_unsupported(name: &str, route: &Route, context: &mut Context<'_>) {
    for what in &route.unsupported {
        let what = format!("{name}: not done as ssh_config says: {what}");
        context
            .output
            .warn(&what, "say it in the inventory, if it matters");
    }
}

/// Keys whose passphrases are asked for at the terminal.
pub fn keyring() -> Keyring {
    Keyring::new(Box::new(ask))
}

/// What of the caller's environment matters to SSH.
pub fn environment(context: &Context<'_>) -> Environment {
    let text = |name: &str| context.env.var(name).filter(|value| !value.is_empty());
    let root = || rustix::process::geteuid().is_root().then(|| "root".into());
    let user = text("USER").or_else(|| text("LOGNAME")).or_else(root);
    Environment {
        home: text("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from),
        user: user.unwrap_or_default().to_string_lossy().into_owned(),
        agent: text("SSH_AUTH_SOCK").map(PathBuf::from),
        uid: rustix::process::getuid().as_raw(),
        host: rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned(),
    }
}

/// How to become root at the end of a route.
fn sudo(node: &str, ssh: &Ssh, route: &Route, given: Option<&Password>) -> Result<Sudo, Failure> {
    let is_root = route.hops.last().is_some_and(|hop| hop.user == "root");
    if !ssh.become_root || is_root {
        return Ok(Sudo::None);
    }
    match (given, &ssh.become_password) {
        (Some(password), _) => Ok(Sudo::Password(password.clone())),
        (None, Some(name)) => Err(Failure::new(format!(
            "sudo on {node} wants the secret `{name}`, which was not opened"
        ))
        .hint("give the password with `--ask-become-pass`")),
        (None, None) => Ok(Sudo::Passwordless),
    }
}

fn become_password(arguments: &BecomeArgs) -> Result<Option<Password>, CliError> {
    if arguments.ask_become_pass {
        let asked = ask("Password of sudo on the nodes: ");
        return asked
            .map(Some)
            .map_err(|failure| CliError::from_failure(Kind::Usage, &failure));
    }
    if !arguments.become_pass_stdin {
        return Ok(None);
    }
    password_from_stdin().map(Some)
}

/// The first line of standard input.
pub fn password_from_stdin() -> Result<Password, CliError> {
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    match read {
        Ok(count) if count > 0 => {
            let length = line.trim_end_matches(['\n', '\r']).len();
            line.truncate(length);
            Ok(Password::new(line))
        }
        _ => Err(CliError::usage("standard input gives no password")
            .hint("pass it as the first line, or let it be asked for")),
    }
}

/// Asks at the terminal, without echo.
pub fn ask(prompt: &str) -> Result<Password, Failure> {
    match prompt::hidden(prompt) {
        Ok(text) => Ok(Password::new(text.as_str().to_owned())),
        Err(error) => Err(Failure::new("there is no terminal to ask for a password")
            .evidence(error.evidence.join("; "))
            .hint("run it at a terminal; for keys, `ssh-add` puts them into an agent")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::ssh::route::{Hop, HostKeys};

    fn route(user: &str) -> Route {
        let hop = Hop {
            name: "pi5-01".to_owned(),
            address: "192.0.2.1".to_owned(),
            port: 22,
            user: user.to_owned(),
            identities: Vec::new(),
            identities_only: false,
            agent: None,
            host_keys: HostKeys::Pinned(Vec::new()),
            password: None,
            host_key_alias: None,
        };
        Route {
            hops: vec![hop],
            unsupported: Vec::new(),
        }
    }

    fn ssh(become_root: bool, secret: Option<&str>) -> Ssh {
        Ssh {
            become_root,
            become_password: secret.map(str::to_owned),
            ..Ssh::default()
        }
    }

    #[test]
    fn root_needs_no_sudo_and_a_password_that_is_not_there_is_refused_by_its_name() {
        let how = |ssh: &Ssh, user: &str, given: Option<&Password>| {
            sudo("pi5-01", ssh, &route(user), given)
        };
        assert!(matches!(
            how(&ssh(true, None), "root", None),
            Ok(Sudo::None)
        ));
        assert!(matches!(how(&ssh(false, None), "pi", None), Ok(Sudo::None)));
        assert!(matches!(
            how(&ssh(true, None), "pi", None),
            Ok(Sudo::Passwordless)
        ));
        let refused = how(&ssh(true, Some("sudo_pi")), "pi", None).unwrap_err();
        assert!(refused.message.contains("`sudo_pi`"), "{refused:?}");
        let given = Password::new("x".to_owned());
        assert!(matches!(
            how(&ssh(true, Some("sudo_pi")), "pi", Some(&given)),
            Ok(Sudo::Password(_))
        ));
    }
}
