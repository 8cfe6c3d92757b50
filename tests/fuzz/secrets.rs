//! Fuzzing of what reads the encrypted tree: files of values, the list, headers, markers of commits. Whole ones, mutated,
//! cut and spliced: never a panic; a file that is accepted is kept byte for byte by edits of other values; nothing that is
//! refused shows what stood in it. HMCO_FUZZ_CASES lengthens it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fail loudly, and reads its environment"
)]

use hmco_boot::secrets::document::{Document, Edit};
use hmco_boot::secrets::format::Header;
use hmco_boot::secrets::manifest::Manifest;
use hmco_boot::secrets::name::SecretName;

/// xorshift64*: the same cases every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % limit.max(1)
    }
}

fn cases() -> usize {
    let told = std::env::var("HMCO_FUZZ_CASES").ok();
    told.and_then(|told| told.parse().ok()).unwrap_or(3_000)
}

/// What a line may be replaced by, or get inserted.
const PIECES: [&str; 24] = [
    "'''",
    "-----BEGIN AGE ENCRYPTED FILE-----",
    "-----END AGE ENCRYPTED FILE-----",
    "a = '''",
    "b = \"canary\"",
    "[t]",
    "[t.u]",
    "[[t]]",
    "\"a.b\".c = '''",
    "x = { y = '''",
    "}",
    "# words",
    "<<<<<<< HEAD",
    "=======",
    ">>>>>>> other",
    "||||||| base",
    "\r",
    "\u{feff}",
    "a.b.c.d.e.f.g.h.i = 1",
    "seals = [",
    "]",
    "format = 1",
    "\"99999999999999999999 sha256:0 0\",",
    "é\u{0}\u{7f}",
];

fn mutated(text: &str, random: &mut Random) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes.truncate(at),
            1 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            2 => {
                let end = (at + random.below(80)).min(bytes.len());
                bytes.drain(at..end);
            }
            3 => {
                let end = (at + random.below(200)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            _ => {
                let piece = PIECES[random.below(PIECES.len())];
                let line = bytes[..at]
                    .iter()
                    .rposition(|byte| *byte == b'\n')
                    .map_or(0, |line| line + 1);
                let piece = format!("{piece}\n").into_bytes();
                bytes.splice(line..line, piece);
            }
        }
    }
    bytes
}

fn armored(random: &mut Random) -> String {
    let letter = char::from(b'A' + u8::try_from(random.below(26)).unwrap());
    let body = letter.to_string().repeat(64);
    format!(
        "-----BEGIN AGE ENCRYPTED FILE-----\n{body}\n{body}\n-----END AGE ENCRYPTED FILE-----\n"
    )
}

/// A file of values as people have them.
fn file(random: &mut Random) -> String {
    let mut text = String::new();
    for (place, line) in [
        "# head\n",
        "a = ",
        "\n# about b\nb = ",
        "c.d = ",
        "[t]\nx = ",
        "\"y.z\" = ",
        "\n[t.u] # table\nk = ",
        "in = { q = ",
    ]
    .iter()
    .enumerate()
    {
        if random.below(4) == 0 {
            continue;
        }
        text.push_str(line);
        if place > 0 {
            text.push_str(&format!("'''\n{}'''", armored(random)));
            text.push_str(if place == 7 { " }\n" } else { "\n" });
        }
    }
    if random.below(3) == 0 {
        text.replace('\n', "\r\n")
    } else {
        text
    }
}

fn edit(document: &Document, random: &mut Random) -> Edit {
    let values = document.values();
    let name: SecretName = if values.is_empty() || random.below(2) == 0 {
        let names = [
            "f/a",
            "f/new",
            "f/t/x",
            "f/t/new",
            "f/t/u/new.one",
            "f/v/w",
            "f/c/e",
            "f/in/q2",
        ];
        names[random.below(names.len())].parse().unwrap()
    } else {
        values[random.below(values.len())].name.clone()
    };
    if random.below(4) == 0 {
        Edit::Remove(name)
    } else {
        Edit::Set(name, armored(random))
    }
}

