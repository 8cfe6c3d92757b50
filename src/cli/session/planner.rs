//! From a playbook to its plan, with the values of the secrets that it needs and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::selector;
use crate::cli::error::CliError;
use crate::cli::reach::{self, BecomeArgs, Roads};
use crate::cli::run::PlanArgs;
use crate::cli::vault::{Lookup, Vault};
use crate::cli::{Context, project};
use crate::config::project::{Loaded, Project};
use crate::model::fingerprint::Fingerprinter;
use crate::model::inventory::Inventory;
use crate::model::mistake::Mistake;
use crate::model::playbook::Playbook;
use crate::model::template;
use crate::model::value::Value;
use crate::plan::Plan;
use crate::plan::build::{Request, build};

/// Why there is no plan.
pub(super) enum Refused {
    Words(CliError),
    Mistakes(Vec<Mistake>),
}

impl Refused {
    pub(super) fn shown(self, context: &Context<'_>, loaded: &Loaded) -> CliError {
        match self {
            Self::Words(error) => error,
            Self::Mistakes(mistakes) => {
                let drawn = project::draw(context, &loaded.sources, &mistakes);
                CliError::usage(crate::config::diagnostic::summary(&mistakes)).below(drawn)
            }
        }
    }
}

fn planned(
    args: &PlanArgs,
    playbook: &Playbook,
    project: &Project,
    inventory: &Inventory,
    fingerprinter: &Fingerprinter,
    lookup: &Lookup<'_>,
) -> Result<Plan, Refused> {
    let limit = args
        .limit
        .as_deref()
        .map(|limit| selector("--limit", limit))
        .transpose()
        .map_err(Refused::Words)?;
    let vars = command_line_vars(&args.vars, playbook).map_err(Refused::Words)?;
    let request = Request {
        inventory,
        playbooks: &project.playbooks,
        playbook,
        limit: limit.as_ref(),
        vars: &vars,
        secrets: &|name| lookup.get(name),
        pins: &project.pins.book(),
        fingerprinter,
    };
    build(&request).map_err(Refused::Mistakes)
}

/// Makes the plan of a playbook, with the values of the secrets it needs and no others.
pub(super) struct Planner<'a> {
    pub(super) args: &'a PlanArgs,
    pub(super) playbook: &'a Playbook,
    pub(super) project: &'a Project,
    pub(super) inventory: &'a Inventory,
    pub(super) fingerprinter: &'a Fingerprinter,
    pub(super) root: &'a Path,
    pub(super) vault: Vault,
    pub(super) roads: Option<Roads>,
}

impl Planner<'_> {
    fn build(&self, lookup: &Lookup<'_>) -> Result<Plan, Refused> {
        let (playbook, project, inventory) = (self.playbook, self.project, self.inventory);
        planned(
            self.args,
            playbook,
            project,
            inventory,
            self.fingerprinter,
            lookup,
        )
    }

    /// Which secrets are needed is known when the templates are rendered: their names may be put together there. So the
    /// plan is made twice where it needs any, first with values that mean nothing.
    pub(super) async fn plan(
        &mut self,
        how: Option<&BecomeArgs>,
        context: &mut Context<'_>,
    ) -> Result<Plan, Refused> {
        let lookup = Lookup::closed(&self.vault);
        let draft = self.build(&lookup);
        let mut names = lookup.missing();
        let Some(how) = how else {
            return draft;
        };
        let draft = match draft {
            Ok(plan) => plan,
            // What comes of a value that means nothing is told if it comes of the real one, too.
            Err(Refused::Mistakes(mistakes)) if !names.is_empty() && may_pass(&mistakes) => {
                return self.with_values(names, context).await;
            }
            Err(Refused::Mistakes(mistakes)) => {
                let known = |mistake: &Mistake| mistake.code != template::WITH_SECRET;
                return Err(Refused::Mistakes(
                    mistakes.into_iter().filter(known).collect(),
                ));
            }
            Err(refused) => return Err(refused),
        };
        let passwords = how.secrets(self.inventory, &draft.targets);
        reach::expect(&self.vault, &passwords).map_err(Refused::Words)?;
        if names.is_empty() {
            return Ok(draft);
        }
        names.extend(passwords.into_keys());
        let roads = Roads::of(self.inventory, self.root, &draft.targets, context)
            .map_err(Refused::Words)?;
        roads.ahead(self.inventory, &draft.targets);
        self.roads = Some(roads);
        self.with_values(names, context).await
    }

    async fn with_values(
        &mut self,
        mut names: BTreeSet<String>,
        context: &mut Context<'_>,
    ) -> Result<Plan, Refused> {
        loop {
            let opened = self.vault.open(&names, context.output).await;
            opened.map_err(Refused::Words)?;
            let lookup = Lookup::open(&self.vault);
            let plan = self.build(&lookup);
            names = lookup.missing();
            // A name may hang on the value of another secret.
            if names.is_empty() {
                return plan;
            }
        }
    }
}

/// Whether there are only mistakes that a secret's real value may cure.
fn may_pass(mistakes: &[Mistake]) -> bool {
    let real = |mistake: &Mistake| mistake.code == "unknown-secret";
    !mistakes.iter().any(real)
}

/// What is wrong with a playbook that only shows when its templates are rendered for the nodes of the inventory. Where it
/// lacks a value that another playbook or `--var` would give it, nothing can be said.
pub fn mistakes_of_plan(
    project: &Project,
    inventory: &Inventory,
    playbook: &Playbook,
    vault: &Vault,
) -> Vec<Mistake> {
    let args = PlanArgs {
        playbook: playbook.path.clone(),
        limit: None,
        vars: Vec::new(),
    };
    // The fingerprint is not used.
    let fingerprinter = Fingerprinter::new([0; 32]);
    let lookup = Lookup::closed(vault);
    match planned(&args, playbook, project, inventory, &fingerprinter, &lookup) {
        Err(Refused::Mistakes(mistakes))
            if mistakes.iter().all(|mistake| mistake.code != "missing-var") =>
        {
            // Nothing is opened here, and what comes of the real value nobody knows.
            let known = |mistake: &Mistake| mistake.code != template::WITH_SECRET;
            mistakes.into_iter().filter(known).collect()
        }
        _ => Vec::new(),
    }
}

/// `--var`, each read by its declared type. A name that is not declared stays text: the plan says what is wrong with it.
fn command_line_vars(
    given: &[(String, String)],
    playbook: &Playbook,
) -> Result<BTreeMap<String, Value>, CliError> {
    let mut vars = BTreeMap::new();
    for (name, text) in given {
        let kind = playbook
            .vars
            .get(name)
            .map_or(crate::model::vars::VarType::String, |declared| {
                declared.kind
            });
        let value = kind
            .parse_cli(text)
            .map_err(|what| CliError::usage(format!("--var {name}: {what}")))?;
        vars.insert(name.clone(), value);
    }
    Ok(vars)
}
