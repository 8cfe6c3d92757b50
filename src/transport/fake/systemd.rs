//! The systemd of a machine in memory: it is there once the tree has `/run/systemd/system`. It knows the calls of
//! `systemctl` that kinds make, and the script by which `steps::systemd_unit` starts a unit (by its arguments; what the
//! script does is done here), with the same effects on units and on the record of their inputs.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::{FakeRun, FakeTree};
use crate::facts::fact::{FactError, FactValue, Unit};
use crate::model::action::Program;
use crate::model::path::AbsPath;
use crate::transport::actions::hex;

const FOLDER: &str = "/etc/systemd/system";
const PRESENT: &str = "/run/systemd/system";

/// Where the record of a unit's inputs is, in this boot and beyond it.
const STAMPS: [&str; 2] = ["/run/hmco-boot/stamp", "/var/lib/hmco-boot/stamp"];

/// A unit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FakeUnit {
    /// It runs.
    pub active: bool,
    /// It is enabled.
    pub enabled: bool,
    /// It is masked.
    pub masked: bool,
    /// Its program fails at every start.
    pub broken: bool,
    /// Counts its starts.
    pub starts: u32,
    /// What its file and drop-ins were when systemd last read them.
    pub loaded: Option<String>,
}

/// systemd.
#[derive(Clone, Debug, Default)]
pub(super) struct Systemd {
    units: BTreeMap<String, FakeUnit>,
    invocations: u64,
    running: BTreeMap<String, u64>,
}

impl Systemd {
    /// Puts a unit there, as if a package had brought it.
    pub(super) fn put(&mut self, name: &str, unit: FakeUnit) {
        if unit.active {
            self.begin(name);
        }
        self.units.insert(name.to_owned(), unit);
    }

    /// The unit of this name.
    pub(super) fn unit(&self, name: &str) -> Option<&FakeUnit> {
        self.units.get(name)
    }

    /// Whether the machine has it.
    pub(super) fn is_there(tree: &FakeTree) -> bool {
        AbsPath::new(PRESENT).is_ok_and(|path| tree.get(&path).is_some())
    }

    fn begin(&mut self, name: &str) {
        self.invocations += 1;
        self.running.insert(name.to_owned(), self.invocations);
    }

    /// A restart of the machine: what is enabled is started.
    pub(super) fn reboot(&mut self, tree: &mut FakeTree) {
        if let Ok(path) = AbsPath::new(PRESENT) {
            tree.make_folders(&path);
        }
        let names: Vec<String> = self.units.keys().cloned().collect();
        self.running.clear();
        for name in names {
            let Some(unit) = self.units.get_mut(&name) else {
                continue;
            };
            unit.active = unit.enabled && !unit.masked && !unit.broken;
            unit.starts += u32::from(unit.active);
            unit.loaded = text(&name, tree);
            if unit.active {
                self.begin(&name);
            }
        }
    }

    /// The answer to a question for a unit.
    pub(super) fn fact(&self, name: &str, tree: &FakeTree) -> Result<FactValue, FactError> {
        if !Self::is_there(tree) {
            return Err(FactError::Failed("systemd is not running".to_owned()));
        }
        let nothing = FakeUnit::default();
        let unit = self.units.get(name).unwrap_or(&nothing);
        let text = text(name, tree);
        if text.is_none() && !unit.masked && !unit.active {
            return Err(FactError::NotFound);
        }
        let installs = text.as_ref().is_some_and(|text| text.contains("[Install]"));
        let word = |yes: bool, one: &str, other: &str| if yes { one } else { other }.to_owned();
        let stamps = STAMPS.map(|folder| content(tree, &format!("{folder}/{name}")));
        let [stamp, stamp_kept] = stamps;
        let own =
            AbsPath::new(&format!("{FOLDER}/{name}")).is_ok_and(|path| tree.get(&path).is_some());
        let shipped = format!("/usr/lib/systemd/system/{name}");
        Ok(FactValue::Unit(Unit {
            load: word(unit.masked, "masked", "loaded"),
            active: word(
                unit.active,
                "active",
                if unit.broken { "failed" } else { "inactive" },
            ),
            sub: word(unit.active, "running", "dead"),
            enabled: match (unit.masked, unit.enabled, installs) {
                (true, ..) => "masked",
                (_, true, _) => "enabled",
                (_, _, true) => "disabled",
                _ => "static",
            }
            .to_owned(),
            fragment: if own {
                format!("{FOLDER}/{name}")
            } else {
                shipped
            },
            result: word(unit.broken, "exit-code", "success"),
            invocation: self
                .running
                .get(name)
                .map(|number| format!("{number:032x}"))
                .unwrap_or_default(),
            exec_start_us: u64::from(unit.starts),
            need_daemon_reload: unit.loaded.is_some() && unit.loaded != text,
            id: name.to_owned(),
            service_type: "simple".to_owned(),
            can_reload: text.is_some_and(|text| text.contains("ExecReload=")),
            stamp,
            stamp_kept,
            ..Unit::default()
        }))
    }

