//! Readers for single fields that keep only what is wanted of them.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

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

/// Names the one entry that is kept of a map.
pub(super) trait Pick {
    /// The entry's key.
    const KEY: &'static str;
}

/// The label `kubernetes.io/service-name`.
#[derive(Clone, Debug)]
pub(super) struct ServiceName;

impl Pick for ServiceName {
    const KEY: &'static str = "kubernetes.io/service-name";
}

/// The annotation `endpoints.kubernetes.io/last-change-trigger-time`.
#[derive(Clone, Debug)]
pub(super) struct LastChangeTrigger;

impl Pick for LastChangeTrigger {
    const KEY: &'static str = "endpoints.kubernetes.io/last-change-trigger-time";
}

/// One entry of a map of strings; the others are skipped without storing key or value.
#[derive(Clone, Debug)]
pub(super) struct Picked<P> {
    /// The entry's value, if the map has it.
    pub(super) value: Option<Box<str>>,
    which: PhantomData<P>,
}

impl<P> Default for Picked<P> {
    fn default() -> Self {
        Self {
            value: None,
            which: PhantomData,
        }
    }
}

impl<'de, P: Pick> Deserialize<'de> for Picked<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_option(Self::default())
    }
}

impl<'de, P: Pick> Visitor<'de> for Picked<P> {
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
        while let Some(wanted) = map.next_key_seed(KeyIs(P::KEY))? {
            if wanted {
                self.value = map.next_value()?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(self)
    }
}

/// Compares a map's key in place.
struct KeyIs(&'static str);

impl<'de> DeserializeSeed<'de> for KeyIs {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeyIs {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<bool, E> {
        Ok(text == self.0)
    }
}
