//! Which folders the lab made: those with its mark in them. Only such a folder is used, and only such a folder is ever
//! removed; a name proves nothing, for people keep folders of their own where labs may be.

use std::path::Path;

use super::{LabError, files, mounts};
use crate::model::outcome::Failure;

/// The file that marks a folder. That it is there counts; what it holds is for people.
pub const MARK: &str = ".hmco-boot-lab";

const WORDS: &str = "made by hmco-boot lab, which removes this folder with all in it\n";

/// The lock of a lab. An empty one alone in a folder is all that a removal which was cut off can have left.
pub const LOCK: &str = "lock";

/// Whether the lab made this folder.
pub fn is_ours(folder: &Path) -> bool {
    files::is_folder(folder) && folder.join(MARK).is_file()
}

/// Refuses a folder in which somebody else's things are; `as_what` it was to be used ("a lab").
///
/// # Errors
/// [`LabError::Usage`] where it is there, not empty, and the lab did not make it.
pub fn check(folder: &Path, as_what: &str) -> Result<(), LabError> {
    if is_ours(folder) {
        return Ok(());
    }
    let foreign = match files::exists(folder) {
        false => false,
        true if !files::is_folder(folder) => true,
        true => {
            let names = files::entries(folder)?;
            let left = |name: &std::ffi::OsString| {
                name == LOCK && files::read_if_any(&folder.join(LOCK)).is_empty()
            };
            // The mark may have come meanwhile, by another command that begins: it comes before all else.
            !names.iter().all(left) && !is_ours(folder)
        }
    };
    if !foreign {
        return Ok(());
    }
    let what = format!("{} is there and is no {as_what}", folder.display());
    Err(LabError::Usage(
        Failure::new(what)
            .evidence(format!("there is no file {MARK} in it: hmco-boot did not make it"))
            .hint(
                "nothing in it was touched. Name another folder for labs with --dir, or another lab with --name; or move it away",
            ),
    ))
}

/// Makes the folder where it is missing, and marks it before anything else is put into it.
///
/// # Errors
/// [`LabError::Usage`] as [`check`]; where it cannot be made.
pub fn claim(folder: &Path, as_what: &str) -> Result<(), LabError> {
    check(folder, as_what)?;
    if !is_ours(folder) {
        files::private_folder(folder)?;
        files::leave_note(&folder.join(MARK), WORDS)?;
    }
    Ok(())
}

/// Removes a folder that the lab made; any other one only where it is empty. What is mounted in it is taken off first, so
/// that nothing is removed in there. The mark goes late: a removal that is cut off is gone on with by the next one.
///
/// # Errors
/// Where something does not go.
pub fn remove(folder: &Path) -> Result<(), Failure> {
    if is_ours(folder) {
        mounts::unmount_below(folder)?;
        for name in files::entries(folder)? {
            if name != MARK && name != LOCK {
                files::remove_any(&folder.join(name))?;
            }
        }
        unmark(folder)?;
    }
    files::remove_empty(folder);
    Ok(())
}

/// Undoes a [`claim`] after which nothing but the lock was put into the folder; leaves any other folder as it is.
///
/// # Errors
/// Where something does not go.
pub fn undo(folder: &Path) -> Result<(), Failure> {
    let names = files::entries(folder)?;
    if is_ours(folder) && names.iter().all(|name| name == MARK || name == LOCK) {
        unmark(folder)?;
        files::remove_empty(folder);
    }
    Ok(())
}

/// The lock goes last: who holds it is alone until then.
fn unmark(folder: &Path) -> Result<(), Failure> {
    files::remove(&folder.join(MARK))?;
    files::remove(&folder.join(LOCK))
}
