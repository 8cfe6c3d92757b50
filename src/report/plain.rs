//! Plain output: stable lines that can be searched, without control characters, for logs, pipes and CI.
//!
//! `HH:MM:SS WORD SUBJECT DETAILS`, where WORD is padded to eleven columns and SUBJECT is `STEP@TARGET`, a target or a
//! run. Lines that begin with blanks belong to the line above. Steps that are as wished are told once per target,
//! unless everything is asked for.

use std::io::{self, Write};

use jiff::Timestamp;

use super::lines::{self, Detail, Narrator};
use super::state::State;
use super::style::{Ink, Line};
use super::{Options, Reporter, summary};
use crate::model::event::{Event, Record};

/// After so long without a line, what still runs is told again.
const SILENCE_MS: i64 = 60_000;

/// Writes plain lines.
#[derive(Debug)]
pub struct Plain<W> {
    out: W,
    options: Options,
    state: State,
    narrator: Narrator,
    told_ms: i64,
    targets_told: Vec<bool>,
}

impl<W: Write> Plain<W> {
    /// Writes to `out`.
    pub fn new(options: Options, out: W) -> Self {
        let detail = if options.verbose {
            Detail::All
        } else {
            Detail::Log
        };
        Self {
            out,
            state: State::shown_with(options.commands.clone()),
            options,
            narrator: Narrator::new(detail),
            told_ms: 0,
            targets_told: Vec::new(),
        }
    }

    fn write(&mut self, at_ms: i64, lines: &[Line]) -> io::Result<()> {
        for line in stamped(&self.options, at_ms, lines) {
            writeln!(self.out, "{}", line.render(self.options.colour).trim_end())?;
        }
        if !lines.is_empty() {
            self.told_ms = at_ms;
        }
        Ok(())
    }

    /// Tells of targets that are done, or of all where no more events will come.
    fn tell_targets(&mut self, at_ms: i64, record: &Event) -> io::Result<()> {
        if self.options.verbose {
            return Ok(());
        }
        let done = match record {
            Event::StepFinished { pair, .. } => {
                let target = self.state.pair(*pair).map(|p| p.target);
                let open = |t: &usize| self.state.targets.get(*t).is_none_or(|t| t.open > 0);
                target.filter(|t| !open(t)).into_iter().collect()
            }
            Event::RunFinished { .. } => (0..self.state.targets.len()).collect::<Vec<_>>(),
            _ => return Ok(()),
        };
        self.targets_told.resize(self.state.targets.len(), false);
        for target in done {
            let told = self.targets_told.get_mut(target);
            if told.is_none_or(|told| std::mem::replace(told, true)) {
                continue;
            }
            let line = lines::target_done(&self.state, target);
            self.write(at_ms, line.as_slice())?;
        }
        Ok(())
    }
}

impl<W: Write + Send> Reporter for Plain<W> {
    fn record(&mut self, record: &Record) -> io::Result<()> {
        let record = &*self.options.commands.record(record);
        self.state.apply(record);
        if matches!(record.event, Event::RunStarted(_)) {
            self.targets_told.clear();
        }
        let lines = self.narrator.tell(&self.state, record);
        if matches!(record.event, Event::RunFinished { .. }) {
            self.tell_targets(record.at_ms, &record.event)?;
        }
        self.write(record.at_ms, &lines)?;
        self.tell_targets(record.at_ms, &record.event)?;
        self.out.flush()
    }

    fn tick(&mut self, now_ms: i64) -> io::Result<()> {
        if self.state.run.is_none() || now_ms.saturating_sub(self.told_ms) < SILENCE_MS {
            return Ok(());
        }
        let pairs = 0..self.state.pairs.len();
        let running = pairs.filter_map(|p| lines::still_running(&self.state, p, now_ms));
        let running = running.take(5).collect::<Vec<_>>();
        self.write(now_ms, &running)?;
        self.told_ms = now_ms;
        self.out.flush()
    }

    fn resize(&mut self, width: usize, _height: usize) {
        self.options.width = width;
    }

    fn finish(&mut self) -> io::Result<()> {
        writeln!(self.out)?;
        for line in summary::lines(&self.state, self.options.width) {
            writeln!(self.out, "{}", line.render(self.options.colour).trim_end())?;
        }
        self.out.flush()
    }
}

/// Lines with the time of day before the first and blanks before the others.
pub fn stamped(options: &Options, at_ms: i64, lines: &[Line]) -> Vec<Line> {
    let stamp = time_of_day(options, at_ms);
    let stamp_one = |line: &Line| {
        let (ink, lead) = match line.text().starts_with("    ") {
            false => (Ink::Soft, format!("{stamp} ")),
            true => (Ink::Plain, "     ".to_owned()),
        };
        let mut whole = Line::of(ink, lead);
        whole.append(line.clone());
        whole
    };
    lines.iter().map(stamp_one).collect()
}

fn time_of_day(options: &Options, at_ms: i64) -> String {
    let Ok(time) = Timestamp::from_millisecond(at_ms) else {
        return "--:--:--".to_owned();
    };
    let time = time.to_zoned(options.zone.clone());
    time.strftime("%H:%M:%S").to_string()
}
