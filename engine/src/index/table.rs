//! Keys of the index, and the small entries that are not Services.
//!
//! Every key carries or recomputes the hash that the parser already made of its labels, and the
//! maps' hasher passes it through: nothing is hashed twice.

use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use papaya::Equivalent;
use smallvec::SmallVec;

use crate::limits::LABEL_LEN_MAX;
use crate::sys::prefetch::LINE;
use crate::wire::name::{combine, is_same, label_hash, span_hash};

/// A label as a query or an object names it: lower-case octets and their hash.
#[derive(Clone, Copy, Debug)]
pub struct LabelRef<'a> {
    /// The label without its length octet.
    pub octets: &'a [u8],
    /// Its [`label_hash`].
    pub hash: u32,
}

/// A label and its hash in one piece: a look-up that finds its entry compares the label without
/// going to another place in memory.
#[derive(Clone, Copy, Debug)]
struct Label {
    octets: [u8; LABEL_LEN_MAX],
    len: u8,
    hash: u32,
}

impl Label {
    /// `name` in lower case. Longer names than a label can hold are cut; no query reaches them.
    fn new(name: &str) -> Self {
        let mut octets = [0; LABEL_LEN_MAX];
        let len = name.len().min(LABEL_LEN_MAX);
        octets[..len].copy_from_slice(&name.as_bytes()[..len]);
        octets.make_ascii_lowercase();
        Self {
            hash: label_hash(&octets[..len]),
            octets,
            len: len as u8,
        }
    }

    fn octets(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }
}

/// A namespace, shared by everything in it.
#[derive(Debug)]
#[repr(C)]
pub struct Namespace {
    /// First, so that it is on the first line of the processor's caches.
    exposed: AtomicBool,
    label: Label,
}

impl Namespace {
    /// A namespace that is not exposed yet. `name` is folded to lower case.
    pub fn new(name: &str) -> Self {
        Self {
            label: Label::new(name),
            exposed: AtomicBool::new(false),
        }
    }

    /// The namespace's label.
    pub fn label(&self) -> LabelRef<'_> {
        LabelRef {
            octets: self.label.octets(),
            hash: self.label.hash,
        }
    }

    /// Whether the namespace exists and the Corefile exposes it.
    pub fn is_exposed(&self) -> bool {
        self.exposed.load(Ordering::Relaxed)
    }

    /// Exposes the namespace or hides it, at once for all that is in it.
    pub fn set_exposed(&self, exposed: bool) {
        self.exposed.store(exposed, Ordering::Relaxed);
    }
}

/// A Service's name and namespace.
#[derive(Debug)]
pub struct ServiceName {
    namespace: Arc<Namespace>,
    hash: u64,
    /// As in [`ServiceRef`].
    octets: Box<[u8]>,
    label_len: u8,
}

impl ServiceName {
    /// The name of a Service. `name` is folded to lower case.
    pub fn new(namespace: Arc<Namespace>, name: &str) -> Self {
        let label = Label::new(name);
        let of = namespace.label.octets();
        let octets: Box<[u8]> = [label.octets(), &[of.len() as u8], of].concat().into();
        Self {
            hash: span_hash(&octets),
            octets,
            label_len: label.len,
            namespace,
        }
    }

    /// The namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// The Service's own label.
    pub fn label(&self) -> &[u8] {
        &self.octets[..usize::from(self.label_len)]
    }

    /// What finds its entry.
    pub fn key(&self) -> ServiceRef<'_> {
        ServiceRef {
            octets: &self.octets,
            hash: self.hash,
        }
    }
}

/// All whose address an IP address is.
#[derive(Clone, Debug)]
pub struct Owners {
    /// Services with this cluster IP.
    services: Box<[Arc<ServiceName>]>,
    /// Endpoints with this address, one for each place in a slice.
    endpoints: Box<[EndpointName]>,
}

/// A list of one, nearly always.
pub type Few<T> = SmallVec<[T; 1]>;

/// Whose address an IP address is: what PTR and NS questions ask.
#[derive(Clone, Debug)]
pub enum AddressNode {
    /// One Service's cluster IP.
    Service(Arc<ServiceName>),
    /// One ready endpoint.
    Endpoint(EndpointName),
    /// Several of them: Services first, as they go before endpoints in PTR answers.
    Many(Arc<Owners>),
}

impl AddressNode {
    /// The Services that have this cluster IP, and the endpoints that have this address.
    pub fn parts(&self) -> (&[Arc<ServiceName>], &[EndpointName]) {
        match self {
            Self::Service(service) => (std::slice::from_ref(service), &[]),
            Self::Endpoint(endpoint) => (&[], std::slice::from_ref(endpoint)),
            Self::Many(parts) => (&parts.services, &parts.endpoints),
        }
    }

