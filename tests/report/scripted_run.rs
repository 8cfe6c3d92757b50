//! A run as its events, scripted: what the tests of reports replay.

use hmco_boot::model::event::{
    CancelLevel, DiffLine, Event, PairInfo, Record, RunArguments, RunStarted,
};
use hmco_boot::model::id::{PairId, StepAddr, Target};
use hmco_boot::model::outcome::{ExitCode, Failure, Outcome};

/// 2024-05-01 12:03:04 UTC.
pub const START_MS: i64 = 1_714_564_984_000;

/// Builds the records of a run one after the other.
#[derive(Debug)]
pub struct Script {
    /// What happened so far.
    pub records: Vec<Record>,
    /// The time of the next record.
    pub now_ms: i64,
    pairs: Vec<PairInfo>,
}

/// A target by its name.
pub fn target(name: &str) -> Target {
    match name {
        "cluster" => Target::Cluster,
        "controller" => Target::Controller,
        node => Target::Node(node.into()),
    }
}

impl Script {
    /// A run of steps, each with its targets and what it waits for.
    pub fn start(playbook: &str, steps: &[(&str, &[&str], &[&str])]) -> Self {
        let mut pairs = Vec::new();
        for (step, targets, waits_for) in steps {
            for name in *targets {
                pairs.push(PairInfo {
                    id: PairId(u32::try_from(pairs.len()).unwrap()),
                    step: StepAddr::new(step),
                    target: target(name),
                    kind: "file".into(),
                    waits_for: waits_for.iter().map(StepAddr::new).collect(),
                    disruptive: false,
                });
            }
        }
        let mut script = Self {
            records: Vec::new(),
            now_ms: START_MS,
            pairs: pairs.clone(),
        };
        script.event(Event::RunStarted(Box::new(RunStarted {
            version: 1,
            run: "20240501-120304-ab12".into(),
            resumes: None,
            tool: "0.1.0".to_owned(),
            cluster: "homelab".to_owned(),
            playbook: playbook.to_owned(),
            arguments: RunArguments::default(),
            fingerprint: "f00d".to_owned(),
            pairs,
        })));
        script
    }

    /// Adds an event at the present time.
    pub fn event(&mut self, event: Event) -> &mut Self {
        self.records.push(Record {
            seq: self.records.len() as u64,
            at_ms: self.now_ms,
            event,
        });
        self
    }

    /// Lets time pass.
    pub fn wait(&mut self, ms: i64) -> &mut Self {
        self.now_ms += ms;
        self
    }

    /// The pair named `STEP@TARGET`.
    pub fn pair(&self, label: &str) -> PairId {
        let (step, at) = label.split_once('@').unwrap();
        let at = target(at);
        let found = self
            .pairs
            .iter()
            .find(|p| p.step.as_str() == step && p.target == at);
        found.unwrap_or_else(|| panic!("no pair {label}")).id
    }

    /// All targets are read: asked now, answered after a while.
    pub fn read(&mut self, names: &[&str], took_ms: i64) -> &mut Self {
        self.ask(names);
        self.wait(took_ms);
        for name in names {
            self.event(Event::FactsRead {
                target: target(name),
                failed: 0,
                took_ms: u64::try_from(took_ms).unwrap(),
            });
        }
        self
    }

    /// Targets are asked.
    pub fn ask(&mut self, names: &[&str]) -> &mut Self {
        for name in names {
            self.event(Event::FactsRequested {
                target: target(name),
                round: 1,
                facts: 23,
            });
        }
        self
    }

    /// A pair is compared: what differs (`-old`, `+new`, ` both`); nothing = as wished.
    pub fn decide(&mut self, label: &str, diff: &[&str]) -> &mut Self {
        let pair = self.pair(label);
        let line = |l: &&str| match l.split_at(1) {
            ("-", text) => DiffLine::old(text),
            ("+", text) => DiffLine::new(text),
            (_, text) => DiffLine::both(text),
        };
        let diff = (!diff.is_empty()).then(|| diff.iter().map(line).collect());
        self.event(Event::StepDecided { pair, diff })
    }

    /// A pair's apply begins.
    pub fn begin(&mut self, label: &str, attempt: u32) -> &mut Self {
        let pair = self.pair(label);
        self.event(Event::StepStarted {
            pair,
            attempt,
            job: "j-1".into(),
        })
    }

    /// A pair says something.
    pub fn output(&mut self, label: &str, text: &str) -> &mut Self {
        let pair = self.pair(label);
        self.event(Event::StepOutput {
            pair,
            text: text.to_owned(),
        })
    }

    /// A pair will be tried again.
    pub fn retry(&mut self, label: &str, delay_ms: u64, why: &str) -> &mut Self {
        let pair = self.pair(label);
        self.event(Event::StepRetry {
            pair,
            attempt: 1,
            delay_ms,
            failure: Failure::new(why),
        })
    }

