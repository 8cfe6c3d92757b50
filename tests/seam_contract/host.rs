//! The cases of the `Host` seam, for the local machine under several shells and for the machine in memory.

use std::time::Duration;

use hmco_boot::facts::fact::{Fact, FactError, FactValue, FileKind};
use hmco_boot::model::action::{Action, JobStatus, Ownership};
use hmco_boot::model::id::JobId;
use hmco_boot::model::sensitive::Text;
use hmco_boot::model::units::{Mode, TimeSpan};
use hmco_boot::transport::HostErrorKind;

use super::rig::{NOISY, Rig, SPEAK, abs, job, noise, program, run, within, write};

macro_rules! contract {
    ($name:ident, $rig:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "the macro's argument may need none")]
            use super::*;
            contract!(@cases $rig;
                a_file_is_written_with_its_mode_and_again_without_harm,
                a_file_replaces_a_link_and_not_what_it_points_to,
                a_file_does_not_replace_a_folder_nor_go_into_it,
                a_missing_folder_is_an_error_of_the_job,
                a_folder_made_earlier_in_the_job_is_there_for_a_file,
                the_former_file_is_kept_once,
                any_content_arrives_as_it_is,
                five_megabytes_arrive,
                folders_are_made_with_those_above_them,
                attributes_change_on_what_is_there_only,
                a_link_replaces_a_link_and_nothing_else,
                removing_is_idempotent_and_spares_folders,
                odd_names_are_just_names,
                a_program_gets_arguments_environment_and_input_as_they_are,
                a_program_runs_in_its_folder,
                exit_statuses_decide,
                the_first_failure_ends_the_job,
                a_program_that_is_not_there_is_said_to_be_missing,
                impossible_jobs_are_refused_before_anything_is_sent,
                output_is_capped_to_its_tail_and_streamed,
                a_job_that_takes_too_long_is_ended,
                a_second_job_is_refused_while_one_runs,
                an_id_is_used_once,
                an_abandoned_job_is_awaited,
                an_abandoned_job_is_ended,
                an_unknown_job_is_lost_and_never_begins,
                facts_are_read_after_the_job,
                every_fact_has_one_answer,
                leftover_jobs_show_as_facts,
            );
        }
    };
    (@cases $rig:expr; $($case:ident,)*) => {
        $(
            #[tokio::test]
            async fn $case() {
                if let Some(rig) = $rig {
                    super::$case(&rig).await;
                }
            }
        )*
    };
}

contract!(fake, Rig::fake());
contract!(dash, Rig::local("dash"));
contract!(bash, Rig::local("bash"));
contract!(busybox, Rig::local("busybox"));

fn failed(action: u32, exit: i32) -> JobStatus {
    JobStatus::Failed {
        action,
        exit,
        retryable: false,
    }
}

async fn a_file_is_written_with_its_mode_and_again_without_harm(rig: &Rig) {
    for id in ["one", "two"] {
        let end = rig.act(id, write("/motd", "hello\n")).await;
        assert_eq!(end.status, JobStatus::Succeeded, "{end:?}");
        assert_eq!(rig.content("/motd").unwrap(), b"hello\n");
        assert_eq!(rig.mode("/motd"), 0o640);
    }
    let others: Vec<String> = rig
        .names("/")
        .into_iter()
        .filter(|name| name != "run")
        .collect();
    assert_eq!(others, ["motd"]);
    rig.act("empty", write("/motd", "")).await;
    assert_eq!(rig.content("/motd").unwrap(), b"");
}

async fn a_file_replaces_a_link_and_not_what_it_points_to(rig: &Rig) {
    rig.put("/real", "old");
    rig.make_folder("/folder");
    rig.put_link("/link", "real");
    rig.put_link("/away", "folder");
    let end = rig
        .apply(&job("j", [write("/link", "new"), write("/away", "new")]))
        .await
        .unwrap()
        .end;
    assert_eq!(end.status, JobStatus::Succeeded, "{end:?}");
    assert_eq!(rig.link("/link"), None);
    assert_eq!(rig.link("/away"), None);
    assert_eq!(rig.content("/link").unwrap(), b"new");
    assert_eq!(rig.content("/away").unwrap(), b"new");
    assert_eq!(rig.content("/real").unwrap(), b"old");
    assert!(rig.names("/folder").is_empty());
}

