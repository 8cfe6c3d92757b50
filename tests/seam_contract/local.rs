//! What only the real machine can show: processes, signals, connections that break in the middle.

use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hmco_boot::model::action::{Action, JobStatus, Ownership};
use hmco_boot::model::sensitive::Text;
use hmco_boot::model::units::{Mode, TimeSpan};
use hmco_boot::transport::HostErrorKind;
use hmco_boot::transport::local::LocalHost;
use hmco_boot::transport::machine::Settings;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::rig::{Rig, abs, held, job, program, run, sandbox, until, write};

/// A rig with the system's `sh`, and settings changed.
pub fn rig(change: impl FnOnce(&mut Settings)) -> Rig {
    let (mut settings, world) = sandbox("sh").unwrap();
    change(&mut settings);
    Rig::with(Box::new(LocalHost::new(settings)), world)
}

pub fn books(rig: &Rig, id: &str) -> PathBuf {
    rig.at("run/hmco-boot/jobs").join(id)
}

/// The process that signed a file of a job's books.
fn signed(rig: &Rig, id: &str, file: &str) -> Pid {
    let text = std::fs::read_to_string(books(rig, id).join(file)).unwrap();
    let number = text.split(' ').next().unwrap().parse().unwrap();
    Pid::from_raw(number).unwrap()
}

fn is_alive(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    stat.is_ok_and(|stat| !stat.rsplit(") ").next().unwrap().starts_with('Z'))
}

fn script(text: &str) -> Action {
    run(&["sh", "-c", text])
}

#[tokio::test]
async fn a_job_survives_the_death_of_its_shell_and_runs_exactly_once() {
    let rig = rig(|_| ());
    rig.hold();
    let job = held("j");
    let apply = rig.apply(&job);
    let kill = async {
        rig.until_held().await;
        kill_process(signed(&rig, "j", "starter"), Signal::KILL).unwrap();
    };
    let (result, ()) = tokio::join!(apply, kill);
    assert_eq!(result.unwrap_err().kind, HostErrorKind::Lost);
    let worker = signed(&rig, "j", "pid");
    assert!(is_alive(worker));
    rig.release();
    until("the job ends by itself", || {
        books(&rig, "j").join("status").exists()
    })
    .await;
    let end = rig.attach("j", false).await.unwrap();
    assert_eq!(
        (end.status, end.stdout.as_str()),
        (JobStatus::Succeeded, "held\n")
    );
    assert_eq!(rig.content("/ran").unwrap(), b"ran\n");
    assert!(!books(&rig, "j").exists());
}

#[tokio::test]
async fn a_dropped_call_ends_its_shell_but_not_its_job() {
    let rig = rig(|_| ());
    rig.hold();
    rig.abandon("j").await;
    let shell = signed(&rig, "j", "starter");
    until("the shell is gone", || !is_alive(shell)).await;
    assert!(is_alive(signed(&rig, "j", "pid")));
    assert_eq!(rig.attach("j", true).await.unwrap().status, JobStatus::Lost);
}

#[tokio::test]
async fn output_is_streamed_while_the_job_runs_and_while_it_is_attached_to() {
    let rig = rig(|_| ());
    rig.hold();
    let job = held("j");
    let apply = rig.apply(&job);
    let watch = async {
        until("the first line is heard", || rig.heard() == "held\n").await;
        rig.release();
    };
    let (result, ()) = tokio::join!(apply, watch);
    assert_eq!(result.unwrap().end.stdout, "held\n");
    assert_eq!(rig.heard(), "held\n");
    std::fs::remove_file(rig.at("inside")).unwrap();
    rig.abandon("k").await;
    let watch = async {
        until("it is heard again", || rig.heard() == "held\nheld\n").await;
        rig.release();
    };
    let (result, ()) = tokio::join!(rig.attach("k", false), watch);
    assert_eq!(result.unwrap().stdout, "held\n");
    assert_eq!(rig.heard(), "held\nheld\n");
}

