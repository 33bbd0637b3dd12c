//! The reasons for which a Corefile is refused, with the remedy where there is one.

use super::Position;
use crate::corefile::directives;

/// Why a Corefile is refused.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Reason {
    /// The file cannot be read.
    #[error("cannot read the Corefile: {cause}")]
    Unreadable {
        /// What the system said.
        cause: Box<str>,
    },
    /// A quoted word runs to the end of the file.
    #[error("this quote is never closed")]
    UnclosedQuote,
    /// A `{` without its `}`.
    #[error("this block is never closed")]
    UnclosedBlock,
    /// A `}` without its `{`.
    #[error("this `}}` closes nothing")]
    StrayBrace,
    /// A second server block without braces.
    #[error("expected `{{` after the zone `{zone}`")]
    BlockWithoutBrace {
        /// The zone.
        zone: Box<str>,
    },
    /// A `}` on the line of a directive, without a `{` of its own.
    #[error("unexpected `}}` on the line of `{directive}`")]
    BraceAfterDirective {
        /// The directive.
        directive: Box<str>,
    },
    /// A `{` on the line below its directive.
    #[error("the `{{` must stand on the line of `{directive}`")]
    BraceOnNextLine {
        /// The directive.
        directive: Box<str>,
    },
    /// A block inside the block of a directive that has none.
    #[error("`{directive}` has no blocks inside its block")]
    NestedBlock {
        /// The directive.
        directive: Box<str>,
    },
    /// A block for a directive that takes none.
    #[error("`{directive}` takes no block")]
    NoBlock {
        /// The directive.
        directive: Box<str>,
    },
    /// A server block that starts with `{`.
    #[error("a server block needs at least one zone before its `{{`")]
    BlockWithoutAddress,
    /// A comma with no address behind it.
    #[error("expected another zone after the comma")]
    MissingAddress,
    /// A snippet without braces.
    #[error("the snippet `{name}` needs a block in braces")]
    SnippetWithoutBlock {
        /// The snippet.
        name: Box<str>,
    },
    /// Two snippets of one name.
    #[error("the snippet `{name}` is already defined at {first}")]
    SnippetRedefined {
        /// The snippet.
        name: Box<str>,
        /// Where the first one is.
        first: Position,
    },
    /// An import that leads to itself.
    #[error("`{name}` imports itself")]
    ImportCycle {
        /// The snippet or file.
        name: Box<str>,
    },
    /// `import` without or with several arguments.
    #[error("`import` takes exactly one argument: a snippet, a file or a pattern")]
    ImportArguments,
    /// A file that is not there.
    #[error("there is no file `{path}` and no snippet of that name to import")]
    ImportMissing {
        /// The path that was tried.
        path: Box<str>,
        /// A snippet with a similar name.
        nearest: Option<Box<str>>,
    },
    /// A file that cannot be read.
    #[error("cannot import `{path}`: {cause}")]
    ImportUnreadable {
        /// The path.
        path: Box<str>,
        /// What the system said.
        cause: Box<str>,
    },
    /// An import where no file may be read.
    #[error("`{path}` is not a snippet, and files are not imported here")]
    ImportWithoutFiles {
        /// What was to be imported.
        path: Box<str>,
    },
    /// A pattern that could match too much.
    #[error("the pattern `{pattern}` may hold one `*` and one `?`, and no `[…]`")]
    ImportPattern {
        /// The pattern.
        pattern: Box<str>,
    },
    /// Imports that grow without end.
    #[error("imports expand to more than {limit} {what}")]
    ImportLimit {
        /// The limit.
        limit: usize,
        /// What is limited.
        what: &'static str,
    },
    /// A scheme that no server has.
    #[error("`{scheme}://` is not a scheme of server blocks")]
    UnknownScheme {
        /// The scheme.
        scheme: Box<str>,
        /// The most similar one.
        nearest: Option<Box<str>>,
    },
    /// A word that is not a zone.
    #[error("`{value}` is not a zone: {cause}")]
    Zone {
        /// The word.
        value: Box<str>,
        /// What is wrong with it.
        cause: ZoneFault,
    },
    /// A zone that an earlier block serves on the same port.
    #[error("cannot serve {address}: it is already served by the block at {first}")]
    AlreadyServed {
        /// Scheme, zone and port.
        address: Box<str>,
        /// The earlier block.
        first: Position,
    },
    /// A zone that is served both on all addresses and on some.
    #[error(
        "cannot serve {address}: the block at {first} serves the same zone and port, and one of the \
         two has no `bind`"
    )]
    BindOverlap {
        /// Scheme, zone, port and address.
        address: Box<str>,
        /// The earlier block.
        first: Position,
    },
    /// A word that is no directive.
    #[error("unknown directive `{name}`")]
    UnknownDirective {
        /// The word.
        name: Box<str>,
        /// The most similar directive.
        nearest: Option<Box<str>>,
    },
    /// A directive or option of CoreDNS that martlet does not have.
    #[error("{name} is not supported yet")]
    NotSupported {
        /// The directive or option.
        name: Box<str>,
    },
    /// A directive that martlet leaves out on purpose.
    #[error("`{name}` is not supported by design")]
    Never {
        /// The directive.
        name: &'static str,
        /// Why, and what to do.
        because: &'static str,
    },
    /// A directive or option of an old CoreDNS.
    #[error("`{name}` was removed in CoreDNS {release}")]
    Removed {
        /// The directive or option.
        name: &'static str,
        /// The release that removed it.
        release: &'static str,
        /// What to write in its place.
        instead: &'static str,
    },
    /// A directive that may be given once in a server block.
    #[error("`{directive}` may be given once in a server block; it is already at {first}")]
    Repeated {
        /// The directive.
        directive: &'static str,
        /// The first one.
        first: Position,
    },
    /// An argument is missing.
    #[error("`{of}` needs {expected}")]
    MissingArgument {
        /// The directive or option.
        of: Box<str>,
        /// What was expected.
        expected: &'static str,
    },
    /// There are too many arguments.
    #[error("`{of}` takes no argument `{value}` here")]
    ExtraArgument {
        /// The directive or option.
        of: Box<str>,
        /// The first one too many.
        value: Box<str>,
    },
    /// An option that the directive does not have.
    #[error("`{directive}` has no option `{option}`")]
    UnknownOption {
        /// The directive.
        directive: &'static str,
        /// The option.
        option: Box<str>,
        /// The most similar one.
        nearest: Option<Box<str>>,
    },
    /// A word where one of a few was expected.
    #[error("`{of}`: `{value}` is not {expected}")]
    UnknownWord {
        /// The directive or option.
        of: Box<str>,
        /// The word.
        value: Box<str>,
        /// What was expected, with the choices.
        expected: Box<str>,
        /// The most similar choice.
        nearest: Option<Box<str>>,
    },
    /// A word of the wrong form.
    #[error("`{of}`: `{value}` is not {expected}")]
    NotA {
        /// The directive or option.
        of: Box<str>,
        /// The word.
        value: Box<str>,
        /// What was expected, with an example.
        expected: &'static str,
    },
    /// A value outside its range.
    #[error("`{of}` must be {range}, not `{value}`")]
    OutOfRange {
        /// The directive or option.
        of: Box<str>,
        /// The range, in words.
        range: &'static str,
        /// The value.
        value: Box<str>,
    },
    /// A regular expression that cannot be compiled.
    #[error("bad regular expression: {cause}")]
    Pattern {
        /// What is wrong with it, in one line.
        cause: Box<str>,
    },
    /// A template or an expression that cannot be read.
    #[error("`{of}`: {cause}")]
    Script {
        /// The option.
        of: Box<str>,
        /// What is wrong with it.
        cause: Box<str>,
    },
    /// A selector with an operator that CoreDNS refuses.
    #[error("the selector operator `{operator}` cannot be used here")]
    SelectorOperator {
        /// The operator.
        operator: &'static str,
    },
    /// `kubernetes` without a zone for Services.
    #[error("`kubernetes` needs at least one zone that is not a reverse zone")]
    OnlyReverseZones,
    /// `multicluster` with a zone that `kubernetes` is not there for.
    #[error("`multicluster`: `{zone}` is not among the zones of `kubernetes`")]
    MulticlusterZone {
        /// The zone.
        zone: Box<str>,
    },
    /// Two options that exclude each other.
    #[error("`{one}` and `{other}` cannot both be set")]
    Conflict {
        /// The first option.
        one: &'static str,
        /// The second option.
        other: &'static str,
    },
    /// An option without the one that it refines.
    #[error("`{option}` needs `{needs}`")]
    Needs {
        /// The option.
        option: &'static str,
        /// What it needs.
        needs: &'static str,
    },
    /// More upstreams than one `forward` may have.
    #[error("`forward` takes at most {limit} upstreams, not {found}")]
    TooManyUpstreams {
        /// The limit.
        limit: usize,
        /// How many there are.
        found: usize,
    },
    /// An upstream protocol that `forward` does not speak.
    #[error("`forward` cannot use `{value}`: its upstreams are dns, tls and https")]
    UpstreamScheme {
        /// The upstream.
        value: Box<str>,
    },
}

