//! Stages that answer from what the Corefile and its files say.

use std::sync::Arc;

use martlet_engine::chain::Stage;
use martlet_engine::plugins::hosts;
use martlet_engine::plugins::zones::Zones;

use super::super::{Watch, wire};
use crate::corefile::{Fallthrough, Hosts, ZoneName};
use crate::hosts::HostsFile;

/// Zones as plugins look them up.
fn zones(zones: &[ZoneName]) -> Zones {
    Zones::new(zones.iter().map(|zone| wire(zone).0))
}

fn falls(fallthrough: &Fallthrough) -> Zones {
    match fallthrough {
        Fallthrough::None => Zones::default(),
        Fallthrough::All => zones(&[ZoneName::root()]),
        Fallthrough::Zones(list) => zones(list),
    }
}

/// `hosts`.
pub(super) fn hosts(directive: &Hosts, watches: &mut Vec<Watch>) -> Stage {
    let zones = zones(&directive.zones);
    let mut inline = hosts::Table::default();
    for (address, names) in &directive.inline {
        for (name, _) in names.iter().map(wire) {
            if zones.hold_wire(&name) {
                inline.add(&name, *address, directive.reverse);
            }
        }
    }
    let (path, reverse) = (&directive.path, directive.reverse);
    let file = HostsFile::open(path, zones.clone(), reverse, directive.reload);
    let stage = hosts::Hosts {
        zones,
        path: path.clone(),
        file: file.table(),
        inline,
        ttl: directive.ttl,
        fallthrough: falls(&directive.fallthrough),
        fallthrough_unsupported: directive.fallthrough_unsupported,
    };
    watches.push(Box::pin(file.watch()));
    Stage::Hosts(Arc::new(stage))
}
