//! The state of a cluster for people.

use crate::k3s::status::{Component, K3sStatus, NodeStatus, Status};
use crate::model::outcome::Failure;
use crate::report::commands::Commands;
use crate::report::style::{Ink, Line};
use crate::report::text::count;
use crate::steps::preflight::Role;

type Cell = (Ink, String);

/// Where nobody told.
fn unknown() -> Cell {
    (Ink::Warn, "?".to_owned())
}

fn none() -> Cell {
    (Ink::Soft, "-".to_owned())
}

/// All of it.
pub fn lines(status: &Status, now_ms: i64, commands: &Commands, width: usize) -> Vec<Line> {
    let mut lines = vec![head(status), Line::new()];
    lines.extend(table(status, now_ms));
    if !status.components.is_empty() {
        lines.push(Line::new());
        lines.push(Line::of(Ink::Soft, "in kube-system"));
        lines.extend(status.components.iter().map(component));
    }
    if !status.problems.is_empty() {
        lines.push(Line::new());
        lines.push(Line::of(Ink::Bad, "wrong"));
    }
    for problem in &status.problems {
        let mut line = Line::new();
        let mut first = problem.what.lines().next().unwrap_or_default();
        if let Some(node) = &problem.node {
            line = line.with(Ink::Strong, node);
            first = match first.strip_prefix(node.as_str()) {
                Some(rest) if rest.starts_with(' ') => rest,
                _ => {
                    line = line.plain(": ");
                    first
                }
            };
        }
        lines.extend(line.plain(first).wrap(2, width));
        let cure = commands.failure(&Failure::new("").hint(problem.hint.clone()));
        let cure = cure.hint.unwrap_or_default();
        let cure = Line::of(Ink::Soft, format!("to do: {cure}"));
        lines.extend(cure.wrap(4, width));
    }
    lines
}

fn head(status: &Status) -> Line {
    let mut line = Line::of(Ink::Strong, &status.cluster);
    let (ink, word) = match (status.healthy, status.may_be_there()) {
        (true, _) => (Ink::Good, "healthy".to_owned()),
        (false, false) => (Ink::Warn, "no cluster".to_owned()),
        _ => (
            Ink::Bad,
            count(status.problems.len(), "thing is wrong", "things are wrong"),
        ),
    };
    line = line.plain("  ").with(ink, word);
    let mut versions: Vec<&str> = status
        .nodes
        .iter()
        .filter_map(|node| node.k3s.as_ref())
        .map(|k3s| k3s.version.as_str())
        .filter(|version| !version.is_empty())
        .collect();
    versions.sort_unstable();
    versions.dedup();
    if !versions.is_empty() {
        line = line.plain(format!("  K3s {}", versions.join(" and ")));
    }
    if status.simulated == Some(true) {
        line = line.with(Ink::Warn, " (simulated K3s: its pods are not real)");
    }
    if let Some(etcd) = &status.etcd {
        let words = match (etcd.members.is_empty(), etcd.has_quorum) {
            (true, Some(false)) => "etcd has no quorum, its members are not known".to_owned(),
            (true, _) => "etcd: nobody tells its members".to_owned(),
            (false, Some(false)) => "etcd has no quorum".to_owned(),
            _ => format!(
                "etcd: {} of {} voters serve",
                etcd.healthy_voters, etcd.voters
            ),
        };
        let ink = match etcd.healthy_voters == etcd.voters && etcd.has_quorum == Some(true) {
            true => Ink::Plain,
            false => Ink::Bad,
        };
        line = line.plain("  ").with(ink, words);
    }
    line
}

fn table(status: &Status, now_ms: i64) -> Vec<Line> {
    let heads = [
        "node", "role", "K3s", "since", "API", "etcd", "Node", "address", "age",
    ];
    let soft = |word: &str| (Ink::Soft, word.to_owned());
    let mut rows: Vec<Vec<Cell>> = vec![heads.map(soft).to_vec()];
    rows.extend(status.nodes.iter().map(|node| row(status, node, now_ms)));
    let columns = heads.len();
    let wide = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells
            .map(|(_, text)| crate::report::text::width(text))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(wide).collect();
    rows.iter()
        .map(|row| {
            let mut line = Line::new();
            let mut at = 0;
            for ((ink, text), width) in row.iter().zip(&widths) {
                line.pad_to(at);
                line.push(*ink, text);
                at += width + 2;
            }
            line
        })
        .collect()
}

