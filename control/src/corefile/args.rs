//! What a directive reads: its arguments and, line by line, its options.
//!
//! Every reader returns a [`Problem`] that points at the word in question. A directive stops at the
//! first problem of a line and goes on with the next line, so that one reading finds them all.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::slice;
use std::str::FromStr;
use std::time::Duration;

use martlet_engine::pattern::Pattern;
use martlet_engine::wire::{Class, RType, Rcode};

use super::error::{Findings, Position, Problem, Reason};
use super::lexer::Token;
use super::value::{self, ListenAddress};
use super::zone::ZoneName;
use super::{address, nearest};

/// What directives know about their surroundings.
pub(super) struct Context<'a> {
    /// The zones of the server block.
    pub(super) zones: &'a [ZoneName],
    /// `root`: where relative paths start.
    pub(super) root: Option<&'a Path>,
    /// The directory of the Corefile; `None` when files are not to be touched.
    pub(super) directory: Option<&'a Path>,
    /// Where problems and warnings go.
    pub(super) findings: &'a Findings,
}

/// A directive, or one option in its block, being read from left to right.
pub(super) struct Args<'a> {
    name: &'a Token,
    words: slice::Iter<'a, Token>,
    block: Option<&'a [Vec<Token>]>,
    context: &'a Context<'a>,
}

impl<'a> Args<'a> {
    pub(super) fn new(
        name: &'a Token,
        words: &'a [Token],
        block: Option<&'a [Vec<Token>]>,
        context: &'a Context<'a>,
    ) -> Self {
        Self {
            name,
            words: words.iter(),
            block,
            context,
        }
    }

    /// The directive's or option's name.
    pub(super) fn name(&self) -> &'a str {
        &self.name.text
    }

    /// The surroundings.
    pub(super) fn context(&self) -> &'a Context<'a> {
        self.context
    }

    /// Where the directive or option stands.
    pub(super) fn position(&self) -> Position {
        self.name.position()
    }

    /// A problem with the directive or option as a whole.
    pub(super) fn problem(&self, reason: Reason) -> Problem {
        Problem::at(self.name, reason)
    }

    /// Warns about the directive or option as a whole.
    pub(super) fn warn(&self, text: impl Into<Box<str>>) {
        self.context.findings.warn(self.name, text);
    }

    /// The next argument, if there is one.
    pub(super) fn next(&mut self) -> Option<Arg<'a>> {
        let token = self.words.next()?;
        Some(Arg {
            token,
            of: self.name,
            context: self.context,
        })
    }

    /// The next argument, which must be there.
    pub(super) fn required(&mut self, expected: &'static str) -> Result<Arg<'a>, Problem> {
        let missing = Reason::MissingArgument {
            of: self.name().into(),
            expected,
        };
        self.next().ok_or_else(|| self.problem(missing))
    }

    /// All further arguments.
    pub(super) fn rest(&mut self) -> Vec<Arg<'a>> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// All further arguments, at least one.
    pub(super) fn some(&mut self, expected: &'static str) -> Result<Vec<Arg<'a>>, Problem> {
        let first = self.required(expected)?;
        Ok(std::iter::once(first).chain(self.rest()).collect())
    }

    /// All further arguments as zones; address blocks are expanded.
    pub(super) fn zones(&mut self) -> Result<Vec<ZoneName>, Problem> {
        let mut zones = Vec::new();
        for argument in self.rest() {
            zones.extend(argument.zones()?);
        }
        Ok(zones)
    }

    /// All further arguments as zones; without any, those of the server block.
    pub(super) fn zones_or_block(&mut self) -> Result<Vec<ZoneName>, Problem> {
        let zones = self.zones()?;
        Ok(if zones.is_empty() {
            self.context.zones.to_vec()
        } else {
            zones
        })
    }

    /// The words of the block, one after the other, whichever lines they are on.
    pub(super) fn block_words(&mut self) -> Vec<Arg<'a>> {
        let words = self.block.take().unwrap_or_default().iter().flatten();
        let (of, context) = (self.name, self.context);
        words.map(|token| Arg { token, of, context }).collect()
    }

    /// Drops further arguments with a warning, where CoreDNS drops them in silence.
    pub(super) fn drop_rest(&mut self) {
        if let Some(argument) = self.next() {
            argument.warn(format!(
                "`{}` and what follows it is ignored",
                argument.text()
            ));
        }
        self.words = [].iter();
    }

    /// Reads the block: `read` is called for each line with the line's first word as its name. What
    /// goes wrong in one line is noted and does not keep the others from being read.
    pub(super) fn options(&mut self, mut read: impl FnMut(&mut Self) -> Result<(), Problem>) {
        for line in self.block.take().unwrap_or_default() {
            let Some((name, words)) = line.split_first() else {
                continue;
            };
            let mut option = Self::new(name, words, None, self.context);
            if let Err(problem) = read(&mut option).and_then(|()| option.finish()) {
                self.context.findings.problem(problem);
            }
        }
    }

    /// The problem of an option that `directive` does not have.
    pub(super) fn unknown(&self, directive: &'static str, known: &[&'static str]) -> Problem {
        self.problem(Reason::UnknownOption {
            directive,
            option: self.name().into(),
            nearest: nearest(self.name(), known.iter().copied()),
        })
    }

    /// Checks that everything was read.
    pub(super) fn finish(&mut self) -> Result<(), Problem> {
        if let Some(argument) = self.next() {
            let (of, value) = (self.name().into(), argument.text().into());
            return Err(argument.problem(Reason::ExtraArgument { of, value }));
        }
        match self.block {
            Some(_) => Err(self.problem(Reason::NoBlock {
                directive: self.name().into(),
            })),
            None => Ok(()),
        }
    }
}

