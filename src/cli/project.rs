//! The project a command works on: loading it as the global options say, and telling its mistakes.

use super::Context;
use super::error::CliError;
use super::output::Format;
use crate::config::diagnostic::{self, Look};
use crate::config::load::load_project;
use crate::config::project::{Loaded, Options, Project};
use crate::config::source::Sources;
use crate::model::inventory::Inventory;
use crate::model::mistake::{Mistake, Severity};

/// Refuses a `--project` that is no folder: nothing said about what is in it would be true.
pub fn expect_folder(context: &Context<'_>) -> Result<(), CliError> {
    match &context.globals.project {
        Some(named) if !context.cwd.join(named).is_dir() => Err(CliError::usage(format!(
            "there is no folder {}",
            named.display()
        ))
        .hint("name the project's folder with --project DIR, or make one with `hmco-boot init`")),
        _ => Ok(()),
    }
}

/// Reads the project, whatever is wrong with it.
pub fn read(context: &Context<'_>, options: &Options) -> Loaded {
    let mut options = options.clone();
    if let Some(inventory) = &context.globals.inventory {
        // What a user names on the command line is where the user is, also with `--project`.
        let path = context.cwd.join(inventory);
        options.inventory = Some(path.to_string_lossy().into_owned());
    }
    match &context.globals.project {
        Some(project) => load_project(&context.cwd.join(project), true, &options),
        None => load_project(&context.cwd, false, &options),
    }
}

/// Loads the project for a command that works with it: tells warnings, and fails with all mistakes where there is one.
/// With `playbook` (as the user calls it), playbooks that it does not use are not compared with the inventory.
pub fn load(context: &mut Context<'_>, playbook: Option<&str>) -> Result<Loaded, CliError> {
    let options = Options {
        playbook: playbook.map(str::to_owned),
        ..Options::default()
    };
    let loaded = read(context, &options);
    if loaded.has_errors() {
        let drawn = draw(context, &loaded.sources, &loaded.mistakes);
        return Err(CliError::usage(diagnostic::summary(&loaded.mistakes)).below(drawn));
    }
    if !loaded.mistakes.is_empty() {
        let drawn = draw(context, &loaded.sources, &loaded.mistakes);
        context.output.talk(&drawn);
    }
    if let Some(name) = playbook {
        find(loaded.as_far_as_read(), name)?;
    }
    Ok(loaded)
}

/// The inventory alone.
pub struct InventoryFile {
    /// What it says.
    pub inventory: Inventory,
    /// The project's folder.
    pub root: std::path::PathBuf,
    /// Its text, as it was read.
    pub text: String,
}

/// The inventory, for a command that needs no playbook: mistakes in playbooks do not matter.
pub fn inventory(context: &Context<'_>) -> Result<InventoryFile, CliError> {
    let loaded = read(context, &Options::default());
    let found = loaded.as_far_as_read();
    let file = found.inventory.as_ref().map(|inventory| &inventory.file);
    let matters = |mistake: &&Mistake| {
        let source = mistake.span.and_then(|span| loaded.sources.get(span.file));
        mistake.severity == Severity::Error
            && source.is_none_or(|source| file.is_none_or(|file| source.name() == file))
    };
    let mistakes: Vec<Mistake> = loaded.mistakes.iter().filter(matters).cloned().collect();
    if !mistakes.is_empty() {
        let drawn = draw(context, &loaded.sources, &mistakes);
        return Err(CliError::usage(diagnostic::summary(&mistakes)).below(drawn));
    }
    let text = loaded
        .sources
        .iter()
        .find(|(_, source)| Some(source.name()) == file.map(String::as_str))
        .map_or("", |(_, source)| source.text())
        .to_owned();
    match (&found.inventory, &found.root) {
        (Some(inventory), Some(root)) => Ok(InventoryFile {
            inventory: inventory.clone(),
            root: root.clone(),
            text,
        }),
        _ => Err(CliError::usage("there is no inventory").hint("hmco-boot init makes a first one")),
    }
}

/// The path of the playbook that the user calls `name`.
pub fn find<'a>(project: &'a Project, name: &str) -> Result<&'a str, CliError> {
    // With a shell's completion of file names it comes as a path of the project.
    let below = name.strip_prefix("./").unwrap_or(name);
    let below = below.strip_prefix("playbooks/").unwrap_or(below);
    let found = project.find_playbook(name);
    found
        .or_else(|near| project.find_playbook(below).map_err(|_| near))
        .map_err(|near| {
            let error = CliError::usage(format!("there is no playbook `{name}`"));
            match near {
                Some(near) => error.hint(format!("did you mean `{near}`?")),
                None => error.hint("hmco-boot playbooks list shows those there are"),
            }
        })
}

/// The project's folder.
pub fn root(context: &Context<'_>) -> Option<std::path::PathBuf> {
    match &context.globals.project {
        Some(project) => Some(context.cwd.join(project)),
        None => crate::config::load::find_project(&context.cwd),
    }
}

/// The name of the cluster, which also names the folder of its records. Other mistakes of the project do not matter
/// here: what is recorded can be looked at in any case.
pub fn cluster(context: &Context<'_>) -> Result<String, CliError> {
    let loaded = read(context, &Options::default());
    let inventory = loaded.as_far_as_read().inventory.as_ref();
    match inventory.map(|inventory| inventory.cluster.name.clone()) {
        Some(name) if !name.is_empty() => Ok(name),
        _ => {
            let drawn = draw(context, &loaded.sources, &loaded.mistakes);
            let what = "cannot tell which cluster this is about";
            Err(CliError::usage(what).below(drawn))
        }
    }
}

/// Mistakes, drawn for standard error.
pub fn draw(context: &Context<'_>, sources: &Sources, mistakes: &[Mistake]) -> String {
    let output = &context.output;
    let look = Look {
        unicode: output.unicode() && output.format() != Format::Json,
        color: output.error_colour(),
        width: usize::from(output.width()),
    };
    diagnostic::draw(sources, mistakes, look)
}
