//! Whether K3s is up on a machine: the question, what the answer says, and the scripts around a start.

use std::time::Duration;

use super::causes;
use super::files::unit_name;
use crate::facts::fact::{ExecResult, Fact};
use crate::model::action::Action;
use crate::model::units::TimeSpan;
use crate::steps::preflight::Role;
use crate::steps::shared::diff::shown;
use crate::steps::shared::script;

/// Asks a K3s about itself, for scripts: functions, once `ROLE` and `NODE` are set.
pub const LOOK: &str = include_str!("look.sh");
const TELL: &str = include_str!("tell.sh");
const BEFORE: &str = include_str!("before.sh");
const WAIT: &str = include_str!("wait.sh");

/// How the question is called in a machine's list of processes.
pub const QUESTION: &str = "k3s-ready";

/// How K3s starts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum How {
    /// It makes a new cluster.
    Init,
    /// It joins the cluster at this URL.
    Join(String),
    /// A single server on SQLite, as it is.
    Alone,
}

impl How {
    /// The word for `before.sh`. `has_data`: then K3s is a member already, and what it is told of joining is not looked at.
    fn word(&self, has_data: bool) -> &'static str {
        match self {
            _ if has_data => "keep",
            Self::Init => "init",
            Self::Join(_) => "join",
            Self::Alone => "alone",
        }
    }
}

/// How far a wait goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// It belongs to the cluster and begins to work: what would have to go on by itself at the next boot.
    Member,
    /// It is up, in what [`Until::Member`] has left of the time.
    Rest,
    /// It is up.
    Up,
}

impl Until {
    /// The word for `wait.sh`.
    fn word(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::Rest => "rest",
            Self::Up => "up",
        }
    }
}

/// The K3s of one machine, as the scripts are told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Running {
    /// What it is.
    pub role: Role,
    /// `node-name` of its configuration; empty: the host's name.
    pub node: String,
    /// It has to be a voting member of etcd.
    pub etcd: bool,
    /// The version that its Node has to say; empty: any.
    pub version: String,
}

impl Running {
    /// The question whether it is up.
    pub fn fact(&self) -> Fact {
        let text = format!("ROLE=$1 NODE=$2\n{LOOK}{TELL}");
        let text = text
            .lines()
            .filter(|line| !line.trim_start().starts_with('#'));
        let text: String = text.flat_map(|line| [line, "\n"]).collect();
        let words = ["sh", "-c", &text, QUESTION, self.role.word(), &self.node];
        Fact::Exec {
            argv: words.map(str::to_owned).to_vec(),
            timeout: TimeSpan(Duration::from_secs(25)),
            sensitive: false,
        }
    }

    /// What is missing for it to be up, by the answer to [`Running::fact`].
    pub fn missing(&self, answer: &ExecResult) -> Vec<String> {
        let said = Said::parse(answer);
        let node = said.of("node");
        if self.role == Role::Server && said.of("readyz") != "ok" {
            return vec![format!(
                "its API server is not ready: {}",
                shown(or(said.of("readyz"), or(said.of("trouble"), "no answer")))
            )];
        }
        if !said.of("trouble").is_empty() {
            return vec![format!("Node {node}: {}", shown(said.of("trouble")))];
        }
        let mut missing = Vec::new();
        if said.of("ready") != "True" {
            missing.push(format!("Node {node} is not Ready"));
        }
        if self.etcd && said.of("voter") != "True" {
            missing.push("it is no voting member of etcd".to_owned());
        }
        if !self.version.is_empty() && said.of("kubelet") != self.version {
            let is = shown(or(said.of("kubelet"), "nothing"));
            missing.push(format!("Node {node} says {is}, not {}", self.version));
        }
        missing
    }

    /// Right before a start.
    pub fn before(&self, how: &How, has_data: bool) -> Action {
        let unit = unit_name(self.role);
        let arguments = [
            self.role.word(),
            self.node.as_str(),
            unit,
            how.word(has_data),
        ];
        let text = format!("ROLE=$1 NODE=$2\n{LOOK}{BEFORE}");
        script::run(
            "k3s-before",
            format!("prove the configuration of {unit} before its start"),
            &text,
            arguments,
            &[],
        )
    }

