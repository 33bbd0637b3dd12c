//! Directives that are a word and nothing else.

use super::super::args::Args;
use super::super::error::Problem;
use super::{Directive, Second};

macro_rules! bare {
    ($($(#[$doc:meta])+ $name:ident = $text:literal, $second:ident;)+) => {$(
        $(#[$doc])+
        #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
        pub struct $name;

        impl Directive for $name {
            const NAME: &'static str = $text;
            const SECOND: Second = Second::$second;

            fn parse(_args: &mut Args<'_>) -> Result<Self, Problem> {
                Ok(Self)
            }
        }
    )+};
}

bare! {
    /// `any`: minimal answers to ANY queries (RFC 8482).
    Any = "any", Ignored;
    /// `debug`: debug messages, and hexdumps of what cannot be read.
    Debug = "debug", Replaces;
    /// `minimal`: replies without what they do not need.
    Minimal = "minimal", Ignored;
    /// `shed`: no more queries at once than can be answered. martlet does that by itself: a worker
    /// takes a batch from its socket when the one before is answered, so that what it has no time for
    /// waits in the kernel's buffer or is dropped there; and the queues of the slow path are bounded.
    Shed = "shed", Ignored;
    /// `whoami`: answers with the address and port of the client.
    Whoami = "whoami", Ignored;
}

#[cfg(test)]
mod tests {
    use super::super::Directives;
    use super::super::testing::{bad, good};

    #[test]
    fn take_nothing_and_may_be_repeated() {
        type IsThere = fn(&Directives) -> bool;
        let cases: [(&str, IsThere); 5] = [
            ("any", |it| it.any.is_some()),
            ("debug", |it| it.debug.is_some()),
            ("minimal", |it| it.minimal.is_some()),
            ("shed", |it| it.shed.is_some()),
            ("whoami", |it| it.whoami.is_some()),
        ];
        for (name, is_there) in cases {
            assert!(is_there(&good(name)), "{name}");
            assert!(is_there(&good(&format!("{name}\n{name}"))), "{name} twice");
            assert_eq!(
                bad(&format!("{name} 255")),
                [format!(
                    "Corefile:2:{}: `{name}` takes no argument `255` here",
                    name.len() + 2
                )]
            );
            assert_eq!(
                bad(&format!("{name} {{\n x\n}}")),
                [format!("Corefile:2:1: `{name}` takes no block")]
            );
        }
    }
}
