//! Words to server blocks: addresses, snippets, imports, and each directive with its lines.
//!
//! The parser does not know directives; it only finds where each begins and ends. Words that are
//! still to be read wait on a stack, so an import simply puts its words on top: nothing is copied
//! twice, however deep imports nest, and an import is only read once it is reached.

use std::collections::HashMap;
use std::sync::Arc;

use self::import::Imports;
use super::Options;
use super::env;
use super::error::{Findings, Problem, Reason};
use super::lexer::{self, Source, Token};

mod import;

/// A server block as it is written.
#[derive(Debug)]
pub(super) struct RawBlock {
    /// Its addresses; never empty.
    pub(super) keys: Vec<Token>,
    /// Its directives in file order.
    pub(super) directives: Vec<RawDirective>,
}

/// A directive as it is written.
#[derive(Debug)]
pub(super) struct RawDirective {
    /// Its name.
    pub(super) name: Token,
    /// The words behind it.
    pub(super) args: Vec<Token>,
    /// The lines of its block, if it has one.
    pub(super) block: Option<Vec<Vec<Token>>>,
    /// The first `{` inside its block; only some directives allow that.
    pub(super) nested: Option<Token>,
}

/// Reads all server blocks. On a syntax error, those before it are returned and it is noted.
pub(super) fn parse(source: &Arc<Source>, options: &Options, findings: &Findings) -> Vec<RawBlock> {
    let mut blocks = Vec::new();
    let mut parser = Parser {
        options,
        findings,
        pending: Vec::new(),
        previous: None,
        snippets: HashMap::new(),
        imports: Imports::new(source, options),
    };
    let outcome = lexer::lex(source).and_then(|tokens| {
        parser.pending = tokens;
        parser.pending.reverse();
        parser.server_blocks(&mut blocks)
    });
    if let Err(problem) = outcome {
        findings.problem(problem);
    }
    blocks
}

struct Parser<'a> {
    options: &'a Options,
    findings: &'a Findings,
    /// The words still to be read, the next one last.
    pending: Vec<Token>,
    /// The word read last.
    previous: Option<Token>,
    /// Each snippet's name and body.
    snippets: HashMap<Arc<str>, Snippet>,
    imports: Imports,
}

struct Snippet {
    name: Token,
    body: Vec<Token>,
}

