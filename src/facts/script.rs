//! The one script that reads all facts of a machine at once: POSIX sh, batched by tool, answers in frames. Only its
//! text: what comes back is `parse`'s, carrying it is `transport`'s. The constant parts are the `.sh` files beside.
//!
//! It is one subshell, so it can be evaluated after other fragments in the same shell and leaves that shell's folder,
//! traps and variables alone. It reads nothing from standard input and writes no file.

use super::digest_cache::DigestCache;
use super::fact::Fact;
use super::frame::Delimiter;
use super::questions::{
    self, Place, chunks, clamp, is_account_name, is_module_name, is_package_name, is_unit_name,
};
use crate::model::shell::{quote, quote_all};
use crate::model::units::TimeSpan;

const PRELUDE: &str = include_str!("script/prelude.sh");
const FILES: &str = include_str!("script/files.sh");
const DIGESTS: &str = include_str!("script/digests.sh");
const MACHINE: &str = include_str!("script/machine.sh");
const JOBS: &str = include_str!("script/jobs.sh");
const EXEC: &str = include_str!("script/exec.sh");
const K3S: &str = include_str!("script/k3s.sh");

/// A batch that keeps reading bytes (hashing large files) may take this many times its limit.
const READING_FACTOR: u32 = 60;

const STAT_FORMAT: &str = r#""$D;%n$N%f %u %g %h %s %d:%i:%s:%y:%z$N%U$N%G$N%N$N$D.""#;
const DPKG_FORMAT: &str = r"'${binary:Package}\t${Architecture}\t${Status}\t${Version}\n'";
const UNIT_PROPERTIES: &str = "Id,Names,LoadState,ActiveState,SubState,UnitFileState,FragmentPath,Result,\
ExecMainStatus,MainPID,InvocationID,ActiveEnterTimestampMonotonic,ExecMainStartTimestampMonotonic,NRestarts,\
NeedDaemonReload";
/// Sockets without a peer: listening TCP (state 0A), bound UDP (07).
const LISTENING: &str = "': 0+:0000 (0A|07) '";

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
        machine(request),
        tools(request),
        run_state(request),
        k3s(request),
        programs(request),
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

/// The names in facts that pass a check, quoted; each once.
fn names<'a>(
    request: &Request<'a>,
    pick: impl Fn(&'a Fact) -> Option<&'a str>,
    fine: impl Fn(&str) -> bool,
) -> String {
    let names: std::collections::BTreeSet<&str> = request
        .facts
        .iter()
        .filter_map(pick)
        .filter(|name| fine(name))
        .collect();
    quote_all(names)
}

fn stats(request: &Request<'_>) -> String {
    let paths: Vec<String> = questions::stat_paths(request.facts)
        .into_iter()
        .map(|path| rooted(request, path))
        .collect();
    chunks(&paths, |path| path.len() + 1)
        .iter()
        .enumerate()
        .map(|(n, paths)| {
            format!(
                "framed 'stat {n}' \"$L\" stat -c {STAT_FORMAT} {}\n",
                paths.join(" ")
            )
        })
        .collect()
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
    let mut text = without_comments(DIGESTS);
    text.push_str("wanted() {\ncase $1 in\n");
    for target in &targets {
        let cap = target.cap.map(|cap| cap.to_string()).unwrap_or_default();
        text.push_str(&format!(
            "{}) w={cap};;\n",
            quote(&format!("{}{}", request.root, target.path))
        ));
    }
    text.push_str("esac\ncase \"$B $2 $1\" in\n");
    for target in targets.iter().filter(|target| target.cached) {
        let full = format!("{}{}", request.root, target.path);
        for (boot, entry) in request.digests.of_path(&full) {
            text.push_str(&format!(
                "{}) h={};;\n",
                quote(&format!("{boot} {} {full}", entry.identity)),
                quote(&entry.value)
            ));
        }
    }
    text.push_str("esac\n}\ncontents() {\n:\n");
    for (n, fact) in request.facts.iter().enumerate() {
        if let Fact::Content {
            path,
            unless_sha256,
            cap,
            ..
        } = fact
        {
            text.push_str(&format!(
                "content {n} {} {} {}\n",
                clamp(*cap) + 1,
                rooted(request, path.as_str()),
                quote(unless_sha256.as_deref().unwrap_or("none"))
            ));
        }
    }
    text.push_str("}\n");
    let patience = request.batch_seconds.max(1).saturating_mul(READING_FACTOR);
    let paths: Vec<String> = targets
        .iter()
        .map(|target| rooted(request, target.path))
        .collect();
    for (n, paths) in chunks(&paths, |path| path.len() + 1).iter().enumerate() {
        text.push_str(&format!(
            "batch digests-{n} \"$L\" {patience} digests {n} {}\n",
            paths.join(" ")
        ));
    }
    text
}

