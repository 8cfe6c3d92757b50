//! Where a command's identities come from: `--identity`, the environment, the usual places; and who is asked for
//! passphrases.

use std::path::PathBuf;

use super::prompt::Asking;
use crate::cli::Context;
use crate::cli::error::{CliError, Kind};
use crate::model::outcome::Failure;
use crate::secrets::approved::ConfigEnv;
use crate::secrets::identity::{Identities, IdentityEnv};
use crate::secrets::recipients::Recipients;

/// `--identity`, for every command that may open secrets.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct IdentityArgs {
    /// A file with the private key that opens secrets (an age identity or an SSH key); may be repeated; by default
    /// $HMCO_BOOT_IDENTITY, else what is found of: the systemd credential hmco-boot-identity,
    /// ~/.config/hmco-boot/identity.txt, ~/.ssh/id_ed25519, ~/.ssh/id_rsa
    #[arg(long, value_name = "FILE", global = true, value_hint = clap::ValueHint::FilePath)]
    pub identity: Vec<PathBuf>,
}

impl IdentityArgs {
    /// Where to look for identities.
    pub fn env(&self, context: &Context<'_>) -> IdentityEnv {
        let named = variable(context, "HMCO_BOOT_IDENTITY");
        IdentityEnv {
            named: self
                .identity
                .iter()
                .map(|path| context.cwd.join(path))
                .collect(),
            variable: named.map(|path| context.cwd.join(path)),
            credentials: variable(context, "CREDENTIALS_DIRECTORY"),
            config: config_env(context).folder(),
            home: variable(context, "HOME"),
        }
    }

    /// The identities for a store with these readers; asks for a passphrase where one is needed.
    pub fn find(
        &self,
        context: &Context<'_>,
        readers: Option<&Recipients>,
    ) -> Result<Identities, Failure> {
        let mut asking = Asking::new(context.env);
        Identities::find(&self.env(context), readers, &mut asking)
    }
}

/// Where this user's configuration is.
pub fn config_env(context: &Context<'_>) -> ConfigEnv {
    ConfigEnv {
        state_directory: variable(context, "STATE_DIRECTORY"),
        xdg_config_home: variable(context, "XDG_CONFIG_HOME"),
        home: variable(context, "HOME"),
    }
}

/// This user's folder of our configuration, which a command is about to write into.
pub fn config_folder(context: &Context<'_>) -> Result<PathBuf, CliError> {
    config_env(context).folder().ok_or_else(|| {
        CliError::usage(
            "there is no place for an identity: neither $HOME nor $XDG_CONFIG_HOME is set",
        )
        .hint("set XDG_CONFIG_HOME to a folder of this user")
    })
}

fn variable(context: &Context<'_>, name: &str) -> Option<PathBuf> {
    let value = context.env.var(name).filter(|value| !value.is_empty());
    value.map(PathBuf::from)
}

/// A failure of the store as a command's: what is wrong with arguments and files is usage.
pub fn refused(failure: &Failure) -> CliError {
    CliError::from_failure(Kind::Usage, failure)
}