async fn a_file_does_not_replace_a_folder_nor_go_into_it(rig: &Rig) {
    rig.make_folder("/there");
    let end = rig.act("j", write("/there", "x")).await;
    assert_eq!(end.status, failed(0, 1));
    assert!(end.stderr.contains("is a folder"), "{}", end.stderr);
    assert!(rig.names("/there").is_empty());
    assert!(!rig.names("/").iter().any(|name| name.contains("tmp")));
}

async fn a_missing_folder_is_an_error_of_the_job(rig: &Rig) {
    let end = rig.act("j", write("/no/such/file", "x")).await;
    assert_eq!(end.status, failed(0, 1));
    assert!(end.stderr.contains("does not exist"), "{}", end.stderr);
    assert!(!rig.is_there("/no"));
}

async fn a_folder_made_earlier_in_the_job_is_there_for_a_file(rig: &Rig) {
    rig.put("/etc/app", "a file that is in the way");
    let folder = Action::MakeDirectory {
        path: abs("/etc/app"),
        mode: Mode(0o755),
        owner: Ownership::default(),
    };
    let remove = Action::Remove {
        path: abs("/etc/app"),
        recursive: false,
    };
    let actions = [
        remove,
        folder,
        write("/etc/app/conf", "one"),
        write("/etc/app/conf", "two"),
    ];
    let end = rig.apply(&job("j", actions)).await.unwrap().end;
    assert_eq!(end.status, JobStatus::Succeeded, "{end:?}");
    assert_eq!(rig.content("/etc/app/conf").unwrap(), b"two");
    assert_eq!(rig.names("/etc/app"), ["conf"]);
}

async fn the_former_file_is_kept_once(rig: &Rig) {
    rig.put("/conf", "original");
    let action = Action::WriteFile {
        path: abs("/conf"),
        content: Text::plain("wished"),
        mode: Mode(0o600),
        owner: Ownership::default(),
        backup: true,
    };
    for id in ["one", "two"] {
        assert_eq!(
            rig.act(id, action.clone()).await.status,
            JobStatus::Succeeded
        );
    }
    assert_eq!(rig.content("/conf").unwrap(), b"wished");
    assert_eq!(rig.content("/conf.hmco-boot-old").unwrap(), b"original");
}

async fn any_content_arrives_as_it_is(rig: &Rig) {
    let mut text: String = (0..0x800).filter_map(char::from_u32).collect();
    text.push_str("\n\n\\ ' \" $(id) `id` %s \u{10ffff}\n\n");
    rig.act("file", write("/bytes", &text)).await;
    assert_eq!(rig.content("/bytes").unwrap(), text.as_bytes());
    let mut speak = program(&["sh", "-c", SPEAK]);
    speak.stdin = Some(Text::plain(text.clone()));
    speak.env = vec![("WORD".to_owned(), Text::plain(text.replace('\0', "")))];
    let end = rig.act("stdin", Action::Run(speak)).await;
    assert_eq!(end.stdout, format!("[{}]{text}", text.replace('\0', "")));
    let end = rig
        .act("argv", run(&["printf", "%s", &text.replace('\0', "")]))
        .await;
    assert_eq!(end.stdout, text.replace('\0', ""));
}

async fn five_megabytes_arrive(rig: &Rig) {
    let text = noise(5 * 65536);
    rig.act("j", write("/big", &text)).await;
    assert!(rig.content("/big").unwrap() == text.as_bytes());
}

