//! Fuzzing of the TOML front end on stable Rust: seeded, bounded, the same in every run. `HMCO_FUZZ_CASES` sets how many
//! mutated projects are tried (`make torture` tries many), `HMCO_FUZZ_SEED` another start.
//!
//! What must hold for every text: no panic, an end within bounds, spans inside their file and on character boundaries,
//! a diagnostic that can be drawn, and an error whenever the TOML itself is broken (by toml_edit, another parser
//! frontend).
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads its cases, its settings and the clock"
)]

use std::time::{Duration, Instant};

use hmco_boot::config::diagnostic::{self, Look};
use hmco_boot::config::edit::set_value;
use hmco_boot::config::files::MemoryFiles;
use hmco_boot::config::project::{Loaded, Options, load_with};
use hmco_boot::model::value::Span;
use hmco_boot::steps::registry::kinds;

const INVENTORY: &str = "inventory/lab.toml";
const PLAYBOOK: &str = "playbooks/x.toml";
const PINS: &str = "hmco-boot.lock";

/// splitmix64: enough for mutations, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n.max(1)).unwrap()).unwrap()
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }
}

/// Good files to start from.
fn seeds() -> Vec<(&'static str, String)> {
    let full = include_str!("../config/good/full.txt");
    full.split("=== ")
        .skip(1)
        .map(|part| {
            let (path, text) = part.split_once('\n').unwrap();
            let path = match path {
                path if path.starts_with("inventory/") => INVENTORY,
                PINS => PINS,
                _ => PLAYBOOK,
            };
            (path, text.to_owned())
        })
        .collect()
}

/// Pieces of the language, and of what goes wrong in it.
const PIECES: [&str; 48] = [
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "\"",
    "'",
    "\"\"\"",
    "'''",
    "=",
    ".",
    ",",
    "#",
    "\n",
    "\r\n",
    "\r",
    "\t",
    "\\",
    "\\u00e4",
    "\\x",
    "\u{feff}",
    "ä",
    "\u{1f980}",
    "\0",
    "\u{1b}[2J",
    "{{",
    "}}",
    "{% for x in y %}",
    "{#",
    "nan",
    "inf",
    "-0",
    "1e999",
    "0x",
    "99999999999999999999",
    "1979-05-27T07:32:00Z",
    "true",
    "[[step]]",
    "[step.file]",
    "[step.playbook]",
    "needs = [\"motd\"]",
    "on = \"a & (\"",
    "id = \"motd\"",
    "[vars.x]",
    "[node.x]",
    "x.y.z",
    "each = [1]",
];

fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    let at = random.below(bytes.len() + 1);
    match random.below(8) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 => bytes.truncate(at),
        2 => {
            let end = (at + random.below(30)).min(bytes.len());
            bytes.drain(at..end);
        }
        3 => {
            // A line again, somewhere else.
            let text = String::from_utf8_lossy(bytes).into_owned();
            let lines: Vec<&str> = text.lines().collect();
            if !lines.is_empty() {
                let line = format!("{}\n", random.pick(&lines));
                bytes.splice(at..at, line.into_bytes());
            }
        }
        4 => {
            // Two words of the file change places with others: names that do not exist, keys in wrong tables.
            let text = String::from_utf8_lossy(bytes).into_owned();
            let words: Vec<&str> = text
                .split(|c: char| !c.is_alphanumeric())
                .filter(|w| !w.is_empty())
                .collect();
            if !words.is_empty() {
                let (from, to) = (random.pick(&words), random.pick(&words));
                *bytes = text.replacen(from, to, 1 + random.below(2)).into_bytes();
            }
        }
        _ => {
            let piece = random.pick(&PIECES).as_bytes().to_vec();
            bytes.splice(at..at, piece);
        }
    }
}

fn load(files: &MemoryFiles) -> Loaded {
    let shipped: [(&str, &[u8]); 1] = [(
        "platform/metallb.toml",
        b"title = \"m\"\n[vars.range]\ntype = \"ip-range\"\n",
    )];
    load_with(files, None, &Options::default(), kinds(), &shipped)
}

/// Everything that must hold for a load, whatever was in the files.
fn must_hold(files: &MemoryFiles, random: &mut Random) {
    let began = Instant::now();
    let loaded = load(files);
    let check = |span: Span| {
        let source = loaded.sources.get(span.file).unwrap();
        let (start, end) = (span.start as usize, span.end as usize);
        assert!(
            start <= end && end <= source.text().len(),
            "{span:?} of {}",
            source.name()
        );
        assert!(
            source.text().is_char_boundary(start) && source.text().is_char_boundary(end),
            "{span:?} of {}",
            source.name()
        );
    };
    for mistake in &loaded.mistakes {
        mistake.span.into_iter().for_each(check);
        mistake.related.iter().for_each(|(span, _)| check(*span));
        assert!(!mistake.message.is_empty());
    }
    for (path, bytes) in &files.files {
        let text = bytes.as_ref().ok().map(|bytes| std::str::from_utf8(bytes));
        let broken = match text {
            Some(Ok(text)) => text.parse::<toml_edit::DocumentMut>().is_err(),
            _ => true,
        };
        assert!(
            !broken || loaded.has_errors(),
            "{path} is broken, and nothing was said"
        );
    }
    if let Some(Ok(bytes)) = files.files.get(INVENTORY) {
        edits_keep_the_rest(&String::from_utf8_lossy(bytes));
    }
    let look = Look {
        unicode: random.below(2) == 0,
        color: false,
        width: 20 + random.below(180),
    };
    let drawn = diagnostic::draw(&loaded.sources, &loaded.mistakes, look);
    assert!(!drawn.contains('\u{1b}'), "{drawn:?}");
    assert_eq!(drawn.is_empty(), loaded.mistakes.is_empty());
    let json = diagnostic::to_json(&loaded.sources, &loaded.mistakes);
    assert_eq!(json.as_array().unwrap().len(), loaded.mistakes.len());
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
}

