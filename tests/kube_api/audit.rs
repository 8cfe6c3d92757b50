//! What the API server says it was asked.

use std::collections::BTreeMap;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::api::{AUDIT_LOG, Api};

static MARKS: AtomicUsize = AtomicUsize::new(0);

/// What hmco-boot asked in a while.
pub struct Asked {
    /// Requests that change something: verb and path.
    pub writes: Vec<String>,
    /// Attempts that change nothing.
    pub dry_runs: Vec<String>,
    /// Lists, by resource and namespace, with how many of each.
    pub lists: BTreeMap<String, usize>,
    /// Single objects.
    pub gets: Vec<String>,
}

impl Asked {
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
        for (list, count) in &self.lists {
            assert_eq!(*count, 1, "{what}: {list} is listed once");
        }
    }
}

impl Api {
    fn audit_log(&self) -> PathBuf {
        // The node's tree, as this machine sees it.
        let node = self.node(1);
        let lab = node.trim_end_matches("-1").to_owned();
        PathBuf::from(format!(
            "/var/lib/hmco-boot-lab/{lab}/nodes/{node}/root{AUDIT_LOG}"
        ))
    }

    /// The place in the log behind all that was asked so far: kubectl asks for an object that says so.
    pub fn mark(&self) -> u64 {
        let marker = format!("audit-mark-{}", MARKS.fetch_add(1, Ordering::Relaxed));
        self.kubectl(&format!("get configmap {marker} --ignore-not-found"));
        let limit = Instant::now() + Duration::from_secs(30);
        loop {
            let text = std::fs::read(self.audit_log()).unwrap();
            let place = text
                .windows(marker.len())
                .rposition(|window| window == marker.as_bytes());
            let end = place.and_then(|place| {
                let rest = &text[place..];
                rest.iter()
                    .position(|byte| *byte == b'\n')
                    .map(|end| place + end + 1)
            });
            if let Some(end) = end {
                return u64::try_from(end).unwrap();
            }
            assert!(
                Instant::now() < limit,
                "the API server does not log what it is asked"
            );
            std::thread::yield_now();
        }
    }

    /// What hmco-boot asked since a mark.
    pub fn asked_since(&self, mark: u64) -> Asked {
        let end = self.mark();
        let mut log = std::fs::File::open(self.audit_log()).unwrap();
        log.seek(SeekFrom::Start(mark)).unwrap();
        let mut text = String::new();
        log.take(end - mark).read_to_string(&mut text).unwrap();
        let mut asked = Asked {
            writes: Vec::new(),
            dry_runs: Vec::new(),
            lists: BTreeMap::new(),
            gets: Vec::new(),
        };
        for line in text.lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let of = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
            if !of("/userAgent")
                .unwrap_or_default()
                .starts_with("hmco-boot/")
            {
                continue;
            }
            // What the API serves, and whether it is ready, is no object.
            let Some(resource) = of("/objectRef/resource") else {
                continue;
            };
            let (verb, uri) = (of("/verb").unwrap(), of("/requestURI").unwrap());
            let words = format!("{verb} {uri}");
            let group = of("/objectRef/apiGroup").unwrap_or_default();
            let namespace = of("/objectRef/namespace").unwrap_or_default();
            match verb {
                "list" => {
                    *asked
                        .lists
                        .entry(format!("{resource}.{group} in {namespace:?}"))
                        .or_default() += 1;
                }
                "get" | "watch" => asked.gets.push(words),
                _ if uri.contains("dryRun=All") => asked.dry_runs.push(words),
                _ => asked.writes.push(words),
            }
        }
        asked
    }

    /// Runs a playbook that has nothing to do, and says what that asked.
    pub fn quiet(&self, playbook: &str) -> Asked {
        let mark = self.mark();
        let said = self.expect(0, &["run", playbook]);
        assert!(said.contains("unchanged"), "{said}");
        let asked = self.asked_since(mark);
        asked.must_be_of_a_converged_run(playbook);
        asked
    }
}
