//! The directives of a server block, one file each, and the list of those that are not there yet.
//!
//! To add one: a file with its type and its [`Directive::parse`], a field in [`Directives`], an arm
//! in [`Directives::read`], and its name moves from unsupported to supported.

use super::args::{Args, Context};
use super::error::{Problem, Reason};
use super::nearest;
use super::parse::RawDirective;

use self::acl::Acl;
use self::autopath::Autopath;
use self::bare::{Any, Debug, Minimal, Shed, Whoami};
pub use self::bind::Bind;
use self::bufsize::Bufsize;
use self::cache::Cache;
use self::cancel::Cancel;
use self::chaos::Chaos;
use self::dns64::Dns64;
use self::erratic::Erratic;
use self::errors::Errors;
use self::file::File;
use self::forward::Forward;
use self::header::Header;
use self::health::Health;
use self::hosts::Hosts;
use self::k8s_external::K8sExternal;
use self::kubernetes::Kubernetes;
use self::loadbalance::LoadBalance;
use self::local::Local;
use self::log::Log;
use self::loop_::Loop;
use self::metadata::Metadata;
use self::multisocket::Multisocket;
use self::no_aaaa::NoAaaa;
use self::nsid::Nsid;
use self::prometheus::Prometheus;
use self::ready::Ready;
use self::reload::Reload;
use self::rewrite::Rewrite;
use self::root::Root;
use self::template::Template;
use self::timeouts::Timeouts;
use self::tls::Tls;
use self::transfer::Transfer;
use self::view::View;

pub mod acl;
pub mod autopath;
pub mod bare;
pub mod bind;
pub mod bufsize;
pub mod cache;
pub mod cancel;
pub mod chaos;
pub mod dns64;
pub mod erratic;
pub mod errors;
pub mod file;
pub mod forward;
pub mod header;
pub mod health;
pub mod hosts;
pub mod k8s_external;
pub mod kubernetes;
pub mod loadbalance;
pub mod local;
pub mod log;
pub mod loop_;
pub mod metadata;
pub mod multisocket;
pub mod no_aaaa;
pub mod nsid;
pub mod prometheus;
mod proxy;
pub mod ready;
pub mod reload;
pub mod rewrite;
pub mod root;
pub mod template;
#[cfg(test)]
mod testing;
pub mod timeouts;
pub mod tls;
pub mod transfer;
pub mod view;

/// A directive that has a type.
pub(super) trait Directive: Sized {
    /// Its name in Corefiles.
    const NAME: &'static str;

    /// What a second one in the same server block means. Not used for those that may repeat.
    const SECOND: Second = Second::Refused;

    /// Takes over what a later one says.
    fn add(&mut self, later: Self) {
        *self = later;
    }

    /// Reads its arguments and its block.
    fn parse(args: &mut Args<'_>) -> Result<Self, Problem>;
}

/// What a second directive of one name means, for those that a server block has once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Second {
    /// It is an error.
    Refused,
    /// It is ignored, with a warning.
    Ignored,
    /// It replaces the first one, with a warning.
    Replaces,
    /// It is added to the first one.
    Adds,
}

