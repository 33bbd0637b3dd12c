//! The OPT record of a reply (RFC 6891 §6.1): the client's own, an upstream's, or one that a stage put
//! in its place.

use super::{DATAGRAM_LEN_MAX, Reply};
use crate::limits::{MESSAGE_LEN_MAX, PAYLOAD_SIZE_MIN};
use crate::wire::query::{Edns, options};
use crate::wire::{RType, Rcode};

/// Octets of an OPT record without options.
pub(super) const OPT_LEN: usize = 11;
/// Options that CoreDNS sends back: NSID, EXPIRE, COOKIE, KEEPALIVE, PADDING. All others are left
/// out of the reply.
const ECHOED_OPTIONS: [u16; 5] = [3, 9, 10, 11, 12];
/// The payload size in an OPT that answers none, as in CoreDNS.
const OWN_PAYLOAD_SIZE: u16 = 4_096;

/// EDNS that a stage put in the place of the client's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OwnEdns {
    /// The payload size.
    pub payload_size: u16,
    /// DO and the bits after it.
    pub flags: u16,
    /// The options that are sent back.
    pub options: Vec<u8>,
}

impl OwnEdns {
    /// As if a client had sent it.
    pub fn view(&self) -> Edns<'_> {
        Edns {
            payload_size: self.payload_size,
            version: 0,
            flags: self.flags,
            options: &self.options,
        }
    }
}

impl Reply<'_> {
    /// Gives the reply an OPT of its own, with these flags and options; it is sent to clients
    /// without EDNS as well. Before any record.
    pub fn set_opt(&mut self, flags: u16, options: Box<[u8]>) {
        self.limit = self.limit.saturating_sub(OPT_LEN + options.len());
        self.upstream_opt = Some((flags, options));
    }

    /// Takes away the flags and options that an upstream or [`Self::set_opt`] gave it.
    pub fn take_opt(&mut self) -> Option<(u16, Box<[u8]>)> {
        let opt = self.upstream_opt.take();
        self.limit += opt
            .as_ref()
            .map_or(0, |(_, options)| OPT_LEN + options.len());
        self.limit = self.limit.min(self.buf.len());
        opt
    }

    /// Answers this EDNS instead of the client's. Before any record.
    pub fn set_edns(&mut self, edns: OwnEdns, stream: bool) {
        let size = if stream {
            MESSAGE_LEN_MAX
        } else {
            usize::from(edns.payload_size).clamp(PAYLOAD_SIZE_MIN, DATAGRAM_LEN_MAX)
        };
        let opt_len = OPT_LEN + edns.options.len();
        self.limit = size.saturating_sub(opt_len).min(self.buf.len());
        self.edns = Some(Box::new(edns));
    }

    /// Answers as if the client had announced no larger payload than this.
    pub fn lower_payload_size(&mut self, max: u16, stream: bool) {
        self.payload_size_max = self.payload_size_max.min(max);
        if !stream {
            let room = usize::from(max).max(PAYLOAD_SIZE_MIN) - OPT_LEN;
            self.limit = self.limit.min(room);
        }
    }

    /// Leaves out the upstream's options that [`Self::adopt`] took over.
    pub fn drop_options(&mut self, edns: Option<&Edns<'_>>) {
        if let (Some((_, options)), Some(edns)) = (self.upstream_opt.take(), edns) {
            self.limit = (self.limit + OPT_LEN + options.len()).saturating_sub(opt_len(edns));
        }
    }

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
