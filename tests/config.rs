//! The configuration's front end: every kind of mistake with its whole diagnostic, and projects that must load.
//!
//! `tests/config/bad/CASE.txt` is a project in one file: `=== PATH` lines part its files. Where it has no inventory it
//! gets a small one. Its first lines may be options: `-i FILE`, `only PLAYBOOK`. What must be said about it is the
//! snapshot beside it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test reads its cases and fails loudly"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hmco_boot::config::diagnostic::{self, Look};
use hmco_boot::config::files::{FileError, MAX_BYTES, MemoryFiles};
use hmco_boot::config::project::{Loaded, Options, load_from, load_with};
use hmco_boot::config::{load, shipped};
use hmco_boot::steps::registry::{KindInfo, kinds};
use hmco_boot::steps::{Class, Scope};

const PLAIN: Look = Look {
    unicode: false,
    color: false,
    width: 100,
};

const INVENTORY: &str = "[cluster]\nname = \"lab\"\n\n[node.a]\naddress = \"10.0.0.1\"\nroles = [\"server\"]\n\n\
                         [node.b]\naddress = \"10.0.0.2\"\nroles = [\"agent\"]\n";

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/config")
        .join(name)
}

/// The files and options of a case.
fn case(text: &str) -> (MemoryFiles, Options) {
    let mut options = Options::default();
    let mut files = MemoryFiles::default();
    let mut parts = text.split("=== ");
    for line in parts.next().unwrap().lines() {
        match line.split_once(' ') {
            Some(("-i", file)) => options.inventory = Some(file.to_owned()),
            Some(("only", playbook)) => options.playbook = Some(playbook.to_owned()),
            _ => panic!("unknown option {line:?}"),
        }
    }
    for part in parts {
        let (path, content) = part.split_once('\n').unwrap();
        if path == "none" {
            files = files.with("inventory/README.md", "");
        } else {
            files = files.with(path, content);
        }
    }
    if !files
        .files
        .keys()
        .any(|path| path.starts_with("inventory/"))
    {
        files = files.with("inventory/lab.toml", INVENTORY);
    }
    (files, options)
}

/// The registry's kinds, and one that works on the cluster, one target at once.
fn all_kinds() -> Vec<KindInfo> {
    let mut all = kinds().to_vec();
    let assert = all
        .iter()
        .find(|kind| kind.name == "assert")
        .unwrap()
        .clone();
    all.push(KindInfo {
        name: "cluster_check",
        class: Class::Check,
        scope: Scope::Cluster,
        serial: Some(1),
        ..assert
    });
    all
}

fn load_case(files: &MemoryFiles, options: &Options) -> Loaded {
    let shipped: [(&str, &[u8]); 1] = [(
        "platform/metallb.toml",
        b"title = \"MetalLB\"\n[vars.range]\ntype = \"ip-range\"\n[[step]]\nid = \"x\"\non = \"all\"\n[step.file]\npath = \"/x\"\ncontent = \"{{ range }}\"\n",
    )];
    load_with(files, None, options, &all_kinds(), &shipped)
}

fn said(loaded: &Loaded) -> String {
    let drawn = diagnostic::draw(&loaded.sources, &loaded.mistakes, PLAIN);
    format!("{drawn}{}\n", diagnostic::summary(&loaded.mistakes))
}

fn snapshot(name: &str, text: &str) {
    insta::with_settings!({ snapshot_path => "config/bad", prepend_module_to_snapshot => false, omit_expression => true }, {
        insta::assert_snapshot!(name, text);
    });
}

/// Cases that a text file cannot hold.
fn made_cases() -> Vec<(&'static str, MemoryFiles)> {
    let (base, _) = case("");
    let failing = |error: FileError| {
        let mut files = base.clone();
        files
            .files
            .insert("playbooks/x.toml".to_owned(), Err(error));
        files
    };
    let huge = "#".repeat(usize::try_from(MAX_BYTES).unwrap() + 1);
    vec![
        (
            "made-not-utf8",
            base.clone()
                .with("playbooks/x.toml", b"title = \"x\"\n# caf\xe9\n".to_vec()),
        ),
        (
            "made-too-large",
            base.clone().with("playbooks/x.toml", huge),
        ),
        ("made-symlink-loop", failing(FileError::SymlinkLoop)),
        ("made-not-a-file", failing(FileError::NotAFile)),
        (
            "made-unreadable",
            failing(FileError::Io("Permission denied (os error 13)".to_owned())),
        ),
        (
            "made-crlf-and-bom",
            base.clone().with(
                "playbooks/x.toml",
                "\u{feff}title = 5\r\n\r\n[vars.x]\r\ntype = \"strng\"\r\n",
            ),
        ),
    ]
}

