//! Cases of the `Host` seam about pinned files.

use std::collections::BTreeMap;

use flate2::Compression;
use flate2::write::GzEncoder;
use hmco_boot::artifact::memory::MemoryArtifacts;
use hmco_boot::model::action::{Action, JobStatus, Ownership};
use hmco_boot::model::artifact::{Fetch, Member, Pin, PinArch};
use hmco_boot::model::units::Mode;
use hmco_boot::transport::HostErrorKind;
use sha2::{Digest, Sha256};

use super::http::{Page, Server};
use super::rig::{Rig, World, abs, artifacts, failed, job};

pub fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A program as large as this, with bytes of every value; another one for every `seed`.
pub fn bytes(size: usize, seed: u8) -> Vec<u8> {
    (0..size)
        .map(|at| (at % 251) as u8 ^ (at / 251 % 256) as u8 ^ seed)
        .collect()
}

pub fn pin(url: &str, bytes: &[u8], fetch: Fetch) -> Pin {
    Pin {
        name: "tool".to_owned(),
        version: "v1".to_owned(),
        arch: PinArch::All,
        url: url.to_owned(),
        sha256: sha256(bytes),
        size: bytes.len() as u64,
        fetch,
        members: BTreeMap::new(),
    }
}

pub fn place(pin: &Pin, path: &str) -> Action {
    Action::Place {
        pin: Box::new(pin.clone()),
        member: None,
        path: abs(path),
        mode: Mode(0o755),
        owner: Ownership::default(),
    }
}

/// Bytes that the controller can fetch and, over HTTP, the machine. The server lives as long as the rig is tested.
fn offered(rig: &Rig, bytes: &[u8]) -> (Server, String) {
    let server = Server::start();
    server.page("/v1/tool", Page::of(bytes));
    let url = server.url("/v1/tool");
    offer(&artifacts(), &url, bytes);
    if let World::Fake(fake) = &rig.world {
        fake.serve(std::sync::Arc::new(artifacts()));
    }
    (server, url)
}

fn offer(artifacts: &MemoryArtifacts, url: &str, bytes: &[u8]) {
    artifacts.offer(url, bytes);
}

pub async fn a_pinned_file_is_placed_whoever_fetches_it(rig: &Rig) {
    rig.make_folder("/usr/local/bin");
    for (fetch, size) in [(Fetch::Controller, 200_001), (Fetch::Node, 99_999)] {
        let bytes = bytes(size, 3);
        let (_server, url) = offered(rig, &bytes);
        let pin = pin(&url, &bytes, fetch);
        for id in ["one", "two"] {
            let end = rig
                .act(&format!("{id}-{size}"), place(&pin, "/usr/local/bin/tool"))
                .await;
            assert_eq!(end.status, JobStatus::Succeeded, "{fetch:?}: {end:?}");
            assert!(rig.content("/usr/local/bin/tool").unwrap() == bytes);
            assert_eq!(rig.mode("/usr/local/bin/tool"), 0o755);
        }
        assert_eq!(rig.names("/usr/local/bin"), ["tool"]);
    }
    if let World::Local { .. } = rig.world {
        assert!(rig.names("/var/lib/hmco-boot/upload").is_empty());
    }
}

pub async fn a_file_of_an_archive_is_placed(rig: &Rig) {
    let inner = bytes(70_000, 9);
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, content) in [("./a/other", b"x".as_slice()), ("./a/it's a tool", &inner)] {
        let mut header = tar::Header::new_gnu();
        // As `tar czf x.tgz ./a` writes it; `append_data` would leave the `./` out.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    let archive = builder.into_inner().unwrap().finish().unwrap();
    for (number, fetch) in [Fetch::Controller, Fetch::Node].into_iter().enumerate() {
        let (_server, url) = offered(rig, &archive);
        let mut action = place(&pin(&url, &archive, fetch), "/tool");
        let good = Member {
            path: "./a/it's a tool".to_owned(),
            sha256: sha256(&inner),
            size: inner.len() as u64,
        };
        if let Action::Place { member, .. } = &mut action {
            *member = Some(good);
        }
        let end = rig.act(&format!("m{number}"), action).await;
        assert_eq!(end.status, JobStatus::Succeeded, "{fetch:?}: {end:?}");
        assert!(rig.content("/tool").unwrap() == inner);
    }
}

pub async fn a_pinned_file_replaces_a_link_and_no_folder(rig: &Rig) {
    let bytes = bytes(1000, 5);
    let (_server, url) = offered(rig, &bytes);
    let pin = pin(&url, &bytes, Fetch::Controller);
    rig.put("/real", "old");
    rig.put_link("/link", "real");
    rig.make_folder("/folder");
    assert_eq!(
        rig.act("l", place(&pin, "/link")).await.status,
        JobStatus::Succeeded
    );
    assert_eq!(rig.link("/link"), None);
    assert_eq!(rig.content("/real").unwrap(), b"old");
    let end = rig.act("f", place(&pin, "/folder")).await;
    assert_eq!(end.status, failed(0, 1));
    assert!(end.stderr.contains("is a folder"), "{}", end.stderr);
    let end = rig.act("n", place(&pin, "/no/such/tool")).await;
    assert_eq!(end.status, failed(0, 1));
    assert!(end.stderr.contains("does not exist"), "{}", end.stderr);
    assert!(!rig.names("/").iter().any(|name| name.contains("tmp")));
}

pub async fn what_cannot_be_fetched_places_nothing(rig: &Rig) {
    let good = bytes(1000, 7);
    let (server, url) = offered(rig, &good);
    let mut wrong = pin(&url, &good, Fetch::Controller);
    wrong.sha256 = sha256(b"another");
    let error = rig
        .apply(&job("c", [place(&wrong, "/tool")]))
        .await
        .unwrap_err();
    assert_eq!(error.kind, HostErrorKind::NotStarted);
    wrong.fetch = Fetch::Node;
    let end = rig.act("n", place(&wrong, "/tool")).await;
    assert!(
        matches!(end.status, JobStatus::Failed { action: 0, .. }),
        "{end:?}"
    );
    let gone = pin(&server.url("/gone"), &good[1..], Fetch::Node);
    let end = rig.act("g", place(&gone, "/tool")).await;
    assert!(
        matches!(end.status, JobStatus::Failed { action: 0, .. }),
        "{end:?}"
    );
    assert!(end.stderr.contains("cannot be fetched"), "{}", end.stderr);
    assert!(!rig.is_there("/tool"));
}

pub async fn a_pin_that_cannot_be_said_to_a_shell_is_refused(rig: &Rig) {
    let good = pin("https://example.org/tool", b"x", Fetch::Node);
    let refused = [
        Pin {
            url: "https://user:word@example.org/tool".to_owned(),
            ..good.clone()
        },
        Pin {
            url: "file:///etc/shadow".to_owned(),
            ..good.clone()
        },
        Pin {
            url: "https://example.org/a b".to_owned(),
            ..good.clone()
        },
        Pin {
            sha256: "../../etc/shadow".to_owned(),
            ..good.clone()
        },
    ];
    for (number, pin) in refused.iter().enumerate() {
        let error = rig
            .apply(&job(&format!("r{number}"), [place(pin, "/tool")]))
            .await
            .unwrap_err();
        assert_eq!(error.kind, HostErrorKind::NotStarted, "{pin:?}");
        assert!(!error.failure.message.contains("user:word"), "{error:?}");
    }
}
