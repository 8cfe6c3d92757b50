//! The base tree that all nodes lie on: made once with debootstrap, then only read.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use super::cgroup::{Group, Hierarchies};
use super::command::{cannot_start, tail};
use super::files;
use super::mounts;
use super::place::{Place, Shelf};
use super::recipe::Recipe;
use super::record::Record;
use super::{LabError, Say, command, mark};
use crate::model::outcome::Failure;

/// Where the base of a recipe (by its key) is, once it is complete.
pub fn path(shelf: &Shelf, key: &str) -> PathBuf {
    shelf.cache().join(format!("base-{key}"))
}

/// The base of a lab: made where it is not there, after what was left of one that was never completed is removed.
///
/// # Errors
/// Where debootstrap or the set-up fails, with the end of what it said; where the base that the nodes lie on is gone.
pub fn ensure(
    place: &Place,
    record: &Record,
    hierarchies: &Hierarchies,
    say: Say<'_>,
) -> Result<PathBuf, LabError> {
    let shelf = place.shelf();
    let done = path(shelf, &record.base);
    // Another lab may be making it: the one that waited finds it made.
    let _lock = shelf.lock()?;
    shelf.claim_cache()?;
    if done.is_dir() {
        return Ok(done);
    }
    let recipe = Recipe::new(&record.suite);
    if recipe.key() != record.base {
        let what = format!(
            "the base of lab `{}` is gone, and this version makes another one",
            place.name
        );
        return Err(LabError::Failed(
            Failure::new(what)
                .evidence(done.display().to_string())
                .hint(format!(
                    "make the lab anew: hmco-boot lab down --name {0}, then lab up --name {0}",
                    place.name
                )),
        ));
    }
    let group = hierarchies.group(shelf.cgroup());
    clear(shelf, &group)?;
    forget_unused(shelf)?;
    let new = shelf.cache().join(format!("new-{}", recipe.key()));
    say(&format!(
        "base      making Debian {} with debootstrap from {} (once; 1 to 3 minutes)",
        recipe.suite(),
        record.mirror
    ));
    files::folder(&new)?;
    group.make()?;
    debootstrap(&group, &recipe, &record.mirror, &new, say)?;
    set_up(&recipe, &new)?;
    files::rename(&new, &done)?;
    group.remove()?;
    say("base      made");
    Ok(done)
}

/// What comes after debootstrap.
fn set_up(recipe: &Recipe, tree: &Path) -> Result<(), Failure> {
    for file in recipe.files() {
        let path = tree.join(file.path);
        if let Some(folder) = path.parent() {
            files::folder(folder)?;
        }
        files::write(&path, &file.text, file.mode)?;
    }
    let target = tree.to_string_lossy();
    command::run_with_input("chroot", &[&target, "/bin/sh", "-s"], recipe.setup())?;
    mounts::unmount_below(tree)?;
    // A tree that is there by its name has to be whole, also after a power cut.
    command::run("sync", &["-f", &target]).map(|_| ())
}

/// Removes bases that no lab lies on: an older version made them.
fn forget_unused(shelf: &Shelf) -> Result<(), Failure> {
    let mut used = Vec::new();
    for name in shelf.labs()? {
        let Ok(place) = shelf.lab(&name) else {
            continue;
        };
        match Record::load(&place) {
            Ok(Some(record)) => used.push(format!("base-{}", record.base)),
            Ok(None) => {}
            // It may lie on any of them.
            Err(_) => return Ok(()),
        }
    }
    for name in files::names_in(&shelf.cache())? {
        if name.starts_with("base-") && !used.contains(&name) {
            files::remove_tree(&shelf.cache().join(name))?;
        }
    }
    Ok(())
}

/// Ends what still makes a base and removes what it left; for one who holds the shelf's lock.
///
/// # Errors
/// Where something does not go.
pub fn clear(shelf: &Shelf, group: &Group) -> Result<(), Failure> {
    group.kill()?;
    group.remove()?;
    if !mark::is_ours(&shelf.cache()) {
        return Ok(());
    }
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
    let mut progress = Progress::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(words) = progress.line(&line) {
                say(&format!("base      {words}"));
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

/// What debootstrap does, in few lines.
#[derive(Debug, Default)]
struct Progress {
    phase: usize,
    count: usize,
}

/// Its phases, each with the word that begins its lines. The last two come twice, for the required packages and for the
/// rest.
const PHASES: &[(&str, &str)] = &[
    ("Retrieving ", "fetching packages"),
    ("Unpacking ", "unpacking packages"),
    ("Configuring ", "configuring packages"),
];

impl Progress {
    /// What to tell after this line of its output, where there is something new.
    fn line(&mut self, line: &str) -> Option<String> {
        let line = line.strip_prefix("I: ")?;
        let found = PHASES
            .iter()
            .position(|(start, _)| line.starts_with(start))?;
        let (_, words) = PHASES.get(found)?;
        if found + 1 > self.phase {
            (self.phase, self.count) = (found + 1, 0);
            return Some((*words).to_owned());
        }
        self.count += 1;
        let steady = found + 1 == self.phase && self.count.is_multiple_of(50);
        steady.then(|| format!("{words}: {}", self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_in_few_lines_that_never_go_back() {
        let mut progress = Progress::default();
        let mut told = Vec::new();
        let mut say = |line: &str| told.extend(progress.line(line));
        for _ in 0..60 {
            say("I: Retrieving adduser 3.134");
            say("I: Validating adduser 3.134");
        }
        say("I: Unpacking dpkg...");
        say("I: Configuring dpkg...");
        say("I: Unpacking the base system...");
        say("W: Configuring");
        say("I: Base system installed successfully.");
        assert_eq!(
            told,
            [
                "fetching packages",
                "fetching packages: 50",
                "unpacking packages",
                "configuring packages"
            ]
        );
    }
}
