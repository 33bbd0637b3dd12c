//! `nsid`: the server's identifier, for clients that ask for it (RFC 5001).

use crate::chain::{Context, Step};
use crate::wire::query::options;
use crate::wire::{Edns, Reply};

const NSID: u16 = 3;

/// Puts the identifier into the reply. As in CoreDNS, DO is set then, and options that would have
/// been sent back are not, unless an upstream gave some.
pub(crate) fn response(id: &[u8], context: &Context<'_>, step: Step, reply: &mut Reply<'_>) {
    let Some(edns) = context.query.edns.filter(|_| step == Step::Answered) else {
        return;
    };
    if !options(edns.options).any(|(code, _)| code == NSID) {
        return;
    }
    let own = reply.own_opt().cloned();
    let (flags, others) = own.unwrap_or_else(|| (Edns::DO, Box::default()));
    let mut all = Vec::with_capacity(others.len() + id.len() + 4);
    for (code, option) in options(&others) {
        if code != NSID {
            all.extend(option);
        }
    }
    all.extend(NSID.to_be_bytes());
    all.extend((id.len() as u16).to_be_bytes());
    all.extend(id);
    reply.set_opt(flags, all.into());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Stage;
    use crate::plugins::testing::{ask_from, peer, query};
    use crate::wire::reply::Owner;
    use crate::wire::{Answer, Flags, RType, Section};

    /// What the client pads its query with is not sent back, so it takes no room.
    #[test]
    fn the_reply_is_as_large_as_its_client_takes() {
        let stages = [
            Stage::Nsid([7; 20].into()),
            Stage::Fixed(|_, reply| {
                reply.set_opt(0, Box::default());
                for last in 0..40 {
                    let (section, owner) = (Section::Answer, Owner::Question);
                    reply.record(section, owner, RType::A, 5, &[10, 0, 0, last]);
                }
                Step::Answered
            }),
        ];
        for (padding, size) in [(0, 512_u16), (100, 512), (400, 512), (400, 600)] {
            let [s1, s2] = size.to_be_bytes();
            let [p1, p2] = u16::to_be_bytes(padding);
            let [l1, l2] = (padding + 8).to_be_bytes();
            let fixed = [0, 0, 41, s1, s2, 0, 0, 0, 0, l1, l2];
            let options = [0, 3, 0, 0, 0, 12, p1, p2];
            let opt = [&fixed[..], &options, &vec![0; padding.into()]].concat();
            let message = query("a.test.", RType::A, &opt);
            let reply = ask_from(&stages, peer("192.0.2.1"), &message).unwrap();
            let answer = Answer::read(&reply).unwrap();
            assert!(answer.flags.has(Flags::TC));
            let room = usize::from(size) - 24 - 11 - 24;
            assert_eq!(answer.sections[0].len(), room / 16, "{padding} {size}");
            assert!(reply.ends_with(&[7; 20]));
        }
    }
}
