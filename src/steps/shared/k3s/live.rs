//! What a machine says of the K3s that it has: binary, data, configuration.

use super::files::{self, BASE, DROP_INS, path};
use super::ready::How;
use super::{Setting, flags};
use crate::facts::fact::{Content, Fact, FactValue, K3sData, K3sInstall};
use crate::facts::known::{Known, Unreadable};
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;
use crate::steps::preflight::Role;

/// Configuration files are read up to this size.
const CAP: u64 = 64 << 10;

/// The bytes of somebody's configuration file, which may hold a token.
pub(super) fn content(at: &AbsPath) -> Fact {
    Fact::Content {
        path: at.clone(),
        unless_sha256: None,
        cap: CAP,
        sensitive: true,
    }
}

/// What [`BASE`] says now. It holds no secret.
pub(super) fn base() -> Fact {
    Fact::Content {
        path: path(BASE),
        unless_sha256: None,
        cap: CAP,
        sensitive: false,
    }
}

/// How a server's configuration says that it starts; `None` where it does not say. That of this tool, else that of whoever
/// installed it.
pub fn how(known: &Known<'_>) -> Result<Option<How>, Unreadable> {
    if let Some(Content {
        bytes: Some(bytes), ..
    }) = known.content(&base())?
    {
        let text = String::from_utf8_lossy(bytes);
        if files::value(&text, "cluster-init") == Some("true") {
            return Ok(Some(How::Init));
        }
        return Ok(files::value(&text, "server").map(|url| How::Join(url.to_owned())));
    }
    let theirs = foreign(known).into_iter().filter(is_config);
    let theirs = theirs.filter_map(|at| {
        let bytes = known.content(&content(&at)).ok()??.bytes.as_ref()?;
        flags::of_file(&String::from_utf8_lossy(bytes)).ok()
    });
    let mut how = None;
    for settings in theirs {
        how = match (settings.get("server"), settings.get("cluster-init")) {
            (Some(Setting::Text(url)), _) => Some(How::Join(url.clone())),
            (_, Some(Setting::Switch(true))) => Some(How::Init),
            _ => how,
        };
    }
    Ok(how)
}

/// Whether its configuration says that Secrets are encrypted: then it stays so, whatever else is there.
pub fn encrypts(known: &Known<'_>) -> Result<bool, Unreadable> {
    let Some(Content {
        bytes: Some(bytes), ..
    }) = known.content(&base())?
    else {
        return Ok(false);
    };
    let text = String::from_utf8_lossy(bytes);
    Ok(files::value(&text, "secrets-encryption") == Some("true"))
}

pub(super) fn installed<'a>(known: &Known<'a>) -> Result<Option<&'a K3sInstall>, Unreadable> {
    match known.value(&Fact::K3sInstall)? {
        Some(FactValue::K3sInstall(install)) => Ok(Some(install)),
        Some(_) => Err(known.odd_answer(&Fact::K3sInstall)),
        None => Ok(None),
    }
}

/// [`Fact::K3sData`] of the machine itself.
pub fn data<'a>(known: &Known<'a>) -> Result<Option<&'a K3sData>, Unreadable> {
    match known.value(&Fact::K3sData)? {
        Some(FactValue::K3sData(data)) => Ok(Some(data)),
        Some(_) => Err(known.odd_answer(&Fact::K3sData)),
        None => Ok(None),
    }
}

/// A K3s that was installed under another name: with this tool's unit there would be two of them on the same data.
pub(super) fn named(role: Role, known: &Known<'_>) -> Result<Option<Failure>, Unreadable> {
    let install = installed(known)?;
    let Some(unit) = install.and_then(|install| files::named_unit(&install.units)) else {
        return Ok(None);
    };
    Ok(Some(under_another_name("here", unit, role)))
}

/// The same, for people.
pub fn under_another_name(place: &str, unit: &str, role: Role) -> Failure {
    let (name, own) = (unit.trim_end_matches(".service"), files::unit_name(role));
    Failure::new(format!("K3s was installed {place} under another name: {unit}"))
        .evidence("a second one beside it would run on the same data")
        .hint(format!(
            "give it the usual name: `systemctl disable --now {name}`, rename {unit} and {unit}.env in /etc/systemd/system to {own} and {own}.env (also where the unit names its environment), then `hmco-boot k3s adopt`; or take it away: {name}-uninstall.sh"
        ))
}

/// Configuration files that are there and that this kind does not write.
pub(super) fn foreign(known: &Known<'_>) -> Vec<AbsPath> {
    let Ok(Some(install)) = installed(known) else {
        return Vec::new();
    };
    let own = [BASE, files::TOKEN];
    install
        .config_files
        .iter()
        .filter(|file| !own.contains(&file.as_str()))
        .filter(|file| !file.ends_with(".service.env"))
        .filter_map(|file| AbsPath::new(file).ok())
        .collect()
}

/// Whether K3s reads it as its configuration.
pub(super) fn is_config(at: &AbsPath) -> bool {
    at.as_str() == "/etc/rancher/k3s/config.yaml" || at.as_str().starts_with(DROP_INS)
}
