//! Expressions: the part of [expr-lang](https://expr-lang.org) that Corefiles need. Literals, lists,
//! calls of the functions that the surroundings have, members and indexes, `? :`, and the operators
//! below. Closures, `let` and pipes are errors.

use std::iter::Peekable;
use std::vec::IntoIter;

use super::lexer::{Token, tokens};
use super::{ScriptError, Value};
use crate::pattern::Pattern;

/// What an expression can ask.
pub trait Surroundings {
    /// Calls a function.
    ///
    /// # Errors
    ///
    /// What is wrong with the arguments.
    fn call(&self, name: &str, arguments: &[Value]) -> Result<Value, ScriptError>;

    /// A variable.
    fn variable(&self, name: &str) -> Value;
}

/// The names that an expression may use.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Functions, and how many arguments each takes.
    pub functions: &'a [(&'a str, usize)],
    /// Variables.
    pub variables: &'a [String],
}

/// Functions of the language itself.
const BUILTINS: [(&str, usize); 9] = [
    ("len", 1),
    ("lower", 1),
    ("upper", 1),
    ("trim", 1),
    ("int", 1),
    ("string", 1),
    ("split", 2),
    ("hasPrefix", 2),
    ("hasSuffix", 2),
];

/// An expression. Equal if the texts are.
#[derive(Clone, Debug)]
pub struct Expression {
    text: String,
    root: Node,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Expression {}

#[derive(Clone, Debug)]
enum Node {
    Literal(Value),
    Variable(String),
    List(Vec<Self>),
    Call(String, Vec<Self>),
    Index(Box<Self>, Box<Self>),
    Not(Box<Self>),
    Negative(Box<Self>),
    Binary(Operator, Box<Self>, Box<Self>),
    /// `matches` with an expression that is known in advance.
    Matches(Box<Self>, Pattern),
    If(Box<[Self; 3]>),
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Operator {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    Greater,
    AtMost,
    AtLeast,
    In,
    NotIn,
    Matches,
    Contains,
    StartsWith,
    EndsWith,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operator {
    /// How strongly it binds.
    const fn strength(self) -> u8 {
        match self {
            Self::Or => 10,
            Self::And => 15,
            Self::Add | Self::Subtract => 30,
            Self::Multiply | Self::Divide | Self::Remainder => 60,
            _ => 20,
        }
    }
}

const NOT_STRENGTH: u8 = 50;
const MINUS_STRENGTH: u8 = 90;
/// Brackets inside brackets.
const DEPTH_MAX: u8 = 64;

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    ///
    /// What is wrong with it, or not known here.
    pub fn new(text: &str, known: Known<'_>) -> Result<Self, ScriptError> {
        let tokens = tokens(text)?;
        let words = tokens.into_iter().filter(|token| *token != Token::Space);
        let mut parser = Parser {
            words: words.collect::<Vec<_>>().into_iter().peekable(),
            known,
            depth: 0,
        };
        let root = parser.conditional()?;
        match parser.words.next() {
            None => Ok(Self {
                text: text.to_owned(),
                root,
            }),
            Some(token) => ScriptError::new(format!("unexpected {}", describe(&token))),
        }
    }

    /// Whether this word stands in it.
    pub fn mentions(&self, word: &str) -> bool {
        self.text.contains(word)
    }

    /// What it comes to.
    ///
    /// # Errors
    ///
    /// Values of types that do not go together.
    pub fn evaluate(&self, surroundings: &dyn Surroundings) -> Result<Value, ScriptError> {
        self.root.evaluate(surroundings)
    }
}

fn describe(token: &Token) -> String {
    match token {
        Token::Literal(value) => format!("`{value}`"),
        Token::Name(name) | Token::Variable(name) => format!("`{name}`"),
        Token::Field(name) => format!("`.{name}`"),
        Token::Sign(sign) => format!("`{sign}`"),
        Token::Space => "space".to_owned(),
    }
}

struct Parser<'a> {
    words: Peekable<IntoIter<Token>>,
    known: Known<'a>,
    depth: u8,
}

impl Parser<'_> {
    fn takes(&mut self, sign: &str) -> bool {
        self.words
            .next_if(|token| matches!(token, Token::Sign(found) if *found == sign))
            .is_some()
    }

