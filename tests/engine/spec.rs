//! Random playbooks as plain data, and their translation to the model.

use std::collections::{BTreeMap, BTreeSet};

use hmco_boot::model::id::{KindName, NodeName, StepId};
use hmco_boot::model::inventory::{Cluster, Connection, Inventory, Node};
use hmco_boot::model::playbook::{Across, Body, Need, Playbook, Policy, Retry, Step};
use hmco_boot::model::selector::Selector;
use hmco_boot::model::units::TimeSpan;
use hmco_boot::model::value::{Data, FileId, Key, Span, Value};
use proptest::prelude::*;

/// What one (step, target) will do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is as wished from the start.
    Converged,
    /// Its job works.
    Fine,
    /// Its job fails for good.
    Fails,
    /// Its job fails so often with a status that may be retried, then works.
    Flaky(u32),
    /// Its job claims to have worked and did nothing.
    Liar,
}

#[derive(Clone, Debug)]
pub struct NeedSpec {
    pub step: usize,
    pub across: Across,
    pub tolerate: u32,
}

#[derive(Clone, Debug)]
pub enum Content {
    /// A file on these nodes.
    Leaf(BTreeSet<usize>),
    /// Another playbook (its steps), on these nodes only.
    Nested(Vec<StepSpec>, BTreeSet<usize>),
}

#[derive(Clone, Debug)]
pub struct StepSpec {
    pub content: Content,
    /// Indices of steps above; `None` = default order.
    pub needs: Option<Vec<NeedSpec>>,
    pub serial: Option<u32>,
    pub attempts: u32,
}

#[derive(Clone, Debug)]
pub struct Spec {
    pub nodes: usize,
    pub steps: Vec<StepSpec>,
    /// Drawn from for the fate of each pair.
    pub fates: Vec<Fate>,
    pub dead: Option<usize>,
    /// Drawn from for the gate of each pair: looks until it holds, 0 = no gate.
    pub gates: Vec<u32>,
}

/// A gate that never holds.
pub const NEVER: u32 = u32::MAX;
/// The time limit of gates, and how often they are looked at.
pub const GATE_LIMIT: std::time::Duration = std::time::Duration::from_secs(20);
pub const GATE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(4);

fn targets(nodes: usize) -> impl Strategy<Value = BTreeSet<usize>> {
    prop::collection::btree_set(0..nodes, 0..=nodes)
}

/// A step, needs whose steps are still to be chosen, and whether it has any.
type Drawn = (StepSpec, Vec<(prop::sample::Index, Across, u32)>, bool);

fn step(nodes: usize, depth: u32) -> BoxedStrategy<Drawn> {
    let leaf = targets(nodes).prop_map(Content::Leaf).boxed();
    let content = if depth == 0 {
        leaf
    } else {
        prop_oneof![3 => leaf, 1 => (steps(nodes, depth - 1, 3), targets(nodes)).prop_map(|(s, t)| Content::Nested(s, t))]
            .boxed()
    };
    let needs = prop::collection::vec(
        (
            any::<prop::sample::Index>(),
            prop_oneof![6 => Just(Across::Same), 3 => Just(Across::All), 1 => Just(Across::First)],
            0..2_u32,
        ),
        0..3,
    );
    let serial = prop_oneof![3 => Just(None), 1 => Just(Some(1))];
    (content, serial, 1..4_u32, needs, prop::bool::weighted(0.4))
        .prop_map(|(content, serial, attempts, needs, explicit)| {
            (
                StepSpec {
                    content,
                    needs: None,
                    serial,
                    attempts,
                },
                needs,
                explicit,
            )
        })
        .boxed()
}

fn steps(nodes: usize, depth: u32, most: usize) -> BoxedStrategy<Vec<StepSpec>> {
    prop::collection::vec(step(nodes, depth), 1..=most)
        .prop_map(|drawn| {
            drawn
                .into_iter()
                .enumerate()
                .map(|(at, (mut step, needs, explicit))| {
                    if explicit {
                        let needs = needs.into_iter().filter(|_| at > 0);
                        let need =
                            |(index, across, tolerate): (prop::sample::Index, Across, u32)| {
                                NeedSpec {
                                    step: index.index(at),
                                    across,
                                    tolerate,
                                }
                            };
                        step.needs = Some(needs.map(need).collect());
                    }
                    if matches!(step.content, Content::Nested(..)) {
                        step.serial = None;
                    }
                    step
                })
                .collect()
        })
        .boxed()
}