/// All cases: name and what was loaded.
fn all_cases() -> Vec<(String, Loaded)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder("bad"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "txt"))
        .collect();
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let (files, options) = case(&fs::read_to_string(&path).unwrap());
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        all.push((name, load_case(&files, &options)));
    }
    for (name, files) in made_cases() {
        all.push((name.to_owned(), load_case(&files, &Options::default())));
    }
    let nowhere = tempfile::tempdir().unwrap();
    let mut lost = load::load_project(nowhere.path(), false, &Options::default());
    for mistake in &mut lost.mistakes {
        mistake.message = mistake
            .message
            .replace(&*nowhere.path().to_string_lossy(), "/somewhere");
    }
    all.push(("made-no-project".to_owned(), lost));
    all
}

#[test]
fn every_mistake_is_told_with_its_place_its_reason_and_its_cure() {
    for (name, loaded) in all_cases() {
        assert!(!loaded.mistakes.is_empty(), "{name} has no mistake");
        for mistake in &loaded.mistakes {
            assert!(
                mistake.hint.is_some(),
                "{name}: no cure for {}",
                mistake.message
            );
        }
        snapshot(&name, &said(&loaded));
    }
}

#[test]
fn every_code_of_the_front_end_has_a_bad_case() {
    fn sources(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                sources(&path, found);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                found.push(text.split("#[cfg(test)]").next().unwrap().to_owned());
            }
        }
    }
    let mut texts = Vec::new();
    sources(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config"),
        &mut texts,
    );
    let calls = [
        "Mistake::error(",
        "Mistake::warning(",
        ".error(",
        "general(",
        "_ => (",
        "=> (",
    ];
    let mut codes = BTreeSet::new();
    for text in &texts {
        for call in calls {
            for rest in text.split(call).skip(1) {
                if let Some(code) = rest
                    .trim_start()
                    .strip_prefix('"')
                    .and_then(|r| r.split('"').next())
                {
                    codes.insert(code.to_owned());
                }
            }
        }
    }
    assert!(codes.len() > 30, "{codes:?}");
    let seen: BTreeSet<String> = all_cases()
        .iter()
        .flat_map(|(_, loaded)| {
            loaded
                .mistakes
                .iter()
                .map(|mistake| mistake.code.to_owned())
        })
        .collect();
    let missing: Vec<&String> = codes
        .difference(&seen)
        .filter(|code| !code.contains(' '))
        .collect();
    assert!(
        missing.is_empty(),
        "no case in tests/config/bad for {missing:?}"
    );
}

#[test]
fn every_snapshot_belongs_to_a_case() {
    let names: BTreeSet<String> = all_cases().into_iter().map(|(name, _)| name).collect();
    for entry in fs::read_dir(folder("bad")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ext| ext == "snap") {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            assert!(names.contains(&name), "{name}.snap has no case");
        }
    }
}

