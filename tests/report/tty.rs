//! The live view on a terminal: what an emulator shows after the painter's bytes, also when its size changes.

use std::io::{self, Write};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};

use crate::scripted_run::{self, Script};
use hmco_boot::report::frame::{Canvas, frame};
use hmco_boot::report::lines::{Detail, Narrator};
use hmco_boot::report::painter::Painter;
use hmco_boot::report::state::State;
use hmco_boot::report::style::{Ink, Line};
use hmco_boot::report::tty::Tty;
use hmco_boot::report::{ColourMode, Options, Reporter, plain, summary};

/// A terminal that can be written to and looked at.
#[derive(Clone)]
struct Screen(Arc<Mutex<vt100::Parser>>);

fn size(n: usize) -> NonZeroU16 {
    NonZeroU16::new(u16::try_from(n).unwrap()).unwrap()
}

impl Screen {
    fn new(width: usize, height: usize) -> Self {
        let parser = vt100::Parser::new(size(height), size(width), 10_000);
        Self(Arc::new(Mutex::new(parser)))
    }

    fn resize(&self, width: usize, height: usize) {
        self.0.lock().unwrap().set_size(size(height), size(width));
    }

    /// The rows on the screen.
    fn rows(&self) -> Vec<String> {
        let parser = self.0.lock().unwrap();
        let wide = parser.screen().size().1.get();
        let rows = parser.screen().rows(0, wide);
        rows.map(|r| r.trim_end().to_owned()).collect()
    }

    /// All that was ever written and not overwritten: scrollback, then screen.
    fn transcript(&self) -> Vec<String> {
        let scroll = |n| self.0.lock().unwrap().screen_mut().set_scrollback(n);
        let back = self.0.lock().unwrap().screen().scrollback_len();
        let mut rows = Vec::new();
        for n in (1..=back).rev() {
            scroll(n);
            rows.push(self.rows()[0].clone());
        }
        scroll(0);
        rows.extend(self.rows());
        rows
    }

    fn cursor_is_hidden(&self) -> bool {
        self.0.lock().unwrap().screen().hide_cursor()
    }
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().process(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn options(width: usize, height: usize) -> Options {
    Options {
        width,
        height,
        colour: ColourMode::Always,
        ..Options::default()
    }
}

/// What must remain of a run, made without a painter.
fn remains(script: &Script, options: &Options) -> Vec<String> {
    let mut state = State::new();
    let mut narrator = Narrator::new(Detail::Results);
    let mut lines = Vec::new();
    for record in &script.records {
        state.apply(record);
        if record.seq > 0 {
            let told = narrator.tell(&state, record);
            lines.extend(plain::stamped(options, record.at_ms, &told));
        }
    }
    lines.extend(summary::lines(&state, options.width));
    lines.iter().map(Line::text).collect()
}

/// The text without blanks and line ends: rows that wrapped count as the line they were.
fn letters(rows: &[String]) -> String {
    rows.concat().replace(' ', "")
}

#[test]
fn after_a_run_exactly_what_was_kept_and_the_summary_remain() {
    for script in [
        scripted_run::failed(),
        scripted_run::interrupted(),
        scripted_run::crowd(12, 8),
    ] {
        for (width, height) in [(80, 24), (200, 50), (60, 10)] {
            let screen = Screen::new(width, height);
            let options = options(width, height);
            let mut view = Tty::new(options.clone(), screen.clone());
            for record in &script.records {
                view.record(record).unwrap();
                view.tick(record.at_ms + 100).unwrap();
            }
            assert!(screen.cursor_is_hidden());
            view.finish().unwrap();
            assert!(!screen.cursor_is_hidden());
            let expected = letters(&remains(&script, &options));
            assert_eq!(letters(&screen.transcript()), expected, "{width}x{height}");
        }
    }
}

#[test]
fn the_frame_is_whole_at_the_bottom_after_each_change_of_size() {
    let script = scripted_run::half_way();
    let screen = Screen::new(100, 30);
    let mut view = Tty::new(options(100, 30), screen.clone());
    let mut state = State::new();
    for record in &script.records {
        state.apply(record);
        view.record(record).unwrap();
    }
    for (width, height) in [
        (100, 30),
        (100, 12),
        (160, 12),
        (160, 40),
        (90, 40),
        (90, 10),
    ] {
        screen.resize(width, height);
        view.resize(width, height);
        for tick in [1, 2] {
            view.tick(script.now_ms + tick * 1000).unwrap();
        }
        let canvas = Canvas {
            width: width - 1,
            height: height - 1,
            unicode: true,
        };
        let wanted = frame(&state, canvas, script.now_ms + 2000);
        let wanted = wanted
            .iter()
            .map(|l| l.text().trim_end().to_owned())
            .collect::<Vec<_>>();
        let rows = screen.rows();
        let end = rows.iter().rposition(|r| !r.is_empty()).unwrap() + 1;
        assert_eq!(rows[end - wanted.len()..end], wanted, "{width}x{height}");
    }
}

#[test]
fn a_frame_that_shrinks_leaves_nothing_behind() {
    let screen = Screen::new(40, 10);
    let mut painter = Painter::new(screen.clone(), ColourMode::Never, 40, 10);
    let lines = |n: usize, c: &str| vec![Line::of(Ink::Plain, c.repeat(30)); n];
    painter.paint(&[], &lines(8, "a")).unwrap();
    painter.paint(&[], &lines(2, "b")).unwrap();
    assert_eq!(letters(&screen.transcript()), "b".repeat(60));
    painter.paint(&lines(1, "k"), &lines(9, "c")).unwrap();
    painter.paint(&lines(20, "k"), &lines(1, "d")).unwrap();
    painter.finish(&[]).unwrap();
    assert_eq!(letters(&screen.transcript()), "k".repeat(21 * 30));
}

#[test]
fn a_view_that_is_dropped_gives_the_cursor_back() {
    let screen = Screen::new(80, 24);
    let mut view = Tty::new(options(80, 24), screen.clone());
    view.record(&scripted_run::half_way().records[0]).unwrap();
    assert!(screen.cursor_is_hidden());
    drop(view);
    assert!(!screen.cursor_is_hidden());
}

#[test]
fn while_a_question_stands_nothing_is_drawn_and_afterwards_nothing_is_lost() {
    let script = scripted_run::half_way();
    let screen = Screen::new(100, 30);
    let mut view = Tty::new(options(100, 30), screen.clone());
    let (before, after) = script.records.split_at(script.records.len() / 2);
    for record in before {
        view.record(record).unwrap();
        view.tick(record.at_ms + 100).unwrap();
    }
    view.pause().unwrap();
    assert!(!screen.cursor_is_hidden());
    screen.clone().write_all(b"Go on? [y/N] ").unwrap();
    let asked = screen.transcript();
    assert_eq!(
        asked.iter().rfind(|r| !r.is_empty()).unwrap(),
        "Go on? [y/N]"
    );
    for record in after {
        view.record(record).unwrap();
        view.tick(record.at_ms + 1000).unwrap();
    }
    view.resize(100, 30);
    view.tick(script.now_ms + 5000).unwrap();
    assert_eq!(screen.transcript(), asked);
    screen.clone().write_all(b"y\r\n").unwrap();
    view.unpause().unwrap();
    assert!(screen.cursor_is_hidden());
    view.finish().unwrap();
    let mut rows = screen.transcript();
    rows.retain(|row| row != "Go on? [y/N] y");
    assert_eq!(
        letters(&rows),
        letters(&remains(&script, &options(100, 30)))
    );
}
