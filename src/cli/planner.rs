//! From a project to the plan of a playbook, with the values of the secrets that it needs and no others.

use std::collections::BTreeSet;
use std::path::Path;

use super::error::CliError;
use super::make::Fresh;
use super::reach::{self, BecomeArgs, Roads};
use super::run::PlanArgs;
use super::session::{command_line_vars, selector};
use super::vault::{Lookup, STAND_IN, Vault};
use super::{Context, cluster, project};
use crate::config::project::{Loaded, Project};
use crate::model::fingerprint::Fingerprinter;
use crate::model::inventory::Inventory;
use crate::model::mistake::Mistake;
use crate::model::playbook::Playbook;
use crate::model::template;
use crate::plan::build::{Request, build};
use crate::plan::{Plan, Work};

/// What a command does with secrets.
#[derive(Clone, Copy)]
pub enum Values<'a> {
    /// Their names are looked at, and the plan has none of their values: it is for looking at only.
    Names,
    /// Those that the plan needs are opened, while connections to its targets are made.
    Open(&'a BecomeArgs),
    /// The same; and those that are not there and that a step may make are made.
    Make(&'a BecomeArgs),
}

impl<'a> Values<'a> {
    /// How to become root, and whose secrets they are.
    pub fn how(self) -> Option<&'a BecomeArgs> {
        match self {
            Self::Names => None,
            Self::Open(how) | Self::Make(how) => Some(how),
        }
    }
}

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
        pins: &project.pin_book(),
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
    /// Secrets that are not there, and that a run makes.
    pub(super) unmade: BTreeSet<String>,
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
        values: Values<'_>,
        context: &mut Context<'_>,
    ) -> Result<Plan, Refused> {
        let lookup = Lookup::closed(&self.vault);
        let mut draft = self.build(&lookup);
        let mut names = lookup.missing();
        if lacks_secrets(&draft) {
            self.unmade = unmade(&self.vault, |lookup| self.build(lookup))?;
        }
        if !self.unmade.is_empty() {
            if let Values::Make(how) = values {
                self.make(how, context).await.map_err(Refused::Words)?;
            }
            let lookup = Lookup::closed(&self.vault).with_unmade(&self.unmade);
            draft = self.build(&lookup);
            names = lookup.missing();
        }
        let Some(how) = values.how() else {
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
        let reached = cluster::reached(self.inventory, &draft);
        let passwords = how.secrets(self.inventory, &reached);
        reach::expect(&self.vault, &passwords).map_err(Refused::Words)?;
        if names.is_empty() {
            return Ok(draft);
        }
        names.extend(passwords.into_keys());
        let roads =
            Roads::of(self.inventory, self.root, &reached, context).map_err(Refused::Words)?;
        roads.ahead(self.inventory, &draft.targets);
        self.roads = Some(roads);
        self.with_values(names, context).await
    }

    /// Makes the secrets that may be made; from then on they are like others.
    async fn make(&mut self, how: &BecomeArgs, context: &mut Context<'_>) -> Result<(), CliError> {
        let place = Fresh {
            inventory: self.inventory,
            root: self.root,
            how,
        };
        place.make(&self.unmade, context).await?;
        self.unmade.clear();
        // It knew which names there were.
        self.vault = Vault::of(self.root, &how.identity, context);
        Ok(())
    }

    async fn with_values(
        &mut self,
        mut names: BTreeSet<String>,
        context: &mut Context<'_>,
    ) -> Result<Plan, Refused> {
        loop {
            let opened = self.vault.open(&names, context.output).await;
            opened.map_err(Refused::Words)?;
            let lookup = Lookup::open(&self.vault).with_unmade(&self.unmade);
            let plan = self.build(&lookup);
            names = lookup.missing();
            // A name may hang on the value of another secret.
            if names.is_empty() {
                return plan;
            }
        }
    }
}

/// Whether a secret is not there.
fn lacks_secrets(plan: &Result<Plan, Refused>) -> bool {
    let lacks = |mistake: &Mistake| mistake.code == "unknown-secret";
    matches!(plan, Err(Refused::Mistakes(mistakes)) if mistakes.iter().any(lacks))
}

/// The secrets that are not there and that the tool may make, by the wishes of a plan in which every missing one has a
/// stand-in. Where there is no such plan, nobody can tell; then that is what is wrong, and not that they are missing.
fn unmade(
    vault: &Vault,
    build: impl Fn(&Lookup<'_>) -> Result<Plan, Refused>,
) -> Result<BTreeSet<String>, Refused> {
    let lookup = Lookup::closed(vault).with_stand_ins();
    let plan = match build(&lookup) {
        Ok(plan) => plan,
        Err(Refused::Mistakes(mut mistakes)) => {
            // Those may come of the stand-ins.
            mistakes.retain(|mistake| mistake.code != template::WITH_SECRET);
            if mistakes.is_empty() {
                return Ok(BTreeSet::new());
            }
            return Err(Refused::Mistakes(mistakes));
        }
        Err(refused) => return Err(refused),
    };
    let wishes = plan.pairs.iter().filter_map(|pair| match &pair.work {
        Work::Wish(wish) => wish.makes(),
        Work::Skip(_) => None,
    });
    Ok(wishes
        .filter_map(|text| text.expose().strip_prefix(STAND_IN))
        .map(str::to_owned)
        .collect())
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
    let build =
        |lookup: &Lookup<'_>| planned(&args, playbook, project, inventory, &fingerprinter, lookup);
    let mut plan = build(&Lookup::closed(vault));
    if lacks_secrets(&plan) {
        plan = unmade(vault, build)
            .and_then(|unmade| build(&Lookup::closed(vault).with_unmade(&unmade)));
    }
    match plan {
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
