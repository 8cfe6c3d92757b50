//! The real binary on real (sandboxed) machines: killed, interrupted, locked out, short of disk, and run again.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may stop at the first surprise, starts processes, and looks at files"
)]

#[path = "support/project.rs"]
mod project;
#[path = "support/skip.rs"]
mod skip;

use std::process::Command;

use project::{Project, make_fifo, wait_for};
use rustix::process::Signal;

/// Nodes and steps of the run that is killed: 200 pairs.
const NODES: usize = 4;
const ROUNDS: usize = 24;

/// Files, folders, lines, and commands that leave a mark each time they are run.
fn many_steps() -> String {
    let rounds: Vec<String> = (0..ROUNDS).map(|n| format!("\"{n}\"")).collect();
    let rounds = rounds.join(", ");
    format!(
        r#"
[[step]]
id = "base"
on = "all"
[step.directory]
path = "/data"
[[step]]
id = "log"
on = "all"
[step.directory]
path = "/log"
[[step]]
id = "file"
on = "all"
each = [{rounds}]
[step.file]
path = "/data/file-{{{{ item }}}}"
content = "{{{{ node.name }}}} {{{{ item }}}}\n"
[[step]]
id = "mark"
on = "all"
needs = ["log"]
each = [{rounds}]
[step.command]
argv = ["sh", "-c", "echo ran >> mark-{{{{ item }}}}"]
cwd = "/log"
creates = "/log/mark-{{{{ item }}}}"
touches = {{ paths = ["/log"] }}
"#
    )
}

#[test]
fn a_run_of_200_steps_killed_at_20_moments_resumes_to_the_same_state() {
    let reference = Project::new(NODES, &many_steps());
    let mut whole = reference.start(&["run", "main"]);
    let mut events = 0;
    while whole.event().is_some() {
        events += 1;
    }
    assert_eq!(whole.end(), Some(0));
    let wished = reference.tree(NODES);
    assert!(
        wished.len() >= NODES * (2 * ROUNDS + 2),
        "{} files",
        wished.len()
    );

    let mut seed = 20_261_121_u64;
    for moment in 0..20 {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let after = usize::try_from(seed >> 33).unwrap() % events;
        let project = Project::new(NODES, &many_steps());
        let mut run = project.start(&["run", "main"]);
        for _ in 0..=after {
            run.event();
        }
        run.child.kill().unwrap();
        run.child.wait().unwrap();
        let resumed = project.run(&["resume"]);
        let told = String::from_utf8_lossy(&resumed.stderr);
        let ended_before = told.contains("nothing to go on with");
        let shown = format!(
            "moment {moment}: killed after event {after}\n{}\n{told}",
            String::from_utf8_lossy(&resumed.stdout)
        );
        assert_eq!(resumed.status.code(), Some(0), "{shown}");
        assert!(!ended_before || after + 2 >= events, "{shown}");
        assert_eq!(project.tree(NODES), wished, "{shown}");
        for node in 0..NODES {
            assert_eq!(project.leftover_jobs(node), Vec::<String>::new(), "{shown}");
        }
    }
}

#[test]
fn a_second_run_changes_nothing_and_asks_each_node_once() {
    let project = Project::new(2, &many_steps());
    project.expect(0, &["run", "main"]);
    let before = project.tree(2);
    let mut again = project.start(&["run", "main"]);
    let (mut reads, mut changes) = (0, 0);
    while let Some(event) = again.event() {
        match event["event"]["type"].as_str().unwrap() {
            "facts_requested" => reads += 1,
            "step_started" | "locked" => changes += 1,
            _ => {}
        }
    }
    assert_eq!(again.end(), Some(0));
    assert_eq!(
        (reads, changes),
        (2, 0),
        "one execution a node, no lock, no apply"
    );
    assert_eq!(project.tree(2), before);
    project.expect(0, &["plan", "main", "--exit-code"]);
}

/// A step that runs until somebody writes into a FIFO, and says when it has begun.
const BLOCKING: &str = r#"
[[step]]
id = "wait"
on = "all"
[step.command]
argv = ["sh", "-c", "echo x >> count; touch begun; read line < gate; touch done"]
cwd = "/"
creates = "/done"
[[step]]
id = "after"
on = "all"
[step.file]
path = "/after"
content = "x\n"
"#;

fn blocking() -> Project {
    let project = Project::new(1, BLOCKING);
    make_fifo(&project.root(0).join("gate"));
    project
}

fn begun(project: &Project) {
    let mark = project.root(0).join("begun");
    wait_for("the step", || mark.exists());
}

fn let_go(project: &Project) {
    std::fs::write(project.root(0).join("gate"), "go\n").unwrap();
}

fn count(project: &Project) -> usize {
    std::fs::read_to_string(project.root(0).join("count"))
        .unwrap()
        .lines()
        .count()
}

