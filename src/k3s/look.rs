//! What one node tells of its K3s: the questions, one execution, and what the answers mean. Nothing is guessed: what a node
//! does not tell is not known.

use std::time::Duration;

use serde_json::Value;

use crate::facts::fact::{Clock, Fact, FactError, FactValue, K3sData, K3sInstall, Unit};
use crate::model::outcome::Failure;
use crate::model::units::TimeSpan;
use crate::steps::preflight::Role;
use crate::steps::shared::k3s::files::named_unit;
use crate::steps::shared::k3s::files::unit_name;
use crate::steps::shared::k3s::ready::LOOK;

const WHOAMI: &str = include_str!("whoami.sh");
const STATUS: &str = include_str!("status.sh");

/// How the question is called in a machine's list of processes.
const QUESTION: &str = "k3s-status";
/// Its time limit; each request in it has a shorter one.
const LIMIT: Duration = Duration::from_secs(20);

/// What a node says.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Told {
    /// The version of the binary; empty: there is none.
    pub version: String,
    /// Its data.
    pub data: K3sData,
    /// Its unit, with what it is there for; `None` = none.
    pub unit: Option<(Role, Unit)>,
    /// Both units are there.
    pub both: bool,
    /// A unit that runs a K3s under another name.
    pub other_unit: Option<String>,
    /// Milliseconds since boot.
    pub uptime_ms: u64,
    /// The name of its Node.
    pub node: String,
    /// The name of its member of etcd, as its disk has it; empty: there is none.
    pub member: String,
    /// What `/readyz` of this very server says; empty: it was not asked, as K3s does not run.
    pub readyz: String,
    /// The members of etcd, or why it does not tell them; `None` = not asked.
    pub members: Option<Result<Vec<Member>, String>>,
    /// Whether its own member serves, which takes a leader and a quorum, or why not; `None` = not asked.
    pub health: Option<Result<(), String>>,
}

/// A member of etcd, as `/db/info` of a server shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// `NODE-` and 8 hex digits; empty while it has not started yet.
    pub name: String,
    /// Where its peers reach it.
    pub address: String,
    /// It does not vote yet.
    pub learner: bool,
}

impl Member {
    /// The Node that it is of, by its name.
    pub fn node(&self) -> Option<&str> {
        let (node, tail) = self.name.rsplit_once('-')?;
        let hex = |c: char| c.is_ascii_digit() || matches!(c, 'a'..='f');
        (tail.len() == 8 && tail.chars().all(hex)).then_some(node)
    }
}

fn unit(role: Role) -> Fact {
    Fact::Unit {
        name: unit_name(role).to_owned(),
    }
}

/// The question to K3s itself.
pub fn question() -> Fact {
    let text = format!("{WHOAMI}{LOOK}{STATUS}");
    let text = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let text: String = text.flat_map(|line| [line, "\n"]).collect();
    let words = ["sh", "-c", &text, QUESTION];
    Fact::Exec {
        argv: words.map(str::to_owned).to_vec(),
        timeout: TimeSpan(LIMIT),
        sensitive: false,
    }
}

/// All that is asked of a node.
pub fn facts() -> Vec<Fact> {
    vec![
        Fact::K3sInstall,
        Fact::K3sData,
        unit(Role::Server),
        unit(Role::Agent),
        Fact::Clock,
        question(),
    ]
}

/// Takes the answers together.
pub fn told<'a>(
    answer: impl Fn(&Fact) -> Option<&'a Result<FactValue, FactError>>,
) -> Result<Told, Failure> {
    let known = |fact: &Fact| match answer(fact) {
        Some(Ok(value)) => Ok(Some(value)),
        Some(Err(FactError::NotFound)) => Ok(None),
        Some(Err(error)) => Err(Failure::new(format!(
            "{} cannot be read: {error}",
            fact.describe_shortly()
        ))),
        None => Err(Failure::new(format!(
            "{} was not read",
            fact.describe_shortly()
        ))),
    };
    let mut told = Told::default();
    if let Some(FactValue::K3sInstall(K3sInstall { version, units, .. })) =
        known(&Fact::K3sInstall)?
    {
        told.other_unit = named_unit(units).map(str::to_owned);
        // `NAME version VERSION (COMMIT)`
        let word = version.split_whitespace().nth(2);
        told.version = word.unwrap_or(version).to_owned();
    }
    if let Some(FactValue::K3sData(data)) = known(&Fact::K3sData)? {
        told.data = data.clone();
    }
    if let Some(FactValue::Clock(Clock { uptime_ms, .. })) = known(&Fact::Clock)? {
        told.uptime_ms = *uptime_ms;
    }
    let mut units = Vec::new();
    for role in [Role::Server, Role::Agent] {
        if let Some(FactValue::Unit(unit)) = known(&unit(role))?
            && unit.load != "not-found"
        {
            units.push((role, unit.clone()));
        }
    }
    told.both = units.len() > 1;
    // Of two, the one that runs.
    units.sort_by_key(|(_, unit)| unit.active != "active");
    told.unit = units.into_iter().next();
    if let Some(FactValue::Exec(result)) = known(&question())? {
        said(&mut told, &String::from_utf8_lossy(&result.stdout));
    }
    Ok(told)
}

