//! What a re-key costs: 1,000 values in 20 files, for readers with an age key and an ssh-ed25519 key; from opening the
//! tree to its last file in place and on the disk. Also opening all values, and one.
//! `cargo bench --bench secrets`; the folder is `$TMPDIR`, so point that at the disk that matters.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a measurement that cannot go on fails; it looks at the clock and says what it saw"
)]

#[path = "../tests/secrets/support.rs"]
#[expect(dead_code, reason = "the tests use more of it")]
mod support;

use std::time::{Duration, Instant};

use hmco_boot::secrets::rekey;
use hmco_boot::secrets::store::{Change, Inspection, Mode, Tree};
use support::{Person, Store, approved, name, recipients, today, value};

const VALUES: usize = 1_000;
const FILES: usize = 20;
const ROUNDS: usize = 5;

fn timed(what: &str, mut work: impl FnMut()) {
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        work();
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let (best, worst) = (times.first().unwrap(), times.last().unwrap());
    let middle = times.get(ROUNDS / 2).unwrap();
    println!("{what:<44} {middle:>10.1?}   ({best:.1?} to {worst:.1?}, {ROUNDS} times)");
}

fn main() {
    let store = Store::new();
    let ssh = Person::ssh(store.folder.path(), "ed", "ed25519");
    let people = [&store.anna, &ssh];
    let change = (0..VALUES).fold(Change::new(), |change, one| {
        let at = format!("file-{:02}/group/key-{one:04}", one % FILES);
        change.set(
            name(&at),
            value(&format!("a value of some forty characters, {one:04}")),
        )
    });
    store.change(change).unwrap();
    let rekeyed = |who: &Person| {
        let inspection = Inspection::of(&store.location, who.identities(), Mode::Write).unwrap();
        let plan = rekey::plan(&inspection, &recipients(&people)).unwrap();
        rekey::carry_out(inspection, &plan, &approved(&people), &|_, _| {}).unwrap();
    };
    rekeyed(&store.anna);
    timed("re-key of 1,000 values by an age key", || {
        rekeyed(&store.anna)
    });
    timed("re-key of 1,000 values by an ssh-ed25519 key", || {
        rekeyed(&ssh)
    });
    let names: Vec<_> = (0..VALUES)
        .map(|one| name(&format!("file-{:02}/group/key-{one:04}", one % FILES)))
        .collect();
    let opened = |names: &[hmco_boot::secrets::name::SecretName]| {
        let tree = Tree::open(&store.location, store.anna.identities(), Mode::Read).unwrap();
        assert!(tree.get_many(names).iter().all(Result::is_ok));
    };
    timed("opening the tree and 1,000 values", || opened(&names));
    timed("opening the tree and one value", || {
        opened(names.get(..1).unwrap())
    });
    let mut tree = store.open(Mode::Write).unwrap();
    timed("setting one value", || {
        let change = Change::new().set(name("file-00/group/key-0000"), value("another"));
        tree.commit(change, &approved(&people), today()).unwrap();
    });
}
