//! From text to nodes.

use super::functions::is_known;
use super::{Base, Fields, Node, Operand, Pipe};
use crate::script::lexer::{Token, tokens};
use crate::script::{ScriptError, Value};

enum Segment {
    Text(String),
    Action(Vec<Token>),
}

/// What ended a list of nodes.
enum End {
    OfText,
    Closed,
    /// The rest of the action: empty, or another `if` or `with`.
    Else(Vec<Token>),
}

/// Actions inside actions, and brackets inside brackets.
const DEPTH_MAX: usize = 64;

/// Reads a template.
pub(super) fn parse(text: &str, fields: &'static Fields) -> Result<Vec<Node>, ScriptError> {
    let mut parser = Parser {
        segments: segments(text)?.into_iter(),
        fields,
        variables: vec!["$".to_owned()],
        dot_is_root: true,
        depth: 0,
    };
    match parser.nodes()? {
        (nodes, End::OfText) => Ok(nodes),
        (_, End::Closed) => ScriptError::new("`end` without its beginning"),
        (_, End::Else(_)) => ScriptError::new("`else` without its `if`"),
    }
}

fn segments(text: &str) -> Result<Vec<Segment>, ScriptError> {
    let mut segments = Vec::new();
    let mut rest = text;
    let mut trims = false;
    while let Some((before, after)) = rest.split_once("{{") {
        let before = if trims { before.trim_start() } else { before };
        let mut inside = after;
        let mut before = before;
        if let Some(after) = inside
            .strip_prefix('-')
            .filter(|after| after.starts_with(char::is_whitespace))
        {
            (inside, before) = (after, before.trim_end());
        }
        if !before.is_empty() {
            segments.push(Segment::Text(before.to_owned()));
        }
        let is_comment = inside.trim_start().starts_with("/*");
        let len = if is_comment {
            inside
                .find("*/")
                .and_then(|at| Some(at + inside[at..].find("}}")?))
        } else {
            action_len(inside)
        };
        let len = len.ok_or_else(|| ScriptError("an action is never closed".to_owned()))?;
        let mut action = &inside[..len];
        rest = &inside[len + 2..];
        trims = action.ends_with('-') && action[..action.len() - 1].ends_with(char::is_whitespace);
        if trims {
            action = &action[..action.len() - 1];
        }
        if !is_comment {
            let mut words = tokens(action)?;
            while words.last() == Some(&Token::Space) {
                words.pop();
            }
            let from = words.iter().position(|word| *word != Token::Space);
            let words = from.map_or_else(Vec::new, |from| words.split_off(from));
            if words.is_empty() {
                return ScriptError::new("an action is empty");
            }
            segments.push(Segment::Action(words));
        }
    }
    let rest = if trims { rest.trim_start() } else { rest };
    if !rest.is_empty() {
        segments.push(Segment::Text(rest.to_owned()));
    }
    Ok(segments)
}

/// Where the action ends that the text is in; quotes are passed over.
fn action_len(text: &str) -> Option<usize> {
    let mut quote = None;
    let octets = text.as_bytes();
    let mut at = 0;
    while let Some(&octet) = octets.get(at) {
        match (quote, octet) {
            (None, b'"' | b'`' | b'\'') => quote = Some(octet),
            (None, b'}') if octets.get(at + 1) == Some(&b'}') => return Some(at),
            (Some(b'"' | b'\''), b'\\') => at += 1,
            (Some(open), octet) if open == octet => quote = None,
            _ => {}
        }
        at += 1;
    }
    None
}

struct Parser {
    segments: std::vec::IntoIter<Segment>,
    fields: &'static Fields,
    variables: Vec<String>,
    dot_is_root: bool,
    depth: usize,
}

