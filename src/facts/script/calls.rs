//! Calls of the tools and functions that answer the facts which are not about files.

use super::{Request, any, rooted, without_comments};
use crate::facts::fact::Fact;
use crate::facts::questions::{
    self, is_account_name, is_module_name, is_package_name, is_unit_name,
};
use crate::model::shell::{quote, quote_all};
use crate::model::units::TimeSpan;

const DPKG_FORMAT: &str = r"'${binary:Package}\t${Architecture}\t${Status}\t${Version}\n'";
const UNIT_PROPERTIES: &str = "Id,Names,LoadState,ActiveState,SubState,UnitFileState,FragmentPath,Result,\
ExecMainStatus,MainPID,InvocationID,ActiveEnterTimestampMonotonic,ExecMainStartTimestampMonotonic,NRestarts,\
NeedDaemonReload,Type,RemainAfterExit,CanReload";
/// Whether systemd is what runs units here. Below a root it is not: a sandbox must not show or touch the units of the
/// machine it lies on (its tests bring stand-ins, and this folder).
const HAS_SYSTEMD: &str = "[ -d \"$R/run/systemd/system\" ]";
/// Sockets without a peer: listening TCP (state 0A), bound UDP (07).
const LISTENING: &str = "' 0+:0000 (0A|07) '";
const JOBS: &str = include_str!("jobs.sh");
const EXEC: &str = include_str!("exec.sh");
const K3S: &str = include_str!("k3s.sh");
/// The function that tells a unit which starts a server or an agent, by its file.
pub const RUNS_K3S: &str = include_str!("runs_k3s.sh");
const READINESS: &str = include_str!("readiness.sh");

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

/// What the kernel and the distribution tell.
pub(super) fn machine(request: &Request<'_>) -> String {
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

/// The clock, swap units, files of kernel parameters.
pub(super) fn settings(request: &Request<'_>) -> String {
    let mut calls = String::new();
    let mut call = |wanted: bool, text: &str| {
        if wanted {
            calls.push_str(text);
            calls.push('\n');
        }
    };
    let clock = any(request, |fact| matches!(fact, Fact::Clock));
    let offset = any(request, |fact| matches!(fact, Fact::ClockOffset));
    call(clock || offset, "framed date \"$L\" date +%s.%N");
    call(
        clock,
        "[ -d /run/systemd/system ] && framed timedate \"$L\" timedatectl show --no-pager -p NTPSynchronized",
    );
    call(
        any(request, |fact| matches!(fact, Fact::Swaps)),
        "framed swap-units \"$L\" swap_units",
    );
    call(
        any(request, |fact| matches!(fact, Fact::SysctlFiles)),
        "framed sysctl-files \"$L\" sysctl_files",
    );
    calls
}

/// Packages, accounts, units, logs.
pub(super) fn tools(request: &Request<'_>) -> String {
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
            "if {HAS_SYSTEMD}; then framed units \"$L\" systemctl show --no-pager -p {UNIT_PROPERTIES} \
-- {units}; fi\n"
        ));
    }
    calls.push_str(&logs(request));
    if any(request, |fact| matches!(fact, Fact::Readiness)) {
        calls.push_str(&without_comments(READINESS));
        calls.push_str("batch readiness \"$L\" '' readiness\n");
    }
    calls
}

fn logs(request: &Request<'_>) -> String {
    let mut calls = String::new();
    for (n, fact) in request.facts.iter().enumerate() {
        if let Fact::Log { unit, lines } = fact
            && is_unit_name(unit)
        {
            calls.push_str(&format!(
                "{HAS_SYSTEMD} && batch log-{n} \"$L\" '' log {n} {} {lines}\n",
                quote(unit)
            ));
        }
    }
    calls
}

pub(super) fn run_state(request: &Request<'_>) -> String {
    if any(request, |fact| matches!(fact, Fact::RunState)) {
        without_comments(JOBS) + "jobs_left\n"
    } else {
        String::new()
    }
}

pub(super) fn k3s(request: &Request<'_>) -> String {
    let install = any(request, |fact| matches!(fact, Fact::K3sInstall));
    let data = any(request, |fact| matches!(fact, Fact::K3sData));
    if !install && !data {
        return String::new();
    }
    let mut text = without_comments(RUNS_K3S) + &without_comments(K3S);
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
pub(super) fn programs(request: &Request<'_>) -> String {
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