    /// Waits until it is up, or as far as that.
    pub fn wait(&self, until: Until, limit: TimeSpan) -> Action {
        let unit = unit_name(self.role);
        let seconds = limit.0.as_secs().max(1).to_string();
        let etcd = if self.etcd { "1" } else { "0" };
        let arguments = [
            self.role.word(),
            self.node.as_str(),
            unit,
            until.word(),
            seconds.as_str(),
            etcd,
            self.version.as_str(),
        ];
        let lasting: Vec<&str> = causes::lasting().collect();
        let text = format!("ROLE=$1 NODE=$2\n{LOOK}{WAIT}");
        script::run(
            "k3s-wait",
            match until {
                Until::Member => format!("bring {unit} into the cluster"),
                Until::Rest | Until::Up => format!("bring {unit} up"),
            },
            &text,
            arguments.into_iter().chain(lasting),
            &[],
        )
    }
}

/// Whether the answer says that this K3s is a stand-in.
pub fn is_simulated(answer: &ExecResult) -> bool {
    !Said::parse(answer).of("simulated").is_empty()
}

fn or<'t>(text: &'t str, otherwise: &'t str) -> &'t str {
    if text.is_empty() { otherwise } else { text }
}

/// `NAME=VALUE` lines.
struct Said(String);

impl Said {
    fn parse(answer: &ExecResult) -> Self {
        Self(String::from_utf8_lossy(&answer.stdout).into_owned())
    }

    fn of(&self, name: &str) -> &str {
        self.0
            .lines()
            .filter_map(|line| line.split_once('='))
            .find(|(key, _)| *key == name)
            .map_or("", |(_, value)| value)
    }
}

#[cfg(test)]
mod waits;

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Running {
        Running {
            role: Role::Server,
            node: String::new(),
            etcd: true,
            version: "v1.32.2+k3s1".to_owned(),
        }
    }

    fn missing(text: &str) -> String {
        let answer = ExecResult {
            exit: 0,
            stdout: text.as_bytes().to_vec(),
            stderr: Vec::new(),
        };
        server().missing(&answer).join("; ")
    }

    #[test]
    fn up_is_a_ready_api_a_ready_node_of_the_version_and_a_vote() {
        let good = "node=n1\nreadyz=ok\nready=True\nvoter=True\nkubelet=v1.32.2+k3s1\nsimulated=\ntrouble=\n";
        assert_eq!(missing(good), "");
        for (from, to, words) in [
            (
                "readyz=ok",
                "readyz=apiserver not ready",
                "its API server is not ready: apiserver not ready",
            ),
            (
                "readyz=ok",
                "readyz=",
                "its API server is not ready: no answer",
            ),
            ("ready=True", "ready=Unknown", "Node n1 is not Ready"),
            (
                "voter=True",
                "voter=False",
                "it is no voting member of etcd",
            ),
            (
                "v1.32.2+",
                "v1.31.5+",
                "Node n1 says v1.31.5+k3s1, not v1.32.2+k3s1",
            ),
            (
                "trouble=",
                "trouble=Error from server (NotFound): nodes \"n1\" not found",
                "Node n1: Error from server (NotFound): nodes \"n1\" not found",
            ),
        ] {
            assert_eq!(missing(&good.replace(from, to)), words);
        }
        assert!(
            missing("").contains("no answer"),
            "an empty answer is not up"
        );
    }

    /// Runs the shell part on what an API server answered, as JSON of a recording.
    #[test]
    fn the_script_finds_what_it_looks_for_in_a_recorded_node() {
        let nodes = include_str!("../../../../tests/k3s-standin/recordings/03-nodes.json");
        let nodes: serde_json::Value = serde_json::from_str(nodes).unwrap();
        let answer = told(&nodes["items"][0]);
        assert_eq!(server().missing(&answer), Vec::<String>::new());
        assert!(!is_simulated(&answer));
        // As the stand-in says of itself.
        let mut simulated = nodes["items"][0].clone();
        simulated["metadata"]["annotations"]["hmco-boot/simulated"] = "true".into();
        assert!(is_simulated(&told(&simulated)));
    }

    /// What the shell part tells of a Node.
    #[expect(clippy::disallowed_methods, reason = "runs the script as it is")]
    fn told(node: &serde_json::Value) -> ExecResult {
        let name = node["metadata"]["name"].as_str().unwrap();
        let node = node.to_string();
        let script = format!(
            "ROLE=server NODE={name}\n{LOOK}raw() {{ case $1 in /readyz) printf ok ;; *) printf %s \"$JSON\" ;; esac; }}\n{TELL}"
        );
        let said = std::process::Command::new("sh")
            .args(["-euc", &script])
            .env("JSON", node)
            .output()
            .unwrap();
        assert!(said.status.success() && said.stderr.is_empty(), "{said:?}");
        ExecResult {
            exit: 0,
            stdout: said.stdout,
            stderr: Vec::new(),
        }
    }
}
