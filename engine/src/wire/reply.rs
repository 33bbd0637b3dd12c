//! Writing a reply: the question as the client sent it, then records that point into it.
//!
//! The buffer is a piece of the worker's batch. Records go straight to their place; one that does
//! not fit is taken back, TC is set and nothing follows it, which leaves the same records as
//! CoreDNS's truncation does (RFC 2181 §9). Names compress against the question and against each
//! other (RFC 1035 §4.1.4), case-sensitively, so that every client gets its own spelling back.
//!
//! ```text
//! 0        12                 12 + question
//! ┌────────┬──────────────────┬────────┬───────────┬────────────┬─────┐
//! │ header │ question as sent │ answer │ authority │ additional │ OPT │
//! └────────┴──────────────────┴────────┴───────────┴────────────┴─────┘
//! ```

mod error;
mod names;
mod opt;
mod whole;

pub use error::write_error;
pub use opt::echoes;
use opt::opt_len;
pub use whole::{Asked, Copied, Target, Whole, write_copied, write_target, write_whole};

use super::codes::{Class, Flags, Opcode, RType, Rcode};
use super::message::Message;
use super::query::{Edns, HEADER_LEN, OPT_LEN, Query};
use super::walk::record_at;
use crate::limits::{MESSAGE_LEN_MAX, PAYLOAD_SIZE_MIN, POINTER_MAX};

/// A compression pointer to the name of the question.
pub const QUESTION_POINTER: u16 = 0xc000 | HEADER_LEN as u16;
/// The largest payload of a UDP datagram over IPv4.
const DATAGRAM_LEN_MAX: usize = 65_507;
/// The TTLs of no record at all.
const NO_TTLS: (u32, u32) = (u32::MAX, 0);
/// Names remembered for compression. Beyond them names are written in full, which is legal.
const REMEMBERED_MAX: usize = 96;

/// The three sections after the question, in their order.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Section {
    /// Answer.
    Answer,
    /// Authority.
    Authority,
    /// Additional.
    Additional,
}

/// Where a record's owner name is.
#[derive(Clone, Copy, Debug)]
pub enum Owner<'n> {
    /// The name of the question.
    Question,
    /// The name of the question without its first `n` octets.
    QuestionSuffix(usize),
    /// A name already in this reply, at this offset.
    At(usize),
    /// An uncompressed wire name.
    Name(&'n [u8]),
}

/// A record that was begun; hand it back to [`Reply::end`].
#[must_use]
pub struct Begun {
    section: Section,
    at: usize,
    rdata_at: usize,
    remembered: usize,
}

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

/// A reply under construction.
pub struct Reply<'b> {
    buf: &'b mut [u8],
    len: usize,
    /// Octets that records may reach: `size` less the OPT, and what `buf` has room for.
    limit: usize,
    /// Octets that the message may have.
    size: usize,
    /// Octets of the OPT that answers the client's; 0 if it has none.
    opt_len: usize,
    /// Whether a write ran over the end of `buf` since the last record began.
    overrun: bool,
    records_at: usize,
    counts: [u16; 3],
    flags: u16,
    /// The flags of a reply that nobody has answered yet.
    first_flags: u16,
    rcode: Rcode,
    /// Something was left out before it came here.
    was_truncated: bool,
    /// The section of the first record that did not fit.
    left_out: Option<Section>,
    /// Flags and options of an upstream's OPT, which go to the client instead of its own.
    upstream_opt: Option<(u16, Box<[u8]>)>,
    /// What is answered instead of the client's own EDNS: payload size, flags and options.
    edns: Option<Box<OwnEdns>>,
    /// No larger payload size is announced.
    payload_size_max: u16,
    /// Smallest and largest TTL of the records so far.
    ttls: (u32, u32),
    /// Starts of labels written in full after the question, for compression.
    remembered: [u16; REMEMBERED_MAX],
    remembered_len: usize,
}

