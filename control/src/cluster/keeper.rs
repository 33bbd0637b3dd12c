//! Keeps a cluster's snapshot fresh: when to write it, and what is said of it.

use std::thread::{self, JoinHandle};
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
    /// Waits for the disk; tells whether that went well.
    saving: Option<JoinHandle<bool>>,
}

impl Keeper {
    pub(super) fn new(snapshot: Snapshot) -> Self {
        Self {
            snapshot,
            next: Instant::now(),
            unsaved: false,
            saving: None,
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

    /// Writes the snapshot if it is time to. Tells when to look again, if there may be something to
    /// write then: what could not be written is tried again, whether the store changes or not.
    pub(super) fn due(&mut self, store: &mut Store) -> Option<Instant> {
        // Before the first lists are in, the old snapshot knows more.
        if !store.is_listed() {
            return None;
        }
        self.unsaved |= store.take_unsaved();
        let now = Instant::now();
        if now < self.next {
            return (self.unsaved || self.saving.is_some()).then_some(self.next);
        }
        self.next = now + PAUSE;
        match self.saving.take() {
            // The next one would be written into the same file.
            Some(saving) if !saving.is_finished() => {
                self.saving = Some(saving);
                return Some(self.next);
            }
            Some(saving) => self.unsaved |= !saving.join().unwrap_or(false),
            None => {}
        }
        if !self.unsaved {
            return None;
        }
        self.unsaved = false;
        match self.snapshot.write(store.objects()) {
            // A disk may be slow, and events do not wait for it.
            Ok(written) => self.saving = Some(thread::spawn(move || finish(written.commit()))),
            Err(error) => self.unsaved = !finish(Err(error)),
        }
        Some(self.next)
    }
}

/// Tells what became of a snapshot; true if it is there.
fn finish(result: Result<(), SnapshotError>) -> bool {
    match &result {
        Ok(()) => {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            OWN.snapshot_saved.set(now.as_secs().cast_signed());
        }
        Err(error) => {
            OWN.snapshot_failures.inc();
            tracing::error!("plugin/kubernetes: {error}; it will be tried again");
        }
    }
    result.is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::cluster::object::{Key, Kind, Object};
    use crate::cluster::store::StoreSettings;

    /// A store that has been listed.
    fn store() -> Store {
        let settings = StoreSettings {
            ttl: 5,
            ignore_empty: false,
            namespaces: HashSet::new(),
            external: false,
            clients: false,
            multicluster: false,
            kinds: vec![Kind::Namespace],
        };
        let mut store = Store::new(Arc::default(), settings);
        store.apply(Event::RelistStarted(Kind::Namespace));
        store.apply(Event::Applied(Object::Namespace(Key::new("", "shop"))));
        store.apply(Event::RelistDone(Kind::Namespace));
        store.publish();
        store
    }

    fn keeper(path: &Path) -> Keeper {
        Keeper::new(Snapshot {
            path: path.to_owned(),
            identity: "here".to_owned(),
        })
    }

    /// Lets the pause pass, and waits for the disk.
    fn look(keeper: &mut Keeper, store: &mut Store) -> Option<Instant> {
        while keeper.saving.as_ref().is_some_and(|it| !it.is_finished()) {
            thread::sleep(Duration::from_millis(1));
        }
        keeper.next = Instant::now();
        keeper.due(store)
    }

    fn is_whole(keeper: &Keeper) -> bool {
        matches!(keeper.snapshot.read(|_| ()), Ok(Some(_)))
    }

    /// Nothing changes meanwhile: it is for the keeper to see that nothing was saved.
    #[test]
    fn what_could_not_be_written_is_written_later() {
        let dir = tempfile::tempdir().unwrap();
        let full = |path: &Path| symlink("/dev/full", path.with_extension("new")).unwrap();
        let no_folder = |path: &Path| fs::write(path.parent().unwrap(), "").unwrap();
        let in_the_way = |path: &Path| fs::create_dir_all(path.join("x")).unwrap();
        type Fault<'a> = (&'a str, &'a dyn Fn(&Path), &'a dyn Fn(&Path));
        let nothing = |_: &Path| ();
        let no_file = |path: &Path| fs::remove_file(path.parent().unwrap()).unwrap();
        let no_way = |path: &Path| fs::remove_dir_all(path).unwrap();
        let faults: [Fault<'_>; 3] = [
            ("disk full", &full, &nothing),
            ("no folder", &no_folder, &no_file),
            ("in the way", &in_the_way, &no_way),
        ];
        for (fault, begins, ends) in faults {
            let folder = dir.path().join(fault);
            let path = folder.join("state");
            if fault != "no folder" {
                fs::create_dir(&folder).unwrap();
            }
            begins(&path);
            let (mut keeper, mut store) = (keeper(&path), store());
            let before = OWN.snapshot_failures.get();
            assert!(look(&mut keeper, &mut store).is_some(), "{fault}");
            assert!(look(&mut keeper, &mut store).is_some(), "{fault}");
            assert!(OWN.snapshot_failures.get() > before, "{fault}");
            // The full file was taken away, so the second one may be there already.
            assert!(fault == "disk full" || !is_whole(&keeper), "{fault}");
            ends(&path);
            look(&mut keeper, &mut store);
            look(&mut keeper, &mut store);
            assert!(is_whole(&keeper), "{fault}");
            assert!(!path.with_extension("new").exists(), "{fault}");
            assert!(
                look(&mut keeper, &mut store).is_none(),
                "{fault}: all is saved"
            );
        }
    }
}
