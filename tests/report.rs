//! What people and programs see of scripted runs, as snapshots.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

#[path = "support/scripted_run.rs"]
mod scripted_run;

use hmco_boot::report::frame::{Canvas, frame};
use hmco_boot::report::state::State;
use hmco_boot::report::{ColourMode, Format, Options, reporter};
use scripted_run::{START_MS, Script};

fn state(script: &Script) -> State {
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

fn written(script: &Script, format: Format, options: Options) -> String {
    let mut out = Vec::new();
    let mut reporter = reporter(format, options, &mut out);
    for record in &script.records {
        reporter.record(record).unwrap();
    }
    reporter.finish().unwrap();
    drop(reporter);
    String::from_utf8(out).unwrap()
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
