//! What belongs together across tables and files: names that must exist, orders that must not turn in a circle, vars
//! that must be given. Works on the model only; adds to what [`super::lower`] found and says nothing twice.

mod includes;
mod inventory;
mod names;
mod order;
mod ranges;
mod targets;
mod vars;

use std::collections::{BTreeMap, BTreeSet};

use super::project::{Origin, Project};
use super::source::Sources;
use crate::model::id::Target;
use crate::model::mistake::Mistake;
use crate::model::playbook::Playbook;
use crate::model::template;
use crate::model::value::{Data, Value};
use crate::model::vars::VarType;
use crate::steps::registry::KindInfo;

/// What the checks share.
struct Checks<'a> {
    project: &'a Project,
    sources: &'a Sources,
    kinds: &'a [KindInfo],
    /// All nodes and groups of the inventory are known.
    inventory_whole: bool,
    /// Playbooks of which parts may be missing: nothing about them is called unknown or unused.
    incomplete: &'a BTreeSet<String>,
    mistakes: Vec<Mistake>,
}

/// What is checked.
pub(super) struct Input<'a> {
    /// The project as far as it could be read.
    pub project: &'a Project,
    /// The texts.
    pub sources: &'a Sources,
    /// The kinds there are.
    pub kinds: &'a [KindInfo],
    /// Nothing of the inventory's nodes and groups is missing: selectors can be held against it.
    pub inventory_whole: bool,
    /// Playbooks of which parts may be missing.
    pub incomplete: &'a BTreeSet<String>,
}

/// Targets of each step of a playbook, as far as they are known: `None` without `on`, or where the selector is wrong.
type StepTargets = Vec<Option<Vec<Target>>>;

/// All mistakes between the parts of a project. With `only`, playbooks that it does not use are not compared with the
/// inventory.
pub(super) fn project(input: &Input<'_>, only: Option<&str>) -> Vec<Mistake> {
    let project = input.project;
    let mut checks = Checks {
        project,
        sources: input.sources,
        kinds: input.kinds,
        inventory_whole: input.inventory_whole,
        incomplete: input.incomplete,
        mistakes: Vec::new(),
    };
    if let Some(inventory) = &project.inventory {
        checks.inventory(inventory);
        checks.vars_of_inventory(inventory);
        checks.ranges(inventory);
    }
    checks.includes();
    let used = checks.used(only);
    let nothing = Vec::new();
    let mut targets: BTreeMap<&str, StepTargets> = BTreeMap::new();
    for path in used.iter().filter(|_| input.inventory_whole) {
        if let (Some(inventory), Some(playbook)) =
            (&project.inventory, project.playbooks.get(*path))
        {
            let found = checks.targets(playbook, inventory);
            targets.insert(path, found);
        }
    }
    for (path, playbook) in &project.playbooks {
        let targets = targets.get(path.as_str()).unwrap_or(&nothing);
        checks.order(playbook, targets);
        checks.names(playbook);
        checks.given(playbook, used.contains(path.as_str()));
    }
    checks.mistakes
}

impl<'a> Checks<'a> {
    fn add(&mut self, mistake: Mistake) {
        self.mistakes.push(mistake);
    }

    fn is_whole(&self, playbook: &Playbook) -> bool {
        !self.incomplete.contains(&playbook.path)
    }

    /// Playbooks that will be compared with the inventory: those given, or all own ones, and what they use.
    fn used(&self, only: Option<&str>) -> BTreeSet<&'a str> {
        let project = self.project;
        let mut open: Vec<&'a str> = match only.map(|name| project.find_playbook(name)) {
            Some(Ok(path)) => vec![path],
            Some(Err(_)) => Vec::new(),
            None => project
                .origins
                .iter()
                .filter(|(_, origin)| **origin != Origin::Shipped)
                .map(|(path, _)| path.as_str())
                .collect(),
        };
        let mut used = BTreeSet::new();
        while let Some(path) = open.pop() {
            if !used.insert(path) {
                continue;
            }
            let steps = project.playbooks.get(path).map_or(&[][..], |p| &p.steps);
            open.extend(steps.iter().filter_map(includes::path_of));
        }
        used
    }
}

/// What is wrong with a value for a var of that type.
pub(super) fn type_mistakes(kind: VarType, value: &Value) -> Option<Mistake> {
    if holds_template(value) {
        // Known only when it is rendered.
        return None;
    }
    kind.check(value).err()
}

/// Whether any string inside a value is a template.
pub(super) fn holds_template(value: &Value) -> bool {
    match &value.data {
        Data::String(text) => template::is_template(text),
        Data::List(items) => items.iter().any(holds_template),
        Data::Table(entries) => entries.iter().any(|(_, value)| holds_template(value)),
        _ => false,
    }
}
