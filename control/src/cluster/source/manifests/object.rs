//! One object's text to one event.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{ObjectFault, SourceSettings, Stop, block};
use crate::cluster::decode::{
    Wire, WireEndpointSlice, WireNamespace, WirePod, WireService, WireServiceImport,
};
use crate::cluster::object::{Event, Kind};

/// The text of one object (or of one whole document) and how to read it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text<'a> {
    Yaml(&'a str),
    Json(&'a str),
}

/// What an object says it is.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) struct Head {
    #[serde(default)]
    pub(super) api_version: Option<String>,
    #[serde(default)]
    pub(super) kind: Option<String>,
}

impl Head {
    /// The kind, if it is one that martlet reads.
    fn known(&self) -> Option<Kind> {
        match (self.api_version.as_deref()?, self.kind.as_deref()?) {
            ("v1", "Namespace") => Some(Kind::Namespace),
            ("v1", "Service") => Some(Kind::Service),
            ("v1", "Pod") => Some(Kind::Pod),
            ("discovery.k8s.io/v1", "EndpointSlice") => Some(Kind::EndpointSlice),
            ("multicluster.x-k8s.io/v1alpha1", "ServiceImport") => Some(Kind::ServiceImport),
            _ => None,
        }
    }

    /// What the items of a list with this head are, if they do not say it themselves: those of a
    /// `ServiceList` are Services.
    pub(super) fn items(&self) -> Self {
        let kind = self
            .kind
            .as_deref()
            .and_then(|kind| kind.strip_suffix("List"));
        match kind {
            Some(kind) if !kind.is_empty() => Self {
                api_version: self.api_version.clone(),
                kind: Some(kind.to_owned()),
            },
            _ => Self::default(),
        }
    }

    fn or(self, fallback: &Self) -> Self {
        Self {
            api_version: self.api_version.or_else(|| fallback.api_version.clone()),
            kind: self.kind.or_else(|| fallback.kind.clone()),
        }
    }

    fn is_whole(&self) -> bool {
        self.api_version.is_some() && self.kind.is_some()
    }
}

/// Where an object was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    /// The object.
    pub(super) text: Text<'a>,
    /// Its first line in the file.
    pub(super) line: usize,
    /// What it is if it does not say so itself.
    pub(super) fallback: &'a Head,
}

/// An object for another thread to parse.
pub(super) struct Cut {
    pub(super) text: String,
    is_json: bool,
    line: usize,
    fallback: Head,
    head: Head,
}

impl Cut {
    /// `head` is what was already seen of the object.
    pub(super) fn new(found: Found<'_>, head: Head) -> Self {
        let (text, is_json) = match found.text {
            Text::Yaml(text) => (text, false),
            Text::Json(text) => (text, true),
        };
        Self {
            text: text.to_owned(),
            is_json,
            line: found.line,
            fallback: found.fallback.clone(),
            head,
        }
    }

    /// As [`Found::send`].
    pub(super) fn send(
        &self,
        settings: &SourceSettings,
        sink: &mut impl FnMut(Event),
    ) -> Result<(), Stop> {
        let text = if self.is_json {
            Text::Json(&self.text)
        } else {
            Text::Yaml(&self.text)
        };
        let found = Found {
            text,
            line: self.line,
            fallback: &self.fallback,
        };
        found.send(self.head.clone(), settings, sink)
    }
}

