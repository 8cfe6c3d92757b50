//! Control groups, kernel parameters, modules.

use super::reply::{Reply, lines};
use super::texts::Texts;
use crate::facts::fact::{Cgroup, FactError, Module, SysctlFile};
use crate::facts::questions::{self, Place};

pub fn cgroup(texts: &Texts) -> Result<Cgroup, FactError> {
    let mounts = texts
        .text(Place::Machine, "/proc/self/mountinfo")?
        .unwrap_or_default();
    let controllers = texts.machine("/sys/fs/cgroup/cgroup.controllers");
    let enabled = texts.machine("/proc/cgroups");
    Ok(cgroups_in_effect(&mounts, &controllers, &enabled))
}

/// With version 1 or a hybrid the controllers are those mounted (and not switched off at boot); a hybrid's second
/// hierarchy has none of use, so it counts as 1.
fn cgroups_in_effect(mountinfo: &str, unified: &str, table: &str) -> Cgroup {
    let off: Vec<&str> = table
        .lines()
        .filter(|line| !line.starts_with('#') && line.split_whitespace().nth(3) == Some("0"))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let known: Vec<&str> = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let mut first = Vec::new();
    let mut second = false;
    for line in mountinfo.lines() {
        let Some((_, tail)) = line.split_once(" - ") else {
            continue;
        };
        let mut words = tail.split(' ');
        match words.next() {
            Some("cgroup2") => second = true,
            Some("cgroup") => {
                let options = words.nth(1).unwrap_or_default().split(',');
                first.extend(options.filter(|option| known.contains(option)));
            }
            _ => {}
        }
    }
    first.retain(|name| !off.contains(name));
    let (version, mut controllers) = if !first.is_empty() {
        (1, first)
    } else if second {
        (2, unified.split_whitespace().collect())
    } else {
        (0, Vec::new())
    };
    controllers.sort_unstable();
    controllers.dedup();
    Cgroup {
        version,
        controllers: controllers.into_iter().map(str::to_owned).collect(),
    }
}

pub fn sysctl(texts: &Texts, name: &str) -> Result<String, FactError> {
    let path = questions::sysctl_path(name)
        .ok_or_else(|| FactError::Failed(format!("{name:?} is not a kernel parameter's name")))?;
    texts
        .text(Place::Machine, &path)?
        .ok_or(FactError::NotFound)
}

/// `MARK;file PATH` for each file, then `PATH:LINE` for each line that says something. Paths without the root prefix.
pub fn sysctl_files(reply: &Reply<'_>) -> Result<Vec<SysctlFile>, FactError> {
    let part = reply.part("sysctl-files", "sysctl files")?.whole()?;
    let head = format!("{};file ", part.mark);
    let mut files: Vec<(String, SysctlFile)> = Vec::new();
    for line in lines(part.body) {
        if let Some(full) = line.strip_prefix(&head) {
            let path = full.strip_prefix(reply.root.as_str()).unwrap_or(full);
            let file = SysctlFile {
                path: path.to_owned(),
                lines: Vec::new(),
            };
            files.push((format!("{full}:"), file));
            continue;
        }
        let owner = files
            .iter_mut()
            .filter(|(full, _)| line.starts_with(full))
            .max_by_key(|(full, _)| full.len());
        match owner {
            Some((full, file)) => {
                let text = line.get(full.len()..).unwrap_or_default().trim();
                if !text.is_empty() && !text.starts_with(['#', ';']) {
                    file.lines.push(text.to_owned());
                }
            }
            // What grep could not read might say the opposite.
            None if line.starts_with("grep: ") => return Err(FactError::Failed(line)),
            None => {}
        }
    }
    Ok(files.into_iter().map(|(_, file)| file).collect())
}

pub fn module(reply: &Reply<'_>, name: &str) -> Result<Module, FactError> {
    if !questions::is_module_name(name) {
        return Err(FactError::Failed(format!(
            "{name:?} is not a kernel module's name"
        )));
    }
    let part = reply.part("modules", "modules")?.whole()?;
    let state = lines(part.body).find_map(|line| {
        let (state, other) = line.split_once(' ')?;
        (other == name).then(|| state.to_owned())
    });
    match state.as_deref() {
        Some("loaded") => Ok(Module {
            present: true,
            builtin: false,
            available: true,
        }),
        Some("builtin") => Ok(Module {
            present: true,
            builtin: true,
            available: true,
        }),
        Some("available") => Ok(Module {
            available: true,
            ..Module::default()
        }),
        Some("absent") => Ok(Module::default()),
        _ => Err(part.missing()),
    }
}
