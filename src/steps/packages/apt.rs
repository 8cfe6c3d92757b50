//! apt and dpkg: the words of the script. Another package manager would get a file like this one.

use super::{Packages, Update};
use crate::model::action::Action;
use crate::model::units::TimeSpan;
use crate::steps::shared::{Presence, script};

const SCRIPT: &str = include_str!("apt.sh");

/// Exit status of the script for what can pass: a held lock, a fetch that failed. apt's own for every failure.
const AGAIN: i32 = 100;

/// Repairs what is interrupted, then installs or removes these.
pub fn action(wish: &Packages, names: &[String]) -> Action {
    let seconds = |span: TimeSpan| span.0.as_secs().to_string();
    let flag = |on: bool| if on { "yes" } else { "no" }.to_owned();
    let verb = match (wish.state, wish.purge) {
        _ if names.is_empty() => "repair",
        (Presence::Present, _) => "install",
        (Presence::Absent, false) => "remove",
        (Presence::Absent, true) => "purge",
    };
    let update = match wish.update {
        Update::Auto => "auto",
        Update::Always => "always",
        Update::Never => "never",
    };
    let mut arguments = vec![
        verb.to_owned(),
        format!("lock={}", seconds(wish.lock_timeout)),
        format!("update={update}"),
        format!("age={}", seconds(wish.max_age)),
        format!("recommends={}", flag(wish.recommends)),
        format!("removals={}", flag(wish.allow_removals)),
        format!("downgrades={}", flag(wish.allow_downgrades)),
    ];
    arguments.extend(names.iter().cloned());
    let words = arguments.iter().map(String::as_str);
    let purpose = match verb {
        "repair" => "repair what an interrupted installation left, with dpkg".to_owned(),
        verb => format!("{verb} {} with apt-get", names.join(", ")),
    };
    script::run("packages", purpose, SCRIPT, words, &[AGAIN])
}
