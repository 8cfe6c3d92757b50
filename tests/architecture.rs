//! Holds the sources to the module table on the first page of `src/lib.rs`, and the package to its layout.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that reads the package's own files"
)]

#[path = "architecture/source.rs"]
mod source;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use source::{Source, module_of, rust_files};

/// Which files of a module may touch the outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Io {
    No,
    Only(&'static str),
    Yes,
}

/// What each module may use, and whether it may touch the outside. The page's table says the same in words.
const TABLE: &[(&str, &[&str], Io)] = &[
    ("model", &[], Io::No),
    ("facts", &["model"], Io::No),
    ("artifact", &["model"], Io::Yes),
    ("transport", &["model", "facts", "artifact"], Io::Yes),
    (
        "cluster",
        &["model", "facts", "artifact", "transport"],
        Io::Yes,
    ),
    ("secrets", &["model", "facts"], Io::Yes),
    ("journal", &["model", "facts"], Io::Yes),
    ("steps", &["model", "facts"], Io::No),
    ("config", &["model", "steps"], Io::Only("load.rs")),
    ("plan", &["model", "facts", "steps"], Io::No),
    (
        "engine",
        &[
            "model",
            "facts",
            "plan",
            "steps",
            "transport",
            "journal",
            "secrets",
        ],
        Io::Only("clock.rs"),
    ),
    ("k3s", &["model", "facts", "steps", "plan"], Io::No),
    ("report", &["model"], Io::No),
    ("lab", &["model"], Io::Yes),
    ("cli", &["everything"], Io::Yes),
];

/// Implementations of the seams: for `cli` (and the seam itself) alone.
const IMPLEMENTATIONS: &[(&str, &[&str])] = &[
    ("transport", &["local", "fake"]),
    ("journal", &["sqlite", "memory"]),
    ("secrets", &["memory"]),
    ("artifact", &["store", "memory"]),
    ("cluster", &["client", "connect", "fake"]),
];

/// What reaches the outside, by path.
const OUTSIDE: &[&[&str]] = &[
    &["std", "fs"],
    // Addresses are data; sockets are not.
    &["std", "net", "TcpStream"],
    &["std", "net", "TcpListener"],
    &["std", "net", "UdpSocket"],
    &["std", "net", "ToSocketAddrs"],
    &["std", "env"],
    &["std", "process"],
    &["tokio", "fs"],
    &["tokio", "net"],
    &["tokio", "process"],
    &["rustix"],
];

const ROOT_FILES: &[&str] = &[
    ".gitignore",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "clippy.toml",
    "deny.toml",
    "hmco-boot.lock",
    "rust-toolchain.toml",
];

const ROOT_FOLDERS: &[&str] = &[
    ".ci",
    "benches",
    "inventory",
    "playbooks",
    "secrets",
    "src",
    "systemd",
    "tests",
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file of `src/`, by its path below it.
fn sources() -> BTreeMap<PathBuf, Source> {
    let src = root().join("src");
    rust_files(&src)
        .into_iter()
        .map(|file| {
            let below = file.strip_prefix(&src).unwrap().to_path_buf();
            let text = fs::read_to_string(&file).unwrap();
            let source = source::read(&text, &module_of(&below));
            (below, source)
        })
        .collect()
}

fn row(module: &str) -> Option<&'static (&'static str, &'static [&'static str], Io)> {
    TABLE.iter().find(|(name, _, _)| *name == module)
}

/// Uses in one file that the table does not allow.
fn forbidden_uses(below: &Path, source: &Source) -> Vec<String> {
    let module = module_of(below);
    let Some((name, allowed, _)) = module.first().and_then(|name| row(name)) else {
        return Vec::new();
    };
    let mut wrong = Vec::new();
    for used in source.uses.iter().filter(|used| used.path[0] == "crate") {
        let Some(other) = used.path.get(1).filter(|other| other != name) else {
            continue;
        };
        let place = format!("src/{}:{}", below.display(), used.line);
        // A name at the root that is no module would be a re-export around the table.
        if !allowed.contains(&"everything") && !allowed.contains(&other.as_str()) {
            wrong.push(format!(
                "{place}: `{name}` may not use `{}`",
                used.path.join("::")
            ));
        }
        let inside = IMPLEMENTATIONS.iter().find(|(seam, _)| seam == other);
        let named = used.path.get(2).map_or("", String::as_str);
        if *name != "cli" && !used.test && inside.is_some_and(|(_, files)| files.contains(&named)) {
            wrong.push(format!(
                "{place}: only `cli` names the implementation `{other}::{named}`"
            ));
        }
    }
    wrong
}