impl Parser<'_> {
    fn server_blocks(&mut self, blocks: &mut Vec<RawBlock>) -> Result<(), Problem> {
        while !self.pending.is_empty() {
            let keys = self.addresses()?;
            let snippet = keys.first().and_then(|key| {
                key.text
                    .strip_prefix('(')
                    .and_then(|name| name.strip_suffix(')'))
                    .map(Arc::from)
            });
            match (&*keys, snippet) {
                ([key], Some(name)) => self.snippet(key, name)?,
                _ => {
                    if let Some(block) = self.server_block(keys, blocks.is_empty())? {
                        blocks.push(block);
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads addresses up to the `{` or the end of their line.
    fn addresses(&mut self) -> Result<Vec<Token>, Problem> {
        let mut keys: Vec<Token> = Vec::new();
        let mut first = true;
        let mut comma = None;
        while let Some(token) = self.pending.last() {
            let starts_line = self.starts_line(token);
            // A brace is one as it is written, not one that a variable leaves behind.
            if (starts_line && !first && comma.is_none()) || &*token.text == "{" {
                break;
            }
            let token = self.substituted(token.clone());
            if &*token.text == "import" && starts_line {
                self.import()?;
                continue;
            }
            if first && &*token.text == "}" {
                self.stray_brace()?;
                continue;
            }
            self.advance();
            first = false;
            let Some(text) = token.text.strip_suffix(',') else {
                comma = None;
                if !token.text.is_empty() {
                    keys.push(token);
                }
                continue;
            };
            if !text.is_empty() {
                keys.push(Token {
                    text: text.into(),
                    ..token.clone()
                });
            }
            comma = Some(token);
        }
        match comma {
            Some(comma) => Err(Problem::at(&comma, Reason::MissingAddress)),
            None => Ok(keys),
        }
    }

    /// Reads what belongs to a server block after its addresses.
    ///
    /// Only the first may leave its braces out. CoreDNS allows that for the last one, too, and so
    /// takes what follows a `}` too many for a zone, in silence.
    fn server_block(
        &mut self,
        keys: Vec<Token>,
        is_first: bool,
    ) -> Result<Option<RawBlock>, Problem> {
        let open = self.take_brace();
        if let (Some(key), None, false) = (keys.first(), &open, is_first) {
            let zone = (&*key.text).into();
            return Err(Problem::at(key, Reason::BlockWithoutBrace { zone }));
        }
        if keys.is_empty() {
            return match open {
                Some(open) => Err(Problem::at(&open, Reason::BlockWithoutAddress)),
                None => Ok(None),
            };
        }
        let mut directives = Vec::new();
        loop {
            let Some(token) = self.pending.last() else {
                // A file with a single block may leave the braces out.
                if let Some(open) = open {
                    self.findings
                        .problem(Problem::at(&open, Reason::UnclosedBlock));
                }
                break;
            };
            match &*token.text {
                "}" => {
                    if open.is_none() {
                        self.stray_brace()?;
                        break;
                    }
                    self.advance();
                    break;
                }
                "import" => self.import()?,
                _ => directives.extend(self.directive()?),
            }
        }
        Ok(Some(RawBlock { keys, directives }))
    }

    /// Reads one directive: its line, and its block if the line ends in `{`.
    fn directive(&mut self) -> Result<Option<RawDirective>, Problem> {
        let Some(name) = self.advance() else {
            return Ok(None);
        };
        let name = self.substituted(name);
        let mut directive = RawDirective {
            name,
            args: Vec::new(),
            block: None,
            nested: None,
        };
        let mut open: Vec<Token> = Vec::new();
        while let Some(token) = self.pending.last() {
            let starts_line = self.starts_line(token);
            match &*token.text {
                "{" => {
                    self.open(&mut directive, &open, starts_line);
                    open.extend(self.advance());
                }
                _ if starts_line && open.is_empty() => break,
                "}" if open.is_empty() => {
                    let directive = (&*directive.name.text).into();
                    let reason = Reason::BraceAfterDirective { directive };
                    self.findings.problem(Problem::at(token, reason));
                    break;
                }
                "}" => {
                    open.pop();
                    self.advance();
                }
                "import" if starts_line => self.import()?,
                _ => {
                    let Some(token) = self.advance() else { break };
                    let token = self.substituted(token);
                    self.push(&mut directive, token, open.len(), starts_line);
                }
            }
        }
        if let Some(open) = open.first() {
            self.findings
                .problem(Problem::at(open, Reason::UnclosedBlock));
        }
        Ok(Some(directive))
    }

    /// Takes note of a `{` in a directive.
    fn open(&self, directive: &mut RawDirective, open: &[Token], starts_line: bool) {
        let Some(token) = self.pending.last() else {
            return;
        };
        let name = || (&*directive.name.text).into();
        if !open.is_empty() {
            directive.nested.get_or_insert_with(|| token.clone());
        } else if directive.block.is_some() {
            let reason = Reason::ExtraArgument {
                of: name(),
                value: "{".into(),
            };
            self.findings.problem(Problem::at(token, reason));
        } else {
            if starts_line {
                let reason = Reason::BraceOnNextLine { directive: name() };
                self.findings.problem(Problem::at(token, reason));
            }
            directive.block = Some(Vec::new());
        }
    }

    /// Adds a word to the directive's line or to its block.
    fn push(&self, directive: &mut RawDirective, token: Token, depth: usize, starts_line: bool) {
        match &mut directive.block {
            None => directive.args.push(token),
            Some(_) if depth == 0 => {
                let of = (&*directive.name.text).into();
                let reason = Reason::ExtraArgument {
                    of,
                    value: (&*token.text).into(),
                };
                self.findings.problem(Problem::at(&token, reason));
            }
            Some(lines) => match lines.last_mut() {
                Some(line) if !starts_line => line.push(token),
                _ => lines.push(vec![token]),
            },
        }
    }

    /// Reads the body of a snippet and keeps it for `import`.
    fn snippet(&mut self, key: &Token, name: Arc<str>) -> Result<(), Problem> {
        let fault = |reason| Problem::at(key, reason);
        if let Some(Snippet { name: first, .. }) = self.snippets.get(&name) {
            let first = first.position();
            return Err(fault(Reason::SnippetRedefined {
                name: (&*name).into(),
                first,
            }));
        }
        let Some(open) = self.take_brace() else {
            return Err(fault(Reason::SnippetWithoutBlock {
                name: (&*name).into(),
            }));
        };
        let mut depth = 1;
        let mut body: Vec<Token> = Vec::new();
        while let Some(token) = self.advance() {
            match &*token.text {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                self.snippets.insert(
                    name,
                    Snippet {
                        name: key.clone(),
                        body,
                    },
                );
                return Ok(());
            }
            body.push(token);
        }
        Err(Problem::at(&open, Reason::UnclosedBlock))
    }

    /// Replaces `import NAME`, which is next, by what it stands for.
    fn import(&mut self) -> Result<(), Problem> {
        let Some(import) = self.pending.pop() else {
            return Ok(());
        };
        let on_line = |token: &Token| !token.starts_line_after(&import);
        let Some(what) = self.pending.pop_if(|token| on_line(token)) else {
            return Err(Problem::at(&import, Reason::ImportArguments));
        };
        if let Some(extra) = self
            .pending
            .last()
            .filter(|token| !token.starts_line_after(&what))
        {
            return Err(Problem::at(extra, Reason::ImportArguments));
        }
        let what = self.substituted(what);
        if what.text.is_empty() {
            return Err(Problem::at(&what, Reason::ImportArguments));
        }
        let imported = match self.snippets.get(&what.text) {
            Some(snippet) => self.imports.snippet(&what, &snippet.body)?,
            None => {
                let snippets = self.snippets.keys().map(|name| &**name);
                self.imports
                    .files(&what, self.options, self.findings, snippets)?
            }
        };
        self.pending.extend(imported.into_iter().rev());
        Ok(())
    }

    /// Takes a `}` that closes nothing. At the very end it does no harm, and CoreDNS allows it.
    fn stray_brace(&mut self) -> Result<(), Problem> {
        let Some(token) = self.advance() else {
            return Ok(());
        };
        if !self.pending.is_empty() {
            return Err(Problem::at(&token, Reason::StrayBrace));
        }
        self.findings.warn(&token, "this `}` closes nothing");
        Ok(())
    }

    /// Takes the `{` that opens a server block or a snippet, if it is next.
    fn take_brace(&mut self) -> Option<Token> {
        let is_brace = self.pending.last().is_some_and(|token| &*token.text == "{");
        if is_brace { self.advance() } else { None }
    }

    fn advance(&mut self) -> Option<Token> {
        let token = self.pending.pop()?;
        self.previous = Some(token.clone());
        Some(token)
    }

    /// Whether the word that comes next starts a line.
    fn starts_line(&self, token: &Token) -> bool {
        self.previous
            .as_ref()
            .is_none_or(|previous| token.starts_line_after(previous))
    }

    /// The word with its variables replaced.
    fn substituted(&self, token: Token) -> Token {
        let unset = |name: &str| {
            let text = format!("the environment variable `{name}` is not set and counts as empty");
            self.findings.warn(&token, text);
        };
        match env::substitute(&token.text, self.options.variable, unset) {
            Some(text) => Token {
                text: text.into(),
                ..token
            },
            None => token,
        }
    }
}

/// Feeds every word of a block to `feed`, with marks that tell apart what stands where.
pub(super) fn visit_words(block: &RawBlock, mut feed: impl FnMut(u8, &str)) {
    for key in &block.keys {
        feed(b'k', &key.text);
    }
    for directive in &block.directives {
        feed(b'd', &directive.name.text);
        for arg in &directive.args {
            feed(b'a', &arg.text);
        }
        for line in directive.block.iter().flatten() {
            for (index, word) in line.iter().enumerate() {
                feed(if index == 0 { b'l' } else { b'w' }, &word.text);
            }
        }
        feed(
            if directive.block.is_some() {
                b'B'
            } else {
                b'D'
            },
            "",
        );
    }
    feed(b'e', "");
}