    /// A pair's gate does not hold.
    pub fn gate(&mut self, label: &str, why: &str) -> &mut Self {
        let pair = self.pair(label);
        self.event(Event::GateWaiting {
            pair,
            reason: why.to_owned(),
        })
    }

    /// A pair ends.
    pub fn end(&mut self, label: &str, outcome: Outcome, took_ms: u64) -> &mut Self {
        let pair = self.pair(label);
        self.event(Event::StepFinished {
            pair,
            outcome,
            took_ms,
        })
    }

    /// A pair was as wished.
    pub fn same(&mut self, label: &str) -> &mut Self {
        self.decide(label, &[]).end(label, Outcome::Unchanged, 0)
    }

    /// A pair is changed in one go.
    pub fn change(&mut self, label: &str, diff: &[&str], took_ms: i64) -> &mut Self {
        self.decide(label, diff).begin(label, 1).wait(took_ms);
        self.end(label, Outcome::Changed, u64::try_from(took_ms).unwrap())
    }

    /// The run ends.
    pub fn finish(&mut self, exit: ExitCode) -> &mut Self {
        let took_ms = u64::try_from(self.now_ms - START_MS).unwrap();
        let mut counts = std::collections::BTreeMap::new();
        for record in &self.records {
            if let Event::StepFinished { outcome, .. } = &record.event {
                *counts.entry(outcome.word().to_owned()).or_insert(0) += 1;
            }
        }
        self.event(Event::RunFinished {
            counts,
            exit,
            took_ms,
        })
    }
}

/// Blocked by a failure.
pub fn blocked(by: &str) -> Outcome {
    let (step, at) = by.split_once('@').unwrap();
    Outcome::Blocked {
        step: StepAddr::new(step),
        target: target(at),
    }
}

/// The service that would not start.
pub fn service_failure() -> Failure {
    Failure::new("k3s-agent.service did not become active within 2m")
        .evidence("exit status 1")
        .evidence("level=fatal msg=\"token CA hash does not match the Cluster CA certificate hash\" \x1b[31mred\x1b[0m")
        .hint("compare the token of this node with the servers', then resume")
}

const NODES: [&str; 4] = ["pi5-01", "pi5-02", "pi5-03", "pi5-04"];
const ALL: [&str; 5] = ["pi5-01", "pi5-02", "pi5-03", "pi5-04", "cluster"];

/// The steps of a small bootstrap.
pub fn bootstrap() -> Script {
    Script::start(
        "bootstrap-all",
        &[
            ("preflight", &NODES, &[]),
            ("os/tools", &NODES, &["preflight"]),
            ("os/motd", &NODES, &["preflight"]),
            ("k3s/server", &["pi5-01"], &["os"]),
            (
                "k3s/agent",
                &["pi5-02", "pi5-03", "pi5-04"],
                &["k3s/server", "os"],
            ),
            ("platform/metallb", &["cluster"], &["k3s"]),
            ("platform/cert-manager", &["cluster"], &["k3s"]),
        ],
    )
}

/// The bootstrap, half way: one node changed, one reading, one installs, one tries again; the server's gate is open.
pub fn half_way() -> Script {
    let mut s = bootstrap();
    s.read(&NODES[..3], 300).ask(&NODES[3..]);
    for node in &NODES[..3] {
        s.same(&format!("preflight@{node}"));
    }
    s.event(Event::Locked {
        targets: NODES.map(target).to_vec(),
    });
    let motd = ["-welcome", "+welcome to pi5-01 of homelab", " (mode 0644)"];
    s.same("os/tools@pi5-01")
        .change("os/motd@pi5-01", &motd, 400);
    s.decide("os/tools@pi5-02", &["+nfs-common", "+open-iscsi"])
        .begin("os/tools@pi5-02", 1);
    s.wait(1100).output(
        "os/tools@pi5-02",
        "Get:1 trixie/main nfs-common\nUnpacking nfs-common (1:2.8.3) ...\n",
    );
    s.decide("k3s/server@pi5-01", &["+k3s v1.33.1+k3s1"])
        .begin("k3s/server@pi5-01", 1);
    s.wait(1500).gate(
        "k3s/server@pi5-01",
        "/readyz answers 500: etcd is not ready",
    );
    s.decide("os/tools@pi5-03", &["+nfs-common"])
        .begin("os/tools@pi5-03", 1);
    s.wait(900).retry(
        "os/tools@pi5-03",
        30_000,
        "the dpkg lock is held by unattended-upgrade (pid 812)",
    );
    s.wait(2500);
    s
}

