use std::collections::BTreeMap;

use super::*;

struct Sample;

impl Data for Sample {
    fn field(&self, name: &str) -> Value {
        let map = |entries: &[(&str, Value)]| {
            let entries = entries.iter().cloned();
            let entries = entries.map(|(name, value)| (name.to_owned(), value));
            Value::Map(entries.collect::<BTreeMap<_, _>>())
        };
        match name {
            "Name" => Value::str("a.test."),
            "Match" => Value::List(vec![Value::str("whole"), Value::str("one")]),
            "Group" => map(&[("first", Value::str("ab")), ("1", Value::str("ff"))]),
            "Message" => map(&[("Id", Value::Int(7)), ("Response", Value::Bool(false))]),
            _ => Value::Nil,
        }
    }

    fn label(&self, name: &str) -> Value {
        let values = [("a/b", "told")];
        let mut known = values.iter().filter(|(label, _)| *label == name);
        Value::str(known.next().map_or("", |(_, value)| value))
    }
}

const FIELDS: &Fields = &[
    ("Name", &[]),
    ("Match", &[]),
    ("Group", &[]),
    ("Message", &["Id", "Response"]),
    ("Meta", &[]),
];

fn render(text: &str) -> Result<String, ScriptError> {
    Template::new(text, FIELDS)?.render(&Sample)
}

#[test]
fn templates_come_to_what_go_makes_of_them() {
    for (text, expected) in [
        ("plain", "plain"),
        ("{{ .Name }} 60 IN A", "a.test. 60 IN A"),
        ("{{.Name}}", "a.test."),
        ("a {{- .Name -}} b", "aa.test.b"),
        ("a{{/* {{ no }} */}}b", "ab"),
        ("{{ index .Match 1 }}", "one"),
        ("{{ .Group.first }}{{ .Group.none }}|", "ab|"),
        ("{{ index .Group \"1\" }}", "ff"),
        ("{{ parseInt .Group.1x 16 8 }}", "error"),
        ("{{ parseInt (index .Group \"1\") 16 8 }}", "255"),
        ("{{ .Message.Id | printf \"%03d\" | len | lt 0 }}", "true"),
        ("{{ $x := .Name }}{{ $x }}", "a.test."),
        (
            "{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}",
            "2",
        ),
        (
            "{{ if eq .Name \"b\" }}b{{ else if .Message.Response }}r{{ else }}n{{ end }}",
            "n",
        ),
        (
            "{{ with .Group }}{{ .first }}{{ $.Name }}{{ end }}",
            "aba.test.",
        ),
        (
            "{{ range $i, $m := .Match }}{{ $i }}={{ $m }};{{ end }}",
            "0=whole;1=one;",
        ),
        ("{{ range .Match }}{{ . }}{{ end }}", "wholeone"),
        ("{{ and .Message.Response .Name }}", "false"),
        ("{{ or .Message.Response .Name }}", "a.test."),
        ("{{ not .Name }}", "false"),
        (
            "{{ eq 1 2 1 }} {{ ne 1 2 }} {{ ge 2 -1 }}",
            "true true true",
        ),
        ("{{ slice .Name 2 }} {{ slice .Name 0 1 }}", "test. a"),
        (
            "{{ .Match }} {{ .Group }}",
            "[whole one] map[1:ff first:ab]",
        ),
        (
            "{{ printf \"%s-%x-%5d|%-3d|%q%%\" .Name 255 7 7 \"x\" }}",
            "a.test.-ff-    7|7  |\"x\"%",
        ),
        ("{{ printf \"%d\" .Name }}", "%!d(string=a.test.)"),
        ("{{ print 1 2 \"a\" 3 }}", "1 2a3"),
        ("{{ .Meta \"a/b\" }}|{{ \"a/b\" | .Meta }}", "told|told"),
        ("{{ with .Name }}{{ $.Meta \"a/b\" }}{{ end }}", "told"),
        ("{{ .Meta \"a/c\" }}|", "|"),
        ("{{ if eq (.Meta \"a/b\") \"told\" }}yes{{ end }}", "yes"),
        ("{{ \"}}\" }}", "}}"),
        ("{{ `a\\b` }}", "a\\b"),
        ("{{ urlquery \"a b\" }}{{ html \"<\" }}", "a+b&lt;"),
        ("{{ (index .Match 0) | len }}", "5"),
        ("{{ nil }}", "<no value>"),
    ] {
        if expected == "error" {
            assert!(render(text).is_err(), "{text}");
        } else {
            assert_eq!(render(text).as_deref(), Ok(expected), "{text}");
        }
    }
}

#[test]
fn what_is_not_there_is_told_at_once() {
    for (text, expected) in [
        ("{{ .Nome }}", "there is no field `.Nome`"),
        ("{{ .Message.Nope }}", "there is no field `.Message.Nope`"),
        (
            "{{ with .Name }}{{ $.Nope }}{{ end }}",
            "there is no field `.Nope`",
        ),
        ("{{ nope 1 }}", "there is no function `nope` here"),
        ("{{ $x }}", "there is no variable `$x` here"),
        (
            "{{ if true }}{{ $x := 1 }}{{ end }}{{ $x }}",
            "there is no variable `$x` here",
        ),
        ("{{ .Name", "an action is never closed"),
        ("{{ }}", "an action is empty"),
        ("{{ if .Name }}", "`if` without its `end`"),
        ("{{ end }}", "`end` without its beginning"),
        ("{{ else }}", "`else` without its `if`"),
        (
            "{{ template \"x\" }}",
            "`template` is not supported in templates",
        ),
        ("{{ (.Name }}", "a `(` is never closed"),
        ("{{ .Name | }}", "a command is missing"),
        ("{{ 1\"a\" }}", "two words need a space between them"),
    ] {
        let found = Template::new(text, FIELDS).map_err(|error| error.to_string());
        assert_eq!(found.err().as_deref(), Some(expected), "{text}");
    }
    let deep = "{{ if true }}".repeat(500);
    assert!(Template::new(&deep, FIELDS).is_err());
}

#[test]
fn what_does_not_go_together_is_an_error() {
    for text in [
        "{{ index .Match 9 }}",
        "{{ index .Match -1 }}",
        "{{ lt 1 \"a\" }}",
        "{{ parseInt \"256\" 10 8 }}",
        "{{ parseInt \"zz\" 16 8 }}",
        "{{ .Name.First }}",
        "{{ .Name 1 }}",
        "{{ . }}",
        "{{ range .Name }}{{ end }}",
    ] {
        assert!(render(text).is_err(), "{text}");
    }
}
