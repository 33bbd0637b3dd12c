use super::*;

fn wire(text: &str) -> Vec<u8> {
    wire_from_presentation(text).unwrap()
}

#[test]
fn records_are_read() {
    type Case<'a> = (&'a str, u32, RType, Vec<u8>);
    let cases: &[Case<'_>] = &[
        (
            "a.test. 60 IN A 192.0.2.1",
            60,
            RType::A,
            vec![192, 0, 2, 1],
        ),
        (
            "a.test. IN 60 A 192.0.2.1",
            60,
            RType::A,
            vec![192, 0, 2, 1],
        ),
        (
            "a.test. a 192.0.2.1 ; comment",
            3_600,
            RType::A,
            vec![192, 0, 2, 1],
        ),
        ("a.test. 1h30m CNAME b.c", 5_400, RType::CNAME, wire("b.c.")),
        (
            "a.test. 5 MX 10 mail.test.",
            5,
            RType::MX,
            [&[0, 10], &*wire("mail.test.")].concat(),
        ),
        (
            "a.test. 5 TXT one \"two words\" \"q\\\"\\065\"",
            5,
            RType::TXT,
            b"\x03one\x09two words\x03q\"A".to_vec(),
        ),
        (
            "a.test. 5 SOA ns.test. m.test. (1 2\n 3m ; retry\n 4 5)",
            5,
            RType::SOA,
            [
                &*wire("ns.test."),
                &*wire("m.test."),
                &[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 180, 0, 0, 0, 4, 0, 0, 0, 5],
            ]
            .concat(),
        ),
        (
            "a.test. 5 HTTPS 1 . port=8443 alpn=\"h2,h3\" no-default-alpn key667=\\000x",
            5,
            RType::HTTPS,
            b"\0\x01\0\0\x01\0\x06\x02h2\x02h3\0\x02\0\0\0\x03\0\x02\x20\xfb\x02\x9b\0\x02\0x"
                .to_vec(),
        ),
        (
            "a.test. 5 SVCB 2 b mandatory=ipv4hint,alpn alpn=h2 ipv4hint=192.0.2.1,192.0.2.2 ipv6hint=::1 ech=AAEC",
            5,
            RType::SVCB,
            [
                &b"\0\x02\x01b\0\0\0\0\x04\0\x01\0\x04\0\x01\0\x03\x02h2"[..],
                b"\0\x04\0\x08\xc0\0\x02\x01\xc0\0\x02\x02\0\x05\0\x03\0\x01\x02",
                b"\0\x06\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01",
            ]
            .concat(),
        ),
        (
            "a.test. 5 HINFO one",
            5,
            RType::HINFO,
            b"\x03one\0".to_vec(),
        ),
        (
            "a.test. 5 HINFO a b c",
            5,
            RType::HINFO,
            b"\x01a\x03b c".to_vec(),
        ),
        (
            "a.test. 5 EUI48 00-00-5e-00-53-2a",
            5,
            RType::EUI48,
            b"\0\0\x5e\0\x53\x2a".to_vec(),
        ),
        (
            "a.test. 5 OPENPGPKEY AA EC",
            5,
            RType::OPENPGPKEY,
            vec![0, 1, 2],
        ),
        (
            "a.test. 5 CERT 1 2 8 AAEC",
            5,
            RType::CERT,
            b"\0\x01\0\x02\x08\0\x01\x02".to_vec(),
        ),
        (
            "a.test. 5 CAA 0 issue \"ca.test\"",
            5,
            RType::CAA,
            b"\0\x05issueca.test".to_vec(),
        ),
        (
            "a.test. 5 TYPE65280 \\# 3 ab CDef",
            5,
            RType(65_280),
            vec![0xab, 0xcd, 0xef],
        ),
        (
            "a.test. 5 TLSA 3 1 1 00ff",
            5,
            RType::TLSA,
            vec![3, 1, 1, 0, 0xff],
        ),
    ];
    for (text, ttl, rtype, rdata) in cases {
        let expected = Record {
            owner: wire("a.test."),
            rtype: *rtype,
            class: Class::IN,
            ttl: *ttl,
            rdata: rdata.clone(),
        };
        assert_eq!(record(text), Ok(expected), "{text}");
    }
}

#[test]
fn names_are_below_the_origin() {
    for (text, expected) in [
        ("a", "a.test."),
        ("a.", "a."),
        ("@", "test."),
        ("a\\.", "a\\..test."),
    ] {
        assert_eq!(name(text, &wire("test.")), Some(wire(expected)), "{text}");
    }
}

#[test]
fn what_is_no_record_is_told() {
    for (text, expected) in [
        ("", "the owner is missing"),
        ("a..b. A 1.2.3.4", "`a..b.` is not the owner"),
        ("a. 60", "the type is missing"),
        ("a. 60 IN B 1", "`B` is not a record type"),
        ("a. A 1.2.3", "`1.2.3` is not an IPv4 address"),
        ("a. A 1.2.3.4 5", "`5` is too much"),
        ("a. MX 70000 b.", "`70000` is not a preference"),
        ("a. TXT \"open", "a quote or a parenthesis is never closed"),
        (
            "a. SOA (b. c. 1 2 3 4 5",
            "a quote or a parenthesis is never closed",
        ),
        ("a. TYPE9 \\# 2 ab", "`2` is not the length of the data"),
        (
            "a. DS 1 2 3 abc",
            "`abc` is not hexadecimal digits in pairs",
        ),
        (
            "a. HTTPS 1 . port=1 port=2",
            "`port=2` is not a service parameter",
        ),
        ("a. HTTPS 1 . alpn=", "`alpn=` is not a service parameter"),
        ("a. SVCB 1 . key", "`key` is not a service parameter"),
        (
            "a. SVCB 1 . ipv4hint=::1",
            "`ipv4hint=::1` is not a service parameter",
        ),
        (
            "a. EUI48 00-00-5e-00-53",
            "`00-00-5e-00-53` is not a hardware address",
        ),
        ("a. CERT 1 2 8 ?", "`?` is not base64"),
        (
            "a. LOC 1",
            "records of type LOC are read in the form of RFC 3597 only: \\# LENGTH HEXDIGITS",
        ),
    ] {
        let found = record(text).map_err(|error| error.to_string());
        assert_eq!(found, Err(expected.to_owned()), "{text}");
    }
}
