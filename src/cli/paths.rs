//! Where things are: the folder that holds the records of runs.

use std::path::{Path, PathBuf};

use super::Context;
use super::error::CliError;

/// The folder with the records of all clusters: `--state-dir`, `$HMCO_BOOT_STATE_DIR`, systemd's `$STATE_DIRECTORY`
/// (`/var/lib/hmco-boot` for our own units), `$XDG_STATE_HOME/hmco-boot`, `~/.local/state/hmco-boot`: the first of
/// them that is set. Below it is one folder per cluster.
pub fn state_root(context: &Context<'_>) -> Result<PathBuf, CliError> {
    let named = context.globals.state_dir.clone().or_else(|| {
        let var = context.env.var("HMCO_BOOT_STATE_DIR");
        var.filter(|value| !value.is_empty()).map(PathBuf::from)
    });
    if let Some(named) = named {
        return Ok(context.cwd.join(named));
    }
    // systemd joins several folders by colons; ours is the first.
    let service = context.env.var("STATE_DIRECTORY").and_then(|value| {
        let first = value.to_str()?.split(':').next()?.to_owned();
        Some(PathBuf::from(first)).filter(|path| path.is_absolute())
    });
    let below = |base: PathBuf, rest: &str| base.join(rest);
    service
        .or_else(|| {
            let base = context.env.absolute_path("XDG_STATE_HOME")?;
            Some(below(base, "hmco-boot"))
        })
        .or_else(|| {
            let home = context.env.absolute_path("HOME")?;
            Some(below(home, ".local/state/hmco-boot"))
        })
        .ok_or_else(|| {
            CliError::usage("there is no place to record runs: HOME is not set")
                .hint("name a folder with --state-dir DIR or HMCO_BOOT_STATE_DIR")
        })
}

/// The folder of one cluster's records.
pub fn cluster_state(context: &Context<'_>, cluster: &str) -> Result<PathBuf, CliError> {
    Ok(state_root(context)?.join(cluster))
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

    fn root(state_dir: Option<&str>, vars: &[(&str, &str)]) -> Result<PathBuf, CliError> {
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
        state_root(&context)
    }

    #[test]
    fn the_nearest_word_on_the_state_folder_wins() {
        let all = [
            ("HMCO_BOOT_STATE_DIR", "env"),
            ("STATE_DIRECTORY", "/var/lib/hmco-boot:/var/lib/other"),
            ("XDG_STATE_HOME", "/xdg"),
            ("HOME", "/home/me"),
        ];
        let is = |found: Result<PathBuf, CliError>, path: &str| {
            assert_eq!(found.unwrap(), PathBuf::from(path));
        };
        is(root(Some("arg"), &all), "/here/arg");
        is(root(None, &all), "/here/env");
        is(root(None, &all[1..]), "/var/lib/hmco-boot");
        is(root(None, &all[2..]), "/xdg/hmco-boot");
        is(root(None, &all[3..]), "/home/me/.local/state/hmco-boot");
        is(
            root(None, &[("XDG_STATE_HOME", "relative"), ("HOME", "/h")]),
            "/h/.local/state/hmco-boot",
        );
        assert_eq!(
            root(None, &[]).unwrap_err().exit(),
            crate::model::outcome::ExitCode::Usage
        );
    }
}
