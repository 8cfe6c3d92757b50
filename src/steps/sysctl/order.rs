//! Which file has the last word at boot, as sysctl.d(5) says: of files with one name the one in the first folder counts;
//! then by name; the last setting of a parameter wins. A setting by pattern (`net.ipv4.conf.*.rp_filter`) never beats one
//! by name, so patterns are left out.

use std::collections::BTreeMap;

use crate::facts::fact::SysctlFile;
use crate::facts::questions::sysctl_path;

/// Folders, the strongest first.
const FOLDERS: [&str; 5] = [
    "/etc/sysctl.d/",
    "/run/sysctl.d/",
    "/usr/local/lib/sysctl.d/",
    "/usr/lib/sysctl.d/",
    "/lib/sysctl.d/",
];

/// A setting in a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setting<'a> {
    /// Path.
    pub file: &'a str,
    /// The line.
    pub line: &'a str,
    /// Its value.
    pub value: &'a str,
}

/// The last settings, by the parameters' paths, in files that are read after `own`. `/etc/sysctl.conf` is read by systemd
/// only where `/etc/sysctl.d` links to it, by other inits at last.
pub fn later<'a>(
    files: &'a [SysctlFile],
    own: &str,
    systemd: bool,
) -> BTreeMap<Option<String>, Setting<'a>> {
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let own = name(own);
    let mut by_name: BTreeMap<String, (usize, &SysctlFile)> = BTreeMap::new();
    for file in files {
        let Some(rank) = FOLDERS.iter().position(|folder| {
            file.path
                .strip_prefix(folder)
                .is_some_and(|rest| !rest.contains('/'))
        }) else {
            continue;
        };
        let entry = by_name.entry(name(&file.path)).or_insert((rank, file));
        if rank < entry.0 {
            *entry = (rank, file);
        }
    }
    let ordered = by_name
        .into_iter()
        .filter(|(name, _)| **name > *own)
        .map(|(_, (_, file))| file);
    let last = files
        .iter()
        .filter(|file| !systemd && file.path == "/etc/sysctl.conf");
    let mut settings = BTreeMap::new();
    for file in ordered.chain(last) {
        for line in &file.lines {
            let Some((key, value)) = line.split_once('=') else {
                continue;
            };
            let key = key.trim().trim_start_matches('-').trim();
            if key.contains(['*', '?', '[']) {
                continue;
            }
            if let Some(path) = sysctl_path(key) {
                let setting = Setting {
                    file: &file.path,
                    line,
                    value: value.trim(),
                };
                settings.insert(Some(path), setting);
            }
        }
    }
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, lines: &[&str]) -> SysctlFile {
        SysctlFile {
            path: path.to_owned(),
            lines: lines.iter().map(|line| (*line).to_owned()).collect(),
        }
    }

    fn told(files: &[SysctlFile], systemd: bool) -> Vec<String> {
        later(files, "/etc/sysctl.d/90-hmco-boot-k3s.conf", systemd)
            .into_iter()
            .map(|(key, s)| format!("{} {} {}", key.unwrap(), s.value, s.file))
            .collect()
    }

    #[test]
    fn the_last_file_by_name_wins_and_of_one_name_the_strongest_folder() {
        let files = [
            file("/usr/lib/sysctl.d/99-a.conf", &["a.b = 1", "c.d = 1"]),
            file("/etc/sysctl.d/99-a.conf", &["a.b = 2"]),
            file("/usr/lib/sysctl.d/10-early.conf", &["e.f = 1"]),
            file("/run/sysctl.d/95-b.conf", &["a.b = 3", "g/h = 4", "g.h=5"]),
        ];
        assert_eq!(
            told(&files, true),
            [
                "/proc/sys/a/b 2 /etc/sysctl.d/99-a.conf",
                "/proc/sys/g/h 5 /run/sysctl.d/95-b.conf",
            ]
        );
    }

    #[test]
    fn a_masked_file_says_nothing_and_patterns_never_beat_a_name() {
        let files = [
            file("/etc/sysctl.d/99-a.conf", &[]),
            file("/usr/lib/sysctl.d/99-a.conf", &["a.b = 1"]),
            file(
                "/usr/lib/sysctl.d/99-x.conf",
                &["net.*.b = 1", "-c.d", "-e.f = 9"],
            ),
        ];
        assert_eq!(
            told(&files, true),
            ["/proc/sys/e/f 9 /usr/lib/sysctl.d/99-x.conf"]
        );
    }

    #[test]
    fn sysctl_conf_counts_where_it_is_linked_or_where_systemd_does_not_rule() {
        let files = [file("/etc/sysctl.conf", &["a.b = 1"])];
        assert_eq!(told(&files, true), Vec::<String>::new());
        assert_eq!(told(&files, false), ["/proc/sys/a/b 1 /etc/sysctl.conf"]);
        let linked = [file("/etc/sysctl.d/99-sysctl.conf", &["a.b = 1"])];
        assert_eq!(
            told(&linked, true),
            ["/proc/sys/a/b 1 /etc/sysctl.d/99-sysctl.conf"]
        );
    }
}
