//! The state folder: who may use it, its key, its caches, and the lock that a second process cannot have.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails; it looks at the files and starts processes"
)]

#[path = "support/skip.rs"]
mod skip;

use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hmco_boot::journal::local_lock::{LockError, LockHolder, LockMode};
use hmco_boot::journal::state_dir::{Cache, StateDir, StateEnv};
use hmco_boot::model::id::Target;
use hmco_boot::model::outcome::Failure;
use tempfile::TempDir;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn state() -> (TempDir, StateDir) {
    let folder = tempfile::tempdir().unwrap();
    let state = StateDir::open(&folder.path().join("hmco-boot"), "homelab").unwrap();
    (folder, state)
}

fn holder(run: &str) -> LockHolder {
    LockHolder {
        run: Some(run.into()),
        pid: 4711,
        user: "pi".into(),
        host: "desk".into(),
        since_ms: 1_767_344_400_000,
        command: "run bootstrap-all".into(),
    }
}

fn refused(base: &Path, cluster: &str) -> Failure {
    let failure = StateDir::open(base, cluster).unwrap_err();
    assert!(failure.hint.is_some(), "{failure:?}");
    failure
}

#[test]
fn the_place_follows_the_environment_and_must_be_absolute() {
    let path = |text: &str| Some(PathBuf::from(text));
    let mut env = StateEnv::default();
    assert!(
        env.base()
            .unwrap_err()
            .hint
            .unwrap()
            .contains("XDG_STATE_HOME")
    );
    env.home = path("/home/pi");
    assert_eq!(
        env.base().unwrap(),
        Path::new("/home/pi/.local/state/hmco-boot")
    );
    env.xdg_state_home = path("relative");
    assert_eq!(
        env.base().unwrap(),
        Path::new("/home/pi/.local/state/hmco-boot")
    );
    env.xdg_state_home = path("/state");
    assert_eq!(env.base().unwrap(), Path::new("/state/hmco-boot"));
    env.state_directory = path("/var/lib/hmco-boot:/var/lib/more");
    assert_eq!(env.base().unwrap(), Path::new("/var/lib/hmco-boot"));
}

#[test]
fn the_folder_is_made_for_its_owner_only_and_one_that_others_could_read_is_closed() {
    let (_base, state) = state();
    assert_eq!(mode(state.path()), 0o700);
    assert!(state.journal_path().starts_with(state.path()));
    let base = state.path().parent().unwrap();
    assert_eq!(mode(base), 0o700);
    set_mode(state.path(), 0o755);
    StateDir::open(base, "homelab").unwrap();
    assert_eq!(mode(state.path()), 0o700);
}

#[test]
fn a_folder_that_others_can_write_or_that_is_somebody_elses_is_refused_with_a_cure() {
    let (_base, state) = state();
    let base = state.path().parent().unwrap();
    set_mode(state.path(), 0o770);
    let failure = refused(base, "homelab");
    assert!(failure.message.contains("others can write"), "{failure:?}");
    assert!(failure.hint.unwrap().contains("chmod go-w"));
    set_mode(state.path(), 0o700);

    set_mode(base, 0o777);
    assert!(
        refused(base, "homelab")
            .message
            .contains("others can write")
    );
    set_mode(base, 0o1777);
    StateDir::open(base, "homelab").unwrap();

    if chown(state.path(), Some(12345), None).is_err() {
        skip::tell("no permission to give a folder away: that part is not tested");
        return;
    }
    assert!(
        refused(base, "homelab")
            .message
            .contains("belongs to user id 12345")
    );
}

#[test]
fn what_is_no_folder_or_no_plain_name_is_refused() {
    let base = tempfile::tempdir().unwrap();
    for name in ["", ".", "..", "a/b", "/etc", "a/", "a\0b"] {
        let failure = refused(base.path(), name);
        assert!(
            failure.message.contains("cannot be the name"),
            "{failure:?}"
        );
    }
    fs::write(base.path().join("file"), "").unwrap();
    refused(base.path(), "file");
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(elsewhere.path(), base.path().join("link")).unwrap();
    assert!(
        refused(base.path(), "link")
            .message
            .contains("not a folder")
    );
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 2);
}

