//! Values, changes and lines that nobody thought of.

use std::iter::{Cycle, repeat_n};
use std::vec;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use super::compare;

/// Prints values in block style, as the choices have it.
struct Printer {
    text: String,
    choices: Cycle<vec::IntoIter<bool>>,
}

impl Printer {
    fn is(&mut self) -> bool {
        self.choices.next().unwrap_or_default()
    }

    fn indent(&mut self, column: usize) {
        if self.is() && self.is() {
            self.text.push_str("# a comment: 'it\n\n");
        }
        self.text.extend(repeat_n(' ', column));
    }

    /// Behind a key or a dash of a collection in this column.
    fn value(&mut self, value: &Value, column: usize, in_mapping: bool) {
        let is_unindented = in_mapping && self.is();
        let inner = if self.is() { column + 2 } else { column + 5 };
        match value {
            Value::Array(items) if !items.is_empty() => {
                self.text.push('\n');
                let column = if is_unindented { column } else { inner };
                for item in items {
                    self.indent(column);
                    self.text.push('-');
                    self.value(item, column, false);
                }
            }
            Value::Object(map) if !map.is_empty() => {
                let mut is_first = !in_mapping && self.is();
                if is_first {
                    self.text.extend(repeat_n(' ', inner - column - 1));
                } else {
                    self.text.push('\n');
                }
                for (key, value) in map {
                    if !is_first {
                        self.indent(inner);
                    }
                    is_first = false;
                    self.scalar(&key.as_str().into(), true);
                    self.text.push(':');
                    self.value(value, inner, true);
                }
            }
            Value::Null if self.is() => self.text.push_str(" \n"),
            Value::String(text) if self.literal(text, column) => {}
            scalar => {
                self.text.push(' ');
                self.scalar(scalar, false);
                self.text.push('\n');
            }
        }
    }

    fn literal(&mut self, text: &str, column: usize) -> bool {
        let is_good = text.chars().any(|char| char == '\n')
            && !text.contains("\n\n")
            && !text.starts_with([' ', '\n', '\t'])
            && !text.contains('\t')
            && self.is();
        if is_good {
            self.text.push_str(if text.ends_with('\n') {
                " |\n"
            } else {
                " |-\n"
            });
            for line in text.lines() {
                self.text.extend(repeat_n(' ', column + 1));
                self.text.push_str(line);
                self.text.push('\n');
            }
        }
        is_good
    }

    fn scalar(&mut self, value: &Value, is_key: bool) {
        let Value::String(text) = value else {
            self.text.push_str(&value.to_string());
            return;
        };
        let odd: &[&str] = if is_key {
            &[": ", "\n", "\t", " "]
        } else {
            &[": ", "\n", "\t", " #"]
        };
        let is_plain = text.starts_with(|char: char| char.is_ascii_alphabetic())
            && !text.ends_with([':', ' '])
            && !odd.iter().any(|odd| text.contains(odd))
            && yaml_serde::from_str(text).is_ok_and(|read: Value| read == *value);
        if is_plain && self.is() {
            self.text.push_str(text);
        } else if !text.contains(['\n', '\t']) && self.is() {
            self.text.extend(["'", &text.replace('\'', "''"), "'"]);
        } else {
            self.text.push_str(&value.to_string());
        }
    }
}

fn values() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        "[a-z0-9.:/-]{0,8}",
        "[ -~äß—🦀\n\t]{0,12}",
        select(vec![
            "null", "true", "~", "1", "1.5", "- a", "a: b", "{}", "x #y"
        ])
        .prop_map_into(),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map_into(),
        any::<i64>().prop_map_into(),
        (0u64..99).prop_map_into(),
        word.clone().prop_map_into(),
    ];
    let any = leaf.prop_recursive(5, 40, 5, move |inner| {
        let map = btree_map(word.clone(), inner.clone(), 0..5);
        prop_oneof![
            vec(inner, 0..5).prop_map_into(),
            map.prop_map(|map| map.into_iter().collect()),
        ]
    });
    any.prop_map(|value| json!({ "a": value }))
}

