//! Whose secrets they are: `--identity`, and what else says where private keys and the store of a project are. Shared by
//! all commands that may open a secret.

use std::path::{Path, PathBuf};

use age::secrecy::SecretString;

use super::{Context, reach};
use crate::model::outcome::Failure;
use crate::secrets::approved::ConfigEnv;
use crate::secrets::identity::{Ask, IdentityEnv};
use crate::secrets::store::Location;

/// The folder of a project that holds its secrets.
pub const FOLDER: &str = "secrets";

/// Which private keys open secrets.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct IdentityArgs {
    /// Your private key for secrets, an age identity or an SSH key; may be repeated
    #[arg(long = "identity", value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub files: Vec<PathBuf>,
}

impl IdentityArgs {
    /// With what the environment says.
    pub fn environment(&self, context: &Context<'_>) -> IdentityEnv {
        IdentityEnv {
            named: self
                .files
                .iter()
                .map(|file| context.cwd.join(file))
                .collect(),
            variable: variable(context, "HMCO_BOOT_IDENTITY").map(|file| context.cwd.join(file)),
            credentials: variable(context, "CREDENTIALS_DIRECTORY"),
            config: config(context).folder(),
            home: variable(context, "HOME"),
        }
    }
}

/// Where this user's configuration is.
pub fn config(context: &Context<'_>) -> ConfigEnv {
    ConfigEnv {
        state_directory: variable(context, "STATE_DIRECTORY"),
        xdg_config_home: variable(context, "XDG_CONFIG_HOME"),
        home: variable(context, "HOME"),
    }
}

/// Where the store of a project is, and what is remembered of it.
pub fn location(root: &Path, context: &Context<'_>) -> Result<Location, Failure> {
    let state = config(context).stores()?;
    Ok(Location::new(root.join(FOLDER), state))
}

fn variable(context: &Context<'_>, name: &str) -> Option<PathBuf> {
    let value = context.env.var(name).filter(|value| !value.is_empty());
    value.map(PathBuf::from)
}

/// The person at the terminal.
#[derive(Clone, Copy, Debug, Default)]
pub struct AtTerminal;

impl Ask for AtTerminal {
    fn passphrase(&mut self, of: &str, again: bool) -> Result<SecretString, Failure> {
        let prompt = match again {
            true => format!("That is not it. Passphrase for {of}: "),
            false => format!("Passphrase for {of}: "),
        };
        let given = reach::ask(&prompt)?;
        Ok(SecretString::from(given.expose().to_owned()))
    }
}
