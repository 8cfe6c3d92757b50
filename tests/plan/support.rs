//! Projects as text, through the real loader, and plans as lines.

use std::cell::RefCell;
use std::collections::BTreeMap;

use hmco_boot::config::files::MemoryFiles;
use hmco_boot::config::project::{Loaded, Options, load_from};
use hmco_boot::model::fingerprint::Fingerprinter;
use hmco_boot::model::mistake::{Mistake, Severity};
use hmco_boot::model::selector::Selector;
use hmco_boot::model::value::Value;
use hmco_boot::plan::build::{Request, build};
use hmco_boot::plan::{Pair, Plan, Work};

/// Two servers, two agents; `s1` and `a1` are arm64.
pub const NODES: &str = r#"
[cluster]
name = "test"
domain = "lab.example.org"
[node.s1]
address = "10.0.0.1"
roles = ["server"]
arch = "arm64"
[node.s2]
address = "10.0.0.2"
roles = ["server"]
arch = "amd64"
[node.a1]
address = "10.0.0.3"
roles = ["agent"]
arch = "arm64"
[node.a2]
address = "10.0.0.4"
roles = ["agent"]
arch = "amd64"
"#;

/// A project in memory.
pub struct Project {
    files: MemoryFiles,
    limit: Option<Selector>,
    vars: Vec<(String, String)>,
    secret: String,
    /// Secrets that the plan asked for.
    pub opened: RefCell<Vec<String>>,
}

/// A project with [`NODES`] and one playbook `main`.
pub fn main(playbook: &str) -> Project {
    Project {
        files: MemoryFiles::default(),
        limit: None,
        vars: Vec::new(),
        secret: "hunter2".to_owned(),
        opened: RefCell::default(),
    }
    .inventory(NODES)
    .playbook("main", playbook)
}

impl Project {
    pub fn inventory(mut self, text: &str) -> Self {
        self.files = self.files.with("inventory/test.toml", text);
        self
    }

    /// The inventory with more below it.
    pub fn and(self, text: &str) -> Self {
        self.inventory(&format!("{NODES}\n{text}"))
    }

    pub fn playbook(mut self, name: &str, steps: &str) -> Self {
        let text = format!("title = \"Test\"\n{steps}");
        self.files = self.files.with(&format!("playbooks/{name}.toml"), text);
        self
    }

    pub fn limit(mut self, selector: &str) -> Self {
        self.limit = Some(Selector::parse(selector).unwrap());
        self
    }

    pub fn var(mut self, name: &str, text: &str) -> Self {
        self.vars.push((name.to_owned(), text.to_owned()));
        self
    }

    pub fn secret(mut self, value: &str) -> Self {
        self.secret = value.to_owned();
        self
    }

    pub fn load(&self) -> Loaded {
        let options = Options {
            playbook: Some("main".to_owned()),
            ..Options::default()
        };
        load_from(&self.files, None, &options)
    }

    pub fn try_plan(&self) -> Result<Plan, Vec<Mistake>> {
        let loaded = self.load();
        let project = loaded.project().unwrap_or_else(|| {
            panic!("it does not load: {:#?}", loaded.mistakes);
        });
        let playbook = &project.playbooks["main.toml"];
        let vars: BTreeMap<String, Value> = self
            .vars
            .iter()
            .map(|(name, text)| {
                let declared = playbook.vars.get(name);
                let kind = declared.map_or(hmco_boot::model::vars::VarType::String, |d| d.kind);
                (name.clone(), kind.parse_cli(text).unwrap())
            })
            .collect();
        build(&Request {
            inventory: project.inventory.as_ref().unwrap(),
            playbooks: &project.playbooks,
            playbook,
            limit: self.limit.as_ref(),
            vars: &vars,
            secrets: &|name| {
                self.opened.borrow_mut().push(name.to_owned());
                Ok(self.secret.clone())
            },
            pins: &hmco_boot::model::artifact::PinBook::default(),
            fingerprinter: &Fingerprinter::new([7; 32]),
        })
    }

    pub fn plan(&self) -> Plan {
        self.try_plan().unwrap_or_else(|mistakes| {
            panic!("it does not plan: {mistakes:#?}");
        })
    }

    /// The plan as lines `step@target <- what it waits for`.
    pub fn lines(&self) -> String {
        lines(&self.plan())
    }

    /// The errors of the loader, or of the plan.
    pub fn refused(&self) -> String {
        let loaded = self.load();
        let mut mistakes = loaded.mistakes.clone();
        mistakes.retain(|mistake| mistake.severity == Severity::Error);
        if mistakes.is_empty() {
            mistakes = self.try_plan().map(|plan| lines(&plan)).unwrap_err();
        }
        let place = |mistake: &Mistake| {
            let text = mistake.span.and_then(|span| {
                let text = loaded.sources.get(span.file)?.text();
                text.get(span.start as usize..span.end as usize)
                    .map(str::to_owned)
            });
            text.unwrap_or_default()
        };
        let line = |mistake: &Mistake| {
            let hint = mistake.hint.as_deref().unwrap_or("-");
            let (code, message) = (mistake.code, &mistake.message);
            format!("{code}: {message} <{}> ({hint})", place(mistake))
        };
        mistakes.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

pub fn lines(plan: &Plan) -> String {
    let line = |pair: &Pair| {
        let needs: Vec<String> = plan
            .needs(pair.id)
            .into_iter()
            .map(|id| plan.label(id))
            .collect();
        let skip = match &pair.work {
            Work::Skip(_) => " (skipped)",
            Work::Wish(_) => "",
        };
        match needs.is_empty() {
            true => format!("{}{skip}", pair.label()),
            false => format!("{}{skip} <- {}", pair.label(), needs.join(" ")),
        }
    };
    plan.pairs.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// A step that makes a folder.
pub fn step(id: &str, on: &str, more: &str) -> String {
    format!("[[step]]\nid = \"{id}\"\non = \"{on}\"\n{more}\n[step.directory]\npath = \"/{id}\"\n")
}

/// The wish of a pair, as it is fingerprinted.
pub fn wish(plan: &Plan, label: &str) -> String {
    let pair = plan.pairs.iter().find(|pair| pair.label() == label);
    match &pair
        .unwrap_or_else(|| panic!("no {label} in\n{}", lines(plan)))
        .work
    {
        Work::Wish(wish) => wish.fingerprint_text(),
        Work::Skip(reason) => format!("skipped: {reason}"),
    }
}