#[test]
fn files_of_values_are_read_or_refused_and_edits_touch_nothing_else() {
    let mut random = Random(0x5eed_0501);
    let (mut read, mut edited) = (0, 0);
    for case in 0..cases() {
        let whole = file(&mut random);
        let bytes = if case % 3 == 0 {
            whole.into_bytes()
        } else {
            mutated(&whole, &mut random)
        };
        let document = match Document::parse("f", "secrets/f.toml", &bytes) {
            Ok(document) => document,
            Err(failure) => {
                let said = format!("{failure:?}");
                assert!(
                    failure.hint.is_some() && !failure.evidence.is_empty(),
                    "{said}"
                );
                assert!(!said.contains("canary"), "{said}");
                continue;
            }
        };
        read += 1;
        assert_eq!(document.text().as_bytes(), bytes);
        let edit = edit(&document, &mut random);
        let Ok(after) = document.edited(std::slice::from_ref(&edit)) else {
            continue;
        };
        edited += 1;
        let (Edit::Set(name, _) | Edit::Remove(name)) = &edit;
        for value in document.values().iter().filter(|value| value.name != *name) {
            let same = after.value(&value.name).unwrap();
            assert_eq!(same.digest, value.digest, "{edit:?} changed {}", value.name);
        }
        assert_eq!(after.value(name).is_some(), matches!(edit, Edit::Set(..)));
        unchanged_around(&document, after.text(), &edit);
    }
    assert!(
        read > cases() / 3 && edited > cases() / 6,
        "{read} read, {edited} edited"
    );
}

/// What an edit takes away and puts in is one piece of the text, whole lines of ciphertext; all around is as it was.
fn unchanged_around(document: &Document, after: &str, edit: &Edit) {
    let (a, b) = (document.text().as_bytes(), after.as_bytes());
    let start = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let rest = a.len().min(b.len()) - start;
    let end = a
        .iter()
        .rev()
        .zip(b.iter().rev())
        .take(rest)
        .take_while(|(a, b)| a == b)
        .count();
    let gone = String::from_utf8_lossy(&a[start..a.len() - end]).into_owned();
    let (Edit::Set(name, _) | Edit::Remove(name)) = edit;
    let old = document.value(name).map_or("", |value| &value.armored);
    if matches!(edit, Edit::Remove(_)) {
        // With a value goes the line of its key and the end of its string, nothing else (blank lines in it do not count).
        let full = gone.lines().filter(|line| !line.trim().is_empty()).count();
        assert!(
            full <= old.lines().count() + 2,
            "{edit:?} took away {gone:?}"
        );
        return;
    }
    for line in gone.lines() {
        let line = line.trim_matches([' ', '\t', '\'', '"']);
        assert!(old.contains(line), "{edit:?} took away {gone:?}");
    }
}

#[test]
fn lists_are_read_or_refused_and_what_is_read_is_written_the_same() {
    let mut random = Random(0x5eed_0502);
    let hex = |length: usize| "ab".repeat(length / 2);
    let whole = format!(
        "format = 1\nstore = \"{}\"\nkeys = [\n  \"QUJD\",\n]\nheirs = [\n  \"{} {} {} {}\",\n]\nseals = [\n  \"7 sha256:{} {}\",\n]\nvalues = [\n  \"k3s/a sha256:{} 3 2026-02-01 {},{} {}\",\n  \"k3s/b sha256:{} 7 2026-02-02 {} {}\",\n]\n",
        hex(16),
        hex(32),
        hex(32),
        hex(64),
        hex(64),
        hex(64),
        hex(64),
        hex(64),
        hex(16),
        hex(16),
        hex(64),
        hex(64),
        hex(16),
        hex(64),
    );
    let first = Manifest::parse(&whole).unwrap();
    assert_eq!(first.lines.len(), 2);
    let mut read = 0;
    for _ in 0..cases() {
        let bytes = mutated(&whole, &mut random);
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        if let Ok(manifest) = Manifest::parse(&text) {
            read += 1;
            let again = Manifest::parse(&manifest.text()).unwrap();
            assert_eq!(
                Manifest {
                    marked: false,
                    ..manifest
                },
                again
            );
        }
    }
    assert!(read > cases() / 50, "{read} read");
}

#[test]
fn headers_are_read_or_refused() {
    let mut random = Random(0x5eed_0503);
    let readers = ["0123456789abcdef", "fedcba9876543210"].map(|one| one.parse().unwrap());
    let header = Header::new("0123456789abcdef", "k3s/token", true, readers);
    let plain = format!("{}canary\nvalue", header.line());
    for _ in 0..cases() {
        let bytes = mutated(&plain, &mut random);
        match Header::split(&bytes) {
            Ok((header, start)) => {
                assert!(start <= bytes.len());
                let line = String::from_utf8_lossy(&bytes[..start]).into_owned();
                // Only the order of readers, or one named twice, may differ.
                assert_eq!(
                    header.line().split(' ').take(4).collect::<Vec<_>>(),
                    line.split(' ').take(4).collect::<Vec<_>>()
                );
            }
            Err(said) => assert!(!said.contains("canary"), "{said}"),
        }
    }
}
