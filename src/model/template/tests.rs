use std::cell::RefCell;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::value::FileId;

/// A string value as if written in plain quotes at byte 10.
pub(super) fn string(text: &str) -> Value {
    Value {
        span: Span::new(FileId(0), 10..10 + text.len() + 2),
        data: Data::String(text.to_owned()),
    }
}

fn scope() -> Scope {
    Scope::default()
        .with("name", json!("ann"))
        .with("port", json!(22))
        .with("flag", json!(true))
        .with("ratio", json!(1.5))
        .with("nothing", json!(null))
        .with("names", json!(["a", "b"]))
        .with(
            "node",
            json!({ "name": "pi5-01", "labels": { "zone": "a" } }),
        )
        .with("tls_key", json!({ "secret": "tls/key" }))
        .with("given", json!({ "$tainted": "s3cr3t-given" }))
        .with(
            "site",
            json!({ "user": "u", "password": { "secret": "site/password" } }),
        )
}

fn secrets(name: &str) -> Result<String, String> {
    match name {
        "missing" => Err("run `hmco-boot secrets set missing`".to_owned()),
        name => Ok(format!("s3cr3t-{name}")),
    }
}

fn rendered(text: &str) -> Data {
    render(&string(text), &scope(), &secrets).unwrap().data
}

fn mistake(text: &str) -> Mistake {
    let mut mistakes = render(&string(text), &scope(), &secrets).unwrap_err();
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    mistakes.remove(0)
}

/// The part of the string that is underlined.
pub(super) fn underlined(text: &str, mistake: &Mistake) -> String {
    let span = mistake.span.unwrap();
    let quoted = format!("\"{text}\"");
    quoted[span.start as usize - 10..span.end as usize - 10].to_owned()
}

fn text(text: &str) -> Data {
    Data::String(text.to_owned())
}

fn tainted(text: &str) -> Data {
    Data::Tainted(text.to_owned())
}

#[test]
fn a_text_around_an_expression_gives_text_and_keeps_its_last_newline() {
    assert_eq!(
        rendered("hello {{ name }} on {{ port }}\n"),
        text("hello ann on 22\n")
    );
    assert_eq!(rendered("no template <&>"), text("no template <&>"));
    assert_eq!(rendered("{{ '<&>' }} "), text("<&> "));
    assert_eq!(rendered("{% if flag %}a{% else %}b{% endif %}"), text("a"));
}

#[test]
fn truth_values_and_lists_print_as_configuration_files_write_them() {
    assert_eq!(rendered("x: {{ flag }}"), text("x: true"));
    assert_eq!(rendered("x: {{ names }}"), text("x: [\"a\",\"b\"]"));
    assert_eq!(
        rendered("x: {{ node.labels }}"),
        text("x: {\"zone\":\"a\"}")
    );
}

#[test]
fn a_lone_expression_keeps_its_type() {
    assert_eq!(rendered("{{ port }}"), Data::Integer(22));
    assert_eq!(rendered("{{- port -}}"), Data::Integer(22));
    assert_eq!(rendered("{{ port + 1 }}"), Data::Integer(23));
    assert_eq!(rendered("{{ flag }}"), Data::Bool(true));
    assert_eq!(rendered("{{ ratio }}"), Data::Float(1.5));
    assert_eq!(rendered("{{ name }}"), text("ann"));
    assert_eq!(rendered("{{ '}}' }}"), text("}}"));
    assert!(matches!(rendered("{{ names }}"), Data::List(items) if items.len() == 2));
    assert!(matches!(rendered("{{ node }}"), Data::Table(entries) if entries.len() == 2));
    assert!(matches!(rendered("{{ {'a': {'b': 1}} }}"), Data::Table(_)));
    assert_eq!(rendered("{{ port }} "), text("22 "));
    assert_eq!(rendered("{{ port }}{{ port }}"), text("2222"));
}

#[test]
fn a_value_that_is_none_is_a_mistake_and_never_an_empty_text() {
    assert_eq!(mistake("{{ nothing }}").code, "template-error");
    assert_eq!(mistake("a {{ nothing }}").code, "template-error");
    assert_eq!(mistake("{{ 'x' if not flag }}").code, "undefined-name");
}

#[test]
fn an_undefined_name_is_underlined_inside_the_string_with_the_nearest_name() {
    for (template, place, hint) in [
        ("hi {{ nmae }}", "nmae", "did you mean `name`?"),
        ("{{ prot }}", "prot", "did you mean `port`?"),
        ("{{ node.nam }} x", "node.nam", "did you mean `node.name`?"),
        (
            "{{ node.labels.zon }}",
            "node.labels.zon",
            "did you mean `node.labels.zone`?",
        ),
    ] {
        let mistake = mistake(template);
        assert_eq!(mistake.code, "undefined-name", "{template}");
        assert!(
            underlined(template, &mistake).contains(place.rsplit('.').next().unwrap()),
            "{template}"
        );
        assert_eq!(mistake.hint.as_deref(), Some(hint), "{template}");
        assert_eq!(mistake.message, format!("`{place}` is undefined"));
    }
}

