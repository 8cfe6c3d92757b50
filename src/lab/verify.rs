//! Looks whether a lab works, from inside its nodes: whoever hands over a lab says what it can do, and does not guess.

use super::cut::{self, Cut};
use super::node::Node;
use super::packages::PORT;
use super::place::Place;
use super::record::Record;
use super::{names, network, ssh};
use crate::model::outcome::Failure;

/// Logs in to every node that is not cut off: sudo works, the next node can be reached, packages are served.
///
/// # Errors
/// What does not work, and what of this machine is known to be the reason.
pub fn verify(place: &Place, record: &Record, nodes: &[Node]) -> Result<(), Failure> {
    let cuts = cut::list(&place.tag, record)?;
    let reachable: Vec<&Node> = nodes
        .iter()
        .filter(|node| !is_cut_off(&cuts, &node.plan.name))
        .collect();
    let said = std::thread::scope(|scope| {
        let threads: Vec<_> = reachable
            .iter()
            .zip(reachable.iter().cycle().skip(1))
            .map(|(node, next)| {
                let pair = is_cut_pair(&cuts, &node.plan.name, &next.plan.name);
                let next = (!pair && node.plan != next.plan).then_some(*next);
                scope.spawn(move || ask(place, record, node, next))
            })
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<Vec<String>, Failure>>| {
            let panicked = |_| Err(Failure::new("a thread of the lab panicked"));
            thread.join().unwrap_or_else(panicked)
        };
        threads.into_iter().map(join).collect::<Result<Vec<_>, _>>()
    })?;
    let said: Vec<String> = said.into_iter().flatten().collect();
    if said.is_empty() {
        return Ok(());
    }
    let between = said.iter().any(|line| line.contains("cannot reach"));
    let known = network::suspect_firewall(&place.tag).filter(|_| between);
    let mut failure = known.unwrap_or_else(|| {
        let bridge = place.tag.bridge();
        Failure::new("the lab is up, but not all of it works").hint(format!(
            "if this machine has a firewall, let in what comes from the nodes: iptables -I INPUT -i {bridge} -j ACCEPT"
        ))
    });
    for line in said {
        failure = failure.evidence(line);
    }
    Err(failure)
}

/// Whether a node is cut from all others and this machine.
pub fn is_cut_off(cuts: &[Cut], name: &str) -> bool {
    cuts.iter()
        .any(|cut| matches!(cut, Cut::Node(node) if node == name))
}

fn is_cut_pair(cuts: &[Cut], one: &str, other: &str) -> bool {
    let is = |cut: &Cut| matches!(cut, Cut::Pair(a, b) if (a == one && b == other) || (a == other && b == one));
    cuts.iter().any(is)
}

/// What does not work, as seen from one node.
fn ask(
    place: &Place,
    record: &Record,
    node: &Node,
    next: Option<&Node>,
) -> Result<Vec<String>, Failure> {
    let name = &node.plan.name;
    let host = names::host_address(record.subnet);
    let mut script = String::from("sudo -n true || echo 'cannot become root by sudo'\n");
    if record.user == "root" {
        script.clear();
    }
    if let Some(next) = next {
        let (to, address) = (&next.plan.name, next.plan.address);
        script.push_str(&format!(
            "timeout 5 bash -c 'exec 3<>/dev/tcp/{address}/22' 2>/dev/null || echo 'cannot reach {to} ({address})'\n"
        ));
    }
    script.push_str(&format!(
        "curl -s --noproxy '*' --max-time 10 http://{host}:{PORT}/ >/dev/null || echo 'gets no answer from http://{host}:{PORT}/, which serves packages'\n"
    ));
    let said = ssh::run(place, &record.user, node.plan.address, &script).map_err(|failure| {
        Failure {
            message: format!("cannot log in to {name}"),
            ..failure
        }
        .hint(format!("its console: {}", node.console().display()))
    })?;
    Ok(said.lines().map(|line| format!("{name} {line}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_cut_whichever_is_named_first() {
        let cuts = [Cut::Pair("a".into(), "b".into()), Cut::Node("c".into())];
        assert!(is_cut_pair(&cuts, "b", "a") && is_cut_pair(&cuts, "a", "b"));
        assert!(!is_cut_pair(&cuts, "a", "c"));
        assert!(is_cut_off(&cuts, "c") && !is_cut_off(&cuts, "a"));
    }
}
