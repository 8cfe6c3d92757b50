//! Commands that are shown, in hints and as the next thing to do: as they would be typed here. A person who named the
//! inventory, the project or the state folder gets commands that name them too, or they would be about something else.

use std::borrow::Cow;
use std::path::Path;

use crate::model::event::{Event, Record};
use crate::model::outcome::{Failure, Outcome};
use crate::model::shell::quote;

/// Commands that look at an inventory and at the records of its cluster.
const OF_A_CLUSTER: [&str; 12] = [
    "check",
    "exec",
    "graph",
    "hosts",
    "k3s",
    "kubeconfig",
    "plan",
    "resume",
    "run",
    "runs",
    "secrets",
    "status",
];

/// Commands that look at the rest of a project.
const OF_A_PROJECT: [&str; 2] = ["pins", "playbooks"];

/// What a person gave in front of a command, and commands like it need as well.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Commands {
    inventory: Option<String>,
    project: Option<String>,
    state_dir: Option<String>,
}

impl Commands {
    /// As they were given on the command line; `None` where they were not.
    pub fn new(inventory: Option<&Path>, project: Option<&Path>, state_dir: Option<&Path>) -> Self {
        let shown = |path: &Path| quote(&path.to_string_lossy());
        Self {
            inventory: inventory.map(shown),
            project: project.map(shown),
            state_dir: state_dir.map(shown),
        }
    }

    /// A text with the commands in it completed.
    pub fn complete<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if *self == Self::default() {
            return Cow::Borrowed(text);
        }
        let mut done = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("hmco-boot ") {
            done.push_str(before);
            done.push_str("hmco-boot ");
            done.push_str(&self.options_for(after));
            rest = after;
        }
        done.push_str(rest);
        Cow::Owned(done)
    }

    /// What goes in front of a command: it stands at the beginning of a text, and ends at a backtick or a line's end.
    fn options_for(&self, text: &str) -> String {
        let command = text.split(['`', '\n']).next().unwrap_or_default();
        let name = command
            .split(|c: char| !(c.is_ascii_lowercase() || c.is_ascii_digit()))
            .next()
            .unwrap_or_default();
        let of_cluster = OF_A_CLUSTER.contains(&name);
        let of_project = of_cluster || OF_A_PROJECT.contains(&name);
        let options = [
            (of_cluster, ["-i", "--inventory"], &self.inventory),
            (of_project, ["--project", "--project"], &self.project),
            (of_cluster, ["--state-dir", "--state-dir"], &self.state_dir),
        ];
        let mut words = String::new();
        for (wanted, names, value) in options {
            let given = names
                .iter()
                .any(|name| command.contains(&format!(" {name}")));
            if let Some(value) = value
                && wanted
                && !given
            {
                words.push_str(&format!("{} {value} ", names[0]));
            }
        }
        words
    }

    /// A failure whose hint is completed.
    pub fn failure(&self, failure: &Failure) -> Failure {
        let mut failure = failure.clone();
        failure.hint = failure.hint.map(|hint| self.complete(&hint).into_owned());
        failure
    }

    /// A record as it is to be shown here.
    pub fn record<'a>(&self, record: &'a Record) -> Cow<'a, Record> {
        if *self == Self::default() {
            return Cow::Borrowed(record);
        }
        let mut record = record.clone();
        let failure = match &mut record.event {
            Event::StepFinished {
                outcome:
                    Outcome::Failed(failure) | Outcome::Unreachable(failure) | Outcome::Unknown(failure),
                ..
            } => Some(failure),
            Event::Warning { failure }
            | Event::LockRefused { failure }
            | Event::StepRetry { failure, .. }
            | Event::TargetUnreachable { failure, .. } => Some(failure),
            _ => None,
        };
        if let Some(failure) = failure {
            *failure = self.failure(failure);
        }
        Cow::Owned(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given() -> Commands {
        Commands::new(Some(Path::new("inventory/my lab.toml")), None, None)
    }

    #[test]
    fn commands_name_the_inventory_that_was_given() {
        let text = "look at `hmco-boot plan os`, then `hmco-boot resume r1 --yes`; hmco-boot's folder stays";
        assert_eq!(
            given().complete(text),
            "look at `hmco-boot -i 'inventory/my lab.toml' plan os`, then `hmco-boot -i 'inventory/my lab.toml' resume \
             r1 --yes`; hmco-boot's folder stays"
        );
        assert_eq!(Commands::default().complete(text), text);
    }

    #[test]
    fn a_command_that_names_one_itself_or_takes_none_stays_as_it_is() {
        for text in [
            "`hmco-boot plan os -i other.toml`",
            "hmco-boot init makes a first one",
            "`hmco-boot lab up`",
            "`hmco-boot playbooks list`",
            "this is a mistake in hmco-boot: please report it",
            "hmco-boot ",
        ] {
            assert_eq!(given().complete(text), text);
        }
    }

    #[test]
    fn each_command_gets_what_it_looks_at() {
        let path = |text| Some(Path::new(text));
        let all = Commands::new(path("a.toml"), path("/p"), path("s"));
        assert_eq!(
            all.complete("hmco-boot runs show"),
            "hmco-boot -i a.toml --project /p --state-dir s runs show"
        );
        assert_eq!(
            all.complete("hmco-boot pins list"),
            "hmco-boot --project /p pins list"
        );
    }

    #[test]
    fn the_hint_of_every_failure_in_a_record_is_completed() {
        let failure = Failure::new("x").hint("`hmco-boot resume`");
        let told = |event| {
            let record = Record {
                seq: 0,
                at_ms: 0,
                event,
            };
            format!("{:?}", given().record(&record).event)
        };
        let pair = crate::model::id::PairId(0);
        for outcome in [
            Outcome::Failed(failure.clone()),
            Outcome::Unreachable(failure.clone()),
            Outcome::Unknown(failure.clone()),
        ] {
            let event = Event::StepFinished {
                pair,
                outcome,
                took_ms: 0,
            };
            assert!(told(event).contains("hmco-boot -i"), "of a step");
        }
        assert!(told(Event::Warning { failure }).contains("hmco-boot -i"));
    }
}