/// The bootstrap to its end: one node unreachable, one service failed, what depends on them blocked.
pub fn failed() -> Script {
    let mut s = half_way();
    let gone = Failure::new("pi5-04 does not answer on 192.168.1.14:22: connection timed out")
        .hint("is it switched on? `hmco-boot hosts preflight` shows the way there");
    s.event(Event::TargetUnreachable {
        target: target("pi5-04"),
        failure: gone.clone(),
    });
    for step in ["preflight", "os/tools", "os/motd", "k3s/agent"] {
        s.end(
            &format!("{step}@pi5-04"),
            Outcome::Unreachable(gone.clone()),
            0,
        );
    }
    s.wait(27_000).begin("os/tools@pi5-03", 2).wait(4000);
    s.end("os/tools@pi5-03", Outcome::Changed, 35_000);
    s.end("os/tools@pi5-02", Outcome::Changed, 36_000);
    s.same("os/motd@pi5-02").same("os/motd@pi5-03");
    s.end("k3s/server@pi5-01", Outcome::Changed, 41_000);
    s.decide("k3s/agent@pi5-02", &["+k3s-agent"])
        .begin("k3s/agent@pi5-02", 1);
    s.output(
        "k3s/agent@pi5-02",
        "starting k3s-agent\nwaiting for the node to register\n",
    );
    s.change("k3s/agent@pi5-03", &["+k3s-agent"], 12_000);
    s.wait(125_000).end(
        "k3s/agent@pi5-02",
        Outcome::Failed(service_failure()),
        137_000,
    );
    for step in ["platform/metallb", "platform/cert-manager"] {
        s.end(&format!("{step}@cluster"), blocked("k3s/agent@pi5-02"), 0);
    }
    s.finish(ExitCode::Failed);
    s
}

/// A run that finds everything as wished.
pub fn converged() -> Script {
    let mut s = bootstrap();
    s.read(&ALL, 400);
    let labels = s
        .pairs
        .iter()
        .map(|p| format!("{}@{}", p.step, p.target))
        .collect::<Vec<_>>();
    for label in labels {
        s.same(&label);
    }
    s.finish(ExitCode::Done);
    s
}

/// Stopped by a second Ctrl-C: an install was running.
pub fn interrupted() -> Script {
    let mut s = half_way();
    s.event(Event::CancelRequested {
        level: CancelLevel::Drain,
    })
    .wait(2000);
    s.event(Event::CancelRequested {
        level: CancelLevel::Abort,
    });
    let labels = s
        .pairs
        .iter()
        .map(|p| (p.id, format!("{}@{}", p.step, p.target)))
        .collect::<Vec<_>>();
    for (id, label) in labels {
        let over = |r: &Record| matches!(&r.event, Event::StepFinished { pair, .. } if *pair == id);
        let begun = |r: &Record| matches!(&r.event, Event::StepStarted { pair, .. } if *pair == id);
        let why = match s.records.iter().any(begun) {
            true => "it was running when the run was stopped; `resume` looks for its job",
            false => "the run was stopped before its turn",
        };
        if !s.records.iter().any(over) {
            s.end(&label, Outcome::Interrupted(why.to_owned()), 0);
        }
    }
    s.finish(ExitCode::Interrupted);
    s
}

/// Many nodes and steps, each node somewhere else in its steps.
pub fn crowd(nodes: usize, steps: usize) -> Script {
    let names = (1..=nodes)
        .map(|n| format!("node-{n:02}"))
        .collect::<Vec<_>>();
    let names = names.iter().map(String::as_str).collect::<Vec<_>>();
    let steps = (0..steps).map(|s| {
        format!(
            "{}/s{s:02}",
            ["os", "k3s", "platform", "apps"][s * 4 / steps]
        )
    });
    let steps = steps.collect::<Vec<_>>();
    let wait = |s: usize| {
        if s == 0 {
            vec![]
        } else {
            vec![steps[s - 1].as_str()]
        }
    };
    let waits = (0..steps.len()).map(wait).collect::<Vec<_>>();
    let rows = steps
        .iter()
        .zip(&waits)
        .map(|(s, w)| (s.as_str(), names.as_slice(), w.as_slice()));
    let mut script = Script::start("bootstrap-all", &rows.collect::<Vec<_>>());
    script.read(&names, 800);
    for (n, name) in names.iter().enumerate() {
        let done = (n * 7) % (steps.len() + 1);
        for (s, step) in steps.iter().take(done).enumerate() {
            let label = format!("{step}@{name}");
            match (n + s) % 5 {
                0 => script.change(&label, &["+x"], 20),
                _ => script.same(&label),
            };
        }
        if let Some(step) = steps.get(done) {
            let label = format!("{step}@{name}");
            match n % 5 {
                0 => script
                    .decide(&label, &["+x"])
                    .begin(&label, 1)
                    .output(&label, "working on it\n"),
                1 if n % 2 == 1 => script.decide(&label, &["+x"]).begin(&label, 1).end(
                    &label,
                    Outcome::Failed(service_failure()),
                    30,
                ),
                2 => script.ask(&[name]),
                _ => script.decide(&label, &["+x"]),
            };
        }
    }
    script.wait(5000);
    script
}
