//! IANA registries as open newtypes: any value is legal, a few have names.

use std::fmt;

/// A record type (RFC 1035 §3.2.2 and the IANA registry).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RType(pub u16);

/// What a value is called, if not as its constant.
macro_rules! name {
    ($name:ident) => {
        stringify!($name)
    };
    ($name:ident $text:literal) => {
        $text
    };
}

macro_rules! registry {
    ($type:ident: $($(#[$meta:meta])* $name:ident $($text:literal)? = $value:literal),+ $(,)?) => {
        impl $type {
            $($(#[$meta])* pub const $name: Self = Self($value);)+

            /// The mnemonic, if the value has one here.
            pub const fn mnemonic(self) -> Option<&'static str> {
                match self {
                    $(Self::$name => Some(name!($name $($text)?)),)+
                    _ => None,
                }
            }

            /// The value of a mnemonic, in upper case.
            pub fn from_mnemonic(mnemonic: &str) -> Option<Self> {
                match mnemonic {
                    $(name!($name $($text)?) => Some(Self::$name),)+
                    _ => None,
                }
            }
        }
    };
}

registry! { RType:
    /// No type.
    NONE "None" = 0,
    /// IPv4 address.
    A = 1,
    /// Name server.
    NS = 2,
    /// Mail destination.
    MD = 3,
    /// Mail forwarder.
    MF = 4,
    /// Alias.
    CNAME = 5,
    /// Start of a zone of authority.
    SOA = 6,
    /// Mailbox.
    MB = 7,
    /// Mail group.
    MG = 8,
    /// Mail rename.
    MR = 9,
    /// Anything, for experiments.
    NULL = 10,
    /// Host pointer.
    PTR = 12,
    /// Host information; the answer to ANY (RFC 8482).
    HINFO = 13,
    /// Mailbox information.
    MINFO = 14,
    /// Mail exchange.
    MX = 15,
    /// Text.
    TXT = 16,
    /// Responsible person.
    RP = 17,
    /// AFS database.
    AFSDB = 18,
    /// X.25 address.
    X25 = 19,
    /// ISDN address.
    ISDN = 20,
    /// Route through.
    RT = 21,
    /// OSI pointer.
    NSAP_PTR "NSAP-PTR" = 23,
    /// Old signature.
    SIG = 24,
    /// Old key.
    KEY = 25,
    /// X.400 mapping.
    PX = 26,
    /// Geographical position.
    GPOS = 27,
    /// IPv6 address.
    AAAA = 28,
    /// Location.
    LOC = 29,
    /// Old authenticated denial.
    NXT = 30,
    /// Nimrod endpoint.
    EID = 31,
    /// Nimrod locator.
    NIMLOC = 32,
    /// Service location (RFC 2782).
    SRV = 33,
    /// ATM address.
    ATMA = 34,
    /// Naming authority pointer.
    NAPTR = 35,
    /// Key exchanger.
    KX = 36,
    /// Certificate.
    CERT = 37,
    /// Alias of a subtree (RFC 6672).
    DNAME = 39,
    /// EDNS (RFC 6891).
    OPT = 41,
    /// Address prefixes.
    APL = 42,
    /// Delegation signer.
    DS = 43,
    /// SSH fingerprint.
    SSHFP = 44,
    /// IPsec key.
    IPSECKEY = 45,
    /// DNSSEC signature.
    RRSIG = 46,
    /// Authenticated denial.
    NSEC = 47,
    /// DNSSEC key.
    DNSKEY = 48,
    /// DHCP identifier.
    DHCID = 49,
    /// Hashed authenticated denial.
    NSEC3 = 50,
    /// Parameters of NSEC3.
    NSEC3PARAM = 51,
    /// TLS association.
    TLSA = 52,
    /// S/MIME association.
    SMIMEA = 53,
    /// Host identity.
    HIP = 55,
    /// Status of a zone.
    NINFO = 56,
    /// Key for records.
    RKEY = 57,
    /// Trust anchors, linked.
    TALINK = 58,
    /// DS for the parent.
    CDS = 59,
    /// DNSKEY for the parent.
    CDNSKEY = 60,
    /// OpenPGP key.
    OPENPGPKEY = 61,
    /// What the parent copies.
    CSYNC = 62,
    /// Digest of a zone.
    ZONEMD = 63,
    /// Service binding.
    SVCB = 64,
    /// Service binding for HTTPS (RFC 9460).
    HTTPS = 65,
    /// Sender policy.
    SPF = 99,
    /// User information.
    UINFO = 100,
    /// User.
    UID = 101,
    /// Group.
    GID = 102,
    /// Unspecified.
    UNSPEC = 103,
    /// Node (RFC 6742).
    NID = 104,
    /// Locator of 32 bits.
    L32 = 105,
    /// Locator of 64 bits.
    L64 = 106,
    /// Pointer to locators.
    LP = 107,
    /// Hardware address.
    EUI48 = 108,
    /// Long hardware address.
    EUI64 = 109,
    /// No such name (RFC 9824).
    NXNAME = 128,
    /// Transaction key.
    TKEY = 249,
    /// Transaction signature (RFC 8945).
    TSIG = 250,
    /// Incremental transfer.
    IXFR = 251,
    /// Transfer.
    AXFR = 252,
    /// Mailbox records.
    MAILB = 253,
    /// Mail agents.
    MAILA = 254,
    /// Everything (RFC 8482).
    ANY = 255,
    /// Where a service is.
    URI = 256,
    /// Certification authority.
    CAA = 257,
    /// Application visibility.
    AVC = 258,
    /// Multicast relay (RFC 8777).
    AMTRELAY = 260,
    /// Resolver information (RFC 9606).
    RESINFO = 261,
    /// Trust anchor.
    TA = 32768,
    /// Lookaside validation.
    DLV = 32769,
    /// Reserved.
    RESERVED "Reserved" = 65535,
}

impl fmt::Display for RType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(name) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

/// A record class.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Class(pub u16);

registry! { Class:
    /// The Internet.
    IN = 1,
    /// Chaosnet; used to ask servers about themselves.
    CH = 3,
    /// Hesiod.
    HS = 4,
    /// No class (RFC 2136).
    NONE = 254,
    /// Any class.
    ANY = 255,
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(name) => f.write_str(name),
            None => write!(f, "CLASS{}", self.0),
        }
    }
}

/// A response code, extended ones included.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Rcode(pub u16);

registry! { Rcode:
    /// No error.
    NOERROR = 0,
    /// The query could not be read.
    FORMERR = 1,
    /// The server could not answer.
    SERVFAIL = 2,
    /// The name does not exist.
    NXDOMAIN = 3,
    /// The operation is not implemented.
    NOTIMP = 4,
    /// The server does not want to answer.
    REFUSED = 5,
    /// A name exists that should not.
    YXDOMAIN = 6,
    /// An RRset exists that should not.
    YXRRSET = 7,
    /// An RRset does not exist that should.
    NXRRSET = 8,
    /// The server is not authoritative for the zone.
    NOTAUTH = 9,
    /// A name is not in the zone.
    NOTZONE = 10,
    /// EDNS version not supported (RFC 6891 §9).
    BADVERS = 16,
    /// Key not known.
    BADKEY = 17,
    /// Signature out of its time.
    BADTIME = 18,
    /// TKEY mode not supported.
    BADMODE = 19,
    /// Key name in use.
    BADNAME = 20,
    /// Algorithm not supported.
    BADALG = 21,
    /// Signature cut too short.
    BADTRUNC = 22,
    /// Cookie wrong or missing.
    BADCOOKIE = 23,
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.mnemonic() {
            Some(name) => f.write_str(name),
            None => write!(f, "RCODE{}", self.0),
        }
    }
}

