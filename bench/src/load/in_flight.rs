//! The queries of one socket that wait for their reply, found by ID.

/// A query on its way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Sent {
    /// Its place in the query set.
    pub(super) query: usize,
    /// When it was meant to leave, in nanoseconds since the run's start.
    pub(super) at_ns: u64,
    /// False for the warm-up's queries.
    pub(super) counted: bool,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// The full ID of the slot's last query.
    id: u16,
    sent: Option<Sent>,
}

/// A table of a fixed number of slots. The low bits of an ID are the slot, the others count how
/// often the slot was used: a reply that comes twice, or too late, finds its ID gone.
#[derive(Debug)]
pub(super) struct InFlight {
    slots: Box<[Slot]>,
    free: Vec<u16>,
}

impl InFlight {
    /// A table for `capacity` queries, rounded up to a power of two of at most 2^15, so that an ID
    /// never comes back at once.
    pub(super) fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, CAPACITY_MAX).next_power_of_two();
        let capacity = u16::try_from(capacity).expect("at most 2^15");
        let slots = (0..capacity).map(|id| Slot { id, sent: None }).collect();
        Self {
            slots,
            free: (0..capacity).rev().collect(),
        }
    }

    /// Slots in use.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Enters a query and gives the ID to send it with; `None` when the table is full.
    pub(super) fn enter(&mut self, sent: Sent) -> Option<u16> {
        let at = self.free.pop()?;
        let step = self.slots.len();
        let slot = &mut self.slots[usize::from(at)];
        slot.id = slot
            .id
            .wrapping_add(u16::try_from(step).expect("at most 2^15"));
        slot.sent = Some(sent);
        Some(slot.id)
    }

    /// Takes out the query that has this ID, if it is still waited for.
    pub(super) fn take(&mut self, id: u16) -> Option<Sent> {
        let at = usize::from(id) & (self.slots.len() - 1);
        let slot = &mut self.slots[at];
        if slot.id != id {
            return None;
        }
        let sent = slot.sent.take()?;
        self.free.push(u16::try_from(at).expect("masked"));
        Some(sent)
    }

    /// Takes out all queries that were meant to leave before `before_ns`, and hands each to `lost`.
    pub(super) fn expire(&mut self, before_ns: u64, mut lost: impl FnMut(Sent)) {
        for (at, slot) in (0..).zip(&mut self.slots) {
            if let Some(sent) = slot.sent.take_if(|sent| sent.at_ns < before_ns) {
                self.free.push(at);
                lost(sent);
            }
        }
    }
}

const CAPACITY_MAX: usize = 1 << 15;

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(query: usize, at_ns: u64) -> Sent {
        Sent {
            query,
            at_ns,
            counted: true,
        }
    }

    #[test]
    fn an_id_is_good_for_one_reply() {
        let mut table = InFlight::new(3);
        let ids: Vec<u16> = (0..4).map(|at| table.enter(sent(at, 0)).unwrap()).collect();
        assert_eq!(
            table.enter(sent(9, 0)),
            None,
            "3 rounds up to 4, and no further"
        );
        assert_eq!(table.take(ids[2]), Some(sent(2, 0)));
        assert_eq!(table.take(ids[2]), None, "twice");
        let again = table.enter(sent(5, 0)).unwrap();
        assert_eq!(
            (again & 3, again != ids[2]),
            (ids[2] & 3, true),
            "same slot, other ID"
        );
        assert_eq!(table.take(ids[2]), None, "late");
        assert_eq!(table.take(again), Some(sent(5, 0)));
        assert_eq!(table.len(), 3);
    }

    #[test]
    fn only_the_old_expire() {
        let mut table = InFlight::new(4);
        let old = table.enter(sent(0, 10)).unwrap();
        let young = table.enter(sent(1, 20)).unwrap();
        let mut lost = Vec::new();
        table.expire(20, |sent| lost.push(sent.query));
        assert_eq!((lost, table.len()), (vec![0], 1));
        assert_eq!(table.take(old), None);
        assert_eq!(table.take(young), Some(sent(1, 20)));
    }

    #[test]
    fn the_largest_table_still_tells_generations_apart() {
        let mut table = InFlight::new(usize::MAX);
        let first = table.enter(sent(0, 0)).unwrap();
        table.take(first).unwrap();
        assert_ne!(table.enter(sent(0, 0)).unwrap(), first);
    }
}
