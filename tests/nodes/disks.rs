//! Disks that are full, read-only or hang, and steps that talk without end.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::process::{Command, Stdio};

use crate::rig::{World, told};

fn big_file(path: &str) -> String {
    format!(
        r#"
[[step]]
id = "big"
on = "all"
[step.file]
path = "{path}"
content = "{}\n"
[[step]]
id = "waits"
on = "all"
[step.file]
path = "/srv/waits"
content = "x\n"
[[step]]
id = "free"
on = "all"
needs = []
[step.file]
path = "/srv/free"
content = "x\n"
"#,
        "0123456789abcdef".repeat(8192)
    )
}

/// The old file is whole, nothing lies beside it, and what does not wait for it was done.
fn nothing_is_half_written(world: &World) {
    let state = world.on(
        0,
        "sudo ls -A /srv/small | grep -v filler; cat /srv/small/file /srv/free; sudo ls -A /run/hmco-boot/jobs",
    );
    assert_eq!(state, "file\nold\nx\n");
    assert!(!world.try_on(0, "test -e /srv/waits").status.success());
}

#[test]
fn a_full_disk_is_named_and_nothing_is_half_written() {
    let Some(world) = World::with(1, &big_file("/srv/small/file")) else {
        return;
    };
    world.on(
        0,
        "sudo mkdir /srv/small; sudo mount -t tmpfs -o size=1m tmpfs /srv/small; echo old | sudo tee /srv/small/file >/dev/null
         sudo head -c 960K /dev/zero | sudo tee /srv/small/filler >/dev/null",
    );
    let said = world.expect(1, &["run", "main"]);
    assert!(
        said.contains("/srv/small") && said.to_lowercase().contains("space"),
        "{said}"
    );
    nothing_is_half_written(&world);
    world.on(0, "sudo rm /srv/small/filler");
    world.expect(0, &["resume"]);
    assert_eq!(
        world.on(0, "stat -c %s /srv/small/file; cat /srv/waits"),
        "131073\nx\n"
    );
}

#[test]
fn a_read_only_file_system_is_named_and_the_rest_goes_on() {
    let Some(world) = World::with(1, &big_file("/srv/small/file")) else {
        return;
    };
    world.on(
        0,
        "sudo mkdir /srv/small; sudo mount -t tmpfs tmpfs /srv/small; echo old | sudo tee /srv/small/file >/dev/null
         sudo mount -o remount,ro /srv/small",
    );
    let said = world.expect(1, &["run", "main"]);
    assert!(
        said.contains("/srv/small") && said.contains("ead-only"),
        "{said}"
    );
    nothing_is_half_written(&world);
    world.on(0, "sudo mount -o remount,rw /srv/small");
    world.expect(0, &["resume"]);
}

#[test]
fn a_node_whose_books_cannot_be_written_says_so() {
    let Some(world) = World::for_torture("a full /run", 1, &big_file("/srv/file")) else {
        return;
    };
    // A small disk of their own, so that logins still work.
    world.on(
        0,
        "sudo mkdir /run/hmco-boot; sudo mount -t tmpfs -o size=64k tmpfs /run/hmco-boot; sudo head -c 1M /dev/zero | sudo tee /run/hmco-boot/filler >/dev/null; true",
    );
    let output = world.command(&["run", "main"]).output().unwrap();
    let said = told(&output);
    world.on(0, "sudo umount -l /run/hmco-boot");
    assert!(matches!(output.status.code(), Some(1 | 3)), "{said}");
    assert!(said.contains("/run/hmco-boot"), "{said}");
    assert!(!world.root(0).join("srv/file").exists());
    world.expect(0, &["run", "main"]);
}

#[test]
fn a_step_that_prints_100_mb_costs_no_memory_and_its_end_is_shown() {
    let talk = r#"
[[step]]
id = "talk"
on = "all"
[step.command]
argv = ["sh", "-c", "yes 'one more line of a long talk' | head -c 100000000; echo; echo 'the very end'; exit 3"]
creates = "/srv/never"
"#;
    let Some(world) = World::with(1, talk) else {
        return;
    };
    let mut run = world.start(&["run", "main"]);
    let status = format!("/proc/{}/status", run.child.id());
    let (mut peak, mut shown) = (0, 0);
    while let Some(line) = run.event() {
        shown += line.len();
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        if let Some(high) = high {
            peak = high.trim().trim_end_matches(" kB").parse::<u64>().unwrap();
        }
    }
    let (code, said) = run.end();
    let end = &said[said.len().saturating_sub(4000)..];
    assert_eq!(code, Some(1), "{end}");
    assert!(
        end.contains("the very end") && end.contains("exit status 3"),
        "{end}"
    );
    assert!((1..100_000).contains(&peak), "{peak} kB of memory");
    eprintln!("peak {peak} kB, {shown} bytes of events");
    let record = world.on(0, "sudo du -sk /run/hmco-boot | cut -f 1");
    assert!(record.trim().parse::<u64>().unwrap() < 2000, "{record}");
    let stored = Command::new("du")
        .arg("-sk")
        .arg(world.state("state"))
        .output();
    let stored = String::from_utf8(stored.unwrap().stdout).unwrap();
    let kilobytes: u64 = stored.split('\t').next().unwrap().parse().unwrap();
    assert!(
        kilobytes < 10_000,
        "the record of the run has {kilobytes} kB"
    );
}

