//! How commands reach nodes over SSH: the caller's ssh_config, keys and environment, and the password of sudo.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Context;
use super::error::{CliError, Kind};
use crate::model::id::Target;
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
}

/// The ways to the nodes of an inventory whose project is in `root`. Asks for sudo's password where the arguments say so,
/// and warns of what ssh_config says about one of the `targets` and is not done.
pub fn ways(
    inventory: &Inventory,
    root: &Path,
    targets: &[Target],
    arguments: &BecomeArgs,
    context: &mut Context<'_>,
) -> Result<SshWays, CliError> {
    let env = context.env;
    let variable = |name: &str| env.var(name).and_then(|value| value.into_string().ok());
    let resolver = Resolver::load(inventory, root, environment(context), &variable)
        .map_err(|failure| CliError::from_failure(Kind::Usage, &failure))?;
    for node in &inventory.nodes {
        if let Connection::Ssh(ssh) = &node.connection
            && targets.contains(&Target::Node(node.name.clone()))
            && let Ok(route) = resolver.route(&node.name, ssh)
        {
            warn_unsupported(node.name.as_str(), &route, context);
        }
    }
    let password = become_password(arguments)?;
    Ok(SshWays {
        route: Box::new(move |node, ssh| resolver.route(node, ssh)),
        sudo: Box::new(move |node, ssh, route| sudo(node.as_str(), ssh, route, password.as_ref())),
        access: Arc::new(Access::new(Timeouts::default(), Arc::new(keyring()))),
    })
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
            "sudo on {node} wants the secret `{name}`, and this project has no secret store"
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
    match rpassword::prompt_password(prompt) {
        Ok(text) => Ok(Password::new(text)),
        Err(error) => Err(Failure::new("there is no terminal to ask for a password")
            .evidence(error.to_string())
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
