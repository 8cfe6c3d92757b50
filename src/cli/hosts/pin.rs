//! `hmco-boot hosts pin`: shows the host keys of nodes and writes them into the inventory.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::compare::{self, Row, State};
use super::trust::{self, Place, Report};
use super::{Chosen, choose};
use crate::cli::error::{CliError, Kind};
use crate::cli::output::Format;
use crate::cli::{Context, files, reach};
use crate::config::edit;
use crate::model::inventory::Inventory;
use crate::model::outcome::ExitCode;
use crate::report::style::{Ink, Line};
use crate::report::text::count;
use crate::transport::HostErrorKind;

/// Arguments of `hosts pin`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
From then on a machine at that address with another key is refused before anything is sent to it.
Compare the fingerprints with what the node itself says, at its own console or on its screen:
  for key in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $key; done

Bastions on the way whose keys are not known come first. The inventory keeps its layout and
comments.

Examples:
  hmco-boot hosts pin
  hmco-boot hosts pin pi5-01 --replace     after it was installed anew")]
pub struct Args {
    /// Selector of the nodes, or the name of a bastion; by default all nodes
    #[arg(value_name = "SEL")]
    pub selector: Option<String>,
    /// Write without asking
    #[arg(short, long)]
    pub yes: bool,
    /// Also take keys of machines that show others than are trusted; theirs are then the only ones
    #[arg(long)]
    pub replace: bool,
    /// Take the keys from known_hosts, without asking the machines
    #[arg(long, conflicts_with = "replace")]
    pub from_known_hosts: bool,
}

/// How to pin.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Without asking.
    pub yes: bool,
    /// Others than are trusted, too.
    pub replace: bool,
    /// From known_hosts.
    pub from_known_hosts: bool,
}

/// What came of it.
pub struct Pinned {
    /// For the exit.
    pub code: ExitCode,
    /// A key was written.
    pub written: bool,
    /// What was seen, as JSON.
    seen: Vec<Json>,
}

/// Pins.
pub async fn run(args: &Args, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let bastion = args.selector.as_deref();
    let mut chosen = match choose(bastion, context) {
        Err(error) => match bastion {
            Some(name) => with_bastion(name, error, context)?,
            None => return Err(error),
        },
        Ok(chosen) => chosen,
    };
    let places: Vec<Place> = if chosen.nodes.is_empty() {
        bastion
            .map(|name| Place::Bastion(name.to_owned()))
            .into_iter()
            .collect()
    } else {
        let nodes = chosen.by_ssh()?;
        nodes
            .into_iter()
            .map(|node| Place::Node(node.name.clone()))
            .collect()
    };
    let how = How {
        yes: args.yes,
        replace: args.replace,
        from_known_hosts: args.from_known_hosts,
    };
    let pinned = pin(&mut chosen, &places, how, context).await;
    if context.output.format() == Format::Json {
        let pinned = pinned?;
        context.output.json(
            "host_keys",
            &json!({ "machines": pinned.seen, "written": pinned.written }),
        )?;
        return Ok(pinned.code);
    }
    Ok(pinned?.code)
}

/// A selector that selects no node may be the name of a bastion.
fn with_bastion(
    name: &str,
    error: CliError,
    context: &mut Context<'_>,
) -> Result<Chosen, CliError> {
    let chosen = choose(None, context);
    match chosen {
        Ok(mut chosen) if chosen.inventory.bastion(name).is_some() => {
            chosen.nodes.clear();
            Ok(chosen)
        }
        _ => Err(error),
    }
}

/// Shows the keys of the places, asks, and writes; those behind a bastion after it.
pub async fn pin(
    chosen: &mut Chosen,
    places: &[Place],
    how: How,
    context: &mut Context<'_>,
) -> Result<Pinned, CliError> {
    let resolver = super::resolver(&chosen.inventory, &chosen.root, context)?;
    let access = super::access();
    let mut codes = vec![ExitCode::Done];
    let mut pinned = Pinned {
        code: ExitCode::Done,
        written: false,
        seen: Vec::new(),
    };
    for stage in trust::stages(&chosen.inventory, &resolver, places) {
        // With what was pinned before.
        let resolver = super::resolver(&chosen.inventory, &chosen.root, context)?;
        warn(&stage, &chosen.inventory, &resolver, context);
        let reports = if how.from_known_hosts {
            trust::look_up(&stage, &chosen.inventory, &resolver)
        } else {
            trust::look(&stage, &chosen.inventory, &resolver, &access).await
        };
        for report in &reports {
            show(report, context)?;
            codes.push(code(report, how));
            pinned.seen.push(as_json(report));
        }
        let changes = changes(&reports, &chosen.inventory, how);
        if changes.is_empty() {
            continue;
        }
        if !agreed(&changes, &chosen.inventory.file, how, context)? {
            context.output.talk("nothing was written\n");
            codes.push(ExitCode::Failed);
            break;
        }
        write(chosen, &changes, context)?;
        pinned.written = true;
    }
    pinned.code = ExitCode::strongest(codes);
    Ok(pinned)
}

fn warn(
    stage: &[Place],
    inventory: &Inventory,
    resolver: &crate::transport::ssh::resolve::Resolver,
    context: &mut Context<'_>,
) {
    for place in stage {
        if let Ok(route) = place.route(inventory, resolver) {
            reach::warn_unsupported(&place.shown(), &route, context);
        }
    }
}

