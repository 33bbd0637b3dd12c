//! One Corefile over one cluster: run in namespaces of its own, asked, compared.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use tempfile::TempDir;

use super::ask::ask_all;
use super::corpus::{Question, parse_corpus};
use super::deviations::Deviations;
use super::report::Report;
use super::template::{Template, fill, placeholders};
use super::vectors::{Answers, objects, read, root, stems};
use crate::client::Client;
use crate::dns::{Answer, Query};
use crate::fake_api::FakeApi;
use crate::martlet::binary;
use crate::netns;
use crate::process::{Process, wait_until};
use crate::tools::repository;
use crate::upstream::Upstream;

/// Where the server gets the cluster from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Source {
    /// The cluster's file.
    Manifests,
    /// The fixture API server.
    Api,
    /// The same, and the Corefile is that of a manifest in `deploy/`.
    Deployed(&'static Manifest),
}

/// A manifest with a Corefile, and the template whose answers it is to give.
#[derive(Debug, Eq, PartialEq)]
pub struct Manifest {
    name: &'static str,
    /// In `deploy/`.
    path: &'static str,
    template: &'static str,
}

impl Manifest {
    /// The Corefile of its ConfigMap, on our port and with this line about the cluster's source.
    fn corefile(&self, source: &str) -> String {
        let path = repository().join("deploy").join(self.path);
        let text = fs::read_to_string(path).expect("the manifest can be read");
        let objects = objects(&text);
        let mut maps = objects.iter().filter(|it| it["kind"] == "ConfigMap");
        let corefile = maps.find_map(|map| map["data"]["Corefile"].as_str());
        let corefile = corefile.expect("a ConfigMap has a Corefile");
        let (block, zones) = (".:53 {", "ip6.arpa {");
        assert!(corefile.contains(block) && corefile.contains(zones));
        corefile
            .replace(block, &format!(".:{PORT} {{"))
            .replace(zones, &format!("{zones}\n{source}"))
    }
}

/// A Corefile template over a cluster, or the case of a single plugin.
#[derive(Clone, Debug)]
pub struct Case {
    /// `cluster-1`, …, or `plugins`.
    pub set: String,
    /// Name of the template, or of the plugin's case.
    pub template: String,
    /// Where the cluster comes from.
    pub source: Source,
    /// How workers move datagrams, if it is said.
    pub io: Option<&'static str>,
}

impl Case {
    /// All cases: every cluster with every template that was recorded and the plugins' own, each of them
    /// through io_uring as well; some through the API server too.
    pub fn all() -> Vec<Self> {
        let case = |set: &str, template: &str, source| Self {
            set: set.to_owned(),
            template: template.to_owned(),
            source,
            io: None,
        };
        let mut cases = Vec::new();
        for cluster in stems(&root(), "")
            .into_iter()
            .filter(|name| name.starts_with("cluster-"))
        {
            for template in stems(&root().join(&cluster).join("golden"), ".json.gz") {
                cases.push(case(&cluster, &template, Source::Manifests));
            }
        }
        for plugin in stems(&root().join("plugins"), "") {
            cases.push(case("plugins", &plugin, Source::Manifests));
        }
        let same = cases.clone();
        cases.extend(same.into_iter().map(|case| Self {
            io: Some("io_uring"),
            ..case
        }));
        cases.extend(THROUGH_API.map(|template| case("cluster-1", template, Source::Api)));
        for manifest in &DEPLOYED {
            let source = Source::Deployed(manifest);
            cases.push(case("cluster-1", manifest.template, source));
        }
        cases
    }

    /// The case with this label.
    pub fn find(label: &str) -> Option<Self> {
        Self::all().into_iter().find(|case| case.label() == label)
    }

    /// How it is called on the command line and in reports.
    pub fn label(&self) -> String {
        let case = format!("{}/{}", self.set, self.template);
        match self.source {
            Source::Manifests => match self.io {
                Some(io) => format!("{io}/{case}"),
                None => case,
            },
            Source::Api => format!("api/{case}"),
            Source::Deployed(manifest) => format!("deploy/{}/{case}", manifest.name),
        }
    }