fn said(told: &mut Told, text: &str) {
    for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
        let value = value.trim();
        match name {
            "node" => told.node = value.to_owned(),
            "member" => told.member = value.to_owned(),
            "readyz" => {
                told.readyz = if value.is_empty() { "no answer" } else { value }.to_owned();
            }
            "members" => told.members = Some(members(value)),
            "health" => told.health = Some(health(value)),
            _ => {}
        }
    }
}

fn shortened(text: &str) -> String {
    match text.is_empty() {
        true => "no answer".to_owned(),
        false => text.chars().take(200).collect(),
    }
}

fn members(text: &str) -> Result<Vec<Member>, String> {
    let parsed: Option<Value> = serde_json::from_str(text).ok();
    let list = parsed
        .as_ref()
        .and_then(|value| value.get("members")?.as_array());
    let Some(list) = list else {
        return Err(shortened(text));
    };
    let member = |value: &Value| {
        let name = value.get("name").and_then(Value::as_str);
        let peer = value.pointer("/peerURLs/0").and_then(Value::as_str);
        Member {
            name: name.unwrap_or_default().to_owned(),
            address: host_of(peer.unwrap_or_default()).to_owned(),
            learner: value.get("isLearner").and_then(Value::as_bool) == Some(true),
        }
    };
    let mut members: Vec<Member> = list.iter().map(member).collect();
    members.sort_by(|a, b| (&a.name, &a.address).cmp(&(&b.name, &b.address)));
    Ok(members)
}

/// The host of `https://HOST:PORT`.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let host = rest.rsplit_once(':').map_or(rest, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']')
}

fn health(text: &str) -> Result<(), String> {
    let parsed: Option<Value> = serde_json::from_str(text).ok();
    let Some(parsed) = parsed else {
        // In words of kubectl, which may quote the answer.
        return Err(match text.contains("RAFT NO LEADER") {
            true => "it has no leader".to_owned(),
            false => shortened(text),
        });
    };
    let word = |key: &str| parsed.get(key).and_then(Value::as_str).unwrap_or_default();
    match (word("health"), word("reason")) {
        ("true", _) => Ok(()),
        (_, "RAFT NO LEADER") => Err("it has no leader".to_owned()),
        (_, "") => Err(shortened(text)),
        (_, reason) => Err(reason.to_owned()),
    }
}

/// Words for messages.
trait Shortly {
    fn describe_shortly(&self) -> String;
}