/// The directives of a server block. Between directives the order is CoreDNS's fixed one, wherever
/// they stand; those that may repeat keep their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Directives {
    /// `root`: where relative paths start; already applied to the other directives.
    pub root: Option<Root>,
    /// `reload`: whether the Corefile is watched.
    pub reload: Option<Reload>,
    /// `view`: which queries the block is for.
    pub view: Option<View>,
    /// `metadata`.
    pub metadata: Option<Metadata>,
    /// `cancel`.
    pub cancel: Option<Cancel>,
    /// `timeouts`.
    pub timeouts: Option<Timeouts>,
    /// `multisocket`.
    pub multisocket: Option<Multisocket>,
    /// `shed`.
    pub shed: Option<Shed>,
    /// `nsid`.
    pub nsid: Option<Nsid>,
    /// `bufsize`.
    pub bufsize: Option<Bufsize>,
    /// `bind`: where to listen; empty means all addresses.
    pub bind: Vec<Bind>,
    /// `debug`.
    pub debug: Option<Debug>,
    /// `ready`: the readiness endpoint.
    pub ready: Option<Ready>,
    /// `health`: the liveness endpoint.
    pub health: Option<Health>,
    /// `prometheus`: the metrics endpoint.
    pub prometheus: Option<Prometheus>,
    /// `errors`: whether errors are logged.
    pub errors: Option<Errors>,
    /// `log`: which queries are logged, first match wins.
    pub log: Vec<Log>,
    /// `local`: answers for localhost.
    pub local: Option<Local>,
    /// `dns64`.
    pub dns64: Option<Dns64>,
    /// `any`: minimal answers to ANY.
    pub any: Option<Any>,
    /// `chaos`.
    pub chaos: Option<Chaos>,
    /// `loadbalance`: the order of addresses in answers.
    pub loadbalance: Option<LoadBalance>,
    /// `rewrite`: the rules, in this order.
    pub rewrite: Vec<Rewrite>,
    /// `autopath`.
    pub autopath: Option<Autopath>,
    /// `acl`, asked in this order.
    pub acl: Vec<Acl>,
    /// `cache`.
    pub cache: Option<Cache>,
    /// `tls`: the certificate of this server.
    pub tls: Option<Tls>,
    /// `header`.
    pub header: Option<Header>,
    /// `minimal`.
    pub minimal: Option<Minimal>,
    /// `template`: the rules, in this order.
    pub template: Vec<Template>,
    /// `hosts`.
    pub hosts: Option<Hosts>,
    /// `k8s_external`.
    pub k8s_external: Option<K8sExternal>,
    /// `kubernetes`.
    pub kubernetes: Option<Kubernetes>,
    /// `transfer`.
    pub transfer: Vec<Transfer>,
    /// `file`.
    pub file: Vec<File>,
    /// `no_aaaa`.
    pub no_aaaa: Option<NoAaaa>,
    /// `loop`: detection of forwarding loops.
    pub loop_: Option<Loop>,
    /// `forward`, tried in this order.
    pub forward: Vec<Forward>,
    /// `erratic`.
    pub erratic: Option<Erratic>,
    /// `whoami`.
    pub whoami: Option<Whoami>,
}

impl Directives {
    /// Types the directives of one server block. Each is read even if others have problems.
    pub(super) fn read(raw: &[RawDirective], context: Context<'_>) -> Self {
        let mut directives = Self::default();
        // First, because its path matters to directives above it, too.
        for directive in raw
            .iter()
            .filter(|directive| &*directive.name.text == Root::NAME)
        {
            once(&mut directives.root, directive, raw, &context);
        }
        let root = directives.root.clone();
        let context = Context {
            root: root.as_ref().map(|root| &*root.path),
            ..context
        };
        for directive in raw {
            directives.read_one(directive, raw, &context);
        }
        directives.check(raw, &context);
        directives
    }

    /// Finds what directives need of each other.
    fn check(&mut self, raw: &[RawDirective], context: &Context<'_>) {
        let kubernetes = self.kubernetes.as_ref();
        let knows_pods =
            kubernetes.is_some_and(|found| found.pods == kubernetes::PodMode::Verified);
        let by_namespace = self
            .acl
            .iter()
            .flat_map(|acl| &acl.policies)
            .any(|policy| !policy.namespaces.is_empty());
        let by_pod = self
            .autopath
            .as_ref()
            .is_some_and(|found| found.file.is_none());
        let pods = "pods verified";
        let external = self.k8s_external.is_some() && kubernetes.is_none();
        for (name, lacks, option, needs) in [
            (Acl::NAME, by_namespace && !knows_pods, "namespace", pods),
            (
                K8sExternal::NAME,
                external,
                K8sExternal::NAME,
                Kubernetes::NAME,
            ),
        ] {
            let mut named = raw.iter().filter(|directive| &*directive.name.text == name);
            if lacks && let Some(found) = named.next() {
                let reason = Reason::Needs { option, needs };
                context.findings.problem(Problem::at(&found.name, reason));
            }
        }
        let warn = |name: &str, text: String| {
            let mut all = raw.iter();
            if let Some(found) = all.find(|directive| &*directive.name.text == name) {
                context.findings.warn(&found.name, text);
            }
        };
        if by_pod && !knows_pods {
            // As in CoreDNS, which says nothing of it.
            self.autopath = None;
            let text = "`autopath @kubernetes` does nothing without `pods verified`";
            warn(Autopath::NAME, text.to_owned());
        }
        if let Some(name) = self.lacks_labels() {
            let text = format!("`{name}` reads labels, which are there with `metadata` only");
            warn(name, text);
        }
    }