/// An operation code: four bits of the header.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Opcode(pub u8);

registry! { Opcode:
    /// A standard query.
    QUERY = 0,
    /// Zone change notification (RFC 1996).
    NOTIFY = 4,
    /// Dynamic update (RFC 2136).
    UPDATE = 5,
}

/// The second word of the header.
///
/// ```text
///  15  14..11  10  9   8   7   6  5   4   3..0
///  QR  Opcode  AA  TC  RD  RA  Z  AD  CD  RCODE
/// ```
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Flags(pub u16);

impl Flags {
    /// This is a response.
    pub const QR: u16 = 0x8000;
    /// The answer is authoritative.
    pub const AA: u16 = 0x0400;
    /// Records had to be left out.
    pub const TC: u16 = 0x0200;
    /// Recursion desired.
    pub const RD: u16 = 0x0100;
    /// Recursion available.
    pub const RA: u16 = 0x0080;
    /// Reserved.
    pub const Z: u16 = 0x0040;
    /// Authentic data (RFC 4035).
    pub const AD: u16 = 0x0020;
    /// Checking disabled (RFC 4035).
    pub const CD: u16 = 0x0010;
    /// The four bits of the response code.
    pub const RCODE: u16 = 0x000f;
    /// The four bits of the operation code.
    pub const OPCODE: u16 = 0x7800;

    /// Whether any of `bits` is set.
    pub const fn has(self, bits: u16) -> bool {
        self.0 & bits != 0
    }

    /// The operation code.
    pub const fn opcode(self) -> Opcode {
        Opcode(((self.0 & Self::OPCODE) >> 11) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As in the DNS library under CoreDNS, whose log and templates show them.
    #[test]
    fn types_have_their_usual_names() {
        for (value, expected) in [
            (0, "None"),
            (1, "A"),
            (3, "MD"),
            (11, "TYPE11"),
            (23, "NSAP-PTR"),
            (65, "HTTPS"),
            (66, "TYPE66"),
            (255, "ANY"),
            (65_535, "Reserved"),
        ] {
            assert_eq!(RType(value).to_string(), expected);
        }
        assert_eq!(RType::from_mnemonic("NSAP-PTR"), Some(RType(23)));
        assert_eq!(RType::from_mnemonic("NSAP_PTR"), None);
    }
}
