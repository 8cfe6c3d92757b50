//! Digests of files that need not be computed again: as long as device, inode, size, mtime and ctime of a file are the
//! same in the same boot, so are its bytes. Only the map; what may enter it is the parser's decision.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// At most this many digests are kept; the oldest go first.
const CAPACITY: usize = 8192;

/// Known digests, by path and boot. Kept between runs as JSON. An entry is only used where the target itself shows the
/// same identity in the same boot, so one cache may serve several targets, and an old one costs time, never truth.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DigestCache {
    paths: BTreeMap<String, BTreeMap<String, Entry>>,
    count: usize,
    clock: u64,
}

/// What is known of one path in one boot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Text of `FileStat::identity`.
    pub identity: String,
    /// sha256 in lowercase hex, or another text that only the file's bytes decide.
    pub value: String,
    /// When it was put here, in entries.
    age: u64,
}

impl DigestCache {
    /// How many digests are kept.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What is known of a path, by boot id.
    pub(super) fn of_path(&self, path: &str) -> impl Iterator<Item = (&str, &Entry)> {
        self.paths
            .get(path)
            .into_iter()
            .flatten()
            .map(|(boot, entry)| (boot.as_str(), entry))
    }

    /// Keeps a digest.
    pub(super) fn put(&mut self, path: &str, boot: &str, identity: &str, value: &str) {
        self.clock += 1;
        let entry = Entry {
            identity: identity.to_owned(),
            value: value.to_owned(),
            age: self.clock,
        };
        let of_path = self.paths.entry(path.to_owned()).or_default();
        if of_path.insert(boot.to_owned(), entry).is_none() {
            self.count += 1;
        }
        if self.count > CAPACITY {
            self.forget_oldest();
        }
    }

    /// Keeps nothing of a path.
    pub(super) fn forget(&mut self, path: &str) {
        if let Some(boots) = self.paths.remove(path) {
            self.count -= boots.len();
        }
    }

    /// Drops an eighth, so that it need not be done at every entry.
    fn forget_oldest(&mut self) {
        let mut ages: Vec<u64> = self
            .paths
            .values()
            .flat_map(|boots| boots.values().map(|entry| entry.age))
            .collect();
        ages.sort_unstable();
        let limit = ages.get(ages.len() / 8).copied().unwrap_or(u64::MAX);
        for boots in self.paths.values_mut() {
            boots.retain(|_, entry| entry.age > limit);
        }
        self.paths.retain(|_, boots| !boots.is_empty());
        self.count = self.paths.values().map(BTreeMap::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_digest_per_boot_and_the_newest_wins() {
        let mut cache = DigestCache::default();
        cache.put("/a", "boot1", "id1", "one");
        cache.put("/a", "boot1", "id2", "two");
        cache.put("/a", "boot2", "id1", "three");
        let known: Vec<_> = cache
            .of_path("/a")
            .map(|(boot, entry)| (boot, entry.identity.as_str(), entry.value.as_str()))
            .collect();
        assert_eq!(known, [("boot1", "id2", "two"), ("boot2", "id1", "three")]);
        assert_eq!(cache.len(), 2);
    }

    #[test]
    fn a_path_that_turns_out_to_hold_a_secret_is_forgotten() {
        let mut cache = DigestCache::default();
        cache.put("/a", "boot1", "id1", "one");
        cache.put("/a", "boot2", "id1", "two");
        cache.put("/b", "boot1", "id1", "three");
        cache.forget("/a");
        cache.forget("/c");
        assert_eq!((cache.len(), cache.of_path("/a").count()), (1, 0));
    }

    #[test]
    fn the_oldest_digests_go_when_it_is_full_and_it_survives_json() {
        let mut cache = DigestCache::default();
        for n in 0..=CAPACITY {
            cache.put(&format!("/{n}"), "boot", "id", "value");
        }
        assert!(cache.len() <= CAPACITY && cache.len() > CAPACITY / 2);
        assert_eq!(cache.of_path("/0").count(), 0);
        assert_eq!(cache.of_path(&format!("/{CAPACITY}")).count(), 1);
        let json = serde_json::to_string(&cache).unwrap();
        assert_eq!(serde_json::from_str::<DigestCache>(&json).unwrap(), cache);
    }
}
