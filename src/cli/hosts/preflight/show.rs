//! How what was found on a node is shown.

use serde_json::json;

use super::Looked;
use crate::cli::Context;
use crate::cli::error::{CliError, Kind};
use crate::cli::output::Format;
use crate::report::style::{Ink, Line};
use crate::report::text::count;
use crate::steps::preflight::finding::{Finding, Severity};
use crate::steps::preflight::{Measuring, Report};

/// Shows one node.
pub(super) fn show(looked: &Looked, context: &mut Context<'_>) -> Result<(), CliError> {
    let json = context.output.format() == Format::Json;
    match &looked.report {
        Ok(report) if json => {
            let findings: Vec<_> = report.findings.iter().map(finding_json).collect();
            let measured = measuring_words(&report.measuring);
            let value = json!({ "node": looked.target.to_string(), "measuring": measured, "findings": findings });
            context.output.json("preflight", &value)
        }
        Ok(report) => {
            let width = usize::from(context.output.width());
            let lines = table(&looked.target.to_string(), report, width);
            context.output.lines(&lines)
        }
        Err(failure) if json => {
            let kind = if looked.reached {
                "failed"
            } else {
                "unreachable"
            };
            let value = json!({ "node": looked.target.to_string(), "failure": failure });
            context.output.json(kind, &value)
        }
        Err(failure) => {
            let kind = if looked.reached {
                Kind::Failed
            } else {
                Kind::Unreachable
            };
            let mut failure = failure.clone();
            failure.message = format!("{}: {}", looked.target, failure.message);
            let error = CliError::from_failure(kind, &failure);
            context.output.report(&error);
            Ok(())
        }
    }
}

fn finding_json(finding: &Finding) -> serde_json::Value {
    json!({
        "check": finding.check,
        "severity": finding.severity.word(),
        "measured": finding.measured,
        "limit": finding.limit,
        "cure": finding.cure,
    })
}

fn measuring_words(measuring: &Measuring) -> String {
    match measuring {
        Measuring::Done { age_ms } => {
            format!("measured {} ago", crate::report::text::duration(*age_ms))
        }
        Measuring::Needed(why) | Measuring::Left(why) => format!("not measured: {why}"),
    }
}

/// A node's findings: the worst first; what is fine in one row each.
fn table(name: &str, report: &Report, width: usize) -> Vec<Line> {
    let number = |severity| report.of(severity).count();
    let mut summary = vec![
        count(number(Severity::Error), "error", "errors"),
        count(number(Severity::Warning), "warning", "warnings"),
    ];
    summary.push(measuring_words(&report.measuring));
    let mut lines = vec![
        Line::of(Ink::Strong, name)
            .plain("  ")
            .with(Ink::Soft, summary.join(", ")),
    ];
    let column = report.findings.iter().map(|f| f.check.len()).max();
    let column = 2 + 9 + column.unwrap_or_default() + 2;
    let mut findings: Vec<&Finding> = report.findings.iter().collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    for finding in findings {
        let ink = match finding.severity {
            Severity::Error => Ink::Bad,
            Severity::Warning => Ink::Warn,
            Severity::Note | Severity::Fine => Ink::Soft,
        };
        let mut line = Line::new().with(
            ink,
            format!("  {:<9}{}", finding.severity.word(), finding.check),
        );
        line.pad_to(column);
        let rows = [
            ("", &finding.measured),
            ("limit: ", &finding.limit),
            ("cure: ", &finding.cure),
        ];
        for (at, (label, text)) in rows.into_iter().enumerate() {
            // What is fine needs no more words.
            if text.is_empty() || (at > 0 && finding.severity == Severity::Fine) {
                continue;
            }
            let ink = if at == 0 { Ink::Plain } else { Ink::Soft };
            for part in
                Line::of(ink, format!("{label}{text}")).wrap(0, width.saturating_sub(column))
            {
                line.pad_to(column);
                line.append(part);
                lines.push(std::mem::take(&mut line));
            }
        }
    }
    lines.push(Line::new());
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(check: &'static str, severity: Severity) -> Finding {
        Finding::new(
            check,
            severity,
            format!("value of {check}"),
            "a limit",
            "a cure that is long enough to need a second line",
        )
    }

    #[test]
    fn the_worst_comes_first_with_limit_and_cure_and_what_is_fine_takes_one_line() {
        let report = Report {
            findings: vec![
                finding("cpus", Severity::Fine),
                finding("disk", Severity::Warning),
                finding("memory", Severity::Error),
            ],
            measuring: Measuring::Needed("there is no measuring of this boot"),
        };
        let text: Vec<String> = table("pi-1", &report, 60).iter().map(Line::text).collect();
        assert_eq!(
            text,
            [
                "pi-1  1 error, 1 warning, not measured: there is no measuring of this boot",
                "  error    memory  value of memory",
                "                   limit: a limit",
                "                   cure: a cure that is long enough to",
                "                     need a second line",
                "  warning  disk    value of disk",
                "                   limit: a limit",
                "                   cure: a cure that is long enough to",
                "                     need a second line",
                "  fine     cpus    value of cpus",
                "",
            ]
        );
    }
}