#[test]
fn a_second_run_at_the_same_time_is_refused_and_told_who_runs() {
    let project = blocking();
    let mut first = project.start(&["run", "main"]);
    let started = first.until("run_started");
    let run = started["event"]["run"].as_str().unwrap().to_owned();
    begun(&project);
    let second = project.run(&["run", "main"]);
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&second.stdout),
        String::from_utf8_lossy(&second.stderr)
    );
    assert_eq!(second.status.code(), Some(5), "{told}");
    assert!(
        told.contains(&run),
        "it names the run that holds the lock: {told}"
    );
    assert!(
        told.contains("exit 5") && !told.contains("exit 130"),
        "it tells the exit code it ends with: {told}"
    );
    let list = project.expect(0, &["runs", "list"]);
    assert!(list.contains("running"), "{list}");
    let shown = project.expect(0, &["runs", "show", &run]);
    assert!(
        shown.contains("still running") && !shown.contains("resume"),
        "{shown}"
    );
    // The newest run is the one that was refused; what is to be gone on with is the one that it met, and that lives.
    let resumed = project.run(&["resume"]);
    let told = String::from_utf8_lossy(&resumed.stderr);
    assert_eq!(resumed.status.code(), Some(5), "{told}");
    assert!(told.contains(&run), "{told}");
    let_go(&project);
    assert_eq!(first.end(), Some(0));
    assert_eq!(count(&project), 1);
}

#[test]
fn the_first_interrupt_lets_the_running_step_end_and_starts_no_other() {
    let project = blocking();
    let mut run = project.start(&["run", "main"]);
    begun(&project);
    run.signal(Signal::INT);
    run.until("cancel_requested");
    let_go(&project);
    assert_eq!(run.end(), Some(130));
    assert!(project.root(0).join("done").exists());
    assert!(!project.root(0).join("after").exists());
    project.expect(0, &["resume"]);
    assert!(project.root(0).join("after").exists());
    assert_eq!(count(&project), 1);
}

#[test]
fn after_a_second_interrupt_the_job_goes_on_and_resume_awaits_it() {
    let project = blocking();
    let mut run = project.start(&["run", "main"]);
    begun(&project);
    run.signal(Signal::INT);
    run.until("cancel_requested");
    run.signal(Signal::TERM);
    assert_eq!(run.end(), Some(130));
    assert!(!project.root(0).join("done").exists());
    let mut resumed = project.start(&["resume"]);
    let leftover = resumed.until("leftover_job");
    assert_eq!(leftover["event"]["waiting"], true);
    let_go(&project);
    assert_eq!(resumed.end(), Some(0));
    assert_eq!(count(&project), 1, "the job was awaited, not started again");
    assert!(project.root(0).join("after").exists());
}

#[test]
fn a_killed_run_leaves_its_job_and_no_lock() {
    let project = blocking();
    let mut run = project.start(&["run", "main"]);
    begun(&project);
    run.child.kill().unwrap();
    run.child.wait().unwrap();
    let mut resumed = project.start(&["resume", "2"]);
    resumed.until("leftover_job");
    let_go(&project);
    assert_eq!(resumed.end(), Some(0));
    assert_eq!(count(&project), 1);
}

#[test]
fn a_failure_names_its_cause_and_blocks_only_what_waits_for_it() {
    let playbook = r#"
[[step]]
id = "bad"
on = "all"
[step.command]
argv = ["sh", "-c", "echo the disk is on fire >&2; exit 3"]
creates = "/never"
[[step]]
id = "blocked"
on = "all"
[step.file]
path = "/blocked"
content = ""
[[step]]
id = "free"
on = "all"
needs = []
[step.file]
path = "/free"
content = ""
"#;
    let project = Project::new(1, playbook);
    let shown = project.expect(1, &["run", "main"]);
    assert!(
        shown.contains("the disk is on fire") && shown.contains("exit status 3"),
        "{shown}"
    );
    assert!(project.root(0).join("free").exists());
    assert!(!project.root(0).join("blocked").exists());
}

