//! Any text as a Corefile: a plan or problems, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // `import` would read files; what it finds is not the fuzzer's to choose.
    if !text.contains("import") {
        if let Err(problems) = martlet_control::corefile::parse("Corefile", text) {
            assert!(!problems.to_string().is_empty());
        }
    }
});
