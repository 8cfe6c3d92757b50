//! Packages for nodes, which have no uplink: a process on the lab's bridge that is an HTTP proxy for Debian's archives,
//! and for nothing else, with a cache that all labs share; and that answers questions for names.
//!
//! The process is in a control group of the lab: it is found there whoever started it, and dies with the lab.

pub mod cache;
pub mod http;
pub mod mirror;
pub mod names;
pub mod server;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use super::cgroup::{Group, Hierarchies};
use super::command::{cannot_start, tail};
use super::place::Place;
use super::record::Record;
use super::{files, names as addresses};
use crate::model::outcome::Failure;

/// Its port on the bridge's address.
pub const PORT: u16 = 3142;

/// How often, and how long each time, to look whether a new server answers: 10 s.
const LOOKS: u32 = 200;
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What a server serves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// The address it listens on.
    pub address: Ipv4Addr,
    /// Where fetched files are.
    pub cache: std::path::PathBuf,
    /// What nodes ask for, and where it is fetched: `(http://deb.debian.org/debian, http://mirror/debian)`.
    pub routes: Vec<(String, String)>,
    /// Names that are answered with an address.
    pub hosts: Vec<(String, Ipv4Addr)>,
}

impl Config {
    /// For a lab.
    pub fn of(place: &Place, record: &Record) -> Self {
        let hosts = record.nodes();
        Self {
            address: addresses::host_address(record.subnet),
            cache: place.shelf().cache().join("packages"),
            routes: mirror::routes(&record.mirror, &record.security_mirror),
            hosts: hosts
                .into_iter()
                .map(|node| (node.name, node.address))
                .collect(),
        }
    }

    /// As arguments of the hidden command that is the process.
    pub fn args(&self) -> Vec<String> {
        let mut args = vec![
            "lab".to_owned(),
            "serve-packages".to_owned(),
            format!("--address={}", self.address),
            format!("--cache={}", self.cache.display()),
        ];
        args.extend(
            self.routes
                .iter()
                .map(|(from, to)| format!("--route={from}={to}")),
        );
        args.extend(
            self.hosts
                .iter()
                .map(|(name, to)| format!("--host={name}={to}")),
        );
        args
    }

    /// What it says of itself: another answer is another program's, or an older configuration's.
    pub fn greeting(&self) -> String {
        format!("hmco-boot lab {}\n", self.args().join(" "))
    }
}

/// Its control group.
pub fn group(place: &Place, hierarchies: &Hierarchies) -> Group {
    hierarchies.group(format!("{}/packages", place.tag.cgroup()))
}

/// Sees to it that the server runs, with this configuration.
///
/// # Errors
/// Where it cannot be started or does not answer: with the end of what it said.
pub fn ensure(
    place: &Place,
    config: &Config,
    program: &Path,
    hierarchies: &Hierarchies,
) -> Result<(), Failure> {
    let group = group(place, hierarchies);
    if !group.processes().is_empty() && answers(config) {
        return Ok(());
    }
    group.kill()?;
    group.make()?;
    files::private_folder(&config.cache)?;
    let log = place.packages_log();
    files::remove(&log)?;
    let out = files::open_log(&log)?;
    let errors = out
        .try_clone()
        .map_err(|error| files::io_failure("write", &log, &error))?;
    let mut child = group
        .command("setsid")
        .arg(program)
        .args(config.args())
        .current_dir("/")
        .stdout(out)
        .stderr(errors)
        .spawn()
        .map_err(|error| cannot_start("the server of packages", &error))?;
    for _ in 0..LOOKS {
        if answers(config) {
            return Ok(());
        }
        if matches!(child.try_wait(), Ok(Some(_))) {
            break;
        }
        std::thread::sleep(LOOK_EVERY);
    }
    let what = format!(
        "nothing serves packages to the nodes at {}:{PORT}",
        config.address
    );
    let mut failure = Failure::new(what);
    for line in tail(&files::read_if_any(&log), 8) {
        failure = failure.evidence(line);
    }
    Err(failure
        .hint("does something else on this machine use that port, or does its firewall drop it?"))
}

/// Whether the server with this very configuration answers.
fn answers(config: &Config) -> bool {
    let address = SocketAddr::from((config.address, PORT));
    let ask = || -> std::io::Result<String> {
        let limit = Duration::from_secs(2);
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    ask().is_ok_and(|text| text.ends_with(&config.greeting()))
}