/// How long a pattern may be, in bytes, as in CoreDNS.
const PATTERN_MAX: usize = 10_000;

/// One argument.
#[derive(Clone, Copy)]
pub(super) struct Arg<'a> {
    token: &'a Token,
    of: &'a Token,
    context: &'a Context<'a>,
}

impl<'a> Arg<'a> {
    /// The word itself.
    pub(super) fn text(self) -> &'a str {
        &self.token.text
    }

    /// A problem with this argument.
    pub(super) fn problem(self, reason: Reason) -> Problem {
        Problem::at(self.token, reason)
    }

    /// A problem: it has the wrong form.
    pub(super) fn is_not(self, expected: &'static str) -> Problem {
        self.problem(Reason::NotA {
            of: (&*self.of.text).into(),
            value: self.text().into(),
            expected,
        })
    }

    /// A problem: it is too small or too large.
    pub(super) fn out_of(self, range: &'static str) -> Problem {
        let (of, value) = ((&*self.of.text).into(), self.text().into());
        self.problem(Reason::OutOfRange { of, range, value })
    }

    /// Warns about this argument.
    pub(super) fn warn(self, text: impl Into<Box<str>>) {
        self.context.findings.warn(self.token, text);
    }

    /// As a number that is not negative.
    pub(super) fn number<T: FromStr>(self) -> Result<T, Problem> {
        self.text()
            .parse()
            .map_err(|_| self.is_not("a number (whole, and not negative)"))
    }

    /// As a duration.
    pub(super) fn duration(self) -> Result<Duration, Problem> {
        value::duration(self.text()).ok_or_else(|| self.is_not("a duration, such as 30s or 1h30m"))
    }

    /// As a number of seconds without a unit, at least 1.
    pub(super) fn seconds(self) -> Result<Duration, Problem> {
        match self.number::<u32>()? {
            0 => Err(self.out_of("at least 1 second")),
            seconds => Ok(Duration::from_secs(seconds.into())),
        }
    }

    /// As one of a few words.
    pub(super) fn keyword<T: Copy>(self, choices: &[(&'static str, T)]) -> Result<T, Problem> {
        match choices.iter().find(|(word, _)| *word == self.text()) {
            Some((_, value)) => Ok(*value),
            None => Err(self.unknown_word(choices.iter().map(|(word, _)| *word))),
        }
    }

    /// A problem: it is none of the words that are possible here.
    pub(super) fn unknown_word(self, choices: impl Iterator<Item = &'static str>) -> Problem {
        let choices: Vec<_> = choices.collect();
        self.problem(Reason::UnknownWord {
            of: (&*self.of.text).into(),
            value: self.text().into(),
            expected: format!("one of {}", choices.join(", ")).into(),
            nearest: nearest(self.text(), choices),
        })
    }

    /// As a zone, or the several that an address block stands for.
    pub(super) fn zones(self) -> Result<Vec<ZoneName>, Problem> {
        address::parse_zones(self.token)
    }

    /// As a domain name; address blocks are not expanded.
    pub(super) fn name(self) -> Result<ZoneName, Problem> {
        let value = || self.text().into();
        ZoneName::parse(self.text()).map_err(|cause| {
            self.problem(Reason::Zone {
                value: value(),
                cause,
            })
        })
    }

    /// As a regular expression. Go's and Rust's have the same syntax, but for corners.
    pub(super) fn pattern(self) -> Result<Pattern, Problem> {
        if self.text().len() > PATTERN_MAX {
            return Err(self.out_of("at most 10000 bytes"));
        }
        Pattern::new(self.text()).map_err(|error| {
            // The last line says what is wrong; those above draw the place.
            let cause = error.to_string();
            let cause = cause.lines().last().unwrap_or_default();
            self.problem(Reason::Pattern {
                cause: cause.trim_start_matches("error: ").into(),
            })
        })
    }

    /// As a record type: `A`, or `TYPE65280`.
    pub(super) fn rtype(self) -> Result<RType, Problem> {
        let text = self.text().to_ascii_uppercase();
        let number = text.strip_prefix("TYPE").and_then(|text| text.parse().ok());
        let found = RType::from_mnemonic(&text).or_else(|| number.map(RType));
        found.ok_or_else(|| self.is_not("a record type, such as A or AAAA"))
    }

    /// As a class: `IN`, `CH`…
    pub(super) fn class(self) -> Result<Class, Problem> {
        let found = Class::from_mnemonic(&self.text().to_ascii_uppercase());
        found.ok_or_else(|| self.is_not("a class, such as IN or CH"))
    }

    /// As a response code by name, or by number up to 23.
    pub(super) fn rcode(self) -> Result<Rcode, Problem> {
        let number = self.text().parse().ok().filter(|number| *number <= 23);
        let found = number.map(Rcode);
        let found = found.or_else(|| Rcode::from_mnemonic(&self.text().to_ascii_uppercase()));
        found.ok_or_else(|| self.is_not("a response code, such as NXDOMAIN"))
    }

    /// As an IP address.
    pub(super) fn ip(self) -> Result<IpAddr, Problem> {
        self.text()
            .parse()
            .map_err(|_| self.is_not("an IP address"))
    }

    /// As where to listen.
    pub(super) fn listen_address(self) -> Result<ListenAddress, Problem> {
        ListenAddress::parse(self.text())
            .ok_or_else(|| self.is_not("an address with a port, such as :8080 or 127.0.0.1:8080"))
    }

    /// Whether files may be looked for while reading.
    pub(super) fn looks_for_files(self) -> bool {
        self.context.directory.is_some()
    }

    /// As a path that starts at the block's `root`.
    pub(super) fn path(self) -> PathBuf {
        match self.context.root {
            Some(root) => root.join(self.text()),
            None => PathBuf::from(self.text()),
        }
    }
}
