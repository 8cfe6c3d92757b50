//! The `Artifacts` seam: both implementations pass the same cases; the real one against servers that break off, lie and
//! redirect, damaged caches, mirror folders, and other processes.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests"
)]

#[path = "support/http.rs"]
mod http;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use hmco_boot::artifact::memory::MemoryArtifacts;
use hmco_boot::artifact::store::{Settings, Store};
use hmco_boot::artifact::{Artifacts, Progress, Source, VerifiedFile, member};
use hmco_boot::model::artifact::{Fetch, Pin, PinArch};
use hmco_boot::model::outcome::Failure;
use http::{Page, Server};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes that differ at every place.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..count).map(next).collect()
}

fn pin(url: &str, bytes: &[u8]) -> Pin {
    Pin {
        name: "tool".to_owned(),
        version: "v1".to_owned(),
        arch: PinArch::Arm64,
        url: url.to_owned(),
        sha256: sha256(bytes),
        size: bytes.len() as u64,
        fetch: Fetch::Controller,
        members: BTreeMap::new(),
    }
}

fn content(file: &VerifiedFile) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.open().unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn told(failure: &Failure) -> String {
    format!(
        "{}\n{}\n{}",
        failure.message,
        failure.evidence.join("\n"),
        failure.hint.clone().unwrap_or_default()
    )
}

async fn fetch(artifacts: &dyn Artifacts, pin: &Pin) -> Result<VerifiedFile, Failure> {
    artifacts.fetch(pin, &|_| ()).await
}

/// A store with a cache of its own.
struct Rig {
    store: Store,
    server: Server,
    folder: TempDir,
}

fn settings(folder: &Path) -> Settings {
    Settings {
        mirrors: vec![folder.join("mirror")],
        proxies: false,
        tries: 3,
        pause: Duration::from_millis(1),
        stall: Duration::from_secs(5),
        ..Settings::new(folder.join("cache"))
    }
}

fn rig() -> Rig {
    let folder = tempfile::tempdir().unwrap();
    Rig {
        store: Store::new(settings(folder.path())),
        server: Server::start(),
        folder,
    }
}

impl Rig {
    fn cached(&self, name: &str) -> PathBuf {
        self.folder.path().join("cache/sha256").join(name)
    }

