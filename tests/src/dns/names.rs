//! Names and numbers of DNS, in the spelling of the recorded answers.

/// The mnemonics of the record types that corpora and answers use. What is missing here is
/// `TYPE<number>`.
const TYPES: &[(u16, &str)] = &[
    (1, "A"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (12, "PTR"),
    (13, "HINFO"),
    (15, "MX"),
    (16, "TXT"),
    (17, "RP"),
    (24, "SIG"),
    (25, "KEY"),
    (28, "AAAA"),
    (29, "LOC"),
    (33, "SRV"),
    (35, "NAPTR"),
    (37, "CERT"),
    (39, "DNAME"),
    (41, "OPT"),
    (43, "DS"),
    (44, "SSHFP"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (48, "DNSKEY"),
    (50, "NSEC3"),
    (52, "TLSA"),
    (64, "SVCB"),
    (65, "HTTPS"),
    (99, "SPF"),
    (249, "TKEY"),
    (250, "TSIG"),
    (251, "IXFR"),
    (252, "AXFR"),
    (253, "MAILB"),
    (254, "MAILA"),
    (255, "ANY"),
    (256, "URI"),
    (257, "CAA"),
];

const CLASSES: &[(u16, &str)] = &[
    (0, "RESERVED0"),
    (1, "IN"),
    (3, "CH"),
    (4, "HS"),
    (254, "NONE"),
    (255, "ANY"),
];

const RCODES: &[(u16, &str)] = &[
    (0, "NOERROR"),
    (1, "FORMERR"),
    (2, "SERVFAIL"),
    (3, "NXDOMAIN"),
    (4, "NOTIMP"),
    (5, "REFUSED"),
    (6, "YXDOMAIN"),
    (7, "YXRRSET"),
    (8, "NXRRSET"),
    (9, "NOTAUTH"),
    (10, "NOTZONE"),
    (11, "DSOTYPENI"),
    (16, "BADVERS"),
    (17, "BADKEY"),
    (18, "BADTIME"),
    (22, "BADTRUNC"),
    (23, "BADCOOKIE"),
];

/// The mnemonic of a record type.
pub fn type_text(code: u16) -> String {
    text(TYPES, code, "TYPE")
}

/// The mnemonic of a class.
pub fn class_text(code: u16) -> String {
    text(CLASSES, code, "CLASS")
}

/// The mnemonic of a response code, extended ones included.
pub fn rcode_text(code: u16) -> String {
    text(RCODES, code, "RCODE")
}

/// The number of a record type; panics on an unknown mnemonic, which is a fault of the test.
pub fn type_code(mnemonic: &str) -> u16 {
    code(TYPES, mnemonic, "TYPE")
}

/// The number of a class; panics as [`type_code`].
pub fn class_code(mnemonic: &str) -> u16 {
    code(CLASSES, mnemonic, "CLASS")
}

fn text(table: &[(u16, &str)], code: u16, prefix: &str) -> String {
    match table.iter().find(|(number, _)| *number == code) {
        Some((_, mnemonic)) => (*mnemonic).to_owned(),
        None => format!("{prefix}{code}"),
    }
}

fn code(table: &[(u16, &str)], mnemonic: &str, prefix: &str) -> u16 {
    if let Some((number, _)) = table.iter().find(|(_, known)| *known == mnemonic) {
        return *number;
    }
    let number = mnemonic
        .strip_prefix(prefix)
        .and_then(|digits| digits.parse().ok());
    number.unwrap_or_else(|| panic!("`{mnemonic}` is neither a mnemonic nor {prefix}<number>"))
}

/// A name in presentation form (with `\.` and `\DDD`) as it goes over the wire, uncompressed. Label
/// lengths are not checked: a test may want a wrong one.
pub fn name_to_wire(name: &str) -> Vec<u8> {
    let mut labels = vec![Vec::new()];
    let mut octets = name.bytes();
    while let Some(octet) = octets.next() {
        match octet {
            b'.' => labels.push(Vec::new()),
            b'\\' => {
                let escaped = octets.next().expect("a backslash has something to escape");
                let label = labels.last_mut().expect("there is always one");
                if escaped.is_ascii_digit() {
                    let mut digit = || octets.next().expect("\\DDD has three digits") - b'0';
                    let number = [escaped - b'0', digit(), digit()]
                        .iter()
                        .fold(0, |sum: u16, digit| sum * 10 + u16::from(*digit));
                    label.push(u8::try_from(number).expect("\\DDD is an octet"));
                } else {
                    label.push(escaped);
                }
            }
            _ => labels.last_mut().expect("there is always one").push(octet),
        }
    }
    let mut wire = Vec::with_capacity(name.len() + 2);
    for label in labels.iter().filter(|label| !label.is_empty()) {
        wire.push(u8::try_from(label.len()).expect("a length octet says at most 255"));
        wire.extend(label);
    }
    wire.push(0);
    wire
}

/// A label in presentation form.
pub(crate) fn escape_label(label: &[u8], out: &mut String) {
    for &octet in label {
        match octet {
            b'"' | b'(' | b')' | b'.' | b';' | b'\\' | b'@' | b'$' => {
                out.push('\\');
                out.push(char::from(octet));
            }
            0x21..=0x7e => out.push(char::from(octet)),
            _ => out.push_str(&format!("\\{octet:03}")),
        }
    }
}

/// A character string in presentation form, with its quotes.
pub(crate) fn quote(string: &[u8], out: &mut String) {
    out.push('"');
    for &octet in string {
        match octet {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(octet));
            }
            0x20..=0x7e => out.push(char::from(octet)),
            _ => out.push_str(&format!("\\{octet:03}")),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mnemonics_go_both_ways() {
        for (number, mnemonic) in [(1, "A"), (0, "TYPE0"), (65_280, "TYPE65280"), (255, "ANY")] {
            assert_eq!(type_text(number), mnemonic);
            assert_eq!(type_code(mnemonic), number);
        }
        assert_eq!(class_text(0), "RESERVED0");
        assert_eq!(class_code("CLASS0"), 0);
        assert_eq!(rcode_text(16), "BADVERS");
    }

    #[test]
    fn names_become_labels() {
        for (name, wire) in [
            (".", &b"\0"[..]),
            ("a.Bc.", b"\x01a\x02Bc\0"),
            ("a\\.b.c", b"\x03a.b\x01c\0"),
            ("\\255\\032.", b"\x02\xff \0"),
        ] {
            assert_eq!(name_to_wire(name), wire, "{name}");
        }
    }
}
