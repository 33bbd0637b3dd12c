//! Events from the API server: one list and watch per kind, for ever.
//!
//! The watches are kube's, over [`Partial`] objects that decode nothing but what answers need.
//! Lists come in pages, so that memory stays flat whatever the cluster's size. What is asked of the
//! server is list and watch on namespaces, services, endpointslices and, for `pods verified`, pods,
//! for `multicluster` serviceimports; nothing else, so that the usual cluster role of a DNS server suffices.

mod client;
mod measured;
mod outage;
mod partial;
mod remedy;
mod silence;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Api, Client};
use martlet_engine::index::ClusterIndex;
use thiserror::Error;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;

use self::outage::Outage;
use self::partial::{Partial, Resource};
use self::remedy::Asked;
use super::SourceSettings;
use crate::cluster::decode::{
    WireEndpointSlice, WireNamespace, WirePod, WireService, WireServiceImport,
};
use crate::cluster::object::{Event, Kind};

/// How to reach the API server.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Access {
    /// With the service account of the pod that martlet runs in.
    #[default]
    InCluster,
    /// As a kubeconfig file says.
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// The context to use; the file's current one when absent.
        context: Option<String>,
    },
    /// At a fixed address.
    Endpoint {
        /// The server's URL; `http://` works too.
        url: String,
        /// The identity to show, and the authority to trust.
        tls: Option<ClientTls>,
    },
}

/// Files for TLS with a client certificate, in PEM.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientTls {
    /// The client's certificate.
    pub cert: PathBuf,
    /// The client's private key.
    pub key: PathBuf,
    /// The authority that signed the server's certificate.
    pub ca: PathBuf,
}

/// Bounds on what is asked of the API server; requests are not bounded by default.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ApiLimits {
    /// Requests a second, in the long run.
    pub qps: Option<f32>,
    /// Requests at once before `qps` applies.
    pub burst: Option<u32>,
    /// Requests that wait for the head of their response.
    pub max_inflight: Option<u32>,
    /// How long a response may say nothing before it is given up; three minutes when absent.
    pub silence: Option<Duration>,
}

/// Why the API server cannot be used at all. Each of these wants a change of configuration; what
/// can pass by itself is retried.
#[derive(Debug, Error)]
pub enum SourceError {
    /// The pod's service account is incomplete, or this is no pod.
    #[error(
        "no service account to reach the API server with (outside a cluster, set `kubeconfig` or \
         `endpoint`)"
    )]
    InCluster(#[source] kube::config::InClusterError),
    /// The kubeconfig file is unreadable or incomplete.
    #[error("kubeconfig {}", path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: Box<kube::config::KubeconfigError>,
    },
    /// The endpoint is not a URL.
    #[error("endpoint `{url}` is not an http:// or https:// URL")]
    Url {
        /// What was given.
        url: String,
    },
    /// A certificate or key cannot be read.
    #[error("{}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: std::io::Error,
    },
    /// The client cannot be set up from what the files say: a certificate or a key is malformed, or
    /// a proxy is not supported.
    #[error("client for the API server at {url}")]
    Client {
        /// The server.
        url: String,
        /// What is wrong.
        #[source]
        source: Box<kube::Error>,
    },
}

/// The API group and the name by which a kind is asked for, and which roles grant.
pub fn resource(kind: Kind) -> (&'static str, &'static str) {
    const fn of<W: Resource>() -> (&'static str, &'static str) {
        (W::GROUP, W::PLURAL)
    }
    match kind {
        Kind::Namespace => of::<WireNamespace>(),
        Kind::Service => of::<WireService>(),
        Kind::EndpointSlice => of::<WireEndpointSlice>(),
        Kind::Pod => of::<WirePod>(),
        Kind::ServiceImport => of::<WireServiceImport>(),
    }
}

