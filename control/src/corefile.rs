//! Corefile: text to typed directives.
//!
//! ```text
//! file ── lexer ──▶ words ── parse ──▶ raw blocks ── directives ──▶ ServerBlock
//!           ▲                  │
//!           └──── import ◀─────┘
//! ```
//!
//! [`load`] reads a file with its imports and the environment; [`parse()`] reads a text and touches
//! nothing else. Both return either a [`Corefile`] in which every value is checked and typed, or all
//! [`Problems`] at once. What only the start can know (whether a port is free, whether an interface
//! exists) is not checked here.
//!
//! The language is CoreDNS's, with its quirks; Corefiles since 2017 are read, with a [`Warning`]
//! where a word has lost its meaning.

use std::fmt;
use std::fs;
use std::path::Path;

use sha2::{Digest, Sha512};

pub use self::address::{Address, Scheme};
use self::args::Context;
pub use self::directives::Directives;
pub use self::directives::acl::Acl;
pub use self::directives::autopath::Autopath;
pub use self::directives::bare::{Any, Debug, Minimal, Whoami};
pub use self::directives::bind::{Bind, Target};
pub use self::directives::bufsize::Bufsize;
pub use self::directives::cache::{Cache, Prefetch, Refresh, ServeStale, Store};
pub use self::directives::chaos::Chaos;
pub use self::directives::errors::{Consolidate, Errors, Level};
pub use self::directives::file::File;
pub use self::directives::forward::{
    Destination, Forward, HealthCheck, Policy, Transport, Upstream,
};
pub use self::directives::header::Header;
pub use self::directives::health::Health;
pub use self::directives::hosts::Hosts;
pub use self::directives::k8s_external::K8sExternal;
pub use self::directives::kubernetes::{
    ClientTls, Fallthrough, Kubernetes, KubernetesSource, PodMode,
};
pub use self::directives::loadbalance::{LoadBalance, Shuffle};
pub use self::directives::local::Local;
pub use self::directives::log::{Class, Log};
pub use self::directives::loop_::Loop;
pub use self::directives::metadata::Metadata;
pub use self::directives::multisocket::Multisocket;
pub use self::directives::no_aaaa::NoAaaa;
pub use self::directives::nsid::Nsid;
pub use self::directives::prometheus::Prometheus;
pub use self::directives::ready::{Monitor, Ready};
pub use self::directives::reload::Reload;
pub use self::directives::rewrite::Rewrite;
pub use self::directives::root::Root;
pub use self::directives::template::Template;
pub use self::directives::tls::{ClientAuth, ServerTls, Tls};
pub use self::directives::transfer::Transfer;
pub use self::directives::view::View;
use self::error::Findings;
pub use self::error::{Position, Problem, Problems, Reason, Warning, ZoneFault};
use self::lexer::{Source, Span};
use self::parse::RawBlock;
pub use self::value::ListenAddress;
pub(crate) use self::value::go_duration;
pub use self::zone::ZoneName;

mod address;
mod args;
pub mod directives;
mod env;
mod error;
mod lexer;
mod parse;
#[cfg(test)]
mod tests;
mod value;
mod zone;

/// A Corefile that is free of errors.
#[derive(Clone, Debug, PartialEq)]
pub struct Corefile {
    /// Its server blocks, in file order. Several may serve one zone on different ports.
    pub blocks: Vec<ServerBlock>,
    /// What to tell the operator.
    pub warnings: Vec<Warning>,
    /// Changes exactly when the configuration does.
    pub hash: ConfigHash,
}

/// One server block.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerBlock {
    /// What it serves; never empty.
    pub addresses: Vec<Address>,
    /// What it does with queries.
    pub directives: Directives,
    /// Where it starts.
    pub position: Position,
    /// The names of its directives, and where each stands.
    places: Vec<(Box<str>, Position)>,
}

impl ServerBlock {
    /// Where directive number `nth` of this name stands; where the block does if there are fewer.
    pub fn position_of(&self, name: &str, nth: usize) -> Position {
        let mut of_name = self.places.iter().filter(|(known, _)| **known == *name);
        let found = of_name.nth(nth).map(|(_, position)| position);
        found.unwrap_or(&self.position).clone()
    }

    /// The zones that it serves, each once, in file order.
    pub fn zones(&self) -> Vec<ZoneName> {
        let mut zones = Vec::with_capacity(self.addresses.len());
        for Address { zone, .. } in &self.addresses {
            if !zones.contains(zone) {
                zones.push(zone.clone());
            }
        }
        zones
    }
}

/// SHA-512 over the words of a Corefile and its imports, after variables were replaced. Comments
/// and white space do not change it. Displays in hex.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct ConfigHash([u8; 64]);

impl fmt::Display for ConfigHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// How a Corefile is read.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The port of `dns://` addresses that name none (`-dns.port`); only used to find addresses
    /// that are served twice.
    pub dns_port: u16,
    /// What an environment variable holds.
    pub variable: fn(&str) -> Option<String>,
    /// Whether files may be read and looked for, other than the Corefile itself.
    pub files: bool,
}

