//! What API servers say they were asked. For labs of tests/k3s/rig.rs.

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::rig::World;

/// Where a node's API server writes what it was asked.
const LOG: &str = "/var/log/kube-audit.jsonl";

/// What it writes down.
const POLICY: &str = "/etc/kube-audit.yaml";

/// Requests of the administrator are written down, all others (controllers, nodes) are not.
const POLICY_TEXT: &str = "apiVersion: audit.k8s.io/v1\\n\
                           kind: Policy\\n\
                           omitStages: [RequestReceived]\\n\
                           rules:\\n\
                           - {level: Metadata, users: [system:admin]}\\n\
                           - {level: None}\\n";

/// What the configuration of K3s says for it.
pub fn config() -> String {
    format!("\"kube-apiserver-arg\" = [\"audit-log-path={LOG}\", \"audit-policy-file={POLICY}\"]")
}

static MARKS: AtomicUsize = AtomicUsize::new(0);

/// What hmco-boot asked in a while.
#[derive(Default)]
pub struct Asked {
    /// Requests that change something: verb and path.
    pub writes: Vec<String>,
    /// Attempts that change nothing.
    pub dry_runs: Vec<String>,
    /// Lists, by resource and namespace (and name, where only one object was asked for), with how many of each.
    pub lists: BTreeMap<String, usize>,
    /// Watches that were opened, in the same words.
    pub watches: Vec<String>,
    /// How many of them are over.
    pub ended: usize,
    /// Single objects.
    pub gets: Vec<String>,
}

/// A place in the logs: behind so many bytes of each server's.
#[derive(Clone)]
pub struct Mark(Vec<u64>);

impl Asked {
    /// One line of a log.
    fn add(&mut self, line: &str) {
        let event: Value = serde_json::from_str(line).unwrap();
        let of = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
        let agent = of("/userAgent").unwrap_or_default();
        if !agent.starts_with("hmco-boot/") {
            return;
        }
        // What the API serves, and whether it is ready, is no object.
        let Some(resource) = of("/objectRef/resource") else {
            return;
        };
        let (verb, uri) = (of("/verb").unwrap(), of("/requestURI").unwrap());
        let words = format!("{verb} {uri}");
        let group = of("/objectRef/apiGroup").unwrap_or_default();
        let namespace = of("/objectRef/namespace").unwrap_or_default();
        let one = of("/objectRef/name").map(|name| format!(" {name}"));
        let objects = format!(
            "{resource}.{group}{} in {namespace:?}",
            one.unwrap_or_default()
        );
        match (verb, of("/stage").unwrap()) {
            ("list", _) => *self.lists.entry(objects).or_default() += 1,
            ("watch", "ResponseStarted") => self.watches.push(objects),
            ("watch", _) => self.ended += 1,
            ("get", _) => self.gets.push(words),
            _ if uri.contains("dryRun=All") => self.dry_runs.push(words),
            _ => self.writes.push(words),
        }
    }

    /// Whether this is all that a run may ask when everything is as wished.
    pub fn must_be_of_a_converged_run(&self, what: &str) {
        assert_eq!(
            self.writes,
            Vec::<String>::new(),
            "{what}: nothing was to change"
        );
        assert_eq!(
            self.gets,
            Vec::<String>::new(),
            "{what}: lists tell everything"
        );
        assert_eq!(
            self.watches,
            Vec::<String>::new(),
            "{what}: nothing is awaited"
        );
        for (list, count) in &self.lists {
            assert_eq!(*count, 1, "{what}: {list} is listed once");
        }
    }
}

/// Bytes of the log up to the end of the line with these words; `None` where there is none yet.
fn end_of_line_with(words: &str, log: &[u8]) -> Option<u64> {
    let place = log
        .windows(words.len())
        .rposition(|window| window == words.as_bytes())?;
    let rest = log.get(place..)?.iter().position(|byte| *byte == b'\n')?;
    u64::try_from(place + rest + 1).ok()
}

impl World {
    /// Puts the policy onto the servers. Before K3s is started with [`config`].
    pub fn put_audit_policy(&self) {
        for server in 1..=self.servers() {
            self.on(server, &format!("printf \"{POLICY_TEXT}\" >{POLICY}"));
        }
    }

    /// Lets every K3s that is to come write down what its API server is asked: said in the lab's inventory.
    pub fn audit(&self) {
        self.put_audit_policy();
        let file = self.inventory();
        let text = std::fs::read_to_string(&file).unwrap();
        let from = "k3s_config = { ";
        assert!(text.contains(from), "{text}");
        let to = format!("{from}{}, ", config());
        std::fs::write(&file, text.replace(from, &to)).unwrap();
    }

    fn audit_log(&self, server: usize) -> PathBuf {
        self.root(server).join(LOG.trim_start_matches('/'))
    }

    /// The place in the logs behind all that was asked so far: kubectl asks every server for an object that says so.
    pub fn mark(&self) -> Mark {
        let marker = format!("audit-mark-{}", MARKS.fetch_add(1, Ordering::Relaxed));
        let mark = |server| {
            self.kubectl(
                server,
                &format!("get configmap {marker} --ignore-not-found"),
            );
            let limit = Instant::now() + Duration::from_secs(30);
            loop {
                let log = std::fs::read(self.audit_log(server)).unwrap();
                if let Some(end) = end_of_line_with(&marker, &log) {
                    return end;
                }
                assert!(
                    Instant::now() < limit,
                    "the API server does not log what it is asked"
                );
                std::thread::yield_now();
            }
        };
        Mark((1..=self.servers()).map(mark).collect())
    }

    /// Before all that was asked.
    pub fn beginning(&self) -> Mark {
        Mark(vec![0; self.servers()])
    }

    /// What hmco-boot asked since a mark.
    pub fn asked_since(&self, mark: &Mark) -> Asked {
        let Mark(ends) = self.mark();
        let mut asked = Asked::default();
        for (server, (begin, end)) in (1..).zip(mark.0.iter().zip(ends)) {
            let mut log = std::fs::File::open(self.audit_log(server)).unwrap();
            log.seek(SeekFrom::Start(*begin)).unwrap();
            let mut text = String::new();
            log.take(end - begin).read_to_string(&mut text).unwrap();
            text.lines().for_each(|line| asked.add(line));
        }
        asked
    }

    /// Runs a playbook that has nothing to do, and says what that asked.
    pub fn quiet(&self, playbook: &str) -> Asked {
        let mark = self.mark();
        let said = self.expect(0, &["run", playbook]);
        assert!(said.contains("unchanged"), "{said}");
        let asked = self.asked_since(&mark);
        asked.must_be_of_a_converged_run(playbook);
        asked
    }
}
