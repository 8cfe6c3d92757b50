//! Where commands get pinned files from: the cache folder and mirror folders, as the environment and options say.

use std::path::PathBuf;
use std::sync::Arc;

use super::Context;
use super::error::CliError;
use crate::artifact::store::{Settings, Store};

/// The store of pinned files.
pub fn store(context: &Context<'_>) -> Result<Arc<Store>, CliError> {
    let mut settings = Settings::new(cache(context)?);
    settings.mirrors = mirrors(context);
    Ok(Arc::new(Store::new(settings)))
}

/// The cache folder: systemd's for a service, `$XDG_CACHE_HOME/hmco-boot`, `~/.cache/hmco-boot`; without a home
/// `/var/cache/hmco-boot`.
fn cache(context: &Context<'_>) -> Result<PathBuf, CliError> {
    let path = |name: &str| {
        let value = context.env.var(name).filter(|value| !value.is_empty());
        // systemd names several folders with colons between; the first is ours.
        let value = value?.to_string_lossy().into_owned();
        let first = value.split(':').next().unwrap_or_default().to_owned();
        Some(PathBuf::from(first))
    };
    let folder = path("CACHE_DIRECTORY")
        .or_else(|| path("XDG_CACHE_HOME").map(|home| home.join("hmco-boot")))
        .or_else(|| path("HOME").map(|home| home.join(".cache/hmco-boot")))
        .unwrap_or_else(|| PathBuf::from("/var/cache/hmco-boot"));
    if folder.is_absolute() {
        return Ok(folder);
    }
    let what = format!("the cache folder {} is no absolute path", folder.display());
    Err(CliError::usage(what).hint("look at HOME and XDG_CACHE_HOME"))
}

/// `--mirror` first, then `$HMCO_MIRROR` (several with colons between).
fn mirrors(context: &Context<'_>) -> Vec<PathBuf> {
    let named = context.globals.mirror.iter().cloned();
    let value = context.env.var("HMCO_MIRROR").unwrap_or_default();
    let value = value.to_string_lossy().into_owned();
    let of_env = value.split(':').filter(|folder| !folder.is_empty());
    named
        .chain(of_env.map(PathBuf::from))
        .map(|folder| context.cwd.join(folder))
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::ffi::OsString;

    use super::super::Globals;
    use super::super::output::Output;
    use super::*;

    fn with<R>(vars: &[(&str, &str)], look: impl FnOnce(&Context<'_>) -> R) -> R {
        let env: BTreeMap<String, OsString> = vars
            .iter()
            .map(|(name, value)| ((*name).to_owned(), OsString::from(value)))
            .collect();
        let mut output = Output::to_writers(Box::new(Vec::new()), Box::new(Vec::new()));
        look(&Context {
            env: &env,
            cwd: PathBuf::from("/here"),
            globals: Globals {
                mirror: vec![PathBuf::from("usb")],
                ..Globals::default()
            },
            output: &mut output,
        })
    }

    #[test]
    fn the_cache_is_where_the_system_keeps_caches() {
        let all = [
            ("CACHE_DIRECTORY", "/var/cache/hmco-boot:/var/cache/other"),
            ("XDG_CACHE_HOME", "/xdg"),
            ("HOME", "/home/me"),
        ];
        let cases = [
            "/var/cache/hmco-boot",
            "/xdg/hmco-boot",
            "/home/me/.cache/hmco-boot",
            "/var/cache/hmco-boot",
        ];
        for (from, wanted) in cases.into_iter().enumerate() {
            let found = with(&all[from..], |context| cache(context).unwrap());
            assert_eq!(found, PathBuf::from(wanted));
        }
        assert!(with(&[("HOME", "here")], |context| cache(context).is_err()));
    }

    #[test]
    fn mirrors_are_looked_through_in_the_order_they_were_named() {
        let found = with(&[("HMCO_MIRROR", "/a::/b")], mirrors);
        let wanted = ["/here/usb", "/a", "/b"].map(PathBuf::from);
        assert_eq!(found, wanted);
    }
}
