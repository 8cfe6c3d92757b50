//! Recorded operations played onto the disk: as they were done, and as a power cut may have left them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use hmco_boot::secrets::files::{Disk, Files};

use super::watched::Op;

/// xorshift64*: the same cases every time.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % limit
    }
}

/// Plays operations as they were done. Nobody cuts the power of this machine, so nothing is waited for.
pub fn play(ops: &[Op]) {
    let waits = |op: &&Op| matches!(op, Op::SyncFile(_) | Op::SyncFolder(_));
    for op in ops.iter().filter(|op| !waits(op)) {
        op.apply(&Disk).unwrap();
    }
}

/// Plays operations as a disk may have kept them: a write is whole only if the file was synced after it, a name is there,
/// gone or changed only if its folder was; what was not is decided by chance, each for itself.
pub fn play_power_cut(ops: &[Op], random: &mut Random) {
    let mut written: BTreeMap<PathBuf, (Vec<u8>, u32)> = BTreeMap::new();
    for (index, op) in ops.iter().enumerate() {
        let later = &ops[index + 1..];
        let folder_synced = |path: &Path| {
            let parent = path.parent().unwrap();
            later
                .iter()
                .any(|op| matches!(op, Op::SyncFolder(folder) if folder == parent))
        };
        match op {
            Op::Write(path, bytes, mode) => {
                let synced = later
                    .iter()
                    .any(|op| matches!(op, Op::SyncFile(file) if file == path));
                let kept = match random.below(4) {
                    _ if synced => bytes.len(),
                    0 => 0,
                    1 => bytes.len() / 2,
                    _ => bytes.len(),
                };
                let bytes = bytes[..kept].to_vec();
                written.insert(path.clone(), (bytes.clone(), *mode));
                if folder_synced(path) || random.below(2) == 0 {
                    drop(Disk.write(path, &bytes, *mode));
                }
            }
            Op::Rename(from, to) => {
                if folder_synced(to) || random.below(2) == 0 {
                    // Its own name may not have reached the disk; under the new one it is the same file.
                    if let (false, Some((bytes, mode))) = (from.exists(), written.get(from)) {
                        drop(Disk.write(to, bytes, *mode));
                    } else {
                        drop(Disk.rename(from, to));
                    }
                }
            }
            Op::Remove(path) | Op::RemoveFolder(path) => {
                if folder_synced(path) || random.below(2) == 0 {
                    drop(op.apply(&Disk));
                }
            }
            Op::MakeFolder(..) => drop(op.apply(&Disk)),
            Op::SyncFile(_) | Op::SyncFolder(_) => {}
        }
    }
}
