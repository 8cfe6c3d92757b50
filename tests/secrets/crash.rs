//! A change cut off anywhere: after every single operation on files, by a power cut that loses what was not yet brought to
//! the disk, by an error of the disk, by `kill -9`. After each, the next who opens finds all old or all new, and all of
//! it opens.
//!
//! A change is recorded once, with every operation it does; then each beginning of that record is played onto the tree as
//! it was. So no moment is missed, and no key is computed twice.

use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hmco_boot::secrets::files::{Disk, Files};
use hmco_boot::secrets::rekey;
use hmco_boot::secrets::store::{Change, Inspection, Location, Mode, Tree};

use super::power::*;
use super::support::*;
use super::watched::*;

/// A recorded change: what was before and after it, and everything it did in between.
struct Recorded {
    store: Store,
    before: (Picture, Picture),
    after: Picture,
    ops: Vec<Op>,
    old: Vec<(String, String)>,
    new: Vec<(String, String)>,
}

/// All values of the tree, opened.
fn all(location: &Location, who: &Person) -> Vec<(String, String)> {
    let tree = Tree::open(location, who.identities(), Mode::Read).unwrap();
    let names: Vec<_> = tree
        .entries()
        .iter()
        .map(|entry| entry.name.clone())
        .collect();
    let values = tree.get_many(&names).into_iter();
    names
        .iter()
        .zip(values)
        .map(|(name, value)| (name.to_string(), value.unwrap().text().unwrap().to_owned()))
        .collect()
}

impl Recorded {
    /// Records a change of a store.
    fn of(store: Store, change: impl FnOnce(&Location)) -> Self {
        let trees = |store: &Store| {
            (
                picture(&store.location.tree),
                picture(&store.location.state),
            )
        };
        let before = trees(&store);
        let old = all(&store.location, &store.anna);
        let watched = Watched::new(|_, _| Ok(()));
        let files: Arc<dyn Files> = Arc::clone(&watched) as _;
        change(&Location::with_files(
            &store.location.tree,
            &store.location.state,
            files,
        ));
        let ops = watched.ops.lock().unwrap().clone();
        let new = all(&store.location, &store.anna);
        let after = picture(&store.location.tree);
        Self {
            store,
            before,
            after,
            ops,
            old,
            new,
        }
    }

    fn put_back(&self) {
        restore(&self.store.location.tree, &self.before.0);
        restore(&self.store.location.state, &self.before.1);
    }

    /// Whatever was played: who reads sees all old or all new; who writes leaves it so on the disk. Whether it is new.
    fn holds(&self, what: &str) -> bool {
        let location = &self.store.location;
        let reading = Tree::open(location, self.store.anna.identities(), Mode::Read)
            .unwrap_or_else(|failure| panic!("{what}: {failure:#?}"));
        let digests = |tree: &Tree| -> Vec<String> {
            tree.entries()
                .iter()
                .map(|entry| entry.digest.clone())
                .collect()
        };
        let seen = digests(&reading);
        drop(reading);
        let writing = Tree::open(location, self.store.anna.identities(), Mode::Write)
            .unwrap_or_else(|failure| panic!("{what}: {failure:#?}"));
        assert_eq!(
            digests(&writing),
            seen,
            "{what}: reading and writing saw different trees"
        );
        drop(writing);
        let found = picture(&location.tree);
        // The lock's file is there as soon as anybody wrote.
        let same = |other: &Picture| {
            let lock = location.tree.join(".lock");
            let plain = |one: &Picture| -> Picture {
                one.clone()
                    .into_iter()
                    .filter(|(path, _)| *path != lock)
                    .collect()
            };
            plain(&found) == plain(other)
        };
        let (is_old, is_new) = (same(&self.before.0), same(&self.after));
        assert!(
            is_old || is_new,
            "{what}: neither old nor new: {:?}",
            found.keys()
        );
        is_new
    }

