//! The OPT of a reply (RFC 6891 §6.1.1).

use super::{OwnEdns, Reply};
use crate::wire::query::{Edns, OPT_LEN, options};
use crate::wire::{RType, Rcode};

/// Options that CoreDNS sends back: NSID, EXPIRE, COOKIE, KEEPALIVE, PADDING. All others are left
/// out of the reply.
const ECHOED_OPTIONS: [u16; 5] = [3, 9, 10, 11, 12];
/// The payload size in an OPT that answers none, as in CoreDNS.
const OWN_PAYLOAD_SIZE: u16 = 4_096;

impl Reply<'_> {
    #[cold]
    pub(super) fn put_own_opt(&mut self) {
        let edns = self.edns.take().unwrap_or_else(|| {
            // The client has no EDNS, the reply has.
            Box::new(OwnEdns {
                payload_size: OWN_PAYLOAD_SIZE,
                flags: Edns::DO,
                options: Vec::new(),
            })
        });
        self.put_opt(&edns.view(), |_| true);
    }

    /// Version 0, the client's size, DO and the seven bits after it, the options that CoreDNS
    /// echoes; BADVERS carries size 0 and neither flags nor options.
    pub(super) fn put_opt(&mut self, edns: &Edns<'_>, echoes: impl Fn(u16) -> bool) {
        let bad_version = self.rcode == Rcode::BADVERS;
        let upstream = self.upstream_opt.take();
        let (size, flags) = match &upstream {
            _ if bad_version => (0, 0),
            Some((flags, _)) => {
                let flags = (flags & 0xff00) | (edns.flags & Edns::DO);
                (edns.payload_size, flags)
            }
            None => (edns.payload_size, edns.flags & 0xff00),
        };
        let size = size.min(self.payload_size_max);
        let ([s1, s2], [f1, f2]) = (size.to_be_bytes(), flags.to_be_bytes());
        let extended_rcode = (self.rcode.0 >> 4) as u8;
        self.put(&[
            0,
            0,
            RType::OPT.0 as u8,
            s1,
            s2,
            extended_rcode,
            0,
            f1,
            f2,
            0,
            0,
        ]);
        if upstream.is_none() && edns.options.is_empty() {
            return;
        }
        let rdata_at = self.len;
        if let Some((_, options)) = &upstream {
            self.put(options);
        } else if !bad_version {
            for (code, option) in options(edns.options) {
                if echoes(code) {
                    self.put(option);
                }
            }
        }
        let rdlength = (self.len - rdata_at) as u16;
        self.buf[rdata_at - 2..rdata_at].copy_from_slice(&rdlength.to_be_bytes());
    }
}

/// Whether an option of the client's is sent back.
pub fn echoes(code: u16) -> bool {
    ECHOED_OPTIONS.contains(&code)
}

/// Octets of the OPT that answers `edns`.
pub(super) fn opt_len(edns: &Edns<'_>) -> usize {
    if edns.options.is_empty() {
        return OPT_LEN;
    }
    let echoed = options(edns.options).filter(|(code, _)| echoes(*code));
    OPT_LEN + echoed.map(|(_, option)| option.len()).sum::<usize>()
}
