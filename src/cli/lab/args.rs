//! What `hmco-boot lab` is asked for.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;

use clap::Subcommand;
use ipnet::Ipv4Net;

/// Arguments of `lab`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Nodes of a lab are real to everything that talks to them (systemd, OpenSSH, addresses of their own), but for the
kernel, which is this machine's. They are as powerful as root on this machine.

Examples:
  hmco-boot lab up                               3 servers and 1 agent, in inventory/lab.toml
  hmco-boot lab up --name two --servers 1 --agents 1
  hmco-boot lab ssh lab-1 -- uptime
  hmco-boot lab kill lab-2                       a power cut; back with: lab start lab-2
  hmco-boot lab cut lab-1 lab-2                  drop what they send each other; end it with --heal
  hmco-boot lab down")]
pub struct Args {
    /// Which lab; several can be up at once
    #[arg(long, global = true, value_name = "NAME", default_value = "lab")]
    pub name: String,
    /// The folder with all labs; by default $HMCO_BOOT_LAB_DIR, else /var/lib/hmco-boot-lab
    #[arg(long, global = true, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub dir: Option<PathBuf>,
    /// What to do with it.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands below `lab`.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Bring the lab up, or what of it is not up; writes inventory/NAME.toml (or -i FILE)
    Up(Up),
    /// Take the lab down, with all that it has on this machine
    Down {
        /// All labs
        #[arg(long)]
        all: bool,
        /// What labs share as well: the base tree and the packages that were fetched
        #[arg(long, requires = "all")]
        caches: bool,
    },
    /// Show the nodes
    Status {
        /// Of all labs
        #[arg(long)]
        all: bool,
    },
    /// Log in to a node, or run a command on it
    Ssh {
        /// The node
        node: String,
        /// The command, after `--`
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Cut the power of nodes: nothing in them is told
    Kill {
        /// The nodes
        #[arg(required = true)]
        nodes: Vec<String>,
    },
    /// Give power back to nodes that are off
    Start {
        /// The nodes; by default all
        nodes: Vec<String>,
    },
    /// Drop all packets between two nodes, or between one node and all others and this machine
    Cut {
        /// One node or two; none with --heal: all cuts
        #[arg(num_args = 0..=2)]
        nodes: Vec<String>,
        /// End the cut
        #[arg(long)]
        heal: bool,
    },
    /// Limit the CPU time of nodes, as of a slower machine
    Throttle {
        /// Percent of one processor, as in 25%; `off`: no limit
        limit: Limit,
        /// The nodes; by default all
        nodes: Vec<String>,
    },
    /// Serve packages to the nodes of a lab, until killed
    #[command(hide = true)]
    ServePackages {
        /// The address to listen on
        #[arg(long)]
        address: Ipv4Addr,
        /// Where fetched files are kept
        #[arg(long)]
        cache: PathBuf,
        /// FROM=TO: what nodes ask for, and where it is fetched
        #[arg(long, value_parser = pair)]
        route: Vec<(String, String)>,
        /// NAME=ADDRESS: a name that is answered with an address
        #[arg(long, value_parser = host)]
        host: Vec<(String, Ipv4Addr)>,
    },
}

/// How much CPU time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit(pub Option<u32>);

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self(None));
        }
        percent(text).map(|percent| Self(Some(percent)))
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once('=').ok_or("write FROM=TO")?;
    Ok((parts.0.to_owned(), parts.1.to_owned()))
}

fn host(text: &str) -> Result<(String, Ipv4Addr), String> {
    let (name, address) = pair(text)?;
    let address = address.parse().map_err(|_| "write NAME=ADDRESS")?;
    Ok((name, address))
}

/// Arguments of `lab up`.
#[derive(Clone, Debug, clap::Args)]
pub struct Up {
    /// How many nodes with the role `server`; by default 3 in a new lab
    #[arg(long, value_name = "N")]
    pub servers: Option<usize>,
    /// How many nodes with the role `agent`; by default 1 in a new lab
    #[arg(long, value_name = "N")]
    pub agents: Option<usize>,
    /// The nodes' addresses; by default the first 172.30.N.0/24 that is free
    #[arg(long, value_name = "CIDR")]
    pub subnet: Option<Ipv4Net>,
    /// CPU time of each node, in percent of one processor, as in 25%
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub cpu: Option<u32>,
    /// The user to log in as: pi (with sudo) or root; by default pi
    #[arg(long, value_name = "USER", value_parser = ["pi", "root"])]
    pub user: Option<String>,
    /// Debian's suite; by default bookworm
    #[arg(long, value_name = "NAME")]
    pub suite: Option<String>,
    /// Debian's mirror; by default one of this machine's apt sources
    #[arg(long, value_name = "URL", value_hint = clap::ValueHint::Url)]
    pub mirror: Option<String>,
    /// The K3s of the nodes, a file of this machine; by default $K3S, else what hmco-boot.lock pins
    #[arg(long, value_name = "PATH", value_hint = clap::ValueHint::FilePath)]
    pub k3s: Option<PathBuf>,
    /// Write no inventory
    #[arg(long)]
    pub no_inventory: bool,
}

fn percent(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    match number.parse() {
        Ok(percent @ 1..=10_000) => Ok(percent),
        _ => Err("write a number of percent, as in 25%".to_owned()),
    }
}
