//! Snippets, files and patterns.

use super::*;

fn names(corefile: &Corefile) -> Vec<&'static str> {
    corefile
        .blocks
        .iter()
        .flat_map(|block| block.directives.names())
        .collect()
}

#[test]
fn expands_snippets() {
    for (text, expected) in [
        (
            "(a) {\nerrors\n}\n. {\nimport a\nwhoami\n}",
            &["errors", "whoami"][..],
        ),
        (
            "(a) {\nerrors\nlog\n}\n. {\nimport a\n}\n.:54 {\nimport a\n}",
            &["errors", "log", "errors", "log"],
        ),
        // A snippet that imports one which stands below it in the file.
        (
            "(b) {\nimport a\nwhoami\n}\n(a) {\nerrors\n}\n. {\nimport b\n}",
            &["errors", "whoami"],
        ),
        // Inside the block of a directive, and as whole server blocks.
        (
            "(a) {\nprefetch 5\n}\n. {\ncache {\nimport a\nkeepttl\n}\n}",
            &["cache"],
        ),
        (
            "(a) {\n.:54 {\nwhoami\n}\n}\nimport a\n. {\nlog\n}",
            &["whoami", "log"],
        ),
        ("(a) {\n}\nimport a\n. {\nimport a\nlog\n}", &["log"]),
        ("(a) {\nb\n}\nc,\nimport a\n", &[]),
        // A directive at the end of a snippet ends with it.
        (
            "(a) {\n\n\nlog\n}\n. {\nimport a\nerrors\n}",
            &["errors", "log"],
        ),
    ] {
        let corefile = parse("Corefile", text).unwrap_or_else(|bad| panic!("{text}\n{bad}"));
        assert_eq!(names(&corefile), expected, "{text}");
    }
}

#[test]
fn refuses_bad_snippets() {
    for (text, expected) in [
        (
            "(a) {\n}\n(a) {\n}",
            "3:1: the snippet `a` is already defined at Corefile:1:1",
        ),
        (
            "(a) {\nimport a\n}\n. {\nimport a\n}",
            "2:8: `a` imports itself",
        ),
        (
            "(a) {\nimport b\n}\n(b) {\nimport a\n}\n. {\nimport a\n}",
            "5:8: `a` imports itself",
        ),
        ("(a) {\nlog", "1:5: this block is never closed"),
        ("(a)\nlog", "1:1: the snippet `a` needs a block in braces"),
        ("(a)", "1:1: the snippet `a` needs a block in braces"),
        (
            ". {\nimport\n}",
            "2:1: `import` takes exactly one argument: a snippet, a file or a pattern",
        ),
        (
            ". {\nimport a b\n}",
            "2:10: `import` takes exactly one argument: a snippet, a file or a pattern",
        ),
        (
            ". {\nimport \"\"\n}",
            "2:8: `import` takes exactly one argument: a snippet, a file or a pattern",
        ),
        (
            ". {\nimport /etc/passwd\n}",
            "2:8: `/etc/passwd` is not a snippet, and files are not imported here",
        ),
        // The place is the one in the snippet, and it is named once.
        (
            "(a) {\n  etcd x\n}\n. {\nimport a\n}\n.:54 {\nimport a\n}",
            "2:3: `etcd` is not supported yet",
        ),
    ] {
        let found = problems(text);
        assert_eq!(found, [format!("Corefile:{expected}")], "{text}");
    }
}

#[test]
fn stops_when_snippets_explode() {
    let mut text = "(s0) {\nlog\n}\n".to_owned();
    for level in 1..40 {
        text += &format!("(s{level}) {{\nimport s{0}\nimport s{0}\n}}\n", level - 1);
    }
    text += ". {\nimport s39\n}\n";
    let found = problems(&text);
    assert!(
        found[0].ends_with("imports expand to more than 10000 snippets"),
        "{found:?}"
    );
}

#[test]
fn imports_files() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    write("custom/a.override", "errors\n");
    write("custom/b.override", "log\nloop");
    write(
        "custom/x.server",
        "\u{feff}example.org {\n  import ../deep/up\n}\n",
    );
    write("deep/up", "forward . 10.0.0.1\n");
    write("custom/..data/y", "");
    write("all/..2024_01_31/z", "");
    write("all/one", "any");
    write("bad", "cache {\n  prefetch x\n}\n");
    write("cycle", "import ./cycle\n");
    write("resolv", "nameserver 10.0.0.1\n");

    let read = |text: &str| {
        write("Corefile", text);
        load(&directory.path().join("Corefile"))
    };
    let text = ". {\n  import custom/*.override\n  whoami\n}\nimport custom/*.server\n";
    let corefile = read(text).unwrap();
    assert_eq!(
        names(&corefile),
        ["errors", "log", "loop", "whoami", "forward"]
    );
    let place = corefile.blocks[1].position.to_string();
    assert!(place.ends_with("custom/x.server:1:1"), "{place}");

    let hash = corefile.hash;
    write("custom/a.override", "errors # with a comment\n");
    assert_eq!(read(text).unwrap().hash, hash);
    write("custom/a.override", "errors\nlocal");
    assert_ne!(read(text).unwrap().hash, hash, "imports count");

    let whole = read(". {\nimport all/*\n}").unwrap();
    assert_eq!(
        names(&whole),
        ["any"],
        "a ConfigMap volume's own directories are passed over"
    );
    let none = read(". {\nimport none/*.x\n}").unwrap();
    assert_eq!(none.warnings.len(), 1);
    let manifests = read(". {\nkubernetes a {\nmanifests deep\n}\nforward . ./deep/up\n}");
    assert!(
        manifests.is_err(),
        "an upstream file is looked for in the working directory"
    );
    let upstream = directory.path().join("resolv");
    let text = format!(
        ". {{\nkubernetes a {{\nmanifests deep\n}}\nforward . {}\n}}",
        upstream.display()
    );
    let directives = read(&text).unwrap().blocks.remove(0).directives;
    let KubernetesSource::Manifests(paths) = directives.kubernetes.unwrap().source else {
        panic!("has manifests")
    };
    assert_eq!(paths, [directory.path().join("deep")]);
    assert_eq!(
        directives.forward[0].to[0].destination,
        Destination::File(upstream)
    );

    for (text, expected) in [
        (
            ". {\nimport none\n}",
            "none` and no snippet of that name to import",
        ),
        (". {\nimport custom\n}", "it is not a regular file"),
        (
            ". {\nimport */*.x\n}",
            "may hold one `*` and one `?`, and no `[…]`",
        ),
        (
            ". {\nimport [ab]\n}",
            "may hold one `*` and one `?`, and no `[…]`",
        ),
        (". {\nimport cycle\n}", "`./cycle` imports itself"),
        (". {\nimport ./Corefile\n}", "`./Corefile` imports itself"),
        (
            "(overide) {\n}\n. {\nimport override\n}",
            "to import (did you mean `overide`?)",
        ),
        (
            ". {\n  import bad\n}",
            "bad:2:12: `prefetch`: `x` is not a number (whole, and not negative)",
        ),
    ] {
        let found = read(text).expect_err(text).to_string();
        assert!(found.contains(expected), "{text}\n{found}");
    }
}

#[test]
fn reads_the_environment_of_the_process() {
    let path = env::var("PATH").expect("is always set");
    assert_eq!((Options::process().variable)("PATH"), Some(path));
    for name in ["", "A=B", "A\0", "NO_SUCH_VARIABLE_HERE"] {
        assert_eq!((Options::process().variable)(name), None, "{name:?}");
    }
}
