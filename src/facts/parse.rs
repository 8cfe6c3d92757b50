//! From the frames a script of facts gave back to one answer per fact. Believes nothing: what is missing, cut off or
//! does not fit is an error of its fact, never a guess. The text formats are in the files beside, by topic.

mod align;
mod digests;
mod host;
mod k3s;
mod kernel;
mod mounts;
mod net;
mod packages;
mod readiness;
mod reply;
mod state;
mod stats;
mod system;
mod texts;

pub use host::{date_range, find_account};
pub use mounts::{mount_table, swap_table};

use super::digest_cache::DigestCache;
use super::fact::{Answer, Fact, FactError, FactValue};
use super::frame::Frame;
use digests::Digests;
use reply::Reply;
use stats::Stats;
use texts::Texts;

/// Answers to `facts`, one each and in their order, from the frames of a script for the same facts. Frames of other
/// fragments may be among them. New digests go to `digests`.
pub fn answers(facts: &[Fact], frames: &[Frame], digests: &mut DigestCache) -> Vec<Answer> {
    let reply = Reply::new(frames);
    let parser = Parser {
        facts,
        stats: Stats::new(facts, &reply),
        texts: Texts::new(facts, &reply),
        digests: Digests::new(facts, &reply, digests),
        reply,
    };
    let mut answers = Vec::with_capacity(facts.len());
    for (index, fact) in facts.iter().enumerate() {
        // Equal questions may differ in index only.
        let value = parser.answer(index, fact);
        if let (Fact::K3sInstall, Ok(FactValue::K3sInstall(found))) = (fact, &value) {
            k3s::remember_version(found, &parser.reply, digests);
        }
        answers.push((fact.clone(), value));
    }
    for fact in facts {
        // Another step may ask for the same file without knowing that it holds a secret.
        if let Fact::Digest {
            path,
            uncached: true,
        } = fact
        {
            digests.forget(path.as_str());
        }
    }
    answers
}

/// Everything that came back, sorted by what it answers.
struct Parser<'a> {
    facts: &'a [Fact],
    reply: Reply<'a>,
    stats: Stats,
    texts: Texts,
    digests: Digests,
}

type Value = Result<FactValue, FactError>;

impl Parser<'_> {
    fn answer(&self, index: usize, fact: &Fact) -> Value {
        self.reply.started()?;
        match fact {
            Fact::Stat { path } => self.stats.get(path.as_str()).map(FactValue::Stat),
            Fact::Digest { path, .. } => self.digests.get(path.as_str()).map(FactValue::Digest),
            Fact::Content {
                path,
                unless_sha256,
                cap,
                ..
            } => self
                .digests
                .content(&self.reply, index, path.as_str(), unless_sha256, *cap)
                .map(FactValue::Content),
            Fact::Os => system::os(&self.reply, &self.texts).map(FactValue::Os),
            Fact::Boot => system::boot(&self.reply, &self.texts).map(FactValue::Boot),
            Fact::Cgroup => kernel::cgroup(&self.texts).map(FactValue::Cgroup),
            Fact::Sysctl { name } => kernel::sysctl(&self.texts, name).map(FactValue::Text),
            Fact::Module { name } => kernel::module(&self.reply, name).map(FactValue::Module),
            Fact::Package { name } => packages::package(&self.reply, name).map(FactValue::Package),
            Fact::PackageManager => {
                packages::manager(&self.reply, &self.stats).map(FactValue::PackageManager)
            }
            Fact::Account { name } => {
                host::account(&self.reply, &self.texts, name).map(FactValue::Account)
            }
            Fact::Sudo => host::sudo(&self.reply).map(FactValue::Sudo),
            Fact::Unit { name } => state::unit(&self.reply, &self.texts, name).map(FactValue::Unit),
            Fact::Disk { path } => {
                let paths = super::questions::disk_paths(self.facts);
                let place = paths.iter().position(|other| *other == path.as_str());
                host::disk(&self.reply, &self.texts, place.unwrap_or_default()).map(FactValue::Disk)
            }
            Fact::Clock => host::clock(&self.reply, &self.texts, &self.stats).map(FactValue::Clock),
            Fact::Net => net::net(&self.reply, &self.texts).map(FactValue::Net),
            Fact::Exec { .. } | Fact::K3sCli { .. } => {
                state::exec(&self.reply, index).map(FactValue::Exec)
            }
            Fact::RunState => state::run_state(&self.reply, &self.texts).map(FactValue::RunState),
            Fact::K3sInstall => k3s::install(&self.reply).map(FactValue::K3sInstall),
            Fact::K3sData => k3s::data(&self.reply, &self.digests).map(FactValue::K3sData),
            Fact::Log { .. } => state::log(&self.reply, index).map(FactValue::Text),
            Fact::Mounts => mounts::mounts(&self.texts).map(FactValue::Mounts),
            Fact::Swaps => mounts::swaps(&self.reply, &self.texts).map(FactValue::Swaps),
            Fact::SysctlFiles => kernel::sysctl_files(&self.reply).map(FactValue::SysctlFiles),
            Fact::Http(_) | Fact::Dns(_) | Fact::Tcp(_) => Err(FactError::Failed(
                "no machine's shell can answer this: it is asked of the controller".to_owned(),
            )),
            Fact::KubeDiscovery
            | Fact::KubeList { .. }
            | Fact::KubeDryRun { .. }
            | Fact::KubeManifest(_) => Err(FactError::Failed(
                "no machine's shell can answer this: it is asked of the cluster".to_owned(),
            )),
            Fact::Readiness => readiness::readiness(&self.reply).map(FactValue::Readiness),
            // The transport knows when it asked and when the answer came; it puts the answer here.
            Fact::ClockOffset => Err(FactError::Failed(
                "the way to this machine does not tell when its clock was read".to_owned(),
            )),
            // So does the way that logs in.
            Fact::Login => Err(FactError::NotFound),
        }
    }
}

#[cfg(test)]
mod tests;
