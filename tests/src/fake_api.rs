//! An API server for tests: lists and watches of what DNS needs, over TLS, with a bearer token.
//!
//! It keeps objects as JSON, counts their resource versions up, pages its lists, and sends watch
//! events as the real one does: an object that stops fitting a label selector is deleted for that
//! watcher. It allows what CoreDNS's cluster role allows and nothing else. A test scripts changes
//! and faults, and reads what was asked.
//!
//! ```text
//! listen (TLS, faults of the network) → http (who may what, faults of the server)
//!   → store (objects, history) → watch (one stream per watcher)
//! ```

mod http;
mod listen;
mod selector;
mod store;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Runtime;

use self::http::Faults;
use self::listen::Listener;
use self::store::Store;
use crate::identity::Identity;

/// How a client learns that the history it asks for is gone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Gone {
    /// The watch is refused with status 410.
    Status,
    /// The watch is accepted and its first event is an ERROR with code 410.
    Event,
}

/// A request as it came in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Recorded {
    /// The method.
    pub method: String,
    /// The path.
    pub path: String,
    /// The query string's parameters, decoded.
    pub query: Vec<(String, String)>,
    /// The status that it got.
    pub status: u16,
}

impl Recorded {
    /// A parameter's value.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    /// True for watches.
    pub fn is_watch(&self) -> bool {
        matches!(self.parameter("watch"), Some("1" | "true"))
    }
}

/// The server. It ends when dropped.
pub struct FakeApi {
    shared: Arc<Shared>,
    listener: Listener,
    identity: Identity,
    address: SocketAddr,
    runtime: Runtime,
}

/// What all connections see.
struct Shared {
    store: Mutex<Store>,
    faults: Mutex<Faults>,
    recorded: Mutex<Vec<Recorded>>,
}

impl FakeApi {
    /// Starts a server with these objects on a free port of 127.0.0.1.
    pub fn start(objects: Vec<Value>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("threads can be started");
        let mut store = Store::default();
        for object in objects {
            store.upsert(object);
        }
        let shared = Arc::new(Shared {
            store: Mutex::new(store),
            faults: Mutex::default(),
            recorded: Mutex::default(),
        });
        let identity = Identity::new(&["127.0.0.1", "localhost"]);
        let listener = Listener::new(Arc::clone(&shared), identity.server_config());
        let address = runtime.block_on(listener.open(SocketAddr::from(([127, 0, 0, 1], 0))));
        Self {
            shared,
            listener,
            identity,
            address,
            runtime,
        }
    }

    /// Writes a kubeconfig (and the authority's certificate beside it) and returns its path.
    pub fn write_kubeconfig(&self, dir: &Path) -> PathBuf {
        self.write_kubeconfig_with_token(dir, http::TOKEN)
    }

    /// As [`FakeApi::write_kubeconfig`], with another token, which the server will refuse.
    pub fn write_kubeconfig_with_token(&self, dir: &Path, token: &str) -> PathBuf {
        let authority = dir.join("ca.crt");
        fs::write(&authority, self.identity.authority_pem()).expect("the directory is writable");
        let path = dir.join("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: fake\n\
             clusters:\n- name: fake\n  cluster:\n    server: https://{}\n    \
             certificate-authority: {}\n\
             contexts:\n- name: fake\n  context: {{cluster: fake, user: dns}}\n\
             users:\n- name: dns\n  user: {{token: {token}}}\n",
            self.address,
            authority.display(),
        );
        fs::write(&path, text).expect("the directory is writable");
        path
    }

    /// Writes what a pod finds of its service account into the folder, and returns the variables
    /// that tell it where the server is.
    pub fn write_service_account(&self, dir: &Path) -> [(&'static str, String); 2] {
        for (name, text) in [
            ("ca.crt", self.identity.authority_pem()),
            ("namespace", "kube-system"),
            ("token", http::TOKEN),
        ] {
            fs::write(dir.join(name), text).expect("the directory is writable");
        }
        [
            ("KUBERNETES_SERVICE_HOST", self.address.ip().to_string()),
            ("KUBERNETES_SERVICE_PORT", self.address.port().to_string()),
        ]
    }

    /// Creates or replaces an object; watchers hear of it.
    pub fn upsert(&self, object: Value) {
        self.store().upsert(object);
    }

    /// Deletes an object; watchers hear of it. `namespace` is empty for a Namespace.
    pub fn delete(&self, kind: &str, namespace: &str, name: &str) {
        assert!(
            self.store().delete(kind, namespace, name),
            "no {kind} {namespace}/{name}"
        );
    }

    /// Changes the object and nothing else: no watcher hears of it, as if the change had happened
    /// while none was connected and its history had been lost.
    pub fn upsert_silently(&self, object: Value) {
        self.store().upsert_silently(object);
    }

    /// An object as it is now.
    pub fn object(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        self.store().object(kind, namespace, name)
    }

    /// Sends a bookmark to every watcher that allows them.
    pub fn bookmark(&self) {
        self.store().bookmark();
    }

    /// Closes all connections, watches included, with a reset.
    pub fn drop_connections(&self) {
        self.listener.drop_connections();
    }

    /// Forgets the history, and makes every watch that asks for it learn so. Running watches get
    /// an ERROR event ([`Gone::Event`]) or are cut off, so that they come back.
    pub fn expire(&self, gone: Gone) {
        self.faults().gone = Some(gone);
        let mut store = self.store();
        store.compact();
        if gone == Gone::Event {
            store.expire_watchers();
        } else {
            drop(store);
            self.drop_connections();
        }
    }

    /// Waits this long before each page of a list.
    pub fn slow_lists(&self, per_page: Duration) {
        self.faults().page_delay = per_page;
    }

    /// No page of a list is larger than this, whatever limit is asked for.
    pub fn page_size(&self, most: usize) {
        self.faults().page_size = Some(most);
    }

    /// Answers the next requests for a further page with 410: what their list began with is gone.
    pub fn lose_pages(&self, requests: usize) {
        self.faults().lost_pages = requests;
    }

    /// Answers the next requests with this status.
    pub fn fail_next(&self, requests: usize, status: u16) {
        self.faults().fail_next = (requests, status);
    }

    /// Refuses from now on what these rules of a ClusterRole do not grant.
    pub fn allow_only(&self, rules: Vec<Value>) {
        self.faults().rules = Some(rules);
    }

    /// Stops listening and drops all connections.
    pub fn go_down(&self) {
        self.listener.close();
    }

    /// Listens again, on the same port.
    pub fn come_up(&self) {
        self.runtime.block_on(self.listener.open(self.address));
    }

    /// Accepts connections and closes them at once, or serves them again.
    pub fn refuse(&self, refuse: bool) {
        self.listener.refuse(refuse);
        if refuse {
            self.listener.drop_connections();
        }
    }

    /// How many watches are running.
    pub fn watchers(&self) -> usize {
        self.store().watchers()
    }

    /// All requests so far.
    pub fn recorded(&self) -> Vec<Recorded> {
        lock(&self.shared.recorded).clone()
    }

    /// Forgets the requests so far.
    pub fn forget_recorded(&self) {
        lock(&self.shared.recorded).clear();
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        lock(&self.shared.store)
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        lock(&self.shared.faults)
    }
}

/// A panic elsewhere is reported there; the state is whole all the same.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
