//! YAML files, cut into objects line by line.
//!
//! Documents end at `---` or `...` in the first column, which no scalar may contain. Within a
//! document, `items:` in the first column opens a list whose items begin with a `-` in one and the
//! same column; whatever belongs to an item stands to the right of that column. So lines suffice to
//! tell items apart: a `- ` in a block scalar or in a list inside the item is further right. The
//! price is that an alias cannot refer to an anchor in another item; no tool writes such lists.

use std::io::BufRead;

use serde_json::{Map, Value};

use super::object::{Found, Head, Text, indent, is_blank, scan, yaml_cause};
use super::{ObjectFault, Stop};

/// Finds the objects that a file holds, and what is plain to see of each.
pub(super) fn read(
    mut reader: impl BufRead,
    each: &mut impl FnMut(Found<'_>, Head) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut splitter = Splitter::new(each);
    let mut line = Vec::new();
    loop {
        line.clear();
        let is_last = reader.read_until(b'\n', &mut line)? == 0;
        if is_last {
            return splitter.end_document();
        }
        splitter.number += 1;
        let Ok(text) = std::str::from_utf8(&line) else {
            return Err(splitter.stop(ObjectFault::NotText));
        };
        splitter.line(text.trim_end_matches(['\n', '\r']))?;
    }
}

/// What the lines at hand belong to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Place {
    /// A document that is no list so far.
    Document,
    /// Behind an `items:` without a value on its line.
    Items,
    /// An item of a list whose dashes stand in this column.
    Item { column: usize },
    /// What follows a list's items.
    Tail,
}

struct Splitter<F> {
    each: F,
    /// The current line's number, from 1.
    number: usize,
    place: Place,
    /// The current object's lines.
    text: String,
    /// The number of the first of them.
    first: usize,
    /// What a list's items are if they do not say so.
    fallback: Head,
}

impl<F: FnMut(Found<'_>, Head) -> Result<(), Stop>> Splitter<F> {
    fn new(each: F) -> Self {
        Self {
            each,
            number: 0,
            place: Place::Document,
            text: String::new(),
            first: 0,
            fallback: Head::default(),
        }
    }

    fn line(&mut self, line: &str) -> Result<(), Stop> {
        if let Some(rest) = line.strip_prefix("---")
            && (rest.is_empty() || rest.starts_with([' ', '\t']))
        {
            self.end_document()?;
            if !is_blank(rest) {
                self.push(rest);
            }
            return Ok(());
        }
        if line.strip_prefix("...").is_some_and(is_blank) {
            return self.end_document();
        }
        if is_blank(line) {
            // May belong to a scalar, and keeps the count of lines right.
            if !self.text.is_empty() {
                self.push(line);
            }
            return Ok(());
        }
        if self.text.is_empty() && self.place == Place::Document && line.starts_with('%') {
            return Ok(());
        }
        self.content(line)
    }

    fn content(&mut self, line: &str) -> Result<(), Stop> {
        let column = indent(line);
        let is_item = line[column..] == *"-" || line[column..].starts_with("- ");
        match self.place {
            Place::Document => {
                if line.strip_prefix("items:").is_some_and(is_blank) {
                    self.place = Place::Items;
                }
                self.push(line);
            }
            Place::Items if is_item => {
                self.fallback = scan(&self.text).items();
                self.text.clear();
                self.place = Place::Item { column };
                self.push_item(line, column);
            }
            // Not a list after all.
            Place::Items => {
                self.place = Place::Document;
                self.push(line);
            }
            Place::Item { column: dashes } if column > dashes => self.push(line),
            Place::Item { column: dashes } if column == dashes && is_item => {
                self.end_object()?;
                self.push_item(line, column);
            }
            Place::Item { .. } => {
                self.end_object()?;
                if column > 0 {
                    return Err(self.stop(ObjectFault::Indentation));
                }
                self.place = Place::Tail;
                self.push(line);
            }
            Place::Tail => self.push(line),
        }
        Ok(())
    }

    fn push(&mut self, line: &str) {
        if self.text.is_empty() {
            self.first = self.number;
        }
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Starts an item. Its dash gives way to a space, which leaves a document of its own.
    fn push_item(&mut self, line: &str, column: usize) {
        self.first = self.number;
        self.text
            .extend([&line[..column], " ", &line[column + 1..], "\n"]);
    }

    fn end_object(&mut self) -> Result<(), Stop> {
        if !self.text.lines().all(is_blank) {
            let text = Text::Yaml(&self.text);
            let found = Found {
                text,
                line: self.first,
                fallback: &self.fallback,
            };
            (self.each)(found, scan(&self.text))?;
        }
        self.text.clear();
        Ok(())
    }

    fn end_document(&mut self) -> Result<(), Stop> {
        if self.place == Place::Tail {
            self.check_tail()?;
            self.text.clear();
        }
        self.end_object()?;
        self.place = Place::Document;
        self.fallback = Head::default();
        Ok(())
    }

    /// The rest of a list says nothing, but if it is broken then so may the list be.
    fn check_tail(&self) -> Result<(), Stop> {
        yaml_serde::from_str::<Map<String, Value>>(&self.text)
            .map(drop)
            .map_err(|error| {
                let inside = error.location().map(|it| it.line());
                Stop::Object {
                    line: self.first + inside.unwrap_or(1).saturating_sub(1),
                    what: "what follows a list's items".to_owned(),
                    fault: ObjectFault::Malformed(yaml_cause(&error)),
                }
            })
    }

    fn stop(&self, fault: ObjectFault) -> Stop {
        Stop::Object {
            line: self.number,
            what: "line".to_owned(),
            fault,
        }
    }
}