    fn mirror(&self, path: &str, bytes: &[u8]) {
        let path = self.folder.path().join("mirror").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Nothing but whole files and locks is left.
    fn is_tidy(&self) -> bool {
        fs::read_dir(self.folder.path().join("cache/sha256"))
            .unwrap()
            .all(|entry| {
                let name = entry.unwrap().file_name().into_string().unwrap();
                !name.contains(".part")
            })
    }
}

// ---- The same cases for both ----

async fn a_file_is_what_its_pin_says_and_comes_from_the_cache_the_second_time(
    artifacts: &dyn Artifacts,
    url: &str,
    bytes: &[u8],
) {
    let pin = pin(url, bytes);
    assert_eq!(artifacts.at_hand(&pin).await, None);
    let first = fetch(artifacts, &pin).await.unwrap();
    assert_eq!(first.source, Source::Url(url.to_owned()));
    assert_eq!(content(&first), bytes);
    assert_eq!((first.size, &first.sha256), (pin.size, &pin.sha256));
    assert_eq!(artifacts.at_hand(&pin).await, Some(Source::Cache));
    let second = fetch(artifacts, &pin).await.unwrap();
    assert_eq!(second.source, Source::Cache);
    assert_eq!(content(&second), bytes);
}

async fn a_file_that_is_another_is_refused_with_both_digests(
    artifacts: &dyn Artifacts,
    url: &str,
    bytes: &[u8],
) {
    let mut other = bytes.to_vec();
    other[0] ^= 1;
    let pin = pin(url, &other);
    let words = told(&fetch(artifacts, &pin).await.unwrap_err());
    for part in [url, &pin.sha256, &sha256(bytes), "tool v1 (arm64)"] {
        assert!(words.contains(part), "{part} in {words}");
    }
    assert_eq!(artifacts.at_hand(&pin).await, None);
    assert!(fetch(artifacts, &pin).await.is_err());
}

async fn what_is_not_there_is_told_with_what_to_do(artifacts: &dyn Artifacts, url: &str) {
    let pin = pin(&format!("{url}-nowhere"), b"x");
    let words = told(&fetch(artifacts, &pin).await.unwrap_err());
    assert!(
        words.contains("404") && words.contains("--mirror DIR"),
        "{words}"
    );
}

#[tokio::test]
async fn both_implementations_keep_the_contract() {
    let bytes = noise(300_000);
    let (memory, rig) = (MemoryArtifacts::default(), rig());
    let url = rig.server.url("/v1/tool");
    memory.offer(&url, bytes.clone());
    rig.server.page("/v1/tool", Page::of(bytes.clone()));
    for artifacts in [&memory as &dyn Artifacts, &rig.store] {
        a_file_that_is_another_is_refused_with_both_digests(artifacts, &url, &bytes).await;
        what_is_not_there_is_told_with_what_to_do(artifacts, &url).await;
        a_file_is_what_its_pin_says_and_comes_from_the_cache_the_second_time(
            artifacts, &url, &bytes,
        )
        .await;
    }
    assert!(rig.is_tidy());
}

// ---- HTTP ----

#[tokio::test]
async fn a_download_that_is_cut_goes_on_where_it_broke_off() {
    let (rig, bytes) = (rig(), noise(1_000_000));
    let page = Page {
        cuts: vec![400_000, 100_000],
        ..Page::of(bytes.clone())
    };
    rig.server.page("/tool", page);
    let pin = pin(&rig.server.url("/tool"), &bytes);
    assert_eq!(content(&fetch(&rig.store, &pin).await.unwrap()), bytes);
    let log = rig.server.log();
    assert_eq!(
        log,
        [
            "GET /tool",
            "GET /tool bytes=400000-",
            "GET /tool bytes=500000-"
        ]
    );
}

#[tokio::test]
async fn a_later_process_goes_on_where_an_earlier_one_broke_off() {
    let (rig, bytes) = (rig(), noise(1_000_000));
    let cuts = vec![300_000, 0, 0];
    let page = Page {
        cuts,
        ..Page::of(bytes.clone())
    };
    rig.server.page("/tool", page);
    let pin = pin(&rig.server.url("/tool"), &bytes);
    let words = told(&fetch(&rig.store, &pin).await.unwrap_err());
    assert!(
        words.contains("tried 2 times") || words.contains("tried 3 times"),
        "{words}"
    );
    let later = Store::new(settings(rig.folder.path()));
    let asked = rig.server.log().len();
    assert_eq!(content(&fetch(&later, &pin).await.unwrap()), bytes);
    assert_eq!(rig.server.log()[asked], "GET /tool bytes=300000-");
}

#[tokio::test]
async fn a_server_without_ranges_gives_it_whole_again() {
    let (rig, bytes) = (rig(), noise(500_000));
    let page = Page {
        ranges: false,
        cuts: vec![200_000],
        ..Page::of(bytes.clone())
    };
    rig.server.page("/tool", page);
    let pin = pin(&rig.server.url("/tool"), &bytes);
    assert_eq!(content(&fetch(&rig.store, &pin).await.unwrap()), bytes);
    assert_eq!(rig.server.log().len(), 2);
}

#[tokio::test]
async fn a_file_that_changed_between_two_tries_is_not_mixed() {
    let (rig, old, new) = (rig(), noise(500_000), vec![7; 500_000]);
    let page = Page {
        cuts: vec![200_000, 0, 0],
        ..Page::of(old)
    };
    rig.server.page("/tool", page);
    let pin = pin(&rig.server.url("/tool"), &new);
    fetch(&rig.store, &pin).await.unwrap_err();
    let page = Page {
        etag: Some("\"two\"".to_owned()),
        ..Page::of(new.clone())
    };
    rig.server.page("/tool", page);
    assert_eq!(content(&fetch(&rig.store, &pin).await.unwrap()), new);
}

#[tokio::test]
async fn a_part_that_began_as_another_file_is_fetched_once_more_from_its_beginning() {
    let (rig, bytes) = (rig(), noise(500_000));
    let page = Page {
        etag: None,
        ..Page::of(bytes.clone())
    };
    rig.server.page("/tool", page);
    let url = rig.server.url("/tool");
    let pin = pin(&url, &bytes);
    fs::create_dir_all(rig.cached("")).unwrap();
    fs::write(rig.cached(&format!("{}.part", pin.sha256)), [9; 1000]).unwrap();
    fs::write(
        rig.cached(&format!("{}.part.from", pin.sha256)),
        format!("{url}\n\n"),
    )
    .unwrap();
    assert_eq!(content(&fetch(&rig.store, &pin).await.unwrap()), bytes);
    assert_eq!(rig.server.log(), ["GET /tool bytes=1000-", "GET /tool"]);
}

#[tokio::test]
async fn a_size_that_is_not_the_pinned_one_is_refused_before_anything_is_read() {
    let (rig, bytes) = (rig(), noise(1000));
    rig.server.page("/tool", Page::of(noise(1001)));
    let url = rig.server.url("/tool");
    let words = told(&fetch(&rig.store, &pin(&url, &bytes)).await.unwrap_err());
    assert!(
        words.contains("pinned: 1000 bytes") && words.contains("offered: 1001 bytes"),
        "{words}"
    );
    // A promise that is not kept: shorter than said.
    let page = Page {
        length: Some(1000),
        ..Page::of(noise(900))
    };
    rig.server.page("/tool", page);
    assert!(fetch(&rig.store, &pin(&url, &bytes)).await.is_err());
}

#[tokio::test]
async fn answers_that_may_pass_are_tried_again_and_others_are_not() {
    let (rig, bytes) = (rig(), noise(1000));
    let url = rig.server.url("/tool");
    let busy = vec![503, 429];
    rig.server.page(
        "/tool",
        Page {
            busy,
            ..Page::of(bytes.clone())
        },
    );
    assert!(fetch(&rig.store, &pin(&url, &bytes)).await.is_ok());
    assert_eq!(rig.server.log().len(), 3);
    let gone = rig.server.url("/gone");
    fetch(&rig.store, &pin(&gone, b"x")).await.unwrap_err();
    assert_eq!(rig.server.log().len(), 4);
    rig.server.page(
        "/broken",
        Page {
            status: 500,
            ..Page::of("")
        },
    );
    let broken = rig.server.url("/broken");
    let words = told(&fetch(&rig.store, &pin(&broken, b"x")).await.unwrap_err());
    assert!(
        words.contains("500") && words.contains("tried 3 times"),
        "{words}"
    );
    assert_eq!(rig.server.log().len(), 7);
}

#[tokio::test]
async fn a_redirect_is_followed_and_one_without_end_is_not() {
    let (rig, bytes) = (rig(), noise(1000));
    rig.server.page("/real", Page::of(bytes.clone()));
    rig.server.page("/tool", redirect(&rig.server.url("/real")));
    rig.server.page("/loop", redirect("/loop"));
    let url = rig.server.url("/tool");
    assert_eq!(
        content(&fetch(&rig.store, &pin(&url, &bytes)).await.unwrap()),
        bytes
    );
    let words = told(
        &fetch(&rig.store, &pin(&rig.server.url("/loop"), b"x"))
            .await
            .unwrap_err(),
    );
    assert!(words.contains("redirects for ever"), "{words}");
    assert!(rig.server.log().len() < 20);
}

#[tokio::test]
async fn nobody_who_listens_is_told_by_the_name_of_the_host() {
    let rig = rig();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/tool", listener.local_addr().unwrap());
    drop(listener);
    let words = told(&fetch(&rig.store, &pin(&url, b"x")).await.unwrap_err());
    assert!(
        words.contains("there is no connection to 127.0.0.1"),
        "{words}"
    );
    assert!(
        words.contains("proxy") && words.contains("--mirror DIR"),
        "{words}"
    );
}

// ---- Cache and mirrors ----

#[tokio::test]
async fn a_damaged_file_in_the_cache_is_put_aside_and_fetched_again() {
    let (rig, bytes) = (rig(), noise(1000));
    rig.server.page("/tool", Page::of(bytes.clone()));
    let pin = pin(&rig.server.url("/tool"), &bytes);
    fetch(&rig.store, &pin).await.unwrap();
    let path = rig.cached(&pin.sha256);
    let mut damaged = bytes.clone();
    damaged[10] ^= 1;
    fs::write(&path, &damaged).unwrap();
    let heard = Mutex::new(Vec::new());
    let watch = |progress: Progress<'_>| {
        if let Progress::Trouble { failure, .. } = progress {
            heard.lock().unwrap().push(told(failure));
        }
    };
    let file = rig.store.fetch(&pin, &watch).await.unwrap();
    assert_eq!(content(&file), bytes);
    let heard = heard.into_inner().unwrap();
    assert!(
        heard[0].contains("the cache") && heard[0].contains(&sha256(&damaged)),
        "{heard:?}"
    );
    let aside = rig.folder.path().join("cache/refused").join(&pin.sha256);
    assert_eq!(fs::read(aside).unwrap(), damaged);
}