#[test]
fn the_key_is_made_once_and_all_who_come_first_at_once_get_the_same() {
    let (_base, state) = state();
    let keys: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| state.mac_key().unwrap()))
            .collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert!(keys.iter().all(|key| *key == state.mac_key().unwrap()));
    assert_ne!(state.mac_key().unwrap(), [0; 32]);
    assert_eq!(mode(&state.path().join("mac.key")), 0o600);
    assert_eq!(
        fs::read_dir(state.path()).unwrap().count(),
        1,
        "nothing else is left"
    );
    let other = StateDir::open(state.path().parent().unwrap(), "other").unwrap();
    assert_ne!(other.mac_key().unwrap(), state.mac_key().unwrap());
}

#[test]
fn a_damaged_or_exposed_key_is_refused_and_not_replaced() {
    let (_base, state) = state();
    state.mac_key().unwrap();
    let path = state.path().join("mac.key");
    let sound = fs::read(&path).unwrap();
    let (mut flipped, mut signed) = (sound.clone(), sound.clone());
    flipped.splice(3..4, *b"g");
    signed.splice(0..1, *b"+");
    for bad in [
        Vec::new(),
        sound.split_last().unwrap().1.to_vec(),
        flipped,
        signed,
        vec![0xff; 65],
    ] {
        fs::write(&path, &bad).unwrap();
        let failure = state.mac_key().unwrap_err();
        assert!(failure.message.contains("damaged"), "{failure:?}");
        assert_eq!(fs::read(&path).unwrap(), bad);
    }
    fs::write(&path, sound).unwrap();
    set_mode(&path, 0o640);
    assert!(
        state
            .mac_key()
            .unwrap_err()
            .message
            .contains("others may have read")
    );
    set_mode(&path, 0o600);
    state.mac_key().unwrap();
}

#[test]
fn caches_come_back_as_saved_each_for_its_own_target() {
    let (_base, state) = state();
    let long = "n".repeat(300);
    let names = ["a", "a/b", "a%2fb", "..", "cluster", "", "ä", &long];
    let mut targets: Vec<_> = names
        .iter()
        .map(|name| Target::Node((*name).into()))
        .collect();
    targets.extend([Target::Cluster, Target::Controller]);
    for (n, target) in targets.iter().enumerate() {
        assert_eq!(state.digest_cache(target), Cache::Absent);
        state.save_digest_cache(target, "[]").unwrap();
        state.save_digest_cache(target, &format!("[{n}]")).unwrap();
    }
    for (n, target) in targets.iter().enumerate() {
        assert_eq!(state.digest_cache(target), Cache::Text(format!("[{n}]")));
    }
    let files: Vec<_> = fs::read_dir(state.path())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(files.len(), targets.len());
    assert!(files.iter().all(|file| mode(&file.path()) == 0o600));
}

#[test]
fn a_damaged_cache_is_ignored_aloud_and_replaced_by_the_next() {
    let (_base, state) = state();
    let path = state.path().join("digests.cluster.json");
    for bad in [&b""[..], b"{\"a\": 1", b"\xff\xfe", b"[1] [2]"] {
        fs::write(&path, bad).unwrap();
        let Cache::Damaged(failure) = state.digest_cache(&Target::Cluster) else {
            panic!("{bad:?} was taken")
        };
        assert!(
            failure.message.contains("digests.cluster.json"),
            "{failure:?}"
        );
    }
    state.save_digest_cache(&Target::Cluster, "{}").unwrap();
    assert_eq!(
        state.digest_cache(&Target::Cluster),
        Cache::Text("{}".into())
    );
}