/// Bytes in all files below a folder.
fn size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => size(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_megabytes_of_output_take_no_room() {
    let rig = rig(|_| ());
    let job = job(
        "j",
        [script("head -c 100000000 /dev/zero | tr '\\0' x; echo end")],
    );
    let books = books(&rig, "j");
    let apply = rig.apply(&job);
    tokio::pin!(apply);
    let mut most = 0;
    let applied = loop {
        tokio::select! {
            result = &mut apply => break result.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(2)) => most = most.max(size(&books)),
        }
    };
    assert_eq!(applied.end.status, JobStatus::Succeeded);
    assert_eq!(applied.end.stdout.len(), 65536);
    assert!(applied.end.stdout.ends_with("xxend\n"));
    assert_eq!(applied.end.dropped, 100_000_004 - 65536);
    assert!(most > 0 && most < 1_000_000, "{most} bytes");
}

#[tokio::test]
async fn a_daemon_that_keeps_the_output_open_does_not_hold_up_the_job() {
    let rig = rig(|_| ());
    rig.hold();
    let end = rig
        .act("j", script("(read -r x < \"$HMCO_BOOT_ROOT/gate\"; echo late; : > \"$HMCO_BOOT_ROOT/late\") & echo started"))
        .await;
    assert_eq!(
        (end.status, end.stdout.as_str()),
        (JobStatus::Succeeded, "started\n")
    );
    // It does not die of talking to nobody either.
    rig.release();
    until("the daemon goes on", || rig.is_there("/late")).await;
}

#[tokio::test]
async fn processes_that_ignore_being_asked_are_killed() {
    let rig = rig(|settings| settings.grace = Duration::from_millis(200));
    rig.hold();
    let text = "trap '' TERM; echo $$ > \"$HMCO_BOOT_ROOT/pid\"; (exec cat \"$HMCO_BOOT_ROOT/gate\"); exec cat \"$HMCO_BOOT_ROOT/gate\"";
    let mut job = job("j", [script(text)]);
    job.timeout = TimeSpan(Duration::from_millis(100));
    assert_eq!(
        rig.apply(&job).await.unwrap().end.status,
        JobStatus::TimedOut
    );
    let number = std::fs::read_to_string(rig.at("pid"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    assert!(!is_alive(Pid::from_raw(number).unwrap()));
}

#[tokio::test]
async fn what_a_killed_job_had_started_still_counts_as_running() {
    let rig = rig(|_| ());
    rig.hold();
    rig.abandon("j").await;
    kill_process(signed(&rig, "j", "pid"), Signal::KILL).unwrap();
    let error = rig.apply(&job("k", [write("/x", "x")])).await.unwrap_err();
    assert_eq!(error.kind, HostErrorKind::Busy);
    rig.release();
    assert_eq!(
        rig.attach("j", false).await.unwrap().status,
        JobStatus::Lost
    );
    assert_eq!(rig.content("/ran").unwrap(), b"ran\n");
}

#[tokio::test]
async fn a_number_that_was_given_away_again_is_not_the_job() {
    let rig = rig(|_| ());
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let me = std::process::id();
    for (id, boot, pid) in [
        ("other-start", boot.as_str(), format!("{me} 1\n")),
        ("other-boot", "another\n", {
            let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
            format!(
                "{me} {}\n",
                stat.rsplit(") ")
                    .next()
                    .unwrap()
                    .split(' ')
                    .nth(19)
                    .unwrap()
            )
        }),
    ] {
        let folder = books(&rig, id);
        std::fs::create_dir_all(&folder).unwrap();
        for (name, text) in [("boot", boot), ("pid", pid.as_str()), ("claim", "")] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        std::fs::write(
            folder.join("temps"),
            format!("{}\n", rig.at("left").display()),
        )
        .unwrap();
        rig.put("/left", "half a secret");
        assert_eq!(
            rig.act(&format!("after-{id}"), write("/x", "x"))
                .await
                .status,
            JobStatus::Succeeded
        );
        assert_eq!(rig.attach(id, true).await.unwrap().status, JobStatus::Lost);
        assert!(!folder.exists() && !rig.is_there("/left"));
    }
    assert!(test_kill_process(Pid::from_raw(me.try_into().unwrap()).unwrap()).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_jobs_that_begin_together_at_most_one_runs_at_a_time() {
    let rig = rig(|_| ());
    let text = "mkdir \"$HMCO_BOOT_ROOT/alone\" || echo two >> \"$HMCO_BOOT_ROOT/two\"; rmdir \"$HMCO_BOOT_ROOT/alone\"";
    let mut succeeded = 0;
    for round in 0..8 {
        let jobs: Vec<_> = (0..4)
            .map(|n| job(&format!("r{round}-{n}"), [script(text)]))
            .collect();
        let (a, b, c, d) = tokio::join!(
            rig.apply(&jobs[0]),
            rig.apply(&jobs[1]),
            rig.apply(&jobs[2]),
            rig.apply(&jobs[3])
        );
        for result in [a, b, c, d] {
            match result {
                Ok(applied) => {
                    assert_eq!(applied.end.status, JobStatus::Succeeded);
                    succeeded += 1;
                }
                Err(error) => assert_eq!(error.kind, HostErrorKind::Busy),
            }
        }
    }
    assert!(!rig.is_there("/two"));
    assert!(succeeded > 0);
}

/// Text of every process' arguments, and the names of those whose environment has a word.
fn process_lists(word: &str) -> (String, Vec<String>) {
    let mut arguments = String::new();
    let mut environments = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let read = |name: &str| {
            std::fs::read(entry.path().join(name))
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        };
        let line = read("cmdline").unwrap_or_default();
        if read("environ").unwrap_or_default().contains(word) {
            environments.push(line.replace('\0', " "));
        }
        arguments.push_str(&line);
    }
    (arguments, environments)
}

/// Regular files below a folder whose bytes have a word.
fn files_with(folder: &Path, word: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(files_with(&entry.path(), word));
        } else if kind.is_file()
            && String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).contains(word)
        {
            found.push(entry.path());
        } else {
            assert!(kind.is_file() || kind.is_fifo() || kind.is_symlink());
        }
    }
    found
}

