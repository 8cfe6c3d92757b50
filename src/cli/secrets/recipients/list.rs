//! `hmco-boot secrets recipients list`: who reads how much, and which keys were approved here.

use serde_json::json;

use super::may_read;
use crate::cli::Context;
use crate::cli::error::CliError;
use crate::cli::output::Format;
use crate::cli::secrets::place::Place;
use crate::model::outcome::ExitCode;
use crate::report::style::{Ink, table};
use crate::secrets::recipients::Recipient;

/// Lists them.
pub(super) fn run(place: &Place, context: &mut Context<'_>) -> Result<ExitCode, CliError> {
    let recipients = place.recipients()?;
    let approved = place.approved()?;
    let outline = place.outline()?;
    let rows = recipients.all().iter().map(|reader| {
        let fingerprint = reader.fingerprint();
        let entries = outline.entries().iter();
        Row {
            reader,
            approved: approved.is_approved(fingerprint),
            reads: entries
                .clone()
                .filter(|entry| entry.readers.contains(&fingerprint))
                .count(),
            may_read: entries
                .filter(|entry| may_read(reader, entry, &recipients))
                .count(),
            of: outline.entries().len(),
        }
    });
    if context.output.format() == Format::Json {
        for row in rows {
            context.output.json("recipient", &row.json())?;
        }
        return Ok(ExitCode::Done);
    }
    let head = [
        "READER",
        "KEY",
        "FINGERPRINT",
        "SINCE",
        "GROUPS",
        "APPROVED",
        "READS",
    ];
    let head = head.map(|head| (Ink::Soft, head.to_owned()));
    let cells: Vec<_> = [head]
        .into_iter()
        .chain(rows.map(|row| row.cells()))
        .collect();
    context.output.lines(&table(&cells))?;
    Ok(ExitCode::Done)
}

/// A reader in the list.
struct Row<'a> {
    reader: &'a Recipient,
    approved: bool,
    /// Values that are encrypted to it, of so many.
    reads: usize,
    /// Values that it may read by the rules.
    may_read: usize,
    of: usize,
}

impl Row<'_> {
    fn json(&self) -> serde_json::Value {
        let reader = self.reader;
        json!({
            "name": reader.name, "key": reader.key.text(), "fingerprint": reader.fingerprint().to_string(),
            "since": reader.since, "groups": reader.groups, "recovery": reader.recovery,
            "approved": self.approved, "reads": self.reads, "may_read": self.may_read,
        })
    }

    fn cells(&self) -> [(Ink, String); 7] {
        let reader = self.reader;
        let plain = |text: &str| (Ink::Plain, text.to_owned());
        let name = if reader.recovery && reader.name != "recovery" {
            format!("{} (recovery)", reader.name)
        } else {
            reader.name.clone()
        };
        let reads = format!("{} of {}", self.reads, self.of);
        [
            (Ink::Strong, name),
            plain(reader.key.sort()),
            plain(&reader.fingerprint().to_string()),
            plain(&reader.since),
            plain(&reader.groups.join(", ")),
            if self.approved {
                plain("here")
            } else {
                (Ink::Warn, "not here".to_owned())
            },
            if self.reads == self.may_read {
                plain(&reads)
            } else {
                (
                    Ink::Warn,
                    format!("{reads}, {} after `secrets rotate`", self.may_read),
                )
            },
        ]
    }
}
