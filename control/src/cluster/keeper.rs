//! Keeps a cluster's snapshot fresh: when to write it, and what is said of it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::object::Event;
use super::snapshot::{Snapshot, SnapshotError};
use super::store::Store;
use crate::metrics::own::OWN;

/// How long after the last writing the next one may come.
const PAUSE: Duration = Duration::from_secs(30);

/// Restores a store from a snapshot, and writes the snapshot anew while the store changes.
pub(super) struct Keeper {
    snapshot: Snapshot,
    /// Not before this is the next one written.
    next: Instant,
    unsaved: bool,
}

impl Keeper {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self {
            snapshot,
            next: Instant::now(),
            unsaved: false,
        }
    }

    /// Fills an empty store with what the snapshot holds, if there is one of use.
    pub(super) fn restore(&self, store: &mut Store) {
        match self
            .snapshot
            .read(|object| store.apply(Event::Applied(object)))
        {
            Ok(None) => {}
            Ok(Some(written)) => {
                store.restore();
                store.take_unsaved();
                let age = SystemTime::now()
                    .duration_since(written)
                    .unwrap_or_default();
                tracing::warn!(
                    "plugin/kubernetes: serving the snapshot {}, {} s old, until the API server \
                     has been heard",
                    self.snapshot.path.display(),
                    age.as_secs()
                );
            }
            Err(error) => {
                OWN.snapshot_failures.inc();
                tracing::warn!("plugin/kubernetes: {error}; it is ignored");
            }
        }
    }

    /// Writes the snapshot if it is time to. Tells when it will be, if there is something to write.
    pub(super) fn due(&mut self, store: &mut Store) -> Option<Instant> {
        // Before the first lists are in, the old snapshot knows more.
        if !store.is_listed() {
            return None;
        }
        self.unsaved |= store.take_unsaved();
        if !self.unsaved {
            return None;
        }
        if Instant::now() < self.next {
            return Some(self.next);
        }
        self.unsaved = false;
        self.next = Instant::now() + PAUSE;
        match self.snapshot.write(store.objects()) {
            // A disk may be slow, and events do not wait for it.
            Ok(written) => drop(std::thread::spawn(move || finish(written.commit()))),
            Err(error) => finish(Err(error)),
        }
        None
    }
}

fn finish(result: Result<(), SnapshotError>) {
    match result {
        Ok(()) => {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            OWN.snapshot_saved.set(now.as_secs().cast_signed());
        }
        Err(error) => {
            OWN.snapshot_failures.inc();
            tracing::error!("plugin/kubernetes: {error}");
        }
    }
}
