//! What `graph`, `plan`, `run` and `resume` have in common: the project, the plan, the record of runs, and the seams that
//! the engine works through.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::error::{CliError, Kind};
use super::planner::{Planner, Values};
use super::project::InventoryFile;
use super::reach::{BecomeArgs, Roads};
use super::run::PlanArgs;
use super::secrets::identity::IdentityArgs;
use super::vault::Vault;
use super::{Context, artifacts, cluster, paths, project, reach, vault};
use crate::engine::clock::{Clock, SystemClock};
use crate::journal::state_dir::{Cache, StateDir};
use crate::model::event::{EVENT_VERSION, PairInfo, RunArguments, RunStarted};
use crate::model::fingerprint::Fingerprinter;
use crate::model::id::{KindName, RunId};
use crate::model::inventory::Inventory;
use crate::model::outcome::Failure;
use crate::model::playbook::Playbook;
use crate::model::selector::Selector;
use crate::model::value::Value;
use crate::plan::Plan;
use crate::transport::Hosts;
use crate::transport::machines::{Books, Machines};

/// A project with one of its playbooks, planned.
pub struct Session {
    /// The nodes.
    pub inventory: Inventory,
    /// The plan.
    pub plan: Arc<Plan>,
    /// What shaped it.
    pub arguments: RunArguments,
    /// The playbook, as given.
    pub playbook: String,
    /// The records of this cluster's runs.
    pub state: Arc<StateDir>,
    /// By the key of those records.
    pub fingerprinter: Fingerprinter,
    /// The project's folder.
    root: PathBuf,
    /// Its secrets.
    vault: Vault,
    /// The ways to its nodes, where somebody is on them already.
    roads: Option<Roads>,
    /// The machines, once somebody has asked for them: connections and passwords are kept.
    machines: Option<Arc<Machines>>,
}

impl Session {
    /// Loads the project and plans the playbook; shows every mistake there is.
    pub async fn open(
        args: &PlanArgs,
        values: Values<'_>,
        context: &mut Context<'_>,
    ) -> Result<Self, CliError> {
        let loaded = project::load(context, Some(&args.playbook))?;
        let found = loaded.as_far_as_read();
        let (Some(inventory), Some(root)) = (found.inventory.clone(), found.root.clone()) else {
            return Err(
                CliError::usage("there is no inventory").hint("hmco-boot init makes a first one")
            );
        };
        let path = project::find(found, &args.playbook)?;
        let playbook = found
            .playbooks
            .get(path)
            .ok_or_else(|| CliError::usage(format!("cannot read {path}")))?;
        let (state, fingerprinter) = records(context, &inventory)?;
        let nobody = IdentityArgs::default();
        let vault = Vault::of(
            &root,
            values.how().map_or(&nobody, |how| &how.identity),
            context,
        );
        let mut planner = Planner {
            args,
            playbook,
            project: found,
            inventory: &inventory,
            fingerprinter: &fingerprinter,
            root: &root,
            vault,
            roads: None,
            unmade: BTreeSet::new(),
        };
        let plan = planner
            .plan(values, context)
            .await
            .map_err(|refused| refused.shown(context, &loaded))?;
        let Planner { vault, roads, .. } = planner;
        refuse_secrets(&args.vars, context)?;
        if plan.pairs.is_empty() {
            let (what, hint) = empty(&plan, args, &inventory);
            context.output.warn(&what, &hint);
        }
        Ok(Self {
            arguments: said(args, &inventory),
            playbook: args.playbook.clone(),
            inventory,
            plan: Arc::new(plan),
            state: Arc::new(state),
            fingerprinter,
            root,
            vault,
            roads,
            machines: None,
        })
    }