    fn takes_name(&mut self, name: &str) -> bool {
        self.words
            .next_if(|token| matches!(token, Token::Name(found) if found == name))
            .is_some()
    }

    fn expect(&mut self, sign: &str) -> Result<(), ScriptError> {
        if self.takes(sign) {
            return Ok(());
        }
        let found = self.words.peek();
        let found = found.map_or_else(|| "the end".to_owned(), describe);
        ScriptError::new(format!("expected `{sign}`, found {found}"))
    }

    fn conditional(&mut self) -> Result<Node, ScriptError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return ScriptError::new("too many brackets inside each other");
        }
        let condition = self.binary(0)?;
        let node = if self.takes("?") {
            let then = self.conditional()?;
            self.expect(":")?;
            let otherwise = self.conditional()?;
            Node::If(Box::new([condition, then, otherwise]))
        } else {
            condition
        };
        self.depth -= 1;
        Ok(node)
    }

    /// Operators that bind at least so strongly.
    fn binary(&mut self, strength: u8) -> Result<Node, ScriptError> {
        let mut left = self.unary()?;
        while let Some(operator) = self.operator(strength) {
            let right = self.binary(operator.strength() + 1)?;
            left = match (operator, right) {
                (Operator::Matches, Node::Literal(Value::Str(text))) => {
                    let pattern = Pattern::new(&text);
                    let pattern = pattern.map_err(|error| ScriptError(error.to_string()))?;
                    Node::Matches(Box::new(left), pattern)
                }
                (Operator::Matches, _) => {
                    return ScriptError::new("`matches` needs its expression as a text in quotes");
                }
                (operator, right) => Node::Binary(operator, Box::new(left), Box::new(right)),
            };
        }
        Ok(left)
    }

    /// Takes the next operator, if it binds so strongly.
    fn operator(&mut self, strength: u8) -> Option<Operator> {
        use Operator as O;
        let operator = match self.words.peek()? {
            Token::Sign(sign) => match *sign {
                "||" => O::Or,
                "&&" => O::And,
                "==" => O::Equal,
                "!=" => O::Unequal,
                "<" => O::Less,
                ">" => O::Greater,
                "<=" => O::AtMost,
                ">=" => O::AtLeast,
                "+" => O::Add,
                "-" => O::Subtract,
                "*" => O::Multiply,
                "/" => O::Divide,
                "%" => O::Remainder,
                _ => return None,
            },
            Token::Name(name) => match &**name {
                "or" => O::Or,
                "and" => O::And,
                "in" => O::In,
                "not" => O::NotIn,
                "matches" => O::Matches,
                "contains" => O::Contains,
                "startsWith" => O::StartsWith,
                "endsWith" => O::EndsWith,
                _ => return None,
            },
            _ => return None,
        };
        if operator.strength() < strength {
            return None;
        }
        self.words.next();
        if operator == O::NotIn && !self.takes_name("in") {
            return None;
        }
        Some(operator)
    }

    fn unary(&mut self) -> Result<Node, ScriptError> {
        if self.takes("!") || self.takes_name("not") {
            return Ok(Node::Not(Box::new(self.binary(NOT_STRENGTH)?)));
        }
        if self.takes("-") {
            return Ok(Node::Negative(Box::new(self.binary(MINUS_STRENGTH)?)));
        }
        let mut node = self.primary()?;
        loop {
            if let Some(Token::Field(_)) = self.words.peek() {
                if let Some(Token::Field(name)) = self.words.next() {
                    let index = Node::Literal(Value::Str(name));
                    node = Node::Index(Box::new(node), Box::new(index));
                }
            } else if self.takes("[") {
                let index = self.conditional()?;
                self.expect("]")?;
                node = Node::Index(Box::new(node), Box::new(index));
            } else {
                return Ok(node);
            }
        }
    }

    fn primary(&mut self) -> Result<Node, ScriptError> {
        match self.words.next() {
            Some(Token::Literal(value)) => Ok(Node::Literal(value)),
            Some(Token::Sign("(")) => {
                let node = self.conditional()?;
                self.expect(")")?;
                Ok(node)
            }
            Some(Token::Sign("[")) => self.list("]").map(Node::List),
            Some(Token::Name(name)) if self.takes("(") => {
                let arguments = self.list(")")?;
                let functions = BUILTINS.iter().chain(self.known.functions);
                let Some((_, takes)) = functions.clone().find(|(known, _)| *known == name) else {
                    return ScriptError::new(format!("there is no function `{name}` here"));
                };
                if arguments.len() != *takes {
                    let found = arguments.len();
                    return ScriptError::new(format!(
                        "`{name}` takes {takes} argument(s), not {found}"
                    ));
                }
                Ok(Node::Call(name, arguments))
            }
            Some(Token::Name(name)) if self.known.variables.contains(&name) => {
                Ok(Node::Variable(name))
            }
            Some(Token::Name(name)) => {
                ScriptError::new(format!("there is no variable `{name}` here"))
            }
            Some(token) => ScriptError::new(format!("unexpected {}", describe(&token))),
            None => ScriptError::new("the expression ends too early"),
        }
    }

    fn list(&mut self, end: &str) -> Result<Vec<Node>, ScriptError> {
        let mut list = Vec::new();
        while !self.takes(end) {
            if !list.is_empty() {
                self.expect(",")?;
            }
            list.push(self.conditional()?);
        }
        Ok(list)
    }
}

