//! What an apply may have changed, and which facts that makes doubtful.

use crate::facts::fact::Fact;
use crate::model::action::Action;
use crate::model::kube::{KubeAction, ObjectKey, reach};
use crate::model::path::AbsPath;

/// What an apply may have changed: facts that intersect it are read again.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Touches {
    /// What is at these paths, and (as their entries change) the folders above. What lies below a folder stays as it is:
    /// making `/srv/a` says nothing new of `/srv/a/b`.
    pub paths: Vec<AbsPath>,
    /// These paths and all below them: removed trees, links to folders, what a program works in.
    pub trees: Vec<AbsPath>,
    /// These units.
    pub units: Vec<String>,
    /// Packages.
    pub packages: bool,
    /// Kernel: sysctls, modules, boot.
    pub kernel: bool,
    /// K3s.
    pub k3s: bool,
    /// What the Kubernetes API holds.
    pub cluster: bool,
    /// Of what the Kubernetes API holds, these objects and what follows from them: see [`Touches::by`].
    pub objects: Vec<ObjectKey>,
    /// Anything.
    pub everything: bool,
}

impl Touches {
    /// These paths.
    pub fn paths(paths: impl IntoIterator<Item = AbsPath>) -> Self {
        Self {
            paths: paths.into_iter().collect(),
            ..Self::default()
        }
    }

