//! One API for all tests of this program, which take turns with it.

use std::ops::Deref;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::audit;
use crate::rig::World;

/// Whether this is the long form.
pub fn torture() -> bool {
    std::env::var_os("HMCO_TORTURE").is_some()
}

/// The API's world, where there can be one; an error where it did not come up.
static WORLD: OnceLock<Result<Option<&'static World>, ()>> = OnceLock::new();
static TURN: Mutex<()> = Mutex::new(());

/// K3s as small as it goes: what it would bring itself is not needed here, and some of it is tried.
fn config() -> String {
    let audit = audit::config();
    format!(
        "k3s_config={{ \"flannel-backend\" = \"host-gw\", \"disable\" = [\"local-storage\", \"traefik\", \"servicelb\", \"metrics-server\"], {audit} }}"
    )
}

/// The API, for as long as this is held.
pub struct Api {
    world: &'static World,
    _turn: MutexGuard<'static, ()>,
}

impl Deref for Api {
    type Target = World;

    fn deref(&self) -> &World {
        self.world
    }
}

impl Api {
    /// This test's turn. `None` where there can be no API; that was said.
    pub fn turn() -> Option<Self> {
        // A test that failed left no more behind than one that did not.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let world = WORLD.get_or_init(|| std::panic::catch_unwind(begin).map_err(drop));
        let Ok(world) = world else {
            panic!("the API did not come up; another test says why");
        };
        let world = (*world)?;
        Some(Self { world, _turn: turn })
    }

    /// A playbook with these steps.
    pub fn playbook(&self, name: &str, steps: &str) {
        let path = format!("playbooks/{name}.toml");
        self.write(&path, &format!("title = \"Test\"\n{steps}"));
    }

    /// A playbook with one manifest step: these documents, and what else the step says.
    pub fn manifest(&self, name: &str, documents: &str, more: &str) {
        self.write(&format!("playbooks/files/{name}.yaml"), documents);
        self.playbook(
            name,
            &format!(
                "[[step]]\nid = \"objects\"\non = \"cluster\"\n[step.manifest]\nfiles = [\"files/{name}.yaml\"]\n{more}\n"
            ),
        );
    }

    /// kubectl on the node.
    pub fn kubectl(&self, args: &str) -> String {
        self.world.kubectl(1, args)
    }

    /// Puts documents there by kubectl, as somebody else would.
    pub fn put(&self, documents: &str) {
        let path = "/tmp/put.yaml";
        self.on(1, &format!("cat >{path} <<\"EOF\"\n{documents}\nEOF"));
        self.kubectl(&format!("apply -f {path}"));
    }

    /// Runs shell text on the node as root, however it ends.
    pub fn try_on(&self, text: &str) -> Output {
        let node = self.node(1);
        Command::new(env!("CARGO_BIN_EXE_hmco-boot"))
            .args(["lab", "--name", node.trim_end_matches("-1"), "ssh"])
            .args([&node, "--", "sudo"])
            .arg(text)
            .current_dir(self.project())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// The lab's inventory with this in place of that.
    pub fn inventory_with(&self, name: &str, from: &str, to: &str) -> String {
        let text = std::fs::read_to_string(self.inventory()).unwrap();
        assert!(text.contains(from), "{from} is not in {text}");
        let path = format!("other-{name}.toml");
        self.write(&path, &text.replace(from, to));
        path
    }
}

fn begin() -> Option<&'static World> {
    let world = World::up(1, 0)?;
    world.put_audit_policy();
    world.expect(0, &["run", "k3s", "--yes", "--var", &config()]);
    Some(left_to_reaper(world))
}

/// Leaves a lab to a process of its own, which takes it down when this program ends, however it does.
fn left_to_reaper(world: World) -> &'static World {
    let world: &'static World = Box::leak(Box::new(world));
    let name = world.node(1);
    let name = name.trim_end_matches("-1");
    let folder = world.project();
    if std::env::var_os("HMCO_KEEP_LAB").is_some() {
        eprintln!("kept: lab {name}, {}", folder.display());
        return world;
    }
    let reaper = Command::new("sh")
        .args([
            "-c",
            "cat; \"$0\" lab --name \"$1\" down; cd / && rm -rf \"$2\"",
        ])
        .args([env!("CARGO_BIN_EXE_hmco-boot"), name])
        .arg(folder.parent().unwrap())
        .current_dir(&folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    // This end of its pipe is open as long as this program lives.
    Box::leak(Box::new(reaper));
    world
}
