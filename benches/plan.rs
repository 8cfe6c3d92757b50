//! What loading and planning cost: 1,000 nodes x 10 steps with templates in several fields, one barrier, one `each`; and
//! /etc/hosts of all nodes on all nodes. `cargo bench --bench plan`; with `--write DIR` it makes that project instead, for
//! measuring the program itself:
//!
//! ```text
//! cargo bench --bench plan -- --write DIR && /usr/bin/time -v hmco-boot --project DIR graph main --format dot
//! ```
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a measurement that cannot go on fails, and writes its own files"
)]

use std::collections::BTreeMap;
use std::path::Path;

use criterion::Criterion;
use hmco_boot::config::files::MemoryFiles;
use hmco_boot::config::project::{Loaded, Options, load_from};
use hmco_boot::model::fingerprint::Fingerprinter;
use hmco_boot::plan::Plan;
use hmco_boot::plan::build::{Request, build};

const NODES: usize = 1000;

fn inventory() -> String {
    let mut text = "[cluster]\nname = \"big\"\n[vars]\nbanner = \"hello\"\n".to_owned();
    let mut groups = [String::new(), String::new()];
    for n in 0..NODES {
        let role = if n < 3 { "server" } else { "agent" };
        text.push_str(&format!(
            "[node.n{n}]\naddress = \"10.{}.{}.1\"\nroles = [\"{role}\"]\narch = \"arm64\"\n\
             labels = {{ \"topology.kubernetes.io/zone\" = \"z{}\" }}\nvars = {{ slot = {n} }}\n",
            n / 250,
            n % 250,
            n % 7
        ));
        groups[n % 2].push_str(&format!("\"n{n}\","));
    }
    for (group, disk) in groups.iter().zip(["nvme0n1", "sda"]) {
        text.push_str(&format!(
            "[group.{disk}]\nnodes = [{group}]\nvars = {{ disk = \"/dev/{disk}\" }}\n"
        ));
    }
    text
}

fn playbook() -> String {
    let mut text =
        "title = \"Big\"\n[vars.banner]\ntype = \"string\"\n[vars.slot]\ntype = \"int\"\n\
                    [vars.disk]\ntype = \"string\"\n\
                    [vars.where]\ntype = \"string\"\ndefault = \"/srv/{{ node.name }}\"\n"
            .to_owned();
    for n in 0..8 {
        let needs = match n {
            7 => "needs = [{ step = \"s6\", across = \"all\" }]",
            _ => "",
        };
        text.push_str(&format!(
            "[[step]]\nid = \"s{n}\"\non = \"all\"\n{needs}\n[step.file]\npath = \"{{{{ where }}}}/f{n}\"\n\
             mode = \"0644\"\nowner = \"root\"\ncontent = '''{{{{ banner }}}} {{{{ node.name }}}} of {{{{ cluster.name }}}}\n\
             slot {{{{ slot }}}}, {{{{ disk }}}}, {{{{ node.labels['topology.kubernetes.io/zone'] }}}}\n'''\n"
        ));
    }
    text.push_str(
        "[[step]]\nid = \"links\"\non = \"all\"\neach = [\"a\", \"b\"]\n[step.link]\n\
         path = \"{{ where }}/{{ item }}\"\nto = \"{{ banner }}-{{ slot }}\"\n",
    );
    text
}

const HOSTS: &str = "title = \"Hosts\"\n[[step]]\nid = \"hosts\"\non = \"all\"\n[step.file]\npath = \"/etc/hosts\"\n\
                     content = '''{% for n in nodes %}{{ n.address }} {{ n.name }}\n{% endfor %}'''\n";

fn files() -> MemoryFiles {
    MemoryFiles::default()
        .with("inventory/big.toml", inventory())
        .with("playbooks/main.toml", playbook())
        .with("playbooks/hosts.toml", HOSTS)
}

fn loaded(files: &MemoryFiles) -> Loaded {
    load_from(files, None, &Options::default())
}

fn planned(loaded: &Loaded, playbook: &str) -> Plan {
    let project = loaded.project().unwrap();
    let request = Request {
        inventory: project.inventory.as_ref().unwrap(),
        playbooks: &project.playbooks,
        playbook: &project.playbooks[playbook],
        limit: None,
        vars: &BTreeMap::new(),
        secrets: &|name| Err(format!("there is no secret {name}")),
        pins: &hmco_boot::model::artifact::PinBook::default(),
        fingerprinter: &Fingerprinter::new([7; 32]),
    };
    build(&request).unwrap()
}

fn measure() {
    let mut criterion = Criterion::default().configure_from_args().sample_size(10);
    let files = files();
    let project = loaded(&files);
    assert_eq!(planned(&project, "main.toml").pairs.len(), 10 * NODES);
    criterion.bench_function("load 1000 nodes", |b| b.iter(|| loaded(&files)));
    criterion.bench_function("plan 10000 pairs", |b| {
        b.iter(|| planned(&project, "main.toml"));
    });
    criterion.bench_function("plan hosts of 1000 nodes on 1000 nodes", |b| {
        b.iter(|| planned(&project, "hosts.toml"));
    });
    criterion.final_summary();
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let Some(at) = arguments.iter().position(|argument| argument == "--write") else {
        return measure();
    };
    let folder = Path::new(&arguments[at + 1]);
    for (path, content) in files().files {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content.unwrap()).unwrap();
    }
}
