//! The one script that reads all facts of a machine at once: POSIX sh, batched by tool, answers in frames. Only its
//! text: what comes back is `parse`'s, carrying it is `transport`'s. The constant parts are the `.sh` files beside.
//!
//! It is one subshell, so it can be evaluated after other fragments in the same shell and leaves that shell's folder,
//! traps and variables alone. It reads nothing from standard input and writes no file.

mod calls;

pub use calls::RUNS_K3S;

use std::collections::BTreeMap;

use super::digest_cache::DigestCache;
use super::fact::Fact;
use super::frame::Delimiter;
use super::questions::{self, Hashed, Place, chunks, clamp};
use crate::model::shell::quote;

const PRELUDE: &str = include_str!("script/prelude.sh");
const FILES: &str = include_str!("script/files.sh");
const DIGESTS: &str = include_str!("script/digests.sh");
const MACHINE: &str = include_str!("script/machine.sh");

/// A batch that keeps reading bytes (hashing large files) may take this many times its limit.
const READING_FACTOR: u32 = 60;

const STAT_FORMAT: &str = r#""$D;%n$N%f %u %g %h %s %d:%i:%s:%y:%z$N%U$N%G$N%N$N$D.""#;

/// What to read, and how.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The facts. Answered in this order by [`answers`](super::parse::answers).
    pub facts: &'a [Fact],
    /// Put in front of every path of a file: empty, or an absolute path without a slash at its end and without control
    /// characters. /proc, /sys and commands are always the machine's own.
    pub root: &'a str,
    /// Real absolute path of hmco-boot's folder for jobs and lock, `/run/hmco-boot`.
    pub run_dir: &'a str,
    /// Marks the answers; new for every execution.
    pub delimiter: &'a Delimiter,
    /// Digests that need not be computed again.
    pub digests: &'a DigestCache,
    /// Time limit of each batch, at least 1. Programs have their own; hashing that advances gets more.
    pub batch_seconds: u32,
}