    /// These paths and all below them.
    pub fn trees(trees: impl IntoIterator<Item = AbsPath>) -> Self {
        Self {
            trees: trees.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Anything at all.
    pub fn everything() -> Self {
        Self {
            everything: true,
            ..Self::default()
        }
    }

    /// What these very actions would change: of what the Kubernetes API holds only their objects, where they are actions on
    /// it. For forecasts; a run reads everything again.
    #[must_use]
    pub fn by(self, actions: &[Action]) -> Self {
        let mut objects = Vec::new();
        for action in actions {
            let Action::Kube(action) = action else {
                return self;
            };
            match &**action {
                KubeAction::Apply { objects: new, .. } | KubeAction::Try { objects: new, .. } => {
                    objects.extend(new.iter().map(|object| object.key.clone()));
                }
                KubeAction::Delete { objects: old, .. } => {
                    objects.extend(old.iter().map(|old| old.key.clone()));
                }
                KubeAction::Patch { key, .. } => objects.push(key.clone()),
                // Pods move to other nodes, and what counts them follows.
                KubeAction::Drain { .. } => return self,
                // What is awaited becomes what it is by itself.
                KubeAction::Await {
                    objects: awaited, ..
                } => {
                    objects.extend(awaited.iter().map(|awaited| awaited.key.clone()));
                }
            }
        }
        Self {
            cluster: false,
            objects,
            ..self
        }
    }

    /// Whether an apply with these touches makes what is known of `fact` doubtful.
    pub fn intersects(&self, fact: &Fact) -> bool {
        if self.everything {
            return true;
        }
        if let Some(path) = fact.path() {
            // A digest or content may be read through links, so what lies elsewhere can matter too; only `everything`
            // covers that. A path's parents matter because making a file changes its folder's stat.
            return self.all_paths().any(|touched| touched.is_below(path))
                || self.trees.iter().any(|tree| path.is_below(tree));
        }
        self.of_kernel(fact).unwrap_or_else(|| self.of_system(fact))
    }

    /// For facts about the kernel and the boot.
    fn of_kernel(&self, fact: &Fact) -> Option<bool> {
        Some(match fact {
            // Loading a module brings its parameters.
            Fact::Sysctl { name } => {
                let place = crate::facts::questions::sysctl_path(name);
                self.kernel
                    || self.paths_touch("/sys/module")
                    || place.is_some_and(|place| self.paths_touch(&place))
            }
            Fact::Module { .. } => self.kernel || self.paths_touch("/sys/module"),
            Fact::Cgroup => self.kernel,
            Fact::SysctlFiles => {
                let places = ["/etc/sysctl.d", "/etc/sysctl.conf", "/usr/lib/sysctl.d"];
                self.packages || self.touch_any(&places)
            }
            Fact::Mounts => {
                self.kernel
                    || self.k3s
                    || self.units.iter().any(|_| true)
                    || self.paths_touch("/etc/fstab")
            }
            Fact::Swaps => {
                self.kernel
                    || self.packages
                    || self.units.iter().any(|_| true)
                    || self.paths_touch("/etc/fstab")
                    || self.paths_touch("/etc/systemd")
            }
            // Only what they are read from: most expressions in `when` look at these, and a plan that knows them still
            // can tell what comes after a change.
            Fact::Os => {
                let places = ["/etc/os-release", "/etc/machine-id", "/etc/hostname"];
                self.kernel || self.packages || self.touch_any(&places)
            }
            Fact::Boot => {
                let places = ["/boot", "/run/reboot-required", "/lib/modules"];
                self.kernel || self.packages || self.touch_any(&places)
            }
            _ => return None,
        })
    }

    /// For all others that are not about a path.
    fn of_system(&self, fact: &Fact) -> bool {
        match fact {
            Fact::Unit { name } => {
                self.packages || self.units.contains(name) || self.paths_touch("/etc/systemd")
            }
            Fact::Package { .. } | Fact::PackageManager => self.packages,
            Fact::Account { .. } | Fact::Sudo => {
                let places = [
                    "/etc/passwd",
                    "/etc/group",
                    "/etc/nsswitch.conf",
                    "/etc/sudoers",
                    "/etc/sudoers.d",
                ];
                self.packages || self.touch_any(&places)
            }
            Fact::Net => self.units.iter().any(|_| true) || self.k3s || self.paths_touch("/etc"),
            // Other servers wait for this one's answer, which no binary changes.
            Fact::K3sData => self.k3s || self.paths_touch("/var/lib/rancher"),
            Fact::K3sInstall | Fact::K3sCli { .. } => {
                self.k3s
                    || self.paths_touch("/etc/rancher")
                    || self.paths_touch("/var/lib/rancher")
                    || self.paths_touch("/usr/local/bin")
            }
            // What changes by itself is always read again.
            Fact::Exec { .. } | Fact::Clock | Fact::Log { .. } | Fact::RunState => true,
            Fact::Http(_) | Fact::Dns(_) | Fact::Tcp(_) => true,
            Fact::Readiness => self.touches_services(),
            // No step changes how clocks differ, and other targets would wait for it.
            Fact::ClockOffset => false,
            // Of the open connection.
            Fact::Login => false,
            // A cluster that comes up is another one than none.
            Fact::KubeDiscovery | Fact::KubeList { .. } | Fact::KubeDryRun { .. } => {
                self.cluster || self.k3s || self.objects.iter().any(|key| reaches(key, fact))
            }
            // Files of the project, and pinned ones.
            Fact::KubeManifest(_) => false,
            // Answered before: by the kernel, or by their paths. Named one by one, so that a new fact has to be thought of.
            Fact::Sysctl { .. }
            | Fact::Module { .. }
            | Fact::Cgroup
            | Fact::SysctlFiles
            | Fact::Mounts
            | Fact::Swaps
            | Fact::Os
            | Fact::Boot
            | Fact::Stat { .. }
            | Fact::Digest { .. }
            | Fact::Content { .. }
            | Fact::Disk { .. } => false,
        }
    }

    /// Whether it may change what runs on the machine, or how the kernel is set.
    fn touches_services(&self) -> bool {
        self.kernel
            || self.packages
            || self.k3s
            || !self.units.is_empty()
            || self.paths_touch("/etc")
    }

    fn all_paths(&self) -> impl Iterator<Item = &AbsPath> {
        self.paths.iter().chain(&self.trees)
    }

    fn touch_any(&self, places: &[&str]) -> bool {
        places.iter().any(|place| self.paths_touch(place))
    }

    fn paths_touch(&self, prefix: &str) -> bool {
        AbsPath::new(prefix).is_ok_and(|prefix| {
            self.all_paths()
                .any(|path| path.is_below(&prefix) || prefix.is_below(path))
        })
    }
}

/// Whether a change of an object makes doubtful what is known of the cluster.
fn reaches(changed: &ObjectKey, fact: &Fact) -> bool {
    match fact {
        Fact::KubeDiscovery => reach::of_discovery(changed),
        Fact::KubeList {
            api_version,
            kind,
            namespace,
        } => reach::of_list(changed, api_version, kind, namespace.as_deref()),
        Fact::KubeDryRun { object, .. } => serde_json::from_str(object.expose())
            .ok()
            .and_then(|object| ObjectKey::of(&object))
            .is_none_or(|tried| reach::of_attempt(changed, &tried)),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_folder_says_nothing_new_of_what_lies_below_it_but_a_removed_tree_does() {
        let path = |text| AbsPath::new(text).unwrap();
        let stat = |text| Fact::Stat { path: path(text) };
        let made = Touches::paths([path("/srv/a")]);
        assert!(made.intersects(&stat("/srv/a")));
        assert!(made.intersects(&stat("/srv")));
        assert!(!made.intersects(&stat("/srv/a/b")));
        assert!(!made.intersects(&stat("/srv/ab")));
        let removed = Touches::trees([path("/srv/a")]);
        assert!(removed.intersects(&stat("/srv/a/b")));
        assert!(removed.intersects(&stat("/srv")));
        assert!(!removed.intersects(&stat("/srv/ab")));
    }

    #[test]
    fn a_file_in_etc_says_nothing_new_of_the_system_unless_the_system_is_read_from_it() {
        let made = |text| Touches::paths([AbsPath::new(text).unwrap()]);
        let account = Fact::Account { name: "pi".into() };
        for fact in [&Fact::Os, &Fact::Boot, &account] {
            assert!(!made("/etc/motd").intersects(fact), "{fact:?}");
            assert!(
                made("/etc").intersects(fact) || *fact == Fact::Boot,
                "{fact:?}"
            );
        }
        assert!(made("/etc/hostname").intersects(&Fact::Os));
        assert!(made("/boot/firmware/cmdline.txt").intersects(&Fact::Boot));
        assert!(made("/etc/passwd").intersects(&account));
        assert!(made("/sys/module/x").intersects(&Fact::Sysctl { name: "a.b".into() }));
    }

    #[test]
    fn what_changes_by_itself_is_always_doubtful() {
        let exec = Fact::Exec {
            argv: vec!["true".into()],
            timeout: crate::model::units::TimeSpan::parse("1s").unwrap(),
            sensitive: false,
        };
        assert!(Touches::default().intersects(&exec));
        assert!(!Touches::default().intersects(&Fact::Os));
        assert!(Touches::everything().intersects(&Fact::Os));
    }
}