    /// After each operation, and in the midst of each write. How many ended old and new.
    fn cut_everywhere(&self) -> (usize, usize) {
        let mut ended = (0, 0);
        let mut count = |is_new: bool| if is_new { ended.1 += 1 } else { ended.0 += 1 };
        let mut was_new = false;
        for end in 0..=self.ops.len() {
            self.put_back();
            play(&self.ops[..end]);
            if let Some(Op::Write(path, bytes, mode)) = self.ops.get(end) {
                Disk.write(path, &bytes[..bytes.len() / 2], *mode).unwrap();
                count(self.holds(&format!("in the midst of operation {end}")));
                self.put_back();
                play(&self.ops[..end]);
            }
            let is_new = self.holds(&format!("after operation {end}"));
            assert!(
                is_new || !was_new,
                "what counted once counts for ever: operation {end}"
            );
            was_new = is_new;
            count(is_new);
        }
        // Both are real: nothing in them that does not open.
        self.put_back();
        assert_eq!(all(&self.store.location, &self.store.anna), self.old);
        restore(&self.store.location.tree, &self.after);
        assert_eq!(all(&self.store.location, &self.store.anna), self.new);
        assert!(was_new);
        ended
    }

    /// Power cuts: what was not brought to the disk may be there, in part, or not at all.
    fn power_cuts(&self, rounds: usize) {
        let mut random = Random(0x5eed_0005);
        for round in 0..rounds {
            let end = random.below(self.ops.len() + 1);
            self.put_back();
            play_power_cut(&self.ops[..end], &mut random);
            self.holds(&format!("power cut {round} after operation {end}"));
        }
    }
}

/// A store with so many values in so many files, made by one write.
fn many(values: usize, files: usize) -> Store {
    let store = Store::new();
    let change = (0..values).fold(Change::new(), |change, one| {
        let at = format!("file-{}/group/key-{one:03}", one % files);
        change.set(name(&at), value(&format!("value {one}")))
    });
    store.change(change).unwrap();
    store
}

fn rekey_at(location: &Location, people: &[&Person]) {
    let inspection = Inspection::of(location, people[0].identities(), Mode::Write).unwrap();
    let plan = rekey::plan(&inspection, &recipients(people)).unwrap();
    rekey::carry_out(inspection, &plan, &approved(people), &|_, _| {}).unwrap();
}

#[test]
fn a_re_key_of_200_values_in_20_files_cut_off_anywhere_is_all_old_or_all_new() {
    let store = many(200, 20);
    let (anna, carol) = (
        store.anna.clone(),
        Person::age(store.folder.path(), "carol"),
    );
    let recorded = Recorded::of(store, |location| rekey_at(location, &[&anna, &carol]));
    let writes = recorded
        .ops
        .iter()
        .filter(|op| matches!(op, Op::Write(..)))
        .count();
    // 20 files, readers, list, marker; what this machine has seen.
    assert!(writes >= 23, "{writes}");
    let (old, new) = recorded.cut_everywhere();
    assert!(old > 40 && new > 20, "{old} old, {new} new");
    recorded.power_cuts(80);
}

#[test]
fn a_set_cut_off_anywhere_is_all_old_or_all_new() {
    let store = Store::holding(&[("k3s/a", "old"), ("k3s/b", "stays")]);
    let (anna, approved) = (store.anna.clone(), store.everybody());
    let recorded = Recorded::of(store, |location| {
        let mut tree = Tree::open(location, anna.identities(), Mode::Write).unwrap();
        let change = Change::new()
            .set(name("k3s/a"), value("new"))
            .set(name("dns/c"), value("added"));
        tree.commit(change, &approved, today()).unwrap();
    });
    recorded.cut_everywhere();
    recorded.power_cuts(150);
}

#[test]
fn a_remove_cut_off_anywhere_is_all_old_or_all_new() {
    let store = Store::holding(&[
        ("k3s/a", "goes"),
        ("k3s/b", "stays"),
        ("dns/c", "the file goes too"),
    ]);
    let (anna, approved) = (store.anna.clone(), store.everybody());
    let recorded = Recorded::of(store, |location| {
        let mut tree = Tree::open(location, anna.identities(), Mode::Write).unwrap();
        let change = Change::new().remove(name("k3s/a")).remove(name("dns/c"));
        tree.commit(change, &approved, today()).unwrap();
    });
    recorded.cut_everywhere();
    recorded.power_cuts(150);
}