#[test]
fn good_projects_load_without_a_word() {
    let mut count = 0;
    for entry in fs::read_dir(folder("good")).unwrap() {
        let path = entry.unwrap().path();
        let (files, options) = case(&fs::read_to_string(&path).unwrap());
        let loaded = load_case(&files, &options);
        assert!(
            loaded.mistakes.is_empty(),
            "{}:\n{}",
            path.display(),
            said(&loaded)
        );
        assert!(loaded.project().is_some());
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn the_embedded_playbooks_are_those_of_the_folder() {
    fn below(folder: &Path, prefix: &str, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{prefix}{}", path.file_name().unwrap().to_string_lossy());
            if path.is_dir() {
                below(&path, &format!("{name}/"), found);
            } else {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    below(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("playbooks"),
        "",
        &mut found,
    );
    found.sort();
    assert_eq!(
        shipped::paths(),
        found,
        "a file was added: touch src/config/shipped.rs"
    );
}

#[test]
fn a_project_on_disk_is_found_from_below_and_its_files_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    for folder in ["inventory", "playbooks/deep", "a/b"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("inventory/lab.toml"), INVENTORY).unwrap();
    fs::write(root.join("playbooks/deep/x.toml"), "title = \"x\"\n").unwrap();
    fs::write(root.join("playbooks/.x.toml.swp"), "no playbook").unwrap();
    let loaded = load::load_project(&root.join("a/b"), false, &Options::default());
    let project = loaded
        .project()
        .unwrap_or_else(|| panic!("{}", said(&loaded)));
    assert_eq!(project.root.as_deref(), Some(&*root));
    assert_eq!(project.find_playbook("deep/x"), Ok("deep/x.toml"));
    assert_eq!(
        project.find_playbook("deep/y"),
        Err(Some("deep/x".to_owned()))
    );
    assert_eq!(project.inventory.as_ref().unwrap().nodes.len(), 2);
    // `-i` is relative to where the user stands.
    let options = Options {
        inventory: Some("../../inventory/lab.toml".to_owned()),
        ..Options::default()
    };
    let loaded = load::load_project(&root.join("a/b"), false, &options);
    assert_eq!(
        loaded.project().unwrap().inventory.as_ref().unwrap().file,
        "inventory/lab.toml"
    );
}

#[test]
fn links_that_lead_in_a_circle_and_special_files_do_not_hang_the_loader() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("inventory")).unwrap();
    fs::create_dir_all(root.join("playbooks/sub")).unwrap();
    fs::write(root.join("inventory/lab.toml"), INVENTORY).unwrap();
    symlink("loop.toml", root.join("playbooks/loop.toml")).unwrap();
    symlink("..", root.join("playbooks/sub/up")).unwrap();
    symlink("/dev/zero", root.join("playbooks/zero.toml")).unwrap();
    symlink("nowhere.toml", root.join("playbooks/dangling.toml")).unwrap();
    let loaded = load::load_project(&root, true, &Options::default());
    let mut codes: Vec<&str> = loaded.mistakes.iter().map(|mistake| mistake.code).collect();
    codes.sort_unstable();
    assert_eq!(
        codes,
        ["missing-file", "not-a-file", "symlink-loop", "symlink-loop"],
        "{}",
        said(&loaded)
    );
}

#[test]
fn warnings_about_shipped_playbooks_are_told_only_when_asked() {
    let shipped: [(&str, &[u8]); 1] = [(
        "s.toml",
        b"title = \"s\"\n[vars.unused]\ntype = \"string\"\n",
    )];
    let (files, options) = case("");
    let quiet = load_with(&files, None, &options, kinds(), &shipped);
    assert!(quiet.mistakes.is_empty());
    let options = Options {
        lint_shipped: true,
        ..options
    };
    let loud = load_with(&files, None, &options, kinds(), &shipped);
    assert_eq!(loud.mistakes.len(), 1);
    // An own file of the same path wins.
    let own = files.with("playbooks/s.toml", "title = \"mine\"\n");
    let loaded = load_with(&own, None, &options, kinds(), &shipped);
    assert_eq!(
        loaded
            .project()
            .unwrap()
            .playbooks
            .get("s.toml")
            .unwrap()
            .title,
        "mine"
    );
}

#[test]
fn a_large_inventory_loads_quickly() {
    let mut text = String::from("[cluster]\nname = \"lab\"\n[ssh]\nuser = \"pi\"\n");
    for n in 0..1000 {
        let role = if n == 0 { "server" } else { "agent" };
        text.push_str(&format!(
            "[node.n{n}]\naddress = \"10.0.{}.{}\"\nroles = [\"{role}\"]\nlabels = {{ \"example.org/zone\" = \"z{}\" }}\n",
            n / 250, n % 250, n % 7
        ));
    }
    let mut playbook = String::from("title = \"x\"\n");
    for n in 0..10 {
        playbook.push_str(&format!(
            "[[step]]\nid = \"s{n}\"\non = \"role:agent\"\n[step.file]\npath = \"/etc/{n}\"\ncontent = \"{{{{ node.name }}}}\"\n"
        ));
    }
    let files = MemoryFiles::default()
        .with("inventory/lab.toml", text)
        .with("playbooks/x.toml", playbook);
    let began = std::time::Instant::now();
    let loaded = load_from(&files, None, &Options::default());
    let took = began.elapsed();
    assert!(loaded.project().is_some(), "{}", said(&loaded));
    // Tens of milliseconds in a release build; a debug build on a busy machine gets room, a quadratic walk would not fit.
    assert!(took.as_secs() < 5, "{took:?}");
    eprintln!("1000 nodes, 10 steps: {took:?}");
}