async fn folders_are_made_with_those_above_them(rig: &Rig) {
    let folder = |mode| Action::MakeDirectory {
        path: abs("/a/b/c"),
        mode: Mode(mode),
        owner: Ownership::default(),
    };
    assert_eq!(
        rig.act("one", folder(0o2700)).await.status,
        JobStatus::Succeeded
    );
    assert_eq!(
        (rig.mode("/a"), rig.mode("/a/b"), rig.mode("/a/b/c")),
        (0o755, 0o755, 0o2700)
    );
    assert_eq!(
        rig.act("two", folder(0o755)).await.status,
        JobStatus::Succeeded
    );
    assert_eq!(rig.mode("/a/b/c"), 0o755);
    rig.put("/file", "");
    rig.put_link("/link", "a");
    for (id, path) in [("three", "/file"), ("four", "/link")] {
        let path = abs(path);
        let end = rig
            .act(
                id,
                Action::MakeDirectory {
                    path,
                    mode: Mode(0o700),
                    owner: Ownership::default(),
                },
            )
            .await;
        assert_eq!(end.status, failed(0, 1));
    }
    assert_eq!(rig.mode("/a"), 0o755);
}

async fn attributes_change_on_what_is_there_only(rig: &Rig) {
    rig.put("/file", "x");
    rig.put_link("/link", "file");
    let change = |path: &str, mode: Option<u32>, user: Option<&str>| Action::SetAttributes {
        path: abs(path),
        mode: mode.map(Mode),
        owner: Ownership {
            user: user.map(str::to_owned),
            group: None,
        },
    };
    assert_eq!(
        rig.act("mode", change("/file", Some(0o4711), None))
            .await
            .status,
        JobStatus::Succeeded
    );
    assert_eq!(rig.mode("/file"), 0o4711);
    // The number of this very user: a change that everybody may make.
    let me = rustix::process::getuid().as_raw().to_string();
    assert_eq!(
        rig.act("owner", change("/file", None, Some(&me)))
            .await
            .status,
        JobStatus::Succeeded
    );
    assert_eq!(
        rig.mode("/file"),
        0o4711,
        "set-id bits survive a change of owner"
    );
    let end = rig
        .act("nobody", change("/file", None, Some("no-such-user")))
        .await;
    assert_eq!(end.status, failed(0, 1));
    assert!(end.stderr.contains("no-such-user"), "{}", end.stderr);
    assert_eq!(
        rig.act("missing", change("/none", Some(0o600), None))
            .await
            .status,
        failed(0, 1)
    );
    assert_eq!(
        rig.act("link", change("/link", Some(0o600), None))
            .await
            .status,
        failed(0, 1)
    );
    assert_eq!(rig.mode("/file"), 0o4711);
}

async fn a_link_replaces_a_link_and_nothing_else(rig: &Rig) {
    rig.make_folder("/folder");
    rig.put("/file", "x");
    let link = |path: &str, to: &str| Action::Symlink {
        path: abs(path),
        to: to.to_owned(),
    };
    for (id, to) in [
        ("one", "folder"),
        ("two", "/else where\n"),
        ("three", "folder"),
        ("four", "folder"),
    ] {
        assert_eq!(
            rig.act(id, link("/link", to)).await.status,
            JobStatus::Succeeded
        );
        assert_eq!(rig.link("/link").unwrap(), to);
    }
    assert!(
        rig.names("/folder").is_empty(),
        "the link went into the folder"
    );
    for (id, path) in [("five", "/folder"), ("six", "/file")] {
        assert_eq!(rig.act(id, link(path, "x")).await.status, failed(0, 1));
        assert_eq!(rig.link(path), None);
    }
    assert_eq!(
        rig.act("seven", link("/no/such", "x")).await.status,
        failed(0, 1)
    );
}

async fn removing_is_idempotent_and_spares_folders(rig: &Rig) {
    rig.put("/folder/deep/file", "x");
    rig.put("/keep/file", "x");
    rig.put_link("/folder/link", "../keep");
    rig.put_link("/link", "keep");
    let remove = |path: &str, recursive| Action::Remove {
        path: abs(path),
        recursive,
    };
    assert_eq!(
        rig.act("one", remove("/folder", false)).await.status,
        failed(0, 1)
    );
    assert!(rig.is_there("/folder/deep/file"));
    for id in ["two", "three"] {
        assert_eq!(
            rig.act(id, remove("/folder", true)).await.status,
            JobStatus::Succeeded
        );
        assert!(!rig.is_there("/folder"));
    }
    assert_eq!(
        rig.act("four", remove("/link", true)).await.status,
        JobStatus::Succeeded
    );
    assert!(!rig.is_there("/link"));
    assert!(rig.is_there("/keep/file"));
    assert_eq!(
        rig.act("five", remove("/no/such", false)).await.status,
        JobStatus::Succeeded
    );
}

