//! The store of a project, as the commands meet it: where it is, who reads it, which readers this machine approved, and
//! opening it.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Zoned;
use jiff::civil::Date;

use super::identity::{IdentityArgs, config_env, refused};
use super::set::SHORT;
use crate::cli::error::{CliError, Kind, WARNING, painted};
use crate::cli::{Context, files, project};
use crate::model::outcome::Failure;
use crate::secrets::SecretValue;
use crate::secrets::approved::Approved;
use crate::secrets::identity::Identities;
use crate::secrets::manifest::{self, Manifest};
use crate::secrets::name::SecretName;
use crate::secrets::recipients::{self, Recipient, Recipients};
use crate::secrets::store::{Entry, Inspection, Location, Mode, Outline, Tree};

/// The folder of secrets in a project.
pub const FOLDER: &str = "secrets";

/// A project's store.
pub struct Place {
    /// The project's folder.
    pub root: PathBuf,
    /// Where the store lies.
    pub location: Location,
    /// The store's id, as its manifest says.
    pub id: String,
}

impl Place {
    /// The store of the project at hand.
    pub fn of(context: &Context<'_>) -> Result<Self, CliError> {
        let root = project::root(context).ok_or_else(|| {
            CliError::usage("there is no project here: no folder `inventory/`")
                .hint("change to a project's folder, name it with `--project DIR`, or make one with `hmco-boot init`")
        })?;
        Self::at(root, context)
    }

    /// The store of the project in a folder.
    pub fn at(root: PathBuf, context: &Context<'_>) -> Result<Self, CliError> {
        let location = location(context, &root)?;
        let path = location.tree.join(manifest::FILE);
        let text = match files::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(CliError::usage("this project has no secrets yet").hint(
                    "hmco-boot secrets init makes the store, an identity and a recovery key",
                ));
            }
            Err(error) => {
                return Err(CliError::failed(format!("cannot read {}", path.display()))
                    .caused_by(&error)
                    .hint("run as the user it belongs to"));
            }
        };
        let id = Manifest::parse(&text)
            .map_err(|failure| refused(&failure))?
            .store;
        Ok(Self { root, location, id })
    }

    /// Who reads, as the file says now, sealed or not.
    pub fn recipients(&self) -> Result<Recipients, CliError> {
        let path = self.location.tree.join(recipients::FILE);
        let text = files::read(&path).map_err(|error| {
            CliError::failed(format!("cannot read {}", path.display()))
                .caused_by(&error)
                .hint("take it back from git")
        })?;
        Recipients::parse(&text).map_err(|failure| refused(&failure))
    }

    /// What this machine approved.
    pub fn approved(&self) -> Result<Approved, CliError> {
        Approved::load(&self.location.state, &self.id).map_err(|failure| refused(&failure))
    }

    /// Remembers what was approved.
    pub fn save(&self, approved: &Approved) -> Result<(), CliError> {
        approved
            .save(&self.location.state, &self.id)
            .map_err(|failure| CliError::from_failure(Kind::Failed, &failure))
    }

    /// The identities that open this store; none is a failure.
    pub fn identities(
        &self,
        args: &IdentityArgs,
        context: &Context<'_>,
    ) -> Result<Arc<Identities>, CliError> {
        let readers = self.recipients()?;
        let identities = args
            .find(context, Some(&readers))
            .map_err(|failure| refused(&failure))?;
        identities
            .require(&readers)
            .map_err(|failure| refused(&failure))?;
        Ok(Arc::new(identities))
    }

    /// The store, opened and verified.
    pub fn open(
        &self,
        mode: Mode,
        args: &IdentityArgs,
        context: &mut Context<'_>,
    ) -> Result<Opened, CliError> {
        let identities = self.identities(args, context)?;
        let tree = Tree::open(&self.location, Arc::clone(&identities), mode)
            .map_err(|failure| failed(&failure))?;
        remark(tree.warnings(), context);
        let mut approved = self.approved()?;
        approve_own(&mut approved, tree.recipients(), &identities);
        Ok(Opened { tree, approved })
    }

    /// The store with all that is wrong with it.
    pub fn inspect(
        &self,
        mode: Mode,
        args: &IdentityArgs,
        context: &Context<'_>,
    ) -> Result<(Inspection, Approved), CliError> {
        let identities = self.identities(args, context)?;
        let inspection = Inspection::of(&self.location, Arc::clone(&identities), mode);
        let inspection = inspection.map_err(|failure| failed(&failure))?;
        let mut approved = self.approved()?;
        approve_own(&mut approved, inspection.recipients(), &identities);
        Ok((inspection, approved))
    }

    /// The names and places of the values, without an identity.
    pub fn outline(&self) -> Result<Outline, CliError> {
        Outline::read(&self.location).map_err(|failure| refused(&failure))
    }
}