impl Node {
    fn evaluate(&self, outside: &dyn Surroundings) -> Result<Value, ScriptError> {
        Ok(match self {
            Self::Literal(value) => value.clone(),
            Self::Variable(name) => outside.variable(name),
            Self::List(nodes) => {
                let values = nodes.iter().map(|node| node.evaluate(outside));
                Value::List(values.collect::<Result<_, _>>()?)
            }
            Self::Call(name, arguments) => {
                let values = arguments.iter().map(|node| node.evaluate(outside));
                let values = values.collect::<Result<Vec<_>, _>>()?;
                if BUILTINS.iter().any(|(known, _)| known == name) {
                    builtin(name, &values)?
                } else {
                    outside.call(name, &values)?
                }
            }
            Self::Index(of, at) => {
                let (of, at) = (of.evaluate(outside)?, at.evaluate(outside)?);
                let found = of.at(&at);
                found.ok_or_else(|| {
                    ScriptError(format!("there is no `{at}` in {}", of.type_name()))
                })?
            }
            Self::Not(node) => Value::Bool(!node.truth(outside)?),
            Self::Negative(node) => match node.evaluate(outside)? {
                Value::Int(value) => Value::Int(value.wrapping_neg()),
                Value::Float(value) => Value::Float(-value),
                other => return ScriptError::new(format!("- of {}", other.type_name())),
            },
            Self::Binary(Operator::Or, left, right) => {
                Value::Bool(left.truth(outside)? || right.truth(outside)?)
            }
            Self::Binary(Operator::And, left, right) => {
                Value::Bool(left.truth(outside)? && right.truth(outside)?)
            }
            Self::Binary(operator, left, right) => binary(
                *operator,
                &left.evaluate(outside)?,
                &right.evaluate(outside)?,
            )?,
            Self::Matches(left, pattern) => match left.evaluate(outside)? {
                Value::Str(text) => Value::Bool(pattern.is_match(&text)),
                other => return ScriptError::new(format!("matches with {}", other.type_name())),
            },
            Self::If(nodes) => {
                let [condition, then, otherwise] = &**nodes;
                let chosen = if condition.truth(outside)? {
                    then
                } else {
                    otherwise
                };
                chosen.evaluate(outside)?
            }
        })
    }

    fn truth(&self, outside: &dyn Surroundings) -> Result<bool, ScriptError> {
        match self.evaluate(outside)? {
            Value::Bool(value) => Ok(value),
            other => ScriptError::new(format!("{} in the place of a bool", other.type_name())),
        }
    }
}

