//! Names in replies, and their compression (RFC 1035 §4.1.4).

use super::{QUESTION_EXTRA, QUESTION_POINTER, REMEMBERED_MAX, Reply};
use crate::limits::POINTER_MAX;
use crate::wire::query::HEADER_LEN;

impl Reply<'_> {
    /// Appends the name of the question from octet `offset` on, as a pointer.
    pub fn put_question_suffix(&mut self, offset: usize) {
        if self.buf[HEADER_LEN + offset] == 0 {
            self.put(&[0]); // The root is shorter than a pointer to it.
        } else {
            self.put(&(QUESTION_POINTER + offset as u16).to_be_bytes());
        }
    }

    /// Appends labels in full, then the question's name from octet `offset` on.
    pub fn put_labels_under(&mut self, labels: &[u8], offset: usize) {
        self.put(labels);
        self.put_question_suffix(offset);
    }

    /// Copies the question's name from octet `offset` on, without compression: SRV targets must
    /// not be compressed (RFC 2782).
    pub fn put_question_suffix_in_full(&mut self, offset: usize) {
        let end = self.records_at - QUESTION_EXTRA;
        let start = HEADER_LEN + offset;
        if self.len + end - start > self.buf.len() {
            self.overrun = true;
            return;
        }
        self.buf.copy_within(start..end, self.len);
        self.len += end - start;
    }

    /// Appends an uncompressed wire name, compressed against what the reply already holds.
    pub fn put_name(&mut self, name: &[u8]) {
        let mut at = 0;
        while let Some(&len @ 1..) = name.get(at) {
            if let Some(offset) = self.find(&name[at..]) {
                self.put(&(0xc000 | offset as u16).to_be_bytes());
                return;
            }
            self.remember(self.len);
            let end = at + 1 + usize::from(len);
            self.put(&name[at..end]);
            at = end;
        }
        self.put(&[0]);
    }

    /// Appends an uncompressed wire name as it is, for data that must not contain pointers; later names
    /// may point into it.
    pub fn put_name_in_full(&mut self, name: &[u8]) {
        let mut at = 0;
        while let Some(&len @ 1..) = name.get(at) {
            if self.find(&name[at..]).is_some() {
                break;
            }
            self.remember(self.len + at);
            at += 1 + usize::from(len);
        }
        self.put(name);
    }

    fn remember(&mut self, offset: usize) {
        if offset <= POINTER_MAX && self.remembered_len < REMEMBERED_MAX {
            self.remembered[self.remembered_len] = offset as u16;
            self.remembered_len += 1;
        }
    }

    /// Where the reply already holds exactly `name` (uncompressed, not the root).
    fn find(&self, name: &[u8]) -> Option<usize> {
        let mut at = HEADER_LEN;
        while self.buf[at] != 0 {
            if self.holds(at, name) {
                return Some(at);
            }
            at += 1 + usize::from(self.buf[at]);
        }
        let remembered = &self.remembered[..self.remembered_len];
        remembered
            .iter()
            .map(|&at| usize::from(at))
            .find(|&at| self.holds(at, name))
    }

    /// Whether the name that the reply holds at `at` equals `name`, letter by letter.
    fn holds(&self, mut at: usize, mut name: &[u8]) -> bool {
        loop {
            let Some(&len) = self.buf[..self.len].get(at) else {
                return false;
            };
            if len >= 0xc0 {
                let Some(&low) = self.buf[..self.len].get(at + 1) else {
                    return false;
                };
                at = usize::from(len & 0x3f) << 8 | usize::from(low);
                continue;
            }
            let end = 1 + usize::from(len);
            let (Some(here), Some((label, rest))) = (
                self.buf[..self.len].get(at..at + end),
                name.split_at_checked(end),
            ) else {
                return false;
            };
            if here != label {
                return false;
            }
            if len == 0 {
                return true;
            }
            at += end;
            name = rest;
        }
    }

    /// Copies the uncompressed name that stands at `offset`, too far out for a pointer.
    pub(super) fn put_name_again(&mut self, offset: usize) {
        let mut end = offset;
        while let Some(&len @ 1..=63) = self.buf[..self.len].get(end) {
            end += 1 + usize::from(len);
        }
        end += 1;
        if self.len + end - offset > self.buf.len() {
            self.overrun = true;
            return;
        }
        self.buf.copy_within(offset..end, self.len);
        self.len += end - offset;
    }
}