    /// The smallest form that holds these; `None` if there is nothing to hold.
    pub fn from_parts(
        mut services: Few<Arc<ServiceName>>,
        mut endpoints: Few<EndpointName>,
    ) -> Option<Self> {
        match (services.len(), endpoints.len()) {
            (0, 0) => None,
            (1, 0) => services.pop().map(Self::Service),
            (0, 1) => endpoints.pop().map(Self::Endpoint),
            _ => Some(Self::Many(Arc::new(Owners {
                services: services.into_vec().into(),
                endpoints: endpoints.into_vec().into(),
            }))),
        }
    }
}

/// An endpoint's owner name, apart from `svc.ZONE`.
#[derive(Clone, Debug)]
pub struct EndpointName {
    /// The Service it belongs to.
    pub service: Arc<ServiceName>,
    /// Behind two pointers, so that the many without one are small.
    name: Option<Arc<Box<[u8]>>>,
}

impl EndpointName {
    /// `name` is its own name in presentation format; `None` for one made from the address.
    pub fn new(service: Arc<ServiceName>, name: Option<Box<[u8]>>) -> Self {
        Self {
            service,
            name: name.map(Arc::new),
        }
    }

    /// Its own name, if that is not made from the address.
    pub fn name(&self) -> Option<&[u8]> {
        self.name.as_deref().map(|name| &**name)
    }
}

// A large cluster has a hundred thousand.
const _: () = assert!(size_of::<AddressNode>() <= 24);

impl PartialEq for EndpointName {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.service, &other.service) && self.name == other.name
    }
}

/// Octets that a [`ServiceKey`] holds itself; with the rest of it they fill a line of the processor's
/// caches.
const INLINE_LEN: usize = 47;

/// All that a look-up compares, so that it need not go where the name is: on a large cluster that is a
/// place in memory that no cache holds. Aligned as the caches' lines are.
#[repr(C, align(64))]
pub(super) struct ServiceKey {
    len: u8,
    /// The first ones.
    octets: [u8; INLINE_LEN],
    namespace: Arc<Namespace>,
    pub(super) name: Arc<ServiceName>,
}

const _: () = assert!(size_of::<ServiceKey>() == LINE);

impl ServiceKey {
    pub(super) fn new(name: Arc<ServiceName>) -> Self {
        let mut octets = [0; INLINE_LEN];
        let len = name.octets.len().min(INLINE_LEN);
        octets[..len].copy_from_slice(&name.octets[..len]);
        Self {
            octets,
            len: name.octets.len() as u8,
            namespace: Arc::clone(&name.namespace),
            name,
        }
    }

    #[inline]
    pub(super) fn is_exposed(&self) -> bool {
        self.namespace.is_exposed()
    }

    /// Whether this is the key of these octets.
    #[inline]
    pub(super) fn is(&self, octets: &[u8]) -> bool {
        match self.octets.get(..usize::from(self.len)) {
            Some(own) => is_same(octets, own),
            None => *octets == *self.name.octets,
        }
    }
}

/// A Service as a query or an object names it.
#[derive(Clone, Copy, Debug)]
pub struct ServiceRef<'a> {
    /// Its label, the length octet of its namespace's, that label; lower case.
    pub octets: &'a [u8],
    /// Their [`span_hash`].
    pub hash: u64,
}

impl Hash for ServiceRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Hash for ServiceKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.name.hash);
    }
}

impl PartialEq for ServiceKey {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.name.octets)
    }
}

impl Eq for ServiceKey {}

impl Equivalent<ServiceKey> for ServiceRef<'_> {
    fn equivalent(&self, key: &ServiceKey) -> bool {
        key.is(self.octets)
    }
}

pub(super) struct LabelKey(pub(super) Arc<Namespace>);

impl Hash for LabelRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(combine(self.hash, 0));
    }
}

impl Hash for LabelKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.label().hash(state);
    }
}

impl PartialEq for LabelKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.label.octets() == other.0.label.octets()
    }
}

impl Eq for LabelKey {}

impl Equivalent<LabelKey> for LabelRef<'_> {
    fn equivalent(&self, key: &LabelKey) -> bool {
        *self.octets == *key.0.label.octets()
    }
}

/// Hands the keys' own hashes to the maps.
#[derive(Clone, Copy, Default)]
pub(crate) struct Passthrough;

impl BuildHasher for Passthrough {
    type Hasher = PassedThrough;

    fn build_hasher(&self) -> PassedThrough {
        PassedThrough(0)
    }
}

pub(crate) struct PassedThrough(u64);

impl Hasher for PassedThrough {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("the keys of the index write one finished hash");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}
