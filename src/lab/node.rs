//! One node: its folders, its start, its death.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use std::io::Read as _;

use super::cgroup::{Group, Hierarchies};
use super::place::Place;
use super::record::{NodePlan, Record};
use super::{command, files, mounts, names, network};
use crate::model::outcome::Failure;

/// Folders that must not be on an overlay (containerd's own overlays cannot lie on one): the name below the node's
/// folder, and the path in the node.
const BOUND: &[(&str, &str)] = &[
    ("rancher", "/var/lib/rancher"),
    ("kubelet", "/var/lib/kubelet"),
    ("containerd", "/var/lib/containerd"),
];

/// How long one attempt to reach a node's SSH server may take.
const ATTEMPT: Duration = Duration::from_millis(500);

/// A node with all that is needed to handle it.
#[derive(Clone, Debug)]
pub struct Node {
    /// Its name, number and address.
    pub plan: NodePlan,
    /// Its control group.
    pub group: Group,
    folder: PathBuf,
    machine: String,
    link: String,
    bridge: String,
    v2: bool,
}

/// Whether a node has power, and how far it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Power {
    /// Nothing of it runs.
    Off,
    /// It runs, and its SSH server does not answer (yet).
    On,
    /// Its SSH server answers.
    Answers,
}

impl Node {
    /// A node of a lab.
    pub fn new(place: &Place, plan: NodePlan, hierarchies: &Hierarchies) -> Self {
        let group = hierarchies.group(format!("{}/{}", place.tag.cgroup(), plan.number));
        Self {
            folder: place.node(&plan.name),
            machine: place.tag.machine(plan.number),
            link: place.tag.link(plan.number),
            bridge: place.tag.bridge().to_owned(),
            group,
            v2: hierarchies.v2(),
            plan,
        }
    }

