use std::fs;
use std::time::Duration;

use martlet_engine::wire::name::{wire_from_text, write_presentation};
use tempfile::TempDir;

use super::*;

const SOA: &str = "$TTL 300\n@ SOA ns admin 7 1 2 3 4\n";

fn origin() -> Box<[u8]> {
    wire_from_text("z.test").unwrap()
}

/// The records of a folder's `db`, as `OWNER TTL TYPE`.
fn read(files: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let dir = TempDir::new().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let zone = parse(&dir.path().join("db"), &origin());
    let zone = zone.map_err(|error| {
        let folder = format!("{}/", dir.path().display());
        error.to_string().replace(&folder, "")
    })?;
    let said = |record: &Record| {
        let mut owner = String::new();
        write_presentation(&record.owner, &mut owner).unwrap();
        format!("{owner} {} {}", record.ttl, record.rtype)
    };
    Ok(zone.records().map(said).collect())
}

#[test]
fn entries_are_read_as_master_files_have_them() {
    let text = "a A 192.0.2.1 ; comment\n  60 IN AAAA 2001:db8::1\n$ORIGIN sub\nb 1h TXT ( \"one\"\n \"two\" )\n\
                c.z.test. TYPE65280 \\# 2 00ff\n$INCLUDE more\n$INCLUDE more deep.z.test.\nlast A 192.0.2.3";
    let db = format!("{SOA}{text}");
    let more = "m A 192.0.2.2\n";
    let mut records = read(&[("db", &db), ("more", more)]).unwrap();
    records.sort();
    let mut expected = [
        "z.test. 300 SOA",
        "a.z.test. 300 A",
        "a.z.test. 60 AAAA",
        "b.sub.z.test. 3600 TXT",
        "c.z.test. 300 TYPE65280",
        "m.sub.z.test. 300 A",
        "m.deep.z.test. 300 A",
        "last.sub.z.test. 300 A",
    ];
    expected.sort_unstable();
    assert_eq!(records, expected);
}

/// As CoreDNS reads them.
#[test]
fn data_are_read_as_in_templates() {
    let long = "k".repeat(400);
    let text = format!(
        "@ MX 10 @\ntext TXT \"{long}\"\nuri URI 10 1 \"https://z.test\"\nweb HTTPS 1 @ alpn=h2\n\
         host HINFO one\nkey RRSIG A 8 3 300 20300101000000 20200101000000 1 z.test. AAEC\n"
    );
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("db");
    fs::write(&path, format!("{SOA}{text}")).unwrap();
    let zone = parse(&path, &origin()).unwrap();
    let data = |rtype| {
        let mut found = zone.records().filter(|record| record.rtype == rtype);
        found.next().map(|record| record.rdata.clone())
    };
    let apex = origin();
    assert_eq!(data(RType::MX).unwrap(), [&[0, 10], &*apex].concat());
    let (first, rest) = long.as_bytes().split_at(255);
    assert_eq!(
        data(RType::TXT).unwrap(),
        [&[255], first, &[145], rest].concat()
    );
    assert_eq!(data(RType::URI).unwrap(), b"\0\x0a\0\x01https://z.test");
    assert_eq!(
        data(RType::HTTPS).unwrap(),
        [b"\0\x01", &*apex, b"\0\x01\0\x03\x02h2"].concat()
    );
    assert_eq!(data(RType::HINFO).unwrap(), b"\x03one\0");
    assert!(
        data(RType::RRSIG).is_some(),
        "a type that only the parser knows"
    );
}

#[test]
fn faults_are_told_with_file_and_line() {
    let with = |text: &str| format!("{SOA}{text}\n");
    for (db, expected) in [
        (with("a A 192.0.2.300"), "db:3:"),
        (with("a CH A 192.0.2.3"), "db:3:"),
        (with("a NONSENSE x"), "db:3:"),
        (
            with("$INCLUDE missing"),
            "cannot read the zone file missing",
        ),
        (with("$INCLUDE more"), "more:2:"),
        (
            with("$INCLUDE db"),
            "too many files that include each other",
        ),
        ("a 60 A 192.0.2.3\n".to_owned(), "db: no SOA record"),
        (
            with("x NSEC3 1 0 0 - 0123456789ABCDEFGHIJKLMNOPQRSTUV A"),
            "db: zones with NSEC3",
        ),
    ] {
        let said = read(&[("db", &db), ("more", "a A 192.0.2.1\nb A x\n")]).unwrap_err();
        assert!(said.contains(expected), "{db}: {said}");
    }
}

#[test]
fn a_new_serial_is_a_new_zone_and_a_broken_file_leaves_the_old_one() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("db");
    let open = |by_mtime| ZoneFile::open(&path, &origin(), Duration::from_secs(60), by_mtime);
    let write = |serial: u32, rest: &str| {
        fs::write(&path, SOA.replace(" 7 ", &format!(" {serial} ")) + rest).unwrap();
    };
    // Not there yet: that may come.
    let mut file = open(false).unwrap();
    assert!(file.contents().load().is_none());
    assert!(ZoneFile::open(&path, &origin(), Duration::ZERO, false).is_err());
    write(7, "");
    assert_eq!(file.read().unwrap(), Some(7));
    assert_eq!(file.read().unwrap(), None, "nothing has changed");
    write(7, "a A 192.0.2.1\n");
    assert_eq!(file.read().unwrap(), None, "the serial has not");
    write(8, "a A 192.0.2.300\n");
    assert!(file.read().is_err());
    assert_eq!(file.read().unwrap(), None, "it was told");
    assert_eq!(file.contents().load().as_ref().unwrap().serial(), 7);
    write(9, "b A 192.0.2.1\n");
    assert_eq!(file.read().unwrap(), Some(9));

    // What it includes is a part of it, also when that is not there yet.
    let more = dir.path().join("more");
    write(10, "$INCLUDE more\n");
    assert!(file.read().is_err());
    assert_eq!(file.read().unwrap(), None, "it was told");
    fs::write(&more, "c A 192.0.2.1\n").unwrap();
    assert_eq!(file.read().unwrap(), Some(10));
    fs::write(&more, "c A 192.0.2.1\nd A 192.0.2.1\n").unwrap();
    assert_eq!(file.read().unwrap(), None, "the serial is the same");

    let mut file = open(true).unwrap();
    fs::write(&more, "c A 192.0.2.1\n").unwrap();
    assert_eq!(file.read().unwrap(), Some(10), "each change counts");
    write(9, "c A 192.0.2.1\nd A 192.0.2.2\n");
    assert_eq!(file.read().unwrap(), Some(9), "each change counts");
}
