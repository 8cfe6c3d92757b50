//! A whole project from its files: one inventory, its own playbooks, and the shipped ones. Pure: the files come through
//! [`Files`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::assemble::{Loader, general};
use super::files::Files;
use super::pins::Pins;
use super::shipped;
use super::source::Sources;
use crate::model::artifact::PinBook;
use crate::model::inventory::Inventory;
use crate::model::mistake::{Mistake, Severity, nearest};
use crate::model::playbook::Playbook;
use crate::steps::registry::{KindInfo, kinds};

/// What to load.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The inventory file, relative to the project (for `load_project`: to the start folder); otherwise the only one in
    /// `inventory/`.
    pub inventory: Option<String>,
    /// The command needs no inventory: none, or several, is then no mistake, and none is chosen among several.
    pub inventory_optional: bool,
    /// The playbook that will be used: what other playbooks say about this inventory's nodes is then not looked at.
    /// Otherwise all of the project's own are checked against it.
    pub playbook: Option<String>,
    /// Also tell warnings about shipped playbooks.
    pub lint_shipped: bool,
}

/// A project: what the commands work with.
#[derive(Clone, Debug, Default)]
pub struct Project {
    /// Its folder; `None` where there is none and only the shipped playbooks are known.
    pub root: Option<PathBuf>,
    /// The chosen inventory.
    pub inventory: Option<Inventory>,
    /// All inventory files, relative to the project.
    pub inventories: Vec<String>,
    /// All playbooks that could be read, by path below `playbooks/`.
    pub playbooks: BTreeMap<String, Playbook>,
    /// What is pinned; empty where there is no pins file.
    pub pins: Pins,
    /// What the chosen inventory has instead of pins of the same name.
    pub own_pins: Pins,
    /// Where each playbook is from, readable or not.
    pub origins: BTreeMap<String, Origin>,
}

/// Where a playbook is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// The project's `playbooks/`.
    Own,
    /// The project's `playbooks/`, instead of a shipped one of the same path.
    OwnInsteadOfShipped,
    /// Embedded in the binary.
    Shipped,
}

/// What loading gave.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    pub(super) project: Project,
    /// The texts that spans point into.
    pub sources: Sources,
    /// Everything found, by file and place, without repetitions.
    pub mistakes: Vec<Mistake>,
}

impl Loaded {
    /// The project, if nothing is wrong with it (warnings aside).
    pub fn project(&self) -> Option<&Project> {
        (!self.has_errors()).then_some(&self.project)
    }

    /// The project as far as it could be read; only for showing, never for doing.
    pub fn as_far_as_read(&self) -> &Project {
        &self.project
    }

    /// Whether any mistake is an error.
    pub fn has_errors(&self) -> bool {
        self.mistakes
            .iter()
            .any(|mistake| mistake.severity == Severity::Error)
    }
}

impl Project {
    /// The artifacts that plans may use.
    pub fn pin_book(&self) -> PinBook {
        self.pins.overlaid(&self.own_pins).book()
    }

    /// The path of the playbook that a user calls `name`, with or without `.toml`; else the nearest name there is.
    pub fn find_playbook(&self, name: &str) -> Result<&str, Option<String>> {
        let with_suffix = format!("{name}.toml");
        self.origins
            .keys()
            .find(|path| **path == name || **path == with_suffix)
            .map(String::as_str)
            .ok_or_else(|| {
                let names = self.origins.keys().map(|path| short_name(path));
                nearest(name, names).map(str::to_owned)
            })
    }
}

/// A playbook's path as users say it: without `.toml`.
pub fn short_name(path: &str) -> &str {
    path.strip_suffix(".toml").unwrap_or(path)
}

/// Loads a project from its files, with the kinds of the registry and the embedded playbooks.
pub fn load_from(files: &dyn Files, root: Option<PathBuf>, options: &Options) -> Loaded {
    let embedded: Vec<(&str, &[u8])> = shipped::paths()
        .into_iter()
        .filter(|path| path.ends_with(".toml"))
        .filter_map(|path| Some((path, shipped::read(path)?)))
        .collect();
    load_with(files, root, options, kinds(), &embedded)
}

/// As [`load_from`], with other kinds and other embedded playbooks.
#[doc(hidden)]
pub fn load_with(
    files: &dyn Files,
    root: Option<PathBuf>,
    options: &Options,
    kinds: &[KindInfo],
    shipped: &[(&str, &[u8])],
) -> Loaded {
    Loader::new(files, kinds).load(root, options, shipped)
}

/// Only the shipped playbooks: no folder at or above `start` is a project.
pub(super) fn without_project(start: &Path, options: &Options) -> Loaded {
    let none = super::files::MemoryFiles::default();
    let mut loaded = load_from(
        &none,
        None,
        &Options {
            inventory_optional: true,
            inventory: None,
            ..options.clone()
        },
    );
    if !options.inventory_optional {
        let mistake = general(
            "no-project",
            format!(
                "there is no project at or above {}: no folder `inventory/`",
                start.display()
            ),
            "change to a project's folder, name it with `--project DIR`, or make one with `hmco-boot init`",
        );
        loaded.mistakes.insert(0, mistake);
    }
    loaded
}