impl<'b> Reply<'b> {
    /// Begins the reply to `query` in `buf`, which must hold at least a header and the question.
    ///
    /// `stream` says that the reply leaves over TCP, where the payload size does not count.
    #[inline]
    pub fn new(buf: &'b mut [u8], query: &Query<'_>, stream: bool) -> Self {
        let question = query.question();
        let records_at = HEADER_LEN + QUESTION_EXTRA + query.name_len;
        buf[..2].copy_from_slice(&query.id());
        let (name, codes) = buf[HEADER_LEN..records_at].split_at_mut(query.name_len);
        name.copy_from_slice(query.name_as_sent());
        codes.copy_from_slice(&question);
        let opcode = query.flags.0 & Flags::OPCODE;
        // RD and CD come back only for standard queries.
        let copied = if query.flags.opcode() == Opcode::QUERY {
            Flags::RD | Flags::CD
        } else {
            0
        };
        let payload_size = query.edns.as_ref().map(|edns| edns.payload_size);
        let size = size_of(payload_size, stream);
        let opt_len = query.edns.as_ref().map_or(0, opt_len);
        let flags = Flags::QR | opcode | (query.flags.0 & copied);
        Self {
            limit: size.saturating_sub(opt_len).min(buf.len()),
            size,
            opt_len,
            buf,
            len: records_at,
            overrun: false,
            records_at,
            counts: [0; 3],
            flags,
            first_flags: flags,
            upstream_opt: None,
            edns: None,
            payload_size_max: u16::MAX,
            rcode: Rcode::NOERROR,
            was_truncated: false,
            left_out: None,
            ttls: NO_TTLS,
            remembered: [0; REMEMBERED_MAX],
            remembered_len: 0,
        }
    }

    /// Takes back every record, flag and code: the next plugin begins afresh.
    pub fn clear(&mut self) {
        self.len = self.records_at;
        self.counts = [0; 3];
        self.flags = self.first_flags;
        if self.upstream_opt.take().is_some() {
            self.reserve(self.opt_len);
        }
        self.rcode = Rcode::NOERROR;
        self.clear_truncated();
        self.ttls = NO_TTLS;
        self.remembered_len = 0;
    }

    /// Clears TC, where what did not fit follows in another message.
    pub(crate) const fn clear_truncated(&mut self) {
        (self.was_truncated, self.left_out) = (false, None);
    }

    /// Sets AA.
    pub const fn set_authoritative(&mut self) {
        self.flags |= Flags::AA;
    }

    /// Sets the flags of a message that was made elsewhere; QR and the opcode stay ours, and TC is
    /// only ever added.
    pub fn set_flags(&mut self, flags: Flags) {
        const OURS: u16 = Flags::QR | Flags::OPCODE | Flags::TC | Flags::RCODE;
        self.flags = (self.flags & OURS) | (flags.0 & !OURS);
        self.was_truncated |= flags.has(Flags::TC);
    }

    /// Clears AD, for a client that did not ask for DNSSEC (RFC 6840 §5.8).
    pub const fn clear_authentic(&mut self) {
        self.flags &= !Flags::AD;
    }

    /// Sets the response code.
    pub const fn set_rcode(&mut self, rcode: Rcode) {
        self.rcode = rcode;
    }

    /// The response code so far.
    pub const fn rcode(&self) -> Rcode {
        self.rcode
    }

    /// Sets TC, for an answer that was already cut where it came from.
    pub const fn set_truncated(&mut self) {
        self.was_truncated = true;
    }

    /// Whether records had to be left out.
    pub const fn truncated(&self) -> bool {
        self.was_truncated || self.left_out.is_some()
    }

    /// The flags as they would be sent now.
    pub fn flags(&self) -> Flags {
        let tc = if self.truncated() { Flags::TC } else { 0 };
        Flags(self.flags | tc | (self.rcode.0 & Flags::RCODE))
    }

    /// Has the code fit the header, if there is no OPT for the rest of it (RFC 6891 §6.1.3): its low
    /// bits alone would be another code.
    pub fn fit_rcode(&mut self, edns: Option<&Edns<'_>>) {
        let has_opt = edns.is_some() || self.edns.is_some() || self.upstream_opt.is_some();
        if self.rcode.0 > Flags::RCODE && !has_opt {
            self.rcode = Rcode::SERVFAIL;
        }
    }

