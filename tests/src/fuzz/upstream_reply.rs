use std::sync::Arc;

use martlet_engine::wire::Message;
use martlet_engine::wire::walk::skip_name;

use super::answer::{answer, failure, query};
use super::cluster::forwarding;

/// Questions by name and type; the second one asks an upstream for the target of an alias.
const QUESTIONS: [(&str, u8); 4] = [
    ("example.com", 1),
    ("ext.default.svc.cluster.local", 1),
    ("a.very.long.name.under.example.org", 28),
    (".", 255),
];

/// Any octets as what an upstream sends: the client gets a well-formed reply, and so does the one
/// who asks the cache afterwards; never a panic.
///
/// The first octet chooses the question and whether the input has to guess its ID and question,
/// or is only what surrounds them.
pub fn upstream_reply(input: &[u8]) {
    let Some((&choice, input)) = input.split_first() else {
        return;
    };
    let (name, qtype) = QUESTIONS[usize::from(choice & 3)];
    let guesses = choice & 4 != 0;
    let upstream = |request: &[u8]| {
        Message::parse(request, &sent(request, input, guesses))
            .map(Arc::new)
            .map_err(failure)
    };
    let listener = forwarding();
    for (payload_size, stream) in [
        (0, false),
        (0, true),
        (1_232, false),
        (65_535, true),
        // What the cache kept.
        (512, false),
        (4_096, true),
    ] {
        answer(
            &listener,
            &query(name, qtype, payload_size),
            stream,
            upstream,
        );
    }
}

/// What the upstream sends to `request`.
fn sent(request: &[u8], input: &[u8], guesses: bool) -> Vec<u8> {
    if guesses || input.len() < 10 {
        return input.to_vec();
    }
    let end = skip_name(request, 12).expect("we made it") + 4;
    let (counts, records) = input.split_at(10);
    [&request[..2], counts, &request[12..end], records].concat()
}

#[cfg(test)]
mod tests {
    use super::super::spoilt;
    use super::*;

    #[test]
    fn replies_reach_the_client_whole_or_not_at_all() {
        let alias = b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01x\xc0\x0c";
        let address = b"\x01x\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01";
        let opt = b"\0\0\x29\x04\xd0\0\0\0\0\0\0";
        let answered = [b"\x81\x80\0\x01\0\x02\0\0\0\x01", &alias[..], address, opt].concat();
        let denied = [b"\x81\x83\0\x01\0\0\0\0\0\x01", &opt[..]].concat();
        for choice in 0..8 {
            for reply in [&answered, &denied] {
                for mut input in spoilt(reply) {
                    input.insert(0, choice);
                    upstream_reply(&input);
                }
            }
        }
    }
}