#[tokio::test]
async fn secrets_are_in_no_process_list_and_no_other_file() {
    for shell in ["dash", "bash", "busybox"] {
        let Some(rig) = Rig::local(shell) else {
            continue;
        };
        rig.hold();
        let canary = format!("canary-{}-{shell}", std::process::id());
        let mut speaker = program(&["sh", "-c", super::rig::HELD]);
        speaker.env = vec![("SECRET".to_owned(), Text::tainted(canary.clone()))];
        // More than a pipe holds, so that it is still on its way while we look.
        speaker.stdin = Some(Text::tainted(canary.repeat(10_000)));
        let content = Action::WriteFile {
            path: abs("/secret"),
            content: Text::tainted(canary.clone()),
            mode: Mode(0o600),
            owner: Ownership::default(),
            backup: false,
            replaces: None,
        };
        let job = job(
            "j",
            [content, Action::Run(speaker), write("/later", &canary)],
        );
        let look = async {
            rig.until_held().await;
            let (arguments, environments) = process_lists(&canary);
            assert!(!arguments.contains(&canary));
            assert!(
                arguments.contains("HMCO_BOOT_ROOT/gate"),
                "the program is not there to be looked at"
            );
            assert!(
                environments
                    .iter()
                    .all(|line| line.contains("HMCO_BOOT_ROOT/gate")),
                "{environments:?}"
            );
            assert_eq!(environments.len(), 1, "{environments:?}");
            let found = files_with(&rig.at("/"), &canary);
            let payload = books(&rig, "j").join("payload.2");
            assert_eq!(found.len(), 2, "{found:?}");
            assert!(found.contains(&rig.at("/secret")) && found.contains(&payload));
            for path in [&payload, &rig.at("/secret")] {
                assert_eq!(
                    std::fs::metadata(path).unwrap().permissions().mode() & 0o777,
                    0o600
                );
            }
            assert_eq!(
                std::fs::metadata(books(&rig, "j"))
                    .unwrap()
                    .permissions()
                    .mode()
                    & 0o777,
                0o700
            );
            rig.release();
        };
        let (applied, ()) = tokio::join!(rig.apply(&job), look);
        assert_eq!(applied.unwrap().end.status, JobStatus::Succeeded);
    }
}

