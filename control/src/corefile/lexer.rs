//! Text to words, each knowing its file, line and column.
//!
//! The rules are CoreDNS's, quirks included, since ten years of ConfigMaps were written against
//! them: whitespace separates words; a word that *starts* with `"` runs to the next `"`, over lines
//! if need be, with `\"` as its only escape; `#` starts a comment even inside a word, but such a
//! comment ends where the word's line has its next whitespace.

use std::fmt;
use std::sync::Arc;

use miette::{NamedSource, SourceCode};

use super::error::{Position, Problem, Reason};

/// One file's text under its name.
pub(super) struct Source {
    name: Arc<str>,
    code: NamedSource<String>,
}

impl Source {
    /// A text under the name that messages show.
    pub(super) fn new(name: &str, text: String) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            code: NamedSource::new(name, text),
        })
    }

    /// Its name.
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its text.
    pub(super) fn text(&self) -> &str {
        self.code.inner()
    }

    /// The text as reports want it.
    pub(super) fn code(&self) -> &dyn SourceCode {
        &self.code
    }

    /// A place in it.
    pub(super) fn position(&self, span: Span) -> Position {
        Position {
            file: Arc::clone(&self.name),
            line: span.line,
            column: span.column,
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// Where a word stands in its file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Span {
    /// Byte offset of its first character, the quote included.
    pub(super) start: usize,
    /// Its length in bytes, quotes included.
    pub(super) len: usize,
    /// Its line, counted from 1; 0 for "the file".
    pub(super) line: u32,
    /// Its column in characters, counted from 1.
    pub(super) column: u32,
    /// The line on which it ends; a quoted word may span several.
    pub(super) last_line: u32,
}

/// One word.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// What it says, without quotes.
    pub(super) text: Arc<str>,
    /// The file that it is from.
    pub(super) source: Arc<Source>,
    /// Where it stands there.
    pub(super) span: Span,
    /// Which expansion of an import it came through; 0 is the Corefile itself.
    pub(super) origin: u32,
}

impl Token {
    /// Where it stands.
    pub(super) fn position(&self) -> Position {
        self.source.position(self.span)
    }

    /// Whether `self` starts a line when it follows `previous`. Words of different expansions never
    /// share a line, whatever their numbers say.
    pub(super) fn starts_line_after(&self, previous: &Self) -> bool {
        self.origin != previous.origin || self.span.line > previous.span.last_line
    }
}

/// Splits a file into words.
pub(super) fn lex(source: &Arc<Source>) -> Result<Vec<Token>, Problem> {
    let mut lexer = Lexer {
        source,
        tokens: Vec::new(),
        word: None,
        value: String::new(),
    };
    let text = source.text();
    let (mut line, mut column) = (1, 0);
    let mut comment = false;
    let mut escaped = false;
    let skipped = if text.starts_with(BYTE_ORDER_MARK) {
        BYTE_ORDER_MARK.len_utf8()
    } else {
        0
    };
    for (offset, character) in text[skipped..].char_indices() {
        let offset = offset + skipped;
        let next = offset + character.len_utf8();
        column += 1;
        let here = Span {
            start: offset,
            len: 0,
            line,
            column,
            last_line: line,
        };
        if character == '\n' {
            line += 1;
            column = 0;
        }
        match lexer.word {
            Some(Word { quoted: true, .. }) => {
                if escaped {
                    escaped = false;
                    if character != '"' {
                        lexer.value.push('\\');
                    }
                    lexer.value.push(character);
                } else {
                    match character {
                        '\\' => escaped = true,
                        '"' => lexer.finish(next, line),
                        other => lexer.value.push(other),
                    }
                }
            }
            // CR is dropped even inside words, so that files from Windows read alike.
            _ if character == '\r' => {}
            word if character.is_whitespace() => {
                if let Some(word) = word {
                    lexer.finish(word.end, word.start.line);
                    // The quirk: a comment that was glued to a word ends with that word.
                    comment = false;
                }
                comment = comment && character != '\n';
            }
            _ if comment || character == '#' => comment = true,
            None if character == '"' => {
                lexer.word = Some(Word {
                    start: here,
                    end: next,
                    quoted: true,
                });
            }
            word => {
                let start = word.map_or(here, |word| word.start);
                lexer.word = Some(Word {
                    start,
                    end: next,
                    quoted: false,
                });
                lexer.value.push(character);
            }
        }
    }
    match lexer.word {
        Some(Word {
            start,
            quoted: true,
            ..
        }) => Err(Problem::new(
            source,
            Span { len: 1, ..start },
            Reason::UnclosedQuote,
        )),
        Some(word) => {
            lexer.finish(word.end, word.start.line);
            Ok(lexer.tokens)
        }
        None => Ok(lexer.tokens),
    }
}

