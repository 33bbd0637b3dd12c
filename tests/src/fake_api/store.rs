//! Objects, their history, and who watches them.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::selector;

/// Kind, namespace, name.
type Key = (String, String, String);

/// An object, and its text in a list: written once, as a real server's cache does, so that what is
/// measured of a client is the client.
pub(super) struct Stored {
    value: Value,
    /// Without its kind, which the items of a list do not repeat.
    pub(super) item: Box<str>,
}

impl Stored {
    fn new(value: Value) -> Arc<Self> {
        let mut item = value.clone();
        if let Some(item) = item.as_object_mut() {
            item.remove("kind");
            item.remove("apiVersion");
        }
        let item = item.to_string().into();
        Arc::new(Self { value, item })
    }
}

/// All objects, and what has happened to them.
#[derive(Default)]
pub(super) struct Store {
    version: u64,
    objects: BTreeMap<Key, Arc<Stored>>,
    history: Vec<Change>,
    /// Changes up to this version are forgotten.
    compacted: u64,
    watchers: Vec<Watcher>,
}

/// An object before and after.
#[derive(Clone)]
struct Change {
    version: u64,
    kind: String,
    before: Option<Arc<Stored>>,
    after: Option<Arc<Stored>>,
}

/// What a list or a watch selects.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    /// The objects' kind.
    pub(super) kind: String,
    /// Their namespace; all when empty.
    pub(super) namespace: String,
    /// Label selector.
    pub(super) labels: String,
    /// Field selector.
    pub(super) fields: String,
}

struct Watcher {
    scope: Scope,
    bookmarks: bool,
    events: UnboundedSender<String>,
}

impl Store {
    /// Creates or replaces an object.
    pub(super) fn upsert(&mut self, object: Value) {
        let change = self.put(object);
        self.record(change);
    }

    /// Creates or replaces an object as if its event had been forgotten before anybody read it.
    pub(super) fn upsert_silently(&mut self, object: Value) {
        self.put(object);
        self.compact();
    }

    fn put(&mut self, mut object: Value) -> Change {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let metadata = &object["metadata"];
        let key = (
            text(&object["kind"]),
            text(&metadata["namespace"]),
            text(&metadata["name"]),
        );
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        if object["metadata"]["uid"].is_null() {
            object["metadata"]["uid"] = json!(format!("{}-{}-{}", key.0, key.1, key.2));
        }
        let kind = key.0.clone();
        let after = Stored::new(object);
        let before = self.objects.insert(key, Arc::clone(&after));
        Change {
            version: self.version,
            kind,
            before,
            after: Some(after),
        }
    }

    /// Deletes an object; false when there is none.
    pub(super) fn delete(&mut self, kind: &str, namespace: &str, name: &str) -> bool {
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        let Some(before) = self.objects.remove(&key) else {
            return false;
        };
        self.version += 1;
        let change = Change {
            version: self.version,
            kind: key.0,
            before: Some(before),
            after: None,
        };
        self.record(change);
        true
    }

    /// An object as it is now.
    pub(super) fn object(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        self.objects.get(&key).map(|object| object.value.clone())
    }

    /// The version of the last change.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The objects of a scope.
    pub(super) fn list(&self, scope: &Scope) -> Vec<Arc<Stored>> {
        self.objects
            .values()
            .filter(|object| scope.fits(&object.value))
            .cloned()
            .collect()
    }

    /// Starts a watch: what has happened since `version`, then what happens. None when that is
    /// forgotten.
    pub(super) fn watch(
        &mut self,
        scope: Scope,
        since: u64,
        bookmarks: bool,
    ) -> Option<UnboundedReceiver<String>> {
        if since < self.compacted {
            return None;
        }
        let (events, receiver) = unbounded_channel();
        for change in self.history.iter().filter(|change| change.version > since) {
            if let Some(event) = change.event(&scope) {
                // The receiver is at hand.
                let _ = events.send(event);
            }
        }
        self.watchers.push(Watcher {
            scope,
            bookmarks,
            events,
        });
        Some(receiver)
    }

    /// How many watches are running.
    pub(super) fn watchers(&mut self) -> usize {
        self.watchers.retain(|watcher| !watcher.events.is_closed());
        self.watchers.len()
    }

    /// Tells watchers how far they have come.
    pub(super) fn bookmark(&mut self) {
        for watcher in self.watchers.iter().filter(|watcher| watcher.bookmarks) {
            // Watchers that are gone are forgotten at the next change.
            let _ = watcher.events.send(watcher.scope.bookmark(self.version));
        }
    }

