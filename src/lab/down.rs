//! Taking a lab down: whatever of it is on this machine, found by name, whether a record is there or not.

use std::path::Path;

use super::cgroup::Hierarchies;
use super::inventory::{self, Found};
use super::place::{Place, Shelf};
use super::record::Record;
use super::{LabError, Say, base, files, mark, mounts, network, tools};
use crate::model::outcome::Failure;

/// Removes a lab; `false` where nothing of it was there.
///
/// # Errors
/// Where its folder is somebody else's; where something does not go: what is left is found again by the next call.
pub fn down(place: &Place, say: Say<'_>) -> Result<bool, LabError> {
    tools::expect_root()?;
    let hierarchies = Hierarchies::of_this_machine()?;
    let group = hierarchies.group(place.tag.cgroup());
    let was_there = place.dir.exists()
        || !network::links(&place.tag)?.is_empty()
        || group.folders().any(|folder| folder.exists());
    let lock = place.lock()?;
    let record = Record::load(place);
    group.kill()?;
    network::remove(&place.tag)?;
    mounts::unmount_below(&place.dir)?;
    group.remove()?;
    propagation(place)?;
    match record {
        Ok(Some(record)) => remove_inventory(place, &record, say)?,
        Ok(None) => {}
        Err(failure) => say(&format!(
            "{}: an inventory that it wrote is left where it is",
            failure.message
        )),
    }
    // What still makes a base though nobody waits for it, after an `up` that was killed.
    if let Some(_lock) = place.shelf().try_lock()? {
        base::clear(place.shelf(), &hierarchies.group(place.shelf().cgroup()))?;
    }
    // Its own lock last: a lab that is begun meanwhile finds an empty place.
    mark::remove(&place.dir)?;
    drop(lock);
    Ok(was_there)
}

/// Folders that systemd-nspawn leaves below /run where that is no tmpfs.
fn propagation(place: &Place) -> Result<(), LabError> {
    let folder = Path::new("/run/systemd/nspawn/propagate");
    for name in files::names_in(folder)? {
        if name.starts_with(&format!("{}-", place.tag.as_str())) {
            files::remove_empty(&folder.join(name));
        }
    }
    Ok(())
}

fn remove_inventory(place: &Place, record: &Record, say: Say<'_>) -> Result<(), LabError> {
    let Some(path) = &record.inventory else {
        return Ok(());
    };
    match inventory::look(path, place, &record.written)? {
        Found::Ours => files::remove(path)?,
        Found::Edited => say(&format!(
            "{} was changed since it was written: it is left where it is",
            path.display()
        )),
        Found::Nothing | Found::Foreign => {}
    }
    Ok(())
}

/// Removes what labs share, and their folder where nothing else is in it.
///
/// # Errors
/// Where a lab is there, the cache is somebody else's folder, or something does not go.
pub fn forget(shelf: &Shelf) -> Result<(), LabError> {
    let labs = shelf.labs()?;
    if let Some(name) = labs.first() {
        let what = format!("lab `{name}` still needs what labs share");
        return Err(LabError::Usage(
            Failure::new(what).hint(format!("hmco-boot lab down --name {name}")),
        ));
    }
    shelf.check_cache()?;
    let lock = shelf.dir().join(".lock");
    let _lock = shelf.lock()?;
    base::clear(
        shelf,
        &Hierarchies::of_this_machine()?.group(shelf.cgroup()),
    )?;
    mark::remove(&shelf.cache())?;
    // Ours is empty.
    if files::read_if_any(&lock).is_empty() {
        files::remove(&lock)?;
    }
    files::remove_empty(shelf.dir());
    Ok(())
}
