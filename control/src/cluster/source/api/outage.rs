//! Pauses between attempts, and what is logged about them: one line when the server is lost, at
//! most one a minute while it stays away, one when it is back.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff};
use martlet_engine::index::{ClusterIndex, PARTS};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::remedy::Asked;
use crate::cluster::object::Kind;

/// The state of one kind's watch between its errors.
pub(super) struct Outage {
    kind: Kind,
    asked: Asked,
    /// Where it shows how old the data is.
    index: Arc<ClusterIndex>,
    backoff: DefaultBackoff,
    current: Option<Current>,
}

struct Current {
    since: Instant,
    logged: Instant,
    last_attempt: Instant,
}

impl Outage {
    /// No outage yet.
    pub(super) fn new(kind: Kind, asked: Asked, index: Arc<ClusterIndex>) -> Self {
        Self {
            kind,
            asked,
            index,
            backoff: DefaultBackoff::default(),
            current: None,
        }
    }

    /// Logs the error, unless that was done recently, and sleeps until the next attempt.
    pub(super) async fn pause(&mut self, error: &watcher::Error) {
        let pause = self.backoff.next().unwrap_or(PAUSE_MAX);
        let now = Instant::now();
        let is_due = self
            .current
            .as_ref()
            .is_none_or(|it| now - it.logged >= LOG_INTERVAL);
        let current = self.current.get_or_insert(Current {
            since: now,
            logged: now,
            last_attempt: now,
        });
        self.index
            .set_lost(self.kind as usize, Some(current.since.into_std()));
        if is_due {
            current.logged = now;
            warn!(
                kind = %self.kind,
                error = chain(error),
                help = self.asked.remedy(error),
                lasting_s = (now - current.since).as_secs(),
                retry_in_ms = pause.as_millis(),
                "watch failed; what is known stays in force"
            );
        }
        sleep(pause).await;
        current.last_attempt = Instant::now();
    }

    /// Resolves once an attempt has been going on without an error for longer than connecting can
    /// take: a watch that works may have nothing to say for hours.
    pub(super) async fn quiet(&self) {
        match &self.current {
            Some(current) => sleep_until(current.last_attempt + QUIET).await,
            None => std::future::pending().await,
        }
    }

    /// The watch works.
    pub(super) fn ended(&mut self) {
        if let Some(current) = self.current.take() {
            self.index.set_lost(self.kind as usize, None);
            self.backoff.reset();
            let lasted_s = current.since.elapsed().as_secs();
            info!(kind = %self.kind, lasted_s, "watch works again");
        }
    }
}

/// The error with its causes, leaving out those that the text before already holds.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

const _: () = assert!((Kind::ServiceImport as usize) < PARTS);

/// kube's own back-off never ends; this stands in if it ever did.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Between two lines about the same outage.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// kube gives up connecting after 30 s.
const QUIET: Duration = Duration::from_secs(35);
