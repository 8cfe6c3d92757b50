use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::id::{GroupName, NodeName};
use crate::model::inventory::{Cluster, Connection, Group};
use crate::model::value::{FileId, Span};

const SPAN: Span = Span {
    file: FileId(0),
    start: 0,
    end: 0,
};

fn node(name: &str, roles: &[&str], arch: Option<&str>) -> Node {
    Node {
        name: NodeName::new(name),
        span: SPAN,
        connection: Connection::Local { root: None },
        roles: roles.iter().map(|r| (*r).to_owned()).collect(),
        arch: arch.map(str::to_owned),
        labels: BTreeMap::new(),
        vars: BTreeMap::new(),
    }
}

fn inventory() -> Inventory {
    Inventory {
        file: "inventory/test.toml".to_owned(),
        cluster: Cluster {
            name: "test".to_owned(),
            domain: None,
            api_address: None,
            ca_sha256: None,
            kubeconfig: None,
        },
        nodes: vec![
            node("pi5-02", &["server"], Some("arm64")),
            node("pi5-01", &["server", "edge"], Some("arm64")),
            node("nuc", &["agent"], Some("amd64")),
            node("pi4-9", &["agent"], None),
        ],
        bastions: Vec::new(),
        groups: vec![Group {
            name: GroupName::new("storage"),
            span: SPAN,
            nodes: vec![NodeName::new("nuc"), NodeName::new("pi5-02")],
            vars: BTreeMap::new(),
        }],
        vars: BTreeMap::new(),
    }
}

fn names(text: &str) -> String {
    let targets = Selector::parse(text)
        .unwrap()
        .targets(&inventory())
        .unwrap();
    targets
        .iter()
        .map(Target::to_string)
        .collect::<Vec<_>>()
        .join(" ")
}

/// What is underlined, message, hint.
fn refused(text: &str) -> (String, String, String) {
    let error = Selector::parse(text)
        .and_then(|s| s.targets(&inventory()))
        .unwrap_err();
    (
        text[error.at].to_owned(),
        error.message,
        error.hint.unwrap_or_default(),
    )
}

#[test]
fn targets_come_in_inventory_order_whatever_the_order_of_words() {
    assert_eq!(names("all"), "pi5-02 pi5-01 nuc pi4-9");
    assert_eq!(names("pi5-01 | pi5-02"), "pi5-02 pi5-01");
    assert_eq!(names("controller|cluster|nuc"), "nuc cluster controller");
    assert_eq!(names("pi5-*"), "pi5-02 pi5-01");
    assert_eq!(names("pi?-*"), "pi5-02 pi5-01 pi4-9");
    assert_eq!(names("group:storage"), "pi5-02 nuc");
    assert_eq!(names("arch:arm64"), "pi5-02 pi5-01");
    assert_eq!(names("first(role:server)"), "pi5-02");
    assert_eq!(names("rest(role:server)"), "pi5-01");
    assert_eq!(names("rest(nuc)"), "");
}

#[test]
fn not_binds_tighter_than_and_which_binds_tighter_than_or() {
    assert_eq!(names("nuc | role:server & role:edge"), "pi5-01 nuc");
    assert_eq!(names("(nuc | role:server) & role:edge"), "pi5-01");
    assert_eq!(names("!role:server & arch:amd64"), "nuc");
    assert_eq!(
        names("!(role:server & arch:amd64)"),
        "pi5-02 pi5-01 nuc pi4-9"
    );
    assert_eq!(names(" ! ! nuc "), "nuc");
}

#[test]
fn an_inverse_never_means_the_cluster_or_the_controller() {
    assert_eq!(names("!nuc"), "pi5-02 pi5-01 pi4-9");
    assert_eq!(names("!cluster"), "pi5-02 pi5-01 nuc pi4-9");
    assert_eq!(
        names("(all | cluster) & !cluster"),
        "pi5-02 pi5-01 nuc pi4-9"
    );
}

