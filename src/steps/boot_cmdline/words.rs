//! The words of a kernel command line: separated by blanks outside of double quotes (as `next_arg` of the kernel's
//! lib/cmdline.c reads them).

/// Keys that the kernel reads each time they occur (Documentation/admin-guide/kernel-parameters.txt).
const SEVERAL: [&str; 9] = [
    "cgroup_disable",
    "cgroup_enable",
    "console",
    "earlycon",
    "earlyprintk",
    "memmap",
    "modprobe.blacklist",
    "module_blacklist",
    "video",
];

/// The words of a line.
pub fn split(line: &str) -> Vec<&str> {
    let mut quoted = false;
    line.split(|c: char| {
        quoted ^= c == '"';
        c.is_whitespace() && !quoted
    })
    .filter(|word| !word.is_empty())
    .collect()
}

/// Whether a text is one word.
pub fn is_word(text: &str) -> bool {
    split(text) == [text]
        && !text.contains(['\n', '\r', '\0'])
        && text.matches('"').count().is_multiple_of(2)
}

fn key(word: &str) -> Option<&str> {
    word.split_once('=').map(|(key, _)| key)
}

/// Whether `remove` names this word.
pub fn is_removed(word: &str, remove: &[String]) -> bool {
    remove.iter().any(|gone| match gone.strip_suffix('=') {
        Some(gone) => key(word) == Some(gone),
        None => word == gone,
    })
}

/// Whether a word of the old line that the new one lacks is on the running kernel's command line.
pub fn still_runs(old: &str, new: &str, running: &str) -> bool {
    let (new, running) = (split(new), split(running));
    let runs = |word: &str| running.contains(&word) || running.iter().any(|r| is_serial(word, r));
    split(old)
        .into_iter()
        .any(|word| !new.contains(&word) && runs(word))
}

/// Whether a running word is what the firmware of a Raspberry Pi made of `console=serial0,115200`: it puts the real device
/// (`ttyS0`, `ttyAMA10`) in place of `serial0` and `serial1`.
fn is_serial(word: &str, running: &str) -> bool {
    let parts = |word: &str, names: &[&str]| -> Option<(String, String)> {
        let (key, value) = word.split_once('=')?;
        let rest = names.iter().find_map(|name| value.strip_prefix(name))?;
        let options = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        Some((key.to_owned(), options.to_owned()))
    };
    let wanted = parts(word, &["serial"]);
    wanted.is_some() && wanted == parts(running, &["ttyAMA", "ttyS"])
}

/// The line with these words added and removed; `None` where nothing is to be done.
pub fn edit(line: &str, add: &[String], remove: &[String], several: &[String]) -> Option<String> {
    let old = split(line);
    let mut new: Vec<&str> = old
        .iter()
        .copied()
        .filter(|word| !is_removed(word, remove))
        .collect();
    for word in add {
        let key = key(word);
        let stands_alone = |key: &str| !SEVERAL.contains(&key) && !several.iter().any(|k| k == key);
        match key.filter(|key| stands_alone(key)) {
            // What is said once only: in the place of the first other value, none but this.
            Some(key) => {
                let same = |other: &str| self::key(other) == Some(key);
                let at = new.iter().position(|other| same(other));
                new.retain(|other| !same(other));
                new.insert(at.unwrap_or(new.len()).min(new.len()), word);
            }
            None if new.contains(&word.as_str()) => {}
            None => new.push(word),
        }
    }
    (new != old).then(|| new.join(" "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PI: &str = "console=serial0,115200 console=tty1 root=PARTUUID=1-02 rootfstype=ext4 fsck.repair=yes rootwait quiet";

    fn edited(line: &str, add: &[&str], remove: &[&str]) -> Option<String> {
        let owned = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        edit(line, &owned(add), &owned(remove), &[])
    }

    #[test]
    fn flags_are_added_at_the_end_once() {
        let new = edited(PI, &["cgroup_memory=1", "cgroup_enable=memory"], &[]).unwrap();
        assert_eq!(new, format!("{PI} cgroup_memory=1 cgroup_enable=memory"));
        assert_eq!(
            edited(&new, &["cgroup_memory=1", "cgroup_enable=memory"], &[]),
            None
        );
    }

    #[test]
    fn a_value_takes_the_place_of_another_and_consoles_stand_side_by_side() {
        let new = edited(PI, &["rootfstype=btrfs", "console=ttyS1"], &["quiet"]).unwrap();
        assert_eq!(
            new,
            "console=serial0,115200 console=tty1 root=PARTUUID=1-02 rootfstype=btrfs fsck.repair=yes rootwait console=ttyS1"
        );
        assert_eq!(edited("a=1 b a=2", &["a=2"], &[]).unwrap(), "a=2 b");
        assert_eq!(
            edited("cgroup_enable=cpuset", &["cgroup_enable=memory"], &[]).unwrap(),
            "cgroup_enable=cpuset cgroup_enable=memory"
        );
    }

    #[test]
    fn words_are_removed_whole_or_by_their_key() {
        assert_eq!(
            edited(PI, &[], &["console="]).unwrap(),
            PI.replace("console=serial0,115200 console=tty1 ", "")
        );
        assert_eq!(
            edited(PI, &[], &["console=tty1"]).unwrap(),
            PI.replace("console=tty1 ", "")
        );
        assert_eq!(edited(PI, &[], &["console", "qui", "root=x"]), None);
    }

    #[test]
    fn quoted_values_are_one_word() {
        let line = r#"dyndbg="file a.c +p" x"#;
        assert_eq!(split(line), [r#"dyndbg="file a.c +p""#, "x"]);
        assert!(is_word(r#"dyndbg="file a.c +p""#));
        for bad in ["", "a b", "a\n", "\"a", " a"] {
            assert!(!is_word(bad), "{bad:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(5), ..ProptestConfig::default() })]

        #[test]
        fn an_edited_line_is_as_wished_and_keeps_all_other_words_in_order(
            line in prop::collection::vec(prop::sample::select(vec!["a", "a=1", "a=2", "b=1", "console=x", "console=y", "c"]), 0..8),
            add in prop::collection::vec(prop::sample::select(vec!["a", "a=1", "b=2", "console=z"]), 0..3),
            remove in prop::collection::vec(prop::sample::select(vec!["c", "console=x", "d="]), 0..3),
        ) {
            let one_each = |word: &&str| word.starts_with("a=") || word.starts_with("b=");
            prop_assume!(add.iter().filter(|w| one_each(w)).count() <= 1);
            let line = line.join(" ");
            let new = edited(&line, &add, &remove).unwrap_or_else(|| line.clone());
            prop_assert_eq!(edited(&new, &add, &remove), None);
            for word in &add {
                prop_assert!(split(&new).contains(word));
            }
            let rest = |text: &str| split(text).into_iter().map(str::to_owned).filter(|w| !add.contains(&w.as_str()) && !remove.contains(&w.as_str()) && !one_each(&w.as_str())).collect::<Vec<_>>();
            prop_assert_eq!(rest(&line), rest(&new));
        }
    }
}