    /// Its file tree, while it is mounted.
    pub fn root(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// What it said on its console.
    pub fn console(&self) -> PathBuf {
        self.folder.join("console.log")
    }

    /// Whether anything of it runs.
    pub fn runs(&self) -> bool {
        !self.group.processes().is_empty()
    }

    /// Whether it runs and answers SSH.
    pub fn power(&self) -> Power {
        if !self.runs() {
            Power::Off
        } else if answers_ssh(self.plan.address) {
            Power::Answers
        } else {
            Power::On
        }
    }

    /// The process that is number 1 in the node.
    pub fn leader(&self) -> Option<i32> {
        self.group
            .below("node")
            .processes()
            .into_iter()
            .find(|pid| {
                let status = files::read_if_any(Path::new(&format!("/proc/{pid}/status")));
                let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
                ids.is_some_and(|ids| {
                    let ids: Vec<&str> = ids.split_whitespace().collect();
                    ids.len() > 1 && ids.last() == Some(&"1")
                })
            })
    }

    /// The id of its current boot, as programs in it read it.
    pub fn boot_id(&self) -> Option<String> {
        let path = format!(
            "/proc/{}/root/proc/sys/kernel/random/boot_id",
            self.leader()?
        );
        let text = files::read_if_any(Path::new(&path));
        (!text.trim().is_empty()).then(|| text.trim().to_owned())
    }

    /// Lays its file tree over the base, and puts in what makes it this node; all of it only where it is missing.
    ///
    /// # Errors
    /// Where a folder cannot be made or the overlay cannot be mounted.
    pub fn prepare(
        &self,
        base: &Path,
        place: &Place,
        record: &Record,
        public_key: &str,
    ) -> Result<(), Failure> {
        for name in ["upper", "work", "root"] {
            files::folder(&self.folder.join(name))?;
        }
        for (name, _) in BOUND {
            files::folder(&self.folder.join("bound").join(name))?;
        }
        let root = self.root();
        if !mounts::is_mounted(&root, "overlay") {
            let options = overlay_options(base, &self.folder);
            let point = root.to_string_lossy();
            command::run("mount", &["-t", "overlay", "hmco-boot-lab", "-o", &options, &point])
                .map_err(|failure| {
                    failure.hint(
                        "the folder of labs must be on a file system that can carry overlays (ext4, xfs, btrfs; not an overlay itself): name another one with --dir",
                    )
                })?;
        }
        let prepared = self.folder.join("prepared");
        if files::read(&prepared)?.is_none() {
            self.personalise(&root, place, record, public_key)?;
            files::write(&prepared, "", 0o600)?;
        }
        Ok(())
    }

    fn personalise(
        &self,
        root: &Path,
        place: &Place,
        record: &Record,
        public_key: &str,
    ) -> Result<(), Failure> {
        let name = &self.plan.name;
        let host = names::host_address(record.subnet);
        let put = |path: &str, text: &str| files::write(&root.join(path), text, 0o644);
        put("etc/hostname", &format!("{name}\n"))?;
        put(
            "etc/hosts",
            &format!("127.0.0.1\tlocalhost\n127.0.1.1\t{name}\n"),
        )?;
        put("etc/resolv.conf", &format!("nameserver {host}\n"))?;
        put(
            "etc/systemd/network/10-lab.network",
            &network_file(record, self.plan.address),
        )?;
        put("etc/apt/apt.conf.d/90lab", &apt_file(host))?;
        super::pods::prepare(root)?;
        let (home, owner) = if record.user == "root" {
            ("root", 0)
        } else {
            ("home/pi", 1000)
        };
        let ssh = root.join(home).join(".ssh");
        files::owned_folder(&ssh, 0o700, owner)?;
        let line = format!("{public_key}\n");
        files::write_owned(&ssh.join("authorized_keys"), &line, 0o600, Some(owner))?;
        tracing::debug!(lab = place.name, node = name, "prepared");
        Ok(())
    }

    /// Gives it power; it must be prepared and off.
    ///
    /// # Errors
    /// Where its control group cannot be made or the program cannot be started.
    pub fn start(&self, cpu: Option<u32>) -> Result<Child, Failure> {
        self.group.kill()?;
        self.wait_for_link_to_go()?;
        self.group.below("watch").make()?;
        self.group.below("node").make()?;
        if cpu.is_some() {
            self.group.limit_cpu(cpu)?;
        }
        // What it said in its life before is kept beside: evidence is of this one.
        if self.console().exists() {
            files::rename(&self.console(), &self.folder.join("console.1.log"))?;
        }
        let log = files::open_log(&self.console())?;
        let errors = log
            .try_clone()
            .map_err(|error| files::io_failure("write", &self.console(), &error))?;
        let mut start = command::command("setsid");
        start
            .args(["sh", "-c", include_str!("sh/watch.sh"), "hmco-boot-lab"])
            .args(self.argv())
            .env("LAB_CGROUPS", self.group.variable())
            .env("LAB_LINK", &self.link)
            .env(
                "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY",
                if self.v2 { "1" } else { "0" },
            )
            .env("SYSTEMD_NSPAWN_LOCK", "0")
            .current_dir("/")
            .stdout(log)
            .stderr(errors);
        start
            .spawn()
            .map_err(|error| command::cannot_start("systemd-nspawn", &error))
    }

    fn argv(&self) -> Vec<String> {
        let mut argv = vec![
            "systemd-nspawn".to_owned(),
            "--quiet".to_owned(),
            format!("--directory={}", self.root().display()),
            format!("--machine={}", self.machine),
            "--boot".to_owned(),
            "--register=no".to_owned(),
            "--keep-unit".to_owned(),
            format!("--network-bridge={}", self.bridge),
            "--capability=all".to_owned(),
            "--system-call-filter=add_key keyctl bpf perf_event_open @mount @swap @keyring"
                .to_owned(),
            "--bind=/dev/kmsg".to_owned(),
            "--console=passive".to_owned(),
            "--link-journal=no".to_owned(),
            "--resolv-conf=off".to_owned(),
            "--timezone=off".to_owned(),
        ];
        for (name, path) in BOUND {
            let from = self.folder.join("bound").join(name);
            argv.push(format!("--bind={}:{path}", from.display()));
        }
        // For systemd in the node, as if it were on the kernel's command line. Nobody reads a passive console: with what
        // systemd tells there while it is slow ("A start job is running ...") it would fill up, and systemd would block.
        argv.push("systemd.show_status=no".to_owned());
        argv
    }

    /// Takes its power: everything in it is gone at once, nothing is told or shut down.
    ///
    /// What it wrote and did not sync is still written, as the host lives on: the loss of a disk's cache is not shown.
    ///
    /// # Errors
    /// Where a process does not go.
    pub fn kill(&self) -> Result<(), Failure> {
        // The one that starts it again first.
        self.group.below("watch").kill()?;
        self.group.kill()?;
        self.wait_for_link_to_go()
    }

    /// The kernel takes a dead node's link away a moment later; a new one could not have its name.
    fn wait_for_link_to_go(&self) -> Result<(), Failure> {
        for _ in 0..500 {
            if !network::link_exists(&self.link) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        // Its other end lives: something else has it.
        command::run("ip", &["link", "delete", &self.link]).map(|_| ())
    }

    /// Takes its power and all that it had on this machine but its folder.
    ///
    /// # Errors
    /// Where something does not go.
    pub fn discard(&self) -> Result<(), Failure> {
        self.kill()?;
        self.group.remove()?;
        // Where /run is no tmpfs, systemd-nspawn leaves this behind.
        files::remove_empty(&Path::new("/run/systemd/nspawn/propagate").join(&self.machine));
        mounts::unmount_below(&self.folder)
    }
}

/// Whether an SSH server greets at this address.
pub fn answers_ssh(address: Ipv4Addr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&SocketAddr::from((address, 22)), ATTEMPT)
    else {
        return false;
    };
    let mut greeting = [0; 4];
    stream.set_read_timeout(Some(ATTEMPT)).is_ok()
        && stream.read_exact(&mut greeting).is_ok()
        && &greeting == b"SSH-"
}

fn overlay_options(base: &Path, folder: &Path) -> String {
    format!(
        "lowerdir={},upperdir={},workdir={}",
        base.display(),
        folder.join("upper").display(),
        folder.join("work").display()
    )
}

/// Sorts before systemd's own `80-container-host0.network`, which would ask for an address by DHCP.
fn network_file(record: &Record, address: Ipv4Addr) -> String {
    format!(
        "[Match]\nName=host0\n\
         [Link]\nMACAddress={}\n\
         [Network]\nAddress={address}/{}\nGateway={}\nDNS={}\nDHCP=no\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
        names::mac(address),
        record.subnet.prefix_len(),
        names::host_address(record.subnet),
        names::host_address(record.subnet),
    )
}

fn apt_file(host: Ipv4Addr) -> String {
    format!(
        "// Nodes have no uplink: the lab serves packages.\n\
         Acquire::http::Proxy \"http://{host}:{}\";\n\
         // The first who asks for a file waits until it is fetched.\n\
         Acquire::http::Timeout \"300\";\n",
        super::packages::PORT
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::place::Shelf;

    fn node(folder: &Path) -> Node {
        let place = Shelf::open(folder).unwrap().lab("lab").unwrap();
        let plan = NodePlan {
            name: "lab-2".into(),
            role: "server".into(),
            number: 2,
            address: Ipv4Addr::new(172, 30, 0, 12),
        };
        let v2 = mounts::Mount {
            point: "/sys/fs/cgroup".into(),
            kind: "cgroup2".into(),
            options: "rw".into(),
        };
        Node::new(&place, plan, &Hierarchies::of(&[v2]).unwrap())
    }

    #[test]
    fn a_node_is_started_as_is_known_to_work() {
        let folder = tempfile::tempdir().unwrap();
        let node = node(folder.path());
        let argv = node.argv();
        for wanted in [
            "--boot",
            "--register=no",
            "--keep-unit",
            "--capability=all",
            "--system-call-filter=add_key keyctl bpf perf_event_open @mount @swap @keyring",
            "--bind=/dev/kmsg",
            "--console=passive",
            "--link-journal=no",
            "systemd.show_status=no",
        ] {
            assert!(
                argv.iter().any(|word| word == wanted),
                "{wanted} in {argv:?}"
            );
        }
        let bound = format!(
            "--bind={}/bound/rancher:/var/lib/rancher",
            node.folder.display()
        );
        assert!(argv.contains(&bound), "{argv:?}");
        assert!(argv.contains(&format!("--network-bridge={}", node.bridge)));
        // Its link is named by systemd-nspawn after the machine.
        assert!(argv.contains(&format!(
            "--machine={}",
            node.link.trim_start_matches("vb-")
        )));
    }

    #[test]
    fn an_overlay_lies_on_the_base() {
        assert_eq!(
            overlay_options(Path::new("/c/base"), Path::new("/l/nodes/a")),
            "lowerdir=/c/base,upperdir=/l/nodes/a/upper,workdir=/l/nodes/a/work"
        );
    }
}
