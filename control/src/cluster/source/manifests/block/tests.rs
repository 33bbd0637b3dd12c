//! What is read here and what is left to `yaml_serde`, and that both read the same.

mod random;

use std::fmt;
use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::cluster::decode::{
    WireEndpointSlice, WireNamespace, WirePod, WireService, WireServiceImport,
};
use crate::cluster::source::manifests::object::Head;

/// Whatever is read here is what `yaml_serde` reads, for everything that objects are decoded into.
fn compare(text: &str) -> Option<Value> {
    fn one<T: DeserializeOwned + fmt::Debug>(text: &str) {
        if let Some(value) = from_str::<T>(text) {
            let name = std::any::type_name::<T>();
            match yaml_serde::from_str::<T>(text) {
                Ok(other) => assert_eq!(
                    format!("{value:?}"),
                    format!("{other:?}"),
                    "{name}\n{text:?}\n{text}"
                ),
                Err(error) => panic!("{name}: {error}\n{text:?}\n{text}"),
            }
        }
    }
    nodes(text)?;
    one::<Head>(text);
    one::<WireNamespace>(text);
    one::<WireService>(text);
    one::<WireEndpointSlice>(text);
    one::<WirePod>(text);
    one::<WireServiceImport>(text);
    one::<Value>(text);
    one::<Vec<Option<String>>>(text);
    from_str(text)
}

#[test]
fn the_plain_style_is_read() {
    for (text, expected) in [
        ("a: b\n", json!({"a": "b"})),
        ("  a: b\n  c: d\n", json!({"a": "b", "c": "d"})),
        (
            "# c\n\n a:  b  # c\n#c\n \n c:\n",
            json!({"a": "b", "c": null}),
        ),
        (
            "a:\n  b:\n    c: 1\n  d: e\nf: g\n",
            json!({"a": {"b": {"c": 1}, "d": "e"}, "f": "g"}),
        ),
        // Sequences, indented or not.
        (
            "a:\n- b\n- c: d\n  e: f\n- \ng:\n  - h\n  -   i: j\n      k: l\n",
            json!({"a": ["b", {"c": "d", "e": "f"}, null], "g": ["h", {"i": "j", "k": "l"}]}),
        ),
        (
            "- - a\n  - b\n-\n  - c\n-\n  d:\n  - e\n- f:\n- g: # c\n    h: i\n",
            json!([["a", "b"], ["c"], {"d": ["e"]}, {"f": null}, {"g": {"h": "i"}}]),
        ),
        (
            "- a:\n  - b:\n    - c\n    d: e\n  f: g\n",
            json!([{"a": [{"b": ["c"], "d": "e"}], "f": "g"}]),
        ),
        (
            "a: []\nb: {} # c\nc:\n- []\n- {}\n",
            json!({"a": [], "b": {}, "c": [[], {}]}),
        ),
        // Keys.
        (
            "f:a/b.c_d-e: 1\n.: 2\n\"a b\": 3\n'it''s': 4\n1: 5\nnull: 6\nk:{\"port\":80,\"protocol\":\"TCP\"}: 7\nx#y: 8\n",
            json!({"f:a/b.c_d-e": 1, ".": 2, "a b": 3, "it's": 4, "1": 5, "null": 6,
                   "k:{\"port\":80,\"protocol\":\"TCP\"}": 7, "x#y": 8}),
        ),
        ("a: 1\na: 2\n", json!({"a": 2})),
        // Scalars.
        (
            "- null\n- ~\n- Null\n- nULL\n- true\n- FALSE\n- tRue\n- yes\n- n\n- \"null\"\n- 'true'\n",
            json!([
                null, null, null, "nULL", true, false, "tRue", "yes", "n", "null", "true"
            ]),
        ),
        (
            "- 0\n- 80\n- -1\n- 18446744073709551615\n- -9223372036854775808\n- \"80\"\n",
            json!([0, 80, -1, u64::MAX, i64::MIN, "80"]),
        ),
        (
            "- 10.0.0.1\n- fd00:10:96::16b\n- 2025-01-01\n- 2025-01-01T00:00:00Z\n- 1.2.3\n- 10/8\n\
             - 0000006b-0002-4000-8000-00000000006b\n- ::1\n- inf\n- nan\n- -a b-\n",
            json!([
                "10.0.0.1",
                "fd00:10:96::16b",
                "2025-01-01",
                "2025-01-01T00:00:00Z",
                "1.2.3",
                "10/8",
                "0000006b-0002-4000-8000-00000000006b",
                "::1",
                "inf",
                "nan",
                "-a b-"
            ]),
        ),
        (
            "a: b c  d, [e] {f} \"g\" 'h' &i *j !k #l\nb: x:y#z\nc: \\n\nd: ~/x\n",
            json!({"a": "b c  d, [e] {f} \"g\" 'h' &i *j !k", "b": "x:y#z", "c": "\\n", "d": "~/x"}),
        ),
        (
            "a: \"\"\nb: ''\nc: \" # : x \"\nd: ' \"\\n\" '  # c\ne: \"\\\"\\\\\\/\\n\\t\"\nf: 'it''s'\n",
            json!({"a": "", "b": "", "c": " # : x ", "d": " \"\\n\" ", "e": "\"\\/\n\t", "f": "it's"}),
        ),
        (
            "- \"a\"\n- 'b' # c\n- \"d\": e\n",
            json!(["a", "b", {"d": "e"}]),
        ),
        ("ä: 1\n", Value::Null),
        (
            "a: grün — ﬁn 🦀\nb: \"ü\"\n",
            json!({"a": "grün — ﬁn 🦀", "b": "ü"}),
        ),
        // Text of several lines.
        (
            "a: |\n  {\"b\": 1}\nc: |- # c\n   d\n    e\n\n\n   # f\n \n\n# g\nh: i\n",
            json!({"a": "{\"b\": 1}\n", "c": "d\n e\n\n\n# f", "h": "i"}),
        ),
        (
            "- |\n a: b\n\n   \n  \n- c: |\n    - d\n    ---\n  e: f\n",
            json!(["a: b\n\n  \n \n", {"c": "- d\n---\n", "e": "f"}]),
        ),
    ] {
        let value = compare(text);
        if expected == Value::Null {
            assert_eq!(value, None, "{text}");
        } else {
            assert_eq!(value, Some(expected), "{text}");
        }
    }
}

