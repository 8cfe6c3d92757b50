//! `hmco-boot playbooks`: which playbooks there are, what they take, and a copy of a shipped one to change.

use clap::Subcommand;
use serde_json::{Value as Json, json};

use super::error::CliError;
use super::files::write_new;
use super::output::Format;
use super::paths::shown;
use super::{Context, project};
use crate::config::project::{Loaded, Options, Origin, short_name};
use crate::config::{diagnostic, shipped};
use crate::model::outcome::ExitCode;
use crate::model::playbook::{Body, Playbook, Step};
use crate::report::style::{Ink, Line, table};
use crate::report::text::count;

/// Arguments of `playbooks`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// What to do with them.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands below `playbooks`.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// List the playbooks of this project and those that come with hmco-boot
    List,
    /// Show what a playbook takes and does
    Show {
        /// The playbook, by its path below playbooks/ (`.toml` may be left out)
        playbook: String,
        /// Its text as it is
        #[arg(long)]
        source: bool,
    },
    /// Copy a playbook that comes with hmco-boot into this project, to change it
    Eject {
        /// The playbook, by its path below playbooks/ (`.toml` may be left out)
        playbook: String,
    },
}

/// Carries out one of them.
pub fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let loaded = project::read(
        context,
        &Options {
            inventory_optional: true,
            ..Options::default()
        },
    );
    match &args.command {
        Command::List => list(&loaded, context)?,
        Command::Show { playbook, source } => show(&loaded, playbook, *source, context)?,
        Command::Eject { playbook } => eject(&loaded, playbook, context)?,
    }
    Ok(ExitCode::Done)
}

fn origin_word(origin: Origin) -> &'static str {
    match origin {
        Origin::Own => "project",
        Origin::OwnInsteadOfShipped => "project, instead of the shipped one",
        Origin::Shipped => "shipped",
    }
}

fn list(loaded: &Loaded, context: &mut Context<'_>) -> Result<(), CliError> {
    let read = loaded.as_far_as_read();
    if context.output.format() == Format::Json {
        for (path, origin) in &read.origins {
            let title = read.playbooks.get(path).map(|playbook| &playbook.title);
            let from = origin_json(*origin);
            let row = json!({ "name": short_name(path), "title": title, "from": from });
            context.output.json("playbook", &row)?;
        }
        return Ok(());
    }
    let mut rows = vec![["PLAYBOOK", "FROM", "TITLE"].map(|head| (Ink::Soft, head.to_owned()))];
    for (path, origin) in &read.origins {
        let title = match read.playbooks.get(path) {
            Some(playbook) => (Ink::Plain, playbook.title.clone()),
            None => (Ink::Bad, "cannot be read: see `hmco-boot check`".to_owned()),
        };
        rows.push([
            (Ink::Strong, short_name(path).to_owned()),
            (Ink::Soft, origin_word(*origin).to_owned()),
            title,
        ]);
    }
    context.output.lines(&table(&rows))?;
    if loaded.has_errors() {
        let what = format!(
            "these playbooks have {}",
            diagnostic::summary(&loaded.mistakes)
        );
        context.output.warn(&what, "hmco-boot check shows them");
    }
    Ok(())
}

fn origin_json(origin: Origin) -> &'static str {
    match origin {
        Origin::Own => "project",
        Origin::OwnInsteadOfShipped => "project_instead_of_shipped",
        Origin::Shipped => "shipped",
    }
}

fn show(
    loaded: &Loaded,
    name: &str,
    source: bool,
    context: &mut Context<'_>,
) -> Result<(), CliError> {
    let read = loaded.as_far_as_read();
    let path = project::find(read, name)?;
    let origin = read.origins.get(path).copied().unwrap_or(Origin::Own);
    if source {
        let prefix = if origin == Origin::Shipped {
            "shipped:"
        } else {
            ""
        };
        let wanted = format!("{prefix}playbooks/{path}");
        let found = loaded
            .sources
            .iter()
            .find(|(_, source)| source.name() == wanted);
        let text = found.map_or(String::new(), |(_, source)| source.text().to_owned());
        return context.output.data(&text);
    }
    let Some(playbook) = read.playbooks.get(path) else {
        return Err(unreadable(loaded, path, context));
    };
    if context.output.format() == Format::Json {
        return context.output.json("playbook", &as_json(playbook, origin));
    }
    context.output.lines(&describe(playbook, origin))?;
    if loaded.has_errors() {
        let what = format!("the project has {}", diagnostic::summary(&loaded.mistakes));
        context.output.warn(&what, "hmco-boot check shows them");
    }
    Ok(())
}

fn unreadable(loaded: &Loaded, path: &str, context: &Context<'_>) -> CliError {
    let drawn = project::draw(context, &loaded.sources, &loaded.mistakes);
    CliError::usage(format!("the playbook {path} cannot be read")).below(drawn)
}

