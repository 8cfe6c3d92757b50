//! Objects as lines for people: YAML with sorted keys, so that two of them can be compared line by line.

use serde_json::{Map, Value};

/// An object as YAML.
pub fn yaml(value: &Value) -> String {
    let mut out = String::new();
    write(&mut out, value, 0);
    out
}

fn write(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in sorted(map) {
                indent(out, depth);
                out.push_str(&scalar_text(key));
                after_key(out, value, depth);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                indent(out, depth);
                out.push('-');
                match item {
                    Value::Object(map) if !map.is_empty() => {
                        let mut inner = String::new();
                        write(&mut inner, item, depth + 1);
                        // The first key stands behind the dash.
                        out.push(' ');
                        out.push_str(inner.trim_start());
                    }
                    Value::Array(inner) if !inner.is_empty() => {
                        out.push('\n');
                        write(out, item, depth + 1);
                    }
                    _ => {
                        out.push(' ');
                        out.push_str(&scalar(item, depth + 1));
                        out.push('\n');
                    }
                }
            }
        }
        other => {
            indent(out, depth);
            out.push_str(&scalar(other, depth));
            out.push('\n');
        }
    }
}

fn after_key(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push_str(":\n");
            write(out, value, depth + 1);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push_str(":\n");
            write(out, value, depth);
        }
        _ => {
            out.push_str(": ");
            out.push_str(&scalar(value, depth + 1));
            out.push('\n');
        }
    }
}

/// apiVersion, kind and metadata first, as everybody writes them.
fn sorted(map: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let place = |key: &str| match key {
        "apiVersion" => 0,
        "kind" => 1,
        "metadata" => 2,
        "name" => 3,
        _ => 4,
    };
    let mut entries: Vec<_> = map.iter().collect();
    entries.sort_by(|(a, _), (b, _)| (place(a), a).cmp(&(place(b), b)));
    entries
}

fn indent(out: &mut String, depth: usize) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

fn scalar(value: &Value, depth: usize) -> String {
    match value {
        Value::String(text) if is_block(text) => block(text, depth),
        Value::String(text) => scalar_text(text),
        Value::Object(_) => "{}".to_owned(),
        Value::Array(_) => "[]".to_owned(),
        other => other.to_string(),
    }
}

/// Whether a text of several lines is read from a block as it is: one that begins with blanks, or ends with more or less than
/// a block says, would look like another.
fn is_block(text: &str) -> bool {
    let odd = |c: char| c.is_control() && c != '\n' && c != '\t' || UNSEEN.contains(&c);
    text.contains('\n')
        && !text.starts_with([' ', '\t', '\n'])
        && !text.ends_with("\n\n")
        && !text.contains(odd)
}

fn block(text: &str, depth: usize) -> String {
    let mut out = String::from(if text.ends_with('\n') { "|" } else { "|-" });
    for line in text.trim_end_matches('\n').split('\n') {
        out.push('\n');
        indent(&mut out, depth);
        out.push_str(line);
    }
    out
}

/// Quoted where it would be read as something else.
fn scalar_text(text: &str) -> String {
    let plain_start = |c: char| c.is_ascii_alphabetic() || c == '/' || c == '_';
    let plain = |c: char| c.is_ascii_alphanumeric() || "/_.-+=@,()".contains(c) || c == ' ';
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
    );
    let colon_inside = |text: &str| {
        text.replace("://", "").chars().all(plain)
            || text.chars().all(|c| plain(c) || c == ':')
                && !text.contains(": ")
                && !text.ends_with(':')
    };
    let fine = text.starts_with(plain_start) && !text.ends_with(' ') && colon_inside(text);
    if fine && !word {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// Line and paragraph separators, and the byte order mark: seen as nothing, or as an end of the line.
const UNSEEN: [char; 3] = ['\u{2028}', '\u{2029}', '\u{feff}'];

/// In double quotes, as in JSON, with what nobody sees written out.
fn quoted(text: &str) -> String {
    let mut out = String::new();
    for c in Value::from(text).to_string().chars() {
        match c.is_control() || UNSEEN.contains(&c) {
            true => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_that_differ_are_shown_differently_and_read_back_as_they_are() {
        let texts = [
            "a\nb",
            "a\nb\n",
            "a\nb\n\n",
            "a\nb\n\n\n",
            "  a\nb\n",
            "\na\nb\n",
            "\n",
            "a\r\nb\n",
            "a\n\tb \n",
            "a\u{85}b\u{2028}c\u{feff}\n\u{7f}",
            ".5",
            ".inf",
            "yes",
        ];
        for text in texts {
            let object = json!({ "list": [text, { "a": text }], "map": { "a": text } });
            let shown = yaml(&object);
            let again = crate::model::kube::document::any(&shown).unwrap();
            assert_eq!(again, object, "{shown}");
        }
    }

    #[test]
    fn an_object_is_shown_as_people_write_it() {
        let object = json!({
            "spec": {
                "ports": [{ "port": 80, "name": "http" }], "args": ["--a", "on", "1"], "empty": {}, "none": [],
                "matrix": [[1, 2], []]
            },
            "metadata": { "name": "a", "labels": { "app.kubernetes.io/name": "true" } },
            "kind": "X", "apiVersion": "v1",
            "data": { "file": "one\n  two\n", "last": "a\nb", "url": "https://a.example:8443/x" }
        });
        insta::assert_snapshot!(yaml(&object), @r#"
        apiVersion: v1
        kind: X
        metadata:
          name: a
          labels:
            app.kubernetes.io/name: "true"
        data:
          file: |
            one
              two
          last: |-
            a
            b
          url: https://a.example:8443/x
        spec:
          args:
          - "--a"
          - "on"
          - "1"
          empty: {}
          matrix:
          -
            - 1
            - 2
          - []
          none: []
          ports:
          - name: http
            port: 80
        "#);
    }
}
