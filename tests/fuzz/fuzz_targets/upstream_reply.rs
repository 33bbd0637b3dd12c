//! Any octets as what an upstream sends: the client gets a well-formed reply, and so does the one
//! who asks the cache afterwards; never a panic.
//!
//! The first octet chooses the question and whether the input has to guess its ID and question,
//! or is only what surrounds them.
#![no_main]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use martlet_engine::chain::{Listener, Stage};
use martlet_engine::gathered::{ExchangeError, Gathered, Need};
use martlet_engine::plugins::cache::{Cache, Table, TtlRange};
use martlet_engine::plugins::forward::Forward;
use martlet_engine::respond::{Response, Resumed, Scratch, respond, resume};
use martlet_engine::upstream::{Group, HealthCheck, Policy, Settings};
use martlet_engine::wire::message::{Message, MessageError, question_of};
use martlet_engine::wire::walk::skip_name;

mod cluster;

/// The upstreams: never asked, as the replies are at hand.
static GROUP: LazyLock<Arc<Group>> = LazyLock::new(|| {
    let second = Duration::from_secs(1);
    let settings = Settings {
        policy: Policy::Sequential,
        force_tcp: false,
        prefer_udp: false,
        read_timeout: second,
        max_fails: 0,
        max_connect_attempts: 0,
        health_check: HealthCheck {
            interval: second,
            recursion_desired: true,
            domain: cluster::wire("."),
        },
        fail_fast: false,
        max_concurrent: 0,
        expire: second,
        max_age: Duration::ZERO,
        max_idle_connections: 0,
        failover: Vec::new(),
        source_address: None,
        hedge: false,
    };
    Arc::new(Group::new(Vec::new(), settings))
});

static KUBERNETES: LazyLock<Stage> = LazyLock::new(cluster::kubernetes);

/// Questions by name and type; the second one asks an upstream for the target of an alias.
const QUESTIONS: [(&str, u8); 4] = [
    ("example.com", 1),
    ("ext.default.svc.cluster.local", 1),
    ("a.very.long.name.under.example.org", 28),
    (".", 255),
];

fn listener() -> Listener {
    let range = TtlRange { min: 0, max: 3_600 };
    let cache = Arc::new(Cache {
        zones: vec![(cluster::wire("."), 0)],
        success: range,
        denial: range,
        success_disabled: Vec::new(),
        denial_disabled: Vec::new(),
        servfail: 5,
        prefetch: None,
        stale: None,
        keep_ttl: false,
        table: Table::new(16, 16),
    });
    let forward = Forward {
        from: cluster::wire("."),
        from_labels: 0,
        except: Vec::new(),
        group: Arc::clone(&GROUP),
        next: Vec::new(),
        next_on_nodata: false,
    };
    cluster::listener(vec![
        Stage::LoadBalance,
        Stage::Clamp(Arc::clone(&cache)),
        KUBERNETES.clone(),
        Stage::Store(cache),
        Stage::Forward(forward),
    ])
}

/// A query with an OPT of this payload size; without one if it is zero.
fn query(name: &str, qtype: u8, payload_size: u16) -> Vec<u8> {
    let mut query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0".to_vec();
    query.push(u8::from(payload_size > 0));
    query.extend(cluster::wire(name));
    query.extend([0, qtype, 0, 1]);
    if payload_size > 0 {
        query.extend([0, 0, 41]);
        query.extend(payload_size.to_be_bytes());
        query.extend([0, 0, 0x80, 0, 0, 0]);
    }
    query
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

fuzz_target!(|input: &[u8]| {
    let Some((&choice, input)) = input.split_first() else {
        return;
    };
    let (name, qtype) = QUESTIONS[usize::from(choice & 3)];
    let guesses = choice & 4 != 0;
    let (listener, mut buf) = (listener(), vec![0; 65_535]);
    let upstream = |request: &[u8]| {
        Message::parse(request, &sent(request, input, guesses))
            .map(Arc::new)
            .map_err(|error| match error {
                MessageError::Question => ExchangeError::Mismatch,
                MessageError::Malformed => ExchangeError::Failed("malformed".into()),
            })
    };
    let mut run = |query: &[u8], stream: bool, nesting: u8| {
        let (plan, mut gathered) = ((&listener, &*cluster::LOG), Gathered::new(false));
        let mut scratch = Scratch::default();
        // As the slow path does it, but that look-ups go no deeper.
        for _ in 0..16 {
            let resumed = Resumed { gathered: &gathered, nesting };
            let peer = cluster::peer(stream);
            let (response, stuck) =
                resume(query, peer, plan, resumed, &mut scratch, &mut buf);
            match (response, stuck.map(|stuck| stuck.need)) {
                (Response::Slow, Some(Need::Exchange { group, request })) => {
                    gathered.add_exchange(group, question_of(&request).into(), upstream(&request));
                }
                (Response::Slow, Some(Need::LookUp(look_up))) => {
                    let mut inner = Gathered::new(false);
                    let request = &look_up.packet;
                    let question = question_of(request).into();
                    inner.add_exchange(Arc::clone(&GROUP), question, upstream(request));
                    let resumed = Resumed { gathered: &inner, nesting: nesting + 1 };
                    let mut buf = vec![0; 65_535];
                    let (response, _) =
                        resume(request, peer, plan, resumed, &mut scratch, &mut buf);
                    let reply = match response {
                        Response::Reply(len) => Some(buf[..len].to_vec()),
                        _ => None,
                    };
                    if let Some(reply) = &reply {
                        cluster::assert_well_formed(request, reply);
                    }
                    gathered.add_look_up(look_up, reply);
                }
                (Response::Reply(len) | Response::ReplyAndRefresh(len), _) => {
                    cluster::assert_well_formed(query, &buf[..len]);
                    return;
                }
                _ => return,
            }
        }
        panic!("a query that needs no end of things");
    };
    for (payload_size, stream) in [(0, false), (0, true), (1_232, false), (65_535, true)] {
        run(&query(name, qtype, payload_size), stream, 0);
    }
    // What the cache kept.
    for (payload_size, stream) in [(512, false), (4_096, true)] {
        let mut scratch = Scratch::default();
        let query = query(name, qtype, payload_size);
        let peer = cluster::peer(stream);
        let response = respond(&query, peer, &listener, &cluster::LOG, &mut scratch, &mut buf);
        if let Response::Reply(len) = response {
            cluster::assert_well_formed(&query, &buf[..len]);
        }
    }
});