/// The word being read.
#[derive(Clone, Copy)]
struct Word {
    start: Span,
    /// Byte offset behind its last character; a glued comment is not part of it.
    end: usize,
    quoted: bool,
}

struct Lexer<'a> {
    source: &'a Arc<Source>,
    tokens: Vec<Token>,
    word: Option<Word>,
    value: String,
}

impl Lexer<'_> {
    fn finish(&mut self, end: usize, last_line: u32) {
        if let Some(Word { start, .. }) = self.word.take() {
            self.tokens.push(Token {
                text: self.value.as_str().into(),
                source: Arc::clone(self.source),
                span: Span {
                    len: end - start.start,
                    last_line,
                    ..start
                },
                origin: 0,
            });
            self.value.clear();
        }
    }
}

/// Some editors put it at the start of a file.
const BYTE_ORDER_MARK: char = '\u{feff}';

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let tokens = lex(&Source::new("t", text.to_owned())).expect("lexes");
        tokens.iter().map(|token| token.text.to_string()).collect()
    }

    #[test]
    fn splits_into_words() {
        for (text, expected) in [
            ("", &[][..]),
            ("  \n\t ", &[]),
            ("a b\nc", &["a", "b", "c"]),
            ("\u{feff}a", &["a"]),
            ("a\r\nb\rc", &["a", "bc"]),
            ("a # b c\nd", &["a", "d"]),
            ("# only", &[]),
            ("a#b c\nd", &["a", "c", "d"]),
            ("a#b#c d", &["a", "d"]),
            ("\"a b\" c", &["a b", "c"]),
            ("\"a\nb\" c", &["a\nb", "c"]),
            (r#""a \"b\" \n \\" c"#, &[r#"a "b" \n \\"#, "c"]),
            (r#"a"b c"d"#, &["a\"b", "c\"d"]),
            ("\"\" x", &["", "x"]),
            ("\"a\"b", &["a", "b"]),
            ("\"a # b\"", &["a # b"]),
            ("\"a\r\"", &["a\r"]),
            ("a\u{a0}b\u{85}c", &["a", "b", "c"]),
            (".:53{", &[".:53{"]),
            ("`a b`", &["`a", "b`"]),
        ] {
            assert_eq!(words(text), expected, "{text:?}");
        }
    }

    #[test]
    fn knows_where_words_stand() {
        let text = "\u{feff}é a\n  \"b\nc\" d#x\n";
        let tokens = lex(&Source::new("t", text.to_owned())).expect("lexes");
        let places: Vec<_> = tokens
            .iter()
            .map(|Token { span, .. }| {
                let word = &text[span.start..span.start + span.len];
                (word, span.line, span.column, span.last_line)
            })
            .collect();
        assert_eq!(
            places,
            [
                ("é", 1, 1, 1),
                ("a", 1, 3, 1),
                ("\"b\nc\"", 2, 3, 3),
                ("d", 3, 4, 3)
            ]
        );
        assert!(tokens[2].starts_line_after(&tokens[1]));
        assert!(
            !tokens[3].starts_line_after(&tokens[2]),
            "it follows the closing quote"
        );
    }

    #[test]
    fn refuses_an_open_quote() {
        for text in ["a\n  \"b c", "\"", "\"a\\"] {
            let problem = lex(&Source::new("t", text.to_owned())).expect_err("open quote");
            assert_eq!(problem.reason(), &Reason::UnclosedQuote, "{text:?}");
        }
        let problem = lex(&Source::new("t", "a\n  \"b c".to_owned())).expect_err("open quote");
        assert_eq!(problem.to_string(), "t:2:3: this quote is never closed");
    }
}
