//! What happens to a node that leaves, stage by stage, for people.

use crate::cli::error::CliError;
use crate::cli::k3s::copies::Copies;
use crate::cli::k3s::look::Looked;
use crate::cli::k3s::node::RemoveArgs;
use crate::cli::k3s::procedure::{Stages, failed};
use crate::k3s::leave::Leave;
use crate::k3s::wishes;
use crate::model::kube::drain::{self, Leaving};
use crate::report::text::count;

/// Of `k3s node remove`. An error where something would be lost that nobody agreed to lose.
pub fn of_removal(
    looked: &Looked,
    leave: &Leave,
    args: &RemoveArgs,
    copies: Option<&Copies>,
) -> Result<Stages, CliError> {
    let mut stages = Stages::default();
    let pods = drain::leaving(&looked.more.pods, &leave.kube_name);
    let volumes = drain::volumes(&looked.more.volumes, &leave.kube_name);
    if args.dead {
        stages.warnings.extend(lost_with_disk(&volumes));
    } else {
        if let Some(failure) = wishes::lost(&leave.kube_name, &pods, &volumes) {
            if !args.delete_local_data {
                return Err(failed(&failure));
            }
            let lost = failure.evidence.join("; ");
            stages.warnings.push(format!("lost: {lost}"));
        }
        if is_there(looked, leave) {
            stages.stages.push(drained(&pods, leave, args));
        }
        stages
            .stages
            .extend(copies.into_iter().flat_map(Copies::words));
        stages.stages.push(match leave.stop_first {
            true => "K3s is stopped on it, and does not start at boot any more".to_owned(),
            false => "K3s on it is kept from starting again (etcd of two needs both to let one go)"
                .to_owned(),
        });
    }
    stages.stages.extend(forgotten(looked, leave));
    if !args.dead {
        stages.stages.push(
            "K3s and its data are taken off its machine: /var/lib/rancher/k3s, /etc/rancher, units, binary".to_owned(),
        );
    }
    if !leave.after.is_empty() {
        stages.warnings.push(leave.after.clone());
    }
    if stages.stages.is_empty() {
        stages.stages.push(password("its node password", leave));
    }
    Ok(stages)
}

/// Of `k3s node replace`.
pub fn of_replacement(looked: &Looked, leave: &Leave) -> Stages {
    let volumes = drain::volumes(&looked.more.volumes, &leave.kube_name);
    let stage = forgotten(looked, leave)
        .unwrap_or_else(|| password("the node password of the former machine", leave));
    Stages {
        stages: vec![stage],
        warnings: lost_with_disk(&volumes).into_iter().collect(),
    }
}

fn is_there(looked: &Looked, leave: &Leave) -> bool {
    let node = looked.status.node(&leave.name);
    node.is_some_and(|node| node.node.is_some())
}

fn drained(pods: &[Leaving], leave: &Leave, args: &RemoveArgs) -> String {
    let node = leave.its_node();
    match pods.len() {
        0 => format!("no new pods are put on {node}"),
        number => format!(
            "no new pods are put on {node}, and its {} go elsewhere by eviction (budgets are respected, for {} at most)",
            count(number, "pod", "pods"),
            args.drain_timeout
        ),
    }
}

fn forgotten(looked: &Looked, leave: &Leave) -> Option<String> {
    let member = match &leave.member {
        Some(member) => format!(", and K3s takes its member out of etcd ({member})"),
        None => String::new(),
    };
    let node = leave.its_node();
    (is_there(looked, leave) || leave.member.is_some())
        .then(|| format!("{node} and its node password are deleted{member}"))
}

fn password(whose: &str, leave: &Leave) -> String {
    let of = match leave.name == leave.kube_name {
        true => String::new(),
        false => format!(" (of the Node `{}`)", leave.kube_name),
    };
    format!("{whose}{of} is deleted, if it is there: the cluster knows no more of it")
}

fn lost_with_disk(volumes: &[String]) -> Option<String> {
    (!volumes.is_empty()).then(|| {
        format!(
            "lost with its disk: the volumes of {}; their pods wait until the claims are deleted",
            volumes.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::k3s::look::More;
    use crate::k3s::status::{Listed, Status};

    fn looked() -> Looked {
        let node = serde_json::json!({ "kind": "Node", "metadata": { "name": "shelf-3" } });
        let listed = Listed {
            nodes: vec![node],
            ..Listed::default()
        };
        Looked {
            status: Status::of("c", &[], Ok(&listed)),
            more: More::default(),
        }
    }

    fn leave(name: &str) -> Leave {
        Leave {
            name: name.to_owned(),
            kube_name: "shelf-3".to_owned(),
            member: Some("shelf-3-0a1b2c3d".to_owned()),
            server: false,
            stop_first: true,
            after: String::new(),
        }
    }

    #[test]
    fn a_node_is_named_where_its_name_is_not_that_of_the_inventory() {
        let looked = looked();
        let said = forgotten(&looked, &leave("n3")).unwrap_or_default();
        assert!(
            said.starts_with("its Node `shelf-3` and its node password"),
            "{said}"
        );
        assert!(said.contains("(shelf-3-0a1b2c3d)"), "{said}");
        let said = forgotten(&looked, &leave("shelf-3")).unwrap_or_default();
        assert!(said.starts_with("its Node and its node password"), "{said}");
        assert!(password("its node password", &leave("n3")).contains("(of the Node `shelf-3`)"));
    }
}