    /// For a plan that comes from no playbook. Mistakes in playbooks do not matter to it.
    pub fn without_playbook(
        context: &mut Context<'_>,
        how: &BecomeArgs,
        label: String,
        arguments: RunArguments,
        plan: impl FnOnce(&Inventory, &Fingerprinter) -> Result<Plan, CliError>,
    ) -> Result<Self, CliError> {
        let InventoryFile {
            inventory, root, ..
        } = project::inventory(context)?;
        let (state, fingerprinter) = records(context, &inventory)?;
        let plan = plan(&inventory, &fingerprinter)?;
        let mut vault = Vault::of(&root, &how.identity, context);
        let reached = cluster::reached(&inventory, &plan);
        if how.secrets(&inventory, &reached).is_empty() {
            vault.ask_nobody();
        }
        Ok(Self {
            plan: Arc::new(plan),
            arguments: RunArguments {
                inventory: Some(inventory.file.clone()),
                ..arguments
            },
            inventory,
            playbook: label,
            state: Arc::new(state),
            fingerprinter,
            root,
            vault,
            roads: None,
            machines: None,
        })
    }

    /// Goes on with another plan on the same machines: what a command found out decided on it.
    pub fn set_plan(&mut self, plan: Plan, command: &str) {
        self.playbook = command.to_owned();
        self.arguments.command = Some(command.to_owned());
        self.plan = Arc::new(plan);
    }

    /// The machines, with what is known of their files from earlier runs.
    pub async fn machines(
        &mut self,
        how: &BecomeArgs,
        context: &mut Context<'_>,
    ) -> Result<Arc<Machines>, CliError> {
        if let Some(machines) = &self.machines {
            return Ok(machines.clone());
        }
        let machines = self.new_machines(how, context).await?;
        self.machines = Some(machines.clone());
        Ok(machines)
    }

    async fn new_machines(
        &mut self,
        how: &BecomeArgs,
        context: &mut Context<'_>,
    ) -> Result<Arc<Machines>, CliError> {
        let targets = &cluster::reached(&self.inventory, &self.plan);
        let roads = match self.roads.take() {
            Some(roads) => roads,
            None => Roads::of(&self.inventory, &self.root, targets, context)?,
        };
        let vault = &mut self.vault;
        let ssh = reach::ways(&self.inventory, roads, targets, how, vault, context).await?;
        let mut digests = BTreeMap::new();
        for target in &self.plan.targets {
            match self.state.digest_cache(target) {
                Cache::Absent => {}
                Cache::Text(text) => {
                    if let Ok(cache) = serde_json::from_str(&text) {
                        digests.insert(target.clone(), cache);
                    }
                }
                Cache::Damaged(failure) => {
                    context.output.warn(
                        &failure.message,
                        failure.hint.as_deref().unwrap_or("nothing to do"),
                    );
                }
            }
        }
        let books = Books {
            root: rustix::process::geteuid().is_root(),
            own: self.state.path().join("run"),
        };
        let machines = Machines::new(&self.inventory, &self.root, books, digests, ssh);
        Ok(Arc::new(
            machines
                .with_artifacts(artifacts::store(context)?)
                .with_redactor(context.output.redactor().clone()),
        ))
    }

    /// The machines and the cluster, as one; and the way to the cluster's API, for after the run.
    pub fn hosts(
        &self,
        machines: &Arc<Machines>,
        context: &Context<'_>,
    ) -> Result<(Arc<dyn Hosts>, cluster::Api), CliError> {
        let store = artifacts::store(context)?;
        let (machines, state) = (machines.clone(), &self.state);
        cluster::hosts(&self.inventory, &self.root, state, machines, store, context)
    }

    /// Makes all secrets that can be opened known to the redactor: nobody can tell which a command prints.
    pub async fn know_secrets(&mut self) {
        self.vault.know_all().await;
    }

    /// Keeps what the machines know of their files now.
    pub fn keep_digests(&self, machines: &Machines, context: &mut Context<'_>) {
        for (target, cache) in machines.digests() {
            let saved = match serde_json::to_string(&cache) {
                Ok(text) => self.state.save_digest_cache(&target, &text),
                Err(error) => Err(Failure::new(format!(
                    "cannot save the digests of {target}: {error}"
                ))),
            };
            if let Err(failure) = saved {
                context
                    .output
                    .warn(&failure.message, "the next run hashes files again");
            }
        }
    }

