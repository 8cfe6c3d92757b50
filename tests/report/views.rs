//! What people and programs see of scripted runs, as snapshots.

use crate::scripted_run::{self, Script};
use hmco_boot::report::frame::{Canvas, frame};
use hmco_boot::report::state::State;
use hmco_boot::report::{ColourMode, Format, Options, reporter};

pub fn state(script: &Script) -> State {
    let mut state = State::new();
    for record in &script.records {
        state.apply(record);
    }
    state
}

fn shown(script: &Script, canvas: Canvas, colour: ColourMode) -> String {
    let lines = frame(&state(script), canvas, script.now_ms);
    let lines = lines
        .iter()
        .map(|l| l.render(colour).replace('\x1b', "␛").trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

fn canvas(width: usize, height: usize) -> Canvas {
    Canvas {
        width,
        height,
        unicode: true,
    }
}

pub fn written(script: &Script, format: Format, options: Options) -> String {
    let mut out = Vec::new();
    let mut reporter = reporter(format, options, &mut out);
    for record in &script.records {
        reporter.record(record).unwrap();
    }
    reporter.finish().unwrap();
    drop(reporter);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_pipe_that_closes_is_an_error_for_the_caller() {
    struct Closed;
    impl std::io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let first = &scripted_run::half_way().records[0];
    for format in [Format::Tty, Format::Plain, Format::Json] {
        let error = reporter(format, Options::default(), Closed)
            .record(first)
            .unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe, "{format:?}");
    }
}

#[test]
fn each_json_line_is_the_record_and_holds_no_control_character() {
    let script = scripted_run::failed();
    let text = written(&script, Format::Json, Options::default());
    assert!(text.ends_with('\n'));
    let lines = text.lines().collect::<Vec<_>>();
    assert_eq!(lines.len(), script.records.len());
    for (line, record) in lines.iter().zip(&script.records) {
        assert!(!line.chars().any(char::is_control), "{line}");
        let mut json: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(json.as_object_mut().unwrap().remove("v"), Some(1.into()));
        let back: hmco_boot::model::event::Record = serde_json::from_value(json).unwrap();
        assert_eq!(back, *record);
    }
    insta::assert_snapshot!(
        "failed_json_last_lines",
        lines[lines.len() - 4..].join("\n")
    );
}

#[test]
fn a_run_of_a_later_version_is_shown_as_far_as_it_is_known() {
    let mut script = scripted_run::half_way();
    script.event(hmco_boot::model::event::Event::Other);
    let strange = hmco_boot::model::id::PairId(9_999);
    script.event(hmco_boot::model::event::Event::StepFinished {
        pair: strange,
        outcome: hmco_boot::model::outcome::Outcome::Changed,
        took_ms: 1,
    });
    for format in [Format::Tty, Format::Plain, Format::Json] {
        assert!(!written(&script, format, Options::default()).is_empty());
    }
}

#[test]
fn a_run_that_recorded_success_over_a_failure_is_not_called_done() {
    let mut script = scripted_run::bootstrap();
    let failure = scripted_run::service_failure();
    let outcome = hmco_boot::model::outcome::Outcome::Failed(failure);
    script.end("preflight@pi5-01", outcome, 10);
    script.finish(hmco_boot::model::outcome::ExitCode::Done);
    let text = plain(&script, false);
    assert!(text.contains("failed after"), "{text}");
    assert!(!text.contains("done"), "{text}");
}

fn plain(script: &Script, verbose: bool) -> String {
    let options = Options {
        verbose,
        ..Options::default()
    };
    written(script, Format::Plain, options)
}

#[test]
fn the_view_shows_a_run_half_way() {
    let script = scripted_run::half_way();
    insta::assert_snapshot!(
        "half_way_80",
        shown(&script, canvas(80, 24), ColourMode::Never)
    );
    insta::assert_snapshot!(
        "half_way_200",
        shown(&script, canvas(200, 50), ColourMode::Never)
    );
    insta::assert_snapshot!(
        "half_way_80_colour",
        shown(&script, canvas(80, 24), ColourMode::Always)
    );
    let ascii = Canvas {
        unicode: false,
        ..canvas(80, 24)
    };
    insta::assert_snapshot!(
        "half_way_80_ascii",
        shown(&script, ascii, ColourMode::Never)
    );
    insta::assert_snapshot!(
        "half_way_10_rows",
        shown(&script, canvas(60, 10), ColourMode::Never)
    );
}

#[test]
fn a_crowd_is_shown_as_far_as_it_fits_and_the_rest_is_counted() {
    let fifty = scripted_run::crowd(50, 36);
    insta::assert_snapshot!("crowd_80", shown(&fifty, canvas(80, 24), ColourMode::Never));
    insta::assert_snapshot!(
        "crowd_200",
        shown(&fifty, canvas(200, 60), ColourMode::Never)
    );
    let wide = scripted_run::crowd(12, 90);
    insta::assert_snapshot!(
        "many_steps_80",
        shown(&wide, canvas(80, 30), ColourMode::Never)
    );
}

#[test]
fn plain_lines_tell_what_matters() {
    insta::assert_snapshot!("failed_plain", plain(&scripted_run::failed(), false));
    insta::assert_snapshot!(
        "half_way_plain_verbose",
        plain(&scripted_run::half_way(), true)
    );
    insta::assert_snapshot!("converged_plain", plain(&scripted_run::converged(), false));
    insta::assert_snapshot!(
        "interrupted_plain",
        plain(&scripted_run::interrupted(), false)
    );
}
