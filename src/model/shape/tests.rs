use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::model::path::AbsPath;
use crate::model::sensitive::Text;
use crate::model::units::{Mode, TimeSpan};
use crate::model::value::{Data, FileId, Key, Span};

/// What becomes of a link.
#[derive(Deserialize, JsonSchema, Debug, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Follow {
    /// Go on.
    Always,
    /// Stop.
    Never,
}

#[derive(Deserialize, JsonSchema, Debug, PartialEq)]
#[serde(rename_all = "snake_case")]
enum Source {
    /// Given here.
    Inline(String),
    /// Read from a file.
    File { path: AbsPath, size: Option<u32> },
    /// Nothing.
    Empty,
}

#[derive(Deserialize, JsonSchema, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
struct Wish {
    /// Where the file goes. Its folder must exist.
    ///
    /// More words.
    path: AbsPath,
    #[serde(default)]
    content: Text,
    mode: Option<Mode>,
    timeout: Option<TimeSpan>,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    env: BTreeMap<String, Text>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    follow: Option<Follow>,
    source: Option<Source>,
    port: Option<u16>,
    backup: Option<bool>,
    extra: Option<serde_json::Value>,
}

/// Type forgot `deny_unknown_fields`.
#[derive(Deserialize, JsonSchema, Debug)]
struct Loose {
    #[expect(dead_code, reason = "only its key matters")]
    a: Option<u32>,
}

/// Reads TOML with spans of its own: enough for these tests.
pub(crate) fn value(text: &str) -> Value {
    fn lower(value: &toml::Spanned<toml::de::DeValue<'_>>) -> Value {
        use toml::de::DeValue;
        let span = Span::new(FileId(0), value.span());
        let data = match value.get_ref() {
            DeValue::String(s) => Data::String(s.to_string()),
            DeValue::Integer(n) => Data::Integer(n.as_str().parse().unwrap()),
            DeValue::Float(n) => Data::Float(n.as_str().parse().unwrap()),
            DeValue::Boolean(b) => Data::Bool(*b),
            DeValue::Datetime(d) => Data::Datetime(d.to_string()),
            DeValue::Array(items) => Data::List(items.iter().map(lower).collect()),
            DeValue::Table(entries) => table(entries),
        };
        Value { span, data }
    }
    fn table(entries: &toml::de::DeTable<'_>) -> Data {
        let mut entries: Vec<_> = entries
            .iter()
            .map(|(key, item)| {
                let name = key.get_ref().to_string();
                let span = Span::new(FileId(0), key.span());
                (Key { span, name }, lower(item))
            })
            .collect();
        entries.sort_by_key(|(key, _)| key.span.start);
        Data::Table(entries)
    }
    let parsed = toml::de::DeTable::parse(text).unwrap();
    Value {
        span: Span::new(FileId(0), 0..text.len()),
        data: table(parsed.get_ref()),
    }
}

/// The mistakes of a text as `code | underlined text | message | hint`.
fn told(text: &str, mistakes: &[Mistake]) -> Vec<String> {
    mistakes
        .iter()
        .map(|m| {
            let span = m.span.unwrap();
            let at = &text[span.start as usize..span.end as usize];
            let at = if at.len() > 30 { "..." } else { at };
            let hint = m.hint.clone().unwrap_or_default();
            format!("{} | {at} | {} | {hint}", m.code, m.message)
                .trim_end_matches([' ', '|'])
                .to_owned()
        })
        .collect()
}

fn bad(text: &str) -> Vec<String> {
    told(text, &decode::<Wish>(&value(text)).unwrap_err())
}

#[test]
fn a_value_of_the_right_shape_becomes_its_type() {
    let wish: Wish = decode(&value(
        "path = '/etc/motd'\nmode = '0644'\nnames = ['a']\nfollow = 'never'\n\
         source = { file = { path = '/x', size = 3 } }\nport = 22\nbackup = true\nextra = { a = [1] }\n\
         env = { A = 'b' }",
    ))
    .unwrap();
    assert_eq!(wish.path.as_str(), "/etc/motd");
    assert_eq!(wish.follow, Some(Follow::Never));
    assert!(matches!(
        wish.source,
        Some(Source::File { size: Some(3), .. })
    ));
    let empty: Wish = decode(&value("path = '/x'\nsource = 'empty'")).unwrap();
    assert_eq!(empty.source, Some(Source::Empty));
}

