//! Templates in the language of Go's `text/template`: text with actions in `{{ }}`.
//!
//! There are pipelines, `if`, `with`, `range`, variables, comments and trimming of space, and the
//! functions of the language; `define`, `template` and `block` are errors.

mod functions;
mod parse;

use super::{ScriptError, Value};

/// What templates are about.
pub trait Data {
    /// A field of the data, by a name that is known.
    fn field(&self, name: &str) -> Value;

    /// A label that a plugin has told, by `.Meta`; empty if there is none.
    fn label(&self, name: &str) -> Value;
}

/// The fields that the data has, and what is in those that have a fixed form.
pub type Fields = [(&'static str, &'static [&'static str])];

/// A template. Equal if the texts are.
#[derive(Clone, Debug)]
pub struct Template {
    text: String,
    nodes: Vec<Node>,
}

impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Template {}

#[derive(Clone, Debug)]
enum Node {
    Text(String),
    Print(Pipe),
    If(Pipe, Vec<Self>, Vec<Self>),
    With(Pipe, Vec<Self>, Vec<Self>),
    /// Names of the variables for place and value, if any.
    Range(Vec<String>, Pipe, Vec<Self>, Vec<Self>),
}

/// Commands, each of which gets the value of the one before as its last argument.
#[derive(Clone, Debug)]
struct Pipe {
    /// The variable that the value goes to, and whether it is new.
    variable: Option<(String, bool)>,
    commands: Vec<Vec<Operand>>,
}

#[derive(Clone, Debug)]
struct Operand {
    base: Base,
    fields: Vec<String>,
}

#[derive(Clone, Debug)]
enum Base {
    Dot,
    Variable(String),
    Literal(Value),
    Function(String),
    Paren(Box<Pipe>),
}

/// The data itself, or something out of it.
#[derive(Clone)]
enum Item {
    Root,
    Value(Value),
}

struct Run<'a> {
    data: &'a dyn Data,
    dot: Item,
    variables: Vec<(String, Item)>,
    out: String,
}

/// A template that writes more than this goes wrong: no record is so long.
const OUT_MAX: usize = 1 << 20;

impl Template {
    /// Reads a template about data with these fields.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or not known here.
    pub fn new(text: &str, fields: &'static Fields) -> Result<Self, ScriptError> {
        Ok(Self {
            text: text.to_owned(),
            nodes: parse::parse(text, fields)?,
        })
    }

    /// The template as it is written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether this word stands in it.
    pub fn mentions(&self, word: &str) -> bool {
        self.text.contains(word)
    }

    /// The text that it comes to.
    ///
    /// # Errors
    ///
    /// Values of types that do not go together.
    pub fn render(&self, data: &dyn Data) -> Result<String, ScriptError> {
        let mut run = Run {
            data,
            dot: Item::Root,
            variables: vec![("$".to_owned(), Item::Root)],
            out: String::new(),
        };
        run.nodes(&self.nodes)?;
        Ok(run.out)
    }
}

impl Run<'_> {
    fn nodes(&mut self, nodes: &[Node]) -> Result<(), ScriptError> {
        let scope = self.variables.len();
        for node in nodes {
            self.node(node)?;
            if self.out.len() > OUT_MAX {
                return ScriptError::new("the text becomes too long");
            }
        }
        self.variables.truncate(scope);
        Ok(())
    }

    fn node(&mut self, node: &Node) -> Result<(), ScriptError> {
        match node {
            Node::Text(text) => self.out.push_str(text),
            Node::Print(pipe) => {
                let value = self.pipe(pipe)?;
                if pipe.variable.is_none() {
                    let text = value.value()?.to_string();
                    self.out.push_str(&text);
                }
            }
            Node::If(pipe, then, otherwise) => {
                let scope = self.variables.len();
                let chosen = if self.pipe(pipe)?.is_truthy() {
                    then
                } else {
                    otherwise
                };
                self.nodes(chosen)?;
                self.variables.truncate(scope);
            }
            Node::With(pipe, then, otherwise) => {
                let scope = self.variables.len();
                let value = self.pipe(pipe)?;
                if value.is_truthy() {
                    let before = std::mem::replace(&mut self.dot, value);
                    self.nodes(then)?;
                    self.dot = before;
                } else {
                    self.nodes(otherwise)?;
                }
                self.variables.truncate(scope);
            }
            Node::Range(names, pipe, body, otherwise) => {
                let entries = match self.pipe(pipe)?.value()? {
                    Value::List(values) => {
                        let places = (0..).map(Value::Int);
                        places.zip(values).collect::<Vec<_>>()
                    }
                    Value::Map(values) => {
                        let entries = values.into_iter();
                        entries
                            .map(|(name, value)| (Value::Str(name), value))
                            .collect()
                    }
                    Value::Int(count) => (0..count.min(OUT_MAX as i64))
                        .map(|place| (Value::Int(place), Value::Int(place)))
                        .collect(),
                    Value::Nil => Vec::new(),
                    other => return ScriptError::new(format!("range over {}", other.type_name())),
                };
                if entries.is_empty() {
                    return self.nodes(otherwise);
                }
                for (place, value) in entries {
                    let scope = self.variables.len();
                    let before = std::mem::replace(&mut self.dot, Item::Value(value.clone()));
                    let values = match names.len() {
                        0 => vec![],
                        1 => vec![value],
                        _ => vec![place, value],
                    };
                    let named = names.iter().cloned().zip(values);
                    self.variables
                        .extend(named.map(|(name, value)| (name, Item::Value(value))));
                    self.nodes(body)?;
                    self.dot = before;
                    self.variables.truncate(scope);
                }
            }
        }
        Ok(())
    }

    fn pipe(&mut self, pipe: &Pipe) -> Result<Item, ScriptError> {
        let mut last = None;
        for command in &pipe.commands {
            last = Some(self.command(command, last)?);
        }
        let value = last.unwrap_or(Item::Value(Value::Nil));
        if let Some((name, is_new)) = &pipe.variable {
            let known = self
                .variables
                .iter_mut()
                .rev()
                .find(|(known, _)| known == name);
            match known {
                Some((_, place)) if !is_new => *place = value.clone(),
                _ => self.variables.push((name.clone(), value.clone())),
            }
        }
        Ok(value)
    }

    fn command(&mut self, command: &[Operand], last: Option<Item>) -> Result<Item, ScriptError> {
        let Some((first, arguments)) = command.split_first() else {
            return ScriptError::new("a command is missing");
        };
        if let Base::Function(name) = &first.base {
            // These need not look at all of their arguments.
            if let "and" | "or" = &**name {
                let mut values = arguments.iter().map(Ok).chain(last.map(Err)).peekable();
                while let Some(argument) = values.next() {
                    let value = match argument {
                        Ok(operand) => self.operand(operand)?,
                        Err(last) => last,
                    };
                    if values.peek().is_none() || value.is_truthy() == (name == "or") {
                        return Ok(value);
                    }
                }
                return ScriptError::new(format!("`{name}` needs arguments"));
            }
            let mut values = Vec::with_capacity(arguments.len() + 1);
            for argument in arguments {
                values.push(self.operand(argument)?.value()?);
            }
            if let Some(last) = last {
                values.push(last.value()?);
            }
            let value = Item::Value(functions::call(name, &values)?);
            return first
                .fields
                .iter()
                .try_fold(value, |value, field| self.field(value, field));
        }
        // The one method that the data has.
        if first.fields == ["Meta"] && self.is_data(&first.base) {
            let mut values = Vec::with_capacity(1);
            for argument in arguments {
                values.push(self.operand(argument)?.value()?);
            }
            if let Some(last) = last {
                values.push(last.value()?);
            }
            return match values.as_slice() {
                [Value::Str(name)] => Ok(Item::Value(self.data.label(name))),
                _ => ScriptError::new("`.Meta` needs the name of a label"),
            };
        }
        if !arguments.is_empty() || last.is_some() {
            return ScriptError::new("only functions take arguments");
        }
        self.operand(first)
    }

    /// Whether this is the data as a whole.
    fn is_data(&self, base: &Base) -> bool {
        let item = match base {
            Base::Dot => Some(&self.dot),
            Base::Variable(name) => {
                let mut known = self.variables.iter().rev();
                known
                    .find(|(known, _)| known == name)
                    .map(|(_, value)| value)
            }
            _ => None,
        };
        matches!(item, Some(Item::Root))
    }

    fn operand(&mut self, operand: &Operand) -> Result<Item, ScriptError> {
        let base = match &operand.base {
            Base::Dot => self.dot.clone(),
            Base::Literal(value) => Item::Value(value.clone()),
            Base::Variable(name) => {
                let known = self.variables.iter().rev().find(|(known, _)| known == name);
                let found = known.map(|(_, value)| value.clone());
                found.ok_or_else(|| ScriptError(format!("there is no variable `{name}` here")))?
            }
            Base::Function(name) => Item::Value(functions::call(name, &[])?),
            Base::Paren(pipe) => self.pipe(pipe)?,
        };
        operand
            .fields
            .iter()
            .try_fold(base, |value, field| self.field(value, field))
    }

    fn field(&self, of: Item, name: &str) -> Result<Item, ScriptError> {
        Ok(Item::Value(match of {
            Item::Root => self.data.field(name),
            Item::Value(Value::Map(mut values)) => {
                // A map of texts gives the empty text for what it does not have.
                let has_texts = values.values().all(|value| matches!(value, Value::Str(_)));
                let missing = if has_texts {
                    Value::str("")
                } else {
                    Value::Nil
                };
                values.remove(name).unwrap_or(missing)
            }
            Item::Value(other) => {
                return ScriptError::new(format!("{} has no field `{name}`", other.type_name()));
            }
        }))
    }
}

impl Item {
    fn is_truthy(&self) -> bool {
        match self {
            Self::Root => true,
            Self::Value(value) => value.is_truthy(),
        }
    }

    fn value(self) -> Result<Value, ScriptError> {
        match self {
            Self::Root => ScriptError::new("the data as a whole is no value"),
            Self::Value(value) => Ok(value),
        }
    }
}

#[cfg(test)]
mod tests;
