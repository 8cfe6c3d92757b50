//! `kernel_module`: modules of the kernel, now and at every boot.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::file::File;
use super::shared::Presence;
use super::shared::list::OneOrMany;
use super::shared::whole::{self, Changes};
use super::{Class, Decision, Kind, Touches, Want};
use crate::facts::fact::{Fact, Module, Os};
use crate::facts::known::{Known, Unreadable};
use crate::facts::questions::is_module_name;
use crate::model::action::{Action, Program};
use crate::model::event::DiffLine;
use crate::model::outcome::Failure;
use crate::model::path::AbsPath;

/// Kernel modules that are loaded, now and at every boot; or never loaded. A module that is built into the kernel counts
/// as loaded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KernelModule {
    /// One module or several, by their own names (as `lsmod` lists them), not by an alias.
    pub names: OneOrMany<String>,
    /// `"absent"`: unloaded now, and kept from being loaded again, by anybody.
    #[serde(default)]
    pub state: Presence,
}

/// As the kernel writes it.
fn own_name(name: &str) -> String {
    name.replace('-', "_")
}

fn program(verb: &str, argv: &[&str], names: &[String]) -> Action {
    let words = argv.iter().copied().chain(names.iter().map(String::as_str));
    Action::Run(Program {
        argv: words.map(str::to_owned).collect(),
        cwd: None,
        env: Vec::new(),
        stdin: None,
        ok_exit: vec![0],
        retry_exit: Vec::new(),
        purpose: Some(format!("{verb} the kernel module {}", names.join(", "))),
    })
}

impl KernelModule {
    fn names(&self) -> Vec<String> {
        self.names.0.iter().map(|name| own_name(name)).collect()
    }

    /// What loads a module at boot, and what keeps it away.
    fn paths(name: &str) -> [Option<AbsPath>; 2] {
        ["modules-load.d", "modprobe.d"]
            .map(|folder| AbsPath::new(&format!("/etc/{folder}/hmco-boot-{name}.conf")).ok())
    }

    fn files(&self, name: &str) -> Vec<File> {
        let [load, block] = Self::paths(name);
        let head = "# Written by hmco-boot; changes here are put back.\n";
        let load = load.map(|path| match self.state {
            Presence::Present => whole::file(&path, format!("{head}{name}\n")),
            Presence::Absent => whole::no_file(&path),
        });
        let block = block.map(|path| match self.state {
            Presence::Present => whole::no_file(&path),
            // `blacklist` alone keeps only those away who ask by an alias.
            Presence::Absent => whole::file(
                &path,
                format!("{head}blacklist {name}\ninstall {name} /bin/false\n"),
            ),
        });
        load.into_iter().chain(block).collect()
    }

    fn refusal(&self, name: &str, module: &Module, os: Option<&Os>) -> Option<Failure> {
        let container = os.map_or("", |os| os.container.as_str());
        let kernel = os.map_or("", |os| os.kernel.as_str());
        let wanted = self.state == Presence::Present;
        if wanted == module.present {
            return None;
        }
        if !container.is_empty() {
            let verb = if wanted { "loaded" } else { "unloaded" };
            return Some(
                Failure::new(format!("the module {name} cannot be {verb} from inside a container"))
                    .evidence(format!("this machine is a container ({container}): its kernel is the host's"))
                    .hint(format!("on the host: put `{name}` into a file in /etc/modules-load.d and run `modprobe {name}`")),
            );
        }
        if !wanted {
            return module.builtin.then(|| {
                Failure::new(format!(
                    "{name} is built into this kernel and cannot be taken out"
                ))
                .evidence(format!("kernel {kernel}"))
                .hint("use another kernel, or leave this step out")
            });
        }
        let id = os.map_or("", |os| os.id.as_str());
        (!module.available).then(|| {
            Failure::new(format!("this kernel has no module {name}"))
                .evidence(format!("kernel {kernel}"))
                .hint(missing_hint(id, kernel))
        })
    }
}

fn missing_hint(id: &str, kernel: &str) -> String {
    let packages = match id {
        "ubuntu" if kernel.contains("raspi") => {
            "install `linux-modules-extra-raspi` (a `packages` step before this one)"
        }
        "ubuntu" => "install `linux-modules-extra-$(uname -r)` (a `packages` step before this one)",
        "debian" if kernel.contains("cloud") => {
            "Debian's cloud kernel leaves modules out: install `linux-image-arm64` or `linux-image-amd64` and boot it"
        }
        _ => "correct the name, or install the package that brings it",
    };
    format!(
        "{packages}; where the kernel was upgraded since this boot, its modules are gone: reboot"
    )
}

impl Kind for KernelModule {
    type Drift = Vec<Action>;
    const NAME: &'static str = "kernel_module";
    const SUMMARY: &'static str = "Kernel modules, loaded now and at every boot.";
    const CLASS: Class = Class::State;

    fn validate(&self) -> Vec<(&'static str, String)> {
        let mut mistakes = Vec::new();
        if self.names.0.is_empty() {
            mistakes.push(("names", "which modules?".to_owned()));
        }
        for name in self.names.0.iter().filter(|name| !is_module_name(name)) {
            mistakes.push((
                "names",
                format!("{name:?} is not the name of a kernel module"),
            ));
        }
        mistakes
    }

    fn facts(&self, known: &Known<'_>) -> Want {
        let names = self.names();
        let files = names
            .iter()
            .flat_map(|name| self.files(name))
            .map(|file| Kind::facts(&file, known))
            .collect::<Vec<_>>();
        let modules = names.into_iter().map(|name| Fact::Module { name });
        let own = Want::all(known, modules.chain([Fact::Os]));
        whole::join(files.into_iter().chain([own]))
    }

    fn decide(&self, known: &Known<'_>) -> Result<Decision<Self::Drift>, Unreadable> {
        let mut changes = Changes::default();
        let mut move_now = Vec::new();
        for name in self.names() {
            let unknown = Module::default();
            let module = known.module(&name)?.unwrap_or(&unknown);
            if let Some(failure) = self.refusal(&name, module, known.os()?) {
                return Ok(Decision::Refused(failure));
            }
            for file in self.files(&name) {
                if let Some(failure) = whole::compare(&mut changes, &file, known)? {
                    return Ok(Decision::Refused(failure));
                }
            }
            if module.present != (self.state == Presence::Present) {
                move_now.push(name);
            }
        }
        if !move_now.is_empty() {
            let names = move_now.join(", ");
            let (line, argv): (_, &[&str]) = match self.state {
                Presence::Present => (DiffLine::new(format!("load {names}")), &["modprobe", "-a"]),
                Presence::Absent => (
                    DiffLine::old(format!("loaded {names}")),
                    &["modprobe", "-r"],
                ),
            };
            changes.diff.insert(0, line);
            let verb = match self.state {
                Presence::Present => "load",
                Presence::Absent => "unload",
            };
            let load = program(verb, argv, &move_now);
            match self.state {
                // What cannot be loaded is not kept for the next boot.
                Presence::Present => changes.actions.insert(0, load),
                Presence::Absent => changes.actions.push(load),
            }
        }
        Ok(changes.decision())
    }

    fn apply(&self, drift: &Self::Drift) -> Vec<Action> {
        drift.clone()
    }

    fn touches(&self) -> Touches {
        let names = self.names();
        Touches {
            paths: names
                .iter()
                .flat_map(|name| Self::paths(name))
                .flatten()
                .collect(),
            trees: AbsPath::new("/sys/module").into_iter().collect(),
            ..Touches::default()
        }
    }
}

#[cfg(test)]
mod tests;
