//! `multisocket [N]`: how many sockets an address has, which is how many workers there are.

use std::num::NonZeroU16;

use super::super::args::Args;
use super::super::error::Problem;
use super::Directive;

/// `multisocket`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Multisocket {
    /// As many as there are cores if not given.
    pub sockets: Option<NonZeroU16>,
}

/// As in CoreDNS.
const MOST: u16 = 1_024;

impl Directive for Multisocket {
    const NAME: &'static str = "multisocket";

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let Some(argument) = args.next() else {
            return Ok(Self { sockets: None });
        };
        let sockets = NonZeroU16::new(argument.number()?);
        match sockets.filter(|sockets| sockets.get() <= MOST) {
            None => Err(argument.out_of("from 1 to 1024")),
            sockets => Ok(Self { sockets }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good};

    #[test]
    fn reads_its_number() {
        for (text, sockets) in [
            ("multisocket", None),
            ("multisocket 1", Some(1)),
            ("multisocket 1024", Some(1_024)),
        ] {
            let found = good(text).multisocket.unwrap().sockets;
            assert_eq!(found.map(u16::from), sockets, "{text}");
        }
        for (text, expected) in [
            ("multisocket 0", "must be from 1 to 1024"),
            ("multisocket 1025", "must be from 1 to 1024"),
            ("multisocket x", "is not a number"),
            ("multisocket 1 2", "takes no argument"),
            ("multisocket 1\nmultisocket 2", "may be given once"),
        ] {
            let found = bad(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains(expected), "{text}: {found:?}");
        }
    }
}