pub fn spec() -> impl Strategy<Value = Spec> {
    let fate = prop_oneof![
        4 => Just(Fate::Fine),
        3 => Just(Fate::Converged),
        1 => Just(Fate::Fails),
        1 => (1..4_u32).prop_map(Fate::Flaky),
        1 => Just(Fate::Liar),
    ];
    let dead = prop_oneof![4 => Just(None), 1 => (0..5_usize).prop_map(Some)];
    (1..5_usize).prop_flat_map(move |nodes| {
        (
            steps(nodes, 2, 6),
            prop::collection::vec(fate.clone(), 24),
            dead.clone(),
            prop::collection::vec(
                prop_oneof![6 => Just(0), 2 => 1..4_u32, 1 => Just(NEVER)],
                7,
            ),
        )
            .prop_map(move |(steps, fates, dead, gates)| Spec {
                gates,
                nodes,
                steps,
                fates,
                dead: dead.filter(|dead| *dead < nodes),
            })
    })
}

// ---- translation --------------------------------------------------------------------------------------------------

pub fn node(index: usize) -> NodeName {
    NodeName::new(format!("n{index}"))
}

fn span() -> Span {
    Span::new(FileId(0), 0..0)
}

fn text(text: impl Into<String>) -> Value {
    Value {
        span: span(),
        data: Data::String(text.into()),
    }
}

fn table(entries: Vec<(&str, Value)>) -> Value {
    let entries = entries.into_iter().map(|(name, value)| {
        (
            Key {
                span: span(),
                name: name.to_owned(),
            },
            value,
        )
    });
    Value {
        span: span(),
        data: Data::Table(entries.collect()),
    }
}

fn selector(nodes: &BTreeSet<usize>) -> (Selector, Span) {
    let names: Vec<String> = nodes.iter().map(|index| format!("n{index}")).collect();
    // A selector that selects nothing.
    let text = if names.is_empty() {
        "n0 & !n0".to_owned()
    } else {
        names.join(" | ")
    };
    (Selector::parse(&text).unwrap(), span())
}

impl Spec {
    pub fn inventory(&self) -> Inventory {
        let node = |index| Node {
            name: node(index),
            span: span(),
            connection: Connection::Local { root: None },
            roles: Vec::new(),
            arch: None,
            labels: BTreeMap::new(),
            vars: BTreeMap::new(),
        };
        Inventory {
            file: "inventory/test.toml".to_owned(),
            cluster: Cluster {
                name: "test".to_owned(),
                domain: None,
                api_address: None,
                ca_sha256: None,
                kubeconfig: None,
            },
            nodes: (0..self.nodes).map(node).collect(),
            bastions: Vec::new(),
            groups: Vec::new(),
            vars: BTreeMap::new(),
        }
    }

    /// All playbooks by path; the outermost is `main`.
    pub fn playbooks(&self) -> BTreeMap<String, Playbook> {
        let mut playbooks = BTreeMap::new();
        add_playbook("main", &self.steps, &mut playbooks);
        playbooks
    }
}

fn add_playbook(path: &str, steps: &[StepSpec], playbooks: &mut BTreeMap<String, Playbook>) {
    let steps = steps
        .iter()
        .enumerate()
        .map(|(at, step)| model_step(path, at, step, playbooks))
        .collect();
    let playbook = Playbook {
        path: path.to_owned(),
        title: path.to_owned(),
        doc: String::new(),
        vars: BTreeMap::new(),
        steps,
    };
    playbooks.insert(path.to_owned(), playbook);
}

fn model_step(
    path: &str,
    at: usize,
    step: &StepSpec,
    playbooks: &mut BTreeMap<String, Playbook>,
) -> Step {
    let (body, on) = match &step.content {
        Content::Leaf(nodes) => {
            // The file's name says which step of which playbook it is; nested ones are told apart by path.
            let file = format!("/{}-s{at}", path.replace('/', "-"));
            let table = table(vec![("path", text(file)), ("content", text("wished\n"))]);
            (
                Body::Kind {
                    kind: KindName::new("file"),
                    span: span(),
                    table,
                },
                nodes,
            )
        }
        Content::Nested(inner, nodes) => {
            let inner_path = format!("{path}/s{at}");
            add_playbook(&inner_path, inner, playbooks);
            (
                Body::Playbook {
                    path: inner_path,
                    span: span(),
                    vars: BTreeMap::new(),
                },
                nodes,
            )
        }
    };
    let second = TimeSpan(std::time::Duration::from_secs(1));
    let retry = Retry {
        attempts: step.attempts,
        delay: second,
        max_delay: second,
    };
    let need = |need: &NeedSpec| Need {
        step: StepId::new(format!("s{}", need.step)),
        span: span(),
        across: need.across,
        tolerate: need.tolerate,
    };
    Step {
        id: StepId::new(format!("s{at}")),
        span: span(),
        title: None,
        on: Some(selector(on)),
        needs: step
            .needs
            .as_ref()
            .map(|needs| needs.iter().map(need).collect()),
        when: None,
        each: None,
        policy: Policy {
            serial: step.serial,
            retry: Some(retry),
            ..Policy::default()
        },
        body,
    }
}
