//! A cluster's data on its way: a source sends events, which are folded into the store and published.
//!
//! Source and store have one thread. Nothing waits there but for the network, and what one allocates and
//! the other frees stays in one place: with two, a large cluster took 5 MiB more, holes in memory that
//! belonged to threads which had nothing more to do.
//!
//! Serving begins when every cluster is synced, or when its `startup_timeout` is over: then names
//! that are not known yet are SERVFAIL, as in CoreDNS.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use martlet_engine::index::ClusterIndex;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout_at};

use super::keeper::Keeper;
use super::object::Event;
use super::snapshot::Snapshot;
use super::source::SourceSettings;
use super::source::api::{self, Access, ApiLimits, SourceError};
use super::source::manifests::{self, ManifestError};
use super::store::{Store, StoreSettings};
use crate::metrics::own::OWN;

/// Events that may wait for the store. A source that is faster waits; a list is never kept whole.
const WAITING_MAX: usize = 1_024;
/// Events folded in before what they changed is published.
const BATCH_MAX: usize = 1_024;
/// What serials count.
const SECOND: Duration = Duration::from_secs(1);
/// How often the start looks whether the clusters are synced.
const SYNC_CHECK: Duration = Duration::from_millis(10);
/// How often the start says that it waits, as CoreDNS.
const SYNC_LOG: Duration = Duration::from_millis(500);

/// Where a cluster's data comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// The API server.
    Api(Access, ApiLimits),
    /// Manifest files.
    Manifests(Vec<PathBuf>),
}

/// One `kubernetes` plugin's cluster.
pub struct Cluster {
    /// Where it is published.
    pub index: Arc<ClusterIndex>,
    /// Where it comes from.
    pub source: Source,
    /// What is taken from there.
    pub source_settings: SourceSettings,
    /// What is made of it.
    pub store_settings: StoreSettings,
    /// How long serving may wait for it.
    pub startup_timeout: Duration,
    /// Where its last known state is kept.
    pub snapshot: Option<Snapshot>,
}

