//! What is wrong with a `systemd_unit` that its types cannot say.

use super::{OnChange, SystemdUnit};

/// What units end with.
const TYPES: [&str; 11] = [
    "service",
    "socket",
    "timer",
    "mount",
    "automount",
    "path",
    "slice",
    "swap",
    "target",
    "device",
    "scope",
];

/// Names of the SSH server: Debian's, its alias, that of others, what starts it by its socket, and the small one.
const REACHED_BY: [&str; 6] = [
    "ssh.service",
    "sshd.service",
    "ssh.socket",
    "sshd.socket",
    "dropbear.service",
    "dropbear.socket",
];

type Mistakes = Vec<(&'static str, String)>;

/// All mistakes, by key.
pub fn mistakes(wish: &SystemdUnit) -> Mistakes {
    let mut found = name(wish);
    found.extend(files(wish));
    found.extend(state(wish));
    found.extend(way_in(wish));
    found
}

fn name(wish: &SystemdUnit) -> Mistakes {
    let name = wish.name.as_str();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b":_.\\@-".contains(&b);
    let (stem, suffix) = name.rsplit_once('.').unwrap_or((name, ""));
    let message = if name.contains('/') {
        "a unit's name, not a path: the file is /etc/systemd/system/NAME".to_owned()
    } else if stem.is_empty() || !name.bytes().all(plain) || name.len() > 255 {
        format!("{name:?} is not a unit's name")
    } else if !TYPES.contains(&suffix) {
        format!("a unit's full name ends with its type; did you mean `{name}.service`?")
    } else {
        return Vec::new();
    };
    vec![("name", message)]
}

fn files(wish: &SystemdUnit) -> Mistakes {
    let mut found = Vec::new();
    let installs = |text: &String| text.lines().any(|line| line.trim() == "[Install]");
    if let Some(content) = &wish.content {
        if content.trim().is_empty() {
            found.push((
                "content",
                "an empty unit file masks the unit: use `masked = true` if that is meant"
                    .to_owned(),
            ));
        }
        let any = installs(content) || wish.drop_in.values().any(installs);
        if wish.enabled == Some(true) && !any {
            found.push((
                "enabled",
                "its `content` has no [Install] section, so it cannot be enabled: add one (WantedBy=multi-user.target)"
                    .to_owned(),
            ));
        }
        if wish.masked == Some(true) {
            found.push((
                "masked",
                "a masked unit has no file: leave `content` out".to_owned(),
            ));
        }
    }
    let texts = wish.content.iter().map(|text| ("content", text));
    let texts = texts.chain(wish.drop_in.values().map(|text| ("drop_in", text)));
    for (key, text) in texts {
        if text.contains('\0') {
            found.push((key, "a unit file cannot hold a NUL".to_owned()));
        }
    }
    for name in wish.drop_in.keys() {
        let stem = name.strip_suffix(".conf").unwrap_or(name);
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.@-".contains(&b);
        if stem.is_empty() || stem.starts_with('.') || !stem.bytes().all(plain) || stem.len() > 240
        {
            found.push((
                "drop_in",
                format!(
                    "{name:?} cannot be the name of a drop-in: letters, digits, `-`, `_` and `.`"
                ),
            ));
        }
    }
    found
}

fn state(wish: &SystemdUnit) -> Mistakes {
    let mut found = Vec::new();
    let mut mistake = |key, message: &str| found.push((key, message.to_owned()));
    let has_files = wish.content.is_some() || !wish.drop_in.is_empty();
    let restarts = !wish.restart_on.0.is_empty();
    let nothing = !has_files
        && wish.enabled.is_none()
        && wish.running.is_none()
        && wish.masked.is_none()
        && !restarts;
    if nothing {
        mistake(
            "name",
            "nothing is wished of the unit: `content`, `drop_in`, `enabled`, `running`, `masked` or `restart_on`",
        );
    }
    if wish.is_template()
        && (wish.enabled.is_some() || wish.running.is_some() || wish.masked.is_some() || restarts)
    {
        mistake(
            "name",
            "a template (`NAME@.service`) takes `content` and `drop_in` only; the rest belongs to a step for an instance (`NAME@INSTANCE.service`)",
        );
    }
    if wish.masked == Some(true) && (wish.enabled == Some(true) || wish.running == Some(true)) {
        mistake("masked", "a masked unit can neither be enabled nor started");
    }
    if wish.running == Some(false) && restarts {
        mistake(
            "restart_on",
            "`running = false` and a reason to restart contradict each other",
        );
    }
    if wish.on_change == OnChange::Reload && !restarts {
        mistake(
            "on_change",
            "without `restart_on` there is nothing whose change asks for a reload",
        );
    }
    if wish.start_timeout.0.is_zero() {
        mistake("start_timeout", "nothing can start in no time");
    }
    found
}

/// A node without its SSH server would be lost, and the step would say that all went well.
fn way_in(wish: &SystemdUnit) -> Mistakes {
    let name = wish.name.as_str();
    if !REACHED_BY.contains(&name) {
        return Vec::new();
    }
    let by = "this is how hmco-boot reaches its nodes";
    let stopped = (wish.running == Some(false)).then(|| {
        let message = format!("{by}: a node without {name} cannot be reached again");
        ("running", message)
    });
    let after_boot = |key, word| {
        let message = format!(
            "{by}: a node whose {name} is {word} cannot be reached after its next start; where something else starts its \
             SSH server, do this by hand"
        );
        (key, message)
    };
    let disabled = (wish.enabled == Some(false)).then(|| after_boot("enabled", "disabled"));
    let masked = (wish.masked == Some(true)).then(|| after_boot("masked", "masked"));
    let all = [stopped, disabled, masked];
    all.into_iter().flatten().collect()
}
