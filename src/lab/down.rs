//! Taking a lab down: whatever of it is on this machine, found by name, whether a record is there or not.

use super::cgroup::Hierarchies;
use super::inventory::{self, Found};
use super::place::Place;
use super::record::Record;
use super::{LabError, Say, files, mounts, network, tools};
use std::path::Path;

/// Removes a lab; `false` where nothing of it was there.
///
/// # Errors
/// Where something does not go; what is left is found again by the next call.
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
    // Its own lock last: a lab that is begun meanwhile finds an empty place.
    files::remove_tree(&place.dir)?;
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