/// Sends the cluster's state to `events`, then each change, until the receiver is dropped. An
/// unreachable server is no error: it is asked again, with growing pauses, and what was sent stays
/// in force; `index`, to which the events lead, is told how long that lasts.
pub async fn run(
    access: Access,
    limits: ApiLimits,
    settings: SourceSettings,
    index: Arc<ClusterIndex>,
    events: Sender<Event>,
) -> Result<(), SourceError> {
    let (client, url) = client::connect(access, limits).await?;
    let server = (client, url, index);
    let mut watches = JoinSet::new();
    for kind in settings.kinds() {
        let (server, settings, events) = (server.clone(), settings.clone(), events.clone());
        match kind {
            Kind::Namespace => watches.spawn(watch::<WireNamespace>(server, settings, events)),
            Kind::Service => watches.spawn(watch::<WireService>(server, settings, events)),
            Kind::EndpointSlice => {
                watches.spawn(watch::<WireEndpointSlice>(server, settings, events))
            }
            Kind::Pod => watches.spawn(watch::<WirePod>(server, settings, events)),
            Kind::ServiceImport => {
                watches.spawn(watch::<WireServiceImport>(server, settings, events))
            }
        };
    }
    drop(events);
    while let Some(ended) = watches.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }
    Ok(())
}

/// Lists and watches one kind until nobody listens.
async fn watch<W: Resource>(
    (client, url, index): (Client, String, Arc<ClusterIndex>),
    settings: SourceSettings,
    events: Sender<Event>,
) {
    let start = || {
        watcher(
            Api::<Partial<W>>::all(client.clone()),
            config::<W>(&settings),
        )
    };
    let mut stream = Box::pin(start());
    let asked = Asked {
        url,
        group: W::GROUP,
        plural: W::PLURAL,
    };
    let mut outage = Outage::new(W::KIND, asked, index);
    let mut listing = false;
    loop {
        let next = tokio::select! {
            next = stream.next() => next,
            () = outage.quiet() => {
                outage.ended();
                continue;
            }
            () = events.closed() => return,
        };
        let event = match next {
            Some(Ok(event)) => event,
            Some(Err(error)) => {
                outage.pause(&error).await;
                if is_expired(&error) {
                    stream = Box::pin(start());
                }
                continue;
            }
            // kube's watcher never ends.
            None => return,
        };
        let sent = match event {
            // Reported before the server was even asked, hence no sign of life, and repeated with
            // every attempt. The list begins with its first page.
            watcher::Event::Init => {
                listing = false;
                continue;
            }
            watcher::Event::InitApply(object) => {
                start_list(W::KIND, &mut listing, &events).await;
                match object.trim(settings.keep()) {
                    // A list drops what it does not name.
                    Event::Deleted(..) => continue,
                    applied => events.send(applied).await,
                }
            }
            watcher::Event::InitDone => {
                start_list(W::KIND, &mut listing, &events).await;
                events.send(Event::RelistDone(W::KIND)).await
            }
            watcher::Event::Apply(object) => events.send(object.trim(settings.keep())).await,
            watcher::Event::Delete(object) => {
                events.send(Event::Deleted(W::KIND, object.key())).await
            }
        };
        outage.ended();
        if sent.is_err() {
            return;
        }
    }
}

/// Whether the server no longer knows the version that a watch is to go on from, and says so with
/// the status of its response. kube's watcher would ask for the same version for ever; only the
/// same words inside of a running watch make it list again.
fn is_expired(error: &watcher::Error) -> bool {
    const GONE: u16 = 410;
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == GONE)
}

async fn start_list(kind: Kind, listing: &mut bool, events: &Sender<Event>) {
    if !*listing {
        *listing = true;
        // A receiver that is gone ends the watch at the next event.
        let _ = events.send(Event::RelistStarted(kind)).await;
    }
}

fn config<W: Resource>(settings: &SourceSettings) -> watcher::Config {
    let mut config = watcher::Config::default().page_size(W::PAGE_SIZE);
    if let Some(selector) = settings.selector(W::KIND) {
        config = config.labels(&selector.to_string());
    }
    if let Some(fields) = W::FIELDS {
        config = config.fields(fields);
    }
    config
}

#[cfg(test)]
mod tests;