fn row(status: &Status, node: &NodeStatus, now_ms: i64) -> Vec<Cell> {
    let role = match (node.role, node.in_inventory) {
        (Some(role), _) => (Ink::Plain, role.word().to_owned()),
        (None, true) => none(),
        (None, false) => (Ink::Warn, "not in the inventory".to_owned()),
    };
    let kube = node.node.as_ref();
    let age = kube.map(|kube| match kube.created.parse::<jiff::Timestamp>() {
        Ok(created) => {
            let seconds = (now_ms - created.as_millisecond()) / 1000;
            (Ink::Plain, span(u64::try_from(seconds).unwrap_or(0)))
        }
        Err(_) => unknown(),
    });
    let (k3s, since) = k3s(node);
    vec![
        (Ink::Strong, node.name.clone()),
        role,
        k3s,
        since,
        api(node),
        etcd(status, node),
        kube_node(status, node),
        node.address
            .clone()
            .map_or_else(none, |at| (Ink::Plain, at)),
        age.unwrap_or_else(|| match status.api_error {
            Some(_) if status.may_be_there() => unknown(),
            _ => none(),
        }),
    ]
}

fn k3s(node: &NodeStatus) -> (Cell, Cell) {
    match (node.reachable, &node.k3s) {
        (Some(false), _) => ((Ink::Bad, "unreachable".to_owned()), unknown()),
        (None, _) => (unknown(), unknown()),
        (_, None) => match node.has_datastore {
            None => (unknown(), unknown()),
            Some(_) => ((Ink::Soft, "none".to_owned()), none()),
        },
        (_, Some(K3sStatus { unit: None, .. })) => ((Ink::Warn, "no unit".to_owned()), none()),
        (_, Some(k3s)) => {
            let word = match k3s.active.as_str() {
                "active" => (Ink::Good, "active".to_owned()),
                "activating" => (Ink::Warn, format!("activating ({})", k3s.sub)),
                other => (Ink::Bad, other.to_owned()),
            };
            let since = k3s
                .active_seconds
                .map(|seconds| (Ink::Plain, span(seconds)));
            (word, since.unwrap_or_else(none))
        }
    }
}

fn api(node: &NodeStatus) -> Cell {
    match (node.api_ready, node.role, node.reachable) {
        (Some(true), ..) => (Ink::Good, "ready".to_owned()),
        (Some(false), ..) if !node.is_running() => (Ink::Bad, "down".to_owned()),
        (Some(false), ..) => (Ink::Bad, "not ready".to_owned()),
        (None, Some(Role::Server), Some(false)) => unknown(),
        _ => none(),
    }
}

fn etcd(status: &Status, node: &NodeStatus) -> Cell {
    match &node.etcd {
        Some(member) => {
            let word = if member.learner { "learner" } else { "voter" };
            match member.healthy {
                Some(true) => (Ink::Good, word.to_owned()),
                Some(false) => (Ink::Bad, format!("{word}, down")),
                None => (Ink::Warn, format!("{word}, ?")),
            }
        }
        None => {
            let unlisted = status
                .etcd
                .as_ref()
                .is_some_and(|etcd| etcd.members.is_empty());
            match (node.has_datastore, node.role, unlisted) {
                (Some(true), _, true) => (Ink::Warn, "member?".to_owned()),
                (Some(true), ..) if status.etcd.is_some() => (Ink::Bad, "no member".to_owned()),
                (None, Some(Role::Server), _) => unknown(),
                _ => none(),
            }
        }
    }
}

fn kube_node(status: &Status, node: &NodeStatus) -> Cell {
    let Some(kube) = &node.node else {
        return match (&status.api_error, node.role) {
            (_, None) => none(),
            (Some(_), _) if status.may_be_there() => unknown(),
            _ => none(),
        };
    };
    let (ink, mut text) = match kube.ready.as_str() {
        "True" => (Ink::Good, "Ready".to_owned()),
        "Unknown" => (Ink::Bad, "NotReady (silent)".to_owned()),
        _ => (Ink::Bad, "NotReady".to_owned()),
    };
    if kube.cordoned {
        text.push_str(", cordoned");
    }
    if kube.leaving {
        text.push_str(", leaving");
    }
    let ink = if kube.cordoned && ink == Ink::Good {
        Ink::Warn
    } else {
        ink
    };
    (ink, text)
}

fn component(component: &Component) -> Line {
    let ink = match component.is_up() {
        true => Ink::Good,
        false => Ink::Bad,
    };
    let mut line = Line::new().plain(format!("  {}", component.name));
    line.pad_to(30);
    line.push(Ink::Plain, &component.version);
    line.pad_to(46);
    let pods = format!("{} of {} up", component.available, component.wanted);
    line.with(ink, pods)
}

/// The largest unit is enough to look at.
fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_said_in_its_largest_unit() {
        let said: Vec<String> = [0, 119, 120, 7199, 7200, 172_800].map(span).to_vec();
        assert_eq!(said, ["0s", "119s", "2m", "119m", "2h", "2d"]);
    }
}
