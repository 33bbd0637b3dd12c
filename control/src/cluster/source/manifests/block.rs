//! The YAML that tools print, read several times faster than any YAML is.
//!
//! `kubectl`, `helm` and `kustomize` use little of YAML: mappings and sequences in block style, one
//! pair or item a line, scalars of one line, and `|` for text of several. That much is read here by
//! lines ([`scan`]) and decoded by serde ([`value`]). **Where this is not certain of anything, it says
//! nothing**, and `yaml_serde`, which reads all of YAML, reads the text; that is also who tells what
//! is wrong with one. So whatever is decoded here must be what `yaml_serde` would have made of it, and
//! the tests compare the two.
//!
//! `yaml_serde` spends two thirds of a start from manifests in its scanner, octet by octet. To make
//! JSON of the text for `serde_json` would not do: it takes a sequence for a struct's fields.

mod scan;
mod value;

use serde::de::DeserializeOwned;

use self::scan::nodes;
use self::value::Values;

/// Decodes a text that holds one mapping or sequence and nothing else; `None` if it is not in the
/// plain style, or not certain to be a `T`. `T` must give up when something in it cannot be decoded:
/// that may be due to what is not certain here.
pub(super) fn from_str<T: DeserializeOwned>(text: &str) -> Option<T> {
    let nodes = nodes(text)?;
    T::deserialize(&mut Values::new(&nodes)).ok()
}

/// A node of a text. Nodes are kept in the order of the text: a collection comes before what is in it,
/// a key before its value.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Node<'t> {
    /// What it is depends on what is wanted of it, and on what it looks like. Empty: nothing was said.
    Plain(&'t str),
    /// A quoted scalar that stands for itself.
    Quoted(&'t str),
    /// What is between single quotes, with two for one.
    Single(&'t str),
    /// What is between double quotes, with backslashes that [`unescape`] knows what is behind.
    Double(&'t str),
    /// The lines of a `|`, each with its end; all that are not blank are indented as the first is, or
    /// more.
    Literal {
        lines: &'t str,
        /// Whether the last line's end is not part of the text.
        strip: bool,
    },
    /// Whose items are the nodes that follow, up to this place among all.
    Sequence { end: usize },
    /// Whose keys and values are the nodes that follow, up to this place among all.
    Mapping { end: usize },
}

/// Spaces before a text.
fn indent(text: &str) -> usize {
    text.bytes().take_while(|&byte| byte == b' ').count()
}

/// What an escape stands for, as far as it is known.
fn unescape(escape: u8) -> Option<char> {
    Some(match escape {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'n' => '\n',
        b't' => '\t',
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
