//! How an upstream can go wrong, and what it sends then.

use std::time::Duration;

use super::Transport;
use super::message::Entry;
use super::zone::TC;
use super::{Message, Reaction};

/// What goes wrong with the reply to a query.
#[derive(Clone, Debug)]
pub enum Fault {
    /// None comes.
    Silence,
    /// It comes so much later.
    Late(Duration),
    /// It has another ID.
    WrongId,
    /// It is to another question, and answers that.
    WrongQuestion,
    /// The right question and ID, but the answer is about another name altogether.
    NoQuestion,
    /// Before and after it come so many that are forged: other IDs, and an address that is wrong
    /// ([`FORGED`]); some have the right ID and come from another port.
    Forged(u16),
    /// Over UDP it has TC and no records; nothing is wrong over TCP.
    Truncated,
    /// Octets that are no message, behind the right ID.
    Garbage,
    /// Half of it; then, over TCP, the connection is closed.
    HalfAndClose,
    /// It has this response code and no records.
    Rcode(u16),
    /// It comes from another port (over TCP, where that cannot be, not at all).
    OtherSource,
    /// It comes so many times.
    Repeated(usize),
}

/// The address in forged answers.
pub const FORGED: &str = "198.18.6.66";

/// One thing that is sent.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Sent {
    /// These octets, as a message.
    Message(Vec<u8>),
    /// These octets, from a socket of another port.
    Elsewhere(Vec<u8>),
    /// These octets, as the beginning of a message that is this long, and no more on this
    /// connection.
    Cut(Vec<u8>, usize),
}

impl Reaction {
    /// How long to wait first.
    pub(super) fn pause(&self) -> Duration {
        match self.fault {
            Some(Fault::Late(by)) => self.delay + by,
            _ => self.delay,
        }
    }

    /// All that is sent.
    pub(super) fn sent(&self, over: Transport) -> Vec<Sent> {
        let message = |change: &dyn Fn(&mut Message)| {
            let mut message = self.message.clone();
            change(&mut message);
            Sent::Message(message.wire())
        };
        let clear = |message: &mut Message| {
            message.answer.clear();
            message.authority.clear();
            message.additional.clear();
        };
        let good = || message(&|_| {});
        let Some(fault) = &self.fault else {
            return vec![good()];
        };
        match fault {
            Fault::Silence => Vec::new(),
            Fault::Late(_) => vec![good()],
            Fault::WrongId => vec![message(&|message| message.id ^= 0x0f0f)],
            Fault::WrongQuestion => vec![message(&|message| {
                forge(message);
                message.question[0] = "victim.wild.test.".to_owned();
                message.answer[0].owner.clone_from(&message.question[0]);
            })],
            Fault::NoQuestion => {
                let Sent::Message(mut wire) = message(&forge) else {
                    unreachable!("made as a message");
                };
                // The first record's owner is a pointer to the question, which is then taken for
                // the record: whoever trusts the counts reads nonsense.
                wire[4..6].fill(0);
                vec![Sent::Message(wire)]
            }
            Fault::Forged(count) => {
                let forged = |n: u16| {
                    let mut message = self.message.clone();
                    forge(&mut message);
                    // The right ID only from the wrong place.
                    if n % 16 == 15 {
                        return Sent::Elsewhere(message.wire());
                    }
                    message.id = message.id.wrapping_add(n.max(1));
                    Sent::Message(message.wire())
                };
                let before = (1..=count / 2).map(forged);
                let after = (count / 2 + 1..=*count).map(forged);
                before.chain([good()]).chain(after).collect()
            }
            Fault::Truncated if over == Transport::Udp => vec![message(&|message| {
                clear(message);
                message.flags |= TC;
            })],
            Fault::Truncated => vec![good()],
            Fault::Garbage => {
                let mut octets = self.message.id.to_be_bytes().to_vec();
                octets.extend((0..60_u8).map(|n| n.wrapping_mul(167) ^ 0x5a));
                vec![Sent::Message(octets)]
            }
            Fault::HalfAndClose => {
                let wire = self.message.wire();
                vec![Sent::Cut(wire[..wire.len() / 2].to_vec(), wire.len())]
            }
            Fault::Rcode(rcode) => vec![message(&|message| {
                clear(message);
                message.rcode = *rcode;
            })],
            Fault::OtherSource => {
                let mut message = self.message.clone();
                forge(&mut message);
                vec![Sent::Elsewhere(message.wire())]
            }
            Fault::Repeated(times) => (0..*times).map(|_| good()).collect(),
        }
    }
}

/// The answer that must not be believed.
fn forge(message: &mut Message) {
    message.rcode = 0;
    message.authority.clear();
    message.additional.clear();
    message.answer = vec![Entry::new(&message.question[0], 600, "A", FORGED)];
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::decode;

    fn reaction(fault: Fault) -> Reaction {
        let question = ["a.test.", "IN", "A"].map(str::to_owned);
        let answer = vec![Entry::new("a.test.", 1, "A", "192.0.2.1")];
        let message = Message {
            id: 7,
            flags: 0x8000,
            question,
            answer,
            ..Message::default()
        };
        Reaction {
            message,
            delay: Duration::ZERO,
            fault: Some(fault),
        }
    }

    #[test]
    fn forged_replies_surround_the_real_one() {
        let forged = |octets: &[u8]| decode(octets, 0).addresses()[0].to_string() == FORGED;
        let sent = reaction(Fault::Forged(100)).sent(Transport::Udp);
        assert_eq!(sent.len(), 101);
        for (n, sent) in sent.iter().enumerate() {
            match sent {
                // Nothing but the ID or the source gives a forged one away.
                Sent::Message(octets) => {
                    let right_id = octets[..2] == [0, 7];
                    assert_eq!((right_id, forged(octets)), (n == 50, n != 50), "{n}");
                }
                Sent::Elsewhere(octets) => assert!(octets[..2] == [0, 7] && forged(octets)),
                Sent::Cut(..) => panic!("{n} is cut"),
            }
        }
        let elsewhere = |sent: &&Sent| matches!(sent, Sent::Elsewhere(_));
        assert_eq!(sent.iter().filter(elsewhere).count(), 6);
    }

    #[test]
    fn each_fault_breaks_what_it_says() {
        let wrong = |fault| match reaction(fault).sent(Transport::Udp).pop() {
            Some(Sent::Message(octets)) => (decode(&octets, 0), octets),
            other => panic!("{other:?}"),
        };
        assert_ne!(wrong(Fault::WrongId).1[..2], [0, 7]);
        let (reply, _) = wrong(Fault::WrongQuestion);
        assert_eq!(reply.q[0][0], reply.an[0].owner());
        assert_ne!(reply.q[0][0], "a.test.");
        assert!(wrong(Fault::NoQuestion).0.q.is_empty());
        assert!(wrong(Fault::Garbage).0.malformed.is_some());
        assert_eq!(wrong(Fault::Rcode(5)).0.rcode, "REFUSED");
        assert!(wrong(Fault::Truncated).0.has("TC"));
        assert!(reaction(Fault::Silence).sent(Transport::Tcp).is_empty());
        assert_eq!(reaction(Fault::Repeated(3)).sent(Transport::Tcp).len(), 3);
    }
}
