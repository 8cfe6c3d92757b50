//! Records for the tests of journals.

use hmco_boot::model::event::{Event, PairInfo, Record, RunArguments, RunStarted};
use hmco_boot::model::id::{PairId, RunId, Target};
use hmco_boot::model::outcome::{ExitCode, Failure};

/// The first record of a run of two pairs.
pub fn started(run: &str, resumes: Option<&str>) -> Record {
    let pair = |id| PairInfo {
        id: PairId(id),
        step: "motd".into(),
        target: Target::Node(format!("pi-{id}").as_str().into()),
        kind: "file".into(),
        waits_for: vec!["tools".into()],
        disruptive: false,
    };
    Record {
        seq: 0,
        at_ms: 1_700_000_000_000,
        event: Event::RunStarted(Box::new(RunStarted {
            version: 1,
            run: run.into(),
            resumes: resumes.map(RunId::new),
            tool: "0.1.0".into(),
            cluster: "homelab".into(),
            playbook: "os".into(),
            arguments: RunArguments {
                inventory: None,
                limit: Some("pi-*".into()),
                vars: vec![("banner".into(), "hi".into())],
                saved_plan: None,
                exec: None,
                command: None,
            },
            fingerprint: "f00d".into(),
            pairs: vec![pair(0), pair(1)],
        })),
    }
}

/// A record that is legal anywhere after the first and of about this size.
pub fn note(seq: u64, size: usize) -> Record {
    Record {
        seq,
        at_ms: 1_700_000_000_000 + i64::try_from(seq).unwrap(),
        event: Event::Warning {
            failure: Failure::new(format!("{seq} {}", "x".repeat(size))),
        },
    }
}

/// The last record of a run whose pairs were not begun.
pub fn finished(seq: u64) -> Record {
    Record {
        seq,
        at_ms: 1_700_000_000_000,
        event: Event::RunFinished {
            counts: Default::default(),
            exit: ExitCode::Interrupted,
            took_ms: 5,
        },
    }
}
