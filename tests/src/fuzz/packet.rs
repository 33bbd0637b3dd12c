use std::sync::{Arc, LazyLock};

use martlet_engine::chain::{Listener, Stage};
use martlet_engine::gathered::Exchanged;
use martlet_engine::wire::Message;
use martlet_engine::wire::message::question_of;

use super::answer::{answer, failure};
use super::cluster::{KUBERNETES, forwarding, listener};

static LOCAL: LazyLock<Listener> =
    LazyLock::new(|| listener(vec![Stage::LoadBalance, KUBERNETES.clone(), Stage::Whoami]));

/// Any octets as a message, to a server that knows all there is and to one that asks elsewhere: a
/// well-formed reply or silence, never a panic, and no query that asks for ever.
pub fn packet(message: &[u8]) {
    for stream in [false, true] {
        answer(&LOCAL, message, stream, upstream);
        answer(&forwarding(), message, stream, upstream);
    }
}

/// An upstream that has nothing for anybody.
fn upstream(request: &[u8]) -> Exchanged {
    let header = [&request[..2], b"\x81\x80\0\x01\0\0\0\0\0\0"].concat();
    let reply = [&header, question_of(request)].concat();
    Message::parse(request, &reply)
        .map(Arc::new)
        .map_err(failure)
}

#[cfg(test)]
mod tests {
    use super::super::answer::query;
    use super::super::spoilt;
    use super::*;

    #[test]
    fn messages_are_answered_or_ignored() {
        for (name, qtype) in [
            ("web.default.svc.cluster.local", 1),
            ("db.default.svc.cluster.local", 33),
            ("ext.default.svc.cluster.local", 28),
            ("alias.default.svc.cluster.local", 1),
            ("example.com", 255),
            (".", 2),
        ] {
            for payload_size in [0, 1_232] {
                let query = query(name, qtype, payload_size);
                spoilt(&query).for_each(|message| packet(&message));
            }
        }
    }
}