fn kind_of(step: &Step) -> (&str, Option<&str>) {
    match &step.body {
        Body::Playbook { path, .. } => ("playbook", Some(path)),
        Body::Kind { kind, .. } => (kind.as_str(), None),
    }
}

fn as_json(playbook: &Playbook, origin: Origin) -> Json {
    let vars: Vec<Json> = playbook
        .vars
        .iter()
        .map(|(name, var)| {
            json!({
                "name": name,
                "type": var.kind,
                "doc": var.doc,
                "default": var.default.as_ref().map(|value| value.to_json()),
            })
        })
        .collect();
    let steps: Vec<Json> = playbook
        .steps
        .iter()
        .map(|step| {
            let (kind, uses) = kind_of(step);
            json!({
                "id": step.id,
                "title": step.title,
                "kind": kind,
                "playbook": uses,
                "on": step.on.as_ref().map(|(selector, _)| selector.to_string()),
            })
        })
        .collect();
    json!({
        "name": short_name(&playbook.path),
        "title": playbook.title,
        "doc": playbook.doc,
        "from": origin_json(origin),
        "vars": vars,
        "steps": steps,
    })
}

fn describe(playbook: &Playbook, origin: Origin) -> Vec<Line> {
    let mut lines = vec![
        Line::of(Ink::Strong, short_name(&playbook.path)).plain(format!("  {}", playbook.title)),
        Line::of(Ink::Soft, format!("from: {}", origin_word(origin))),
    ];
    if !playbook.doc.trim().is_empty() {
        lines.push(Line::new());
        let doc = playbook.doc.trim().lines();
        lines.extend(doc.map(|line| Line::of(Ink::Plain, line)));
    }
    if !playbook.vars.is_empty() {
        lines.push(Line::new());
        let mut rows =
            vec![["VAR", "TYPE", "DEFAULT", ""].map(|head| (Ink::Soft, head.to_owned()))];
        for (name, var) in &playbook.vars {
            let kind = serde_json::to_value(var.kind).unwrap_or_default();
            let default = match &var.default {
                Some(value) => (Ink::Plain, value.to_json().to_string()),
                None => (Ink::Warn, "must be set".to_owned()),
            };
            rows.push([
                (Ink::Strong, name.clone()),
                (Ink::Plain, kind.as_str().unwrap_or_default().to_owned()),
                default,
                (Ink::Soft, var.doc.clone()),
            ]);
        }
        lines.extend(table(&rows));
    }
    lines.push(Line::new());
    if playbook.steps.is_empty() {
        lines.push(Line::of(Ink::Soft, count(0, "step", "steps")));
        return lines;
    }
    let mut rows = vec![["STEP", "KIND", "ON", ""].map(|head| (Ink::Soft, head.to_owned()))];
    for step in &playbook.steps {
        let (kind, uses) = kind_of(step);
        let kind = uses.map_or(kind.to_owned(), |path| {
            format!("playbook {}", short_name(path))
        });
        let on = step.on.as_ref().map(|(selector, _)| selector.to_string());
        rows.push([
            (Ink::Strong, step.id.to_string()),
            (Ink::Plain, kind),
            (Ink::Plain, on.unwrap_or_default()),
            (Ink::Soft, step.title.clone().unwrap_or_default()),
        ]);
    }
    lines.extend(table(&rows));
    lines
}

fn eject(loaded: &Loaded, name: &str, context: &mut Context<'_>) -> Result<(), CliError> {
    let read = loaded.as_far_as_read();
    let path = project::find(read, name)?;
    let Some(root) = &read.root else {
        return Err(CliError::usage("there is no project to copy it to").hint(
            "change to a project's folder, name it with --project DIR, or make one with hmco-boot init",
        ));
    };
    let file = root.join("playbooks").join(path);
    if read.origins.get(path) != Some(&Origin::Shipped) {
        let what = format!("{} is there already", shown(&file, &context.cwd));
        let hint = match read.origins.get(path) {
            Some(Origin::OwnInsteadOfShipped) => "it is used in place of the shipped one; edit it",
            _ => "it is the project's own; edit it",
        };
        return Err(CliError::usage(what).hint(hint));
    }
    let text = shipped::read(path).unwrap_or_default();
    write_new(&file, text).map_err(|error| {
        CliError::failed(format!("cannot write {}", shown(&file, &context.cwd)))
            .caused_by(&error)
            .hint("the project's folder must be writable")
    })?;
    let shown = shown(&file, &context.cwd);
    if context.output.format() == Format::Json {
        return context.output.json("ejected", &json!({ "file": shown }));
    }
    context.output.data(&format!("{shown}\n"))?;
    context
        .output
        .talk("It is now used in place of the shipped one; remove it to go back.\n");
    Ok(())
}
