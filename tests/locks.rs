//! The real binary and the locks on nodes: two operators at once, dead ones, and commands given on the command line.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    dead_code,
    reason = "a test may stop at the first surprise, starts processes, and looks at files"
)]

#[path = "support/project.rs"]
mod project;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Output, Stdio};

use project::{Project, Running, make_fifo, wait_for};
use rustix::process::Signal;

/// A project whose one step waits for [`let_go`].
fn blocking() -> Project {
    let project = Project::new(
        2,
        r#"
[[step]]
id = "slow"
on = "n0"
[step.command]
script = "echo x >> \"$HMCO_BOOT_ROOT/began\"; read -r x < \"$HMCO_BOOT_ROOT/gate\"; echo x > \"$HMCO_BOOT_ROOT/done\""
creates = "/done"
"#,
    );
    make_fifo(&project.root(0).join("gate"));
    project
}

fn begun(project: &Project) {
    wait_for("the step runs", || project.root(0).join("began").exists());
}

fn let_go(project: &Project) {
    std::fs::write(project.root(0).join("gate"), "go\n").unwrap();
}

/// The same project in the hands of somebody with another state folder.
fn other(project: &Project, args: &[&str]) -> Output {
    let state = project.state().with_file_name("other-state");
    project
        .command(args)
        .env("HMCO_BOOT_STATE_DIR", state)
        .env("USER", "berta")
        .output()
        .unwrap()
}

fn told(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// Starts a run whose step is in the middle; gives its name.
fn under_way(project: &Project) -> (Running, String) {
    let mut first = project.start(&["run", "main"]);
    let run = first.until("run_started")["event"]["run"]
        .as_str()
        .unwrap()
        .to_owned();
    begun(project);
    (first, run)
}

/// The newest state of a node's lock.
fn lock_file(project: &Project, node: usize) -> PathBuf {
    let folder = project.root(node).join("run/hmco-boot");
    let entries = std::fs::read_dir(&folder).unwrap();
    let number = |entry: std::io::Result<std::fs::DirEntry>| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        name.strip_prefix("lock.")?.parse::<u32>().ok()
    };
    let newest = entries.filter_map(number).max().unwrap();
    folder.join(format!("lock.{newest}"))
}

fn pretend_time(project: &Project, node: usize) {
    let path = lock_file(project, node);
    let text = std::fs::read_to_string(&path).unwrap();
    let line = |line: &str| match line.starts_with("until ") {
        true => "until 0\n".to_owned(),
        false => format!("{line}\n"),
    };
    std::fs::write(&path, text.lines().map(line).collect::<String>()).unwrap();
}

#[test]
fn the_second_of_two_operators_is_told_who_the_first_is_and_changes_nothing() {
    let project = blocking();
    let (first, run) = under_way(&project);
    let second = other(&project, &["run", "main"]);
    let words = told(&second);
    assert_eq!(second.status.code(), Some(5), "{words}");
    assert!(
        words.contains(&format!("n0 is locked by run {run}")),
        "{words}"
    );
    assert!(words.contains("`run main`, process "), "{words}");
    assert!(words.contains("wait until that run has ended"), "{words}");
    let unlock = other(&project, &["runs", "unlock"]);
    let words = told(&unlock);
    assert_eq!(
        unlock.status.code(),
        Some(5),
        "a live one is never robbed: {words}"
    );
    assert!(words.contains(&run), "{words}");
    // Who changes nothing there is not in the way.
    let look = other(
        &project,
        &["exec", "n0", "--read-only", "--", "echo", "looked"],
    );
    assert!(told(&look).contains("looked"), "{}", told(&look));
    let elsewhere = other(&project, &["exec", "n1", "--", "echo", "done"]);
    assert_eq!(elsewhere.status.code(), Some(0), "{}", told(&elsewhere));
    let_go(&project);
    assert_eq!(first.end(), Some(0));
    let second = other(&project, &["run", "main"]);
    assert_eq!(second.status.code(), Some(0), "{}", told(&second));
    assert!(
        !project.root(0).join("run/hmco-boot/lock").exists(),
        "nobody holds it"
    );
}

