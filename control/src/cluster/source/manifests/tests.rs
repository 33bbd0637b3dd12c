//! Cutting files into objects, reading them, saying what is wrong, following changes.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::cluster::object::{Kind, Object};

const ALL: SourceSettings = SourceSettings {
    labels: None,
    namespace_labels: None,
    pods: true,
    endpoint_slices: true,
    keep_pod_names: false,
    keep_zones: false,
    multicluster: false,
};

/// A directory of its own for each test, removed at its end.
struct Directory(PathBuf);

impl Directory {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("martlet-{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What the text holds, one word an event: `Service:default/web`, `-Pod:a/b` for a deletion.
fn read(text: &str, settings: &SourceSettings) -> Result<String, Stop> {
    let mut words = Vec::new();
    let mut sink = |event| words.push(word(&event));
    if text.trim_start().starts_with('{') {
        json::read(text.as_bytes(), settings, &mut sink)?;
    } else {
        let mut send = |found: Found<'_>, head| found.send(head, settings, &mut sink);
        yaml::read(text.as_bytes(), &mut send)?;
    }
    Ok(words.join(" "))
}

fn word(event: &Event) -> String {
    match event {
        Event::Applied(object) => format!("{}:{}", object.kind(), object.key()),
        Event::Deleted(kind, key) => format!("-{kind}:{key}"),
        Event::RelistStarted(kind) => format!("[{kind}"),
        Event::RelistDone(kind) => format!("{kind}]"),
    }
}

#[test]
fn files_are_cut_into_objects() {
    let cases: &[(&str, &str, &str)] = &[
        ("empty", "", ""),
        ("comments only", "# nothing\n---\n# here\n...\n", ""),
        (
            "one",
            "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n",
            "Namespace:a",
        ),
        (
            "no newline at the end",
            "kind: Namespace\napiVersion: v1\nmetadata: {name: a}",
            "Namespace:a",
        ),
        (
            "documents, comments, directives",
            "%YAML 1.1\n--- # first\n# c\nkind: Namespace\napiVersion: v1\nmetadata: {name: a}\n...\n\
             ---\n\n---\nkind: Service\napiVersion: v1\nmetadata: {name: s, namespace: n}\n",
            "Namespace:a Service:n/s",
        ),
        (
            "flow style behind a marker",
            "--- {\"kind\": \"Namespace\", \"apiVersion\": \"v1\",\n  \"metadata\": {\"name\": \"a\"}}\n\
             ---\n{kind: Pod, apiVersion: v1, metadata: {name: p, namespace: n}}\n",
            "Namespace:a -Pod:n/p",
        ),
        (
            "list as kubectl writes it",
            "apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata:\n    name: a\n\
             - apiVersion: v1\n  kind: Namespace\n  metadata:\n    name: b\nkind: List\n\
             metadata:\n  resourceVersion: \"\"\n",
            "Namespace:a Namespace:b",
        ),
        (
            "indented items, comments between, dash on its own line",
            "kind: List\napiVersion: v1\nitems: # all\n\n  # first\n  -\n    kind: Namespace\n    apiVersion: v1\n    \
             metadata: {name: a}\n# left\n  -   kind: Namespace\n      apiVersion: v1\n      metadata: {name: b}\n",
            "Namespace:a Namespace:b",
        ),
        (
            "Windows line ends",
            "apiVersion: v1\r\nitems:\r\n- apiVersion: v1\r\n  kind: Namespace\r\n  metadata:\r\n    name: a\r\n\
             kind: List\r\n---\r\nkind: Namespace\r\napiVersion: v1\r\nmetadata:\r\n  name: b\r\n",
            "Namespace:a Namespace:b",
        ),
        (
            "dashes and markers in scalars",
            "apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata:\n    annotations:\n      \
             a: |\n        - kind: Service\n        ---\n        # text\n\n        items:\n      b: \"x\n        - y\"\n      \
             c: '---'\n    name: a\n- apiVersion: v1\n  kind: Namespace\n  metadata:\n    name: b\nkind: List\n",
            "Namespace:a Namespace:b",
        ),
        (
            "typed list without kinds",
            "kind: ServiceList\napiVersion: v1\nitems:\n- metadata: {name: s, namespace: n}\n",
            "Service:n/s",
        ),
        ("empty list", "apiVersion: v1\nitems: []\nkind: List\n", ""),
        ("null list", "apiVersion: v1\nitems:\nkind: List\n", ""),
        (
            "list in flow style",
            "kind: List\napiVersion: v1\nitems: [{kind: Namespace, apiVersion: v1, metadata: {name: a}}]\n",
            "Namespace:a",
        ),
        (
            "other kinds, also of the same name",
            "kind: Service\napiVersion: serving.knative.dev/v1\nmetadata: {name: s}\n---\nkind: Endpoints\n\
             apiVersion: v1\nmetadata: {name: e}\nsubsets: 3\n---\nkind: ConfigMapList\napiVersion: v1\nitems: []\n",
            "",
        ),
        (
            "quoted kind",
            "kind: \"Namespace\"\napiVersion: 'v1' # core\nmetadata:\n  name: \"a\"\n---\n\"kind\": Namespace\n\"apiVersion\": v1\n\"metadata\": {\"name\": b}\n",
            "Namespace:a Namespace:b",
        ),
        (
            "silent namespace",
            "kind: Service\napiVersion: v1\nmetadata: {name: s}",
            "Service:default/s",
        ),
        (
            "JSON object",
            r#"{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"a"}}"#,
            "Namespace:a",
        ),
        (
            "JSON keys that need escapes",
            r#"{"a\"\u0000é":{},"kind":"Namespace","apiVersion":"v1","metadata":{"name":"a"}}"#,
            "Namespace:a",
        ),
        (
            "JSON list, then an object",
            "\n{\"apiVersion\": \"v1\",\n \"items\": [{\"kind\":\"Namespace\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\"}},\n\
             {\"kind\":\"Other\",\"apiVersion\":\"v1\",\"spec\":[1]}],\n \"kind\": \"List\"}\n\
             {\"metadata\":{\"name\":\"b\"},\"apiVersion\":\"v1\",\"kind\":\"Namespace\"}\n",
            "Namespace:a Namespace:b",
        ),
        (
            "JSON from the API",
            r#"{"kind":"ServiceList","apiVersion":"v1","items":[{"metadata":{"name":"s","namespace":"n"}}]}"#,
            "Service:n/s",
        ),
        (
            "JSON null list",
            r#"{"kind":"PodList","apiVersion":"v1","items":null}"#,
            "",
        ),
    ];
    for (name, text, expected) in cases {
        match read(text, &ALL) {
            Ok(words) => assert_eq!(words, *expected, "{name}"),
            Err(stop) => panic!("{name}: {stop:?}"),
        }
    }
}

#[test]
fn settings_decide_what_is_sent() {
    let text = "kind: Namespace\napiVersion: v1\nmetadata: {name: a, labels: {team: blue}}\n---\n\
                kind: Service\napiVersion: v1\nmetadata: {name: s, labels: {tier: front}}\n---\n\
                kind: Pod\napiVersion: v1\nmetadata: {name: p, labels: {tier: back}}\n\
                status: {phase: Running, podIP: 10.0.0.1}\n---\n\
                kind: EndpointSlice\napiVersion: discovery.k8s.io/v1\nmetadata: {name: e}\n";
    let select = |text: &str| Some(text.parse().unwrap());
    for (settings, expected) in [
        (
            ALL,
            "Namespace:a Service:default/s Pod:default/p EndpointSlice:default/e",
        ),
        (SourceSettings::default(), "Namespace:a Service:default/s"),
        (
            SourceSettings {
                labels: select("tier=back"),
                ..ALL
            },
            "Namespace:a -Service:default/s Pod:default/p -EndpointSlice:default/e",
        ),
        (
            SourceSettings {
                namespace_labels: select("team!=blue"),
                ..SourceSettings::default()
            },
            "-Namespace:a Service:default/s",
        ),
    ] {
        assert_eq!(read(text, &settings).unwrap(), expected, "{settings:?}");
    }
}

#[test]
fn faults_name_file_line_object_and_cause() {
    let directory = Directory::new("faults");
    let list =
        "apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Namespace\n  metadata:\n    name: a\n";
    for (name, text, parts) in [
        (
            "a.yaml",
            "kind: Service\napiVersion: v1\nmetadata: {}\n",
            &["a.yaml:1: Service: `metadata.name` is missing"][..],
        ),
        (
            "b.yaml",
            "---\nmetadata:\n  name: x\n  namespace: y\n",
            &["b.yaml:2: object y/x: `apiVersion` or `kind` is missing"],
        ),
        (
            "c.yaml",
            &format!(
                "{list}- apiVersion: v1\n  kind: Service\n  metadata:\n    name: web\n    namespace: n\n  spec:\n    ports: 7\n"
            ),
            &[
                "c.yaml:13: Service n/web (from line 7): ",
                "spec.ports: invalid type",
            ],
        ),
        (
            "d.yaml",
            "kind: Pod\napiVersion: v1\nmetadata: [\n",
            &["d.yaml:", "Pod"],
        ),
        (
            "e.yaml",
            "items:\n  - {kind: X, apiVersion: y}\n - {}\n",
            &["e.yaml:3: line: neither an item"],
        ),
        (
            "f.yaml",
            &format!("{list}kind: List\n  x: : y\n"),
            &["f.yaml:", "what follows a list's items"],
        ),
        (
            "g.json",
            "{\"kind\": \"List\",\n\"items\": [\n{\"kind\": \"Pod\", \"apiVersion\": \"v1\",\n\"metadata\": {\"namespace\": \"n\", \"name\": 3}}]}",
            &["g.json:4: Pod (from line 3): invalid type: integer `3`"],
        ),
        ("h.json", "{\"kind\":\n \"List\",,}", &["h.json:2: JSON: "]),
        (
            "i.json",
            "{\"items\": [",
            &["i.json:1: JSON: EOF while parsing"],
        ),
    ] {
        let path = directory.write(name, text);
        let error = load(&[path], &ALL, |_| {}).expect_err(name).to_string();
        for part in parts {
            assert!(error.contains(part), "{name}: {error:?} lacks {part:?}");
        }
    }
    let path = directory.0.join("z.yaml");
    std::fs::write(&path, b"a: 1\nb: \xff\n").unwrap();
    let error = load(&[path], &ALL, |_| {})
        .expect_err("not text")
        .to_string();
    assert!(error.ends_with("z.yaml:2: line: not UTF-8"), "{error}");

    let missing = directory.0.join("none.yaml");
    let error = load(&[missing], &ALL, |_| {}).expect_err("missing");
    assert!(error.to_string().ends_with("none.yaml"), "{error}");
}

#[test]
fn directories_are_read_in_order() {
    let directory = Directory::new("order");
    let namespace =
        |name: &str| format!("kind: Namespace\napiVersion: v1\nmetadata: {{name: {name}}}\n");
    for (file, name) in [
        ("b.yml", "b"),
        ("a.yaml", "a"),
        (".c.yaml", "hidden"),
        ("d.txt", "text"),
    ] {
        directory.write(file, &namespace(name));
    }
    directory.write(
        "c.json",
        r#"{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"c"}}"#,
    );
    directory.write("e.yaml", &format!("\u{feff}{}", namespace("e")));
    std::fs::create_dir(directory.0.join("f.yaml")).unwrap();
    let mut words = Vec::new();
    let paths = [directory.0.clone()];
    load(&paths, &SourceSettings::default(), |event| {
        words.push(word(&event))
    })
    .unwrap();
    assert_eq!(
        words.join(" "),
        "[Namespace [Service Namespace:a Namespace:b Namespace:c Namespace:e Namespace] Service]"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_followed_and_broken_files_are_not() {
    let directory = Directory::new("follow");
    let namespace =
        |name: &str| format!("kind: Namespace\napiVersion: v1\nmetadata: {{name: {name}}}\n");
    let path = directory.write("a.yaml", &namespace("one"));
    let (events, mut received) = mpsc::channel(64);
    let task = tokio::spawn(watch(vec![path], SourceSettings::default(), events));
    let mut state = async || {
        let mut words = Vec::new();
        loop {
            let event = timeout(Duration::from_secs(10), received.recv())
                .await
                .unwrap()
                .unwrap();
            if let Event::Applied(Object::Namespace(key)) = &event {
                words.push(key.to_string());
            }
            if event == Event::RelistDone(Kind::Service) {
                return words.join(" ");
            }
        }
    };
    assert_eq!(state().await, "one");
    directory.write("a.yaml", "kind: [\n");
    tokio::time::sleep(Duration::from_millis(300)).await;
    // Another file's change is none of ours, and the broken state was not sent.
    directory.write("other", "x");
    let fresh = directory.write("fresh", &namespace("two"));
    std::fs::rename(fresh, directory.0.join("a.yaml")).unwrap();
    assert_eq!(state().await, "two");
    directory.write(
        "a.yaml",
        &format!("{}---\n{}", namespace("two"), namespace("three")),
    );
    assert_eq!(state().await, "two three");
    drop(received);
    timeout(Duration::from_secs(10), task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[test]
fn long_json_files_hold_what_short_ones_hold() {
    let object = |name: usize| {
        format!(
            "{{\"kind\":\"Namespace\",\"apiVersion\":\"v1\",\n\"metadata\":{{\"name\":\"n{name}\"}}}}"
        )
    };
    // Whole, of just the length that is read at once, and one that goes on behind it.
    for padding in [0, (1 << 20) - 1_000, 1 << 20] {
        let objects = (0..20).map(object).collect::<Vec<_>>();
        let mut text = format!("{{\"items\":[\n{}", objects[..10].join(","));
        text.push_str(&" ".repeat(padding));
        text.push_str(&format!(",{}]}}", objects[10..].join(",")));
        let names = (0..20).map(|name| format!("Namespace:n{name}"));
        let expected = names.collect::<Vec<_>>().join(" ");
        assert_eq!(read(&text, &ALL).unwrap(), expected, "{padding}");
        // What is wrong has its line, and what came before it is sent once.
        let broken = text.replace("\"n19\"", "3");
        let mut sent = 0;
        let stop = json::read(broken.as_bytes(), &ALL, &mut |_| sent += 1).unwrap_err();
        assert!(
            matches!(stop, Stop::Object { line: 22 | 21, .. }),
            "{padding}: {stop:?}"
        );
        assert_eq!(sent, 19, "{padding}");
    }
}

/// Many objects in files of both formats, short and long: in the order of the files, whoever parses
/// them, and faults where they are.
#[test]
fn files_are_read_together_as_one_after_the_other() {
    let directory = Directory::new("together");
    let yaml = |name: usize| {
        let text = "x".repeat(500);
        format!(
            "kind: Namespace\napiVersion: v1\nmetadata: {{name: n{name}, annotations: {{a: {text}}}}}\n---\n"
        )
    };
    let json = |name: usize| {
        let text = "x".repeat(500);
        format!(
            "{{\"kind\":\"Namespace\",\"apiVersion\":\"v1\",\"metadata\":{{\"name\":\"n{name}\",\"annotations\":{{\"a\":\"{text}\"}}}}}}\n"
        )
    };
    let write = |name: &str, object: &dyn Fn(usize) -> String, names: std::ops::Range<usize>| {
        directory.write(name, &names.map(object).collect::<String>())
    };
    let files = [
        write("a.yaml", &yaml, 0..1),
        write("b.yaml", &yaml, 1..1_500),
        write("c.json", &json, 1_500..1_510),
        write("d.json", &json, 1_510..4_000),
        write("e.yaml", &yaml, 4_000..4_000),
        write("f.yaml", &yaml, 4_000..4_002),
    ];
    for threads in 1..4 {
        let mut words = Vec::new();
        together::load(&files, threads, &ALL, &mut |event| words.push(word(&event))).unwrap();
        let expected = (0..4_002).map(|name| format!("Namespace:n{name}"));
        assert_eq!(words, expected.collect::<Vec<_>>(), "{threads}");
    }
    for (file, names, broken, line) in [
        (
            1,
            1..1_500,
            yaml(1_498).replace("n1498", "[]"),
            3 + 4 * 1_498,
        ),
        (2, 1_500..1_510, json(0).replace("\"n0\"", "3"), 10),
        (3, 1_510..4_000, json(0).replace("\"n0\"", "3"), 2_490),
    ] {
        let good = if file == 1 {
            &yaml as &dyn Fn(usize) -> String
        } else {
            &json
        };
        let mut text = names
            .clone()
            .take(names.len() - 1)
            .map(good)
            .collect::<String>();
        let good = text.clone() + &good(names.end - 1);
        text.push_str(&broken);
        // What is wrong behind a wrong object is not what is told.
        text.push_str("\n}}}\n  x: [\n");
        std::fs::write(&files[file], text).unwrap();
        let error = load(&files, &ALL, |_| {})
            .expect_err("it is broken")
            .to_string();
        let place = format!("{}:{line}: Namespace", files[file].display());
        assert!(error.starts_with(&place), "{error}\n{place}");
        std::fs::write(&files[file], good).unwrap();
    }
}

/// Objects are sent before their file ends, and before the next one is read: memory holds neither.
#[test]
fn a_file_is_never_held_whole() {
    let directory = Directory::new("stream");
    let paths = ["a.yaml", "b.yaml"].map(|name| directory.0.join(name));
    for path in &paths {
        let made = std::process::Command::new("mkfifo").arg(path).status();
        assert!(made.unwrap().success());
    }
    let (sender, sent) = std::sync::mpsc::channel();
    let reading = thread::spawn({
        let paths = paths.clone();
        move || load(&paths, &ALL, |event| sender.send(event).unwrap())
    });
    for path in &paths {
        let mut pipe = File::create(path).unwrap();
        for name in 0..20_000 {
            let object =
                format!("kind: Namespace\napiVersion: v1\nmetadata: {{name: n{name}}}\n---\n");
            io::Write::write_all(&mut pipe, object.as_bytes()).unwrap();
        }
        let patience = Duration::from_secs(30);
        loop {
            let event = sent
                .recv_timeout(patience)
                .expect("it comes before the end");
            if matches!(&event, Event::Applied(object) if &*object.key().name == "n9000") {
                break;
            }
        }
    }
    reading.join().unwrap().unwrap();
}