    /// The questions that it asks, in the corpus's order.
    pub fn questions(&self) -> Vec<Question> {
        let template = self.template();
        let corpus = match (self.is_plugin(), template.meta.corpus.as_deref()) {
            (true, _) => "queries.txt".to_owned(),
            (false, corpus) => format!("{}.txt.gz", corpus.unwrap_or("main")),
        };
        let mut questions = template.select(parse_corpus(&read(&self.dir().join(corpus))));
        if matches!(self.source, Source::Deployed(_)) {
            let recorded = self.recorded().answers;
            questions.retain(|question| recorded.contains_key(&question.key));
        }
        questions
    }

    /// What CoreDNS answered.
    pub fn recorded(&self) -> Answers {
        let mut recorded = Answers::read(&match self.is_plugin() {
            true => self.dir().join("golden.json.gz"),
            false => self
                .dir()
                .join("golden")
                .join(format!("{}.json.gz", self.template)),
        });
        if matches!(self.source, Source::Deployed(_)) {
            // The templates have nothing behind `kubernetes` that would answer the others, and `cache`
            // makes the TTL of `dns-version` longer, which is 0.
            recorded.answers.retain(|key, answer| {
                let failed = |rcode: &str| matches!(rcode, "REFUSED" | "SERVFAIL");
                let is_answered = answer.reply().is_some_and(|it| !failed(&it.rcode));
                is_answered && !key.starts_with("dns-version.")
            });
        }
        recorded
    }

    /// Runs the case. `outer` is the command that [`netns::command`] made; the test binary that it
    /// starts must pass its arguments, `--inner LABEL DIR`, on to [`Case::run_inside`].
    ///
    /// # Errors
    ///
    /// The server did not start, or died; with its last lines.
    pub fn run(
        &self,
        mut outer: Command,
        deviations: &Mutex<Deviations>,
    ) -> Result<Report, String> {
        let dir = TempDir::with_prefix("martlet-case-").map_err(|error| error.to_string())?;
        outer
            .arg("--inner")
            .arg(self.label())
            .arg(dir.path())
            .env("MARTLET_BIN", binary());
        let output = outer
            .stdin(Stdio::null())
            .output()
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let ours = Answers::read(&dir.path().join(ANSWERS));
        let questions = self.questions();
        let recorded = self.recorded();
        let mut deviations = deviations.lock().expect("nobody panicked");
        Ok(Report::compare(
            &self.label(),
            &questions,
            &recorded,
            &ours.answers,
            &mut deviations,
        ))
    }