#[tokio::test]
async fn a_mirror_is_asked_before_the_network_however_it_is_laid_out() {
    let bytes = noise(1000);
    for layout in [
        "example.org/dl/v1/tool.bin",
        "dl/v1/tool.bin",
        "tool/v1/tool.bin",
        "tool.bin",
    ] {
        let rig = rig();
        rig.mirror(layout, &bytes);
        let pin = pin("https://example.org/dl/v1/tool.bin", &bytes);
        let file = fetch(&rig.store, &pin).await.unwrap();
        let path = rig.folder.path().join("mirror").join(layout);
        assert_eq!(file.source, Source::Mirror(path.clone()));
        assert_eq!(rig.store.at_hand(&pin).await, Some(Source::Mirror(path)));
        assert_eq!(content(&file), bytes);
    }
}

#[tokio::test]
async fn a_wrong_file_in_a_mirror_is_refused_by_name_and_the_next_source_is_asked() {
    let (rig, bytes) = (rig(), noise(1000));
    rig.mirror("tool", &noise(999));
    rig.server.page("/dl/tool", Page::of(bytes.clone()));
    let url = rig.server.url("/dl/tool");
    let file = fetch(&rig.store, &pin(&url, &bytes)).await.unwrap();
    assert_eq!(file.source, Source::Url(url));
    let gone = rig.server.url("/gone/tool");
    let words = told(&fetch(&rig.store, &pin(&gone, b"other")).await.unwrap_err());
    assert!(
        words.contains("mirror/tool is not the pinned file"),
        "{words}"
    );
    assert!(
        words.contains(&sha256(&noise(999))) && words.contains("404"),
        "{words}"
    );
}