#[test]
fn a_mistake_underlines_its_own_bytes_and_says_what_to_write() {
    let tell = |text| {
        let (at, message, hint) = refused(text);
        format!("{text} => [{at}] {message}; {hint}")
    };
    let all = [
        "pi5-03 | all",
        "storage",
        "role:x | servr",
        "agent",
        "group:storag",
        "role: server",
        "rolle:server",
        "group:sto*",
        "frist(all)",
        "zap(all)",
        "(all",
        "all)",
        "all nuc",
        "all, nuc",
        "all && nuc",
        "all |",
        "| all",
        "",
        "  ",
        "all & (nuc,all)",
        "ünode",
        "all & $",
        "!",
    ]
    .map(tell);
    insta::assert_snapshot!(all.join("\n"), @r##"
    pi5-03 | all => [pi5-03] the inventory has no node `pi5-03`; did you mean `pi5-02`?
    storage => [storage] the inventory has no node `storage`; it is a group: write `group:storage`
    role:x | servr => [servr] the inventory has no node `servr`; it has `pi5-02`, `pi5-01`, `nuc`, `pi4-9`, `all`, `cluster`, `controller`
    agent => [agent] the inventory has no node `agent`; it is a role: write `role:agent`
    group:storag => [group:storag] the inventory has no group `storag`; did you mean `group:storage`?
    role: server => [role:] `role:` has no name; write `role:NAME`, without a blank after the colon
    rolle:server => [rolle:] unknown prefix `rolle:`; did you mean `role:server`?
    group:sto* => [sto*] `sto*` is no name of a group; globs are for nodes' names only
    frist(all) => [frist] unknown function `frist`; did you mean `first(...)`?
    zap(all) => [zap] unknown function `zap`; there are `first(...)` and `rest(...)`
    (all => [(] this `(` is not closed; add a `)`
    all) => [)] this `)` closes nothing; remove it, or add its `(`
    all nuc => [n] expected `&` or `|` here; join two selectors with `|` (either) or `&` (both)
    all, nuc => [,] a comma joins nothing; write `|` for "either"
    all && nuc => [&&] `&&` is no operator; write one `&`
    all | => [|] a selector is missing after this; write a node's name, `all`, `role:NAME`, `group:NAME`, `arch:NAME`, `cluster` or `controller`
    | all => [|] `|` cannot be here; write a node's name, `all`, `role:NAME`, `group:NAME`, `arch:NAME`, `cluster` or `controller`
     => [] the selector is empty; write `all`, a node's name, or `role:server`
       => [  ] the selector is empty; write `all`, a node's name, or `role:server`
    all & (nuc,all) => [,] a comma joins nothing; write `|` for "either"
    ünode => [ünode] the inventory has no node `ünode`; it has `pi5-02`, `pi5-01`, `nuc`, `pi4-9`, `all`, `cluster`, `controller`
    all & $ => [$] `$` cannot be here; write a node's name, `all`, `role:NAME`, `group:NAME`, `arch:NAME`, `cluster` or `controller`
    ! => [!] a selector is missing after this; write a node's name, `all`, `role:NAME`, `group:NAME`, `arch:NAME`, `cluster` or `controller`
    "##);
}

#[test]
fn what_matches_nothing_is_told_but_no_error() {
    let idle = |text| {
        let selection = Selector::parse(text).unwrap().select(&inventory()).unwrap();
        selection
            .idle
            .iter()
            .map(|i| text[i.at.clone()].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        idle("role:agnt | x* | arch:riscv64 | all"),
        ["role:agnt", "x*", "arch:riscv64"]
    );
    assert!(idle("role:agent & nuc").is_empty());
    let selection = Selector::parse("role:agnt")
        .unwrap()
        .select(&inventory())
        .unwrap();
    assert_eq!(selection.targets, []);
    assert_eq!(
        selection.idle[0].hint.as_deref(),
        Some("did you mean `role:agent`?")
    );
}

#[test]
fn a_megabyte_of_parentheses_is_refused_without_overflow() {
    for text in [
        "(".repeat(1 << 20),
        "!".repeat(1 << 20),
        "(".repeat(60_000),
        "!".repeat(60_000),
        "first(".repeat(9000),
    ] {
        assert!(Selector::parse(&text).is_err());
    }
    let many = vec!["nuc"; 10_000].join("|");
    assert_eq!(names(&many), "nuc");
}

#[test]
fn globs_match_whole_names_and_take_no_exponential_time() {
    for (pattern, name, fits) in [
        ("*", "", true),
        ("a*", "a", true),
        ("a*c", "abbc", true),
        ("a*c", "abcd", false),
        ("?", "é", true),
        ("*b*", "abc", true),
        ("a?c", "ac", false),
        ("**a", "ba", true),
    ] {
        assert_eq!(glob(pattern, name), fits, "{pattern} {name}");
    }
    assert!(!glob(&"*a".repeat(200), &"a".repeat(199)));
}

/// An expression of its own, printed by itself and judged one target at a time: nothing in common with the parser.
#[derive(Clone, Debug)]
enum Oracle {
    Word(&'static str),
    Not(Box<Oracle>),
    And(Box<Oracle>, Box<Oracle>),
    Or(Box<Oracle>, Box<Oracle>),
    First(Box<Oracle>),
    Rest(Box<Oracle>),
}

impl Oracle {
    fn print(&self) -> String {
        match self {
            Self::Word(word) => (*word).to_owned(),
            Self::Not(a) => match **a {
                Self::And(..) | Self::Or(..) => format!("!({})", a.print()),
                _ => format!("! {}", a.print()),
            },
            Self::And(a, b) => {
                let side = |x: &Self| match x {
                    Self::Or(..) => format!("({})", x.print()),
                    _ => x.print(),
                };
                format!("{}&{}", side(a), side(b))
            }
            Self::Or(a, b) => format!("{} | {}", a.print(), b.print()),
            Self::First(a) => format!("first({})", a.print()),
            Self::Rest(a) => format!("rest ({})", a.print()),
        }
    }

    fn holds(&self, target: usize) -> bool {
        let earlier = |a: &Self| (0..target).any(|t| a.holds(t));
        match self {
            Self::Word(word) => match *word {
                "all" => target < 4,
                "pi5-02" => target == 0,
                "role:server" | "pi5-*" | "arch:arm64" => target < 2,
                "role:agent" => target == 2 || target == 3,
                "group:storage" => target == 0 || target == 2,
                "cluster" => target == 4,
                "controller" => target == 5,
                other => panic!("{other}"),
            },
            Self::Not(a) => target < 4 && !a.holds(target),
            Self::And(a, b) => a.holds(target) && b.holds(target),
            Self::Or(a, b) => a.holds(target) || b.holds(target),
            Self::First(a) => a.holds(target) && !earlier(a),
            Self::Rest(a) => a.holds(target) && earlier(a),
        }
    }
}

fn oracle() -> impl Strategy<Value = Oracle> {
    let word = proptest::sample::select(vec![
        "all",
        "pi5-02",
        "role:server",
        "pi5-*",
        "arch:arm64",
        "role:agent",
        "group:storage",
        "cluster",
        "controller",
    ])
    .prop_map(Oracle::Word);
    word.prop_recursive(4, 24, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            inner.clone().prop_map(|a| Oracle::Not(Box::new(a))),
            pair.clone()
                .prop_map(|(a, b)| Oracle::And(Box::new(a), Box::new(b))),
            pair.prop_map(|(a, b)| Oracle::Or(Box::new(a), Box::new(b))),
            inner.clone().prop_map(|a| Oracle::First(Box::new(a))),
            inner.prop_map(|a| Oracle::Rest(Box::new(a))),
        ]
    })
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(11),
        ..ProptestConfig::with_cases(cases)
    }
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn a_selector_selects_what_its_expression_says(oracle in oracle()) {
        let text = oracle.print();
        let selector = Selector::parse(&text).unwrap();
        prop_assert_eq!(selector.to_string(), text.clone());
        let targets = selector.targets(&inventory()).unwrap();
        let wanted: Vec<String> = ["pi5-02", "pi5-01", "nuc", "pi4-9", "cluster", "controller"]
            .iter()
            .enumerate()
            .filter(|(n, _)| oracle.holds(*n))
            .map(|(_, name)| (*name).to_owned())
            .collect();
        let named: Vec<String> = targets.iter().map(Target::to_string).collect();
        prop_assert_eq!(named, wanted, "{}", text);
    }

    #[test]
    fn any_text_parses_or_is_refused_at_bytes_of_its_own(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("(".to_owned()), Just(")".to_owned()), Just("!".to_owned()), Just("&".to_owned()), Just("|".to_owned()),
                Just("first".to_owned()), Just("role:".to_owned()), Just("nuc".to_owned()), Just(",".to_owned()), Just("*".to_owned()),
                "\\PC{0,3}",
            ],
            0..10,
        )
    ) {
        let text = parts.concat();
        if let Err(error) = Selector::parse(&text).and_then(|s| s.select(&inventory())) {
            prop_assert!(text.get(error.at.clone()).is_some(), "{:?} in {:?}", error, text);
            prop_assert!(error.hint.is_some() || !error.message.is_empty());
        }
    }
}
