use super::tests::{string, table, underlined};
use super::*;
use crate::model::value::FileId;

#[test]
fn facts_secrets_and_names_are_found_without_rendering() {
    assert_eq!(
        facts_named("facts.os.arch == 'arm64' and facts['boot'].id and x.facts.no"),
        ["boot", "os"]
    );
    let value = table(
        "a",
        string("{{ secret('x/y') }} {# secret('no') #} {{ secret(\"z\") }} {{ secret(name) }}"),
    );
    let named = secrets_named(&value);
    let names: Vec<&str> = named.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x/y", "z"]);
    let named = secrets_named(&table("a", table("secret", string("q"))));
    assert_eq!(named[0].0, "q");
    let used = names_used(
        "{% for i in names %}{{ i }}{{ port }}{{ secret(name) }}{{ range(2) }}{% endfor %}",
    );
    assert_eq!(
        used.iter().collect::<Vec<_>>(),
        ["name", "names", "port", "range", "secret"]
    );
}

#[test]
fn undefined_names_are_found_without_values() {
    let known = ["name", "node"].map(str::to_owned).into();
    let template = "hi {{ node.name }} {{ nmae }}";
    let mistakes = undefined_names(&string(template), &known);
    assert_eq!(mistakes.len(), 1);
    assert_eq!(underlined(template, &mistakes[0]), "nmae");
    assert_eq!(mistakes[0].hint.as_deref(), Some("did you mean `name`?"));
    assert_eq!(
        undefined_names(&string("{{ x"), &known)[0].code,
        "template-syntax"
    );
    let span = Span::new(FileId(0), 0..100);
    assert_eq!(
        check_expression("nam == 'x'", span, &known)[0].code,
        "undefined-name"
    );
    assert_eq!(
        check_expression("name == secret('x')", span, &known)[0].code,
        "secret-in-when"
    );
    assert_eq!(
        check_expression("name == ", span, &known)[0].code,
        "template-syntax"
    );
    assert_eq!(check_expression("name == 'x'", span, &known), []);
}
