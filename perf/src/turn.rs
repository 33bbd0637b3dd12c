//! What a worker does with a batch of messages between its system calls.

use std::sync::Arc;
use std::time::Instant;

use martlet_engine::chain::{Listener, Peer};
use martlet_engine::log::LogSink;
use martlet_engine::metrics::Recorder;
use martlet_engine::respond::{Datagrams, Replies, Response, Scratch, respond_to_all};
use martlet_engine::top::{Observer, Window};
use martlet_engine::upstream::Group;

use crate::{external, seam};

/// What a worker keeps from batch to batch. All replies go into one buffer, one over the other.
pub struct Turn {
    peer: Peer,
    scratch: Scratch,
    recorder: Recorder,
    observer: Observer,
    window: Window,
    buf: Vec<u8>,
    /// What became of the last message.
    last: Response,
    /// Messages that got something else than a reply.
    unanswered: usize,
}

impl Turn {
    /// With a recorder of the listener's metrics; the seed decides which answers are looked at for
    /// `martlet top`.
    pub fn new(recorder: Recorder, seed: u64) -> Self {
        Self {
            peer: seam::peer(),
            scratch: Scratch::default(),
            recorder,
            observer: Observer::new(seed),
            window: Window::default(),
            buf: vec![0; 65_535],
            last: Response::None,
            unanswered: 0,
        }
    }

    /// Answers messages, at most as many as a batch holds, and counts them.
    pub fn answer(&mut self, messages: &[&[u8]], plan: (&Listener, &LogSink)) {
        let arrived = Arrived {
            messages,
            peer: self.peer,
        };
        respond_to_all(0..messages.len(), (&arrived, self), plan, &mut 0);
    }

    /// What follows a batch.
    pub fn end(&mut self) {
        let received = self.peer.received;
        self.recorder.end_batch(|| received.elapsed());
    }

    /// Answers each message by itself, with the upstreams' replies where they are asked: whatever is made
    /// once is then made, and the cache filled.
    ///
    /// # Panics
    ///
    /// If one gets no reply.
    pub fn prepare(
        &mut self,
        messages: &[&[u8]],
        (listener, log): (&Listener, &LogSink),
        upstreams: &Arc<Group>,
    ) {
        for message in messages {
            self.answer(&[*message], (listener, log));
            if self.last == Response::Slow {
                let gathered = external::exchanged(upstreams, message);
                let (scratch, buf) = (&mut self.scratch, &mut self.buf);
                self.last = external::store(listener, log, &gathered, message, scratch, buf);
                self.recorder.record(&self.scratch.seen);
            }
            assert!(matches!(self.last, Response::Reply(_)), "no reply");
        }
        self.unanswered = 0;
    }

    /// The reply to the last message; `None` if that got none.
    pub fn reply(&self) -> Option<&[u8]> {
        match self.last {
            Response::Reply(len) => self.buf.get(..len),
            _ => None,
        }
    }

    /// Messages that got something else than a reply.
    pub const fn unanswered(&self) -> usize {
        self.unanswered
    }
}

struct Arrived<'a, 'm> {
    messages: &'a [&'m [u8]],
    peer: Peer,
}

impl<'m> Datagrams<'m> for Arrived<'_, 'm> {
    fn message(&self, slot: usize) -> &'m [u8] {
        self.messages[slot]
    }

    fn is_ipv6(&self, _: usize) -> Option<bool> {
        Some(self.peer.remote.is_ipv6())
    }

    fn received(&self) -> Instant {
        self.peer.received
    }

    fn peer(&self, _: usize) -> Option<Peer> {
        Some(self.peer)
    }
}

impl Replies for Turn {
    fn scratch(&mut self) -> &mut Scratch {
        &mut self.scratch
    }

    fn parts(&mut self) -> (&mut Scratch, &mut [u8]) {
        (&mut self.scratch, &mut self.buf)
    }

    fn done(&mut self, _: usize, response: Response) {
        self.recorder.record(&self.scratch.seen);
        if self.observer.looks() {
            self.window.see(&self.scratch, &self.peer);
        }
        // What it says is looked at afterwards, so that little but answering is measured.
        self.unanswered += usize::from(!matches!(response, Response::Reply(_)));
        self.last = response;
    }
}