impl Options {
    /// Reads the environment of the process and imports files.
    pub fn process() -> Self {
        let variable = |name: &str| {
            // Such names make `var_os` panic on some systems.
            let valid = !name.is_empty() && !name.contains(['=', '\0']);
            let value = valid.then(|| std::env::var_os(name)).flatten()?;
            Some(value.to_string_lossy().into_owned())
        };
        Self {
            dns_port: DNS_PORT,
            variable,
            files: true,
        }
    }

    /// Depends on nothing but the text: no variable is set and no file is read.
    pub fn text_only() -> Self {
        Self {
            dns_port: DNS_PORT,
            variable: |_| None,
            files: false,
        }
    }
}

/// Reads a Corefile with the files that it imports and the environment of the process.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn load(path: &Path) -> Result<Corefile, Problems> {
    load_with(path, &Options::process())
}

/// Reads a Corefile from a file.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn load_with(path: &Path, options: &Options) -> Result<Corefile, Problems> {
    let name = path.to_string_lossy();
    match fs::read(path) {
        Ok(bytes) => parse_with(&name, &String::from_utf8_lossy(&bytes), options),
        Err(error) => {
            let cause = error.to_string().into();
            let source = Source::new(&name, String::new());
            let span = Span::default();
            Err(Problem::new(&source, span, Reason::Unreadable { cause }).into())
        }
    }
}

/// Reads a Corefile from a text, without any other file and without an environment.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn parse(name: &str, text: &str) -> Result<Corefile, Problems> {
    parse_with(name, text, &Options::text_only())
}

/// Reads a Corefile from a text; `name` is its path in messages and for relative imports.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn parse_with(name: &str, text: &str, options: &Options) -> Result<Corefile, Problems> {
    let source = Source::new(name, text.to_owned());
    let findings = Findings::default();
    let raw = parse::parse(&source, options, &findings);
    let hash = hash(&raw);
    let directory = Path::new(name).parent().filter(|_| options.files);
    let mut blocks = Vec::with_capacity(raw.len());
    for block in raw {
        blocks.push(server_block(block, directory, &findings));
    }
    address::check_listeners(&blocks, options.dns_port, &findings);
    let mut warnings = findings.finish()?;
    if blocks.is_empty() {
        let position = source.position(Span::default());
        let text = "the Corefile has no server block, so nothing is served".into();
        warnings.push(Warning { position, text });
    }
    let blocks = blocks.into_iter().map(|(block, _)| block).collect();
    Ok(Corefile {
        blocks,
        warnings,
        hash,
    })
}

/// What is served when there is no Corefile, as in CoreDNS.
pub fn default_corefile() -> Corefile {
    parse("Corefile", DEFAULT).expect("the built-in Corefile is free of errors")
}

/// The text of [`default_corefile`].
const DEFAULT: &str = ". {\n    whoami\n    log\n}\n";

/// The port of DNS (RFC 1035 §4.2).
const DNS_PORT: u16 = 53;

/// Types a block. Its first address comes along, for messages about the block.
fn server_block(
    block: RawBlock,
    directory: Option<&Path>,
    findings: &Findings,
) -> (ServerBlock, lexer::Token) {
    let mut addresses = Vec::new();
    for key in &block.keys {
        match address::parse(key) {
            Ok(parsed) => addresses.extend(parsed),
            Err(problem) => findings.problem(problem),
        }
    }
    let first = block
        .keys
        .first()
        .expect("the parser refuses blocks without an address")
        .clone();
    let position = first.position();
    let places = block.directives.iter();
    let mut typed = ServerBlock {
        addresses,
        directives: Directives::default(),
        position,
        places: places
            .map(|directive| ((&*directive.name.text).into(), directive.name.position()))
            .collect(),
    };
    let zones = typed.zones();
    let context = Context {
        zones: &zones,
        root: None,
        directory,
        findings,
    };
    typed.directives = Directives::read(&block.directives, context);
    (typed, first)
}

fn hash(blocks: &[RawBlock]) -> ConfigHash {
    let mut digest = Sha512::new();
    for block in blocks {
        parse::visit_words(block, |mark, word| {
            // With its length, no word can pass for another word and a mark.
            digest.update([mark]);
            digest.update((word.len() as u64).to_be_bytes());
            digest.update(word);
        });
    }
    ConfigHash(digest.finalize().into())
}

/// The one of `known` that `word` most likely was meant to be.
pub(crate) fn nearest<'a>(
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<Box<str>> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|known| (strsim::normalized_damerau_levenshtein(&word, known), known))
        .filter(|(similarity, _)| *similarity >= SIMILAR)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known.into())
}

/// From which similarity on (0 to 1) a word is offered in place of another: one slip in three
/// letters.
const SIMILAR: f64 = 0.6;
