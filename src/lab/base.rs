//! The base tree that all nodes lie on: made once with debootstrap, then only read.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::cgroup::{Group, Hierarchies};
use super::command::{cannot_start, tail};
use super::files;
use super::mounts;
use super::place::Shelf;
use super::recipe::Recipe;
use super::{Say, command};
use crate::model::outcome::Failure;

/// Where the base of a recipe is, once it is complete.
pub fn path(shelf: &Shelf, recipe: &Recipe) -> PathBuf {
    shelf.cache().join(format!("base-{}", recipe.key()))
}

/// Makes the base where it is not there, and removes what was left of one that was never completed.
///
/// # Errors
/// Where debootstrap or the set-up fails: with the end of what it said.
pub fn ensure(
    shelf: &Shelf,
    recipe: &Recipe,
    mirror: &str,
    hierarchies: &Hierarchies,
    say: Say<'_>,
) -> Result<PathBuf, Failure> {
    let done = path(shelf, recipe);
    // Another lab may be making it: the one that waited finds it made.
    let _lock = shelf.lock()?;
    if done.is_dir() {
        return Ok(done);
    }
    files::private_folder(&shelf.cache())?;
    let group = hierarchies.group(shelf.cgroup());
    clear(shelf, &group)?;
    let new = shelf.cache().join(format!("new-{}", recipe.key()));
    say(&format!(
        "base      making Debian {} with debootstrap from {mirror} (once; 1 to 3 minutes)",
        recipe.suite()
    ));
    files::folder(&new)?;
    group.make()?;
    debootstrap(&group, recipe, mirror, &new, say)?;
    for file in recipe.files() {
        let path = new.join(file.path);
        if let Some(folder) = path.parent() {
            files::folder(folder)?;
        }
        files::write(&path, &file.text, file.mode)?;
    }
    let target = new.to_string_lossy().into_owned();
    command::run_with_input("chroot", &[&target, "/bin/sh", "-s"], recipe.setup())?;
    mounts::unmount_below(&new)?;
    // A tree that is there by its name has to be whole, also after a power cut.
    command::run("sync", &["-f", &target])?;
    files::rename(&new, &done)?;
    group.remove()?;
    say("base      made");
    Ok(done)
}

/// Ends what still makes a base and removes what it left; for one who holds the shelf's lock.
///
/// # Errors
/// Where something does not go.
pub fn clear(shelf: &Shelf, group: &Group) -> Result<(), Failure> {
    group.kill()?;
    group.remove()?;
    for name in files::names_in(&shelf.cache())? {
        if name.starts_with("new-") {
            let left = shelf.cache().join(name);
            mounts::unmount_below(&left)?;
            files::remove_tree(&left)?;
        }
    }
    Ok(())
}

fn debootstrap(
    group: &Group,
    recipe: &Recipe,
    mirror: &str,
    target: &Path,
    say: Say<'_>,
) -> Result<(), Failure> {
    let mut child = group
        .command("debootstrap")
        .arg("--variant=minbase")
        .arg(format!("--include={}", recipe.packages()))
        .arg(recipe.suite())
        .arg(target)
        .arg(mirror)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| cannot_start("debootstrap", &error))?;
    let mut said = Vec::new();
    let mut phase = "";
    let mut count = 0;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(next) = phase_of(&line) {
                if next != phase {
                    say(&format!("base      {next}"));
                    (phase, count) = (next, 0);
                }
                count += 1;
                if count % 50 == 0 {
                    say(&format!("base      {next}: {count}"));
                }
            }
            said.push(line);
        }
    }
    let status = child
        .wait()
        .map_err(|error| cannot_start("debootstrap", &error))?;
    if status.success() {
        return Ok(());
    }
    let mut failure = Failure::new(format!("debootstrap failed: {status}"));
    let log = files::read_if_any(&target.join("debootstrap/debootstrap.log"));
    for line in tail(&format!("{}\n{log}", said.join("\n")), 12) {
        failure = failure.evidence(line);
    }
    Err(failure.hint(format!(
        "see whether {mirror} answers and has the suite {}; another one: --mirror URL, --suite NAME",
        recipe.suite()
    )))
}

/// What debootstrap is about, by a line of its progress.
fn phase_of(line: &str) -> Option<&'static str> {
    let line = line.strip_prefix("I: ")?;
    let phases = [
        ("Retrieving", "fetching packages"),
        ("Validating", "fetching packages"),
        ("Extracting", "unpacking"),
        ("Unpacking", "unpacking"),
        ("Configuring", "configuring packages"),
    ];
    let found = phases.iter().find(|(start, _)| line.starts_with(start));
    found.map(|(_, phase)| *phase)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_in_three_phases() {
        assert_eq!(
            phase_of("I: Retrieving adduser 3.134"),
            Some("fetching packages")
        );
        assert_eq!(
            phase_of("I: Unpacking the base system..."),
            Some("unpacking")
        );
        assert_eq!(phase_of("W: Configuring"), None);
        assert_eq!(phase_of("I: Base system installed successfully."), None);
    }
}
