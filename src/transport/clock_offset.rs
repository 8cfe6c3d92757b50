//! How far a machine's clock is from this one's, from when its answer was asked for and when it came. Not the clock
//! itself: that is a fact like any other.

#![expect(
    clippy::disallowed_methods,
    reason = "the machine's clock is held against this one's at the moment its answer comes in"
)]

use std::time::{SystemTime, UNIX_EPOCH};

use crate::facts::fact::{Answer, ClockOffset, Fact, FactValue};
use crate::facts::frame::Frame;
use crate::facts::parse::date_range;

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
    /// How far the machine's clock is from this one's.
    offset: Option<ClockOffset>,
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
            offset: None,
        }
    }

    /// A frame came.
    pub(super) fn frame(&mut self, frame: &Frame) {
        self.frame_at(frame, now_ms());
    }

    fn frame_at(&mut self, frame: &Frame, now: i64) {
        if let Frame::Whole { name, body, .. } = frame
            && name == DATE
            && let Some((least, most)) = date_range(body)
        {
            // What was read after the frame before it was sent was read after that one came, less its time on the way.
            let delay = self.delay.unwrap_or(i64::MAX);
            let earliest = self.started.max(self.last.saturating_sub(delay));
            self.offset = Some(ClockOffset {
                least_ms: least.saturating_sub(now),
                most_ms: most.saturating_sub(earliest),
            });
        }
        self.delay.get_or_insert(now.saturating_sub(self.started));
        self.last = now;
    }

    /// Answers the question for the offset.
    pub(super) fn complete(&self, answers: &mut [Answer]) {
        let Some(offset) = self.offset else {
            return;
        };
        for (fact, answer) in answers {
            if *fact == Fact::ClockOffset {
                *answer = Ok(FactValue::ClockOffset(offset));
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
    use crate::facts::fact::FactError;

    fn frame(name: &str, body: &str) -> Frame {
        Frame::Whole {
            name: name.to_owned(),
            args: Vec::new(),
            body: body.as_bytes().to_vec(),
            status: String::new(),
        }
    }

    fn offset(watch: &Watch) -> Option<(i64, i64)> {
        let mut answers = [(Fact::ClockOffset, Err(FactError::NotFound))];
        watch.complete(&mut answers);
        match &answers[0].1 {
            Ok(FactValue::ClockOffset(offset)) => Some((offset.least_ms, offset.most_ms)),
            Err(FactError::NotFound) => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_clock_lies_between_what_was_heard_before_it_and_when_it_was_heard() {
        let mut watch = Watch::at(1_000);
        watch.frame_at(&frame("facts-header", ""), 1_100);
        watch.frame_at(&frame("facts-links", ""), 1_500);
        watch.frame_at(&frame("facts-date", "61.500000000\n"), 1_600);
        watch.frame_at(&frame("facts-listen", ""), 9_000);
        assert_eq!(offset(&watch), Some((59_900, 60_100)));
    }

    #[test]
    fn a_clock_that_comes_first_was_read_after_it_was_asked_for_and_without_one_nothing_is_said() {
        let mut watch = Watch::at(1_000);
        assert_eq!(offset(&watch), None);
        watch.frame_at(&frame("facts-date", "no clock"), 1_200);
        assert_eq!(offset(&watch), None);
        let mut watch = Watch::at(1_000);
        watch.frame_at(&frame("facts-date", "1.2\n"), 1_400);
        assert_eq!(offset(&watch), Some((-200, 200)));
    }

    #[test]
    fn a_clock_that_tells_seconds_only_is_known_to_the_second_only() {
        let mut watch = Watch::at(1_000);
        watch.frame_at(&frame("facts-date", "1.%N\n"), 1_000);
        assert_eq!(offset(&watch), Some((0, 999)));
    }
}
