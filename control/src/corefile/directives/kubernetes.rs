//! `kubernetes [ZONES…] { … }`: answers from the cluster's objects.

use std::path::PathBuf;
use std::time::Duration;

use super::super::args::{Arg, Args};
use super::super::error::{Problem, Reason};
use super::super::zone::ZoneName;
use super::Directive;

/// `kubernetes`.
#[derive(Clone, Debug, PartialEq)]
pub struct Kubernetes {
    /// Its zones, each once, in the order given; at least one is not a reverse zone.
    pub zones: Vec<ZoneName>,
    /// Which of `zones` the targets of PTR records lie in: the first that is not a reverse zone.
    pub primary_zone: usize,
    /// Where objects come from.
    pub source: KubernetesSource,
    /// `namespaces`: only these are answered for; empty means all.
    pub namespaces: Vec<String>,
    /// `namespace_labels`: a selector; only namespaces that match are answered for.
    pub namespace_labels: Option<String>,
    /// `labels`: a selector; only objects that match are answered for.
    pub labels: Option<String>,
    /// `pods`: which pod names are answered.
    pub pods: PodMode,
    /// `endpoint_pod_names`: endpoints without a hostname are named after their pods.
    pub endpoint_pod_names: bool,
    /// `ttl`: in seconds, at most 3600.
    pub ttl: u32,
    /// `noendpoints`: endpoints are neither watched nor answered.
    pub no_endpoints: bool,
    /// `fallthrough`: which names that do not exist are left to the directives behind.
    pub fallthrough: Fallthrough,
    /// `ignore empty_service`: a Service without ready endpoints does not exist.
    pub ignore_empty_service: bool,
    /// `multicluster`: those of `zones` that hold what the clusters of a set offer together.
    pub multicluster: Vec<ZoneName>,
    /// `zonal`: endpoints of headless Services have names by topology zone.
    pub zonal: bool,
    /// `snapshot`: the file that keeps the last known state.
    pub snapshot: Option<PathBuf>,
    /// `startup_timeout`: how long the start waits for the first full list.
    pub startup_timeout: Duration,
    /// `apiserver_qps`: requests a second to the API server; `None` for the client's own limit.
    pub api_qps: Option<f32>,
    /// `apiserver_burst`: how far requests may run ahead of `api_qps`.
    pub api_burst: Option<u32>,
    /// `apiserver_max_inflight`: how many requests may be open.
    pub api_max_inflight: Option<u32>,
}

/// Where objects come from.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum KubernetesSource {
    /// The API server of the cluster that we run in, as the pod's service account.
    #[default]
    InCluster,
    /// What a kubeconfig file says.
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// The context in it; its current one if `None`.
        context: Option<String>,
    },
    /// An API server given by address.
    Endpoint {
        /// Its URLs; never empty. CoreDNS uses the first alone.
        urls: Vec<String>,
        /// How we authenticate.
        tls: Option<ClientTls>,
    },
    /// Manifests in files or directories: no API server at all.
    Manifests(Vec<PathBuf>),
}

/// How a client authenticates.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientTls {
    /// Its certificate, PEM.
    pub cert: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Who signs the server's certificate, PEM.
    pub ca: PathBuf,
}

/// Which pod names (`10-0-0-1.default.pod.cluster.local`) are answered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PodMode {
    /// None.
    #[default]
    Disabled,
    /// All, without a look at the pods.
    Insecure,
    /// Those of pods that exist.
    Verified,
}

/// Which names that do not exist are left to the directives behind.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Fallthrough {
    /// None: they are answered with NXDOMAIN.
    #[default]
    None,
    /// All.
    All,
    /// Those at or below these names.
    Zones(Vec<ZoneName>),
}

impl Fallthrough {
    /// Reads the arguments of a `fallthrough`.
    pub(super) fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let zones = args.zones()?;
        Ok(if zones.is_empty() {
            Self::All
        } else {
            Self::Zones(zones)
        })
    }
}

impl Directive for Kubernetes {
    const NAME: &'static str = "kubernetes";

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let mut kubernetes = Self::new(zones(args)?);
        // An address block in which every zone has a problem says so itself.
        let primary = kubernetes.zones.iter().position(|zone| !zone.is_reverse());
        match primary {
            Some(primary) => kubernetes.primary_zone = primary,
            None if kubernetes.zones.is_empty() => {}
            None => return Err(args.problem(Reason::OnlyReverseZones)),
        }
        let mut sources = Sources::default();
        args.options(|option| match kubernetes.option(option)? {
            true => Ok(()),
            false => sources.option(option),
        });
        if kubernetes.namespace_labels.is_some() && !kubernetes.namespaces.is_empty() {
            let (one, other) = ("namespaces", "namespace_labels");
            return Err(args.problem(Reason::Conflict { one, other }));
        }
        kubernetes.check_zones(args)?;
        kubernetes.source = sources.choose(args)?;
        if kubernetes.snapshot.is_some()
            && matches!(kubernetes.source, KubernetesSource::Manifests(_))
        {
            let (one, other) = ("snapshot", "manifests");
            return Err(args.problem(Reason::Conflict { one, other }));
        }
        Ok(kubernetes)
    }
}