impl Found<'_> {
    /// Sends what the object means, or, if it is a list, what its items mean. `head` is what the
    /// caller already saw of it.
    pub(super) fn send(
        self,
        head: Head,
        settings: &SourceSettings,
        sink: &mut impl FnMut(Event),
    ) -> Result<(), Stop> {
        let head = if head.is_whole() {
            head
        } else {
            self.parse::<Head>(&head)?
        };
        let head = head.or(self.fallback);
        if !head.is_whole() {
            return Err(self.stop(&head, None, ObjectFault::NoKind));
        }
        let event = match head.known() {
            Some(kind) if !settings.kinds().any(|wanted| wanted == kind) => return Ok(()),
            Some(Kind::Namespace) => self.event::<WireNamespace>(&head, settings)?,
            Some(Kind::Service) => self.event::<WireService>(&head, settings)?,
            Some(Kind::EndpointSlice) => self.event::<WireEndpointSlice>(&head, settings)?,
            Some(Kind::Pod) => self.event::<WirePod>(&head, settings)?,
            Some(Kind::ServiceImport) => self.event::<WireServiceImport>(&head, settings)?,
            None => return self.send_items(&head, settings, sink),
        };
        sink(event);
        Ok(())
    }

    /// A list that came in one piece, such as an empty one or one in flow style. Dumps of any size
    /// never get here, so it may be held in memory.
    fn send_items(
        self,
        head: &Head,
        settings: &SourceSettings,
        sink: &mut impl FnMut(Event),
    ) -> Result<(), Stop> {
        let fallback = head.items();
        if head.kind.as_deref() != Some("List") && fallback.known().is_none() {
            return Ok(());
        }
        let list: List = self.parse(head)?;
        for item in list.items.unwrap_or_default() {
            let text = item.to_string();
            let found = Found {
                text: Text::Json(&text),
                line: self.line,
                fallback: &fallback,
            };
            found.send(Head::default(), settings, sink)?;
        }
        Ok(())
    }

    fn event<W: Wire>(self, head: &Head, settings: &SourceSettings) -> Result<Event, Stop> {
        let mut wire: W = self.parse(head)?;
        let metadata = wire.metadata_mut();
        if metadata.name.is_empty() {
            return Err(self.stop(head, None, ObjectFault::NoName));
        }
        // Where a manifest is silent, its objects would be created in this namespace.
        if metadata.namespace.is_empty() {
            metadata.namespace = "default".into();
        }
        let key = wire.key();
        if let Some(selector) = settings.selector(W::KIND) {
            let labels = self
                .parse::<Labeled>(head)?
                .metadata
                .labels
                .unwrap_or_default();
            if !selector.matches(&labels) {
                return Ok(Event::Deleted(W::KIND, key));
            }
        }
        // Sent as a deletion, not left out: an earlier state of the same object may have been sent.
        Ok(wire
            .trim(settings.keep())
            .map_or(Event::Deleted(W::KIND, key), Event::Applied))
    }

    fn parse<T: DeserializeOwned>(self, head: &Head) -> Result<T, Stop> {
        match self.text {
            Text::Yaml(text) => match block::from_str(text) {
                Some(value) => Ok(value),
                None => yaml_serde::from_str(text).map_err(|error| {
                    let line = error.location().map(|it| it.line());
                    self.stop(head, line, ObjectFault::Malformed(yaml_cause(&error)))
                }),
            },
            Text::Json(text) => serde_json::from_str(text).map_err(|error| {
                self.stop(
                    head,
                    Some(error.line()),
                    ObjectFault::Malformed(json_cause(&error)),
                )
            }),
        }
    }

    /// `inside` is the fault's line within the text, counting from 1.
    fn stop(self, head: &Head, inside: Option<usize>, fault: ObjectFault) -> Stop {
        let mut what = head.kind.clone().unwrap_or_else(|| "object".to_owned());
        let (namespace, name) = self.text.names();
        match (namespace, name) {
            (Some(namespace), Some(name)) => what.push_str(&format!(" {namespace}/{name}")),
            (None, Some(name)) => what.push_str(&format!(" {name}")),
            (_, None) => {}
        }
        let line = self.line + inside.unwrap_or(1).saturating_sub(1);
        if line != self.line {
            what.push_str(&format!(" (from line {})", self.line));
        }
        Stop::Object { line, what, fault }
    }
}

impl Text<'_> {
    /// The namespace and the name, for messages. A text that does not parse may still show them.
    fn names(self) -> (Option<String>, Option<String>) {
        match self {
            Self::Json(text) => {
                let named: Named = serde_json::from_str(text).unwrap_or_default();
                (named.metadata.namespace, named.metadata.name)
            }
            Self::Yaml(text) => {
                let mut lines = text.lines().skip_while(|line| line.trim() != "metadata:");
                let indent = lines.next().map_or(0, indent);
                let lines: Vec<&str> = lines
                    .take_while(|line| self::indent(line) > indent)
                    .collect();
                let find = |key: &str| {
                    let value = |line: &&str| line.trim_start().strip_prefix(key).and_then(scalar);
                    lines.iter().find_map(value)
                };
                (find("namespace:"), find("name:"))
            }
        }
    }
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Option<Vec<serde_json::Value>>,
}

#[derive(Deserialize)]
struct Labeled {
    #[serde(default)]
    metadata: Labels,
}

#[derive(Default, Deserialize)]
struct Labels {
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
struct Named {
    #[serde(default)]
    metadata: Names,
}

#[derive(Default, Deserialize)]
struct Names {
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

/// The error's text without its position, which is relative to the object.
pub(super) fn yaml_cause(error: &yaml_serde::Error) -> String {
    let text = error.to_string();
    text.split_once(" at line ")
        .map_or(&*text, |(cause, _)| cause)
        .to_owned()
}

/// As [`yaml_cause`].
pub(super) fn json_cause(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split_once(" at line ")
        .map_or(&*text, |(cause, _)| cause)
        .to_owned()
}

/// Reads `apiVersion` and `kind` off a block-style mapping by its lines, which spares parsing what
/// nobody wants. Says nothing where it cannot be sure; a parser then has to look.
pub(super) fn scan(text: &str) -> Head {
    let mut head = Head::default();
    let mut content = text.lines().filter(|line| !is_blank(line)).peekable();
    let Some(first) = content.peek() else {
        return head;
    };
    let column = indent(first);
    for line in content {
        if indent(line) != column {
            continue;
        }
        if let Some(value) = line[column..].strip_prefix("kind:") {
            head.kind = scalar(value);
        } else if let Some(value) = line[column..].strip_prefix("apiVersion:") {
            head.api_version = scalar(value);
        }
    }
    head
}

/// A plain or simply quoted value behind a colon.
fn scalar(value: &str) -> Option<String> {
    let value = value.strip_prefix([' ', '\t'])?;
    let value = value
        .split_once(" #")
        .map_or(value, |(value, _)| value)
        .trim();
    let quoted = |quote| {
        value
            .strip_prefix(quote)
            .and_then(|value| value.strip_suffix(quote))
    };
    let value = quoted('"').or_else(|| quoted('\'')).unwrap_or(value);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/' | b'-');
    (!value.is_empty() && value.bytes().all(is_plain)).then(|| value.to_owned())
}

/// Whether a line holds nothing, or only a comment.
pub(super) fn is_blank(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}

/// Spaces before a line's text.
pub(super) fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}