    /// The smallest and the largest TTL of all records begun, in seconds; the first is the larger
    /// one if there is no record.
    pub const fn ttls(&self) -> (u32, u32) {
        self.ttls
    }

    fn widen_ttls(&mut self, ttl: u32) {
        self.ttls = (self.ttls.0.min(ttl), self.ttls.1.max(ttl));
    }

    /// The number of records in `section`.
    pub const fn count(&self, section: Section) -> u16 {
        self.counts[section as usize]
    }

    /// Octets written so far, OPT not included.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing follows the question.
    pub const fn is_empty(&self) -> bool {
        self.len == self.records_at
    }

    /// The message so far, and where its records begin. The counts of its header are not yet right.
    pub fn message(&self) -> (&[u8], usize) {
        (&self.buf[..self.len], self.records_at)
    }

    /// The message so far, for response-side work on its records. The counts of its header are
    /// not yet right.
    pub fn message_mut(&mut self) -> (&mut [u8], usize, [u16; 3]) {
        (&mut self.buf[..self.len], self.records_at, self.counts)
    }

    /// Appends encoded records whose owner is [`QUESTION_POINTER`] and whose TTL is one, beginning
    /// with record `first` and going round. This is how a precomputed RRset is rotated: by the order
    /// of two copies.
    #[inline]
    pub fn copy_rrset<const LEN: usize>(
        &mut self,
        section: Section,
        records: &[[u8; LEN]],
        first: usize,
    ) {
        let Some(ttl) = records.first().and_then(|record| record[6..].first_chunk()) else {
            return;
        };
        if self.truncated() {
            return;
        }
        self.widen_ttls(u32::from_be_bytes(*ttl));
        let fits = (self.limit.saturating_sub(self.len) / LEN).min(records.len());
        if let ([record], 1) = (records, fits) {
            self.put(record);
        } else {
            let head = &records[first..][..fits.min(records.len() - first)];
            self.put(head.as_flattened());
            self.put(records[..fits - head.len()].as_flattened());
        }
        self.counts[section as usize] += fits as u16;
        if fits < records.len() {
            self.leave_out(section);
        }
    }

    /// Answers with what an upstream replied to the same question. `has_edns`: the client has.
    pub fn adopt(&mut self, message: &Message, has_edns: bool) {
        if let Some((flags, options)) = message.opt().filter(|_| has_edns) {
            // As CoreDNS does it, the upstream's options are passed on, the client's are not echoed.
            self.set_opt(flags, options.into());
        }
        self.set_flags(message.flags());
        self.rcode = message.rcode();
        self.append(&message.octets()[message.records_at()..], message.counts());
    }

    /// Gives the reply an OPT of its own, with these flags and options; it is sent to clients
    /// without EDNS as well. Records that do not fit beside it are left out.
    pub fn set_opt(&mut self, flags: u16, options: Box<[u8]>) {
        self.reserve(OPT_LEN + options.len());
        self.upstream_opt = Some((flags, options));
    }

    /// Flags and options of an OPT of its own, from [`Self::set_opt`] or an upstream.
    pub const fn own_opt(&self) -> Option<&(u16, Box<[u8]>)> {
        self.upstream_opt.as_ref()
    }

    /// Takes away the flags and options that an upstream or [`Self::set_opt`] gave it.
    pub fn take_opt(&mut self) -> Option<(u16, Box<[u8]>)> {
        let opt = self.upstream_opt.take();
        self.reserve(self.opt_len);
        opt
    }

    /// Answers this EDNS instead of the client's.
    pub fn set_edns(&mut self, edns: OwnEdns, stream: bool) {
        self.size = size_of(Some(edns.payload_size), stream);
        self.opt_len = OPT_LEN + edns.options.len();
        self.edns = Some(Box::new(edns));
        self.reserve(self.opt_len);
    }