impl Kubernetes {
    /// What it is without options.
    fn new(zones: Vec<ZoneName>) -> Self {
        Self {
            zones,
            primary_zone: 0,
            source: KubernetesSource::default(),
            namespaces: Vec::new(),
            namespace_labels: None,
            labels: None,
            pods: PodMode::default(),
            endpoint_pod_names: false,
            ttl: TTL,
            no_endpoints: false,
            fallthrough: Fallthrough::default(),
            ignore_empty_service: false,
            multicluster: Vec::new(),
            zonal: false,
            snapshot: None,
            startup_timeout: STARTUP_TIMEOUT,
            api_qps: None,
            api_burst: None,
            api_max_inflight: None,
        }
    }

    /// Whether `multicluster` and `zonal` can be had.
    fn check_zones(&self, args: &Args<'_>) -> Result<(), Problem> {
        let mut foreign = self.multicluster.iter();
        if let Some(zone) = foreign.find(|zone| !self.zones.contains(zone)) {
            let zone = zone.to_string().into();
            return Err(args.problem(Reason::MulticlusterZone { zone }));
        }
        if self.zonal && self.no_endpoints {
            let (one, other) = ("zonal", "noendpoints");
            return Err(args.problem(Reason::Conflict { one, other }));
        }
        Ok(())
    }

