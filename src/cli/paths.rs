//! Where things are: the folder that holds the records of runs.

use std::path::{Path, PathBuf};

use super::Context;
use super::error::{CliError, Kind};
use crate::journal::state_dir::{StateDir, StateEnv};

/// The folder with the records of all clusters: `--state-dir`, `$HMCO_BOOT_STATE_DIR`, else where the system says
/// ([`StateEnv::base`]). Below it is one folder per cluster.
pub fn state_base(context: &Context<'_>) -> Result<PathBuf, CliError> {
    if let Some(named) = named_base(context) {
        return Ok(context.cwd.join(named));
    }
    let path = |name| variable(context, name);
    let env = StateEnv {
        state_directory: path("STATE_DIRECTORY"),
        xdg_state_home: path("XDG_STATE_HOME"),
        home: path("HOME"),
    };
    env.base().map_err(|failure| {
        CliError::from_failure(Kind::Usage, &failure).hint("or name a folder with --state-dir DIR")
    })
}

/// The folder that the user names for the records.
fn named_base(context: &Context<'_>) -> Option<PathBuf> {
    let named = context.globals.state_dir.clone();
    named.or_else(|| variable(context, "HMCO_BOOT_STATE_DIR"))
}

fn variable(context: &Context<'_>, name: &str) -> Option<PathBuf> {
    let value = context.env.var(name).filter(|value| !value.is_empty());
    value.map(PathBuf::from)
}

/// The folder of one cluster's records, made where it is missing.
pub fn state_dir(context: &Context<'_>, cluster: &str) -> Result<StateDir, CliError> {
    let base = state_base(context)?;
    StateDir::open(&base, cluster).map_err(|failure| {
        // A folder that somebody named is an argument, and another one can be named.
        if named_base(context).is_some() {
            CliError::from_failure(Kind::Usage, &failure)
                .hint("or choose another folder with --state-dir DIR")
        } else {
            CliError::from_failure(Kind::Failed, &failure)
        }
    })
}

/// The folder of one cluster's records; `None` where nothing was ever recorded.
pub fn existing_state_dir(
    context: &Context<'_>,
    cluster: &str,
) -> Result<Option<StateDir>, CliError> {
    let folder = state_base(context)?.join(cluster);
    match folder.try_exists() {
        Ok(false) => Ok(None),
        Ok(true) => state_dir(context, cluster).map(Some),
        // Not to be allowed to look is not the same as that there is nothing.
        Err(error) => Err(CliError::new(
            if named_base(context).is_some() {
                Kind::Usage
            } else {
                Kind::Failed
            },
            format!("cannot look into {}", folder.display()),
        )
        .caused_by(&error)
        .hint("run as the user it belongs to, or name another folder with --state-dir DIR")),
    }
}

/// A path as a person would type it from the working folder.
pub fn shown(path: &Path, cwd: &Path) -> String {
    let relative = path.strip_prefix(cwd).unwrap_or(path);
    if relative.as_os_str().is_empty() {
        ".".to_owned()
    } else {
        relative.display().to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::OsString;

    use super::super::Globals;
    use super::super::output::Output;
    use super::*;
    use crate::model::outcome::ExitCode;

    fn base(state_dir: Option<&str>, vars: &[(&str, &str)]) -> Result<PathBuf, CliError> {
        let env: BTreeMap<String, OsString> = vars
            .iter()
            .map(|(name, value)| ((*name).to_owned(), OsString::from(value)))
            .collect();
        let mut output = Output::to_writers(Box::new(Vec::new()), Box::new(Vec::new()));
        let context = Context {
            env: &env,
            cwd: PathBuf::from("/here"),
            globals: Globals {
                state_dir: state_dir.map(PathBuf::from),
                ..Globals::default()
            },
            output: &mut output,
        };
        state_base(&context)
    }

    #[test]
    fn what_is_named_wins_over_what_the_system_says() {
        let all = [("HMCO_BOOT_STATE_DIR", "env"), ("HOME", "/home/me")];
        let is = |found: Result<PathBuf, CliError>, path: &str| {
            assert_eq!(found.unwrap(), PathBuf::from(path));
        };
        is(base(Some("arg"), &all), "/here/arg");
        is(base(None, &all), "/here/env");
        is(base(None, &all[1..]), "/home/me/.local/state/hmco-boot");
        assert_eq!(base(None, &[]).unwrap_err().exit(), ExitCode::Usage);
    }
}