    /// Answers as if the client had announced no larger payload than this.
    pub fn lower_payload_size(&mut self, max: u16, stream: bool) {
        self.payload_size_max = self.payload_size_max.min(max);
        self.size = self.size.min(size_of(Some(max), stream));
        self.reserve(self.opt_len);
    }

    /// Keeps so much room for the OPT.
    fn reserve(&mut self, opt_len: usize) {
        self.limit = self.size.saturating_sub(opt_len).min(self.buf.len());
        if self.len > self.limit {
            self.cut(self.limit, self.counts);
        }
    }

    /// Says whether the query asked for recursion.
    pub const fn set_recursion_desired(&mut self, desired: bool) {
        let rd = if desired { Flags::RD } else { 0 };
        self.flags = (self.flags & !Flags::RD) | rd;
        self.first_flags = (self.first_flags & !Flags::RD) | rd;
    }

    /// Leaves out the authority and the additional section.
    pub fn keep_answer(&mut self) {
        let mut at = self.records_at;
        for _ in 0..self.counts[0] {
            at = record_at(&self.buf[..self.len], at).map_or(at, |record| record.end);
        }
        self.len = at;
        self.counts = [self.counts[0], 0, 0];
        self.left_out = self.left_out.filter(|section| *section == Section::Answer);
        self.forget_behind(at);
    }

    /// What comes later must not point to what is gone.
    fn forget_behind(&mut self, end: usize) {
        let remembered = &self.remembered[..self.remembered_len];
        self.remembered_len = remembered.partition_point(|start| usize::from(*start) < end);
    }