#[test]
fn all_mistakes_are_told_at_once_each_at_its_own_place() {
    insta::assert_snapshot!(bad(
        "path = 5\nmdoe = '0644'\nnames = 'a'\nfollow = 'nevr'\nport = 70000\nbackup = 'yes'\n\
         labels = { a = 1 }\nzzz = 1\nsource = { fil = 1 }\ntimeout = 1979-05-27"
    ).join("\n"), @r##"
    wrong-type | 5 | expected a string, found an integer | put it in quotes: `"5"`
    unknown-key | mdoe | unknown key `mdoe` | did you mean `mode`?
    wrong-type | 'a' | expected a list, found a string | put it in brackets: `["a"]`
    unknown-word | 'nevr' | "nevr" is not one of `always` and `never` | did you mean `never`?
    wrong-value | 70000 | the number is out of range | write a number from 0 to 65535
    wrong-type | 'yes' | expected a boolean, found a string | write `true`, without quotes
    wrong-type | 1 | expected a string, found an integer | put it in quotes: `"1"`
    unknown-key | zzz | unknown key `zzz` | known keys: `backup`, `content`, `env`, `extra`, `follow`, `labels`, `mode`, `names`, `path`, `port`, `source` and `timeout`
    unknown-key | fil | unknown key `fil` | did you mean `file`?
    wrong-type | 1979-05-27 | expected a string, found a date | put it in quotes: `"1979-05-27"`
    "##);
}

#[test]
fn a_missing_key_is_told_with_its_description() {
    insta::assert_snapshot!(bad("mode = '0644'").join("\n"), @r##"
    missing-key | mode = '0644' | `path` is missing | add `path = ...`: Where the file goes. Its folder must exist.
    "##);
}

#[test]
fn a_misspelt_required_key_is_one_mistake() {
    insta::assert_snapshot!(bad("pth = '/x'").join("\n"), @r##"
    unknown-key | pth | unknown key `pth` | did you mean `path`?
    "##);
}

#[test]
fn what_the_schema_cannot_say_the_type_says_and_all_of_it() {
    insta::assert_snapshot!(bad(
        "path = 'etc'\nmode = '999'\ntimeout = '5'\nsource = { file = { path = 'a' } }"
    ).join("\n"), @r##"
    invalid-value | 'etc' | the path "etc" is not absolute
    invalid-value | '999' | "999" is not a file mode: write it in octal, as in `"0644"`
    invalid-value | '5' | "5" is not a duration: write a number and a unit (ms, s, m, h, d), as in `90s` or `1h30m`
    invalid-value | 'a' | the path "a" is not absolute
    "##);
}

#[test]
fn an_enum_table_needs_exactly_one_known_key() {
    insta::assert_snapshot!(bad("path = '/x'\nsource = { inline = 'a', empty = 1 }").join("\n"), @r##"
    unknown-key | empty | unknown key `empty` | known keys: `inline` and `file`
    wrong-value | { inline = 'a', empty = 1 } | expected exactly one key, found 2 | write one of `inline` or `file`
    "##);
    insta::assert_snapshot!(bad("path = '/x'\nsource = { file = { pat = 'a' } }").join("\n"), @r##"
    unknown-key | pat | unknown key `pat` | did you mean `path`?
    "##);
    insta::assert_snapshot!(bad("path = '/x'\nsource = 5").join("\n"), @r##"
    wrong-type | 5 | expected a table or a string, found an integer | put it in quotes: `"5"`
    "##);
}

#[test]
fn a_secret_is_taken_only_where_the_schema_says_so() {
    let taint = |mut v: Value, key: &str| {
        let Data::Table(entries) = &mut v.data else {
            panic!()
        };
        let (_, item) = entries.iter_mut().find(|(k, _)| k.name == key).unwrap();
        match &mut item.data {
            Data::Table(inner) => inner[0].1.data = Data::Tainted("hunter2".to_owned()),
            data => *data = Data::Tainted("hunter2".to_owned()),
        }
        v
    };
    let text = "path = '/x'\ncontent = 'c'\nenv = { A = 'b' }\nlabels = { A = 'b' }\nextra = { a = 1 }\nmode = '0644'";
    for good in ["content", "env"] {
        let wish = decode::<Wish>(&taint(value(text), good)).unwrap();
        assert!(wish.content.is_tainted() || wish.env["A"].is_tainted());
    }
    for bad in ["labels", "extra", "mode", "path"] {
        let mistakes = decode::<Wish>(&taint(value(text), bad)).unwrap_err();
        assert_eq!(mistakes.len(), 1, "{bad}");
        assert_eq!(mistakes[0].code, "secret-here");
        assert!(!format!("{mistakes:?}").contains("hunter2"));
    }
}

#[test]
fn a_draft_takes_templates_anywhere_but_still_knows_its_keys() {
    let schema = schema_of::<Wish>();
    let text = "path = '{{ p }}'\nport = '{{ port }}'\nnames = '{{ names }}'\nbackup = '{{ a or b }}'\n\
                content = { secret = 'a/b' }\nfollow = '{{ f }}'\nlabels = { a = '{{ x }}' }";
    assert_eq!(check(&value(text), &schema), []);
    let text = "path = 5\nport = '2{{ x }}'\nmode = '{{ secret(\"x\") }}'\non = 'all'\nlabels = { on = 'x', a = { secret = 'x' } }\nnms = '{{ x }}'";
    insta::assert_snapshot!(told(text, &check_body(&value(text), &schema, "step.file")).join("\n"), @r##"
    wrong-type | 5 | expected a string, found an integer | put it in quotes: `"5"`
    wrong-type | '2{{ x }}' | expected an integer, found a string | only a template alone, `"{{ ... }}"`, gives something else than text
    secret-here | '{{ secret("x") }}' | a secret may not be used here | secrets go only into places that are never shown: a file's content, environment values, standard input
    unknown-key | on | unknown key `on` | `on` belongs to the step: move it above `[step.file]`
    secret-here | { secret = 'x' } | a secret may not be used here | secrets go only into places that are never shown: a file's content, environment values, standard input
    unknown-key | nms | unknown key `nms` | known keys: `backup`, `content`, `env`, `extra`, `follow`, `labels`, `mode`, `names`, `path`, `port`, `source` and `timeout`
    "##);
}

#[test]
fn what_a_template_gave_becomes_text_where_text_is_wanted_and_what_a_hand_wrote_does_not() {
    let schema = schema_of::<Wish>();
    let before = value(
        "path = '{{ a }}'\ncontent = '{{ n }}'\nnames = '{{ l }}'\nport = '{{ n }}'\nlabels = { a = '{{ n }}', b = 5 }",
    );
    let after =
        value("path = '/x'\ncontent = 5\nnames = [1, true]\nport = 5\nlabels = { a = 5, b = 5 }");
    let coerced = coerce(&before, after, &schema);
    assert_eq!(
        coerced.get("content").unwrap().data,
        Data::String("5".into())
    );
    assert_eq!(coerced.get("port").unwrap().data, Data::Integer(5));
    let labels = coerced.get("labels").unwrap();
    assert_eq!(labels.get("a").unwrap().data, Data::String("5".into()));
    assert_eq!(labels.get("b").unwrap().data, Data::Integer(5));
    let Data::List(names) = &coerced.get("names").unwrap().data else {
        panic!()
    };
    assert_eq!(names[1].data, Data::String("true".into()));
}

#[test]
fn an_unknown_key_is_refused_even_where_the_type_would_ignore_it() {
    let mistakes = decode::<Loose>(&value("b = 1\na = 1")).unwrap_err();
    assert_eq!(mistakes[0].code, "unknown-key");
}

#[test]
fn numbers_that_are_none_are_refused() {
    let mistakes = decode::<Wish>(&value("path = '/x'\nextra = [nan]")).unwrap_err();
    assert_eq!(mistakes[0].code, "wrong-type");
}

#[test]
fn a_number_for_a_duration_is_told_to_take_its_unit() {
    #[derive(Debug, serde::Deserialize, JsonSchema)]
    struct Waits {
        /// A field with words of its own.
        #[serde(rename = "timeout")]
        _timeout: Option<crate::model::units::TimeSpan>,
        #[serde(rename = "settle")]
        _settle: crate::model::units::TimeSpan,
        #[serde(rename = "name")]
        _name: String,
    }
    let text = "timeout = 5\nsettle = 10\nname = 7";
    let mistakes = told(text, &decode::<Waits>(&value(text)).unwrap_err());
    insta::assert_snapshot!(mistakes.join("\n"), @r##"
    wrong-type | 5 | expected a string, found an integer | write it with its unit, in quotes: `"5s"`
    wrong-type | 10 | expected a string, found an integer | write it with its unit, in quotes: `"10s"`
    wrong-type | 7 | expected a string, found an integer | put it in quotes: `"7"`
    "##);
}