/// An opened store, and what this machine approved.
pub struct Opened {
    /// The store.
    pub tree: Tree,
    /// What this machine approved.
    pub approved: Approved,
}

/// Where the store of a project lies.
pub fn location(context: &Context<'_>, root: &std::path::Path) -> Result<Location, CliError> {
    let state = config_env(context)
        .stores()
        .map_err(|failure| refused(&failure))?;
    Ok(Location::new(root.join(FOLDER), state))
}

/// Says what is no failure of the store, and should be known.
pub fn remark(warnings: &[String], context: &mut Context<'_>) {
    let word = painted("warning:", WARNING, context.output.error_colour());
    for warning in warnings {
        context.output.talk(&format!("{word} {warning}\n"));
    }
}

/// A failure of the store: somebody else who writes holds a lock, the rest did not work.
pub fn failed(failure: &Failure) -> CliError {
    CliError::from_failure(Kind::Failed, failure)
}

/// From now on this value shows in nothing that is said, whatever quotes it. Short ones would hide half of every text.
pub fn hide(name: &SecretName, value: &SecretValue, context: &Context<'_>) {
    if value.len() >= SHORT {
        context
            .output
            .redactor()
            .register(name.as_str(), value.expose());
    }
}

/// Today, where this machine is.
pub fn today() -> Date {
    Zoned::now().date()
}

/// Whoever holds a private key need not be asked whether the public one is theirs.
fn approve_own(approved: &mut Approved, readers: &Recipients, identities: &Identities) {
    let own = identities.found().iter();
    for reader in own.filter_map(|one| readers.by_fingerprint(one.public.fingerprint())) {
        approved.approve(reader);
    }
}

/// Has every reader approved on this machine: asks, once for each, where somebody can answer.
pub fn approve<'a>(
    readers: impl IntoIterator<Item = &'a Recipient>,
    approved: &mut Approved,
    place: &Place,
    context: &mut Context<'_>,
) -> Result<(), CliError> {
    let missing: Vec<Recipient> = approved.missing(readers).into_iter().cloned().collect();
    if missing.is_empty() {
        return place.save(approved);
    }
    if !context.output.interactive() {
        return Err(not_approved(&missing));
    }
    context.output.talk(
        "These keys are in secrets/recipients.toml and were not approved on this machine. Ask their owners for the fingerprint \
         (hmco-boot secrets identity shows it) by another way than git:\n",
    );
    for reader in &missing {
        context.output.talk(&format!("  {}\n", described(reader)));
        if !context
            .output
            .confirm(&format!("Encrypt to `{}`?", reader.name))
        {
            return Err(not_approved(std::slice::from_ref(reader)));
        }
        approved.approve(reader);
    }
    place.save(approved)
}

fn not_approved(missing: &[Recipient]) -> CliError {
    let mut failure =
        Failure::new("nothing was encrypted: a reader's key was not approved on this machine");
    failure.evidence = missing.iter().map(described).collect();
    let names: Vec<&str> = missing.iter().map(|reader| reader.name.as_str()).collect();
    failure.hint = Some(format!(
        "compare the fingerprint with its owner, then: hmco-boot secrets recipients approve {}",
        names.join(" ")
    ));
    refused(&failure)
}

/// A reader with its fingerprint.
pub fn described(reader: &Recipient) -> String {
    let since = match reader.since.as_str() {
        "" => String::new(),
        since => format!(", since {since}"),
    };
    format!(
        "{}: fingerprint {} ({}{since})",
        reader.name,
        reader.fingerprint(),
        reader.key.sort()
    )
}

/// A name as somebody typed it.
pub fn name(text: &str) -> Result<SecretName, CliError> {
    text.parse().map_err(|failure| refused(&failure))
}

/// The value of a name, or the nearest name there is.
pub fn expect<'a>(name: &SecretName, entries: &'a [Entry]) -> Result<&'a Entry, CliError> {
    let found = entries.iter().find(|entry| entry.name == *name);
    found.ok_or_else(|| {
        let names = entries.iter().map(|entry| entry.name.as_str());
        refused(&crate::secrets::name::unknown(name.as_str(), names))
    })
}

/// Names of readers, for a sentence.
pub fn names_of(readers: &[&Recipient]) -> Vec<String> {
    readers.iter().map(|reader| reader.name.clone()).collect()
}