const REAL: &[&str] = &[
    "  apiVersion: v1\n  kind: Service\n  metadata:\n    annotations:\n      \
     kubectl.kubernetes.io/last-applied-configuration: |\n        {\"apiVersion\":\"v1\",\"kind\":\"Service\"}\n    \
     creationTimestamp: \"2025-01-01T00:00:00Z\"\n    labels:\n      app: web\n    name: web\n    namespace: shop\n    \
     resourceVersion: \"1107\"\n    uid: 0000006b-0002-4000-8000-00000000006b\n  spec:\n    clusterIP: 10.96.1.107\n    \
     clusterIPs:\n    - 10.96.1.107\n    - fd00:10:96::16b\n    ports:\n    - name: grpc\n      port: 9000\n      \
     protocol: TCP\n      targetPort: 9000\n    type: ClusterIP\n  status:\n    loadBalancer:\n      ingress:\n      \
     - hostname: lb.test\n        ip: 192.0.2.1\n",
    "# as people write them\nkind: EndpointSlice\napiVersion: 'discovery.k8s.io/v1'\nmetadata:\n  name: \"web-1\" # of web\n  \
     namespace: shop\n  labels:\n    kubernetes.io/service-name: web\n  ownerReferences: []\naddressType: IPv4\nports:\n  \
     - name: \"\"\n    port: 80\n\n  - name: metrics\n    port: 9090\nendpoints:\n  - addresses:\n      - 10.0.0.1\n    \
     conditions: {}\n    targetRef:\n      kind: Pod\n      name: web-0\n  - addresses: \n    - 10.0.0.2\n    \
     hostname: 'a''b'\n    conditions:\n      ready: true\n",
    "kind: Pod\napiVersion: v1\nmetadata:\n  name: p\n  managedFields:\n  - fieldsV1:\n      f:status:\n        .: {}\n        \
     k:{\"type\":\"Ready\"}:\n          f:lastProbeTime: null\nspec:\n  containers:\n  - args:\n    - -c\n    - |-\n      \
     set -e\n\n        exec x  # go\n    - \"a\\tb\"\n    env:\n    - name: A\n      value: ~\nstatus:\n  phase: Running\n  \
     podIP: 10.0.0.9\n  podIPs:\n  -\n    ip: 10.0.0.9\n",
];

/// What a change of a text puts in.
fn pieces() -> impl Strategy<Value = &'static str> {
    select(vec![
        " ",
        "  ",
        "\n",
        "\n ",
        "\n  ",
        "\n- ",
        "- ",
        "-",
        ":",
        ": ",
        ":\n",
        "#",
        " #",
        "\"",
        "'",
        "''",
        "\\",
        "\\n",
        "|",
        "|\n",
        "|-\n",
        " |\n  ",
        ">",
        "[]",
        "{}",
        "[",
        "]",
        "{",
        "}",
        ",",
        "&a ",
        "*a",
        "!t ",
        "? ",
        "%",
        "@",
        "`",
        "~",
        "null",
        "true",
        "0",
        "1",
        "-1",
        ".",
        "+",
        "e",
        "x",
        "a: ",
        "a",
        "\"a\": ",
        "'a': ",
        "\t",
        "\r",
        "\n\n",
        "---\n",
        "...\n",
        "\n---\n",
        "<<: ",
        "é",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "\u{a0}",
        "\0",
        "\n    b: c",
        "\n  - d",
        "\n# e\n",
    ])
}

