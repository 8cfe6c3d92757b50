//! The record that a start leaves: what its inputs held just before it. And what that record proves later.
//!
//! A start by this kind writes, on the machine, `input DIGEST IDENTITY PATH` for each input and `invocation ID`, to
//! `/run/hmco-boot/stamp/UNIT` (this boot) and `/var/lib/hmco-boot/stamp/UNIT` (survives it). DIGEST is the sha256 of
//! `SALT:SHA256`, so that nothing of a secret file can be looked up by it. IDENTITY is inode, size, mtime and ctime.
//! Inputs that hold the same now are in use if either
//! - the very start that is on record is the one that runs (InvocationID), or
//! - no input was written since the record (IDENTITY): then whatever started it since read the same.
//!
//! Times are compared for being equal only, never for order: a Raspberry Pi has no clock at boot. The device's number is
//! left out of IDENTITY, because it may differ from boot to boot.

use std::collections::BTreeMap;

use crate::facts::fact::{FileKind, Unit};
use crate::facts::known::{Known, Unreadable};
use crate::model::path::AbsPath;
use crate::steps::shared::digest::sha256;
use crate::steps::systemd_unit::SystemdUnit;

/// What stands for the digest and identity of a file that is not there.
const ABSENT: &str = "absent";

/// What one input holds now.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its path.
    pub path: AbsPath,
    /// Its sha256.
    digest: String,
    /// Its identity; `None` for a link, whose own identity says nothing of what it leads to.
    identity: Option<String>,
}

/// A record.
#[derive(Clone, Debug, Default)]
struct Stamp {
    invocation: String,
    salt: String,
    inputs: BTreeMap<String, (String, String)>,
}

/// Why nobody can say that a unit runs with what its inputs hold now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Doubt {
    /// There is no record.
    NoRecord,
    /// These hold something else than on record.
    Changed(Vec<AbsPath>),
    /// These hold the same but were written since, and the unit was started since.
    Written(Vec<AbsPath>),
    /// These are not on record.
    NotOnRecord(Vec<AbsPath>),
}

impl Doubt {
    /// In words.
    pub fn words(&self) -> String {
        let list = |paths: &[AbsPath]| {
            let paths: Vec<&str> = paths.iter().map(AbsPath::as_str).collect();
            paths.join(", ")
        };
        match self {
            Self::NoRecord => "no record of what it was started with".to_owned(),
            Self::Changed(paths) => {
                format!("its inputs changed since it was started: {}", list(paths))
            }
            Self::Written(paths) => format!(
                "it was started by something else since, and written meanwhile was: {}",
                list(paths)
            ),
            Self::NotOnRecord(paths) => {
                format!("no record of what it was started with in: {}", list(paths))
            }
        }
    }
}

/// What the inputs of a unit hold now.
pub fn inputs(wish: &SystemdUnit, known: &Known<'_>) -> Result<Vec<Input>, Unreadable> {
    wish.inputs()
        .into_iter()
        .map(|path| {
            let [_, digest] = SystemdUnit::input_facts(&path);
            let sha = known.digest(&digest)?;
            let found = known.stat(&path)?;
            let identity = match (found, sha) {
                (_, None) => Some(ABSENT.to_owned()),
                (Some(found), Some(_)) if found.kind == FileKind::File => {
                    Some(without_device(&found.identity))
                }
                _ => None,
            };
            Ok(Input {
                path,
                digest: sha.unwrap_or(ABSENT).to_owned(),
                identity,
            })
        })
        .collect()
}

fn without_device(identity: &str) -> String {
    let rest = identity.split_once(':').map_or("", |(_, rest)| rest);
    rest.replace(' ', "_")
}

/// Whether some record of a unit proves that it was started with these inputs. `this_boot`: a record of this boot is
/// proof enough (a oneshot that has run, of which systemd may remember nothing).
pub fn proven(unit: &Unit, inputs: &[Input], this_boot: bool) -> Result<(), Doubt> {
    let now = unit.stamp.as_deref().map(Stamp::parse);
    let kept = unit.stamp_kept.as_deref().map(Stamp::parse);
    let mut doubt = Doubt::NoRecord;
    for (stamp, enough) in [(now, this_boot), (kept, false)] {
        let Some(stamp) = stamp.flatten() else {
            continue;
        };
        match stamp.covers(unit, inputs, enough) {
            Ok(()) => return Ok(()),
            // The record of this boot knows best.
            Err(why) if doubt == Doubt::NoRecord => doubt = why,
            Err(_) => {}
        }
    }
    Err(doubt)
}

impl Stamp {
    /// Reads a record; `None` where it is not one, or not a whole one (the invocation comes last).
    fn parse(text: &str) -> Option<Self> {
        let mut stamp = Self::default();
        let mut whole = false;
        for line in text.lines() {
            match line.split_once(' ')? {
                ("salt", salt) => stamp.salt = salt.to_owned(),
                ("invocation", id) => {
                    stamp.invocation = id.to_owned();
                    whole = true;
                }
                ("input", rest) => {
                    let (digest, rest) = rest.split_once(' ')?;
                    let (identity, path) = rest.split_once(' ')?;
                    let entry = (digest.to_owned(), identity.to_owned());
                    stamp.inputs.insert(path.to_owned(), entry);
                }
                _ => return None,
            }
        }
        (whole && !stamp.salt.is_empty()).then_some(stamp)
    }

    fn covers(&self, unit: &Unit, inputs: &[Input], enough: bool) -> Result<(), Doubt> {
        let (mut unknown, mut changed, mut written) = (Vec::new(), Vec::new(), Vec::new());
        for input in inputs {
            let path = || input.path.clone();
            let Some((digest, identity)) = self.inputs.get(input.path.as_str()) else {
                unknown.push(path());
                continue;
            };
            if *digest != sha256(format!("{}:{}", self.salt, input.digest).as_bytes()) {
                changed.push(path());
            } else if input.identity.as_ref() != Some(identity) {
                written.push(path());
            }
        }
        let same_start = !unit.invocation.is_empty() && unit.invocation == self.invocation;
        if !changed.is_empty() {
            Err(Doubt::Changed(changed))
        } else if !unknown.is_empty() {
            Err(Doubt::NotOnRecord(unknown))
        } else if !same_start && !enough && !written.is_empty() {
            Err(Doubt::Written(written))
        } else {
            Ok(())
        }
    }
}
