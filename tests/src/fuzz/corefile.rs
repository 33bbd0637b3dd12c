use martlet_control::corefile::parse;

/// Any text as a Corefile: a plan or problems, never a panic.
pub fn corefile(text: &str) {
    // `import` would read files; what it finds is not the input's to choose.
    if text.contains("import") {
        return;
    }
    if let Err(problems) = parse("Corefile", text) {
        assert!(!problems.to_string().is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_plans_or_problems() {
        let text = ".:53 a\\.b.test 10.0.0.0/9 {\n    errors \"x\"\n    kubernetes cluster.local {\n        \
                    pods verified\n        ttl 30\n    }\n    forward . 1.1.1.1 tls://[2606::1]:853\n    \
                    template IN A {\n        answer \"{{ .Name }} 60 IN A 192.0.2.1\"\n    }\n}\n";
        for end in 0..=text.len() {
            corefile(&text[..end]);
            corefile(&text[end..]);
            for odd in [
                "\\", "\"", "{", "}", "\n", "é", "\\999", "{$A}", "(a) {", ":",
            ] {
                corefile(&[&text[..end], odd, &text[end..]].concat());
            }
        }
    }
}