async fn odd_names_are_just_names(rig: &Rig) {
    let long = "n".repeat(255);
    for (number, name) in [
        "a b",
        "-rf",
        "*",
        "it's",
        "$(id)",
        "ü\u{202e}",
        "%s\\n",
        "~",
        &long,
    ]
    .iter()
    .enumerate()
    {
        let path = format!("/odd/{name}");
        rig.make_folder("/odd");
        let end = rig.act(&format!("w{number}"), write(&path, name)).await;
        assert_eq!(end.status, JobStatus::Succeeded, "{name}: {end:?}");
        assert_eq!(rig.content(&path).unwrap(), name.as_bytes());
        assert_eq!(rig.names("/odd"), [*name]);
        let end = rig
            .act(
                &format!("r{number}"),
                Action::Remove {
                    path: abs(&path),
                    recursive: true,
                },
            )
            .await;
        assert_eq!(end.status, JobStatus::Succeeded, "{name}: {end:?}");
        assert!(rig.names("/odd").is_empty());
    }
}

async fn a_program_gets_arguments_environment_and_input_as_they_are(rig: &Rig) {
    let mut speak = program(&["sh", "-c", SPEAK]);
    speak.env = vec![("WORD".to_owned(), Text::tainted("it's \"$HOME\"\n"))];
    speak.stdin = Some(Text::tainted("a\0b\nno newline at the end"));
    let end = rig.act("j", Action::Run(speak)).await;
    assert_eq!(end.status, JobStatus::Succeeded, "{end:?}");
    assert_eq!(end.stdout, "[it's \"$HOME\"\n]a\0b\nno newline at the end");
    let end = rig.act("none", run(&["sh", "-c", SPEAK])).await;
    assert_eq!(end.stdout, "[]");
}

async fn a_program_runs_in_its_folder(rig: &Rig) {
    rig.make_folder("/work here");
    let mut pwd = program(&["pwd"]);
    pwd.cwd = Some(abs("/work here"));
    let end = rig.act("j", Action::Run(pwd)).await;
    assert!(end.stdout.ends_with("/work here\n"), "{end:?}");
}

async fn exit_statuses_decide(rig: &Rig) {
    let mut program = program(&["sh", "-c", "exit \"$1\"", "sh", "3"]);
    program.ok_exit = vec![0, 3];
    assert_eq!(
        rig.act("good", Action::Run(program.clone())).await.status,
        JobStatus::Succeeded
    );
    program.ok_exit = vec![0];
    assert_eq!(
        rig.act("bad", Action::Run(program.clone())).await.status,
        failed(0, 3)
    );
    program.retry_exit = vec![75, 3];
    let retryable = JobStatus::Failed {
        action: 0,
        exit: 3,
        retryable: true,
    };
    assert_eq!(
        rig.act("later", Action::Run(program)).await.status,
        retryable
    );
    assert_eq!(
        rig.act("killed", run(&["sh", "-c", "kill -9 $$"]))
            .await
            .status,
        failed(0, 137)
    );
}

async fn the_first_failure_ends_the_job(rig: &Rig) {
    let fail = run(&["sh", "-c", "exit \"$1\"", "sh", "4"]);
    let actions = [write("/before", "x"), fail, write("/after", "x")];
    let end = rig.apply(&job("j", actions)).await.unwrap().end;
    assert_eq!(end.status, failed(1, 4));
    assert!(rig.is_there("/before"));
    assert!(
        !rig.names("/").iter().any(|name| name.contains("after")),
        "{:?}",
        rig.names("/")
    );
}

async fn a_program_that_is_not_there_is_said_to_be_missing(rig: &Rig) {
    let end = rig.act("j", run(&["no-such-program", "x"])).await;
    assert_eq!(end.status, failed(0, 127));
    assert!(end.stderr.contains("not found"), "{}", end.stderr);
    assert!(end.stderr.contains("exit status 127"), "{}", end.stderr);
}