/// Setting a value in any text either refuses, or gives a text in which it is set and that still parses.
fn edits_keep_the_rest(text: &str) {
    for path in [
        &["node", "here", "root"][..],
        &["cluster", "ca_sha256"],
        &["node", "new", "address"],
    ] {
        if let Ok(edited) = set_value(text, path, "changed") {
            let document: toml_edit::DocumentMut = edited.parse().unwrap();
            let item = path
                .iter()
                .try_fold(document.as_item(), |item, key| item.get(key));
            assert_eq!(
                item.and_then(toml_edit::Item::as_str),
                Some("changed"),
                "{edited}"
            );
            assert_eq!(set_value(&edited, path, "changed").as_ref(), Ok(&edited));
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

#[test]
fn mutated_projects_never_panic_and_their_mistakes_have_places() {
    let seeds = seeds();
    let first = setting("HMCO_FUZZ_SEED", 1);
    for number in 0..setting("HMCO_FUZZ_CASES", 1_500) {
        let mut random = Random(first.wrapping_mul(1 << 32).wrapping_add(number));
        let mut files = MemoryFiles::default();
        let victim = random.below(seeds.len());
        for (at, (path, text)) in seeds.iter().enumerate() {
            let mut bytes = text.clone().into_bytes();
            if at == victim || random.below(4) == 0 {
                for _ in 0..=random.below(6) {
                    mutate(&mut random, &mut bytes);
                }
            }
            files = files.with(path, bytes);
        }
        let files_of_case = files.clone();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            must_hold(&files, &mut random)
        }));
        if let Err(panic) = outcome {
            for (path, bytes) in files_of_case.files {
                eprintln!("=== {path}\n{}", String::from_utf8_lossy(&bytes.unwrap()));
            }
            eprintln!("case {number} of HMCO_FUZZ_SEED={first}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// Playbooks that are huge or deep in one way each.
fn extreme_texts() -> Vec<String> {
    let size = 5 * 1024 * 1024 - 100;
    let fill = |piece: &str| piece.repeat(1024 * 1024 / piece.len());
    let step = |key: &str, value: String| {
        format!(
            "title = 'x'\n[[step]]\nid = 'a'\non = 'all'\n{key} = '{value}'\n[step.directory]\npath = '/a'\n"
        )
    };
    let deep = |inner: &str| format!("{}{inner}{}", "(".repeat(5_000), ")".repeat(5_000));
    vec![
        fill("["),
        fill("a = ["),
        fill("a={a="),
        fill("a."),
        format!("a = {}", fill("[")),
        format!("{} = 1", fill("a.")),
        fill("x\n"),
        fill("\""),
        fill("a = 1\n"),
        format!("title = \"{}\"\n", "ä".repeat(size / 2 - 20)),
        format!(
            "title = 'x'\n{}",
            "[[step]]\nid = 'a'\n[step.file]\n".repeat(2_000)
        ),
        format!("title = 'x'\n{}", "# comment\n".repeat(size / 10)),
        step("title", deep("a")).replacen("on = 'all'", &format!("on = '{}'", deep("all")), 1),
        step("when", deep("1")),
        step("title", "x".to_owned()).replacen(
            "on = 'all'",
            &format!("on = '{}all'", "!".repeat(5_000)),
            1,
        ),
    ]
}

#[test]
fn huge_and_deeply_nested_files_end_within_bounds() {
    let inventory = seeds()
        .into_iter()
        .find(|(path, _)| *path == INVENTORY)
        .unwrap()
        .1;
    let look = Look {
        unicode: true,
        color: false,
        width: 100,
    };
    for (number, text) in extreme_texts().into_iter().enumerate() {
        let began = Instant::now();
        let files = MemoryFiles::default()
            .with(INVENTORY, inventory.as_str())
            .with(PLAYBOOK, text);
        let loaded = load(&files);
        let drawn = diagnostic::draw(&loaded.sources, &loaded.mistakes, look);
        assert!(
            drawn.len() < 2_000_000,
            "text {number}: {} bytes drawn",
            drawn.len()
        );
        let took = began.elapsed();
        assert!(took < Duration::from_secs(20), "text {number}: {took:?}");
        eprintln!(
            "text {number}: {took:?}, {} mistakes",
            loaded.mistakes.len()
        );
    }
}