    /// Leaves out records that end behind octet `end`, the last ones first. There are so many of them by
    /// section; the last may be cut short already.
    fn cut(&mut self, end: usize, counts: [u16; 3]) {
        let mut at = self.records_at;
        self.counts = [0; 3];
        let sections = [Section::Answer, Section::Authority, Section::Additional];
        'sections: for (section, count) in sections.into_iter().zip(counts) {
            for _ in 0..count {
                let Some(record) = record_at(&self.buf[..end], at) else {
                    self.leave_out(section);
                    break 'sections;
                };
                at = record.end;
                self.counts[section as usize] += 1;
            }
        }
        self.len = at;
        self.forget_behind(at);
    }

    /// Appends records that stood behind a question of the same length: their pointers stay right.
    /// Records that do not fit are left out, the last ones first, and TC is set.
    pub fn append(&mut self, records: &[u8], counts: [u16; 3]) {
        debug_assert!(self.is_empty(), "pointers lead to fixed places");
        let fits = records.len().min(self.limit.saturating_sub(self.len));
        let Some(place) = self.buf.get_mut(self.len..self.len + fits) else {
            self.leave_out(Section::Answer);
            return;
        };
        place.copy_from_slice(&records[..fits]);
        self.len += fits;
        self.counts = counts;
        if fits < records.len() {
            self.cut(self.len, counts);
        }
    }

    /// Sets TTLs that stand at these offsets from where records begin. Those of records that did
    /// not fit are passed over.
    pub fn set_ttls_at(&mut self, offsets: impl Iterator<Item = usize>, ttl: u32) {
        let records = &mut self.buf[self.records_at..self.len];
        for offset in offsets {
            if let Some(place) = records.get_mut(offset..offset + 4) {
                place.copy_from_slice(&ttl.to_be_bytes());
            }
        }
    }

    /// Sets the TTL of every record.
    pub fn set_ttls(&mut self, ttl: u32) {
        let mut at = self.records_at;
        while let Some(record) = record_at(&self.buf[..self.len], at) {
            self.buf[record.ttl_at..record.ttl_at + 4].copy_from_slice(&ttl.to_be_bytes());
            at = record.end;
        }
    }

    /// Writes a whole record whose RDATA holds no compressible name.
    pub fn record(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        rtype: RType,
        ttl: u32,
        rdata: &[u8],
    ) -> bool {
        let begun = self.begin(section, owner, rtype, Class::IN, ttl);
        self.put(rdata);
        self.end(begun)
    }

    /// Begins a record; RDATA follows through [`Self::put`] and [`Self::put_name`].
    pub fn begin(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        rtype: RType,
        class: Class,
        ttl: u32,
    ) -> Begun {
        let at = self.len;
        let remembered = self.remembered_len;
        self.widen_ttls(ttl);
        self.overrun = false;
        match owner {
            Owner::Question => self.put(&QUESTION_POINTER.to_be_bytes()),
            Owner::QuestionSuffix(offset) => self.put_question_suffix(offset),
            Owner::At(offset) if offset <= POINTER_MAX => {
                self.put(&(0xc000 | offset as u16).to_be_bytes());
            }
            Owner::At(offset) => self.put_name_again(offset),
            Owner::Name(name) => self.put_name(name),
        }
        let mut fixed = [0; 10];
        fixed[..2].copy_from_slice(&rtype.0.to_be_bytes());
        fixed[2..4].copy_from_slice(&class.0.to_be_bytes());
        fixed[4..8].copy_from_slice(&ttl.to_be_bytes());
        self.put(&fixed);
        Begun {
            section,
            at,
            rdata_at: self.len,
            remembered,
        }
    }

    /// Ends a record. `false` if it did not fit and was taken back.
    pub fn end(&mut self, begun: Begun) -> bool {
        if self.truncated() || self.overrun || self.len > self.limit {
            self.leave_out(begun.section);
            self.len = begun.at;
            self.remembered_len = begun.remembered;
            return false;
        }
        let rdlength = (self.len - begun.rdata_at) as u16;
        self.buf[begun.rdata_at - 2..begun.rdata_at].copy_from_slice(&rdlength.to_be_bytes());
        self.counts[begun.section as usize] += 1;
        true
    }

    /// Says that a record of this section did not fit.
    fn leave_out(&mut self, section: Section) {
        let first = self.left_out.unwrap_or(section);
        self.left_out = Some(first.min(section));
    }

    /// Takes back octets written since the message was `len` long, outside of any record.
    pub fn take_back(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.overrun = false;
    }

    /// Appends octets of RDATA.
    pub fn put(&mut self, octets: &[u8]) {
        match self.buf.get_mut(self.len..self.len + octets.len()) {
            Some(place) => {
                place.copy_from_slice(octets);
                self.len += octets.len();
            }
            None => self.overrun = true,
        }
    }

    /// Writes the OPT and the header; returns the length of the message.
    pub fn finish(mut self, edns: Option<&Edns<'_>>) -> usize {
        let mut additionals = self.counts[Section::Additional as usize];
        if self.edns.is_some() || edns.is_none() && self.upstream_opt.is_some() {
            additionals += 1;
            self.put_own_opt();
        } else if let Some(edns) = edns {
            additionals += 1;
            self.put_opt(edns, echoes);
        }
        let [answers, authorities, _] = self.counts;
        let words = [self.flags().0, 1, answers, authorities, additionals];
        let places = self.buf[2..HEADER_LEN].as_chunks_mut().0;
        for (place, word) in places.iter_mut().zip(words) {
            *place = word.to_be_bytes();
        }
        self.len
    }
}

/// Octets that a message may have, by the payload size that the client told.
fn size_of(payload_size: Option<u16>, stream: bool) -> usize {
    if stream {
        return MESSAGE_LEN_MAX;
    }
    let told = payload_size.map_or(0, usize::from);
    told.clamp(PAYLOAD_SIZE_MIN, DATAGRAM_LEN_MAX)
}

/// Octets of a question after its name: type and class.
const QUESTION_EXTRA: usize = 4;

impl Query<'_> {
    /// Type and class as they are echoed; a question that was cut short is echoed with zeros.
    fn question(&self) -> [u8; QUESTION_EXTRA] {
        let (t, c) = (self.qtype.0.to_be_bytes(), self.qclass.0.to_be_bytes());
        [t[0], t[1], c[0], c[1]]
    }
}

#[cfg(test)]
mod tests;