/// A FUSE file system that says hello and nothing more: as of a server that was stopped.
struct Hanging {
    /// Process 1 of the node.
    leader: String,
    at: String,
}

impl Hanging {
    fn mount(world: &World, node: usize, at: &str) -> Option<Self> {
        let opened = File::options().read(true).write(true).open("/dev/fuse");
        let Ok(mut device) = opened else {
            crate::skip::tell("no /dev/fuse here");
            return None;
        };
        // Only what is meant for it is inherited by a child.
        rustix::io::fcntl_setfd(&device, rustix::io::FdFlags::empty()).unwrap();
        let options = format!(
            "fd={},rootmode=40000,user_id=0,group_id=0,allow_other",
            device.as_raw_fd()
        );
        let leader = world.leader(node);
        let mounted = Command::new("nsenter")
            .args([
                "-t", &leader, "-m", "mount", "-i", "-t", "fuse", "-o", &options, "hmtest", at,
            ])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(mounted.status.success(), "{}", told(&mounted));
        rustix::io::fcntl_setfd(&device, rustix::io::FdFlags::CLOEXEC).unwrap();
        std::thread::spawn(move || {
            let mut request = vec![0; 1 << 17];
            // Every request is taken, the first (INIT) is answered: so whoever asked cannot even be killed.
            while let Ok(count) = device.read(&mut request) {
                if count >= 40 && request[4..8] == 26_u32.to_le_bytes() {
                    device.write_all(&hello(&request[8..16])).unwrap();
                }
            }
        });
        Some(Self {
            leader,
            at: at.to_owned(),
        })
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        // By force: whoever hangs in it is let go with an error, and takes a moment to go.
        let ended = Command::new("nsenter")
            .args(["-t", &self.leader, "-m", "-p", "sh", "-c"])
            .args(["umount -f \"$0\" 2>/dev/null || umount -l \"$0\"", &self.at])
            .status();
        if !ended.as_ref().is_ok_and(std::process::ExitStatus::success) {
            eprintln!("umount -f {}: {ended:?}", self.at);
        }
    }
}

/// The answer to INIT: `fuse_out_header` and `fuse_init_out` of version 7.31 (linux/fuse.h).
fn hello(unique: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    for number in [80_u32, 0] {
        answer.extend(number.to_le_bytes());
    }
    answer.extend(unique);
    // major, minor, max_readahead, flags, max_background and congestion_threshold, max_write, time_gran, then zeros.
    for number in [7_u32, 31, 65_536, 0, 0, 4096, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0] {
        answer.extend(number.to_le_bytes());
    }
    answer
}

#[test]
fn a_hanging_mount_costs_the_step_that_looks_there_and_no_other() {
    let steps = r#"
[[step]]
id = "there"
on = "all"
[step.file]
path = "/srv/hang/file"
content = "x\n"
[[step]]
id = "free"
on = "all"
needs = []
[step.file]
path = "/srv/free"
content = "x\n"
[[step]]
id = "command"
on = "all"
needs = []
[step.command]
argv = ["touch", "/srv/touched"]
creates = "/srv/touched"
"#;
    let Some(world) = World::with(1, steps) else {
        return;
    };
    world.on(0, "sudo mkdir /srv/hang");
    let Some(hanging) = Hanging::mount(&world, 0, "/srv/hang") else {
        return;
    };
    let said = world.expect(1, &["run", "main"]);
    let outcomes = world.outcomes();
    let outcome = |step: &str| outcomes[&format!("{step}@{}", world.name(0))].clone();
    assert!(outcome("there").contains("failed"), "{said}");
    assert!(outcome("there").contains("/srv/hang/file"), "{said}");
    assert!(outcome("free").contains("changed"), "{said}");
    assert!(outcome("command").contains("changed"), "{said}");
    drop(hanging);
    world.expect(0, &["resume"]);
    assert_eq!(world.on(0, "cat /srv/hang/file"), "x\n");
}
