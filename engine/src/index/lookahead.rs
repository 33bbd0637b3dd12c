//! Look-ups in steps: first those of several queries are begun, then each is finished, so that their
//! entries are on their way from memory at the same time. In a large cluster no cache of the
//! processor holds the entries, and waiting for one takes longer than the rest of an answer.

use std::cell::Cell;
use std::hash::{Hash, Hasher};

use papaya::{Equivalent, LocalGuard};

use super::table::{Passthrough, ServiceKey, ServiceRef};
use super::{ClusterIndex, ServiceNode};
use crate::sys::prefetch::prefetch;

/// The Services as one thread reads them. What is withdrawn meanwhile stays readable until this is
/// dropped.
pub(crate) struct Services<'i>(
    papaya::HashMapRef<'i, ServiceKey, ServiceNode, Passthrough, LocalGuard<'i>>,
);

/// A look-up that was begun.
#[derive(Clone, Copy)]
pub(crate) enum Sought<'s> {
    /// There is no such Service.
    Nothing,
    /// It may be this one.
    Likely(Service<'s>),
    /// Another one was in the way.
    Unsure,
}

/// The entry of a Service.
#[derive(Clone, Copy)]
pub(crate) struct Service<'s> {
    key: &'s ServiceKey,
    pub(crate) node: &'s ServiceNode,
}

impl ClusterIndex {
    /// The Services, for look-ups in steps.
    #[inline]
    pub(crate) fn services(&self) -> Services<'_> {
        Services(self.services.pin())
    }
}

impl<'i> Services<'i> {
    /// Begins the look-up of what has this hash: has the entry fetched that it most likely is, and if
    /// `deep`, all of it.
    #[inline]
    pub(crate) fn seek(&self, hash: u64, deep: bool) -> Sought<'_> {
        let likely = Likely {
            hash,
            deep,
            met: Cell::new(false),
        };
        match self.0.get_key_value(&likely) {
            Some((key, node)) => Sought::Likely(Service { key, node }),
            // One that it met and that is being moved ends the search, whoever it is.
            None if likely.met.get() => Sought::Unsure,
            None => Sought::Nothing,
        }
    }

    /// Finishes a look-up.
    #[inline]
    pub(crate) fn find<'s>(
        &'s self,
        sought: Sought<'s>,
        service: ServiceRef<'_>,
    ) -> Option<Service<'s>> {
        match sought {
            Sought::Nothing => None,
            Sought::Likely(it) if service.equivalent(it.key) => Some(it),
            Sought::Likely(_) | Sought::Unsure => {
                let (key, node) = self.0.get_key_value(&service)?;
                Some(Service { key, node })
            }
        }
    }
}

impl Service<'_> {
    /// Has fetched what is read behind the entry: whether the namespace is exposed, and, if `deep`,
    /// ports and endpoints.
    #[inline]
    pub(crate) fn prefetch(&self, deep: bool) {
        prefetch::<_, 1>(self.key.namespace());
        if deep {
            self.node.prefetch_parts();
        }
    }

    /// Whether its namespace is.
    #[inline]
    pub(crate) fn is_exposed(&self) -> bool {
        self.key.is_exposed()
    }
}

/// Equals the first key whose hash looks alike in the table, which is the right one nearly always.
/// That key is not read, only fetched.
struct Likely {
    hash: u64,
    deep: bool,
    /// There was such a key.
    met: Cell<bool>,
}

impl Hash for Likely {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Equivalent<ServiceKey> for Likely {
    #[inline]
    fn equivalent(&self, key: &ServiceKey) -> bool {
        // The key, and what answers read of the node behind it.
        match self.deep {
            true => prefetch::<_, 3>(key),
            false => prefetch::<_, 2>(key),
        }
        self.met.set(true);
        true
    }
}