fn held(state: &StateDir, mode: LockMode) -> (Vec<LockHolder>, Failure) {
    match state.lock(&holder("second"), mode) {
        Err(LockError::Held { holders, failure }) => (holders, failure),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_exclusive_lock_is_alone_and_shared_ones_share() {
    let (_base, state) = state();
    let first = state.lock(&holder("first"), LockMode::Exclusive).unwrap();
    assert_eq!(held(&state, LockMode::Exclusive).0, [holder("first")]);
    assert_eq!(held(&state, LockMode::Shared).0, [holder("first")]);
    drop(first);
    let snapshots = [
        state.lock(&holder("a"), LockMode::Shared).unwrap(),
        state.lock(&holder("b"), LockMode::Shared).unwrap(),
    ];
    let (mut holders, _) = held(&state, LockMode::Exclusive);
    holders.sort_by_key(|holder| holder.run.clone());
    assert_eq!(holders, [holder("a"), holder("b")]);
    drop(snapshots);
    drop(state.lock(&holder("last"), LockMode::Exclusive).unwrap());
    assert_eq!(
        fs::read_dir(state.path()).unwrap().count(),
        1,
        "only the lock itself"
    );
}

#[test]
fn the_refused_one_learns_who_holds_it_since_when_and_what_to_do() {
    let (_base, state) = state();
    let _first = state
        .lock(&holder("20260102-090000-a1b2"), LockMode::Exclusive)
        .unwrap();
    let (_, failure) = held(&state, LockMode::Exclusive);
    assert_eq!(
        failure.message,
        "cluster homelab is locked on this machine by run 20260102-090000-a1b2 (`run bootstrap-all`, process 4711, \
         user pi on desk, since 2026-01-02 09:00:00 UTC)"
    );
    assert!(
        failure
            .hint
            .unwrap()
            .contains("hmco-boot runs show 20260102-090000-a1b2")
    );
    let LockError::Held { holders, .. } = state.unlock().unwrap_err() else {
        panic!("a live holder was robbed")
    };
    assert_eq!(holders, [holder("20260102-090000-a1b2")]);
}

#[test]
#[ignore = "started by other tests as a process of its own"]
fn process_that_holds_the_lock() {
    let base = std::env::var("STATE").unwrap();
    let state = StateDir::open(Path::new(&base), "homelab").unwrap();
    let lock = state.lock(&holder("first"), LockMode::Exclusive);
    eprintln!("{}", if lock.is_ok() { "HELD" } else { "REFUSED" });
    // Until its parent closes the pipe or kills it.
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

fn process(state: &StateDir) -> (Child, String) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--ignored",
            "--exact",
            "--nocapture",
            "process_that_holds_the_lock",
        ])
        .env("STATE", state.path().parent().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut lines = BufReader::new(child.stderr.as_mut().unwrap());
    lines.read_line(&mut said).unwrap();
    (child, said.trim().to_owned())
}

#[test]
fn a_second_process_is_refused_and_a_killed_holder_frees_the_lock_by_dying() {
    let (_base, state) = state();
    let (mut child, said) = process(&state);
    assert_eq!(said, "HELD");
    assert_eq!(held(&state, LockMode::Exclusive).0, [holder("first")]);
    let (mut second, said) = process(&state);
    assert_eq!(said, "REFUSED");
    second.kill().unwrap();
    second.wait().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();

    assert_eq!(
        state.unlock().unwrap(),
        [holder("first")],
        "says what it found"
    );
    assert_eq!(state.unlock().unwrap(), []);
    let (mut child, said) = process(&state);
    assert_eq!(said, "HELD");
    child.kill().unwrap();
    child.wait().unwrap();
    let lock = state.lock(&holder("next"), LockMode::Exclusive).unwrap();
    assert_eq!(
        held(&state, LockMode::Shared).0,
        [holder("next")],
        "not the dead one"
    );
    drop(lock);
}

#[test]
fn many_that_want_the_lock_at_once_get_it_one_at_a_time() {
    let (_base, state) = state();
    let inside = std::sync::atomic::AtomicU32::new(0);
    let order = std::sync::atomic::Ordering::SeqCst;
    std::thread::scope(|scope| {
        for n in 0..8 {
            let (state, inside) = (&state, &inside);
            scope.spawn(move || {
                let me = holder(&format!("run-{n}"));
                let mut won = 0;
                while won < 5 {
                    match state.lock(&me, LockMode::Exclusive) {
                        Ok(_lock) => {
                            assert_eq!(inside.fetch_add(1, order), 0);
                            inside.fetch_sub(1, order);
                            won += 1;
                        }
                        Err(LockError::Held { holders, .. }) => assert!(!holders.contains(&me)),
                        Err(LockError::Io(failure)) => panic!("{failure:?}"),
                    }
                }
            });
        }
    });
}