/// The script: a fragment of sh that may follow other fragments in the same shell. Its standard output is for
/// [`Splitter`](super::frame::Splitter) and [`answers`](super::parse::answers).
///
/// A process that cannot be killed (a dead mount) may outlive the script and keep its standard output open: a reader
/// should stop at the end mark of its own, not at the end of the stream.
pub fn script(request: &Request<'_>) -> String {
    let mut text = String::from("(\n");
    let mut line = |part: &str| {
        text.push_str(part);
        text.push('\n');
    };
    line(&format!(
        "D={} R={} V={} L={}",
        request.delimiter.as_str(),
        quote(request.root),
        quote(request.run_dir),
        request.batch_seconds.max(1)
    ));
    line(&without_comments(PRELUDE));
    line(r#"begin header; printf '%s\n%s\n%s\n' "$R" "$V" "$B"; end 0"#);
    line(r#"W=; [ -n "$M" ] && { ticker >/dev/null 2>&1 & W=$!; }"#);
    if any(request, needs_machine) {
        line(&without_comments(MACHINE));
    }
    for part in [
        stats(request),
        files(request),
        digests(request),
        calls::machine(request),
        calls::settings(request),
        calls::tools(request),
        calls::run_state(request),
        calls::k3s(request),
        calls::programs(request),
    ] {
        line(&part);
    }
    line(r#"[ -n "$W" ] && kill "$W""#);
    text.push_str("exit 0\n) </dev/null 2>/dev/null\n");
    text
}

/// Whether a fact is read by a function of `machine.sh`.
fn needs_machine(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::Os
            | Fact::Boot
            | Fact::Sudo
            | Fact::Module { .. }
            | Fact::Net
            | Fact::Disk { .. }
            | Fact::PackageManager
            | Fact::Log { .. }
            | Fact::Swaps
            | Fact::SysctlFiles
    )
}

fn without_comments(part: &str) -> String {
    part.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect()
}

fn rooted(request: &Request<'_>, path: &str) -> String {
    quote(&format!("{}{path}", request.root))
}

fn any(request: &Request<'_>, is: impl Fn(&Fact) -> bool) -> bool {
    request.facts.iter().any(is)
}

fn stats(request: &Request<'_>) -> String {
    let paths: Vec<String> = questions::stat_paths(request.facts)
        .into_iter()
        .map(|path| rooted(request, path))
        .collect();
    let calls: String = chunks(&paths, |path| path.len() + 1)
        .iter()
        .enumerate()
        .map(|(n, paths)| format!("stats {n} {}\n", paths.join(" ")))
        .collect();
    if calls.is_empty() {
        return calls;
    }
    // One path that hangs (a dead mount) must not cost the others their answer: then each is asked by itself.
    format!(
        "stats() {{\n\
         g=$1 h=0\n\
         shift\n\
         framed \"stat $g\" \"$L\" stat -c {STAT_FORMAT} \"$@\"\n\
         [ \"$s\" = timeout ] || return\n\
         while [ \"$#\" -gt 0 ]; do\n\
         framed \"stat $g.$h\" 2 stat -c {STAT_FORMAT} \"$1\"\n\
         h=$((h+1))\n\
         shift\n\
         done\n\
         }}\n{calls}"
    )
}

fn files(request: &Request<'_>) -> String {
    let files: Vec<String> = questions::text_files(request.facts)
        .into_iter()
        .map(|(place, path)| match place {
            Place::Machine => quote(&path),
            Place::Root => rooted(request, &path),
            Place::Run => quote(&format!("{}{path}", request.run_dir)),
        })
        .collect();
    let calls: String = chunks(&files, |path| path.len() + 1)
        .iter()
        .enumerate()
        .map(|(n, paths)| format!("framed 'files {n}' \"$L\" files {}\n", paths.join(" ")))
        .collect();
    if calls.is_empty() {
        calls
    } else {
        without_comments(FILES) + &calls
    }
}

fn digests(request: &Request<'_>) -> String {
    let targets = questions::hashed(request.facts);
    if targets.is_empty() {
        return String::new();
    }
    let full = |target: &Hashed<'_>| format!("{}{}", request.root, target.path);
    let mut text = without_comments(DIGESTS);
    text.push_str("wanted() {\ncase $1 in\n");
    for (index, target) in targets.iter().enumerate() {
        // No limit is what `w` is set to already.
        if let Some(cap) = target.cap {
            text.push_str(&format!("{index}) w={cap};;\n"));
        }
    }
    text.push_str("esac\ncase \"$1 $B $2\" in\n");
    for (index, target) in targets.iter().enumerate().filter(|(_, t)| t.cached) {
        for (boot, entry) in request.digests.of_path(&full(target)) {
            text.push_str(&format!(
                "{}) h={};;\n",
                quote(&format!("{index} {boot} {}", entry.identity)),
                quote(&entry.value)
            ));
        }
    }
    text.push_str("esac\n}\ncontents() {\n:\n");
    let places: BTreeMap<&str, usize> = targets
        .iter()
        .enumerate()
        .map(|(index, target)| (target.path, index))
        .collect();
    for (n, fact) in request.facts.iter().enumerate() {
        if let Fact::Content {
            path,
            unless_sha256,
            cap,
            ..
        } = fact
            && let Some(index) = places.get(path.as_str())
        {
            text.push_str(&format!(
                "content {n} {index} {} {} {}\n",
                clamp(*cap) + 1,
                rooted(request, path.as_str()),
                quote(unless_sha256.as_deref().unwrap_or("none"))
            ));
        }
    }
    text.push_str("}\n");
    let patience = request.batch_seconds.max(1).saturating_mul(READING_FACTOR);
    let paths: Vec<String> = targets.iter().map(|target| quote(&full(target))).collect();
    let mut first = 0;
    for (n, paths) in chunks(&paths, |path| path.len() + 1).iter().enumerate() {
        text.push_str(&format!(
            "batch digests-{n} \"$L\" {patience} digests {n} {first} {}\n",
            paths.join(" ")
        ));
        first += paths.len();
    }
    text
}
