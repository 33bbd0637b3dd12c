//! A text's lines to its nodes.
//!
//! Indentation means what libyaml makes of it: a line belongs to the innermost collection that begins
//! in its column, and those further right have ended. A line in a column where nothing begins is a
//! mistake or goes on with a scalar, and others have to tell which.

use super::{Node, indent, unescape};

/// The nodes of a text; `None` if it is not all in the plain style.
pub(super) fn nodes(text: &str) -> Option<Vec<Node<'_>>> {
    if !text.ends_with('\n') || !is_plain_text(text) {
        return None;
    }
    let mut scanner = Scanner {
        rest: text,
        nodes: Vec::with_capacity(text.len() / NODE_LEN_MIN),
        open: Vec::with_capacity(DEPTH_MAX),
        is_awaited: true,
    };
    while let Some((line, rest)) = scanner.rest.split_once('\n') {
        scanner.rest = rest;
        scanner.line(line)?;
    }
    scanner.end()
}

/// A collection that may go on.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// Where its keys or dashes begin.
    column: usize,
    shape: Shape,
    /// Its place among the nodes.
    place: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Shape {
    Mapping,
    Sequence,
    /// A sequence whose dashes stand in the column of the key that it is the value of.
    Unindented,
}

struct Scanner<'t> {
    /// What follows the current line.
    rest: &'t str,
    nodes: Vec<Node<'t>>,
    /// From the outermost to the innermost.
    open: Vec<Open>,
    /// Whether a key or a dash (or the text itself) has nothing behind it so far.
    is_awaited: bool,
}

impl<'t> Scanner<'t> {
    fn line(&mut self, line: &'t str) -> Option<()> {
        let mut column = indent(line);
        let mut text = line[column..].trim_end_matches(' ');
        if text.is_empty() || text.starts_with('#') {
            return Some(());
        }
        let mut is_item = false;
        while is_dash(text) {
            is_item = true;
            self.enter(column, true)?;
            let behind = text[1..].trim_start_matches(' ');
            if behind.is_empty() || behind.starts_with('#') {
                return Some(());
            }
            column += text.len() - behind.len();
            text = behind;
        }
        match split_key(text)? {
            (Some(key), value) => {
                self.enter(column, false)?;
                self.nodes.push(key);
                let value = value.trim_start_matches(' ');
                if value.is_empty() || value.starts_with('#') {
                    return Some(());
                }
                self.value(value)
            }
            (None, value) if is_item => self.value(value),
            (None, _) => None,
        }
    }

    /// Comes to a key or a dash, and awaits what is behind it.
    fn enter(&mut self, column: usize, is_dash: bool) -> Option<()> {
        let outer = self.open.last();
        if self.is_awaited {
            let shape = match outer {
                Some(outer) if column < outer.column => None,
                Some(outer) if column == outer.column => {
                    (is_dash && outer.shape == Shape::Mapping).then_some(Shape::Unindented)
                }
                _ if is_dash => Some(Shape::Sequence),
                _ => Some(Shape::Mapping),
            };
            if let Some(shape) = shape {
                return self.open(column, shape);
            }
            self.nodes.push(NOTHING);
        }
        self.is_awaited = true;
        while let Some(inner) = self.open.last()
            && (column < inner.column
                || column == inner.column && !is_dash && inner.shape == Shape::Unindented)
        {
            self.close();
        }
        let inner = self.open.last()?;
        let fits = inner.column == column && is_dash == (inner.shape != Shape::Mapping);
        fits.then_some(())
    }

    fn open(&mut self, column: usize, shape: Shape) -> Option<()> {
        if self.open.len() == DEPTH_MAX {
            return None;
        }
        let place = self.nodes.len();
        self.open.push(Open {
            column,
            shape,
            place,
        });
        self.nodes.push(match shape {
            Shape::Mapping => Node::Mapping { end: 0 },
            Shape::Sequence | Shape::Unindented => Node::Sequence { end: 0 },
        });
        Some(())
    }

    fn close(&mut self) {
        let last = self.nodes.len();
        if let Some(inner) = self.open.pop()
            && let Some(Node::Mapping { end } | Node::Sequence { end }) =
                self.nodes.get_mut(inner.place)
        {
            *end = last;
        }
    }