#[tokio::test]
async fn a_plain_user_may_do_what_a_plain_user_may() {
    if !rustix::process::getuid().is_root() {
        crate::skip::tell("needs root to become somebody else (the other cases run as this user)");
        return;
    }
    let rig = rig(|settings| {
        settings.shell = [
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--keep-groups",
            "sh",
        ]
        .map(str::to_owned)
        .to_vec();
        settings.run_dir = abs("/mine/run");
    });
    std::fs::set_permissions(rig.at("/"), std::fs::Permissions::from_mode(0o755)).unwrap();
    rig.make_folder("/mine");
    std::os::unix::fs::chown(rig.at("/mine"), Some(65534), Some(65534)).unwrap();
    rig.make_folder("/theirs");
    assert_eq!(
        rig.act("one", write("/mine/file", "x")).await.status,
        JobStatus::Succeeded
    );
    let end = rig.act("two", write("/theirs/file", "x")).await;
    assert_eq!(
        end.status,
        JobStatus::Failed {
            action: 0,
            exit: 1,
            retryable: false
        }
    );
    assert!(end.stderr.contains("Permission denied"), "{}", end.stderr);
    assert!(rig.names("/theirs").is_empty());
}

#[tokio::test]
async fn books_that_cannot_be_kept_are_an_error_with_a_cure() {
    let rig = rig(|_| ());
    rig.put("/run/hmco-boot", "a file in the way");
    let error = rig.apply(&job("j", [write("/x", "x")])).await.unwrap_err();
    assert_eq!(error.kind, HostErrorKind::NotStarted);
    assert!(error.failure.hint.unwrap().contains("/run/hmco-boot"));
    assert!(!rig.is_there("/x"));
}

#[tokio::test]
async fn a_shell_that_is_not_there_is_unreachable() {
    let rig = rig(|settings| settings.shell = vec!["no-such-shell".to_owned()]);
    let error = rig.apply(&job("j", [write("/x", "x")])).await.unwrap_err();
    assert!(
        error
            .failure
            .evidence
            .iter()
            .any(|line| line.contains("no-such-shell")),
        "{error:?}"
    );
    assert_eq!(error.kind, HostErrorKind::Unreachable { transient: false });
}

#[tokio::test]
async fn nothing_below_a_mount_is_removed() {
    let probe = Command::new("unshare")
        .args(["-m", "true"])
        .stderr(Stdio::null())
        .status();
    if !probe.is_ok_and(|status| status.success()) {
        crate::skip::tell("no mounts may be made here");
        return;
    }
    for shell in ["sh", "busybox"] {
        let Some((mut settings, world)) = sandbox(shell) else {
            continue;
        };
        let mut words = vec!["unshare".to_owned(), "-m".to_owned()];
        words.append(&mut settings.shell);
        // busybox' own `unshare` is first on its path; both take -m.
        settings.shell = words;
        let rig = Rig::with(Box::new(LocalHost::new(settings)), world);
        rig.put("/precious/data", "x");
        rig.put("/old/with blank/mnt/.keep", "x");
        let mount = script(
            "mount --bind \"$HMCO_BOOT_ROOT/precious\" \"$HMCO_BOOT_ROOT/old/with blank/mnt\"",
        );
        let remove = |path: &str| Action::Remove {
            path: abs(path),
            recursive: true,
        };
        for (id, path) in [("a", "/old"), ("b", "/old/with blank/mnt")] {
            let end = rig
                .apply(&job(id, [mount.clone(), remove(path)]))
                .await
                .unwrap()
                .end;
            assert_eq!(
                end.status,
                JobStatus::Failed {
                    action: 1,
                    exit: 1,
                    retryable: false
                },
                "{end:?}"
            );
            assert!(end.stderr.contains("mount point"), "{}", end.stderr);
            assert!(rig.is_there("/precious/data") && rig.is_there("/old/with blank/mnt/.keep"));
        }
    }
}
