//! Cases of the `Host` seam about programs, jobs and facts.

use std::time::Duration;

use hmco_boot::facts::fact::{Fact, FactError, FactValue, FileKind};
use hmco_boot::model::action::{Action, JobStatus};
use hmco_boot::model::id::JobId;
use hmco_boot::model::sensitive::Text;
use hmco_boot::model::units::TimeSpan;
use hmco_boot::transport::HostErrorKind;

use super::rig::{NOISY, Rig, SPEAK, World, abs, failed, job, noise, program, run, within, write};

pub async fn any_content_arrives_as_it_is(rig: &Rig) {
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

pub async fn a_program_gets_arguments_environment_and_input_as_they_are(rig: &Rig) {
    let mut speak = program(&["sh", "-c", SPEAK]);
    speak.env = vec![("WORD".to_owned(), Text::tainted("it's \"$HOME\"\n"))];
    speak.stdin = Some(Text::tainted("a\0b\nno newline at the end"));
    let end = rig.act("j", Action::Run(speak)).await;
    assert_eq!(end.status, JobStatus::Succeeded, "{end:?}");
    assert_eq!(end.stdout, "[it's \"$HOME\"\n]a\0b\nno newline at the end");
    let end = rig.act("none", run(&["sh", "-c", SPEAK])).await;
    assert_eq!(end.stdout, "[]");
}

pub async fn a_program_runs_in_its_folder(rig: &Rig) {
    rig.make_folder("/work here");
    let mut pwd = program(&["pwd"]);
    pwd.cwd = Some(abs("/work here"));
    let end = rig.act("j", Action::Run(pwd)).await;
    assert!(end.stdout.ends_with("/work here\n"), "{end:?}");
}

pub async fn exit_statuses_decide(rig: &Rig) {
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

pub async fn the_first_failure_ends_the_job(rig: &Rig) {
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

pub async fn a_program_that_is_not_there_is_said_to_be_missing(rig: &Rig) {
    let end = rig.act("j", run(&["no-such-program", "x"])).await;
    assert_eq!(end.status, failed(0, 127));
    assert!(end.stderr.contains("not found"), "{}", end.stderr);
    assert!(end.stderr.contains("exit status 127"), "{}", end.stderr);
}

pub async fn impossible_jobs_are_refused_before_anything_is_sent(rig: &Rig) {
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

pub async fn output_is_capped_to_its_tail_and_streamed(rig: &Rig) {
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

pub async fn a_job_that_takes_too_long_is_ended(rig: &Rig) {
    rig.hold();
    let gate = match &rig.world {
        World::Fake(fake) => {
            fake.hold_jobs(false);
            "/gate".to_owned()
        }
        World::Local { .. } => rig.at("gate").to_str().unwrap().to_owned(),
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

pub async fn a_second_job_is_refused_while_one_runs(rig: &Rig) {
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

pub async fn an_id_is_used_once(rig: &Rig) {
    rig.act("j", write("/x", "one")).await;
    let error = rig
        .apply(&job("j", [write("/x", "two")]))
        .await
        .unwrap_err();
    assert_eq!(error.kind, HostErrorKind::Busy);
    assert_eq!(rig.content("/x").unwrap(), b"one");
}

pub async fn an_abandoned_job_is_awaited(rig: &Rig) {
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

pub async fn an_abandoned_job_is_ended(rig: &Rig) {
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

pub async fn an_unknown_job_is_lost_and_never_begins(rig: &Rig) {
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

pub async fn facts_are_read_after_the_job(rig: &Rig) {
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

pub async fn every_fact_has_one_answer(rig: &Rig) {
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

pub async fn leftover_jobs_show_as_facts(rig: &Rig) {
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
