//! Installs a public key for a login: one line in `~/.ssh/authorized_keys` of the user who is logged in.

use super::route::Route;
use super::{Access, SshShell, Sudo};
use crate::facts::frame::{Delimiter, Frame};
use crate::model::outcome::Failure;
use crate::transport::exec::{Input, execute};
use crate::transport::{HostError, HostErrorKind};
use std::sync::Arc;

/// Reads the line from standard input. A key that is there already, with whatever options and comment, is left alone; a
/// file whose last line has no end gets one first. Only modes that sshd would refuse are changed.
const SCRIPT: &str = r#"
key=$(head -n 1)
blob=$(printf '%s\n' "$key" | cut -d ' ' -f 2)
install_key() {
  umask 077
  cd "$HOME" || return 1
  [ -d .ssh ] || mkdir .ssh || return 1
  done=present
  if ! grep -v '^[[:space:]]*#' .ssh/authorized_keys 2>/dev/null | grep -qF -- "$blob"; then
    if [ -s .ssh/authorized_keys ] && [ -n "$(tail -c 1 .ssh/authorized_keys)" ]; then
      printf '\n' >>.ssh/authorized_keys || return 1
    fi
    printf '%s\n' "$key" >>.ssh/authorized_keys || return 1
    done=added
  fi
  chmod go-w .ssh .ssh/authorized_keys || return 1
  if command -v restorecon >/dev/null 2>&1; then restorecon -F .ssh .ssh/authorized_keys; fi
  sync
  return 0
}
"#;

/// Whether the key had to be added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Installed {
    /// It was not there.
    Added,
    /// It was there.
    Present,
}

/// Installs a public key (`TYPE BASE64 COMMENT`) for the user that the route logs in as.
///
/// # Errors
///
/// The machine cannot be reached, or the file cannot be written.
pub async fn install(
    route: &Route,
    access: &Arc<Access>,
    key: &str,
) -> Result<Installed, HostError> {
    let name = route.hops.last().map_or("", |hop| hop.name.as_str());
    let delimiter = random_delimiter()?;
    let mark = delimiter.as_str();
    let script = format!(
        "{SCRIPT}printf '\\n{mark} < key\\n'\ninstall_key 2>&1\nr=$?\nprintf '%s' \"$done\"\nprintf '\\n{mark} > %s\\n' \"$r\"\n"
    );
    let line = format!("{}\n", key.trim());
    let mut input = Input::new();
    input.script(&delimiter, &script);
    input.payload(line.as_bytes());
    let shell = SshShell::new(route.clone(), Sudo::None, access.clone());
    let done = execute(&shell, &["sh".to_owned()], &delimiter, &input, &mut Some).await?;
    let said = done.frames.iter().find_map(|frame| match frame {
        Frame::Whole { body, status, .. } => Some((String::from_utf8_lossy(body), status.as_str())),
        Frame::Cut { .. } | Frame::Loose(_) => None,
    });
    let failed = |evidence: &str| HostError {
        kind: HostErrorKind::Unreachable { transient: false },
        failure: Failure::new(format!("cannot install the key on {name}"))
            .evidence(evidence.to_owned())
            .hint("see that the home folder of the user is there and can be written"),
    };
    match said {
        Some((body, "0")) if body.ends_with("added") => Ok(Installed::Added),
        Some((body, "0")) if body.ends_with("present") => Ok(Installed::Present),
        Some((body, _)) => Err(failed(&body)),
        None => Err(done.refusal.unwrap_or_else(|| failed(&done.stderr))),
    }
}

fn random_delimiter() -> Result<Delimiter, HostError> {
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random).map_err(|error| HostError {
        kind: HostErrorKind::Unreachable { transient: false },
        failure: Failure::new("the system gives no random numbers").evidence(error.to_string()),
    })?;
    Ok(Delimiter::new(random))
}