    /// Reads an option; `false` if it is about the source of objects.
    fn option(&mut self, option: &mut Args<'_>) -> Result<bool, Problem> {
        match option.name() {
            "pods" => {
                self.pods = option
                    .required("disabled, insecure or verified")?
                    .keyword(&[
                        ("disabled", PodMode::Disabled),
                        ("insecure", PodMode::Insecure),
                        ("verified", PodMode::Verified),
                    ])?;
            }
            "namespaces" => {
                for name in option.some("at least one namespace")? {
                    let name = name.text().to_owned();
                    if !self.namespaces.contains(&name) {
                        self.namespaces.push(name);
                    }
                }
            }
            "namespace_labels" => self.namespace_labels = Some(selector(option)?),
            "labels" => self.labels = Some(selector(option)?),
            "ttl" => {
                let seconds = option.required("a number of seconds")?;
                self.ttl = seconds.number()?;
                if self.ttl > TTL_MAX {
                    return Err(seconds.out_of("from 0 to 3600"));
                }
                option.drop_rest();
            }
            "fallthrough" => self.fallthrough = Fallthrough::parse(option)?,
            "endpoint_pod_names" => self.endpoint_pod_names = true,
            "noendpoints" => self.no_endpoints = true,
            "ignore" => {
                option
                    .required("empty_service")?
                    .keyword(&[("empty_service", ())])?;
                self.ignore_empty_service = true;
                option.drop_rest();
            }
            "multicluster" => self.multicluster = option.zones()?,
            "zonal" => self.zonal = true,
            "snapshot" => self.snapshot = Some(plain_path(option.required("a file")?)),
            "startup_timeout" => {
                self.startup_timeout = option.required("a duration")?.duration()?;
                option.drop_rest();
            }
            "apiserver_qps" => {
                let argument = option.required("a number of requests a second")?;
                let qps = argument.text().parse::<f32>();
                let qps = qps.map_err(|_| argument.is_not("a number"))?;
                if !qps.is_finite() || qps < 0.0 {
                    return Err(argument.out_of("at least 0"));
                }
                self.api_qps = (qps > 0.0).then_some(qps);
            }
            "apiserver_burst" => self.api_burst = limit(option)?,
            "apiserver_max_inflight" => self.api_max_inflight = limit(option)?,
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// The options that say where objects come from, before one is chosen.
#[derive(Default)]
struct Sources {
    endpoints: Vec<String>,
    tls: Option<ClientTls>,
    kubeconfig: Option<(PathBuf, Option<String>)>,
    manifests: Vec<PathBuf>,
}

impl Sources {
    fn option(&mut self, option: &mut Args<'_>) -> Result<(), Problem> {
        match option.name() {
            "endpoint" => {
                let urls = option.some("the URL of an API server")?;
                if urls.len() > 1 {
                    option.warn("CoreDNS uses the first of several endpoints alone");
                }
                self.endpoints = urls.into_iter().map(|url| url.text().to_owned()).collect();
            }
            "tls" => {
                let mut file = || {
                    option
                        .required("a certificate, a key and a CA")
                        .map(plain_path)
                };
                self.tls = Some(ClientTls {
                    cert: file()?,
                    key: file()?,
                    ca: file()?,
                });
            }
            "kubeconfig" => {
                let path = plain_path(option.required("a file")?);
                let context = option.next().map(|context| context.text().to_owned());
                self.kubeconfig = Some((path, context));
            }
            "manifests" => {
                let paths = option.some("at least one file or directory")?;
                self.manifests
                    .extend(paths.into_iter().map(|path| manifest_path(path, option)));
            }
            // Names that no longer exist in the cluster were resolved with it.
            "upstream" | "resyncperiod" => {
                option.rest();
                option.warn(format!(
                    "`{}` has had no effect since CoreDNS 1.7",
                    option.name()
                ));
            }
            "transfer" => {
                return Err(option.problem(Reason::Removed {
                    name: "transfer",
                    release: "1.8.0",
                    instead: "it became the directive `transfer`",
                }));
            }
            "cidrs" => {
                return Err(option.problem(Reason::Removed {
                    name: "cidrs",
                    release: "1.0.0",
                    instead: "add the address blocks to the zones: `kubernetes ZONE 10.96.0.0/12`",
                }));
            }
            _ => return Err(option.unknown(Kubernetes::NAME, &OPTIONS)),
        }
        Ok(())
    }

    /// As in CoreDNS, a kubeconfig wins over an endpoint. Manifests go with neither.
    fn choose(self, args: &Args<'_>) -> Result<KubernetesSource, Problem> {
        let Self {
            endpoints: urls,
            tls,
            kubeconfig,
            manifests,
        } = self;
        if !manifests.is_empty() {
            let other = match (&kubeconfig, urls.is_empty(), &tls) {
                (Some(_), ..) => "kubeconfig",
                (None, false, _) => "endpoint",
                (None, true, Some(_)) => "tls",
                (None, true, None) => return Ok(KubernetesSource::Manifests(manifests)),
            };
            return Err(args.problem(Reason::Conflict {
                one: "manifests",
                other,
            }));
        }
        if let Some((path, context)) = kubeconfig {
            if !urls.is_empty() || tls.is_some() {
                args.warn("`kubeconfig` is used; `endpoint` and `tls` are ignored");
            }
            return Ok(KubernetesSource::Kubeconfig { path, context });
        }
        if urls.is_empty() {
            if tls.is_some() {
                args.warn("`tls` is ignored without `endpoint`");
            }
            return Ok(KubernetesSource::InCluster);
        }
        Ok(KubernetesSource::Endpoint { urls, tls })
    }
}

/// The zones given, or else those of the server block.
fn zones(args: &mut Args<'_>) -> Result<Vec<ZoneName>, Problem> {
    let given = args.zones()?;
    let mut zones = Vec::with_capacity(given.len());
    for zone in if given.is_empty() {
        args.context().zones.to_vec()
    } else {
        given
    } {
        if !zones.contains(&zone) {
            zones.push(zone);
        }
    }
    Ok(zones)
}

/// Reads a selector, whose spaces make several words of it. Its operators are checked here, because
/// CoreDNS takes fewer than Kubernetes; the rest of it is for the one who uses it.
fn selector(option: &mut Args<'_>) -> Result<String, Problem> {
    let words = option.some("a label selector")?;
    for word in &words {
        for operator in ["!=", "<", ">"] {
            if word.text().contains(operator) {
                return Err(word.problem(Reason::SelectorOperator { operator }));
            }
        }
    }
    Ok(words
        .iter()
        .map(|word| word.text())
        .collect::<Vec<_>>()
        .join(" "))
}

/// A limit, for which 0 means none.
fn limit(option: &mut Args<'_>) -> Result<Option<u32>, Problem> {
    let limit = option.required("a number")?.number()?;
    Ok((limit > 0).then_some(limit))
}

/// A path that `root` does not move, as in CoreDNS.
fn plain_path(argument: Arg<'_>) -> PathBuf {
    PathBuf::from(argument.text())
}

/// A path that is looked for in the working directory, then next to the Corefile.
fn manifest_path(argument: Arg<'_>, option: &Args<'_>) -> PathBuf {
    let path = plain_path(argument);
    match option.context().directory {
        Some(directory) if !path.exists() => directory.join(path),
        _ => path,
    }
}

/// The options, for help with a misspelled one.
const OPTIONS: [&str; 20] = [
    "apiserver_burst",
    "apiserver_max_inflight",
    "apiserver_qps",
    "endpoint",
    "endpoint_pod_names",
    "fallthrough",
    "ignore",
    "kubeconfig",
    "labels",
    "manifests",
    "multicluster",
    "namespace_labels",
    "namespaces",
    "noendpoints",
    "pods",
    "snapshot",
    "startup_timeout",
    "tls",
    "ttl",
    "zonal",
];

/// The TTL, in seconds, if not given.
const TTL: u32 = 5;

/// The largest TTL, in seconds.
const TTL_MAX: u32 = 3600;

/// How long the start waits, if not given.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