    fn read_one(&mut self, directive: &RawDirective, all: &[RawDirective], context: &Context<'_>) {
        match &*directive.name.text {
            Root::NAME => {}
            Reload::NAME => once(&mut self.reload, directive, all, context),
            View::NAME => once(&mut self.view, directive, all, context),
            Metadata::NAME => once(&mut self.metadata, directive, all, context),
            Cancel::NAME => once(&mut self.cancel, directive, all, context),
            Timeouts::NAME => once(&mut self.timeouts, directive, all, context),
            Multisocket::NAME => once(&mut self.multisocket, directive, all, context),
            Shed::NAME => once(&mut self.shed, directive, all, context),
            Nsid::NAME => once(&mut self.nsid, directive, all, context),
            Bufsize::NAME => once(&mut self.bufsize, directive, all, context),
            Bind::NAME => many(&mut self.bind, directive, context),
            Debug::NAME => once(&mut self.debug, directive, all, context),
            Ready::NAME => once(&mut self.ready, directive, all, context),
            Health::NAME => once(&mut self.health, directive, all, context),
            Prometheus::NAME => once(&mut self.prometheus, directive, all, context),
            Errors::NAME => once(&mut self.errors, directive, all, context),
            Log::NAME => many(&mut self.log, directive, context),
            Local::NAME => once(&mut self.local, directive, all, context),
            Dns64::NAME => once(&mut self.dns64, directive, all, context),
            Any::NAME => once(&mut self.any, directive, all, context),
            Chaos::NAME => once(&mut self.chaos, directive, all, context),
            LoadBalance::NAME => once(&mut self.loadbalance, directive, all, context),
            Rewrite::NAME => many(&mut self.rewrite, directive, context),
            Autopath::NAME => once(&mut self.autopath, directive, all, context),
            Acl::NAME => many(&mut self.acl, directive, context),
            Cache::NAME => once(&mut self.cache, directive, all, context),
            Tls::NAME => once(&mut self.tls, directive, all, context),
            Header::NAME => once(&mut self.header, directive, all, context),
            Minimal::NAME => once(&mut self.minimal, directive, all, context),
            Template::NAME => many(&mut self.template, directive, context),
            Transfer::NAME => many(&mut self.transfer, directive, context),
            Hosts::NAME => once(&mut self.hosts, directive, all, context),
            K8sExternal::NAME => once(&mut self.k8s_external, directive, all, context),
            Kubernetes::NAME => once(&mut self.kubernetes, directive, all, context),
            File::NAME => many(&mut self.file, directive, context),
            NoAaaa::NAME => once(&mut self.no_aaaa, directive, all, context),
            Loop::NAME => once(&mut self.loop_, directive, all, context),
            Forward::NAME => many(&mut self.forward, directive, context),
            Erratic::NAME => once(&mut self.erratic, directive, all, context),
            Whoami::NAME => once(&mut self.whoami, directive, all, context),
            proxy::NAME => self.forward.extend(read(directive, context, proxy::parse)),
            other => {
                let problem = Problem::at(&directive.name, refusal(other));
                context.findings.problem(problem);
            }
        }
    }