/// Paths in one file that reach the outside where the table says that it does not.
fn forbidden_io(below: &Path, source: &Source) -> Vec<String> {
    let module = module_of(below);
    let Some((name, _, io)) = module.first().and_then(|name| row(name)) else {
        return Vec::new();
    };
    let free = match io {
        Io::Yes => true,
        Io::Only(file) => below == Path::new(name).join(file),
        Io::No => false,
    };
    source
        .uses
        .iter()
        .filter(|used| !free && !used.test)
        .filter(|used| {
            OUTSIDE.iter().any(|outside| {
                used.path.iter().zip(*outside).all(|(a, b)| a == b)
                    && used.path.len() >= outside.len()
            })
        })
        .map(|used| {
            let path = used.path.join("::");
            format!(
                "src/{}:{}: `{name}` does no IO here, and this is `{path}`",
                below.display(),
                used.line
            )
        })
        .collect()
}

fn assert_none(wrong: &[String]) {
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn modules_use_only_what_the_table_allows() {
    let wrong: Vec<String> = sources()
        .iter()
        .flat_map(|(below, source)| forbidden_uses(below, source))
        .collect();
    assert_none(&wrong);
}

#[test]
fn only_edge_files_reach_the_outside() {
    // Files that only tests have are as free as the tests inside a file.
    let sources = sources();
    let only_tests: Vec<PathBuf> = sources
        .iter()
        .flat_map(|(below, source)| {
            let folder = module_of(below).iter().collect::<PathBuf>();
            let tests = source.modules.iter().filter(|(_, test)| *test);
            tests
                .map(move |(name, _)| folder.join(name))
                .collect::<Vec<_>>()
        })
        .collect();
    let wrong: Vec<String> = sources
        .iter()
        .filter(|(below, _)| {
            let module: PathBuf = module_of(below).iter().collect();
            !only_tests.iter().any(|tests| module.starts_with(tests))
        })
        .flat_map(|(below, source)| forbidden_io(below, source))
        .collect();
    assert_none(&wrong);
}

#[test]
fn a_forbidden_path_is_found_however_it_is_written() {
    let text = r##"
        //! crate::report is only named here
        use std::{collections::BTreeMap, fs::File};
        use crate::{model::id::{NodeName, StepId as Id}, report};
        use super::super::journal;
        fn f() { let _ = ("crate::engine", r#"crate::plan"#, '"', b'"'); super::super::cli::run() }
        mod inner { use super::super::super::engine::X; }
        #[cfg(test)]
        mod tests { use crate::transport::local; }
    "##;
    let below = Path::new("steps/file.rs");
    let source = source::read(text, &module_of(below));
    let wrong = forbidden_uses(below, &source).join("\n");
    for path in [
        "report",
        "journal",
        "cli::run",
        "engine::X",
        "transport::local",
    ] {
        assert!(
            wrong.contains(&format!("`crate::{path}`")),
            "{path} in:\n{wrong}"
        );
    }
    assert_eq!(wrong.lines().count(), 5, "{wrong}");
    let io = forbidden_io(below, &source).join("\n");
    assert!(
        io.contains("`std::fs::File`") && io.lines().count() == 1,
        "{io}"
    );

    let text = "use crate::transport::{Host, local::LocalHost};";
    let below = Path::new("engine/runner.rs");
    let wrong = forbidden_uses(below, &source::read(text, &module_of(below)));
    assert_eq!(wrong.len(), 1, "{wrong:?}");
}

#[test]
fn the_page_and_this_test_have_the_same_table() {
    let page = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let rows: Vec<(String, Vec<String>, String)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `"))
        .map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let names = |cell: &str| -> Vec<String> {
                cell.split(',')
                    .map(|name| name.trim().trim_matches('`').to_owned())
                    .filter(|name| name != "-")
                    .collect()
            };
            (
                cells[0].trim_matches('`').to_owned(),
                names(cells[2]),
                cells[3].trim_matches('`').to_owned(),
            )
        })
        .collect();
    let ours: Vec<(String, Vec<String>, String)> = TABLE
        .iter()
        .map(|(name, uses, io)| {
            let io = match io {
                Io::No => "no",
                Io::Yes => "yes",
                Io::Only(file) => file,
            };
            let uses = uses.iter().map(|name| (*name).to_owned()).collect();
            ((*name).to_owned(), uses, io.to_owned())
        })
        .collect();
    assert_eq!(rows, ours);
    let declared = source::read(&page, &[]).modules;
    assert!(!declared.is_empty());
    for (module, _) in declared {
        assert!(row(&module).is_some(), "`{module}` is not in the table");
    }
}

