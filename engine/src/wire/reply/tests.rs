use super::*;
use crate::plugins::testing::{name, query};
use crate::wire::{Answer, FoldedName, Record};

const COUNT: usize = 40;

fn begin<'b>(message: &[u8], buf: &'b mut [u8]) -> Reply<'b> {
    let parsed = Query::parse(message, &mut FoldedName::default()).unwrap();
    Reply::new(buf, &parsed, false)
}

/// A query whose client takes so many octets; 0 for one without EDNS.
fn asked(size: u16) -> Vec<u8> {
    let [s1, s2] = size.to_be_bytes();
    let opt = [0, 0, 41, s1, s2, 0, 0, 0, 0, 0, 0];
    query("a.test.", RType::A, if size > 0 { &opt } else { &[] })
}

fn addresses(section: Section, count: usize, reply: &mut Reply<'_>) {
    for last in 0..count {
        let owner = Owner::Question;
        reply.record(section, owner, RType::A, 5, &[10, 0, 0, last as u8]);
    }
}

/// However early or late it is known what the OPT is like.
#[test]
fn records_that_do_not_fit_beside_the_opt_are_left_out() {
    for size in (0..=800).step_by(7) {
        for option_len in [4, 16, 40] {
            let mut lens = Vec::new();
            for set_at in [0, 20, COUNT] {
                let message = asked(size);
                let mut buf = vec![0; 65_535];
                let mut reply = begin(&message, &mut buf);
                addresses(Section::Answer, set_at, &mut reply);
                let option = [&[0, 3, 0, option_len - 4][..], &[7; 36]].concat();
                // What there was before takes no room any more.
                reply.set_opt(0, [0, 3, 0, 100].into());
                reply.take_opt();
                reply.set_opt(0, option[..usize::from(option_len)].into());
                addresses(Section::Answer, COUNT - set_at, &mut reply);
                let query = Query::parse(&message, &mut FoldedName::default()).unwrap();
                let len = reply.finish(query.edns.as_ref());
                let found = Answer::read(&buf[..len]).unwrap();
                let (count, limit) = (found.sections[0].len(), usize::from(size.max(512)));
                assert!(len <= limit, "{len} of {limit}");
                let is_cut = count < COUNT;
                assert_eq!(found.flags.has(Flags::TC), is_cut);
                assert_eq!(is_cut, len + 16 * (COUNT - count) > limit);
                assert!(!is_cut || len + 16 > limit, "room for more than {count}");
                lens.push(len);
            }
            assert!(lens.iter().all(|len| *len == lens[0]), "{lens:?}");
        }
    }
}

#[test]
fn what_is_left_out_is_missed_only_in_what_stays() {
    for (answers, authorities, before, expected) in [
        (20, 0, false, (20, false)),
        (20, 40, false, (20, false)),
        (40, 0, false, (30, true)),
        (40, 40, false, (30, true)),
        // By whoever made it.
        (20, 40, true, (20, true)),
    ] {
        let (message, mut buf) = (asked(0), vec![0; 65_535]);
        let mut reply = begin(&message, &mut buf);
        addresses(Section::Answer, answers, &mut reply);
        addresses(Section::Authority, authorities, &mut reply);
        assert_eq!(reply.truncated(), answers + authorities > 30);
        if before {
            reply.set_truncated();
        }
        reply.keep_answer();
        let found = (reply.count(Section::Answer), reply.truncated());
        assert_eq!(found, expected, "{answers} {authorities}");
    }
}

/// As CoreDNS's compression has it: with what it does not compress itself as well.
#[test]
fn names_point_to_those_that_stand_in_full() {
    let target = name("b-1.Sub.test.");
    let record = |owner: &str, rtype, rdata: &[u8]| Record {
        owner: name(owner),
        rtype,
        class: Class::IN,
        ttl: 5,
        rdata: rdata.to_vec(),
    };
    let srv = record("a.test.", RType::SRV, &[&[0; 6][..], &target].concat());
    // Fixed parts, data, and of the owner what nothing stands for yet.
    for (owner, rest) in [
        ("b-1.Sub.test.", 2),
        ("c.Sub.test.", 4),
        ("a.test.", 2),
        ("b-1.sub.test.", 10),
    ] {
        let (message, mut buf) = (asked(0), vec![0; 65_535]);
        let mut reply = begin(&message, &mut buf);
        let empty = reply.len();
        srv.write(Section::Answer, &mut reply);
        let with_srv = reply.len();
        assert_eq!(with_srv - empty, 2 + 10 + 6 + target.len());
        let address = record(owner, RType::A, &[10, 0, 0, 1]);
        address.write(Section::Additional, &mut reply);
        assert_eq!(reply.len() - with_srv, rest + 10 + 4, "{owner}");
        let len = reply.finish(None);
        let found = Answer::read(&buf[..len]).unwrap();
        assert_eq!(found.sections[2], [address], "{owner}");
    }
}

/// The client's OPT would be echoed with more octets than the reply's own has.
#[test]
fn what_is_taken_apart_is_whole() {
    let cookie = [
        &[0, 0, 41, 2, 0, 0, 0, 0, 0, 0, 36, 0, 10, 0, 32][..],
        &[1; 32],
    ]
    .concat();
    let message = query("a.test.", RType::A, &cookie);
    let mut buf = vec![0; 65_535];
    let mut reply = begin(&message, &mut buf);
    reply.set_opt(0, Box::default());
    addresses(Section::Answer, COUNT, &mut reply);
    assert!(reply.truncated());
    let (count, len) = (reply.count(Section::Answer), reply.len());
    assert!(len + cookie.len() > 512, "the cookie has no room");
    let answer = Answer::take(&mut reply);
    assert!(reply.is_empty() && !reply.truncated());
    assert_eq!(answer.sections[0].len(), usize::from(count));
    answer.put(&mut reply);
    assert_eq!((reply.count(Section::Answer), reply.len()), (count, len));
    let again = Answer::take_whole(&mut reply);
    assert_eq!(again, Some(answer));
}

/// What a reply says of its OPT before it is cleared counts no more: the limit is the client's again.
#[test]
fn a_reply_that_is_cleared_has_all_its_room() {
    for size in [0, 600] {
        let (message, mut buf) = (asked(size), vec![0; 65_535]);
        let mut reply = begin(&message, &mut buf);
        addresses(Section::Answer, COUNT, &mut reply);
        let count = reply.count(Section::Answer);
        reply.clear();
        reply.set_opt(0, vec![0; 300].into());
        addresses(Section::Answer, COUNT, &mut reply);
        assert!(reply.count(Section::Answer) < count);
        reply.clear();
        addresses(Section::Answer, COUNT, &mut reply);
        assert_eq!(reply.count(Section::Answer), count);
        reply.lower_payload_size(512, false);
        assert!(reply.count(Section::Answer) <= 30);
    }
}

#[test]
fn options_that_have_no_room_leave_none_for_records() {
    let [l1, l2] = 600_u16.to_be_bytes();
    let padding = [&[0, 12, l1, l2][..], &[0; 600]].concat();
    let [l1, l2] = (padding.len() as u16).to_be_bytes();
    let opt = [&[0, 0, 41, 2, 0, 0, 0, 0, 0, l1, l2][..], &padding].concat();
    let (message, mut buf) = (query("a.test.", RType::A, &opt), vec![0; 65_535]);
    let mut reply = begin(&message, &mut buf);
    addresses(Section::Answer, 1, &mut reply);
    assert_eq!((reply.count(Section::Answer), reply.truncated()), (0, true));
}