    /// The part inside the namespaces: writes the answers into `dir`.
    ///
    /// # Errors
    ///
    /// As [`Case::run`].
    pub fn run_inside(&self, dir: &Path) -> Result<(), String> {
        let template = self.template();
        let mut values = vec![
            ("PORT", PORT.to_string()),
            ("UPSTREAM", UPSTREAMS[0].0.to_string()),
            ("UPSTREAM2", UPSTREAMS[1].0.to_string()),
            ("DIR", dir.to_string_lossy().into_owned()),
        ];
        let mut source = String::new();
        let mut cluster = Vec::new();
        if !self.is_plugin() {
            let yaml = read(&self.dir().join("cluster.yaml.gz"));
            let file = dir.join("cluster.yaml");
            fs::write(&file, &yaml).map_err(|error| error.to_string())?;
            source = format!("manifests {}", file.display());
            cluster = objects(&yaml);
            values.extend(placeholders(&cluster));
        }
        let search = template.meta.search.as_deref();
        let search = search
            .map(|list| format!("search {list}\n"))
            .unwrap_or_default();
        let resolv_conf = format!("nameserver 127.0.0.1\n{search}");
        netns::prepare(
            dir,
            &template.addresses(&values),
            template
                .meta
                .hostname
                .as_deref()
                .unwrap_or("conformance-host"),
            &resolv_conf,
        );
        let mut upstreams = Vec::new();
        for (port, ident) in UPSTREAMS.iter().filter(|_| template.meta.upstream) {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, *port));
            let upstream = Upstream::bind(ident, address);
            upstreams.push(upstream.map_err(|error| format!("upstream {ident}: {error}"))?);
        }
        let api = (self.source != Source::Manifests).then(|| FakeApi::start(cluster));
        if let Some(api) = &api {
            source = format!("kubeconfig {}", api.write_kubeconfig(dir).display());
        }
        self.copy_files(dir, &values)?;
        let corefile = dir.join("Corefile");
        let text = match self.source {
            Source::Deployed(manifest) => manifest.corefile(&source),
            _ => template.corefile(&values, &source),
        };
        fs::write(&corefile, text).map_err(|error| error.to_string())?;
        let mut command = Command::new(binary());
        command.current_dir(dir).arg("-conf").arg(corefile);
        if let Some(io) = self.io {
            command.arg("-io").arg(io);
        }
        command.envs(&template.meta.env);
        let answers = self.ask(&template, &mut Process::start(&mut command))?;
        let text =
            serde_json::to_string(&Answers { answers }).map_err(|error| error.to_string())?;
        fs::write(dir.join(ANSWERS), text).map_err(|error| error.to_string())
    }

    fn ask(
        &self,
        template: &Template,
        server: &mut Process,
    ) -> Result<BTreeMap<String, Answer>, String> {
        let failed = |what: &str, server: &Process| {
            let log = server.output();
            let lines: Vec<_> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(15)..];
            format!("{what}; it said:\n{}", tail.join("\n"))
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
        let probe = match &template.meta.probe {
            Some(probe) => Some(probe.as_str()),
            None if self.is_plugin() => None,
            None => Some("conformance-probe.default.svc.cluster.local."),
        };
        let client = Client {
            patience: Duration::from_millis(300),
            ..Client::new(address)
        };
        let up = wait_until(Duration::from_secs(20), || {
            if server.ended().is_some() {
                return Some(false);
            }
            TcpStream::connect(address).ok()?;
            let Some(probe) = probe else {
                return Some(true);
            };
            (client.send(&Query::new(probe, "A"))?.rcode != "SERVFAIL").then_some(true)
        });
        if up != Some(true) {
            return Err(failed("the server did not come up", server));
        }
        let answers = ask_all(address, &self.questions(), template.is_stateful());
        if let Some(status) = server.ended() {
            return Err(failed(&format!("the server died ({status})"), server));
        }
        match server.terminate(Duration::from_secs(8)) {
            Some(status) if status.success() => Ok(answers),
            Some(status) => Err(failed(&format!("after SIGTERM: {status}"), server)),
            None => Err(failed("the server did not end on SIGTERM", server)),
        }
    }

    /// Puts the other files of a plugin's case beside the Corefile.
    fn copy_files(&self, dir: &Path, values: &[(&str, String)]) -> Result<(), String> {
        let own = ["Corefile", "queries.txt", "golden.json.gz"];
        let files = stems(&self.dir(), "");
        for name in files.iter().filter(|name| !own.contains(&name.as_str())) {
            if self.is_plugin() {
                let text = fill(&read(&self.dir().join(name)), values);
                fs::write(dir.join(name), text).map_err(|error| error.to_string())?;
            }
        }
        Ok(())
    }

    fn is_plugin(&self) -> bool {
        self.set == "plugins"
    }

    fn dir(&self) -> PathBuf {
        let dir = root().join(&self.set);
        if self.is_plugin() {
            dir.join(&self.template)
        } else {
            dir
        }
    }

    fn template(&self) -> Template {
        let path = match self.is_plugin() {
            true => self.dir().join("Corefile"),
            false => root()
                .join("templates")
                .join(format!("{}.corefile", self.template)),
        };
        Template::new(&self.template, &read(&path))
    }
}

/// The templates that are asked through the API server too: what they select there is selected by
/// the API server, or by other code than with manifests.
const THROUGH_API: [&str; 5] = [
    "kubeadm",
    "pods-verified",
    "namespaces",
    "labels",
    "namespace-labels",
];

/// What operators apply gives CoreDNS's answers.
static DEPLOYED: [Manifest; 3] = [
    Manifest {
        name: "base",
        path: "kustomize/base/configmap.yaml",
        template: "kubeadm",
    },
    Manifest {
        name: "chart",
        path: "helm/rendered.yaml",
        template: "kubeadm",
    },
    Manifest {
        name: "chart-all",
        path: "helm/rendered-all.yaml",
        template: "pods-verified",
    },
];

/// The port of the server in its own network.
const PORT: u16 = 1053;

/// The ports of the upstreams in the server's network, and what they call themselves.
const UPSTREAMS: [(u16, &str); 2] = [(5301, "a"), (5302, "b")];

const ANSWERS: &str = "answers.json";