impl Parser {
    fn nodes(&mut self) -> Result<(Vec<Node>, End), ScriptError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return ScriptError::new("too many actions inside each other");
        }
        let scope = self.variables.len();
        let mut nodes = Vec::new();
        let end = loop {
            let Some(segment) = self.segments.next() else {
                break End::OfText;
            };
            let words = match segment {
                Segment::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Segment::Action(words) => words,
            };
            let keyword = match words.first() {
                Some(Token::Name(name)) => name.clone(),
                _ => String::new(),
            };
            let rest = || words.get(2..).unwrap_or_default().to_vec();
            match &*keyword {
                "end" if words.len() == 1 => break End::Closed,
                "else" => break End::Else(rest()),
                "if" | "with" | "range" => nodes.push(self.control(&keyword, rest())?),
                "define" | "template" | "block" | "break" | "continue" => {
                    return ScriptError::new(format!("`{keyword}` is not supported in templates"));
                }
                _ => nodes.push(Node::Print(self.pipe(&words)?)),
            }
        };
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok((nodes, end))
    }

    /// `if`, `with` or `range`, up to its `end`.
    fn control(&mut self, keyword: &str, words: Vec<Token>) -> Result<Node, ScriptError> {
        let scope = self.variables.len();
        let (mut names, mut words) = (Vec::new(), words);
        if keyword == "range"
            && let Some(at) = words.iter().position(|word| *word == Token::Sign(":="))
        {
            let after = words.split_off(at + 1);
            for word in &words {
                match word {
                    Token::Variable(name) => names.push(name.clone()),
                    Token::Space | Token::Sign("," | ":=") => {}
                    _ => return ScriptError::new("expected variables before `:=`"),
                }
            }
            words = after;
        }
        let pipe = self.pipe(&words)?;
        self.variables.extend(names.iter().cloned());
        let was_root = self.dot_is_root;
        self.dot_is_root = was_root && keyword == "if";
        let (then, end) = self.nodes()?;
        self.dot_is_root = was_root;
        let otherwise = match end {
            End::Closed => Vec::new(),
            End::OfText => return ScriptError::new(format!("`{keyword}` without its `end`")),
            End::Else(rest) if rest.is_empty() => match self.nodes()? {
                (nodes, End::Closed) => nodes,
                _ => return ScriptError::new("`else` without its `end`"),
            },
            // `else if` shares the `end` of the first.
            End::Else(rest) => match rest.first() {
                Some(Token::Name(name)) if name == keyword && keyword != "range" => {
                    let rest = rest.get(2..).unwrap_or_default().to_vec();
                    vec![self.control(keyword, rest)?]
                }
                _ => return ScriptError::new("`else` is followed by something else than `if`"),
            },
        };
        self.variables.truncate(scope);
        Ok(match keyword {
            "if" => Node::If(pipe, then, otherwise),
            "with" => Node::With(pipe, then, otherwise),
            _ => Node::Range(names, pipe, then, otherwise),
        })
    }

    fn pipe(&mut self, words: &[Token]) -> Result<Pipe, ScriptError> {
        let solid = words
            .iter()
            .enumerate()
            .filter(|(_, word)| **word != Token::Space);
        let mut solid = solid.take(2);
        let mut words = words;
        let mut variable = None;
        if let (Some((_, Token::Variable(name))), Some((at, Token::Sign(sign @ (":=" | "="))))) =
            (solid.next(), solid.next())
        {
            words = &words[at + 1..];
            variable = Some((name.clone(), *sign == ":="));
        }
        let mut commands = Vec::new();
        let mut depth = 0_usize;
        let split = words.split(|word| {
            match word {
                Token::Sign("(") => depth += 1,
                Token::Sign(")") => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && *word == Token::Sign("|")
        });
        for command in split.map(<[_]>::to_vec).collect::<Vec<_>>() {
            commands.push(self.command(&command)?);
        }
        if let Some((name, true)) = &variable {
            self.variables.push(name.clone());
        }
        Ok(Pipe { variable, commands })
    }

    fn command(&mut self, words: &[Token]) -> Result<Vec<Operand>, ScriptError> {
        let mut operands = Vec::new();
        let mut rest = words;
        let mut spaced = true;
        while let Some((first, tail)) = rest.split_first() {
            if *first == Token::Space {
                (rest, spaced) = (tail, true);
                continue;
            }
            if !spaced {
                return ScriptError::new("two words need a space between them");
            }
            let operand;
            (operand, rest) = self.operand(first, tail)?;
            operands.push(operand);
            spaced = false;
        }
        if operands.is_empty() {
            return ScriptError::new("a command is missing");
        }
        Ok(operands)
    }

    fn operand<'w>(
        &mut self,
        first: &Token,
        mut rest: &'w [Token],
    ) -> Result<(Operand, &'w [Token]), ScriptError> {
        let mut fields = Vec::new();
        let base = match first {
            Token::Literal(value) => Base::Literal(value.clone()),
            Token::Sign(".") => Base::Dot,
            Token::Field(name) => {
                fields.push(name.clone());
                Base::Dot
            }
            Token::Variable(name) if self.variables.contains(name) => Base::Variable(name.clone()),
            Token::Variable(name) => {
                return ScriptError::new(format!("there is no variable `{name}` here"));
            }
            Token::Name(name) if is_known(name) => Base::Function(name.clone()),
            Token::Name(name) => {
                return ScriptError::new(format!("there is no function `{name}` here"));
            }
            Token::Sign("-") => match rest.split_first() {
                Some((Token::Literal(Value::Int(value)), tail)) => {
                    rest = tail;
                    Base::Literal(Value::Int(-value))
                }
                _ => return ScriptError::new("unexpected `-`"),
            },
            Token::Sign("(") => {
                let mut depth = 1;
                let end = rest.iter().position(|word| {
                    match word {
                        Token::Sign("(") => depth += 1,
                        Token::Sign(")") => depth -= 1,
                        _ => {}
                    }
                    depth == 0
                });
                let end = end.ok_or_else(|| ScriptError("a `(` is never closed".to_owned()))?;
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return ScriptError::new("too many brackets inside each other");
                }
                let pipe = self.pipe(&rest[..end])?;
                self.depth -= 1;
                rest = &rest[end + 1..];
                Base::Paren(Box::new(pipe))
            }
            Token::Sign(sign) => return ScriptError::new(format!("unexpected `{sign}`")),
            Token::Space => return ScriptError::new("a word is missing"),
        };
        while let Some((Token::Field(name), tail)) = rest.split_first() {
            fields.push(name.clone());
            rest = tail;
        }
        let is_root = match &base {
            Base::Dot => self.dot_is_root,
            Base::Variable(name) => name == "$",
            _ => false,
        };
        if is_root {
            self.check(&fields)?;
        }
        Ok((Operand { base, fields }, rest))
    }

    /// Whether the data has these fields.
    fn check(&self, fields: &[String]) -> Result<(), ScriptError> {
        let Some(first) = fields.first() else {
            return Ok(());
        };
        let Some((_, inner)) = self.fields.iter().find(|(name, _)| name == first) else {
            return ScriptError::new(format!("there is no field `.{first}`"));
        };
        match fields.get(1) {
            Some(name) if !inner.is_empty() && !inner.contains(&&**name) => {
                ScriptError::new(format!("there is no field `.{first}.{name}`"))
            }
            _ => Ok(()),
        }
    }
}