    fn end(mut self) -> Option<Vec<Node<'t>>> {
        if self.nodes.is_empty() {
            return None;
        }
        if self.is_awaited {
            self.nodes.push(NOTHING);
        }
        while !self.open.is_empty() {
            self.close();
        }
        Some(self.nodes)
    }

    /// What is behind a key or a dash on the same line, and is neither.
    fn value(&mut self, text: &'t str) -> Option<()> {
        let end = self.nodes.len() + 1;
        let (node, behind) = match text.as_bytes().first()? {
            b'"' | b'\'' => split_quoted(text)?,
            b'[' => (Node::Sequence { end }, text.strip_prefix("[]")?),
            b'{' => (Node::Mapping { end }, text.strip_prefix("{}")?),
            b'|' => {
                let behind = &text[1..];
                let clipped = behind.strip_prefix('-');
                let node = self.literal(clipped.is_some())?;
                (node, clipped.unwrap_or(behind))
            }
            _ => (Node::Plain(plain(text)?), ""),
        };
        let comment = behind.trim_start_matches(' ');
        if !behind.is_empty() && (comment.len() == behind.len() || !comment.starts_with('#')) {
            return None;
        }
        self.nodes.push(node);
        self.is_awaited = false;
        Some(())
    }

    /// Takes the lines of a `|` off the rest. They begin where the first of them does.
    fn literal(&mut self, strip: bool) -> Option<Node<'t>> {
        let text = self.rest;
        let column = indent(text);
        let starts_blank = text[column..].is_empty() || text[column..].starts_with('\n');
        if starts_blank || column <= self.open.last()?.column {
            return None;
        }
        let (mut seen, mut len) = (0, 0);
        for line in text.split_inclusive('\n') {
            let spaces = indent(line);
            if spaces >= column && line.len() > column + 1 {
                len = seen + line.len();
            } else if line[spaces..] != *"\n" {
                break;
            }
            seen += line.len();
        }
        self.rest = &text[seen..];
        Some(Node::Literal {
            lines: &text[..len],
            strip,
        })
    }
}

/// Splits a key off a line, with its colon. Without one the line is as it was.
fn split_key(text: &str) -> Option<(Option<Node<'_>>, &str)> {
    let bytes = text.as_bytes();
    let first = *bytes.first()?;
    let (key, rest) = if matches!(first, b'"' | b'\'') {
        split_quoted(text)?
    } else {
        let is_end = |&at: &usize| match bytes[at] {
            b' ' => true,
            b':' => matches!(bytes.get(at + 1), None | Some(b' ')),
            _ => false,
        };
        let end = (0..bytes.len()).find(is_end).unwrap_or(bytes.len());
        (Node::Plain(&text[..end]), &text[end..])
    };
    match rest.strip_prefix(':') {
        Some(value) if value.is_empty() || value.starts_with(' ') => {
            let is_key = text.len() - rest.len() <= KEY_LEN_MAX
                && (matches!(first, b'"' | b'\'' | b'.' | b'/' | b'_')
                    || first.is_ascii_alphanumeric());
            is_key.then_some((Some(key), value))
        }
        _ => Some((None, text)),
    }
}

/// Splits a quoted scalar off a line.
fn split_quoted(text: &str) -> Option<(Node<'_>, &str)> {
    let bytes = text.as_bytes();
    let quote = *bytes.first()?;
    let is_double = quote == b'"';
    let (mut at, mut is_escaped) = (1, false);
    loop {
        match *bytes.get(at)? {
            b'\\' if is_double => {
                unescape(*bytes.get(at + 1)?)?;
                is_escaped = true;
                at += 2;
            }
            byte if byte == quote && !is_double && bytes.get(at + 1) == Some(&quote) => {
                is_escaped = true;
                at += 2;
            }
            byte if byte == quote => break,
            _ => at += 1,
        }
    }
    let inside = &text[1..at];
    let node = match (is_escaped, is_double) {
        (false, _) => Node::Quoted(inside),
        (true, false) => Node::Single(inside),
        (true, true) => Node::Double(inside),
    };
    Some((node, &text[at + 1..]))
}

/// A plain scalar that is all of a line's rest, without the comment behind it.
fn plain(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let starts = match *bytes.first()? {
        // Elsewhere they would be an item, a value, a key.
        b'-' | b':' | b'?' => bytes.get(1).is_some_and(|&byte| byte != b' '),
        byte => {
            byte.is_ascii_alphanumeric() || !byte.is_ascii() || b"._/+($<=~^;\\".contains(&byte)
        }
    };
    if !starts {
        return None;
    }
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b':' if matches!(bytes.get(at + 1), None | Some(b' ')) => return None,
            b'#' if bytes[at - 1] == b' ' => return Some(text[..at].trim_end_matches(' ')),
            _ => {}
        }
    }
    Some(text)
}

/// Whether a text is an item's.
fn is_dash(text: &str) -> bool {
    text.strip_prefix('-')
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

/// Whether all characters mean the same everywhere: no tabs, no control characters, no line ends but
/// the usual one, no byte order mark.
fn is_plain_text(text: &str) -> bool {
    let is_usual = |byte: u8| matches!(byte, b' '..=b'~' | b'\n');
    let all = |usual, byte| usual & is_usual(byte);
    text.bytes().fold(true, all) || text.chars().all(is_plain_char)
}

fn is_plain_char(char: char) -> bool {
    let is_usual = matches!(char, '\n' | ' '..='~' | '\u{a0}'..='\u{fffd}' | '\u{10000}'..);
    is_usual && !matches!(char, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// What is behind a key or a dash that has nothing behind it.
const NOTHING: Node<'_> = Node::Plain("");

/// Collections inside each other. `yaml_serde` reads more; objects have a dozen.
const DEPTH_MAX: usize = 32;

/// The longest key that is read, in octets. libyaml knows keys of up to 1024 characters.
const KEY_LEN_MAX: usize = 512;

/// Octets of a text for which a node's room is taken: manifests have some more.
const NODE_LEN_MIN: usize = 12;
