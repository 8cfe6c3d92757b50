//! How far a machine's clock is from this one's, from when its answer was asked for and when it came. Not the clock
//! itself: that is a fact like any other.

#![expect(
    clippy::disallowed_methods,
    reason = "the machine's clock is held against this one's at the moment its answer comes in"
)]

use std::time::{SystemTime, UNIX_EPOCH};

use crate::facts::fact::{Answer, ClockOffset, Fact, FactValue};
use crate::facts::frame::Frame;

/// The frame that holds the machine's time.
const DATE: &str = "facts-date";

/// Watches the frames of one execution come in.
#[derive(Debug)]
pub(super) struct Watch {
    started: i64,
    /// From the start to the first frame: no frame is on its way for longer, by what is known.
    delay: Option<i64>,
    /// When the frame before the present one came.
    last: i64,
    /// When the machine read its clock: not before, not after.
    read: Option<(i64, i64)>,
}

impl Watch {
    /// Before anything is sent.
    pub(super) fn start() -> Self {
        Self::at(now_ms())
    }

    fn at(now: i64) -> Self {
        Self {
            started: now,
            delay: None,
            last: now,
            read: None,
        }
    }

    /// A frame came.
    pub(super) fn frame(&mut self, frame: &Frame) {
        self.frame_at(frame, now_ms());
    }

    fn frame_at(&mut self, frame: &Frame, now: i64) {
        if matches!(frame, Frame::Whole { name, .. } if name == DATE) {
            // What was read after the frame before it was sent was read after that one came, less its time on the way.
            let delay = self.delay.unwrap_or(i64::MAX);
            let earliest = self.started.max(self.last.saturating_sub(delay));
            self.read = Some((earliest, now));
        }
        self.delay.get_or_insert(now.saturating_sub(self.started));
        self.last = now;
    }

    /// Adds to a clock's answer how far it is from this machine's.
    pub(super) fn complete(&self, answers: &mut [Answer]) {
        let Some((earliest, latest)) = self.read else {
            return;
        };
        for (fact, answer) in answers {
            if let (Fact::Clock, Ok(FactValue::Clock(clock))) = (fact, answer) {
                clock.offset = Some(ClockOffset {
                    least_ms: clock.now_ms.saturating_sub(latest),
                    most_ms: clock.now_ms.saturating_sub(earliest),
                });
            }
        }
    }
}

fn now_ms() -> i64 {
    // Before 1970 the answer is of no use anyway.
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::fact::Clock;

    fn frame(name: &str) -> Frame {
        Frame::Whole {
            name: name.to_owned(),
            args: Vec::new(),
            body: Vec::new(),
            status: String::new(),
        }
    }

    fn offset(watch: &Watch, now_ms: i64) -> Option<ClockOffset> {
        let clock = Clock {
            now_ms,
            ..Clock::default()
        };
        let mut answers = [(Fact::Clock, Ok(FactValue::Clock(clock)))];
        watch.complete(&mut answers);
        match &answers[0].1 {
            Ok(FactValue::Clock(clock)) => clock.offset,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_clock_lies_between_what_was_heard_before_it_and_when_it_was_heard() {
        let mut watch = Watch::at(1_000);
        watch.frame_at(&frame("facts-header"), 1_100);
        watch.frame_at(&frame("facts-links"), 1_500);
        watch.frame_at(&frame("facts-date"), 1_600);
        watch.frame_at(&frame("facts-listen"), 9_000);
        let found = offset(&watch, 61_500).unwrap();
        assert_eq!((found.least_ms, found.most_ms), (59_900, 60_100));
    }

    #[test]
    fn a_clock_that_comes_first_was_read_after_it_was_asked_for_and_without_one_nothing_is_said() {
        let mut watch = Watch::at(1_000);
        assert_eq!(offset(&watch, 5), None);
        watch.frame_at(&frame("facts-date"), 1_400);
        let found = offset(&watch, 1_200).unwrap();
        assert_eq!((found.least_ms, found.most_ms), (-200, 200));
    }
}