fn show(report: &Report, context: &mut Context<'_>) -> Result<(), CliError> {
    let name = report.place.shown();
    let result = match &report.result {
        Ok(result) => result,
        Err(error) => {
            let failure = super::about(&name, &error.failure);
            let shown = CliError::from_failure(Kind::Failed, &failure);
            context.output.report(&shown);
            return Ok(());
        }
    };
    if result.is_changed() {
        context.output.warn(
            &format!("{name} does not show the host key that is trusted"),
            &format!(
                "if it was installed anew, compare at its console, then `hmco-boot hosts pin {} --replace`; if not, somebody \
                 may be in between",
                report.place.name()
            ),
        );
    }
    if context.output.format() == Format::Json {
        return Ok(());
    }
    let mut lines = vec![Line::of(Ink::Strong, &name).plain(format!("  {}", report.at))];
    lines.extend(result.lines());
    context.output.lines(&lines)
}

fn code(report: &Report, how: How) -> ExitCode {
    match &report.result {
        Ok(result) if result.is_changed() && !how.replace => ExitCode::Failed,
        Ok(result) if result.rows.iter().any(|row| row.state == State::Revoked) => ExitCode::Failed,
        Ok(_) => ExitCode::Done,
        Err(error) => match error.kind {
            HostErrorKind::Unreachable { .. } | HostErrorKind::Lost => ExitCode::Unreachable,
            _ => ExitCode::Failed,
        },
    }
}

/// What is to be written.
fn changes(reports: &[Report], inventory: &Inventory, how: How) -> Vec<(Place, Vec<String>)> {
    reports
        .iter()
        .filter_map(|report| {
            let result = report.result.as_ref().ok()?;
            let taken = result.has_new() && (how.replace || !result.is_changed());
            let pins = result.pins(how.replace && result.is_changed());
            let differs = pins != report.place.pins(inventory);
            (taken && differs && !pins.is_empty()).then(|| (report.place.clone(), pins))
        })
        .collect()
}

fn agreed(
    changes: &[(Place, Vec<String>)],
    file: &str,
    how: How,
    context: &mut Context<'_>,
) -> Result<bool, CliError> {
    if how.yes {
        return Ok(true);
    }
    let machines = count(changes.len(), "machine", "machines");
    if !context.output.interactive() {
        return Err(CliError::usage(format!(
            "keys of {machines} are not pinned, and there is no terminal to ask at: nothing was written"
        ))
        .hint("compare the fingerprints with those at the machine's own console, then add --yes"));
    }
    context.output.talk(
        "Compare with what the machine's own console says to\n  \
         for key in /etc/ssh/ssh_host_*_key.pub; do ssh-keygen -lf $key; done\n",
    );
    let question = format!("Write the keys of {machines} into {file}?");
    Ok(context.output.confirm(&question))
}

/// Writes the inventory, and takes the same into what was read of it.
fn write(
    chosen: &mut Chosen,
    changes: &[(Place, Vec<String>)],
    context: &mut Context<'_>,
) -> Result<(), CliError> {
    let file = chosen.inventory.file.clone();
    let mut text = chosen.text.clone();
    for (place, pins) in changes {
        let value = edit::strings(pins.iter().map(String::as_str));
        let path = [place.table(), place.name(), "host_keys"];
        text = edit::set_value(&text, &path, value).map_err(|error| {
            let lines: Vec<String> = pins.iter().map(|pin| format!("  {pin:?},")).collect();
            CliError::failed(format!(
                "cannot write the host keys of {} into {file}; nothing was written",
                place.shown()
            ))
            .caused_by(&error)
            .hint(format!(
                "write them into [{}.{}] by hand:\nhost_keys = [\n{}\n]",
                place.table(),
                place.name(),
                lines.join("\n")
            ))
        })?;
    }
    let path = chosen.root.join(Path::new(&file));
    files::replace_if_same(&path, &chosen.text, &text).map_err(|error| {
        let kind = error.kind();
        let error =
            CliError::failed(format!("cannot write {file}; nothing was written")).caused_by(&error);
        match kind {
            std::io::ErrorKind::InvalidData => {
                error.hint("look at what changed there, then try again")
            }
            _ => error.hint("see that you may write it, and that the disk is not full"),
        }
    })?;
    for (place, pins) in changes {
        place.set_pins(&mut chosen.inventory, pins.clone());
    }
    chosen.text = text;
    let machines = count(changes.len(), "machine", "machines");
    context.output.talk(&format!(
        "the host keys of {machines} are pinned in {file}\n"
    ));
    Ok(())
}

fn as_json(report: &Report) -> Json {
    let key = |row: &Row| {
        json!({
            "type": compare::type_name(&row.key),
            "bits": compare::bits(&row.key),
            "fingerprint": compare::print(&row.key),
            "key": compare::line(&row.key),
            "state": row.state.as_str().to_lowercase(),
            "known_hosts": row.known,
        })
    };
    let mut seen = json!({ report.place.table(): report.place.name() });
    let (name, value) = match &report.result {
        Ok(result) => ("keys", Json::from_iter(result.rows.iter().map(key))),
        Err(error) => ("error", json!(error.failure)),
    };
    if let Some(object) = seen.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
    seen
}