/// What is wrong with a zone.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ZoneFault {
    /// Nothing is left.
    #[error("it is empty")]
    Empty,
    /// Two dots in a row, or one at the start.
    #[error("a label is empty")]
    EmptyLabel,
    /// RFC 1035 §2.3.4.
    #[error("a label is longer than 63 bytes")]
    LongLabel,
    /// RFC 1035 §2.3.4.
    #[error("it is longer than 255 bytes")]
    Long,
    /// It ends within an escape.
    #[error("it ends in a backslash")]
    OpenEscape,
    /// `\DDD` above what an octet holds.
    #[error("a number behind a backslash is above 255")]
    BigEscape,
    /// `zone:` without a port.
    #[error("a port must follow the last colon")]
    NoPort,
    /// A port that is not a number up to 65535.
    #[error("what follows the last colon is not a port")]
    BadPort,
    /// An address block that cannot become reverse zones.
    #[error("write the address block in full, as in `2001:db8::/32`")]
    BadCidr,
}

impl Reason {
    /// How to repair it, where that can be said in a few words.
    pub fn help(&self) -> Option<String> {
        let nearest = |nearest: &Option<Box<str>>| {
            nearest
                .as_ref()
                .map(|word| format!("did you mean `{word}`?"))
        };
        match self {
            Self::UnknownDirective { nearest: word, .. }
            | Self::UnknownOption { nearest: word, .. }
            | Self::UnknownScheme { nearest: word, .. }
            | Self::ImportMissing { nearest: word, .. }
            | Self::UnknownWord { nearest: word, .. } => nearest(word),
            Self::Removed { instead: text, .. } | Self::Never { because: text, .. } => {
                Some((*text).to_owned())
            }
            Self::UnclosedBlock => Some("add a `}` on a line of its own".to_owned()),
            Self::BraceAfterDirective { .. } => Some("put the `}` on a line of its own".to_owned()),
            Self::SelectorOperator { operator: "!=" } => {
                Some("write `KEY notin (VALUE)`".to_owned())
            }
            Self::BindOverlap { .. } => {
                Some("give both a `bind`, or other zones or ports".to_owned())
            }
            Self::MulticlusterZone { zone } => {
                Some(format!("write `kubernetes cluster.local {zone} {{`"))
            }
            Self::OnlyReverseZones => Some("add the cluster domain: cluster.local".to_owned()),
            Self::BlockWithoutBrace { zone } if directives::is_known(zone) => Some(format!(
                "if `{zone}` is meant as a directive: a `}}` above closes too early"
            )),
            Self::SnippetWithoutBlock { name } => Some(format!("write `({name}) {{`")),
            _ => None,
        }
    }
}
