//! Any octets as a message: a well-formed reply or silence, never a panic.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use martlet_engine::chain::{Listener, Stage};
use martlet_engine::respond::{Response, Scratch, respond};

mod cluster;

static LISTENER: LazyLock<Listener> = LazyLock::new(|| {
    cluster::listener(vec![Stage::LoadBalance, cluster::kubernetes(), Stage::Whoami])
});

fuzz_target!(|message: &[u8]| {
    let mut buf = vec![0; 65_535];
    for stream in [false, true] {
        let peer = cluster::peer(stream);
        let mut scratch = Scratch::default();
        let response = respond(message, peer, &LISTENER, &cluster::LOG, &mut scratch, &mut buf);
        if let Response::Reply(len) = response {
            cluster::assert_well_formed(message, &buf[..len]);
        }
    }
});
