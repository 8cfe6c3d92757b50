//! Cases of the `Host` seam about files, folders and links.

use hmco_boot::model::action::{Action, CHANGED_MEANWHILE, JobStatus, Ownership, Replaces};
use hmco_boot::model::sensitive::Text;
use hmco_boot::model::units::Mode;

use super::rig::{Rig, abs, failed, job, noise, run, write};

pub async fn a_file_is_written_with_its_mode_and_again_without_harm(rig: &Rig) {
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

pub async fn a_file_replaces_a_link_and_not_what_it_points_to(rig: &Rig) {
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

pub async fn a_file_does_not_replace_a_folder_nor_go_into_it(rig: &Rig) {
    rig.make_folder("/there");
    let end = rig.act("j", write("/there", "x")).await;
    assert_eq!(end.status, failed(0, 1));
    assert!(end.stderr.contains("is a folder"), "{}", end.stderr);
    assert!(rig.names("/there").is_empty());
    assert!(!rig.names("/").iter().any(|name| name.contains("tmp")));
}

pub async fn a_missing_folder_is_an_error_of_the_job(rig: &Rig) {
    let end = rig.act("j", write("/no/such/file", "x")).await;
    assert_eq!(end.status, failed(0, 1));
    assert!(end.stderr.contains("does not exist"), "{}", end.stderr);
    assert!(!rig.is_there("/no"));
}

pub async fn a_folder_made_earlier_in_the_job_is_there_for_a_file(rig: &Rig) {
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

pub async fn the_former_file_is_kept_once(rig: &Rig) {
    rig.put("/conf", "original");
    let action = Action::WriteFile {
        path: abs("/conf"),
        content: Text::plain("wished"),
        mode: Mode(0o600),
        owner: Ownership::default(),
        backup: true,
        replaces: None,
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

/// The digests of "first\n" and of "second\n".
const FIRST: &str = "b640e840b19d378660b32fb51ae18d67dccb4a8596a29e7bd72c1b2ae5928f41";
const SECOND: &str = "480c2336b410f1ad5f8bf1b28944490255804b65350c527787e74ebdd511e3a4";

fn edit(path: &str, content: &str, replaces: Replaces) -> Action {
    Action::WriteFile {
        path: abs(path),
        content: Text::plain(content),
        mode: Mode(0o600),
        owner: Ownership::default(),
        backup: true,
        replaces: Some(replaces),
    }
}

fn was(sha256: &str) -> Replaces {
    Replaces::Sha256(sha256.to_owned())
}

pub async fn a_file_that_is_what_its_edit_was_made_from_is_written(rig: &Rig) {
    rig.put("/etc/conf", "first\n");
    rig.put("/etc/real", "first\n");
    rig.put_link("/etc/link", "real");
    let actions = [
        edit("/etc/conf", "second\n", was(FIRST)),
        edit("/etc/conf", "third\n", was(SECOND)),
        edit("/etc/link", "second\n", was(FIRST)),
        edit("/etc/new", "first\n", Replaces::Absent),
        // As it is wished already: nothing of anybody's is lost.
        edit("/etc/new", "first\n", Replaces::Absent),
        edit("/etc/new", "first\n", was(SECOND)),
    ];
    let end = rig.apply(&job("j", actions)).await.unwrap().end;
    assert_eq!(end.status, JobStatus::Succeeded, "{end:?}");
    assert_eq!(rig.content("/etc/conf").unwrap(), b"third\n");
    assert_eq!(rig.content("/etc/link").unwrap(), b"second\n");
    assert_eq!(rig.content("/etc/real").unwrap(), b"first\n");
    assert_eq!(rig.content("/etc/new").unwrap(), b"first\n");
}

pub async fn a_file_that_was_changed_since_is_left_alone_and_nothing_stays_behind(rig: &Rig) {
    rig.put("/etc/conf", "second\n");
    rig.put_link("/etc/dangling", "nowhere");
    let cases = [
        ("changed", "/etc/conf", was(FIRST)),
        ("appeared", "/etc/conf", Replaces::Absent),
        ("gone", "/etc/missing", was(FIRST)),
        ("link", "/etc/dangling", Replaces::Absent),
    ];
    for (id, path, replaces) in cases {
        // At once, and where its folder may have been another one when the bytes came.
        for (id, before) in [
            (id.to_owned(), Vec::new()),
            (format!("{id}-late"), vec![run(&["pwd"])]),
        ] {
            let action = u32::try_from(before.len()).unwrap();
            let write = [edit(path, "third\n", replaces.clone()), write("/after", "")];
            let end = rig.apply(&job(&id, before.into_iter().chain(write))).await;
            let end = end.unwrap().end;
            let status = JobStatus::Failed {
                action,
                exit: CHANGED_MEANWHILE,
                retryable: true,
            };
            assert_eq!(end.status, status, "{end:?}");
            let said = format!("{} was changed meanwhile; nothing was written", path);
            let said = said.trim_start_matches('/');
            assert!(end.stderr.contains(said), "{}", end.stderr);
            assert_eq!(rig.names("/etc"), ["conf", "dangling"]);
        }
    }
    assert_eq!(rig.content("/etc/conf").unwrap(), b"second\n");
    assert_eq!(rig.link("/etc/dangling").as_deref(), Some("nowhere"));
    assert!(!rig.is_there("/after"));
}

pub async fn five_megabytes_arrive(rig: &Rig) {
    let text = noise(5 * 65536);
    rig.act("j", write("/big", &text)).await;
    assert!(rig.content("/big").unwrap() == text.as_bytes());
}

pub async fn folders_are_made_with_those_above_them(rig: &Rig) {
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

pub async fn attributes_change_on_what_is_there_only(rig: &Rig) {
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

pub async fn a_link_replaces_a_link_and_nothing_else(rig: &Rig) {
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

pub async fn removing_is_idempotent_and_spares_folders(rig: &Rig) {
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

pub async fn odd_names_are_just_names(rig: &Rig) {
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
