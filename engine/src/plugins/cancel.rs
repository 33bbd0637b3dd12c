//! `cancel`: a limit for how long a query waits for upstreams.

use std::time::Duration;

use crate::chain::{Context, Step};

/// Nothing waits on the fast path, so nothing is done there, not even reading the clock: the slow path
/// walks the chain from the start and comes here again.
pub(crate) fn query(limit: Duration, context: &mut Context<'_>) -> Step {
    if context.gathered.is_some() && !context.is_refresh() {
        context.limit_patience(limit.saturating_sub(context.peer.received.elapsed()));
    }
    Step::Next
}

#[cfg(test)]
mod tests {
    use super::super::testing::peer;
    use super::*;
    use crate::chain::{Listener, Protocol, Random};
    use crate::gathered::Gathered;
    use crate::log::LogSink;
    use crate::metrics::Scope;
    use crate::plugins::testing::query as packet;
    use crate::plugins::timeouts::Timeouts;
    use crate::wire::{FoldedName, Query, RType};

    #[test]
    fn only_those_who_wait_have_a_limit() {
        let seconds = Duration::from_secs;
        let listener = Listener {
            addresses: Vec::new(),
            protocol: Protocol::Dns,
            blocks: Vec::new(),
            timeouts: Timeouts::default(),
            other_classes: false,
            scope: Scope::NONE,
        };
        let (log, _lines) = LogSink::new();
        let packet = packet("a.test.", RType::A, &[]);
        let mut name = FoldedName::default();
        let asked = Query::parse(&packet, &mut name).unwrap();
        let here = peer("192.0.2.1");
        // The upper bounds, as time goes on meanwhile.
        for (what, gathered, before, expected) in [
            ("on the fast path", None, None, None),
            ("waiting", Some(false), None, Some(seconds(100))),
            (
                "less patient anyway",
                Some(false),
                Some(seconds(7)),
                Some(seconds(7)),
            ),
            (
                "more patient",
                Some(false),
                Some(seconds(900)),
                Some(seconds(100)),
            ),
            ("a refresh", Some(true), None, None),
        ] {
            let gathered = gathered.map(Gathered::new);
            let mut random = Random::new();
            let mut context = Context::new(asked, &name, &here, &listener, &mut random, &log);
            (context.gathered, context.patience) = (gathered.as_ref(), before);
            assert_eq!(query(seconds(100), &mut context), Step::Next);
            let found = context.patience;
            assert_eq!(found.is_some(), expected.is_some(), "{what}");
            assert!(found <= expected, "{what}: {found:?}");
            let late = expected.unwrap_or_default().saturating_sub(seconds(90));
            assert!(found.unwrap_or_default() >= late, "{what}: {found:?}");
        }
    }
}
