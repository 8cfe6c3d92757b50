//! `hmco-boot check`: every mistake and every lint of the whole project.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::error::CliError;
use super::output::Format;
use super::reach::BecomeArgs;
use super::secrets::identity::IdentityArgs;
use super::vault::Vault;
use super::{Context, planner, project};
use crate::config::diagnostic;
use crate::config::project::{Loaded, Options, Origin};
use crate::model::id::Target;
use crate::model::inventory::Inventory;
use crate::model::mistake::{Mistake, Severity};
use crate::model::outcome::ExitCode;
use crate::model::value::Span;
use crate::report::text::count;

/// Arguments of `check`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Reads all files of the project and reports all that is wrong with them at once. Without -i, each inventory is checked
against every playbook. Warnings alone exit with 0.

Examples:
  hmco-boot check
  hmco-boot check --output json")]
pub struct Args {}

/// Reports the mistakes.
pub fn run(_args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let mut loaded = everything(context);
    loaded
        .iter_mut()
        .for_each(|loaded| plan_all(loaded, context));
    let mut seen = BTreeSet::new();
    let (mut drawn, mut found, mut list) = (String::new(), Vec::new(), Vec::new());
    for loaded in &loaded {
        // What is wrong with a playbook by itself is found again with every inventory.
        let new: Vec<Mistake> = loaded
            .mistakes
            .iter()
            .filter(|mistake| seen.insert(as_json(loaded, mistake).to_string()))
            .cloned()
            .collect();
        drawn.push_str(&project::draw(context, &loaded.sources, &new));
        list.extend(new.iter().map(|mistake| as_json(loaded, mistake)));
        found.extend(new);
    }
    let wrong = found
        .iter()
        .any(|mistake| mistake.severity == Severity::Error);
    let summary = diagnostic::summary(&found);
    if context.output.format() == Format::Json {
        let shown = context.output.json("check", &json!({ "mistakes": list }));
        CliError::unless_closed(shown)?;
        return Ok(if wrong {
            ExitCode::Usage
        } else {
            ExitCode::Done
        });
    }
    if wrong {
        return Err(CliError::usage(summary).below(drawn));
    }
    context.output.talk(&drawn);
    let verdict = if summary.is_empty() {
        "no mistakes".to_owned()
    } else {
        summary
    };
    let scope = scope(&loaded);
    context.output.data(&format!("{verdict} in {scope}\n"))?;
    Ok(ExitCode::Done)
}

/// The project with each of its inventories, or with the one that was chosen.
fn everything(context: &Context<'_>) -> Vec<Loaded> {
    let options = Options::default();
    let first = project::read(context, &options);
    let read = first.as_far_as_read();
    let inventories = match &read.root {
        Some(root) if context.globals.inventory.is_none() && read.inventories.len() > 1 => {
            let absolute = |path: &String| root.join(path).to_string_lossy().into_owned();
            read.inventories.iter().map(absolute).collect()
        }
        _ => Vec::new(),
    };
    if inventories.is_empty() {
        return vec![first];
    }
    inventories
        .into_iter()
        .map(|inventory| {
            let inventory = Some(inventory);
            project::read(
                context,
                &Options {
                    inventory,
                    ..options.clone()
                },
            )
        })
        .collect()
}

/// Adds what only shows when the project's own playbooks are planned: `check` must not be content with what `plan` refuses.
fn plan_all(loaded: &mut Loaded, context: &Context<'_>) {
    if loaded.has_errors() {
        return;
    }
    let read = loaded.as_far_as_read();
    let (Some(inventory), Some(root)) = (&read.inventory, &read.root) else {
        return;
    };
    // Only names are looked at.
    let vault = Vault::of(root, &IdentityArgs::default(), context);
    let own = |path: &&String| read.origins.get(*path) != Some(&Origin::Shipped);
    let mut found = passwords(loaded, inventory, &vault);
    let planned = read
        .playbooks
        .keys()
        .filter(own)
        .filter_map(|path| read.playbooks.get(path))
        .flat_map(|playbook| planner::mistakes_of_plan(read, inventory, playbook, &vault));
    found.extend(planned);
    loaded.mistakes.extend(found);
}

/// Secrets that an inventory names for sudo and that there are not.
fn passwords(loaded: &Loaded, inventory: &Inventory, vault: &Vault) -> Vec<Mistake> {
    let targets = inventory.nodes.iter();
    let targets: Vec<Target> = targets
        .map(|node| Target::Node(node.name.clone()))
        .collect();
    let wanted = BecomeArgs::default().secrets(inventory, &targets);
    let mistake = |(name, node): (String, String)| {
        let failure = vault.expect(&name).err()?;
        let what = format!("the secret `{name}`, sudo's password on {node}, cannot be read");
        let hint = failure.hint.unwrap_or(failure.message);
        Some(match place(loaded, inventory, &name) {
            Some(span) => Mistake::error("unknown-secret", span, what).hint(hint),
            None => Mistake {
                code: "unknown-secret",
                severity: Severity::Error,
                message: what,
                span: None,
                label: String::new(),
                related: Vec::new(),
                hint: Some(hint),
            },
        })
    };
    wanted.into_iter().filter_map(mistake).collect()
}

/// Where the inventory says so.
fn place(loaded: &Loaded, inventory: &Inventory, name: &str) -> Option<Span> {
    let mut sources = loaded.sources.iter();
    let (file, source) = sources.find(|(_, source)| source.name() == inventory.file)?;
    let mut start = 0;
    for line in source.text().split_inclusive('\n') {
        let quoted = [format!("\"{name}\""), format!("'{name}'")];
        let found = quoted.iter().find_map(|quoted| line.find(quoted));
        if let Some(at) = found.filter(|_| line.contains("become_password")) {
            return Some(Span::new(file, start + at..start + at + name.len() + 2));
        }
        start += line.len();
    }
    None
}

fn as_json(loaded: &Loaded, mistake: &Mistake) -> Json {
    diagnostic::to_json(&loaded.sources, std::slice::from_ref(mistake))
        .get_mut(0)
        .map(Json::take)
        .unwrap_or_default()
}

fn scope(loaded: &[Loaded]) -> String {
    let inventories: Vec<&str> = loaded
        .iter()
        .filter_map(|loaded| loaded.as_far_as_read().inventory.as_ref())
        .map(|inventory| inventory.file.as_str())
        .collect();
    let own = loaded.first().map_or(0, |loaded| {
        let origins = loaded.as_far_as_read().origins.values();
        origins.filter(|origin| **origin != Origin::Shipped).count()
    });
    let playbooks = count(own, "playbook", "playbooks");
    format!("{} and {playbooks}", inventories.join(", "))
}