#[test]
fn a_syntax_error_is_underlined_too() {
    let template = "a {{ name | }} b";
    let mistake = mistake(template);
    assert_eq!(mistake.code, "template-syntax");
    assert_eq!(underlined(template, &mistake), "}}");
    assert_eq!(self::mistake("{% if flag %}").code, "template-syntax");
    assert_eq!(self::mistake("{% include 'x' %}").code, "template-syntax");
    assert_eq!(
        self::mistake("{% macro m() %}{% endmacro %}").code,
        "template-syntax"
    );
}

#[test]
fn where_the_source_has_escapes_the_whole_string_is_underlined() {
    let mut value = string("a\n{{ nmae }}\n");
    value.span.end += 2;
    let mistakes = render(&value, &scope(), &secrets).unwrap_err();
    assert_eq!(mistakes[0].span, Some(value.span));
    assert_eq!(mistakes[0].label, "on line 2 of this text");
}

#[test]
fn one_secret_taints_the_whole_text_however_it_is_reached() {
    assert_eq!(rendered("p={{ secret('a/b') }}"), tainted("p=s3cr3t-a/b"));
    assert_eq!(rendered("{{ secret('a/b') }}"), tainted("s3cr3t-a/b"));
    assert_eq!(
        rendered("{{ secret('a/' ~ name) }}"),
        tainted("s3cr3t-a/ann")
    );
    assert_eq!(rendered("{{ tls_key }}"), tainted("s3cr3t-tls/key"));
    assert_eq!(rendered("k={{ tls_key }}"), tainted("k=s3cr3t-tls/key"));
    assert_eq!(rendered("{{ given }}!"), tainted("s3cr3t-given!"));
    assert_eq!(
        rendered("{{ site.password }}"),
        tainted("s3cr3t-site/password")
    );
    assert_eq!(rendered("{{ secret('a') | length }}"), tainted("8"));
    assert_eq!(
        rendered("{{ secret('a') | b64encode }}"),
        tainted("czNjcjN0LWE=")
    );
    assert!(matches!(
        rendered("{{ secret('a') | sha256 }}"),
        Data::Tainted(_)
    ));
    assert!(matches!(rendered("x {{ site }}"), Data::Tainted(_)));
    assert!(matches!(rendered("{{ site | to_json }}"), Data::Tainted(_)));
    assert!(matches!(
        rendered("{% if tls_key == 'x' %}a{% else %}b{% endif %}"),
        Data::Tainted(_)
    ));
    assert!(matches!(
        rendered("{{ 'x' if secret('a') is defined else 'y' }}"),
        Data::Tainted(_)
    ));
    assert_eq!(rendered("{{ site.user }}"), text("u"));
    assert_eq!(rendered("{{ name }}"), text("ann"));
}

#[test]
fn a_table_that_holds_a_secret_is_tainted_only_where_the_secret_is() {
    let Data::Table(entries) = rendered("{{ site }}") else {
        panic!()
    };
    assert_eq!(entries[0].1.data, tainted("s3cr3t-site/password"));
    assert_eq!(entries[1].1.data, text("u"));
    let Data::List(items) = rendered("{{ [secret('a'), 1] }}") else {
        panic!()
    };
    assert!(
        items
            .iter()
            .all(|item| matches!(item.data, Data::Tainted(_)))
    );
}

pub(super) fn table(key: &str, inner: Value) -> Value {
    let span = Span::new(FileId(0), 0..5);
    let key = Key {
        span,
        name: key.to_owned(),
    };
    Value {
        span,
        data: Data::Table(vec![(key, inner)]),
    }
}

#[test]
fn the_table_form_of_a_secret_is_that_secret() {
    let value = table("content", table("secret", string("db/{{ name }}")));
    let rendered = render(&value, &scope(), &secrets).unwrap();
    assert_eq!(
        rendered.get("content").unwrap().data,
        tainted("s3cr3t-db/ann")
    );
}

#[test]
fn a_secret_that_cannot_be_read_is_a_mistake_with_the_stores_hint() {
    let mistake = mistake("{{ secret('missing') }}");
    assert_eq!(mistake.code, "unknown-secret");
    assert_eq!(
        mistake.hint.as_deref(),
        Some("run `hmco-boot secrets set missing`")
    );
}

#[test]
fn a_secret_is_looked_up_once_however_often_it_is_used() {
    let asked = RefCell::new(Vec::new());
    let lookup = |name: &str| {
        asked.borrow_mut().push(name.to_owned());
        secrets(name)
    };
    let value = string("{{ secret('a') }}{{ secret('b') }}{{ secret('a') }}");
    assert!(render(&value, &scope(), &lookup).is_ok());
    assert_eq!(*asked.borrow(), ["a", "b"]);
}