#[test]
fn a_saved_plan_is_refused_when_a_target_or_the_project_has_changed() {
    let project = Project::new(1, &many_steps());
    project.expect(4, &["plan", "main", "--out", "p.plan", "--exit-code"]);
    std::fs::create_dir_all(project.root(0).join("data")).unwrap();
    let shown = project.expect(1, &["run", "main", "--plan", "p.plan"]);
    assert!(shown.contains("/data"), "it names the fact: {shown}");
    assert!(!project.root(0).join("data/file-0").exists());
    let output = project.run(&["resume"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(2),
        "a resume does not do what nobody looked at: {told}"
    );
    assert!(told.contains("p.plan"), "{told}");

    project.expect(0, &["plan", "main", "--out", "p.plan"]);
    project.expect(0, &["run", "main", "--plan", "p.plan"]);
    project.write_playbook(&many_steps().replace("/log", "/logs"));
    project.expect(2, &["run", "main", "--plan", "p.plan"]);
}

#[test]
fn a_changed_project_is_not_resumed_unless_asked() {
    let project = blocking();
    let mut run = project.start(&["run", "main"]);
    begun(&project);
    run.child.kill().unwrap();
    run.child.wait().unwrap();
    let_go(&project);
    project.write_playbook(
        &BLOCKING
            .replace("\"x\\n\"", "\"y\\n\"")
            .replace("id = \"after\"", "id = \"later\""),
    );
    let output = project.run(&["resume"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains("- after@n0") && told.contains("+ later@n0"),
        "{told}"
    );
    project.expect(0, &["resume", "--changed-plan"]);
}

/// A file system of its own, unmounted at the end; `None` where this process may not mount.
struct Mount(std::path::PathBuf);

impl Mount {
    fn tmpfs(at: &std::path::Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={size},mode=0700"),
                "tmpfs",
            ])
            .arg(at)
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            skip::tell("this process may not mount a file system");
        }
        mounted.then(|| Self(at.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status()
            .unwrap();
    }
}

#[test]
fn nothing_new_starts_when_the_journal_is_out_of_disk() {
    let project = Project::new(1, &many_steps());
    let Some(_mount) = Mount::tmpfs(&project.state(), "4m") else {
        return;
    };
    project.expect(0, &["plan", "main"]);
    let filler = project.state().join("filler");
    std::fs::write(&filler, vec![0; 4 * 1024 * 1024 - 256 * 1024]).unwrap();
    let output = project.run(&["run", "main"]);
    let told = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("journal"), "{told}");
    assert!(
        !project
            .root(0)
            .join(format!("log/mark-{}", ROUNDS - 1))
            .exists(),
        "the run went on without a journal"
    );
    // With space again, the same project goes on.
    std::fs::remove_file(&filler).unwrap();
    project.expect(0, &["resume"]);
    project.expect(0, &["plan", "main", "--exit-code"]);
}

#[test]
fn a_read_only_journal_starts_nothing() {
    let project = Project::new(1, &many_steps());
    let Some(_mount) = Mount::tmpfs(&project.state(), "32m") else {
        return;
    };
    project.expect(0, &["plan", "main"]);
    let locked = Command::new("mount")
        .args(["-o", "remount,ro"])
        .arg(project.state())
        .status()
        .unwrap();
    assert!(locked.success());
    let output = project.run(&["run", "main"]);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(!project.root(0).join("data").exists());
}

#[test]
fn a_run_that_has_no_step_here_says_so() {
    let step = "[[step]]\nid = \"a\"\non = \"role:agent\"\n[step.directory]\npath = \"/a\"\n";
    let project = Project::new(1, step);
    for (args, told) in [
        (
            vec!["run", "main"],
            "no step of main.toml has a target in inventory/test.toml",
        ),
        (
            vec!["run", "main", "--limit", "n0"],
            "nothing of main.toml is for a target in --limit n0",
        ),
    ] {
        let output = project.run(&args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains(told), "{said}");
    }
}

#[test]
fn lints_of_the_inventory_are_told_where_playbooks_are_looked_at_and_nowhere_else() {
    let project = Project::new(
        1,
        "[[step]]\nid = \"file\"\non = \"all\"\n[step.file]\npath = \"/x\"\ncontent = \"x\"\n",
    );
    let node = |name: &str| {
        format!("[node.{name}]\nconnection = \"local\"\nroot = \"{name}\"\nroles = [\"server\"]\n")
    };
    let inventory = format!("[cluster]\nname = \"test\"\n{}{}", node("a"), node("b"));
    project.write("inventory/test.toml", &inventory);
    for root in ["a", "b"] {
        std::fs::create_dir_all(project.path().join(root)).unwrap();
    }
    let cases: [(&[&str], bool); 7] = [
        (&["check"], true),
        (&["plan", "main"], true),
        (&["run", "main"], true),
        (&["exec", "all", "--read-only", "--", "true"], false),
        (&["hosts", "facts"], false),
        (&["runs", "list"], false),
        (&["runs", "unlock"], false),
    ];
    for (args, told) in cases {
        let output = project.run(args);
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {words}");
        assert_eq!(words.contains("an even number"), told, "{args:?}: {words}");
    }
}

#[test]
fn commands_that_are_shown_name_the_inventory_that_was_given() {
    let project = Project::new(
        1,
        "[[step]]\nid = \"fails\"\non = \"all\"\n[step.command]\nargv = [\"false\"]\nalways = true\n",
    );
    let second = std::fs::read_to_string(project.path().join("inventory/test.toml")).unwrap();
    project.write("inventory/second.toml", &second);
    let file = "inventory/test.toml";
    let shown = project.expect(1, &["run", "main", "-i", file]);
    assert!(
        shown.contains(&format!("hmco-boot -i {file} resume ")),
        "{shown}"
    );
    let recorded = project.expect(0, &["runs", "show", "-i", file]);
    assert!(
        recorded.contains(&format!("hmco-boot -i {file} resume ")),
        "{recorded}"
    );
    let wrong = project.run(&["runs", "show", "nothing", "-i", file]);
    let words = String::from_utf8_lossy(&wrong.stderr);
    assert!(
        words.contains(&format!("hmco-boot -i {file} runs list")),
        "{words}"
    );
}
