//! Dry runs, lists of runs, and a run at length.

use hmco_boot::model::event::{DiffLine, Event};
use hmco_boot::report::ColourMode;
use hmco_boot::report::list::{RunRow, run_json, runs, show};
use hmco_boot::report::plan::{PlanDecision, PlanEntry, PlanView};
use hmco_boot::report::style::Line;
use jiff::tz::TimeZone;

use crate::scripted_run::{self, START_MS, service_failure, target};
use crate::views::state;

fn text(lines: &[Line], colour: ColourMode) -> String {
    let lines = lines
        .iter()
        .map(|l| l.render(colour).replace('\x1b', "␛").trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

fn entry(label: &str, decision: PlanDecision) -> PlanEntry {
    let (step, at) = label.split_once('@').unwrap();
    PlanEntry {
        step: step.into(),
        target: target(at),
        kind: "file".into(),
        disruptive: step.starts_with("k3s"),
        decision,
    }
}

fn plan() -> PlanView {
    let diff = vec![
        DiffLine::old("welcome \x1b[2J"),
        DiffLine::new("welcome to pi5-01\tof homelab "),
        DiffLine::both("mode 0644"),
    ];
    PlanView {
        title: "bootstrap-all on homelab".to_owned(),
        entries: vec![
            entry("os/tools@pi5-01", PlanDecision::Unchanged),
            entry("os/motd@pi5-01", PlanDecision::Drift(diff)),
            entry(
                "k3s/server@pi5-01",
                PlanDecision::Later("os/tools@pi5-01 must be applied first".to_owned()),
            ),
            entry(
                "os/fan@pi5-01",
                PlanDecision::Skipped("when is false".to_owned()),
            ),
            entry("k3s/agent@pi5-02", PlanDecision::Error(service_failure())),
        ],
        targets_unreachable: vec![("pi5-04".to_owned(), service_failure())],
        notes: vec!["the store has one reader only".to_owned()],
    }
}

#[test]
fn a_dry_run_tells_what_would_change() {
    insta::assert_snapshot!("plan", text(&plan().lines(80, false), ColourMode::Never));
    insta::assert_snapshot!(
        "plan_verbose_colour",
        text(&plan().lines(80, true), ColourMode::Always)
    );
    let json = plan().to_json().unwrap();
    assert!(!json.chars().any(char::is_control));
    insta::assert_snapshot!("plan_json", json);
    let mut quiet = plan();
    quiet.entries.truncate(1);
    quiet.targets_unreachable.clear();
    quiet.notes.clear();
    let lines = text(&quiet.lines(80, false), ColourMode::Never);
    assert!(lines.ends_with("nothing to change: 1 as wished"), "{lines}");
}

#[test]
fn runs_are_listed_and_shown() {
    let scripts = [
        scripted_run::failed(),
        scripted_run::converged(),
        scripted_run::half_way(),
        scripted_run::interrupted(),
    ];
    let resumed = "20240501-130000-cd34".into();
    let row = |(at, script): (usize, &scripted_run::Script)| {
        let Event::RunStarted(started) = &script.records[0].event else {
            panic!("a run begins with its start");
        };
        let last = script.records.last().unwrap();
        (Box::leak(started.clone()), last.clone(), at)
    };
    let parts = scripts.iter().enumerate().map(row).collect::<Vec<_>>();
    let rows = parts.iter().map(|(started, last, at)| RunRow {
        alive: false,
        started,
        at_ms: START_MS,
        finished: matches!(last.event, Event::RunFinished { .. }).then_some(last),
        resumed_by: (*at == 3).then_some(&resumed),
    });
    let rows = rows.collect::<Vec<_>>();
    insta::assert_snapshot!(
        "runs_list",
        text(
            &runs(&rows, &TimeZone::UTC, Some(120), true),
            ColourMode::Never
        )
    );
    insta::assert_snapshot!("runs_list_json", run_json(&rows[0]).unwrap());
    insta::assert_snapshot!(
        "runs_show",
        text(
            &show(&state(&scripts[0]), &TimeZone::UTC, 80),
            ColourMode::Never
        )
    );
}
