//! K3s' settings as other tools wrote them: configuration files, arguments of a unit. Enough of YAML for files of flags
//! (scalars, lists in brackets or by dashes); what else there is, is not understood, and said to be so.

use super::setting::{Setting, Settings};

/// The settings of a configuration file by itself. An error is the line that is not understood.
pub fn of_file(text: &str) -> Result<Settings, String> {
    let mut settings = Settings::new();
    add_file(&mut settings, text)?;
    Ok(settings)
}

/// Adds the settings of a configuration file to those of the files before it. An error is the line that is not understood.
pub fn add_file(settings: &mut Settings, text: &str) -> Result<(), String> {
    let mut open: Option<(String, Vec<Setting>)> = None;
    for line in text.lines() {
        let bare = uncommented(line).trim_end();
        if bare.trim().is_empty() || matches!(bare, "---" | "...") {
            continue;
        }
        if let Some(item) = bare.trim_start().strip_prefix("- ") {
            let Some((_, items)) = &mut open else {
                return Err(line.to_owned());
            };
            items.push(scalar(item.trim()).ok_or_else(|| line.to_owned())?);
            continue;
        }
        if let Some((key, items)) = open.take() {
            put(settings, &key, Setting::List(items));
        }
        let (key, value) = bare.split_once(':').ok_or_else(|| line.to_owned())?;
        if key.starts_with([' ', '\t']) || !(value.is_empty() || value.starts_with([' ', '\t'])) {
            return Err(line.to_owned());
        }
        let key = key.trim().trim_matches(['"', '\'']);
        let value = value.trim();
        if value.is_empty() {
            open = Some((key.to_owned(), Vec::new()));
        } else {
            let value = value_of(value).ok_or_else(|| line.to_owned())?;
            put(settings, key, value);
        }
    }
    if let Some((key, items)) = open {
        put(settings, &key, Setting::List(items));
    }
    Ok(())
}

/// The last value counts; `key+` appends to what is there, which makes a list of it (k3s-io/k3s pkg/configfilearg).
fn put(settings: &mut Settings, key: &str, value: Setting) {
    let items = |setting| match setting {
        Setting::List(items) => items,
        one => vec![one],
    };
    let (key, value) = match key.strip_suffix('+') {
        None => (key, value),
        Some(key) => match settings.remove(key) {
            None => (key, value),
            Some(before) => (key, Setting::List([items(before), items(value)].concat())),
        },
    };
    settings.insert(key.to_owned(), value);
}

/// A line without its comment.
fn uncommented(line: &str) -> &str {
    let mut quote = None;
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        match quote {
            Some(open) if c == open => quote = None,
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None if c == '#' && before.is_whitespace() => {
                return line.get(..at).unwrap_or_default();
            }
            _ => {}
        }
        before = c;
    }
    line
}

fn value_of(text: &str) -> Option<Setting> {
    let Some(inside) = text.strip_prefix('[') else {
        return scalar(text);
    };
    let inside = inside.strip_suffix(']')?;
    if inside.trim().is_empty() {
        return Some(Setting::List(Vec::new()));
    }
    let mut items = Vec::new();
    let (mut start, mut quote) = (0, None);
    for (at, c) in inside.char_indices().chain([(inside.len(), ',')]) {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if matches!(c, '"' | '\'') => quote = Some(c),
            None if c == ',' => {
                items.push(scalar(inside.get(start..at)?.trim())?);
                start = at + 1;
            }
            None => {}
        }
    }
    quote.is_none().then_some(Setting::List(items))
}

fn scalar(text: &str) -> Option<Setting> {
    if text.starts_with('"') {
        return serde_json::from_str(text).ok().map(Setting::Text);
    }
    if let Some(inside) = text.strip_prefix('\'') {
        let inside = inside.strip_suffix('\'')?;
        return Some(Setting::Text(inside.replace("''", "'")));
    }
    if text.starts_with(['{', '[', '|', '>', '&', '*', '!', '%', '@', '`']) {
        return None;
    }
    Some(match (text, text.parse::<i64>()) {
        ("true", _) => Setting::Switch(true),
        ("false", _) => Setting::Switch(false),
        (_, Ok(number)) if !text.starts_with(['0', '+']) || text == "0" => Setting::Number(number),
        _ => Setting::text(text),
    })
}

/// Whether two settings mean the same to K3s: flags are texts.
pub fn same(one: &Setting, other: &Setting) -> bool {
    fn words(setting: &Setting) -> Vec<String> {
        match setting {
            Setting::Switch(on) => vec![on.to_string()],
            Setting::Number(number) => vec![number.to_string()],
            Setting::Text(text) => vec![text.clone()],
            Setting::List(items) => items.iter().flat_map(words).collect(),
        }
    }
    words(one) == words(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> String {
        serde_json::to_string(&of_file(text).unwrap()).unwrap()
    }

    #[test]
    fn files_of_flags_are_read_as_people_and_tools_write_them() {
        let text = "# by hand\ncluster-init: true\ntoken: 'it''s'  # not a comment inside\ndisable:\n  - traefik\n  - \"servicelb\"\n\
                    kubelet-arg: [\"a=b\", 'c,d', e]\nwrite-kubeconfig-mode: \"0640\"\netcd-snapshot-retention: 48\nmode: 0640\n\
                    tls-san+:\n- k3s.lab#1\n";
        assert_eq!(
            json(text),
            r#"{"cluster-init":true,"disable":["traefik","servicelb"],"etcd-snapshot-retention":48,"kubelet-arg":["a=b","c,d","e"],"mode":"0640","tls-san":["k3s.lab#1"],"token":"it's","write-kubeconfig-mode":"0640"}"#
        );
        assert_eq!(json(""), "{}");
    }

    #[test]
    fn later_files_replace_and_a_plus_appends() {
        let mut all = Settings::new();
        for text in [
            "disable: [traefik]\ntls-san: [a]\nnode-taint: a=b:NoSchedule\nnode-label: [old=1]\n",
            "disable+: [servicelb]\n\"tls-san+\":\n- b\nnode-taint+: c=d:NoSchedule\nnode-label: new=1\nkubelet-arg+: x=1\n",
            "disable+: local-storage\ntls-san: [c]\n",
        ] {
            add_file(&mut all, text).unwrap();
        }
        assert_eq!(
            serde_json::to_string(&all).unwrap(),
            r#"{"disable":["traefik","servicelb","local-storage"],"kubelet-arg":"x=1","node-label":"new=1","node-taint":["a=b:NoSchedule","c=d:NoSchedule"],"tls-san":["c"]}"#
        );
    }

    #[test]
    fn what_is_no_file_of_flags_is_not_understood() {
        for bad in [
            "a: {b: c}",
            "a: &x b",
            "- a",
            "a",
            "a: [b",
            "a: |",
            "  a: b",
        ] {
            assert_eq!(of_file(bad), Err(bad.to_owned()), "{bad}");
        }
    }

    #[test]
    fn flags_are_texts() {
        let list =
            |items: &[&str]| Setting::List(items.iter().map(|text| Setting::text(*text)).collect());
        assert!(same(&Setting::Switch(true), &Setting::text("true")));
        assert!(same(&list(&["a"]), &Setting::text("a")));
        assert!(!same(&list(&["a", "b"]), &list(&["b", "a"])));
    }
}
