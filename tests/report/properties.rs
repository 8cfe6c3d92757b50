//! Whatever happens in a run, in whatever order it is heard of: views keep their size and hold no control character.

use hmco_boot::model::event::{CancelLevel, DiffLine, Event, Record};
use hmco_boot::model::id::PairId;
use hmco_boot::model::outcome::{ExitCode, Failure, Outcome};
use hmco_boot::report::frame::{Canvas, frame};
use hmco_boot::report::state::State;
use hmco_boot::report::{ColourMode, Format, Options, summary, text};
use proptest::prelude::*;

use crate::scripted_run::{Script, blocked, target};
use crate::seeded;
use crate::views::written;

fn failure() -> impl Strategy<Value = Failure> {
    (
        any::<String>(),
        prop::collection::vec(any::<String>(), 0..3),
        any::<Option<String>>(),
    )
        .prop_map(|(message, evidence, hint)| Failure {
            message,
            evidence,
            hint,
        })
}

fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Unchanged),
        Just(Outcome::Changed),
        any::<String>().prop_map(Outcome::Skipped),
        failure().prop_map(Outcome::Failed),
        (0..6usize).prop_map(|n| blocked(&format!("s{n}@node-{n}"))),
        failure().prop_map(Outcome::Unreachable),
        any::<String>().prop_map(Outcome::Interrupted),
        failure().prop_map(Outcome::Unknown),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let pair = || (0..40u32).prop_map(PairId);
    let node = || (0..7usize).prop_map(|n| target(&format!("node-{n}")));
    prop_oneof![
        (node(), 1..4u32, 0..99u32).prop_map(|(target, round, facts)| Event::FactsRequested {
            target,
            round,
            facts
        }),
        (node(), 0..3u32).prop_map(|(target, failed)| Event::FactsRead {
            target,
            failed,
            took_ms: 5
        }),
        (node(), failure())
            .prop_map(|(target, failure)| Event::TargetUnreachable { target, failure }),
        (node(), any::<bool>()).prop_map(|(target, waiting)| Event::LeftoverJob {
            target,
            job: "j".into(),
            waiting
        }),
        failure().prop_map(|failure| Event::LockRefused { failure }),
        (pair(), any::<Option<Vec<String>>>()).prop_map(|(pair, diff)| Event::StepDecided {
            pair,
            diff: diff.map(|d| d.into_iter().map(DiffLine::new).collect()),
        }),
        (pair(), 1..4u32).prop_map(|(pair, attempt)| Event::StepStarted {
            pair,
            attempt,
            job: "j".into()
        }),
        (pair(), any::<String>()).prop_map(|(pair, text)| Event::StepOutput { pair, text }),
        (pair(), any::<u64>(), failure()).prop_map(|(pair, delay_ms, failure)| Event::StepRetry {
            pair,
            attempt: 1,
            delay_ms,
            failure
        }),
        (pair(), any::<String>()).prop_map(|(pair, reason)| Event::GateWaiting { pair, reason }),
        (pair(), outcome(), any::<u64>()).prop_map(|(pair, outcome, took_ms)| {
            Event::StepFinished {
                pair,
                outcome,
                took_ms,
            }
        }),
        Just(Event::CancelRequested {
            level: CancelLevel::Drain
        }),
        failure().prop_map(|failure| Event::Warning { failure }),
        Just(Event::RunFinished {
            counts: Default::default(),
            exit: ExitCode::Done,
            took_ms: 9
        }),
        Just(Event::Other),
    ]
}

fn script() -> impl Strategy<Value = Script> {
    let names = prop::collection::vec("[a-z漢/]{1,30}|.{1,5}", 6);
    let events = prop::collection::vec((event(), any::<i16>()), 0..60);
    (names, events).prop_map(|(names, events)| {
        let nodes = (0..6).map(|n| format!("node-{n}")).collect::<Vec<_>>();
        let nodes = nodes.iter().map(String::as_str).collect::<Vec<_>>();
        let steps = names
            .iter()
            .enumerate()
            .map(|(n, name)| format!("{name}{n}"))
            .collect::<Vec<_>>();
        let rows = steps
            .iter()
            .enumerate()
            .map(|(n, s)| (s.as_str(), &nodes[n % 3..], &nodes[..0]));
        let mut script = Script::start("any", &rows.collect::<Vec<_>>());
        for (event, ms) in events {
            script.wait(i64::from(ms)).event(event);
        }
        script
    })
}

fn state(records: &[Record]) -> State {
    let mut state = State::new();
    records.iter().for_each(|r| state.apply(r));
    state
}

proptest! {
    #![proptest_config(seeded(128))]

    #[test]
    fn a_frame_never_exceeds_its_size(script in script(), width in 1usize..120, height in 1usize..40, unicode: bool) {
        let state = state(&script.records);
        let lines = frame(&state, Canvas { width, height, unicode }, script.now_ms);
        prop_assert!(lines.len() <= height, "{} rows of {height}", lines.len());
        for line in &lines {
            prop_assert!(line.width() <= width, "{} columns of {width}: {}", line.width(), line.text());
            prop_assert!(!line.text().chars().any(|c| c.is_control() || text::is_deceptive(c)));
        }
    }

    #[test]
    fn no_control_character_of_a_target_reaches_the_writer(script in script()) {
        let options = Options { verbose: true, ..Options::default() };
        for format in [Format::Plain, Format::Json] {
            let out = written(&script, format, options.clone());
            prop_assert!(!out.chars().any(|c| (c.is_control() && c != '\n') || text::is_deceptive(c)));
        }
        // The live view adds only its own: no colours here, so what is left is cursor movement.
        let options = Options { colour: ColourMode::Never, ..options };
        let mut out = written(&script, Format::Tty, options);
        for own in ["\x1b[?2026h", "\x1b[?2026l", "\x1b[?25l", "\x1b[?25h", "\x1b[0m", "\x1b[J", "\r"] {
            out = out.replace(own, "");
        }
        let up = |part: &str| part.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('A');
        prop_assert!(out.split("\x1b[").skip(1).all(up));
    }

    #[test]
    fn a_run_in_which_something_went_wrong_is_never_called_well(script in script()) {
        let state = state(&script.records);
        let bad = state.pairs.iter().filter_map(|p| p.outcome()).any(|o| !o.satisfies());
        let head = summary::lines(&state, 80)[0].text();
        let well = head.starts_with("done") || head.starts_with("nothing to change");
        prop_assert!(!(well && (bad || state.open() > 0)), "{head}");
    }
}
