//! Which server of a group is asked first, and which one next.

use std::sync::atomic::Ordering;

use super::{Group, Policy};
use crate::chain::Random;

/// One query in so many goes to a server that mostly fails, to see whether it still does.
const TRIAL: usize = 32;

/// Which server a query asks next.
pub(super) struct Choice<'g> {
    group: &'g Group,
    order: Vec<usize>,
    /// How far in the order the query has come; it goes round.
    next: usize,
    /// A server for when all are down.
    anyone: usize,
    /// This query may try a server that mostly fails.
    trial: bool,
}

impl<'g> Choice<'g> {
    pub(super) fn new(group: &'g Group, random: &mut Random) -> Self {
        Self {
            group,
            order: group.order(random),
            next: 0,
            anyone: random.below(group.upstreams.len()),
            trial: random.below(TRIAL) == 0,
        }
    }

    /// The next server that is up and is not being asked; suspects and those that mostly fail only
    /// if there is nobody better. If `needed`, one that is down as the last resort.
    pub(super) fn next(&mut self, in_use: &[usize], needed: bool) -> Option<usize> {
        let count = self.order.len();
        let max_fails = self.group.settings.max_fails;
        let health = |place: usize| &self.group.upstreams[place].health;
        let good =
            |place: usize| !health(place).is_suspect() && (self.trial || !self.mostly_fails(place));
        let pick = |allowed: &dyn Fn(usize) -> bool| {
            (0..count).find(|step| {
                let place = self.order[(self.next + step) % count];
                !in_use.contains(&place) && !health(place).is_down(max_fails) && allowed(place)
            })
        };
        let step = pick(&good).or_else(|| pick(&|_| true));
        if let Some(step) = step {
            let place = self.order[(self.next + step) % count];
            self.next = (self.next + step + 1) % count;
            return Some(place);
        }
        if !needed {
            return None;
        }
        let broken = &self.group.counters.healthcheck_broken;
        broken.fetch_add(1, Ordering::Relaxed);
        (!self.group.settings.fail_fast).then_some(self.anyone)
    }

    /// Whether this server mostly fails while another does not.
    pub(super) fn has_better(&self, place: usize) -> bool {
        let max_fails = self.group.settings.max_fails;
        let is_better = |other: usize| {
            let health = &self.group.upstreams[other].health;
            let is_up = !health.is_suspect() && !health.is_down(max_fails);
            other != place && is_up && !self.mostly_fails(other)
        };
        self.mostly_fails(place) && (0..self.group.upstreams.len()).any(is_better)
    }

    /// Whether most of a server's replies are SERVFAIL. Nobody asks where one is to be asked as long as
    /// it is up: the others may know other names, and whoever asks for broken ones must not be able to
    /// send everybody there.
    fn mostly_fails(&self, place: usize) -> bool {
        let is_judged = self.group.settings.policy != Policy::Sequential;
        is_judged && self.group.upstreams[place].health.mostly_fails()
    }
}