#[tokio::test]
async fn two_that_want_one_file_fetch_it_once() {
    let (rig, bytes) = (rig(), noise(2_000_000));
    rig.server.page("/tool", Page::of(bytes.clone()));
    let pin = pin(&rig.server.url("/tool"), &bytes);
    // Another store is what another process would have.
    let other = Store::new(settings(rig.folder.path()));
    let (one, two, three) = tokio::join!(
        fetch(&rig.store, &pin),
        fetch(&other, &pin),
        fetch(&rig.store, &pin)
    );
    for file in [one, two, three] {
        assert_eq!(content(&file.unwrap()), bytes);
    }
    assert_eq!(rig.server.log().len(), 1);
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_is_told_so() {
    let rig = rig();
    fs::write(rig.folder.path().join("cache"), "a file").unwrap();
    let pin = pin(&rig.server.url("/tool"), b"x");
    let words = told(&fetch(&rig.store, &pin).await.unwrap_err());
    assert!(
        words.contains("cache") && words.contains("XDG_CACHE_HOME"),
        "{words}"
    );
}

// ---- New files and members ----

#[tokio::test]
async fn a_new_file_is_taken_as_it_is_up_to_a_limit() {
    let (rig, bytes) = (rig(), noise(300_000));
    let page = Page {
        cuts: vec![100_000],
        ..Page::of(bytes.clone())
    };
    rig.server.page("/tool", page);
    let url = rig.server.url("/tool");
    let file = rig.store.fetch_new(&url, 1 << 20, &|_| ()).await.unwrap();
    assert_eq!((file.size, file.sha256), (300_000, sha256(&bytes)));
    assert_eq!(rig.server.log()[1], "GET /tool bytes=100000-");
    let words = told(&rig.store.fetch_new(&url, 1000, &|_| ()).await.unwrap_err());
    assert!(words.contains("at most 1000 bytes"), "{words}");
}

fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        builder.append_data(&mut header, path, *bytes).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

#[tokio::test]
async fn a_member_is_the_one_file_whose_path_ends_so() {
    let bytes = archive(&[
        ("linux-arm64/helm", b"the program"),
        ("linux-arm64/README.md", b"a"),
        ("linux-arm64/docs/README.md", b"b"),
        ("linux-arm64/nothelm", b"c"),
    ]);
    let memory = MemoryArtifacts::default();
    memory.offer("https://example.org/helm.tgz", bytes.clone());
    let file = fetch(&memory, &pin("https://example.org/helm.tgz", &bytes))
        .await
        .unwrap();
    let found = member::find(&file, "helm").unwrap();
    assert_eq!((found.path.as_str(), found.size), ("linux-arm64/helm", 11));
    assert_eq!(found.sha256, sha256(b"the program"));
    let several = told(&member::find(&file, "README.md").unwrap_err());
    assert!(several.contains("linux-arm64/docs/README.md"), "{several}");
    assert!(member::find(&file, "docs/README.md").is_ok());
    let none = told(&member::find(&file, "kubectl").unwrap_err());
    assert!(none.contains("linux-arm64/nothelm"), "{none}");
    memory.offer("https://example.org/plain", b"no archive".to_vec());
    let file = fetch(&memory, &pin("https://example.org/plain", b"no archive"))
        .await
        .unwrap();
    assert!(member::find(&file, "helm").is_err());
}

fn redirect(location: &str) -> Page {
    Page {
        status: 302,
        location: Some(location.to_owned()),
        ..Page::of("")
    }
}
