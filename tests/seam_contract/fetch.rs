//! Real machines that fetch pinned files by themselves, with the tools they have.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use hmco_boot::model::action::JobStatus;
use hmco_boot::model::artifact::{Fetch, Pin};
use hmco_boot::transport::machine::Settings;

use super::http::{Page, Server};
use super::place::{bytes, pin, place};
use super::rig::{Rig, job};
use super::upload::{local, placing, uploads};

async fn fetches(rig: &Rig, pin: &Pin) -> (JobStatus, String) {
    let end = rig.apply(&placing(pin)).await.unwrap().end;
    (end.status, end.stderr)
}

#[tokio::test]
async fn a_machine_goes_on_with_a_download_that_was_cut() {
    let bytes = bytes(3_000_000, 10);
    let without_curl = tools_but(&["curl"]);
    let with_gnu_wget = |settings: &mut Settings| {
        settings.path = without_curl.path().to_str().unwrap().to_owned();
    };
    for (shell, rig, goes_on) in [
        ("dash", Rig::local("dash"), true),
        ("GNU wget", Some(local(with_gnu_wget)), true),
        ("busybox", Rig::local("busybox"), false),
    ] {
        let Some(rig) = rig else { continue };
        let server = Server::start();
        let cuts = vec![1_000_000, 1_000_000];
        server.page(
            "/tool",
            Page {
                cuts,
                ..Page::of(bytes.clone())
            },
        );
        let pin = pin(&server.url("/tool"), &bytes, Fetch::Node);
        let (status, said) = fetches(&rig, &pin).await;
        assert_eq!(status, JobStatus::Succeeded, "{shell}: {said}");
        assert!(rig.content("/tool").unwrap() == bytes);
        let log = server.log();
        assert_eq!(log.len(), 3, "{log:?}");
        if goes_on {
            assert_eq!(log[2], "GET /tool bytes=2000000-");
        }
    }
}

#[tokio::test]
async fn a_machine_takes_a_server_without_ranges_from_its_beginning_and_gives_up_at_last() {
    let bytes = bytes(300_000, 11);
    let rig = local(|_| ());
    let server = Server::start();
    let page = Page {
        ranges: false,
        cuts: vec![100_000],
        ..Page::of(bytes.clone())
    };
    server.page("/tool", page.clone());
    let pin = pin(&server.url("/tool"), &bytes, Fetch::Node);
    let (status, said) = fetches(&rig, &pin).await;
    assert_eq!(status, JobStatus::Succeeded, "{said}");
    server.page(
        "/tool",
        Page {
            cuts: vec![100_000; 99],
            ..page
        },
    );
    fs::remove_file(rig.at("/tool")).unwrap();
    let end = rig
        .apply(&job("again", [place(&pin, "/tool")]))
        .await
        .unwrap()
        .end;
    let JobStatus::Failed { exit: 75, .. } = end.status else {
        panic!("{end:?}")
    };
    assert!(
        end.stderr.contains("tried 5 times") && end.stderr.contains("fetch = \"controller\""),
        "{}",
        end.stderr
    );
}

#[tokio::test]
async fn a_machine_refuses_what_is_not_the_pinned_file() {
    let good = bytes(300_000, 12);
    let server = Server::start();
    let other = bytes(300_000, 13);
    server.page("/other", Page::of(other.clone()));
    server.page("/larger", Page::of(bytes(300_001, 12)));
    server.page("/to-other", redirect("/other"));
    for (path, expected) in [
        ("/other", super::place::sha256(&other)),
        ("/to-other", super::place::sha256(&other)),
        ("/larger", "cannot be fetched".to_owned()),
        ("/nowhere", "404".to_owned()),
    ] {
        for shell in ["dash", "busybox"] {
            let Some(rig) = Rig::local(shell) else {
                continue;
            };
            let pin = pin(&server.url(path), &good, Fetch::Node);
            let (status, said) = fetches(&rig, &pin).await;
            assert!(
                matches!(status, JobStatus::Failed { .. }),
                "{path} {shell}: {status:?}"
            );
            assert!(
                said.contains(&expected) && said.contains(path),
                "{path} {shell}: {said}"
            );
            assert!(!rig.is_there("/tool"));
            assert!(fs::read_dir(uploads(&rig)).unwrap().all(|entry| {
                let size = entry.unwrap().metadata().unwrap().len();
                size == 0
            }));
        }
    }
}

/// A folder with all tools of this machine but these.
fn tools_but(missing: &[&str]) -> tempfile::TempDir {
    let tools = tempfile::tempdir().unwrap();
    for folder in ["/usr/bin", "/bin", "/usr/sbin", "/sbin"] {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            if !missing.iter().any(|missing| name == *missing) {
                // The same names in two folders are the same tools.
                std::os::unix::fs::symlink(entry.path(), tools.path().join(name)).ok();
            }
        }
    }
    tools
}

/// What is called done has to be there after a power cut.
#[tokio::test]
async fn a_download_is_brought_to_the_disk_before_it_gets_its_name() {
    let bytes = bytes(300_000, 12);
    let tools = tools_but(&["sync"]);
    let at = tools.path().join("sync");
    let log = tools.path().join("synced");
    let stand_in = |ends: u8| {
        let text = format!(
            "#!/bin/sh\nls -- \"$1\" >>{}\ncase $1 in *.part) exit {ends} ;; esac\n",
            log.display()
        );
        fs::write(&at, text).unwrap();
        fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).unwrap();
    };
    let rig = local(|settings: &mut Settings| {
        settings.path = tools.path().to_str().unwrap().to_owned();
    });
    let server = Server::start();
    server.page("/tool", Page::of(bytes.clone()));
    let pin = pin(&server.url("/tool"), &bytes, Fetch::Node);
    stand_in(1);
    let (status, said) = fetches(&rig, &pin).await;
    assert!(matches!(status, JobStatus::Failed { .. }), "{status:?}");
    assert!(said.contains("cannot be brought to the disk"), "{said}");
    assert!(rig.content("/tool").is_none());
    stand_in(0);
    let end = rig
        .apply(&job("again", [place(&pin, "/tool")]))
        .await
        .unwrap()
        .end;
    assert_eq!(end.status, JobStatus::Succeeded, "{}", end.stderr);
    let synced = fs::read_to_string(&log).unwrap();
    let part = format!("{}.part", pin.sha256);
    assert_eq!(
        synced.lines().filter(|line| line.ends_with(&part)).count(),
        2,
        "{synced}"
    );
}

#[tokio::test]
async fn a_machine_without_the_tool_says_which_it_needs() {
    let https = pin("https://127.0.0.1:1/tool", b"x", Fetch::Node);
    if let Some(rig) = Rig::local("busybox") {
        let (status, said) = fetches(&rig, &https).await;
        assert!(matches!(status, JobStatus::Failed { .. }));
        assert!(said.contains("does no https"), "{said}");
    }
    let tools = tools_but(&["curl", "wget"]);
    let rig = local(|settings| settings.path = tools.path().to_str().unwrap().to_owned());
    let (status, said) = fetches(&rig, &https).await;
    assert!(matches!(status, JobStatus::Failed { .. }));
    assert!(said.contains("neither curl nor wget"), "{said}");
}

fn redirect(location: &str) -> Page {
    Page {
        status: 302,
        location: Some(location.to_owned()),
        ..Page::of("")
    }
}