    /// The names of the directives that are there and see queries, in CoreDNS's order, each once.
    pub fn names(&self) -> Vec<&'static str> {
        let there = [
            (Cancel::NAME, self.cancel.is_some()),
            (Nsid::NAME, self.nsid.is_some()),
            (Bufsize::NAME, self.bufsize.is_some()),
            (Prometheus::NAME, self.prometheus.is_some()),
            (Errors::NAME, self.errors.is_some()),
            (Log::NAME, !self.log.is_empty()),
            (Local::NAME, self.local.is_some()),
            (Dns64::NAME, self.dns64.is_some()),
            (Any::NAME, self.any.is_some()),
            (Chaos::NAME, self.chaos.is_some()),
            (LoadBalance::NAME, self.loadbalance.is_some()),
            (Rewrite::NAME, !self.rewrite.is_empty()),
            (Autopath::NAME, self.autopath.is_some()),
            (Acl::NAME, !self.acl.is_empty()),
            (Cache::NAME, self.cache.is_some()),
            (Header::NAME, self.header.is_some()),
            (Minimal::NAME, self.minimal.is_some()),
            (Template::NAME, !self.template.is_empty()),
            (Transfer::NAME, !self.transfer.is_empty()),
            (Hosts::NAME, self.hosts.is_some()),
            (K8sExternal::NAME, self.k8s_external.is_some()),
            (Kubernetes::NAME, self.kubernetes.is_some()),
            (File::NAME, !self.file.is_empty()),
            (NoAaaa::NAME, self.no_aaaa.is_some()),
            (Loop::NAME, self.loop_.is_some()),
            (Forward::NAME, !self.forward.is_empty()),
            (Erratic::NAME, self.erratic.is_some()),
            (Whoami::NAME, self.whoami.is_some()),
        ];
        there
            .into_iter()
            .filter(|(_, there)| *there)
            .map(|(name, _)| name)
            .collect()
    }
}

/// The supported directives, in CoreDNS's order (what `-plugins` lists).
pub fn supported() -> impl Iterator<Item = &'static str> {
    ORDER
        .iter()
        .filter(|(_, supported)| *supported)
        .map(|(name, _)| *name)
}

/// Whether CoreDNS has a directive of this name.
pub(super) fn is_known(name: &str) -> bool {
    ORDER.iter().any(|(known, _)| *known == name)
}

/// Reads a directive that a server block has once.
fn once<D: Directive>(
    slot: &mut Option<D>,
    directive: &RawDirective,
    all: &[RawDirective],
    context: &Context<'_>,
) {
    let name = &directive.name;
    let first = all
        .iter()
        .map(|raw| &raw.name)
        .find(|first| *first.text == *name.text);
    let repeated = first.filter(|first| slot.is_some() && !std::ptr::eq(*first, name));
    match (repeated, D::SECOND) {
        (Some(first), Second::Refused) => {
            let reason = Reason::Repeated {
                directive: D::NAME,
                first: first.position(),
            };
            context.findings.problem(Problem::at(name, reason));
            return;
        }
        (None, _) | (_, Second::Adds) => {}
        (Some(first), second) => {
            let outcome = if second == Second::Ignored {
                "is ignored"
            } else {
                "replaces it"
            };
            let first = first.position();
            let text = format!("`{}` is already at {first}; this one {outcome}", D::NAME);
            context.findings.warn(name, text);
            if second == Second::Ignored {
                return;
            }
        }
    }
    if let Some(parsed) = read(directive, context, D::parse) {
        match slot {
            Some(first) => first.add(parsed),
            None => *slot = Some(parsed),
        }
    }
}

/// Reads a directive that may repeat.
fn many<D: Directive>(list: &mut Vec<D>, directive: &RawDirective, context: &Context<'_>) {
    list.extend(read(directive, context, D::parse));
}