#[test]
fn other_styles_are_left_alone() {
    for text in [
        "",
        "a: b",
        "# c\n\n",
        "a\n",
        "\"a\"\n",
        "a: b\n---\nc: d\n",
        "--- \na: b\n",
        "a: b\n...\n",
        "%YAML 1.2\n",
        "\u{feff}a: b\n",
        "a: b\r\n",
        "a:\tb\n",
        "a: b\t# c\n",
        "a: \"b\tc\"\n",
        "a: \u{85}\n",
        "a: \u{2028}\n",
        "a: \u{7f}\n",
        "a: \0\n",
        // Columns where nothing begins, or something else does.
        "a: b\n c: d\n",
        "  a: b\nc: d\n",
        "a:\n    b: c\n  d: e\n",
        "a:\n  - b\n c: d\n",
        "a:\n  - b\n  c: d\n",
        "a: b\n- c\n",
        "- a\nb: c\n",
        "- a: b\n   c: d\n",
        // Scalars of several lines.
        "a: b\n  c\n",
        "a:\n  b\n",
        "- a\n  b\n",
        "a: \"b\n  c\"\n",
        "a: 'b\n\n  c'\n",
        "a: \"b\\\n  c\"\n",
        "a: >\n  b\n",
        "a: >-\n  b\n",
        "a: |+\n  b\n",
        "a: |2\n  b\n",
        "a: |-2\n  b\n",
        "a: |#\n  b\n",
        "a: | b\n  c\n",
        "a: |\n\n  b\n",
        "a: |\nb: c\n",
        "a: |\n",
        "a:\n  b: |\n c\n",
        "a: |\n  b\n c\n",
        // What has a sign before it.
        "a: &b c\n",
        "&a b: c\n",
        "a: *b\n",
        "a: !b c\n",
        "a: !!str 1\n",
        "a: @b\n",
        "a: `b`\n",
        "a: %b\n",
        "a: ,b\n",
        "a: ]\n",
        "? a\n: b\n",
        "a: ? b\n",
        "a: - b\n",
        "a: -\n",
        "a: :\n",
        "<<: {}\n",
        // Keys and values that have no certain end.
        "a : b\n",
        "a b: c\n",
        "- a b: c\n",
        ": a\n",
        "- : a\n",
        "-a: b\n",
        "a: b: c\n",
        "a: b:\n",
        "a: \"b\" c\n",
        "a: \"b\"#c\n",
        "a: 'b': c\n",
        "\"a\" : b\n",
        "\"a\":b\n",
        "a: \"\\u0041\"\n",
        "a: \"\\x\"\n",
        "a: \"\\",
        "a: [b]\n",
        "a: {b: c}\n",
        "a: [ ]\n",
        "a: []]\n",
        "a: {}#\n",
        "- {}: a\n",
        "- []: a\n",
        "a:b\n",
    ] {
        assert_eq!(nodes(text), None, "{text:?}");
    }
    let key = "k".repeat(1_025) + ": a\n";
    assert_eq!(nodes(&key), None);
    let deep = |depth| (0..depth).fold(String::new(), |text, at| text + &" ".repeat(at) + "a:\n");
    assert!(compare(&deep(32)).is_some());
    assert_eq!(nodes(&deep(33)), None);
}