/// Why a cluster's data cannot be had at all.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The manifests cannot be read.
    #[error("plugin/kubernetes: {}", chain(.0))]
    Manifests(#[from] ManifestError),
    /// How to reach the API server is not known.
    #[error("plugin/kubernetes: {}", chain(.0))]
    Source(#[from] SourceError),
    /// A source has come to an end, which none does by itself. A panic has told of itself.
    #[error("plugin/kubernetes: the source of a cluster's data ended by itself")]
    Ended,
    /// The operating system gives no thread.
    #[error("plugin/kubernetes: cannot start a thread: {0}")]
    Thread(std::io::Error),
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// A cluster's source at work. It ends when this is dropped, and the store with it.
pub struct Feed {
    /// Where it ends up.
    pub index: Arc<ClusterIndex>,
    source: JoinHandle<Result<(), FeedError>>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.source.abort();
    }
}

/// Starts every cluster's source and waits until each is synced or its time is over.
///
/// # Errors
///
/// If a source can never work: an unreadable manifest, a broken kubeconfig. An API server that
/// does not answer is no error; it may come.
pub async fn start(clusters: Vec<Cluster>) -> Result<Vec<Feed>, FeedError> {
    let mut waiting = Vec::new();
    let mut feeds = Vec::new();
    for cluster in clusters {
        let Cluster {
            index,
            source,
            source_settings,
            store_settings,
            startup_timeout,
            snapshot,
        } = cluster;
        let (events, receiver) = channel(WAITING_MAX);
        let mut store = Store::new(Arc::clone(&index), store_settings);
        let mut keeper = snapshot.map(Keeper::new);
        if let Some(keeper) = &mut keeper {
            keeper.restore(&mut store);
        }
        let store = Arc::new(Mutex::new(store));
        // Not for longer than the store lives, which has the index.
        let directory = Arc::downgrade(&store);
        index.set_directory(Box::new(move |addresses| {
            let store = directory.upgrade();
            store.map_or_else(Vec::new, |store| lock(&store).pods_at(addresses))
        }));
        let folding = fold(store, receiver, keeper);
        let (give, given) = std::sync::mpsc::channel::<Runtime>();
        let drive = move || given.recv().map(|runtime| runtime.block_on(folding));
        let thread = std::thread::Builder::new().name("cluster".into());
        thread.spawn(drive).map_err(FeedError::Thread)?;
        // Once there is a thread that can drop it: here that would panic.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(FeedError::Thread)?;
        // Files are read to their end or not at all; only a server may keep us waiting.
        let patience = match source {
            Source::Api(..) => startup_timeout,
            Source::Manifests(_) => Duration::MAX,
        };
        waiting.push((Arc::clone(&index), patience));
        let source = runtime.spawn(run(source, source_settings, Arc::clone(&index), events));
        // The thread is there: it waits for this.
        let _ = give.send(runtime);
        feeds.push(Feed { index, source });
    }
    wait_until_synced(&waiting, &mut feeds).await?;
    Ok(feeds)
}

async fn run(
    source: Source,
    settings: SourceSettings,
    index: Arc<ClusterIndex>,
    events: Sender<Event>,
) -> Result<(), FeedError> {
    match source {
        Source::Api(access, limits) => api::run(access, limits, settings, index, events).await?,
        Source::Manifests(paths) => manifests::watch(paths, settings, events).await?,
    }
    Ok(())
}

async fn wait_until_synced(
    waiting: &[(Arc<ClusterIndex>, Duration)],
    feeds: &mut [Feed],
) -> Result<(), FeedError> {
    let start = Instant::now();
    let mut said = start;
    let pending = |(index, patience): &(Arc<ClusterIndex>, Duration)| {
        !index.is_synced() && start.elapsed() < *patience
    };
    while waiting.iter().any(pending) {
        // A source ends only for what no waiting mends.
        if let Some(feed) = feeds.iter_mut().find(|feed| feed.source.is_finished()) {
            return Err(match (&mut feed.source).await {
                Ok(Err(error)) => error,
                Ok(Ok(())) | Err(_) => FeedError::Ended,
            });
        }
        if said.elapsed() >= SYNC_LOG {
            said = Instant::now();
            tracing::info!("plugin/kubernetes: waiting for Kubernetes API before starting server");
        }
        sleep(SYNC_CHECK).await;
    }
    if waiting.iter().any(|(index, _)| !index.is_synced()) {
        tracing::warn!("plugin/kubernetes: starting server with unsynced Kubernetes API");
    }
    Ok(())
}

/// Folds events into a store and publishes what they change, until their source is gone.
async fn fold(store: Arc<Mutex<Store>>, mut events: Receiver<Event>, mut keeper: Option<Keeper>) {
    loop {
        let (undated, unsaved) = {
            let mut known = lock(&store);
            let undated = known.is_undated().then(|| Instant::now() + SECOND);
            let unsaved = keeper.as_mut().and_then(|keeper| keeper.due(&mut known));
            (undated, unsaved)
        };
        let event = match [undated, unsaved].into_iter().flatten().min() {
            None => events.recv().await,
            Some(due) => match timeout_at(due, events.recv()).await {
                Ok(event) => event,
                Err(_) => {
                    if undated == Some(due) {
                        lock(&store).date(true);
                    }
                    continue;
                }
            },
        };
        let Some(event) = event else { return };
        let arrived = Instant::now();
        {
            let mut store = lock(&store);
            store.apply(event);
            for _ in 1..BATCH_MAX {
                let Ok(event) = events.try_recv() else { break };
                store.apply(event);
            }
            store.publish();
        }
        let took = arrived.elapsed().as_secs_f64();
        OWN.publish_duration.observe(took);
    }
}

/// A panic is reported where it happens.
fn lock(store: &Mutex<Store>) -> MutexGuard<'_, Store> {
    store.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How the wait for a cluster ends whose source does this.
    async fn wait_for(
        source: impl Future<Output = Result<(), FeedError>> + Send + 'static,
    ) -> Result<(), FeedError> {
        let index = Arc::<ClusterIndex>::default();
        let source = tokio::spawn(source);
        let mut feeds = [Feed {
            index: Arc::clone(&index),
            source,
        }];
        wait_until_synced(&[(index, Duration::MAX)], &mut feeds).await
    }

    #[tokio::test]
    async fn a_source_that_ends_too_early_ends_the_wait() {
        let thread = || FeedError::Thread(std::io::ErrorKind::OutOfMemory.into());
        let ends: [(_, Result<(), FeedError>); _] = [
            (
                "cannot start a thread",
                wait_for(async move { Err(thread()) }).await,
            ),
            ("ended by itself", wait_for(async { Ok(()) }).await),
            (
                "ended by itself",
                wait_for(async { panic!("on purpose") }).await,
            ),
        ];
        for (words, ended) in ends {
            let error = ended.expect_err(words).to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
