//! How a lab is shown.

use crate::lab::cut::Cut;
use crate::lab::node::Power;
use crate::lab::status::Status;

/// A lab in lines.
pub fn table(status: &Status) -> String {
    let mut text = format!(
        "lab {}: {} on {}{}\n",
        status.name,
        status.subnet,
        status.bridge,
        if status.bridge_up {
            ""
        } else {
            " (the bridge is missing)"
        }
    );
    for node in &status.nodes {
        let power = match node.power {
            Power::Off => "off",
            Power::On => "on, no SSH",
            Power::Answers => "answers SSH",
        };
        let memory = node
            .memory
            .map_or_else(String::new, |bytes| format!("{} MiB", bytes / 1_048_576));
        let cpu = node
            .cpu_limit
            .map_or_else(String::new, |percent| format!("  CPU {percent}%"));
        let boot = node.boot_id.as_deref().unwrap_or("-");
        text.push_str(&format!(
            "{:<10} {:<7} {:<15} {:<12} {:<36} {:>8}{cpu}\n",
            node.name, node.role, node.address, power, boot, memory
        ));
    }
    for cut in &status.cuts {
        text.push_str(&match cut {
            Cut::Node(node) => format!("cut: {node} from all others\n"),
            Cut::Pair(a, b) => format!("cut: {a} from {b}\n"),
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::status::NodeStatus;

    #[test]
    fn a_lab_is_told_with_what_is_off_and_cut() {
        let node = |name: &str, power| NodeStatus {
            name: name.into(),
            role: "server".into(),
            address: "172.30.0.11".into(),
            power,
            boot_id: (power != Power::Off).then(|| "ee44".into()),
            memory: (power != Power::Off).then_some(25 << 20),
            cpu_limit: (power == Power::Off).then_some(25),
            processes: 9,
        };
        let status = Status {
            name: "lab".into(),
            subnet: "172.30.0.0/24".into(),
            bridge: "hm-1".into(),
            bridge_up: false,
            inventory: None,
            folder: "/x".into(),
            nodes: vec![node("lab-1", Power::Answers), node("lab-2", Power::Off)],
            cuts: vec![
                Cut::Node("lab-2".into()),
                Cut::Pair("lab-1".into(), "lab-2".into()),
            ],
        };
        let text = table(&status);
        let words: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            words,
            [
                "lab lab: 172.30.0.0/24 on hm-1 (the bridge is missing)"
                    .split(' ')
                    .collect::<Vec<_>>(),
                "lab-1 server 172.30.0.11 answers SSH ee44 25 MiB"
                    .split(' ')
                    .collect(),
                "lab-2 server 172.30.0.11 off - CPU 25%"
                    .split(' ')
                    .collect(),
                "cut: lab-2 from all others".split(' ').collect(),
                "cut: lab-1 from lab-2".split(' ').collect(),
            ]
        );
    }
}
