//! What the kinds that ask services have in common: how they wait, and how trouble with a service is told.

use std::time::Duration;

use super::diff::shown;
use crate::facts::fact::{NetAnswer, NetTrouble, TroubleKind};
use crate::model::event::DiffLine;
use crate::model::outcome::Failure;
use crate::model::units::TimeSpan;
use crate::steps::{Decision, Poll};

/// How often to look.
pub fn default_interval() -> TimeSpan {
    TimeSpan(Duration::from_secs(2))
}

/// How long a check of a service looks again.
pub fn default_timeout() -> TimeSpan {
    TimeSpan(Duration::from_secs(60))
}

/// Limit of one look.
pub fn default_request_timeout() -> TimeSpan {
    TimeSpan(Duration::from_secs(5))
}

/// How long to look again while it is not as wished; not at all where there is no time for it.
pub fn poll(timeout: TimeSpan, interval: TimeSpan) -> Option<Poll> {
    (!timeout.0.is_zero()).then_some(Poll { interval, timeout })
}

/// What is wrong with the times of a wish.
pub fn time_mistakes(interval: TimeSpan, request_timeout: TimeSpan) -> Vec<(&'static str, String)> {
    let mut found = Vec::new();
    if interval.0 < Duration::from_millis(100) {
        found.push((
            "interval",
            "look at most ten times a second: `interval` is 100ms or more".to_owned(),
        ));
    }
    if request_timeout.0.is_zero() || request_timeout.0 > Duration::from_secs(600) {
        found.push((
            "request_timeout",
            "one look takes more than no time and at most 10m".to_owned(),
        ));
    }
    found
}

/// What is wrong with a URL that is asked.
pub fn url_mistakes(key: &'static str, url: &str) -> Vec<(&'static str, String)> {
    let Some((scheme, rest)) = url.split_once("://") else {
        return vec![(
            key,
            format!("{url:?} is not a URL: http://... or https://..."),
        )];
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let message = if !matches!(scheme, "http" | "https") {
        format!("only http:// and https:// can be asked, not {scheme}://")
    } else if authority.contains('@') {
        "a URL with credentials would show them in every list and message: leave them out"
            .to_owned()
    } else if authority.is_empty() || authority.starts_with(':') {
        format!("{url:?} names no host")
    } else if url.chars().any(|c| c.is_control() || c == ' ') {
        "a URL has no blanks and no control characters".to_owned()
    } else {
        return Vec::new();
    };
    vec![(key, message)]
}

/// Whether a text is `IP` or `IP:PORT`.
pub fn is_address(text: &str) -> bool {
    let bare = text.trim_matches(['[', ']']);
    text.parse::<std::net::SocketAddr>().is_ok() || bare.parse::<std::net::IpAddr>().is_ok()
}

/// What an answer means, by the lines that are not as wished.
pub fn verdict<R>(
    answer: &NetAnswer<R>,
    differences: impl FnOnce(&R) -> Vec<DiffLine>,
) -> Decision<()> {
    let diff = match answer {
        NetAnswer::Answered(reply) => differences(reply),
        NetAnswer::Trouble(trouble) => return no_answer(trouble, ()),
    };
    match diff.is_empty() {
        true => Decision::Unchanged,
        false => Decision::Drift { diff, drift: () },
    }
}

/// No answer: what a check waits to see end, unless the question itself is at fault.
pub fn no_answer<D>(trouble: &NetTrouble, drift: D) -> Decision<D> {
    match trouble.kind {
        TroubleKind::Question => Decision::Refused(
            Failure::new(shown(&trouble.message)).hint("correct the step: waiting does not help"),
        ),
        _ => Decision::Drift {
            diff: vec![DiffLine::old(shown(&trouble.message))],
            drift,
        },
    }
}