async fn impossible_jobs_are_refused_before_anything_is_sent(rig: &Rig) {
    let mut env = program(&["true"]);
    env.env = vec![("BAD NAME".to_owned(), Text::plain("x"))];
    let mut nul = program(&["true"]);
    nul.env = vec![("GOOD".to_owned(), Text::plain("\0"))];
    let bad = [
        job(
            "a",
            [Action::Remove {
                path: abs("/"),
                recursive: true,
            }],
        ),
        job("b", [write("/", "x")]),
        job("c", [run(&[])]),
        job("d", [run(&["true", "a\0b"])]),
        job("e", [Action::Run(env)]),
        job("f", [Action::Run(nul)]),
        job("../g", [write("/x", "x")]),
        job("", [write("/x", "x")]),
    ];
    for job in bad {
        let error = rig.apply(&job).await.unwrap_err();
        assert_eq!(error.kind, HostErrorKind::NotStarted, "{job:?}");
    }
    assert!(!rig.is_there("/x"));
}

async fn output_is_capped_to_its_tail_and_streamed(rig: &Rig) {
    let end = rig.act("small", run(&["sh", "-c", NOISY, "10"])).await;
    assert_eq!((end.stdout.as_str(), end.dropped), (noise(10).as_str(), 0));
    assert_eq!(rig.heard(), noise(10));
    let end = rig.act("large", run(&["sh", "-c", NOISY, "40000"])).await;
    let whole = noise(40000);
    assert_eq!(end.stdout.len(), 64 * 1024);
    assert!(whole.ends_with(&end.stdout));
    assert_eq!(end.dropped, (whole.len() - 64 * 1024) as u64);
    assert!(rig.heard().ends_with(&end.stdout));
}

async fn a_job_that_takes_too_long_is_ended(rig: &Rig) {
    rig.hold();
    let gate = match &rig.world {
        super::rig::World::Fake(fake) => {
            fake.hold_jobs(false);
            "/gate".to_owned()
        }
        super::rig::World::Local { .. } => rig.at("gate").to_str().unwrap().to_owned(),
    };
    let mut job = job("j", [run(&["cat", &gate]), write("/after", "x")]);
    job.timeout = TimeSpan(Duration::from_millis(300));
    let end = rig.apply(&job).await.unwrap().end;
    assert_eq!(end.status, JobStatus::TimedOut);
    assert!(
        !rig.names("/").iter().any(|name| name.contains("after")),
        "{:?}",
        rig.names("/")
    );
}

async fn a_second_job_is_refused_while_one_runs(rig: &Rig) {
    rig.hold();
    rig.abandon("first").await;
    for _ in 0..2 {
        let error = rig
            .apply(&job("second", [write("/x", "x")]))
            .await
            .unwrap_err();
        assert_eq!(error.kind, HostErrorKind::Busy);
        assert!(error.failure.message.contains("first"), "{error}");
    }
    assert!(!rig.names("/").iter().any(|name| name.contains('x')));
    rig.release();
    assert_eq!(
        rig.attach("first", false).await.unwrap().status,
        JobStatus::Succeeded
    );
    assert_eq!(
        rig.act("second", write("/x", "x")).await.status,
        JobStatus::Succeeded
    );
}

async fn an_id_is_used_once(rig: &Rig) {
    rig.act("j", write("/x", "one")).await;
    let error = rig
        .apply(&job("j", [write("/x", "two")]))
        .await
        .unwrap_err();
    assert_eq!(error.kind, HostErrorKind::Busy);
    assert_eq!(rig.content("/x").unwrap(), b"one");
}

async fn an_abandoned_job_is_awaited(rig: &Rig) {
    rig.hold();
    rig.abandon("j").await;
    assert!(!rig.is_there("/ran"));
    let (end, ()) = tokio::join!(rig.attach("j", false), async {
        // Not before the attach has had its chance to be wrong.
        tokio::task::yield_now().await;
        rig.release();
    });
    let end = end.unwrap();
    assert_eq!(
        (end.status, end.stdout.as_str()),
        (JobStatus::Succeeded, "held\n")
    );
    assert_eq!(rig.content("/ran").unwrap(), b"ran\n");
    assert_eq!(
        rig.attach("j", false).await.unwrap().status,
        JobStatus::Lost
    );
}