#[test]
fn lints_are_expected_with_a_reason_and_never_allowed() {
    let mut wrong = Vec::new();
    for folder in ["src", "tests", "benches"] {
        let folder = root().join(folder);
        let files = if folder.is_dir() {
            rust_files(&folder)
        } else {
            Vec::new()
        };
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for attribute in source::read(&text, &[]).attributes {
                let has = |word: &str| attribute.words.iter().any(|found| found == word);
                let place = format!("{}:{}", file.display(), attribute.line);
                if has("allow") {
                    wrong.push(format!(
                        "{place}: write `expect` with a reason, not `allow`"
                    ));
                } else if has("expect") && !has("reason") {
                    wrong.push(format!("{place}: this `expect` gives no reason"));
                }
            }
        }
    }
    assert_none(&wrong);
}

#[test]
fn every_test_file_is_run() {
    let manifest: toml::Table =
        toml::from_str(&fs::read_to_string(root().join("Cargo.toml")).unwrap()).unwrap();
    assert_ne!(
        manifest["package"].get("autotests"),
        Some(&toml::Value::Boolean(false)),
        "files in tests/ would have to be listed"
    );
    let listed: Vec<PathBuf> = manifest
        .get("test")
        .and_then(toml::Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|test| Some(root().join(test.get("path")?.as_str()?)))
        .collect();
    let tests = root().join("tests");
    let files = rust_files(&tests);
    let reached: Vec<PathBuf> = files.iter().flat_map(|file| modules_in(file)).collect();
    let wrong: Vec<String> = files
        .iter()
        .filter(|file| {
            let target = file.parent() == Some(&tests)
                || (file.ends_with("main.rs") && file.parent().unwrap().parent() == Some(&tests));
            !target && !listed.contains(file) && !reached.contains(file)
        })
        .map(|file| format!("{}: no test target has it", file.display()))
        .collect();
    assert_none(&wrong);
}

/// The files that the `mod name;` lines of a file lead to.
fn modules_in(file: &Path) -> Vec<PathBuf> {
    let text = fs::read_to_string(file).unwrap();
    let folder = file.parent().unwrap();
    let mut found: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("#[path = \"")?.strip_suffix("\"]"))
        .map(|path| folder.join(path))
        .collect();
    for (name, _) in source::read(&text, &[]).modules {
        let own = folder.join(file.file_stem().unwrap());
        for folder in [folder, &own] {
            found.push(folder.join(format!("{name}.rs")));
            found.push(folder.join(&name).join("mod.rs"));
        }
    }
    found
}

#[test]
fn the_root_of_the_package_holds_only_what_belongs_there() {
    let mut wrong = Vec::new();
    for entry in fs::read_dir(root()).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let known = if entry.path().is_dir() {
            ROOT_FOLDERS.contains(&name.as_str()) || matches!(name.as_str(), ".git" | "target")
        } else {
            ROOT_FILES.contains(&name.as_str()) || name == ".git"
        };
        if !known {
            wrong.push(format!(
                "{name}: not a file or folder of the package's root"
            ));
        }
    }
    assert_none(&wrong);
}

/// A question, not a failure: does a file of more than 400 lines still do one thing?
#[test]
fn long_files_are_named() {
    for file in rust_files(&root().join("src")) {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        if lines > 400 {
            eprintln!("{}: {lines} lines", file.display());
        }
    }
}
