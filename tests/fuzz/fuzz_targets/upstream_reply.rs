//! Any octets as what an upstream sends.
#![no_main]

libfuzzer_sys::fuzz_target!(|reply: &[u8]| martlet_tests::fuzz::upstream_reply(reply));
