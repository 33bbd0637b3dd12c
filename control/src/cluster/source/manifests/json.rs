//! JSON files: objects and lists, one behind the other, read item by item.

use std::cell::Cell;
use std::fmt;
use std::io::{self, BufRead, Read};

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::object::{Found, Head, Text, json_cause};
use super::{ObjectFault, SourceSettings, Stop};
use crate::cluster::object::Event;

/// Files shorter than this, in bytes, are read whole: parsing memory is several times faster than
/// parsing a stream, which goes byte by byte.
pub(super) const WHOLE_MAX: usize = 1 << 20;

/// Sends what a file holds.
pub(super) fn read(
    mut reader: impl BufRead,
    settings: &SourceSettings,
    sink: &mut impl FnMut(Event),
) -> Result<(), Stop> {
    let start = start(&mut reader)?;
    if start.len() < WHOLE_MAX {
        return whole(&start, settings, sink);
    }
    let mut send = |found: Found<'_>, head| found.send(head, settings, sink);
    stream(start.chain(reader), &mut send)
}

/// The first [`WHOLE_MAX`] octets of a file.
pub(super) fn start(reader: &mut impl BufRead) -> Result<Vec<u8>, Stop> {
    let mut start = Vec::new();
    reader.take(WHOLE_MAX as u64).read_to_end(&mut start)?;
    Ok(start)
}

/// Sends what a text holds.
pub(super) fn whole(
    text: &[u8],
    settings: &SourceSettings,
    sink: &mut impl FnMut(Event),
) -> Result<(), Stop> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let mut send = |found: Found<'_>, head| found.send(head, settings, sink);
    let done = documents(&mut deserializer, &Cell::new(1), &mut send);
    if done.is_err() {
        // Only a stream counts lines. What came before the fault is sent already.
        stream(text, &mut |found, head| {
            found.send(head, settings, &mut |_| ())
        })?;
    }
    done
}

/// Finds the objects that a file of any length holds, in the memory of its largest.
pub(super) fn stream(
    reader: impl BufRead,
    each: &mut impl FnMut(Found<'_>, Head) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let line = Cell::new(1);
    let mut deserializer = serde_json::Deserializer::from_reader(Counted {
        reader,
        line: &line,
    });
    documents(&mut deserializer, &line, each)
}

fn documents<'de>(
    deserializer: &mut serde_json::Deserializer<impl serde_json::de::Read<'de>>,
    line: &Cell<usize>,
    each: &mut impl FnMut(Found<'_>, Head) -> Result<(), Stop>,
) -> Result<(), Stop> {
    loop {
        if deserializer.end().is_ok() {
            return Ok(());
        }
        let mut stop = None;
        let mut send = |found: Found<'_>| each(found, Head::default());
        let document = Document {
            line,
            send: &mut send,
            stop: &mut stop,
        };
        if let Err(error) = document.deserialize(&mut *deserializer) {
            return Err(stop.unwrap_or_else(|| stop_of(error)));
        }
    }
}

fn stop_of(error: serde_json::Error) -> Stop {
    if error.is_io() {
        return Stop::Io(error.into());
    }
    let fault = ObjectFault::Malformed(json_cause(&error));
    Stop::Object {
        line: error.line(),
        what: "JSON".to_owned(),
        fault,
    }
}

/// Counts lines as they are read. The deserializer asks byte by byte, so the count is exact.
struct Counted<'l, R> {
    reader: R,
    line: &'l Cell<usize>,
}

impl<R: BufRead> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.reader.read(buffer)?;
        let newlines = buffer[..len].iter().filter(|&&byte| byte == b'\n').count();
        self.line.set(self.line.get() + newlines);
        Ok(len)
    }
}

/// A top-level object: a list, whose items are sent while they are read, or one of its own.
struct Document<'d, F> {
    line: &'d Cell<usize>,
    send: &'d mut F,
    /// What went wrong with an object; serde's errors could not carry it.
    stop: &'d mut Option<Stop>,
}

impl<F: FnMut(Found<'_>) -> Result<(), Stop>> Document<'_, F> {
    /// Sends one object, whose text ends where the reader is.
    fn send<E: Error>(&mut self, text: &str, fallback: &Head) -> Result<(), E> {
        let newlines = text.bytes().filter(|&byte| byte == b'\n').count();
        let line = self.line.get().saturating_sub(newlines);
        (self.send)(Found {
            text: Text::Json(text),
            line,
            fallback,
        })
        .map_err(|stop| {
            *self.stop = Some(stop);
            E::custom("see `stop`")
        })
    }
}

impl<'de, F: FnMut(Found<'_>) -> Result<(), Stop>> DeserializeSeed<'de> for Document<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(Found<'_>) -> Result<(), Stop>> Visitor<'de> for Document<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list of objects")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let mut head = Head::default();
        let mut is_list = false;
        // An object's text is only known to be wanted once all of it was seen, so it is put
        // together again. Lists have little beside their items.
        let mut text = String::from("{");
        while let Some(key) = map.next_key::<String>()? {
            if key == "items" {
                is_list = true;
                map.next_value_seed(Items {
                    document: &mut self,
                    fallback: &head.items(),
                })?;
                continue;
            }
            let value: Box<RawValue> = map.next_value()?;
            match &*key {
                "kind" => head.kind = Deserialize::deserialize(&*value).ok(),
                "apiVersion" => head.api_version = Deserialize::deserialize(&*value).ok(),
                _ => {}
            }
            let separator = if text.len() > 1 { "," } else { "" };
            let key = serde_json::Value::from(key).to_string();
            text.extend([separator, &key, ":", value.get()]);
        }
        if is_list {
            return Ok(());
        }
        text.push('}');
        self.send(&text, &Head::default())
    }
}

struct Items<'i, 'd, F> {
    document: &'i mut Document<'d, F>,
    fallback: &'i Head,
}

impl<'de, F: FnMut(Found<'_>) -> Result<(), Stop>> DeserializeSeed<'de> for Items<'_, '_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, F: FnMut(Found<'_>) -> Result<(), Stop>> Visitor<'de> for Items<'_, '_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of objects")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<Box<RawValue>>()? {
            self.document.send(item.get(), self.fallback)?;
        }
        Ok(())
    }
}