#[test]
fn a_disk_that_fails_at_any_operation_leaves_all_old_or_all_new_and_ok_means_new() {
    let store = Store::holding(&[("k3s/a", "old"), ("dns/b", "old")]);
    let before = (
        picture(&store.location.tree),
        picture(&store.location.state),
    );
    // Once, or from then on.
    for for_ever in [false, true] {
        for failing in 0.. {
            restore(&store.location.tree, &before.0);
            restore(&store.location.state, &before.1);
            let watched = Watched::new(move |number, _| {
                if number == failing || for_ever && number > failing {
                    return Err(io::Error::other("injected"));
                }
                Ok(())
            });
            let files: Arc<dyn Files> = Arc::clone(&watched) as _;
            let location = Location::with_files(&store.location.tree, &store.location.state, files);
            let done =
                Tree::open(&location, store.anna.identities(), Mode::Write).and_then(|mut tree| {
                    let change = Change::new()
                        .set(name("k3s/a"), value("new"))
                        .set(name("dns/b"), value("new"));
                    tree.commit(change, &store.everybody(), today())
                });
            let found = all(&store.location, &store.anna);
            drop(store.open(Mode::Write).unwrap());
            assert_eq!(all(&store.location, &store.anna), found);
            let is = |text: &str| found.iter().all(|(_, value)| value == text);
            assert!(is("old") || is("new"), "operation {failing}: {found:?}");
            if let Err(failure) = &done {
                assert!(failure.hint.is_some(), "{failure:?}");
                let said_so = said(failure).contains("counts already");
                assert_eq!(said_so, is("new"), "operation {failing}: {failure:?}");
            } else {
                assert!(is("new"), "operation {failing}");
            }
            let left = picture(&store.location.tree);
            let litter = left
                .keys()
                .any(|path| path.to_string_lossy().contains(".staging"));
            assert!(!litter, "{:?}", left.keys());
            if watched.count.load(Ordering::SeqCst) <= failing {
                break;
            }
        }
    }
}

/// Says to a copy of this test where to die.
const CHILD: &str = "HMCO_BOOT_TEST_DIES_AT";

#[test]
fn kill_9_leaves_all_old_or_all_new_and_no_lock() {
    if let Ok(told) = std::env::var(CHILD) {
        die_at(&told);
        return;
    }
    let store = many(12, 4);
    let before = (
        picture(&store.location.tree),
        picture(&store.location.state),
    );
    let mut random = Random(0x5eed_0009);
    let mut ended = [0, 0];
    let old: Vec<String> = digests(&store);
    for _ in 0..8 {
        restore(&store.location.tree, &before.0);
        restore(&store.location.state, &before.1);
        let status = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "crash::kill_9_leaves_all_old_or_all_new_and_no_lock",
            ])
            .env(
                CHILD,
                format!(
                    "{}\n{}\n{}",
                    random.below(30),
                    store.folder.path().display(),
                    store.anna.identity.display()
                ),
            )
            .output()
            .unwrap()
            .status;
        assert_eq!(status.signal(), Some(9), "{status:?}");
        drop(store.open(Mode::Write).unwrap());
        assert_eq!(all(&store.location, &store.anna).len(), 12);
        let now = digests(&store);
        let same = old.iter().zip(&now).filter(|(a, b)| a == b).count();
        assert!(same == 0 || same == 12, "{same} of 12 values are old");
        ended[usize::from(same == 0)] += 1;
    }
    assert!(
        ended[0] > 0 && ended[1] > 0,
        "{ended:?}: other moments, please"
    );
}

fn digests(store: &Store) -> Vec<String> {
    let tree = store.open(Mode::Read).unwrap();
    tree.entries()
        .iter()
        .map(|entry| entry.digest.clone())
        .collect()
}

/// In the other process: a re-key that ends at an operation as `kill -9` ends it.
fn die_at(told: &str) {
    let words: Vec<&str> = told.lines().collect();
    let [number, folder, identity] = words.as_slice() else {
        panic!("{told:?}")
    };
    let number: usize = number.parse().unwrap();
    let watched = Watched::new(move |now, _| {
        if now == number {
            let me = rustix::process::getpid();
            rustix::process::kill_process(me, rustix::process::Signal::KILL)?;
        }
        Ok(())
    });
    let folder = Path::new(folder);
    let location = Location::with_files(
        folder.join("project/secrets"),
        folder.join("state"),
        watched,
    );
    let person = Person {
        name: "anna".into(),
        identity: identity.into(),
        key: fs::read_to_string(folder.join("project/secrets/recipients.toml"))
            .unwrap()
            .lines()
            .find_map(|line| line.strip_prefix("key = \"")?.strip_suffix('"'))
            .unwrap()
            .parse()
            .unwrap(),
    };
    rekey_at(&location, &[&person]);
}
