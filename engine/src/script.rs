//! The two little languages of Corefiles: expressions ([`expr`], as in `view`) and templates
//! ([`template`], as in `template`). Both are read once, at the start, and whatever they do not have
//! is an error there; evaluating them is plain recursion over a tree and always ends.

pub mod expr;
pub mod lexer;
pub mod template;

use std::collections::BTreeMap;
use std::fmt;

/// What expressions and templates work on.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Nothing.
    #[default]
    Nil,
    /// Yes or no.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// Text.
    Str(String),
    /// Several values.
    List(Vec<Self>),
    /// Values by name.
    Map(BTreeMap<String, Self>),
}

/// Why something cannot be read or evaluated, in words.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct ScriptError(pub String);

impl ScriptError {
    pub(crate) fn new<T>(text: impl Into<String>) -> Result<T, Self> {
        Err(Self(text.into()))
    }
}

impl Value {
    /// What Go's templates take for true.
    pub fn is_truthy(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Str(value) => !value.is_empty(),
            Self::List(values) => !values.is_empty(),
            Self::Map(values) => !values.is_empty(),
        }
    }

    /// The number of octets, elements or entries.
    pub fn size(&self) -> Option<usize> {
        match self {
            Self::Str(value) => Some(value.len()),
            Self::List(values) => Some(values.len()),
            Self::Map(values) => Some(values.len()),
            _ => None,
        }
    }

    /// Text.
    pub fn str(text: impl Into<String>) -> Self {
        Self::Str(text.into())
    }

    /// What stands at a place in a list, or under a name in a map.
    pub fn at(&self, index: &Self) -> Option<Self> {
        match (self, index) {
            (Self::List(values), Self::Int(at)) => {
                let at = if *at < 0 {
                    *at + values.len() as i64
                } else {
                    *at
                };
                values.get(usize::try_from(at).ok()?).cloned()
            }
            (Self::Map(values), Self::Str(name)) => {
                Some(values.get(name).cloned().unwrap_or_default())
            }
            (Self::Str(text), Self::Int(at)) => {
                let octet = text.as_bytes().get(usize::try_from(*at).ok()?)?;
                Some(Self::Int(i64::from(*octet)))
            }
            _ => None,
        }
    }

    /// What compares before what; `None` for values that cannot be compared.
    pub fn compare(&self, other: &Self) -> Option<std::cmp::Ordering> {
        match (self, other) {
            (Self::Int(one), Self::Int(other)) => Some(one.cmp(other)),
            (Self::Str(one), Self::Str(other)) => Some(one.cmp(other)),
            (Self::Int(_) | Self::Float(_), Self::Int(_) | Self::Float(_)) => {
                self.as_float().partial_cmp(&other.as_float())
            }
            _ => None,
        }
    }

    /// As a number with a fraction; 0 for what is none.
    pub const fn as_float(&self) -> f64 {
        match self {
            Self::Int(value) => *value as f64,
            Self::Float(value) => *value,
            _ => 0.0,
        }
    }

    /// The name of its type, for messages.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Str(_) => "string",
            Self::List(_) => "list",
            Self::Map(_) => "map",
        }
    }
}

/// As Go prints values.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("<no value>"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Str(value) => f.write_str(value),
            Self::List(values) => {
                f.write_str("[")?;
                for (place, value) in values.iter().enumerate() {
                    let gap = if place == 0 { "" } else { " " };
                    write!(f, "{gap}{value}")?;
                }
                f.write_str("]")
            }
            Self::Map(values) => {
                f.write_str("map[")?;
                for (place, (name, value)) in values.iter().enumerate() {
                    let gap = if place == 0 { "" } else { " " };
                    write!(f, "{gap}{name}:{value}")?;
                }
                f.write_str("]")
            }
        }
    }
}
