//! `hmco-boot pins list`.

use serde_json::json;

use super::super::error::CliError;
use super::super::output::{Format, Output};
use super::super::{Context, artifacts, project};
use super::used::uses;
use crate::artifact::{Artifacts as _, Source};
use crate::config::diagnostic;
use crate::config::pins::{Artifact, Fetch};
use crate::config::project::Options;
use crate::model::outcome::ExitCode;
use crate::model::units::Bytes;
use crate::report::style::{Ink, Line, table};

/// Lists them.
pub async fn run(context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let options = Options {
        inventory_optional: true,
        ..Options::default()
    };
    let loaded = project::read(context, &options);
    let read = loaded.as_far_as_read();
    let store = artifacts::store(context)?;
    let uses = uses(read);
    let mut rows: Vec<Row<'_>> = Vec::new();
    for row in &read.pins.artifacts {
        let at_hand = match row.pin() {
            Some(pin) => store.at_hand(&pin).await,
            None => None,
        };
        let used = uses.get(&row.name).cloned().unwrap_or_default();
        rows.push((row, at_hand, used.by.into_iter().collect::<Vec<_>>()));
    }
    show(&rows, context.output)?;
    if loaded.has_errors() {
        let what = format!("the project has {}", diagnostic::summary(&loaded.mistakes));
        context.output.warn(&what, "hmco-boot check shows them");
    }
    Ok(ExitCode::Done)
}

/// A pin, where it is at hand, and the playbooks that name it.
type Row<'a> = (&'a Artifact, Option<Source>, Vec<String>);

fn show(rows: &[Row<'_>], output: &mut Output) -> Result<(), CliError> {
    if output.format() == Format::Json {
        for (row, at_hand, by) in rows {
            let value = json!({
                "name": row.name,
                "version": row.version,
                "arch": row.arch,
                "url": row.url,
                "sha256": row.sha256,
                "size": row.size,
                "fetch": row.fetch,
                "members": row.members,
                "at_hand": at_hand.as_ref().map(word),
                "used_by": by,
            });
            output.json("pin", &value)?;
        }
    } else if rows.is_empty() {
        let line =
            Line::new().plain("nothing is pinned: there is no [[artifact]] in hmco-boot.lock");
        output.lines(&[line])?;
    } else {
        let heads = [
            "NAME",
            "VERSION",
            "ARCH",
            "SIZE",
            "SHA256",
            "FETCHED BY",
            "AT HAND",
            "USED BY",
        ];
        let mut cells = vec![heads.map(|head| (Ink::Soft, head.to_owned()))];
        cells.extend(
            rows.iter()
                .map(|(row, at_hand, by)| line(row, at_hand.as_ref(), by)),
        );
        output.lines(&table(&cells))?;
    }
    Ok(())
}

fn word(source: &Source) -> String {
    match source {
        Source::Cache => "cache".to_owned(),
        other => other.to_string(),
    }
}

fn line(row: &Artifact, at_hand: Option<&Source>, by: &[String]) -> [(Ink, String); 8] {
    let digest = match &row.sha256 {
        Some(digest) => (Ink::Plain, digest.get(..12).unwrap_or(digest).to_owned()),
        None => (Ink::Warn, "not yet".to_owned()),
    };
    let size = row
        .size
        .map_or_else(String::new, |size| Bytes(size).to_string());
    let fetch = match row.fetch {
        Fetch::Node => "node",
        Fetch::Controller => "controller",
    };
    [
        (Ink::Strong, row.name.clone()),
        (Ink::Plain, row.version.clone()),
        (Ink::Plain, row.arch.to_string()),
        (Ink::Plain, size),
        digest,
        (Ink::Plain, fetch.to_owned()),
        (Ink::Plain, at_hand.map(word).unwrap_or_default()),
        (Ink::Soft, by.join(", ")),
    ]
}