    /// Forgets the history.
    pub(super) fn compact(&mut self) {
        // One more version, so that even a client that knows the last change is behind.
        self.version += 1;
        self.compacted = self.version;
        self.history.clear();
    }

    /// Tells every watcher that what it watches is expired, and ends its watch.
    pub(super) fn expire_watchers(&mut self) {
        for watcher in self.watchers.drain(..) {
            let _ = watcher.events.send(expired_event());
        }
    }

    fn record(&mut self, change: Change) {
        self.watchers
            .retain(|watcher| match change.event(&watcher.scope) {
                Some(event) => watcher.events.send(event).is_ok(),
                None => !watcher.events.is_closed(),
            });
        self.history.push(change);
    }
}

impl Change {
    /// What a watcher of this scope hears of the change.
    fn event(&self, scope: &Scope) -> Option<String> {
        if self.kind != scope.kind {
            return None;
        }
        let fitting =
            |object: &Option<Arc<Stored>>| object.clone().filter(|it| scope.fits(&it.value));
        let (event, object) = match (fitting(&self.before), fitting(&self.after)) {
            (None, None) => return None,
            (None, Some(after)) => ("ADDED", after),
            (Some(_), Some(after)) => ("MODIFIED", after),
            (Some(before), None) => ("DELETED", before),
        };
        let mut object = object.value.clone();
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        Some(line(&json!({"type": event, "object": object})))
    }
}

impl Scope {
    fn fits(&self, object: &Value) -> bool {
        object["kind"] == self.kind.as_str()
            && (self.namespace.is_empty()
                || object["metadata"]["namespace"] == self.namespace.as_str())
            && selector::fits(object, &self.labels, &self.fields)
    }

    /// The kind's API version.
    pub(super) fn api_version(&self) -> &'static str {
        match self.kind.as_str() {
            "EndpointSlice" => "discovery.k8s.io/v1",
            "ServiceImport" => "multicluster.x-k8s.io/v1alpha1",
            _ => "v1",
        }
    }

    /// A BOOKMARK event.
    pub(super) fn bookmark(&self, version: u64) -> String {
        let metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
        let object =
            json!({"kind": self.kind, "apiVersion": self.api_version(), "metadata": metadata});
        line(&json!({"type": "BOOKMARK", "object": object}))
    }
}

/// The ERROR event of a watch whose history is gone.
pub(super) fn expired_event() -> String {
    line(&json!({"type": "ERROR", "object": status(410, "Expired", "too old resource version")}))
}

/// A `Status` object.
pub(super) fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": code,
    })
}

fn line(event: &Value) -> String {
    format!("{event}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(labels: &str) -> Scope {
        Scope {
            kind: "Namespace".into(),
            namespace: String::new(),
            labels: labels.into(),
            fields: String::new(),
        }
    }

    fn namespace(name: &str, tier: &str) -> Value {
        json!({"kind": "Namespace", "metadata": {"name": name, "labels": {"tier": tier}}})
    }

    fn received(events: &mut UnboundedReceiver<String>) -> Vec<(String, String, String)> {
        let mut received = Vec::new();
        while let Ok(event) = events.try_recv() {
            let event: Value = serde_json::from_str(&event).unwrap();
            let metadata = &event["object"]["metadata"];
            let texts = [
                &event["type"],
                &metadata["name"],
                &metadata["resourceVersion"],
            ];
            let [kind, name, version] = texts.map(|text| text.as_str().unwrap_or("").to_owned());
            received.push((kind, name, version));
        }
        received
    }

    #[test]
    fn watchers_hear_what_fits_them() {
        let mut store = Store::default();
        store.upsert(namespace("a", "front"));
        store.upsert(namespace("b", "front"));
        let mut front = store.watch(scope("tier=front"), 1, true).unwrap();
        store.upsert(namespace("a", "back"));
        store.upsert(namespace("a", "front"));
        store.upsert(namespace("c", "back"));
        store.upsert(namespace("b", "front"));
        store.bookmark();
        assert!(store.delete("Namespace", "", "b") && !store.delete("Namespace", "", "b"));
        let expected = [
            ("ADDED", "b", "2"),
            ("DELETED", "a", "3"),
            ("ADDED", "a", "4"),
            ("MODIFIED", "b", "6"),
            ("BOOKMARK", "", "6"),
            ("DELETED", "b", "7"),
        ];
        let expected = expected.map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(received(&mut front), expected);
        assert_eq!(store.list(&scope("tier=front")).len(), 1);

        store.compact();
        assert!(
            store.watch(scope(""), 7, false).is_none(),
            "the history is gone"
        );
        assert!(store.watch(scope(""), store.version(), false).is_some());
        assert_eq!(store.watchers(), 1);
    }
}
