//! `pins list`, `pins update` and a run that places what they pinned: the real command against a server on this machine.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "tests start the real command and read its files"
)]

#[path = "support/http.rs"]
mod http;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Page, Server};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A project with a node in a sandbox folder, and a server that has releases.
struct Project {
    folder: TempDir,
    server: Server,
}

struct Said {
    exit: i32,
    stdout: String,
    stderr: String,
}

impl Project {
    fn new(lock: impl FnOnce(&Server) -> String) -> Self {
        let project = Self {
            folder: tempfile::tempdir().unwrap(),
            server: Server::start(),
        };
        project.write(
            "inventory/lab.toml",
            "[cluster]\nname = \"lab\"\n[node.a]\nconnection = \"local\"\nroot = \"sandbox\"\n",
        );
        project.write("sandbox/usr/local/bin/.keep", "");
        let lock = lock(&project.server);
        project.write("hmco-boot.lock", &lock);
        project
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.path("hmco-boot.lock")).unwrap()
    }

    fn say(&self, args: &[&str]) -> Said {
        let output = Command::new(env!("CARGO_BIN_EXE_hmco-boot"))
            .args(args)
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", self.path("home"))
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("NO_PROXY", "127.0.0.1")
            .output()
            .unwrap();
        let text = |bytes| {
            String::from_utf8(bytes)
                .unwrap()
                .replace(&self.server.base, "http://HOST")
        };
        Said {
            exit: output.status.code().unwrap(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// It ends so.
    fn ends(&self, args: &[&str], exit: i32) -> Said {
        let said = self.say(args);
        assert_eq!(
            said.exit, exit,
            "{args:?}\n{}\n{}",
            said.stdout, said.stderr
        );
        said
    }
}

fn row(name: &str, version: &str, url: &str) -> String {
    format!(
        "# what we fetch\n[[artifact]]\nname = \"{name}\"\nversion = \"{version}\" # keep\narch = \"all\"\nurl = \"{url}\"\nfetch = \"controller\"\n"
    )
}

fn k3s(server: &Server) -> String {
    server.page("/v1.2.3%2Bk3s1/k3s", Page::of("the old k3s"));
    server.page("/v1.3.0%2Bk3s1/k3s", Page::of("the new k3s, a bit larger"));
    row("k3s", "v1.2.3+k3s1", &server.url("/v1.2.3%2Bk3s1/k3s"))
}

#[test]
fn a_pin_is_computed_checked_shown_and_written_only_when_agreed_to() {
    let project = Project::new(k3s);
    let sums = format!("{}  other\n{}  k3s\n", sha256(b"x"), sha256(b"the old k3s"));
    project
        .server
        .page("/v1.2.3%2Bk3s1/SHA256SUMS", Page::of(sums));
    let before = project.lock();
    // Nobody is there to ask.
    let said = project.ends(&["pins", "update"], 2);
    assert!(
        said.stdout
            .contains("checked  http://HOST/v1.2.3%2Bk3s1/SHA256SUMS"),
        "{}",
        said.stdout
    );
    assert!(
        said.stdout
            .contains(&format!("sha256   none -> {}", sha256(b"the old k3s"))),
        "{}",
        said.stdout
    );
    assert!(said.stderr.contains("--yes"), "{}", said.stderr);
    assert_eq!(project.lock(), before);
    project.ends(&["pins", "update", "--yes"], 0);
    let digest = sha256(b"the old k3s");
    let written = format!("{before}sha256 = \"{digest}\"\nsize = 11\n");
    assert_eq!(project.lock(), written);
    let said = project.ends(&["pins", "update"], 0);
    assert!(
        said.stderr.contains("everything is pinned"),
        "{}",
        said.stderr
    );
}

#[test]
fn another_version_is_pinned_by_its_url_and_the_layout_stays() {
    let project = Project::new(k3s);
    project.ends(&["pins", "update", "--yes"], 0);
    let said = project.ends(
        &["pins", "update", "k3s", "--version", "v1.3.0+k3s1", "--yes"],
        0,
    );
    assert!(
        said.stdout.contains("version  v1.2.3+k3s1 -> v1.3.0+k3s1"),
        "{}",
        said.stdout
    );
    assert!(said.stdout.contains("unchecked"), "{}", said.stdout);
    let lock = project.lock();
    assert!(lock.contains("version = \"v1.3.0+k3s1\" # keep"), "{lock}");
    assert!(
        lock.contains("/v1.3.0%2Bk3s1/k3s") && !lock.contains("1.2.3"),
        "{lock}"
    );
    assert!(
        lock.contains(&sha256(b"the new k3s, a bit larger")),
        "{lock}"
    );
    let said = project.ends(
        &["pins", "update", "k3s", "--version", "v9.9.9", "--yes"],
        1,
    );
    assert!(said.stderr.contains("404"), "{}", said.stderr);
    assert_eq!(project.lock(), lock);
}

#[test]
fn a_list_of_checksums_that_says_otherwise_or_nothing_stops_it() {
    let project = Project::new(k3s);
    let list = "/v1.2.3%2Bk3s1/k3s.sha256";
    project.server.page(list, Page::of(sha256(b"another")));
    let said = project.ends(&["pins", "update", "--yes"], 1);
    assert!(
        said.stderr.contains("is not what its release says"),
        "{}",
        said.stderr
    );
    assert!(
        said.stderr.contains(&sha256(b"another")) && said.stderr.contains(&sha256(b"the old k3s")),
        "{}",
        said.stderr
    );
    project
        .server
        .page(list, Page::of(format!("{}  another\n", sha256(b"another"))));
    let said = project.ends(&["pins", "update", "--yes"], 1);
    assert!(
        said.stderr.contains("it has no entry for k3s"),
        "{}",
        said.stderr
    );
    assert!(!project.lock().contains("sha256"));
    // Said to be elsewhere.
    let named = project.lock() + "checksums = \"sums-{version}.txt\"\n";
    project.write("hmco-boot.lock", &named);
    let said = project.ends(&["pins", "update", "--yes"], 1);
    assert!(
        said.stderr
            .contains("there is no list of checksums at sums-{version}.txt"),
        "{}",
        said.stderr
    );
    let sums = format!("{}  k3s\n", sha256(b"the old k3s"));
    project
        .server
        .page("/v1.2.3%2Bk3s1/sums-v1.2.3+k3s1.txt", Page::of(sums));
    project.ends(&["pins", "update", "--yes"], 0);
}

#[test]
fn the_same_version_with_another_digest_is_told_loudly() {
    let project = Project::new(k3s);
    project.ends(&["pins", "update", "--yes"], 0);
    project
        .server
        .page("/v1.2.3%2Bk3s1/k3s", Page::of("a k3s that was changed"));
    let said = project.ends(&["pins", "update", "k3s"], 2);
    assert!(
        said.stdout.contains("the same version has another digest"),
        "{}",
        said.stdout
    );
}

#[test]
fn what_is_pinned_is_listed_with_where_it_is_and_who_uses_it() {
    let project = Project::new(k3s);
    project.write(
        "playbooks/tools.toml",
        "title = \"Tools\"\n[[step]]\nid = \"k3s\"\non = \"all\"\n[step.artifact]\nname = \"k3s\"\npath = \"/usr/local/bin/k3s\"\n",
    );
    let said = project.ends(&["pins", "list"], 0);
    assert!(
        said.stdout.contains("not yet") && said.stdout.contains("tools"),
        "{}",
        said.stdout
    );
    project.ends(&["pins", "update", "--yes"], 0);
    let said = project.ends(&["pins", "list", "--output", "json"], 0);
    let pin: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(pin["at_hand"], "cache");
    assert_eq!(pin["size"], 11);
    assert!(
        pin["used_by"].as_array().unwrap().contains(&"tools".into()),
        "{pin}"
    );
    fs::remove_dir_all(project.path("cache")).unwrap();
    project.write("usb/k3s", "the old k3s");
    let said = project.ends(&["pins", "list", "--mirror", "usb"], 0);
    assert!(said.stdout.contains("usb/k3s"), "{}", said.stdout);
    let said = project.ends(&["pins", "update", "k3x"], 2);
    assert!(
        said.stderr.contains("did you mean `k3s`?"),
        "{}",
        said.stderr
    );
}

/// A release's `.tar.gz`.
fn archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(4);
    header.set_mode(0o755);
    builder
        .append_data(&mut header, "linux/helm", b"helm".as_slice())
        .unwrap();
    builder.into_inner().unwrap().finish().unwrap()
}

#[test]
fn a_run_places_what_is_pinned_and_a_second_one_fetches_nothing() {
    let archive = archive();
    let project = Project::new(|server| {
        server.page("/helm-v1.tgz", Page::of(archive.clone()));
        k3s(server) + "\n" + &row("helm", "v1", &server.url("/helm-v1.tgz"))
    });
    project.write(
        "playbooks/tools.toml",
        "title = \"Tools\"\n[[step]]\nid = \"k3s\"\non = \"all\"\n[step.artifact]\nname = \"k3s\"\npath = \"/usr/local/bin/k3s\"\n\n[[step]]\nid = \"helm\"\non = \"all\"\n[step.artifact]\nname = \"helm\"\nmember = \"helm\"\npath = \"/usr/local/bin/helm\"\n",
    );
    let said = project.ends(&["check"], 2);
    assert!(
        said.stderr.contains("hmco-boot pins update k3s"),
        "{}",
        said.stderr
    );
    project.ends(&["pins", "update", "--yes"], 0);
    assert!(
        project.lock().contains("[artifact.members]"),
        "{}",
        project.lock()
    );
    project.ends(&["check"], 0);
    let said = project.ends(&["plan", "tools"], 0);
    assert!(
        said.stdout.contains("k3s v1.2.3+k3s1, 11 bytes, mode 0755"),
        "{}",
        said.stdout
    );
    assert!(
        said.stdout.contains("linux/helm of helm v1, 4 bytes"),
        "{}",
        said.stdout
    );
    let asked = project.server.log().len();
    project.ends(&["run", "tools"], 0);
    // What `pins update` downloaded is in the cache.
    assert_eq!(project.server.log().len(), asked);
    assert_eq!(
        fs::read(project.path("sandbox/usr/local/bin/k3s")).unwrap(),
        b"the old k3s"
    );
    assert_eq!(
        fs::read(project.path("sandbox/usr/local/bin/helm")).unwrap(),
        b"helm"
    );
    fs::remove_dir_all(project.path("cache")).unwrap();
    let said = project.ends(&["run", "tools"], 0);
    assert!(said.stdout.contains("2 unchanged"), "{}", said.stdout);
    assert_eq!(project.server.log().len(), asked);
    // Somebody changes it; a mirror is enough to put it right.
    project.write("sandbox/usr/local/bin/k3s", "something else");
    project.write("usb/k3s", "the old k3s");
    project.ends(&["run", "tools", "--mirror", "usb"], 0);
    assert_eq!(
        fs::read(project.path("sandbox/usr/local/bin/k3s")).unwrap(),
        b"the old k3s"
    );
    assert_eq!(project.server.log().len(), asked);
}

#[test]
fn urls_that_show_a_password_or_that_anybody_can_change_are_mistakes() {
    let project = Project::new(|_| row("k3s", "v1", "https://me:hunter2@example.org/k3s"));
    let said = project.ends(&["check"], 2);
    assert!(
        said.stderr.contains("bad-url") || said.stderr.contains("password"),
        "{}",
        said.stderr
    );
    project.write(
        "hmco-boot.lock",
        &row("k3s", "v1", "http://example.org/k3s"),
    );
    let said = project.ends(&["check"], 2);
    assert!(
        said.stderr.contains("is not a URL to fetch this from"),
        "{}",
        said.stderr
    );
    fs::remove_file(project.path("hmco-boot.lock")).unwrap();
    let said = project.ends(&["pins", "update"], 2);
    assert!(said.stderr.contains("no hmco-boot.lock"), "{}", said.stderr);
    project.ends(&["pins", "list"], 0);
}