/// A plain scalar is what is wanted of it; where that is not certain, it is left alone.
#[test]
fn what_is_wanted_decides() {
    for plain in [
        "1",
        "0",
        "01",
        "1.5",
        "0x1f",
        "0o7",
        "0b1",
        "1e3",
        ".5",
        ".",
        "1_000",
        "-",
        "-0",
        "+1",
        ".inf",
        "-.inf",
        ".nan",
        "true",
        "~",
        "null",
        "a",
        "1.2.3",
        "0000006b-0002",
        "1e-5",
        "99999999999999999999",
    ] {
        let text = format!("a: {plain}\n");
        if plain == "-" {
            assert_eq!(nodes(&text), None);
            continue;
        }
        let read = compare(&text);
        let is_certain = matches!(
            plain,
            "1" | "0" | "true" | "~" | "null" | "a" | "1.2.3" | "1_000"
        );
        assert_eq!(read.is_some(), is_certain, "{plain}");
        let texts = from_str::<std::collections::BTreeMap<String, String>>(&text);
        assert_eq!(texts.unwrap()["a"], plain);
    }
    // Neither is a sequence a struct, nor a word a sequence; nothing is both, and no text.
    for (text, is_read) in [
        ("metadata: []\n", false),
        ("metadata:\n- a\n", false),
        ("metadata:\n", true),
        ("metadata: null\n", false),
        ("metadata: {}\n", true),
        ("metadata: {}\nmetadata: {}\n", false),
        ("spec:\n  ports: a\n", false),
        ("spec:\n  ports:\n  type:\n", true),
        ("spec:\n  ports: ~\n", true),
        ("spec:\n  ports: ''\n", false),
        ("spec:\n  ports:\n  - port: 080\n", false),
        ("spec:\n  ports:\n  - port: '80'\n", false),
        ("spec:\n  ports:\n  - port: 80\n    name: 80\n", true),
        (
            "metadata:\n  name: 1.50\n  resourceVersion: 0x10\n  deletionTimestamp: 1.5\n",
            true,
        ),
        ("status:\n- .5\n", false),
        ("other: 1.5\nthings:\n- .5\n", true),
    ] {
        compare(text);
        assert_eq!(from_str::<WireService>(text).is_some(), is_read, "{text}");
    }
}

/// The texts that come with martlet, and those in this directory if there is one.
#[test]
fn texts_at_hand_are_read_alike() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut paths = vec![root.join("deploy"), root.join("tests")];
    paths.extend(std::env::var_os("MARTLET_MANIFESTS").map(Into::into));
    let (mut all, mut read) = (0, 0);
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            let entries = path.read_dir().unwrap();
            paths.extend(entries.map(|entry| entry.unwrap().path()));
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let text = std::fs::read(&path).unwrap();
            let mut each = |found: super::super::Found<'_>, _| {
                if let super::super::object::Text::Yaml(text) = found.text {
                    all += 1;
                    read += usize::from(compare(text).is_some());
                }
                Ok(())
            };
            // Templates are no YAML.
            let _ = super::super::yaml::read(&*text, &mut each);
        }
    }
    println!("{read} of {all} objects are read");
    assert!(read > 10);
}
