//! Any octets as a message.
#![no_main]

libfuzzer_sys::fuzz_target!(|message: &[u8]| martlet_tests::fuzz::packet(message));
