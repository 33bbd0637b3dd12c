//! Corefile templates: what they ask for, and what is filled in.

use std::collections::{HashMap, HashSet};

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::corpus::Question;

/// A Corefile with placeholders, and its first comment, `# conf: {…}`.
pub(super) struct Template {
    name: String,
    text: String,
    pub(super) meta: Meta,
}

/// What the first comment of a template can say.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Meta {
    /// Addresses of the machine besides the loopback ones.
    addresses: Option<Vec<String>>,
    /// Shapes to ask; all without it.
    only: Option<String>,
    /// Shapes not to ask.
    skip: Option<String>,
    /// Shapes that are asked although they were not drawn.
    always: Option<String>,
    /// The part of the questions that is asked, drawn by hash.
    sample: Option<f64>,
    /// Which corpus is asked; `main` without it.
    pub(super) corpus: Option<String>,
    /// Whether the upstreams of `{UPSTREAM}` and `{UPSTREAM2}` are there.
    pub(super) upstream: bool,
    /// The machine's name.
    pub(super) hostname: Option<String>,
    /// The search list of `/etc/resolv.conf`.
    pub(super) search: Option<String>,
    /// Variables of the server's environment.
    pub(super) env: HashMap<String, String>,
    /// A name that is SERVFAIL until the server is ready.
    pub(super) probe: Option<String>,
}

impl Template {
    /// Reads a template.
    pub(super) fn new(name: &str, text: &str) -> Self {
        let conf = text.lines().find_map(|line| line.strip_prefix("# conf:"));
        let meta = conf.map_or_else(Meta::default, |conf| {
            yaml_serde::from_str(conf).unwrap_or_else(|error| panic!("{name}: {error}"))
        });
        Self {
            name: name.to_owned(),
            text: text.to_owned(),
            meta,
        }
    }

    /// The questions of the corpus that this template asks.
    pub(super) fn select(&self, corpus: Vec<Question>) -> Vec<Question> {
        let pattern = |text: &Option<String>| {
            text.as_deref()
                .map(|text| Regex::new(text).expect("templates hold valid patterns"))
        };
        let [only, skip, always] =
            [&self.meta.only, &self.meta.skip, &self.meta.always].map(pattern);
        let asked = |question: &Question| {
            let shape = |pattern: &Option<Regex>| {
                pattern
                    .as_ref()
                    .map(|pattern| pattern.is_match(&question.shape))
            };
            if shape(&skip) == Some(true) || shape(&only) == Some(false) {
                return false;
            }
            let drawn = |part| self.draw(&question.key) < part;
            shape(&always) == Some(true) || self.meta.sample.is_none_or(drawn)
        };
        corpus.into_iter().filter(asked).collect()
    }

    /// A number from 0 to 1 that question and template decide.
    fn draw(&self, key: &str) -> f64 {
        let hash = Sha256::digest(format!("{key}{}", self.name));
        let first = *hash.first_chunk().expect("SHA-256 has 32 octets");
        f64::from(u32::from_be_bytes(first)) / 4_294_967_296.0
    }

    /// True when the order of the questions can decide an answer: with a cache, and where several
    /// `forward`s are asked for names that the upstream counts.
    pub(super) fn is_stateful(&self) -> bool {
        let lines = |word: &str| {
            let lines = self.text.lines();
            let begin = lines.filter(|line| line.trim_start().starts_with(word));
            begin.count()
        };
        lines("cache") > 0 || lines("forward") > 1 || lines("erratic") > 0
    }

    /// The addresses of the machine besides the loopback ones, with their prefix lengths.
    pub(super) fn addresses(&self, values: &[(&str, String)]) -> Vec<String> {
        match &self.meta.addresses {
            Some(addresses) => addresses.iter().map(|text| fill(text, values)).collect(),
            None => vec!["198.51.100.9/32".to_owned()],
        }
    }

    /// The Corefile, with `source` in place of the line that names the API server.
    pub(super) fn corefile(&self, values: &[(&str, String)], source: &str) -> String {
        fill(
            &self.text.replace("kubeconfig {KUBECONFIG}", source),
            values,
        )
    }
}

/// Values that depend on the cluster: some of its namespaces, and the address of an endpoint that
/// makes a headless Service the server's own.
pub(super) fn placeholders(objects: &[Value]) -> [(&'static str, String); 2] {
    [
        ("NAMESPACES", some_namespaces(objects)),
        ("HEADLESS_EP", headless_endpoint(objects)),
    ]
}

fn some_namespaces(objects: &[Value]) -> String {
    let names =
        of_kind(objects, "Namespace").filter_map(|object| object["metadata"]["name"].as_str());
    let mut drawn: Vec<_> = names
        .filter(|name| !name.starts_with("kube-"))
        .map(|name| (Sha256::digest(name).to_vec(), name))
        .collect();
    drawn.sort_unstable();
    let count = (drawn.len() / 3).max(3);
    drawn
        .iter()
        .take(count)
        .map(|(_, name)| *name)
        .collect::<Vec<_>>()
        .join(" ")
}

fn headless_endpoint(objects: &[Value]) -> String {
    let headless: HashSet<_> = of_kind(objects, "Service")
        .filter(|service| service["spec"]["clusterIP"] == "None")
        .map(|service| {
            (
                &service["metadata"]["namespace"],
                &service["metadata"]["name"],
            )
        })
        .collect();
    let first = |slice: &Value| {
        let metadata = &slice["metadata"];
        let service = &metadata["labels"]["kubernetes.io/service-name"];
        let endpoint = &slice["endpoints"][0];
        let fits = slice["addressType"] == "IPv4"
            && headless.contains(&(&metadata["namespace"], service))
            && endpoint["hostname"]
                .as_str()
                .is_some_and(|name| !name.is_empty())
            && endpoint["conditions"]["ready"] == true;
        fits.then(|| endpoint["addresses"][0].as_str().map(str::to_owned))
            .flatten()
    };
    of_kind(objects, "EndpointSlice")
        .find_map(first)
        .unwrap_or_else(|| "198.51.100.9".to_owned())
}

fn of_kind<'o>(objects: &'o [Value], kind: &'o str) -> impl Iterator<Item = &'o Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

pub(super) fn fill(text: &str, values: &[(&str, String)]) -> String {
    let replace =
        |text: String, (name, value): &(&str, String)| text.replace(&format!("{{{name}}}"), value);
    values.iter().fold(text.to_owned(), replace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_say_what_they_ask() {
        let text = "# conf: {only: \"a|b\", skip: \"^ab\", sample: 0.0, always: \"\\\\+tcp\", addresses: [\"{HEADLESS_EP}/32\"]}\n.:{PORT} {\n kubeconfig {KUBECONFIG}\n}";
        let template = Template::new("x", text);
        let shapes = ["a", "a+tcp", "ab+tcp", "c+tcp"];
        let corpus = shapes.map(|shape| Question::new("a. IN A", shape));
        let asked: Vec<_> = template
            .select(corpus.to_vec())
            .into_iter()
            .map(|question| question.shape)
            .collect();
        assert_eq!(asked, ["a+tcp"]);

        let values = [
            ("PORT", "53".to_owned()),
            ("HEADLESS_EP", "10.0.0.1".to_owned()),
        ];
        assert_eq!(template.addresses(&values), ["10.0.0.1/32"]);
        assert!(
            template
                .corefile(&values, "manifests f")
                .contains("\n.:53 {\n manifests f\n}")
        );
    }
}