#[test]
fn a_resume_gives_back_what_the_dead_run_had_locked_where_nothing_is_left_to_do() {
    let project = blocking();
    let slow = std::fs::read_to_string(project.path().join("playbooks/main.toml")).unwrap();
    let quick = r#"
[[step]]
id = "quick"
on = "all"
[step.file]
path = "/quick"
content = "x"
"#;
    let playbook = slow.replacen("[[step]]", &format!("{quick}\n[[step]]"), 1);
    project.write("playbooks/main.toml", &playbook);
    let (mut first, _) = under_way(&project);
    // `quick` has ended on both.
    first.until("step_finished");
    first.until("step_finished");
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let holder = |node| {
        let text = std::fs::read_to_string(lock_file(&project, node)).unwrap();
        let run = text.lines().find_map(|line| line.strip_prefix("run "));
        run.unwrap_or_default().to_owned()
    };
    assert_ne!(holder(1), "", "the dead run has it");
    let_go(&project);
    let resumed = project.command(&["resume"]).output().unwrap();
    assert_eq!(resumed.status.code(), Some(0), "{}", told(&resumed));
    assert_eq!((holder(0), holder(1)), (String::new(), String::new()));
    let elsewhere = other(&project, &["exec", "n1", "--", "echo", "done"]);
    assert_eq!(elsewhere.status.code(), Some(0), "{}", told(&elsewhere));
}

#[test]
fn a_killed_run_is_taken_over_at_once_by_its_own_resume_and_not_by_others() {
    let project = blocking();
    let (first, run) = under_way(&project);
    first.signal(Signal::KILL);
    assert_eq!(first.end(), None);
    let second = other(&project, &["run", "main"]);
    let words = told(&second);
    assert_eq!(second.status.code(), Some(5), "{words}");
    assert!(words.contains("s more unless it is renewed"), "{words}");
    // Its time is over and its job still works: that is no leave to take it.
    pretend_time(&project, 0);
    let second = other(&project, &["run", "main"]);
    let words = told(&second);
    assert_eq!(second.status.code(), Some(5), "{words}");
    assert!(words.contains(&format!("its job {run}-")), "{words}");
    let mut resume = project.start(&["resume"]);
    let waiting = resume.until("leftover_job");
    assert_eq!(waiting["event"]["waiting"], true, "{waiting}");
    let_go(&project);
    assert_eq!(resume.end(), Some(0));
    let began = std::fs::read_to_string(project.root(0).join("began")).unwrap();
    assert_eq!(began, "x\n", "once");
}

#[test]
fn the_lock_of_a_dead_operator_is_free_when_its_time_is_over() {
    let project = blocking();
    let (first, _) = under_way(&project);
    first.signal(Signal::KILL);
    assert_eq!(first.end(), None);
    let_go(&project);
    wait_for("its job ends", || project.root(0).join("done").exists());
    pretend_time(&project, 0);
    // A job that has written its last word may be there for a moment more.
    wait_for("the lock is free", || {
        let second = other(&project, &["exec", "n0", "--", "true"]);
        second.status.code() == Some(0)
    });
}

#[test]
fn the_lock_of_a_run_that_was_killed_here_can_be_cleared_away() {
    let project = blocking();
    let (first, run) = under_way(&project);
    first.signal(Signal::KILL);
    assert_eq!(first.end(), None);
    let text = project.expect(0, &["runs", "unlock"]);
    assert!(
        text.contains(&format!("removed the lock that run {run}")),
        "{text}"
    );
    assert!(text.contains("on n0"), "{text}");
    let text = project.expect(0, &["runs", "unlock"]);
    assert_eq!(text, "no lock was left behind\n");
    let_go(&project);
}