#[test]
fn no_mistake_ever_shows_a_secret() {
    for template in [
        "{{ secret('a') | int }}",
        "{{ secret('a') + 1 }}",
        "{{ secret('a') | nofilter }}",
        "{{ tls_key.x.y }}",
        "{{ site.password.x }}",
        "{{ names[secret('a')] }}",
        "{{ range(secret('a')) }}",
        "{{ secret('a') | default(nmae) }}",
    ] {
        let told = format!("{:?}", render(&string(template), &scope(), &secrets));
        assert!(!told.contains("s3cr3t"), "{template}: {told}");
    }
    assert!(!format!("{:?}", scope()).contains("s3cr3t"));
}

#[test]
fn all_mistakes_of_a_value_are_told_at_once() {
    let list = Value {
        span: Span::new(FileId(0), 0..9),
        data: Data::List(vec![string("{{ a1 }}"), string("ok"), string("{{ b1 }}")]),
    };
    assert_eq!(render(&list, &scope(), &secrets).unwrap_err().len(), 2);
}

#[test]
fn a_template_that_would_run_for_ever_or_fill_memory_ends_with_a_mistake() {
    let nested = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(50_000), ")".repeat(50_000));
    let lists = format!("{{{{ {}1{} }}}}", "[".repeat(140), "]".repeat(140));
    for template in [
        "{% for i in range(10**9) %}{{ i }}{% endfor %}",
        nested,
        "{{ 'x' * 1000000000 }}",
        "{% for a in range(9000) %}{{ 'x' * 10000 }}{% endfor %}",
        "{{ range(99999) | list + range(99999) | list }}",
        &deep,
        &lists,
    ] {
        assert!(
            render(&string(template), &scope(), &secrets).is_err(),
            "{}",
            &template[..20]
        );
    }
}

#[test]
fn a_condition_must_be_true_or_false_and_knows_no_secrets() {
    let span = Span::new(FileId(0), 0..100);
    let ok = |expression| evaluate(expression, span, &scope());
    assert_eq!(ok("port > 20 and name == 'ann'"), Ok(true));
    assert_eq!(ok("node.labels.zone != 'a'"), Ok(false));
    assert_eq!(ok("'a' in names"), Ok(true));
    let code = |expression| ok(expression).unwrap_err().code;
    assert_eq!(code("name"), "not-a-condition");
    assert_eq!(code("port"), "not-a-condition");
    assert_eq!(code("names"), "not-a-condition");
    assert_eq!(code("nmae == 'x'"), "undefined-name");
    assert_eq!(code("node.nmae == 'x'"), "undefined-name");
    assert_eq!(code("not nmae"), "undefined-name");
    assert_eq!(code("port >"), "template-syntax");
    assert_eq!(code("false and secret('a') == 'x'"), "secret-in-when");
    assert_eq!(code("tls_key == 'x'"), "secret-in-when");
    assert_eq!(code("tls_key is defined"), "secret-in-when");
    assert_eq!(code("site.password == given"), "secret-in-when");
}

#[test]
fn code_inside_raw_blocks_and_strings_is_text() {
    assert_eq!(rendered("{% raw %}{{ x }}{% endraw %}"), text("{{ x }}"));
    let value = string("{% raw %}{{ secret('no') }}{% endraw %}{{ secret('yes') }}");
    assert_eq!(secrets_named(&value).len(), 1);
    // What a value holds is not rendered again.
    let scope = Scope::default().with("a", json!("{{ secret('x') }}"));
    let once = render(&string("{{ a }}"), &scope, &secrets).unwrap();
    assert_eq!(once.data, text("{{ secret('x') }}"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, rng_seed: proptest::test_runner::RngSeed::Fixed(7), ..ProptestConfig::with_cases(1500) })]

    #[test]
    fn any_text_renders_or_is_a_mistake_but_never_a_panic(
        parts in proptest::collection::vec(
            prop_oneof![
                Just("{{".to_owned()), Just("}}".to_owned()), Just("{%".to_owned()), Just("%}".to_owned()),
                Just("'".to_owned()), Just("\\".to_owned()), Just(" name ".to_owned()), Just("-".to_owned()),
                Just("secret('a')".to_owned()), Just("for i in names".to_owned()), Just("endfor".to_owned()),
                Just("raw".to_owned()), Just("endraw".to_owned()), Just("{#".to_owned()), Just("|".to_owned()),
                Just(".".to_owned()), Just("é🦀".to_owned()), "\\PC{0,4}",
            ],
            0..12,
        )
    ) {
        let template = parts.concat();
        let value = string(&template);
        let known = BTreeMap::from([("name".to_owned(), json!("ann"))]).into_keys().collect();
        let named = secrets_named(&value);
        undefined_names(&value, &known);
        facts_named(&template);
        check_expression(&template, value.span, &known);
        let result = render(&value, &scope(), &secrets);
        evaluate(&template, value.span, &scope()).ok();
        if let Ok(rendered) = result {
            // A text that printed the secret's value is tainted, and its literal name was seen before.
            if let Data::String(text) = &rendered.data {
                prop_assert!(!text.contains("s3cr3t"));
            } else if matches!(&rendered.data, Data::Tainted(t) if t.contains("s3cr3t-a")) {
                prop_assert!(!named.is_empty());
            }
        }
    }
}