/// Reads a directive and notes what is wrong with it.
fn read<D>(
    directive: &RawDirective,
    context: &Context<'_>,
    parse: fn(&mut Args<'_>) -> Result<D, Problem>,
) -> Option<D> {
    let RawDirective {
        name,
        args,
        block,
        nested,
    } = directive;
    if let Some(nested) = nested {
        let reason = Reason::NestedBlock {
            directive: (&*name.text).into(),
        };
        context.findings.problem(Problem::at(nested, reason));
        return None;
    }
    let mut args = Args::new(name, args, block.as_deref(), context);
    let parsed = parse(&mut args).and_then(|parsed| args.finish().map(|()| parsed));
    parsed
        .map_err(|problem| context.findings.problem(problem))
        .ok()
}

/// Why a name is not a directive of martlet.
fn refusal(name: &str) -> Reason {
    if let Some((name, release, instead)) = REMOVED.iter().find(|(removed, ..)| *removed == name) {
        return Reason::Removed {
            name,
            release,
            instead,
        };
    }
    if let Some((name, because)) = NEVER.iter().find(|(never, _)| *never == name) {
        return Reason::Never { name, because };
    }
    if name == "snapshot" || is_known(name) {
        return Reason::NotSupported {
            name: format!("`{name}`").into(),
        };
    }
    let nearest = nearest(name, ORDER.iter().map(|(known, _)| *known));
    Reason::UnknownDirective {
        name: name.into(),
        nearest,
    }
}

/// Directives that are left out on purpose, and why.
const NEVER: [(&str, &str); 8] = [
    (
        "on",
        "a DNS server of a cluster runs no commands; use the pod's lifecycle hooks",
    ),
    ("route53", CLOUD),
    ("azure", CLOUD),
    ("clouddns", CLOUD),
    (
        "pprof",
        "profiles of the Go runtime have no counterpart; the process can be looked at with `perf`",
    ),
    ("quic", LISTENERS),
    ("https3", LISTENERS),
    ("grpc_server", LISTENERS),
];

const LISTENERS: &str =
    "nothing in a cluster asks over QUIC or gRPC; serve `dns://`, `tls://` or `https://`";

const CLOUD: &str = "the DNS of a cloud answers for its zones by itself; `forward` them there";

/// Directives of old releases, the release that removed them, and what to write today.
const REMOVED: [(&str, &str, &str); 4] = [
    (
        "federation",
        "1.7.0",
        "cluster federation is gone from Kubernetes; remove the directive",
    ),
    ("startup", "1.1.0", "use the pod's postStart hook"),
    ("shutdown", "1.1.0", "use the pod's preStop hook"),
    (
        "reverse",
        "1.1.4",
        "use `template` for synthesized PTR records",
    ),
];

/// Every directive of CoreDNS 1.14.7 in its fixed order, and whether martlet has it. `no_aaaa` is
/// martlet's own.
pub(super) const ORDER: [(&str, bool); 61] = [
    ("root", true),
    ("metadata", true),
    ("geoip", false),
    ("cancel", true),
    ("proxyproto", false),
    ("quic", false),
    ("grpc_server", false),
    ("https", false),
    ("https3", false),
    ("timeouts", true),
    ("multisocket", true),
    ("reload", true),
    ("nsid", true),
    ("bufsize", true),
    ("bind", true),
    ("debug", true),
    ("trace", false),
    ("ready", true),
    ("health", true),
    ("pprof", false),
    ("shed", true),
    ("prometheus", true),
    ("errors", true),
    ("log", true),
    ("dnstap", false),
    ("local", true),
    ("dns64", true),
    ("any", true),
    ("chaos", true),
    ("loadbalance", true),
    ("tsig", false),
    ("rewrite", true),
    ("autopath", true),
    ("acl", true),
    ("cache", true),
    ("header", true),
    ("dnssec", false),
    ("tls", true),
    ("minimal", true),
    ("template", true),
    ("transfer", true),
    ("hosts", true),
    ("route53", false),
    ("azure", false),
    ("clouddns", false),
    ("k8s_external", true),
    ("kubernetes", true),
    ("file", true),
    ("auto", false),
    ("secondary", false),
    ("etcd", false),
    ("no_aaaa", true),
    ("loop", true),
    ("forward", true),
    ("grpc", false),
    ("erratic", true),
    ("whoami", true),
    ("on", false),
    ("sign", false),
    ("view", true),
    ("nomad", false),
];
