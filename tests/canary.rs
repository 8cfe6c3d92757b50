//! Values that must show nowhere, through everything hmco-boot says, writes and starts on this machine. On real nodes:
//! `tests/nodes/canary.rs`.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::panic,
    reason = "a test may stop at the first surprise, starts processes, and looks at files"
)]

#[path = "support/canary.rs"]
mod canary;
#[path = "support/project.rs"]
mod project;
#[path = "support/secrets.rs"]
mod secrets;

use std::process::Output;
use std::sync::Arc;

use canary::{ALL, Finder, STEPS, Watch};
use project::Project;

fn project() -> Project {
    let project = Project::new(1, STEPS);
    std::fs::create_dir_all(project.root(0).join("srv")).unwrap();
    secrets::store(&project.path(), &project.home(), &ALL);
    project
}

/// Both streams.
fn said(output: &Output) -> Vec<u8> {
    [output.stdout.as_slice(), &output.stderr].concat()
}

#[test]
fn no_canary_shows_in_any_output_record_plan_or_process_list() {
    let finder = Arc::new(Finder::of(ALL));
    let project = project();
    let temporary = project.home().join("tmp");
    std::fs::create_dir_all(&temporary).unwrap();
    let run = |args: &[&str], code: i32| {
        let mut command = project.command(args);
        command.env("TMPDIR", &temporary).env("CLICOLOR_FORCE", "1");
        let output = command.output().unwrap();
        let told = said(&output);
        finder.expect_none(&format!("{args:?}"), &told);
        let told = String::from_utf8_lossy(&told).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {told}");
        told
    };
    let watch = Watch::start(finder.clone());
    run(&["check"], 0);
    run(&["graph", "main"], 0);
    for format in ["plain", "json", "tty"] {
        run(&["plan", "main", "--output", format, "-vvv"], 0);
        let told = run(&["run", "main", "--output", format, "-vvv"], 1);
        // They did come along.
        for (name, _) in ALL {
            let mark = format!("<secret {name}>");
            assert!(told.contains(&mark), "{format}: {mark} in {told}");
        }
        run(&["runs", "show", "--output", format], 0);
        run(&["runs", "replay", "--output", format], 0);
        run(&["runs", "list", "--output", format], 0);
    }
    std::fs::remove_dir_all(project.root(0).join("srv")).unwrap();
    std::fs::create_dir_all(project.root(0).join("srv")).unwrap();
    run(&["plan", "main", "--out", "canary.plan"], 0);
    run(&["run", "main", "--plan", "canary.plan", "-vvv"], 1);
    run(&["resume", "--output", "json"], 1);
    let file = project.root(0).join("srv/app.conf").display().to_string();
    std::fs::write(
        project.path().join("canary.copy"),
        std::fs::read(&file).unwrap(),
    )
    .unwrap();
    watch.stop().expect_clean();

    // What was to be written was written, and nothing else of it is left.
    let app = std::fs::read_to_string(&file).unwrap();
    assert!(app.contains(canary::PLAIN) && app.contains(canary::ODD));
    std::fs::remove_file(project.path().join("canary.copy")).unwrap();
    std::fs::remove_dir_all(project.root(0).join("srv")).unwrap();
    assert!(finder.expect_none_below(&project.state()) >= 1);
    assert!(finder.expect_none_below(&project.path()) >= 3);
    finder.expect_none_below(&project.home());
    assert_eq!(project.leftover_jobs(0), Vec::<String>::new());
}

#[test]
fn a_value_on_the_command_line_is_refused_before_it_is_on_record() {
    let project = project();
    let var = format!("key={}", canary::PLAIN);
    let playbook = STEPS.replace("type = \"secret\"", "type = \"string\"");
    project.write_playbook(&playbook);
    let output = project.run(&["run", "main", "--var", &var]);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    assert!(
        told.contains("--var key holds the value of the secret `canary/plain`"),
        "{told}"
    );
    Finder::of(ALL).expect_none("the refusal", &said(&output));
    Finder::of(ALL).expect_none_below(&project.state());
}

#[test]
fn a_missing_or_misnamed_secret_stops_the_run_before_it_starts() {
    let project = project();
    let misnamed = STEPS.replace("secret('canary/odd') }}\\n", "secret('canary/ood') }}\\n");
    assert_ne!(misnamed, STEPS);
    project.write_playbook(&misnamed);
    for args in [["check", "-v"], ["plan", "main"], ["run", "main"]] {
        let output = project.run(&args);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {told}");
        assert!(
            told.contains("canary/ood")
                && told.contains("canary/odd")
                && told.contains("main.toml:"),
            "{args:?}: {told}"
        );
    }
    assert!(!project.root(0).join("srv/app.conf").exists());
    // Names are looked at without a key.
    std::fs::remove_dir_all(project.home().join(".config/hmco-boot")).unwrap();
    project.write_playbook(STEPS);
    project.expect(0, &["check"]);
    let output = project.run(&["run", "main"]);
    assert_eq!(
        output.status.code(),
        Some(2),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
