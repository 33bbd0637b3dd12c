//! Any text as a Corefile.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| martlet_tests::fuzz::corefile(text));