/// What the kernel and the distribution tell.
fn machine(request: &Request<'_>) -> String {
    let mut calls = String::new();
    let mut call = |wanted: bool, text: &str| {
        if wanted {
            calls.push_str(text);
            calls.push('\n');
        }
    };
    let os = any(request, |fact| matches!(fact, Fact::Os));
    call(os, "page_size");
    call(
        os,
        "[ -e /proc/sys/kernel/arch ] || framed uname \"$L\" uname -m",
    );
    call(
        any(request, |fact| matches!(fact, Fact::Boot)),
        "[ -e /proc/device-tree/model ] && framed kernels \"$L\" kernels",
    );
    call(any(request, |fact| matches!(fact, Fact::Sudo)), "who");
    let modules = names(
        request,
        |fact| match fact {
            Fact::Module { name } => Some(name),
            _ => None,
        },
        is_module_name,
    );
    call(
        !modules.is_empty(),
        &format!("framed modules \"$L\" modules {modules}"),
    );
    let net = any(request, |fact| matches!(fact, Fact::Net));
    call(net, "links");
    call(
        net,
        &format!(
            "framed listen \"$L\" grep -aHE {LISTENING} /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6"
        ),
    );
    call(net, "framed addresses \"$L\" ip -o addr show");
    let clock = any(request, |fact| matches!(fact, Fact::Clock));
    call(clock, "framed date \"$L\" date +%s.%N");
    call(
        clock,
        "[ -d /run/systemd/system ] && framed timedate \"$L\" timedatectl show --no-pager -p NTPSynchronized",
    );
    let disks: Vec<String> = questions::disk_paths(request.facts)
        .into_iter()
        .map(|path| rooted(request, path))
        .collect();
    call(
        !disks.is_empty(),
        &format!("batch disk \"$L\" '' disks {}", disks.join(" ")),
    );
    calls
}

/// Packages, accounts, units, logs.
fn tools(request: &Request<'_>) -> String {
    let mut calls = String::new();
    let packages = names(
        request,
        |fact| match fact {
            Fact::Package { name } => Some(name),
            _ => None,
        },
        is_package_name,
    );
    let os = any(request, |fact| matches!(fact, Fact::Os));
    if !packages.is_empty() {
        // dpkg's own line tells the native architecture in the same breath.
        calls.push_str(&format!(
            "framed packages \"$L\" dpkg-query -W -f {DPKG_FORMAT} dpkg {packages}\n"
        ));
    } else if os {
        calls.push_str("has dpkg && framed arch \"$L\" dpkg --print-architecture\n");
    }
    if os {
        calls.push_str("has dpkg || framed elf \"$L\" od -An -tx1 -N40 /bin/sh\n");
    }
    if any(request, |fact| matches!(fact, Fact::PackageManager)) {
        calls.push_str("framed locks \"$L\" locks\n");
    }
    let accounts = names(
        request,
        |fact| match fact {
            Fact::Account { name } => Some(name),
            _ => None,
        },
        is_account_name,
    );
    if !accounts.is_empty() && request.root.is_empty() {
        calls.push_str(&format!(
            "has getent && {{ framed passwd \"$L\" getent passwd -- {accounts}; framed group \"$L\" getent group; }}\n"
        ));
    }
    let units = names(
        request,
        |fact| match fact {
            Fact::Unit { name } => Some(name),
            _ => None,
        },
        is_unit_name,
    );
    if !units.is_empty() {
        calls.push_str(&format!(
            "if [ -d /run/systemd/system ]; then framed units \"$L\" systemctl show --no-pager -p {UNIT_PROPERTIES} \
-- {units}; fi\n"
        ));
    }
    calls.push_str(&logs(request));
    calls
}

fn logs(request: &Request<'_>) -> String {
    let mut calls = String::new();
    for (n, fact) in request.facts.iter().enumerate() {
        if let Fact::Log { unit, lines } = fact
            && is_unit_name(unit)
        {
            calls.push_str(&format!(
                "[ -d /run/systemd/system ] && batch log-{n} \"$L\" '' log {n} {} {lines}\n",
                quote(unit)
            ));
        }
    }
    calls
}

fn run_state(request: &Request<'_>) -> String {
    if any(request, |fact| matches!(fact, Fact::RunState)) {
        without_comments(JOBS) + "jobs_left\n"
    } else {
        String::new()
    }
}

fn k3s(request: &Request<'_>) -> String {
    let install = any(request, |fact| matches!(fact, Fact::K3sInstall));
    let data = any(request, |fact| matches!(fact, Fact::K3sData));
    if !install && !data {
        return String::new();
    }
    let mut text = without_comments(K3S);
    if install {
        text.push_str("k3s_known() {\ncase \"$B $2 $1\" in\n");
        for binary in questions::K3S_BINARIES {
            let full = format!("{}{binary}", request.root);
            for (boot, entry) in request.digests.of_path(&questions::version_key(&full)) {
                text.push_str(&format!(
                    "{}) h={};;\n",
                    quote(&format!("{boot} {} {full}", entry.identity)),
                    quote(&entry.value)
                ));
            }
        }
        let binaries = questions::K3S_BINARIES.join(" ");
        text.push_str(&format!("esac\n}}\nK='{binaries}'\n"));
        text.push_str("batch k3s-install \"$L\" '' k3s_install\n");
    }
    if data {
        text.push_str("batch k3s-data \"$L\" '' k3s_data\n");
    }
    text
}

/// Programs that only read, each with its own time limit.
fn programs(request: &Request<'_>) -> String {
    let mut text = String::new();
    for (n, fact) in request.facts.iter().enumerate() {
        let (words, timeout) = match fact {
            Fact::Exec { argv, timeout, .. } if questions::can_run(argv) => {
                (quote_all(argv.iter().map(String::as_str)), timeout)
            }
            Fact::K3sCli { args, timeout } if !args.iter().any(|arg| arg.contains('\0')) => (
                quote_all(std::iter::once("k3s").chain(args.iter().map(String::as_str))),
                timeout,
            ),
            _ => continue,
        };
        if text.is_empty() {
            text.push_str(&without_comments(EXEC));
        }
        text.push_str(&format!(
            "batch exec-{n} {} '' program {n} {words}\n",
            whole_seconds(timeout)
        ));
    }
    text
}

/// Rounded up, at least one: the watchdog ticks in seconds.
fn whole_seconds(span: &TimeSpan) -> u64 {
    let rest = u64::from(span.0.subsec_nanos() > 0);
    span.0.as_secs().saturating_add(rest).clamp(1, 1 << 31)
}