#[test]
fn a_command_runs_on_all_nodes_and_each_says_how_it_ended() {
    let project = Project::new(2, "");
    let script = "echo out; echo err >&2; case $HMCO_BOOT_ROOT in *root1) exit 4 ;; esac";
    let output = project.run(&["exec", "all", "--", "sh", "-c", script]);
    assert_eq!(output.status.code(), Some(1));
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(out.contains("== n0\nout\nerr\n"), "{out}");
    assert!(out.contains("== n1: exit status 4\nout\nerr\n"), "{out}");
    assert!(told(&output).contains("ok on 1 of 2 targets, 1 failed"));
    let list = project.expect(0, &["runs", "list"]);
    assert!(list.contains("exec sh -c"), "{list}");
    let shown = project.expect(0, &["runs", "show"]);
    assert!(!shown.contains("resume"), "{shown}");
    let replayed = project.expect(0, &["runs", "replay"]);
    assert!(replayed.contains("n1"), "{replayed}");
    let run = list.lines().nth(1).unwrap().split(' ').next().unwrap();
    let resumed = project.run(&["resume", run]);
    assert_eq!(resumed.status.code(), Some(2), "{}", told(&resumed));
}

#[test]
fn a_command_that_only_reads_takes_no_lock_and_leaves_no_job() {
    let project = Project::new(1, "");
    let text = project.expect(
        0,
        &["exec", "n0|controller", "--read-only", "--", "echo", "hi"],
    );
    assert_eq!(text, "== n0\nhi\n== controller\nhi\n");
    assert!(!project.root(0).join("run/hmco-boot").exists());
    let output = project.run(&["exec", "n0", "--read-only", "--", "no-such-program"]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(
        told(&output).contains("no such program"),
        "{}",
        told(&output)
    );
}

#[test]
fn a_command_gets_its_words_as_they_are_and_standard_input_where_asked() {
    let project = Project::new(2, "");
    let text = project.expect(
        0,
        &[
            "exec", "n0", "--", "printf", "%s.", "{{ x }}", "a b", "$HOME",
        ],
    );
    assert_eq!(text, "== n0\n{{ x }}.a b.$HOME.\n");
    let mut child = project
        .command(&["exec", "all", "--stdin", "--", "cat"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(b"from here\n")
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let out = String::from_utf8_lossy(&output.stdout);
    assert_eq!(out.matches("from here\n").count(), 2, "{out}");
    let slip = project.run(&["exec", "n0", "--", "echo hi"]);
    assert_eq!(slip.status.code(), Some(2));
    assert!(told(&slip).contains("sh -c 'echo hi'"), "{}", told(&slip));
}

#[test]
fn commands_one_by_one_stop_at_the_first_that_fails() {
    let project = Project::new(3, "");
    let script = "echo x > \"$HMCO_BOOT_ROOT/ran\"; case $HMCO_BOOT_ROOT in *root1) exit 1 ;; esac";
    project.expect(
        1,
        &["exec", "all", "--serial", "1", "--", "sh", "-c", script],
    );
    let ran: Vec<bool> = (0..3)
        .map(|node| project.root(node).join("ran").exists())
        .collect();
    assert_eq!(ran, [true, true, false]);
}

#[test]
fn what_a_command_says_can_be_read_by_programs() {
    let project = Project::new(1, "");
    let output = project.run(&[
        "--output",
        "json",
        "exec",
        "n0",
        "--",
        "sh",
        "-c",
        "echo out; exit 7",
    ]);
    let line = String::from_utf8_lossy(&output.stdout);
    let json: serde_json::Value = serde_json::from_str(line.trim()).unwrap();
    assert_eq!(json["type"], "exec");
    assert_eq!(json["exit"], 7);
    assert_eq!(json["output"], "out\n");
    assert_eq!(json["target"]["node"], "n0");
}
