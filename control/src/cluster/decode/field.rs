//! Readers for single fields that keep only what is wanted of them.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// The label that ties a slice to a ServiceImport.
pub const IMPORT_LABEL: &str = "multicluster.kubernetes.io/service-name";

/// Hands borrowed text to `T::from`, so that only what is kept is allocated.
pub(super) struct TextVisitor<T>(PhantomData<T>);

impl<T> Default for TextVisitor<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: for<'t> From<&'t str>> Visitor<'_> for TextVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok(T::from(text))
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::from(""))
    }
}

/// Text that may be absent or null, which is the same as empty.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Box<str>, D::Error> {
    Ok(Option::<Box<str>>::deserialize(deserializer)?.unwrap_or_default())
}

/// Names the entries that are kept of a map.
pub(super) trait Pick<const N: usize> {
    /// Their keys.
    const KEYS: [&'static str; N];
}

/// The labels that tie a slice to its Service, to a ServiceImport, and to the cluster that it comes
/// from.
#[derive(Clone, Debug)]
pub(super) struct SliceLabels;

impl Pick<3> for SliceLabels {
    const KEYS: [&'static str; 3] = [
        "kubernetes.io/service-name",
        IMPORT_LABEL,
        "multicluster.kubernetes.io/source-cluster",
    ];
}

/// The annotation `endpoints.kubernetes.io/last-change-trigger-time`.
#[derive(Clone, Debug)]
pub(super) struct LastChangeTrigger;

impl Pick<1> for LastChangeTrigger {
    const KEYS: [&'static str; 1] = ["endpoints.kubernetes.io/last-change-trigger-time"];
}

/// Some entries of a map of strings; the others are skipped without storing key or value.
#[derive(Clone, Debug)]
pub(super) struct Picked<P, const N: usize> {
    /// The entries' values, as far as the map has them.
    pub(super) values: [Option<Box<str>>; N],
    which: PhantomData<P>,
}

impl<P, const N: usize> Default for Picked<P, N> {
    fn default() -> Self {
        Self {
            values: [const { None }; N],
            which: PhantomData,
        }
    }
}

impl<'de, P: Pick<N>, const N: usize> Deserialize<'de> for Picked<P, N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(Self::default())
    }
}

impl<'de, P: Pick<N>, const N: usize> Visitor<'de> for Picked<P, N> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of strings")
    }

    fn visit_none<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some(place) = map.next_key_seed(KeyIn(&P::KEYS))? {
            match place {
                Some(place) => self.values[place] = map.next_value()?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(self)
    }
}

/// Looks for a map's key among some, without keeping it.
struct KeyIn(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for KeyIn {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIn {
    type Value = Option<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<Option<usize>, E> {
        Ok(self.0.iter().position(|key| *key == text))
    }
}