impl Shortly for Fact {
    fn describe_shortly(&self) -> String {
        match self {
            Fact::Exec { .. } => "what K3s says of itself".to_owned(),
            other => other.describe(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_those_that_were_recorded() {
        let text = include_str!("../../tests/k3s-standin/recordings/03-db-info.json");
        let found = members(text).unwrap();
        let shown: Vec<(Option<&str>, &str)> = found
            .iter()
            .map(|member| (member.node(), member.address.as_str()))
            .collect();
        assert_eq!(
            shown,
            [
                (Some("n1"), "172.30.7.11"),
                (Some("n2"), "172.30.7.12"),
                (Some("n3"), "172.30.7.13")
            ]
        );
        assert!(found.iter().all(|member| !member.learner));
        let learner =
            r#"{"members":[{"name":"","peerURLs":["https://[fd00::1]:2380"],"isLearner":true}]}"#;
        let found = members(learner).unwrap();
        assert_eq!(found[0].node(), None);
        assert!(found[0].learner);
        assert_eq!(found[0].address, "fd00::1");
    }

    #[test]
    fn without_a_quorum_the_members_are_not_known_and_the_reason_is() {
        let mut told = Told::default();
        said(
            &mut told,
            "node=n1\nmember=n1-65c0107c\nreadyz=Error from server (ServiceUnavailable): apiserver not ready \nmembers=Error from server: context deadline exceeded\n\
             health={\"health\":\"false\",\"reason\":\"RAFT NO LEADER\"}\n",
        );
        assert_eq!(told.node, "n1");
        assert_eq!(told.member, "n1-65c0107c");
        assert_eq!(
            told.members,
            Some(Err(
                "Error from server: context deadline exceeded".to_owned()
            ))
        );
        assert_eq!(told.health, Some(Err("it has no leader".to_owned())));
        said(&mut told, "health={\"health\":\"true\",\"reason\":\"\"}\n");
        assert_eq!(told.health, Some(Ok(())));
    }

    #[test]
    fn a_node_without_k3s_tells_so() {
        let nothing = |_: &Fact| Some(&Err(FactError::NotFound));
        let told = told(nothing).unwrap();
        assert!(told.unit.is_none() && told.version.is_empty());
        let denied = |_: &Fact| Some(&Err(FactError::Denied));
        assert!(
            super::told(denied)
                .unwrap_err()
                .message
                .contains("permission denied")
        );
    }

    /// The name that is found with these files below /etc, by the path there.
    #[expect(clippy::disallowed_methods, reason = "runs the script as it is")]
    fn name_with(files: &[(&str, &str)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        for (at, text) in files {
            let at = folder.path().join(at);
            std::fs::create_dir_all(at.parent().unwrap()).unwrap();
            std::fs::write(at, text).unwrap();
        }
        let text = WHOAMI.replace("/etc/", &format!("{}/", folder.path().display()));
        let said = std::process::Command::new("sh")
            .args(["-c", &format!("{text}\necho \"$ROLE $NODE\"")])
            .output()
            .unwrap();
        assert!(said.stderr.is_empty(), "{said:?}");
        String::from_utf8(said.stdout).unwrap().trim().to_owned()
    }

    #[test]
    fn the_name_of_a_node_is_found_where_k3s_takes_it_from() {
        const CONFIG: &str = "rancher/k3s/config.yaml";
        const UNIT: &str = "systemd/system/k3s.service";
        const AGENT: &str = "systemd/system/k3s-agent.service";
        for text in [
            "node-name: One\n",
            "token: x\nnode-name:  \"one\"\n",
            "node-name: 'one'   # the first\r\n",
            "node-name: one # \"the\" first\n",
            "\"node-name\" : one\n",
        ] {
            assert_eq!(name_with(&[(CONFIG, text)]), "server one", "{text}");
        }
        assert_eq!(name_with(&[(CONFIG, "# node-name: one\n")]), "server");
        let env = |name: &str| format!("systemd/system/{name}.service.env");
        let (server, agent) = (env("k3s"), env("k3s-agent"));
        assert_eq!(
            name_with(&[(&server, "K3S_TOKEN='t'\nK3S_NODE_NAME='two'\n")]),
            "server two"
        );
        let said = name_with(&[(AGENT, ""), (&agent, "K3S_NODE_NAME=two\n")]);
        assert_eq!(said, "agent two");
        // As get.k3s.io writes it.
        let unit = "[Service]\nExecStart=/usr/local/bin/k3s \\\n    server \\\n\t'--node-name' \\\n\t'three' \\\n\n";
        let env = (server.as_str(), "K3S_NODE_NAME=two\n");
        let config = (CONFIG, "node-name: one\n");
        assert_eq!(name_with(&[env, config]), "server one");
        assert_eq!(name_with(&[env, config, (UNIT, unit)]), "server three");
        let unit = "ExecStart=/usr/local/bin/k3s server --node-name=three\n";
        assert_eq!(name_with(&[config, (UNIT, unit)]), "server three");
        // Drop-ins of any suffix that K3s reads, in the order of their names.
        let drop_in = |name: &str| format!("rancher/k3s/config.yaml.d/{name}");
        let (late, early, other) = (
            drop_in("50-b.yml"),
            drop_in("10-a.YAML"),
            drop_in("60.yml.off"),
        );
        let (late, early) = (
            (late.as_str(), "node-name: four\n"),
            (early.as_str(), "node-name: five\n"),
        );
        let other = (other.as_str(), "node-name: six\n");
        assert_eq!(name_with(&[config, late, early, other]), "server four");
        // A suffix that K3s made.
        let id = ("rancher/node/id", "0a1b2c3d");
        let with = (CONFIG, "with-node-id: true\nnode-name: one\n");
        assert_eq!(name_with(&[with, id]), "server one-0a1b2c3d");
        assert_eq!(name_with(&[config, id]), "server one");
        let unit = (UNIT, "ExecStart=/usr/local/bin/k3s server --with-node-id\n");
        assert_eq!(name_with(&[config, unit, id]), "server one-0a1b2c3d");
    }
}