    /// Carries a program out, where it is one for systemd.
    pub(super) fn run(&mut self, program: &Program, tree: &mut FakeTree) -> Option<FakeRun> {
        if !Self::is_there(tree) {
            return None;
        }
        let argv: Vec<&str> = program.argv.iter().map(String::as_str).collect();
        match argv.as_slice() {
            ["systemctl", "daemon-reload"] => {
                for (name, unit) in &mut self.units {
                    unit.loaded = text(name, tree);
                }
                Some(FakeRun::exit(0, ""))
            }
            ["systemctl", verb, .., name] => Some(self.systemctl(verb, name, tree)),
            [
                "sh",
                "-s",
                "--",
                verb @ ("start" | "restart" | "reload"),
                name,
                _,
                _,
                _,
                inputs @ ..,
            ] => Some(self.start(verb, name, inputs, tree)),
            _ => None,
        }
    }

    fn systemctl(&mut self, verb: &str, name: &str, tree: &FakeTree) -> FakeRun {
        let unit = self.units.entry(name.to_owned()).or_default();
        let there = text(name, tree).is_some();
        match verb {
            "mask" => unit.masked = true,
            "unmask" => unit.masked = false,
            _ if !there => return failed(format!("Unit file {name} does not exist.")),
            "enable" | "reenable" if unit.masked => {
                return failed(format!("Unit file {name} is masked."));
            }
            "enable" | "reenable" => unit.enabled = true,
            "disable" => unit.enabled = false,
            "stop" => {
                unit.active = false;
                self.running.remove(name);
            }
            other => return failed(format!("Unknown command verb {other}.")),
        }
        FakeRun::exit(0, "")
    }

    fn start(&mut self, verb: &str, name: &str, inputs: &[&str], tree: &mut FakeTree) -> FakeRun {
        let unit = self.units.entry(name.to_owned()).or_default();
        let loaded = text(name, tree);
        if loaded.is_none() || unit.masked {
            return failed(format!("Unit {name} not found, or masked."));
        }
        if unit.loaded.is_none() {
            unit.loaded = loaded;
        }
        let fresh = verb == "restart" || !unit.active;
        unit.active = !unit.broken;
        unit.starts += u32::from(fresh);
        if unit.broken {
            self.running.remove(name);
            return failed(format!("{name}: failed (failed), result exit-code"));
        }
        if fresh {
            self.begin(name);
        }
        let number = self.running.get(name).copied().unwrap_or_default();
        let salt = format!("salt-{number}");
        let mut record = format!("salt {salt}\n");
        for input in inputs {
            let (digest, identity) = input_of(input, tree);
            let digest = hex(&Sha256::digest(format!("{salt}:{digest}").as_bytes()));
            record.push_str(&format!("input {digest} {identity} {input}\n"));
        }
        record.push_str(&format!("invocation {number:032x}\n"));
        for folder in STAMPS {
            if let Ok(path) = AbsPath::new(&format!("{folder}/{name}")) {
                tree.write(&path, record.clone(), 0o600);
            }
        }
        FakeRun::exit(0, "")
    }
}

fn failed(stderr: String) -> FakeRun {
    FakeRun {
        exit: Some(1),
        stdout: String::new(),
        stderr,
    }
}

/// sha256 and identity of a file.
fn input_of(path: &str, tree: &FakeTree) -> (String, String) {
    let absent = || ("absent".to_owned(), "absent".to_owned());
    let Ok(path) = AbsPath::new(path) else {
        return absent();
    };
    match (tree.digest(&path), tree.stat(&path)) {
        (Ok(FactValue::Digest(digest)), Ok(FactValue::Stat(stat))) => {
            let identity = stat.identity.split_once(':').map_or("", |(_, rest)| rest);
            (digest, identity.to_owned())
        }
        _ => absent(),
    }
}

fn content(tree: &FakeTree, path: &str) -> Option<String> {
    let path = AbsPath::new(path).ok()?;
    Some(String::from_utf8_lossy(tree.content(&path)?).into_owned())
}

/// Its unit file and drop-ins, as they are now.
fn text(name: &str, tree: &FakeTree) -> Option<String> {
    let mut text = content(tree, &format!("{FOLDER}/{name}"))
        .or_else(|| content(tree, &format!("/usr/lib/systemd/system/{name}")))?;
    let folder = format!("{FOLDER}/{name}.d/");
    for path in tree
        .paths()
        .filter(|path| path.as_str().starts_with(&folder))
    {
        text.push_str(&String::from_utf8_lossy(
            tree.content(path).unwrap_or_default(),
        ));
    }
    Some(text)
}