fn binary(operator: Operator, left: &Value, right: &Value) -> Result<Value, ScriptError> {
    use Operator as O;
    use std::cmp::Ordering;
    let bad = || {
        let (left, right) = (left.type_name(), right.type_name());
        ScriptError(format!("{operator:?} does not go with {left} and {right}"))
    };
    let order = || left.compare(right).ok_or_else(bad);
    let texts = || match (left, right) {
        (Value::Str(left), Value::Str(right)) => Ok((&**left, &**right)),
        _ => Err(bad()),
    };
    let is_equal =
        |one: &Value, other: &Value| one == other || one.compare(other) == Some(Ordering::Equal);
    let is_in = || match (left, right) {
        (value, Value::List(values)) => Ok(values.iter().any(|known| is_equal(known, value))),
        (Value::Str(name), Value::Map(values)) => Ok(values.contains_key(name)),
        _ => Err(bad()),
    };
    Ok(Value::Bool(match operator {
        O::Equal => is_equal(left, right),
        O::Unequal => !is_equal(left, right),
        O::Less => order()? == Ordering::Less,
        O::Greater => order()? == Ordering::Greater,
        O::AtMost => order()? != Ordering::Greater,
        O::AtLeast => order()? != Ordering::Less,
        O::In => is_in()?,
        O::NotIn => !is_in()?,
        O::Contains => texts().map(|(left, right)| left.contains(right))?,
        O::StartsWith => texts().map(|(left, right)| left.starts_with(right))?,
        O::EndsWith => texts().map(|(left, right)| left.ends_with(right))?,
        O::Add if let Ok((left, right)) = texts() => {
            return Ok(Value::Str(format!("{left}{right}")));
        }
        O::Add | O::Subtract | O::Multiply | O::Divide | O::Remainder => {
            return calculate(operator, left, right).ok_or_else(bad);
        }
        O::Or | O::And | O::Matches => return Err(bad()),
    }))
}

fn calculate(operator: Operator, left: &Value, right: &Value) -> Option<Value> {
    use Operator as O;
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => match operator {
            O::Add => left.checked_add(*right).map(Value::Int),
            O::Subtract => left.checked_sub(*right).map(Value::Int),
            O::Multiply => left.checked_mul(*right).map(Value::Int),
            // As in expr-lang, a quotient has a fraction.
            O::Divide => Some(Value::Float(*left as f64 / *right as f64)),
            _ => left.checked_rem(*right).map(Value::Int),
        },
        (Value::Int(_) | Value::Float(_), Value::Int(_) | Value::Float(_)) => {
            let (left, right) = (left.as_float(), right.as_float());
            Some(Value::Float(match operator {
                O::Add => left + right,
                O::Subtract => left - right,
                O::Multiply => left * right,
                O::Divide => left / right,
                _ => return None,
            }))
        }
        _ => None,
    }
}

fn builtin(name: &str, arguments: &[Value]) -> Result<Value, ScriptError> {
    let found = match (name, arguments) {
        ("len", [value]) => value.size().map(|len| Value::Int(len as i64)),
        ("lower", [Value::Str(text)]) => Some(Value::Str(text.to_lowercase())),
        ("upper", [Value::Str(text)]) => Some(Value::Str(text.to_uppercase())),
        ("trim", [Value::Str(text)]) => Some(Value::str(text.trim())),
        ("int", [Value::Str(text)]) => text.parse().ok().map(Value::Int),
        ("int", [Value::Int(value)]) => Some(Value::Int(*value)),
        ("int", [Value::Float(value)]) => Some(Value::Int(*value as i64)),
        ("string", [value]) => Some(Value::Str(value.to_string())),
        ("split", [Value::Str(text), Value::Str(at)]) => {
            Some(Value::List(text.split(&**at).map(Value::str).collect()))
        }
        ("hasPrefix", [Value::Str(text), Value::Str(part)]) => {
            Some(Value::Bool(text.starts_with(&**part)))
        }
        ("hasSuffix", [Value::Str(text), Value::Str(part)]) => {
            Some(Value::Bool(text.ends_with(&**part)))
        }
        _ => None,
    };
    found.ok_or_else(|| ScriptError(format!("`{name}` cannot be applied to what it is given")))
}

#[cfg(test)]
mod tests;