#[derive(Clone, Debug)]
enum Change {
    Insert(Index, &'static str),
    Remove(Index, usize),
    /// Moves a line to the right, or to the left.
    Shift(Index, isize),
    /// Puts a line behind another.
    Copy(Index, Index),
    Drop(Index),
}

impl Change {
    fn apply(self, text: &str) -> String {
        let mut lines: Vec<String> = text.split_inclusive('\n').map(Into::into).collect();
        let mut chars: Vec<char> = text.chars().collect();
        if chars.is_empty() {
            return "a: b\n".into();
        }
        match self {
            Self::Insert(at, piece) => {
                let at = at.index(chars.len() + 1);
                chars.splice(at..at, piece.chars());
                return chars.into_iter().collect();
            }
            Self::Remove(at, len) => {
                let at = at.index(chars.len());
                chars.drain(at..(at + len).min(chars.len()));
                return chars.into_iter().collect();
            }
            Self::Shift(at, by) => {
                let at = at.index(lines.len());
                let line = &lines[at];
                let spaces = line.len() - line.trim_start_matches(' ').len();
                let moved = spaces.saturating_add_signed(by);
                lines[at] = " ".repeat(moved) + &line[spaces..];
            }
            Self::Copy(from, to) => {
                let line = lines[from.index(lines.len())].clone();
                lines.insert(to.index(lines.len() + 1), line);
            }
            Self::Drop(at) => drop(lines.remove(at.index(lines.len()))),
        }
        lines.concat()
    }
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        (any::<Index>(), pieces()).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (any::<Index>(), 1usize..4).prop_map(|(at, len)| Change::Remove(at, len)),
        (any::<Index>(), -4isize..5).prop_map(|(at, by)| Change::Shift(at, by)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Copy(from, to)),
        any::<Index>().prop_map(Change::Drop),
    ];
    vec(change, 1..6)
}

/// A line that may follow any other.
fn lines() -> impl Strategy<Value = String> {
    let dashes = select(vec!["", "", "", "", "- ", "- ", "-", "-  ", "- - "]);
    let key = select(vec![
        "a: ", "b:", "c:  ", "\"d\": ", "'e':", "f :", "g h: ", "", "", ".: ", "null:",
    ]);
    let value = select(vec![
        "", "", "", "x", "1", "-1", "01", "1.5", "null", "~", "true", "\"y\"", "'z'", "''",
        "\"\\n\"", "[]", "{}", "|", "|-", "|", "|+", ">", "x y", "x: y", "x:", "x #y", "# z",
        "- x", "-x", ":x", "?", "\"x", "&a", "a'b", "10.0.0.1", "---", "...",
    ]);
    let end = select(vec![
        "\n", "\n", "\n", "\n", "\n", " \n", " # c\n", "#c\n", "\n\n", "\n  \n", "\t\n", "",
    ]);
    (0usize..7, dashes, key, value, end).prop_map(|(indent, dashes, key, value, end)| {
        [&" ".repeat(indent), dashes, key, value, end].concat()
    })
}

proptest! {
    #[test]
    fn printed_values_are_read(value in values(), choices in vec(any::<bool>(), 1..40)) {
        compare(&yaml_serde::to_string(&value).unwrap());
        let mut printer = Printer { text: "a:".into(), choices: choices.into_iter().cycle() };
        printer.value(&value["a"], 0, true);
        prop_assert_eq!(compare(&printer.text), Some(value), "{}", printer.text);
    }

    #[test]
    fn changed_texts_are_read_alike(text in select(REAL), changes in changes()) {
        let text = changes.into_iter().fold(text.to_owned(), |text, change| change.apply(&text));
        compare(&text);
    }

    #[test]
    fn lines_in_any_order_are_read_alike(lines in vec(lines(), 1..8)) {
        compare(&lines.concat());
    }

    #[test]
    fn signs_in_any_order_are_read_alike(signs in "[-: \na\"'#|1]{0,16}", line in lines()) {
        compare(&["a: b\n", &signs, "\n"].concat());
        compare(&["a:\n", &signs, "\n"].concat());
        compare(&["- ", &signs, "\n", &line].concat());
    }
}
