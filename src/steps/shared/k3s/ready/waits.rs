//! `wait.sh` as it is sent, on a machine whose systemd and API say what a test wants them to.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;
use crate::steps::shared::k3s::scripts::tests::shells;

/// In place of systemd, the API and of time: a nap is a turn, and `turn` says what has changed by then.
const FAKES: &str = r#"
journalctl() { :; }
raw() {
  case $1 in
    /readyz) echo "$READYZ" ;;
    */leases/*) printf '{"renewTime":"%s"}\n' "$LEASE" ;;
    *) printf '{"type":"Ready","status":"%s","lastHeartbeatTime":"%s"},{"type":"EtcdIsVoter","status":"True"},{"kubeletVersion":"v1"}\n' \
      "$READY" "$BEAT" ;;
  esac
}
systemctl() {
  case $* in
    *--timestamp*) echo "$STARTED" ;;
    *) printf 'ActiveState=active\nSubState=running\nInvocationID=two\nNRestarts=%s\nJob=%s\n' "$COUNT" "$JOB" ;;
  esac
}
TURN=0
sleep() {
  TURN=$((TURN + 1))
  [ $TURN -lt 40 ] || exit 9
  turn
}
READY=True READYZ=ok COUNT=0 JOB= STARTED='Sun 2026-01-04 10:00:00.500000 UTC'
BEAT=2026-01-04T09:58:00Z LEASE=2026-01-04T10:00:00.900000Z
"#;

/// What `before.sh` noted, before the one that was there was stopped.
const NOTED: &str = "\n2026-01-04T09:58:00Z 2026-01-04T09:59:50.000000Z\n2026-01-04T09:59:55Z\n";

/// A machine's /run.
struct Machine(tempfile::TempDir);

#[expect(clippy::disallowed_methods, reason = "runs a script as it is")]
impl Machine {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let noted = folder.path().join("hmco-boot/k3s");
        std::fs::create_dir_all(&noted).unwrap();
        std::fs::write(noted.join("k3s.service"), NOTED).unwrap();
        Self(folder)
    }

    /// Waits where these lines say how it begins, and define `turn`. Gives whether it was up in the end, and what was said.
    fn wait(&self, shell: &[&str], until: Until, lines: &str) -> (bool, String) {
        let running = Running {
            role: Role::Server,
            node: "n1".to_owned(),
            etcd: true,
            version: "v1".to_owned(),
        };
        let limit = TimeSpan(Duration::from_secs(60));
        let Action::Run(program) = running.wait(until, limit) else {
            panic!("it is a program");
        };
        let text = program.stdin.unwrap();
        let run = format!("{}/", self.0.path().display());
        let (before, after) = text.expose().split_once("U=$3 ").unwrap();
        let text = format!("{before}turn() {{ :; }}\n{FAKES}{lines}\nU=$3 {after}");
        let text = text.replace("/run/", &run);
        let mut child = Command::new(shell[0])
            .args(&shell[1..])
            .args(&program.argv[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{said}");
        (output.status.success(), said)
    }
}

/// Waits on a new machine of each shell.
#[track_caller]
fn expect(lines: &str, is_up: bool, words: &[&str]) {
    for shell in shells(&[]) {
        let (up, said) = Machine::new().wait(&shell, Until::Up, lines);
        assert_eq!(up, is_up, "{said}");
        assert_eq!(up, said.ends_with("k3s.service is up\n"), "{said}");
        for word in words {
            assert!(said.contains(word), "{word} in {said}");
        }
        let waits = said.contains("waiting for");
        assert!(!words.is_empty() || !waits, "{said}");
    }
}

const SILENT: &str = "no heartbeat of Node n1 since the start";

#[test]
fn one_that_told_of_itself_since_its_start_is_up_at_once() {
    expect("", true, &[]);
    expect("BEAT=2026-01-04T10:00:01Z LEASE=", true, &[]);
}

#[test]
fn what_the_former_kubelet_told_while_it_was_stopped_is_no_news() {
    let later = "turn() { [ $TURN -lt 3 ] || LEASE=2026-01-04T10:00:00.600000Z; }";
    let lease = "LEASE=2026-01-04T10:00:00.400000Z";
    expect(&format!("{lease}\n{later}"), true, &[SILENT]);
    // A Node tells whole seconds, cut off.
    let beat = "BEAT=2026-01-04T10:00:00Z LEASE=2026-01-04T09:59:50.000000Z";
    let second = "turn() { [ $TURN -lt 3 ] || BEAT=2026-01-04T10:00:01Z; }";
    expect(&format!("{beat}\n{second}"), true, &[SILENT]);
    // Before v247 systemd tells no fractions: what was noted before the start is what there is.
    expect(&format!("{lease} STARTED="), true, &[]);
}

#[test]
fn a_heartbeat_counts_also_where_the_clock_was_set_back() {
    let lines = "LEASE=2026-01-04T09:00:00.000000Z\nturn() { LEASE=2026-01-04T09:00:10.000000Z; }";
    expect(lines, true, &[SILENT]);
}

#[test]
fn one_that_is_yet_to_be_restarted_is_not_taken_for_the_new_one() {
    let lines = "JOB=42\nturn() { [ $TURN -lt 2 ] || JOB=; }";
    expect(lines, true, &["has not begun what it was told to do"]);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "looks at files")]
fn one_that_systemd_has_to_restart_is_not_up_also_where_it_comes_up_then() {
    let crash = "READY=False\nturn() { COUNT=1; READY=True; }";
    expect(
        crash,
        false,
        &["it does not stay up: systemd had to restart it"],
    );
    // Of the former start; a start by hand counts anew.
    let former = "COUNT=7 READY=False\nturn() { COUNT=0; [ $TURN -lt 2 ] || READY=True; }";
    expect(former, true, &["is not Ready"]);
    for shell in shells(&[]) {
        // It crashed before anybody looked.
        for (noted, is_up) in [("0", false), ("7", false), ("1", true)] {
            let machine = Machine::new();
            let count = machine.0.path().join("hmco-boot/k3s/k3s.service.count");
            std::fs::write(&count, format!("{noted}\n")).unwrap();
            let (up, said) = machine.wait(&shell, Until::Up, "COUNT=1");
            assert_eq!(up, is_up, "{noted}: {said}");
            assert!(!count.exists(), "it counts for one wait");
        }
        let machine = Machine::new();
        let (up, said) = machine.wait(&shell, Until::Member, "READY=False READYZ=no");
        assert!(up && !said.contains("is up"), "{said}");
        // Between the two.
        let (up, said) = machine.wait(&shell, Until::Rest, "COUNT=1");
        assert!(!up && said.contains("had to restart it"), "{said}");
    }
}

#[test]
fn an_api_that_is_not_ready_is_waited_for() {
    let lines = "READYZ=etcd\nturn() { [ $TURN -lt 2 ] || READYZ=ok; }";
    let raw = FAKES.replace("echo \"$READYZ\"", "echo \"$READYZ\"; [ \"$READYZ\" = ok ]");
    expect(&format!("{raw}{lines}"), true, &["/readyz says: etcd"]);
}