    /// The first event of a run of this plan.
    pub fn started(&self, run: RunId, resumes: Option<RunId>) -> RunStarted {
        let needed = self.plan.needed_steps();
        let info = |(pair, waits_for): (&crate::plan::Pair, _)| PairInfo {
            id: pair.id,
            step: pair.step.clone(),
            target: pair.target.clone(),
            kind: KindName::new(pair.kind.name),
            waits_for,
            disruptive: pair.is_disruptive(),
        };
        RunStarted {
            version: EVENT_VERSION,
            run,
            resumes,
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            cluster: self.inventory.cluster.name.clone(),
            playbook: self.playbook.clone(),
            arguments: self.arguments.clone(),
            fingerprint: self.plan.fingerprint.clone(),
            pairs: self.plan.pairs.iter().zip(needed).map(info).collect(),
        }
    }
}

/// The records of a cluster's runs, and what makes fingerprints by their key.
fn records(
    context: &mut Context<'_>,
    inventory: &Inventory,
) -> Result<(StateDir, Fingerprinter), CliError> {
    let state = paths::state_dir(context, &inventory.cluster.name)?;
    let key = state
        .mac_key()
        .map_err(|failure| CliError::from_failure(Kind::Failed, &failure))?;
    Ok((state, Fingerprinter::new(key)))
}

/// A known secret as the value of `--var` is on the command line of this very process.
fn refuse_secrets(vars: &[(String, String)], context: &Context<'_>) -> Result<(), CliError> {
    let vars: Vec<(String, &str)> = vars
        .iter()
        .map(|(name, text)| (format!("--var {name}"), text.as_str()))
        .collect();
    let vars = vars.iter().map(|(name, text)| (name.as_str(), *text));
    vault::refuse_values(context.output.redactor(), vars)
}

/// A plan without steps ends well at once, and that must not look like a job done.
fn empty(plan: &Plan, args: &PlanArgs, inventory: &Inventory) -> (String, String) {
    match &args.limit {
        Some(limit) => (
            format!(
                "nothing of {} is for a target in --limit {limit}",
                plan.playbook
            ),
            "name other targets, or leave --limit out".to_owned(),
        ),
        None => (
            format!(
                "no step of {} has a target in {}",
                plan.playbook, inventory.file
            ),
            "give the nodes the roles and groups that its steps select".to_owned(),
        ),
    }
}

/// What was said on the command line, for the record.
fn said(args: &PlanArgs, inventory: &Inventory) -> RunArguments {
    RunArguments {
        inventory: Some(inventory.file.clone()),
        limit: args.limit.clone(),
        vars: args.vars.clone(),
        saved_plan: None,
        exec: None,
        command: None,
    }
}

/// A selector from the command line; `argument` says which one it is.
pub fn selector(argument: &str, text: &str) -> Result<Selector, CliError> {
    Selector::parse(text).map_err(|error| {
        let marks = "^".repeat(error.at.len().max(1));
        let place = format!("{text}\n{}{marks}", " ".repeat(error.at.start));
        let wrong = CliError::usage(format!("{argument}: {}", error.message)).below(place);
        match error.hint {
            Some(hint) => wrong.hint(hint),
            None => wrong,
        }
    })
}

/// `--var`, each read by its declared type. A name that is not declared stays text: the plan says what is wrong with it.
pub(super) fn command_line_vars(
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

/// A name for a run that begins now.
pub fn new_run_id(clock: &SystemClock) -> Result<RunId, CliError> {
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz023456789";
    let mut random = [0_u8; 4];
    getrandom::fill(&mut random).map_err(|error| {
        CliError::failed("the system gives no random numbers").caused_by(&error)
    })?;
    let tail: String = random
        .iter()
        .filter_map(|byte| LETTERS.get(usize::from(byte % 32)))
        .map(|byte| char::from(*byte))
        .collect();
    let now = jiff::Timestamp::from_millisecond(clock.wall_ms())
        .map_err(|error| CliError::failed("the clock is out of range").caused_by(&error))?;
    Ok(RunId::new(format!(
        "{}-{tail}",
        now.strftime("%Y%m%d-%H%M%S")
    )))
}
