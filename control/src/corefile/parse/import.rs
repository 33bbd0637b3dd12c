//! What `import` brings in: the words of a snippet, a file, or all files that match a pattern.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::super::error::{Findings, Problem, Reason};
use super::super::lexer::{self, Source, Token};
use super::super::{Options, nearest};

/// The imports of one reading, with their limits.
pub(super) struct Imports {
    /// Every expansion so far; a word's `origin` is an index into it. The first is the Corefile.
    expansions: Vec<Expansion>,
    /// The words of files that were read, so that one imported often is read once.
    files: HashMap<PathBuf, Vec<Token>>,
    snippets: usize,
    words: usize,
}

/// Where words came from, and through which import.
struct Expansion {
    what: Arc<str>,
    parent: Option<u32>,
}

impl Imports {
    /// For the reading of one Corefile.
    pub(super) fn new(corefile: &Source, options: &Options) -> Self {
        let name = corefile.name();
        let path = options
            .files
            .then(|| fs::canonicalize(&**name).ok())
            .flatten();
        let what = path.map_or_else(|| Arc::clone(name), |path| path.to_string_lossy().into());
        let root = Expansion { what, parent: None };
        Self {
            expansions: vec![root],
            files: HashMap::new(),
            snippets: 0,
            words: 0,
        }
    }

    /// The words of a snippet that `import` names.
    pub(super) fn snippet(
        &mut self,
        import: &Token,
        body: &[Token],
    ) -> Result<Vec<Token>, Problem> {
        self.snippets += 1;
        if self.snippets > SNIPPETS_MAX {
            return Err(limit(import, SNIPPETS_MAX, "snippets"));
        }
        // No file name starts with a parenthesis by accident, so the two kinds cannot be confused.
        let name = format!("({})", import.text);
        self.expand(import, &name, body)
    }

    /// The words of the file or files that `import` names.
    pub(super) fn files<'a>(
        &mut self,
        import: &Token,
        options: &Options,
        findings: &Findings,
        snippets: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<Token>, Problem> {
        let fault = |reason| Problem::at(import, reason);
        let path = || (&*import.text).into();
        if !options.files {
            return Err(fault(Reason::ImportWithoutFiles { path: path() }));
        }
        // Relative to the file that says `import`, wherever the process was started.
        let directory = Path::new(&**import.source.name())
            .parent()
            .unwrap_or_else(|| Path::new(""));
        let pattern = directory.join(&*import.text);
        let text = pattern.to_string_lossy();
        let count = |wildcard| text.matches(wildcard).count();
        let bracketed = text.contains('[') && text.contains(']');
        if count('*') > 1 || count('?') > 1 || bracketed {
            return Err(fault(Reason::ImportPattern { pattern: path() }));
        }
        if !text.contains(['*', '?', '[', ']']) {
            if !pattern.exists() {
                let nearest = nearest(&import.text, snippets);
                return Err(fault(Reason::ImportMissing {
                    path: text.into(),
                    nearest,
                }));
            }
            return self.file(import, &pattern);
        }
        let matches = glob::glob(&text)
            .map_err(|_| fault(Reason::ImportPattern { pattern: path() }))?
            .filter_map(Result::ok)
            .filter(|path| !is_volume_link(path));
        let mut words = Vec::new();
        let mut files = 0;
        for path in matches {
            words.extend(self.file(import, &path)?);
            files += 1;
        }
        if files == 0 {
            findings.warn(import, format!("no file matches the pattern `{text}`"));
        }
        Ok(words)
    }

    fn file(&mut self, import: &Token, path: &Path) -> Result<Vec<Token>, Problem> {
        if self.expansions.len() > FILES_MAX + SNIPPETS_MAX {
            return Err(limit(import, FILES_MAX, "files"));
        }
        let name = path.to_string_lossy();
        let tokens = match self.files.get(path) {
            Some(tokens) => tokens.clone(),
            None => {
                let unreadable = |cause: String| Reason::ImportUnreadable {
                    path: (&*name).into(),
                    cause: cause.into(),
                };
                let bytes = read(path).map_err(|cause| Problem::at(import, unreadable(cause)))?;
                let source = Source::new(&name, String::from_utf8_lossy(&bytes).into_owned());
                let tokens = lexer::lex(&source)?;
                self.files.insert(path.to_owned(), tokens.clone());
                tokens
            }
        };
        // By its real path, so that no detour (`./x`, a link) hides that a file imports itself.
        let identity = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        self.expand(import, &identity.to_string_lossy(), &tokens)
    }

    /// Marks words as coming from a new expansion, unless that would never end.
    fn expand(
        &mut self,
        import: &Token,
        what: &str,
        words: &[Token],
    ) -> Result<Vec<Token>, Problem> {
        let mut ancestor = Some(import.origin);
        while let Some(expansion) = ancestor.and_then(|index| self.expansions.get(index as usize)) {
            if &*expansion.what == what {
                let name = (&*import.text).into();
                return Err(Problem::at(import, Reason::ImportCycle { name }));
            }
            ancestor = expansion.parent;
        }
        self.words += words.len();
        if self.words > WORDS_MAX {
            return Err(limit(import, WORDS_MAX, "words"));
        }
        let origin = u32::try_from(self.expansions.len()).expect("bounded by the limits below");
        self.expansions.push(Expansion {
            what: what.into(),
            parent: Some(import.origin),
        });
        Ok(words
            .iter()
            .map(|word| Token {
                origin,
                ..word.clone()
            })
            .collect())
    }
}

fn limit(import: &Token, limit: usize, what: &'static str) -> Problem {
    Problem::at(import, Reason::ImportLimit { limit, what })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    // Reading a device or a pipe might never end.
    if !path.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    fs::read(path).map_err(|error| error.to_string())
}

/// Whether a match is one of the entries that the kubelet keeps next to the files of a ConfigMap
/// volume (`..data`, `..2024_01_31…`). They are never meant, yet `import custom/*` matches them.
fn is_volume_link(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("..") && path.is_dir()
}

/// How many snippets may be expanded, as in CoreDNS.
const SNIPPETS_MAX: usize = 10_000;

/// How many files may be expanded, as in CoreDNS.
const FILES_MAX: usize = 100_000;

/// How many words imports may bring in. CoreDNS has no such limit; without it, a few lines of
/// snippets that import each other twice fill the memory.
const WORDS_MAX: usize = 1_000_000;