async fn an_abandoned_job_is_ended(rig: &Rig) {
    rig.hold();
    rig.abandon("j").await;
    assert_eq!(rig.attach("j", true).await.unwrap().status, JobStatus::Lost);
    assert!(!rig.is_there("/ran"));
    rig.unhold();
    assert_eq!(
        rig.act("next", write("/x", "x")).await.status,
        JobStatus::Succeeded
    );
}

async fn an_unknown_job_is_lost_and_never_begins(rig: &Rig) {
    for end in [false, true] {
        let end = rig.attach("j", end).await.unwrap();
        assert_eq!(
            (end.status, end.stdout.as_str(), end.dropped),
            (JobStatus::Lost, "", 0)
        );
    }
    let error = rig
        .apply(&job("j", [write("/x", "late")]))
        .await
        .unwrap_err();
    assert_eq!(error.kind, HostErrorKind::Busy);
    assert!(!rig.is_there("/x"));
}

async fn facts_are_read_after_the_job(rig: &Rig) {
    let stat = |path: &str| Fact::Stat { path: abs(path) };
    let facts = [stat("/x"), stat("/y")];
    let job = job("j", [write("/x", "four")]);
    let applied = within(rig.host.apply(&job, &facts, &|_| ())).await.unwrap();
    assert_eq!(applied.answers.len(), 2);
    assert_eq!(applied.answers[0].0, facts[0]);
    let Ok(FactValue::Stat(file)) = &applied.answers[0].1 else {
        panic!("{:?}", applied.answers);
    };
    assert_eq!(
        (file.kind, file.mode, file.size),
        (FileKind::File, 0o640, 4)
    );
    assert_eq!(
        applied.answers[1],
        (facts[1].clone(), Err(FactError::NotFound))
    );
}

async fn every_fact_has_one_answer(rig: &Rig) {
    rig.put("/x", "hello\n");
    rig.put_link("/l", "x");
    let path = || abs("/x");
    let facts = vec![
        Fact::Stat { path: path() },
        Fact::Stat { path: abs("/l") },
        Fact::Digest {
            path: path(),
            uncached: true,
        },
        Fact::Digest {
            path: abs("/none"),
            uncached: false,
        },
        Fact::Content {
            path: path(),
            unless_sha256: None,
            cap: 100,
            sensitive: false,
        },
        Fact::Content {
            path: path(),
            unless_sha256: None,
            cap: 3,
            sensitive: false,
        },
        Fact::Os,
        Fact::Boot,
    ];
    let answers = within(rig.host.read(&facts)).await.unwrap();
    let asked: Vec<&Fact> = answers.iter().map(|(fact, _)| fact).collect();
    assert_eq!(asked, facts.iter().collect::<Vec<_>>());
    let hello = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
    assert_eq!(answers[2].1, Ok(FactValue::Digest(hello.to_owned())));
    assert_eq!(answers[3].1, Err(FactError::NotFound));
    assert!(
        matches!(&answers[4].1, Ok(FactValue::Content(content)) if content.bytes.as_deref() == Some(b"hello\n"))
    );
    assert_eq!(answers[5].1, Err(FactError::Truncated));
    assert!(
        matches!(&answers[1].1, Ok(FactValue::Stat(stat)) if stat.link_target.as_deref() == Some("x"))
    );
    assert!(within(rig.host.read(&[])).await.unwrap().is_empty());
}

async fn leftover_jobs_show_as_facts(rig: &Rig) {
    rig.hold();
    rig.abandon("j").await;
    let jobs = async || {
        let answers = within(rig.host.read(&[Fact::RunState])).await.unwrap();
        match &answers[0].1 {
            Ok(FactValue::RunState(state)) => state.jobs.clone(),
            other => panic!("{other:?}"),
        }
    };
    let left = jobs().await;
    assert_eq!(left.len(), 1);
    assert_eq!(
        (&left[0].id, left[0].running, &left[0].status),
        (&JobId::new("j"), true, &None)
    );
    rig.release();
    rig.attach("j", false).await.unwrap();
    assert!(jobs().await.is_empty());
}
