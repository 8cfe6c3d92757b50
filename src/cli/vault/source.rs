//! Where the store of a project's secrets is, and whose keys open it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::cli::error::CliError;
use crate::cli::files;
use crate::cli::secrets::place;
use crate::cli::secrets::prompt::Asking;
use crate::model::outcome::Failure;
use crate::secrets::identity::{Identities, IdentityEnv};
use crate::secrets::recipients::{self, Recipients};
use crate::secrets::store::{FileSecrets, Location};

/// Where a store comes from.
pub(super) struct Source {
    pub(super) root: PathBuf,
    pub(super) identities: IdentityEnv,
    pub(super) location: Result<Location, CliError>,
    pub(super) asking: Asking,
}

impl Source {
    /// The store, where the project has one.
    pub(super) fn store(&self) -> Result<FileSecrets, Failure> {
        if !self.root.join(place::FOLDER).is_dir() {
            return Err(none());
        }
        let location = match &self.location {
            Ok(location) => location.clone(),
            Err(error) => return Err(Failure::new(error.render(false).trim().to_owned())),
        };
        let (tree, environment) = (location.tree.clone(), self.identities.clone());
        let asking = Mutex::new(self.asking.clone());
        FileSecrets::new(location, move || {
            let readers = readers(&tree)?;
            let mut asking = asking.lock().unwrap_or_else(PoisonError::into_inner);
            let found = Identities::find(&environment, readers.as_ref(), &mut *asking)?;
            Ok(Arc::new(found))
        })
    }
}

/// That there are no secrets.
pub(super) fn none() -> Failure {
    Failure::new("this project has no secrets").hint(
        "this project has no store of secrets: `hmco-boot secrets init` makes one, `hmco-boot secrets set` fills it",
    )
}

/// Who reads the secrets of a tree; `None` where that is not said.
fn readers(tree: &Path) -> Result<Option<Recipients>, Failure> {
    let path = tree.join(recipients::FILE);
    match files::read(&path) {
        Ok(text) => Recipients::parse(&text).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(
            Failure::new(format!("cannot read {}: {error}", path.display()))
                .hint("see who owns it, and what its mode is"),
        ),
    }
}
