use super::*;
use crate::model::action::JobStatus;
use crate::steps::shared::testing::told;

const CASES: &str = include_str!("../../../../../tests/k3s-standin/recordings/cases.jsonl");

/// Everything that a real K3s said in the recorded cases of this title.
fn recorded(file: &str, title: &str) -> String {
    let mut said = String::new();
    for line in CASES.lines() {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        if case["file"] != file || case["title"] != title {
            continue;
        }
        for part in ["stdout", "stderr"] {
            said.push_str(case[part].as_str().unwrap_or_default());
            said.push('\n');
        }
        for line in case["journal"].as_array().into_iter().flatten() {
            said.push_str(line.as_str().unwrap());
            said.push('\n');
        }
    }
    assert!(!said.is_empty(), "{file} has no case {title:?}");
    said
}

fn what(text: &str) -> &'static str {
    find(text).map_or("nothing", |(cause, _)| cause.what)
}

/// File, case, and words of the cause.
const RECORDED: &[(&str, &str, &str)] = &[
    (
        "06-tokens-joins.md",
        "agent: server port closed",
        "it does not reach port 6443",
    ),
    (
        "06-tokens-joins.md",
        "agent: wrong short token",
        "the token is wrong",
    ),
    (
        "06-tokens-joins.md",
        "agent: right CA hash, wrong password",
        "the token is wrong",
    ),
    (
        "06-tokens-joins.md",
        "second server with a wrong token",
        "the token is wrong",
    ),
    (
        "06-tokens-joins.md",
        "agent: wrong CA hash in a K10 token",
        "a cluster with another CA",
    ),
    (
        "06-tokens-joins.md",
        "agent: same node name as the server",
        "a node of this name has joined before",
    ),
    (
        "06-tokens-joins.md",
        "agent: no token",
        "no token or no server",
    ),
    (
        "06-tokens-joins.md",
        "agent: no server in config",
        "no token or no server",
    ),
    ("09-config-errors.md", "invalid YAML", "is no YAML"),
    (
        "09-config-errors.md",
        "join: other flannel-backend",
        "differs from that of the others",
    ),
    (
        "09-config-errors.md",
        "join: secrets-encryption missing (cluster has true)",
        "differs from that of the others",
    ),
    (
        "09-config-errors.md",
        "unknown key",
        "cannot use this file system",
    ),
    (
        "02-secrets-encryption-off-single.md",
        "systemctl restart k3s with the flag taken out of config.yaml again",
        "started without `secrets-encryption`",
    ),
    (
        "02-secrets-encryption-kill.md",
        "restart afterwards",
        "a rotation was cut off",
    ),
    (
        "02-secrets-encryption-kill.md",
        "the cure of the message again (this time it drops the only copy of the new key)",
        "it cannot decrypt Secrets",
    ),
    (
        "03-ha-enable-on-existing.md",
        "reading through n2",
        "it cannot decrypt Secrets",
    ),
    (
        "04-etcd-snapshot.md",
        "disk full while saving",
        "the disk is full",
    ),
    (
        "05-restore-older-key.md",
        "restore the older snapshot with the NEW token in config",
        "sealed with",
    ),
    (
        "05-restore-single.md",
        "cluster-reset while k3s runs",
        "a port that it needs is taken",
    ),
    (
        "05-restore-ha.md",
        "n2 started without deleting its db: the etcd warnings of that time (json log lines, counted)",
        "another etcd cluster",
    ),
    (
        "05-restore-ha.md",
        "the agent meanwhile",
        "another server does not answer",
    ),
    (
        "09-config-errors.md",
        "unknown apiserver flag",
        "refuses its arguments",
    ),
    (
        "09-config-errors.md",
        "missing admission-control-config-file",
        "refuses its arguments",
    ),
    (
        "08-quorum-loss.md",
        "systemctl restart --no-block on n1",
        "etcd has no quorum",
    ),
    (
        "08-quorum-loss.md",
        "K3s on n1 after a while",
        "etcd has no quorum",
    ),
];

#[test]
fn recorded_journals_give_their_causes() {
    for (file, title, words) in RECORDED {
        let found = what(&recorded(file, title));
        assert!(found.contains(words), "{file}, {title}: {found}");
    }
}

/// As K3s v1.33.3+k3s1 and v1.34.3+k3s1 said it when they were recorded.
#[test]
fn what_newer_versions_were_recorded_to_say_gives_its_cause() {
    for (line, words) in [
        (
            r#"time="2026-11-21T10:35:57Z" level=fatal msg="Error: preparing server: failed to generate server dependencies: unsupported secrets-encryption-key-type aesgcm""#,
            "kind of encryption",
        ),
        (
            r#"time="2026-11-21T10:52:30Z" level=fatal msg="Error: preparing server: failed to generate server dependencies: unsupported secrets-encryption-provider aesgcm""#,
            "kind of encryption",
        ),
        (
            r#"{"level":"fatal","ts":"2026-11-21T10:47:16.900529Z","caller":"membership/downgrade.go:69","msg":"invalid downgrade; server version is lower than determined cluster version","current-server-version":"3.5.21","determined-cluster-version":"3.6"}"#,
            "a newer version",
        ),
    ] {
        assert!(what(line).contains(words), "{line}: {}", what(line));
    }
}

/// What nobody has recorded, by the words of its sources.
#[test]
fn lines_that_are_known_from_sources_only_give_their_causes() {
    for (line, words) in [
        (
            "level=fatal msg=\"Error: failed to find memory cgroup (v2)\"",
            "control group",
        ),
        (
            "level=error msg=\"x509: certificate has expired or is not yet valid: current time 1970-01-01T00:00:09Z is before 2026\"",
            "not valid at this machine's time",
        ),
        (
            "level=fatal msg=\"etcd cluster join failed: duplicate node name found, please use a unique name for this node\"",
            "etcd has a member of this name",
        ),
    ] {
        assert!(what(line).contains(words), "{line}: {}", what(line));
    }
}

/// A journal of a start that went well explains nothing that lasts.
#[test]
fn a_good_start_shows_no_cause() {
    let said = recorded("06-tokens-joins.md", "agent: right token, first join");
    assert_eq!(what(&said), "nothing");
}

#[test]
fn what_is_told_is_cause_line_state_and_cure() {
    let said = recorded("09-config-errors.md", "join: other flannel-backend");
    let end = JobEnd {
        status: JobStatus::TimedOut,
        stdout: String::new(),
        stderr: said,
        dropped: 0,
    };
    let failure = Failure::new("could not bring k3s.service up")
        .evidence("k3s.service: activating (auto-restart), restarts by systemd: 2")
        .evidence("k3s.service: it does not stay up");
    insta::assert_snapshot!(told(&explain(failure, &end)), @r"
    could not bring k3s.service up: this server's configuration differs from that of the others in a key that must be equal on all
      critical configuration mismatched: flannel-backend
      k3s.service: activating (auto-restart), restarts by systemd: 2
      k3s.service: it does not stay up
    hint: give all servers the same value of that key, in `config` of the k3s_server step
    ");
}

#[test]
fn every_sign_is_part_of_one_line_and_no_row_hides_another() {
    for (at, cause) in CAUSES.iter().enumerate() {
        for sign in cause.signs {
            assert!(!sign.contains('\n') && !sign.is_empty());
            assert_eq!(what(sign), cause.what, "row {at}: {sign}");
        }
    }
}
