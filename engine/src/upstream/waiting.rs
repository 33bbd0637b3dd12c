//! Questions in flight on one connection, by message ID.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::wire::Message;
use crate::wire::message::{MessageError, has_question_of};

/// How long the right reply may come after a wrong one with the right ID. Whoever guesses IDs must
/// not be able to end the exchange, and a server that is broken should not hold it up.
const GRACE: Duration = Duration::from_millis(100);

/// Replies with the right question and an ID that nobody has, until it is clear that somebody
/// guesses. A reply that comes again, or too late for an earlier attempt, is one of them.
const GUESSES_MAX: u32 = 8;

/// Why one server gave no reply.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Fault {
    /// Too late.
    #[error("i/o timeout")]
    Timeout,
    /// What came answers another question.
    #[error("the reply is to another question")]
    Mismatch,
    /// Somebody tries to guess the ID of the reply.
    #[error("replies are being forged")]
    Forged,
    /// What came cannot be read.
    #[error("the reply is malformed")]
    Malformed,
    /// The connection is gone. If it had served before, that may be all that is wrong.
    #[error("{error}")]
    Io {
        /// What the system says.
        error: Arc<io::Error>,
        /// The connection had brought replies.
        reused: bool,
    },
    /// As many questions are in flight as there may be.
    #[error("too many queries wait for this upstream")]
    Full,
}

impl Fault {
    pub(super) fn io(error: io::Error) -> Self {
        Self::Io {
            error: Arc::new(error),
            reused: false,
        }
    }
}

type Outcome = Result<Message, Fault>;

struct Slot {
    request: Rc<[u8]>,
    outcome: oneshot::Sender<Outcome>,
    /// Something else with this ID came.
    doubted: bool,
}

/// The questions.
#[derive(Default)]
pub(super) struct Waiting {
    slots: RefCell<HashMap<u16, Slot>>,
    guesses: Cell<u32>,
}

impl Waiting {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.slots.borrow().len()
    }

    /// Draws an ID that no other question here has.
    pub(super) fn enter(self: &Rc<Self>, request: &Rc<[u8]>) -> Ticket {
        let mut slots = self.slots.borrow_mut();
        let id = loop {
            let id = rand::random::<u16>();
            if !slots.contains_key(&id) {
                break id;
            }
        };
        let (outcome, receiver) = oneshot::channel();
        slots.insert(
            id,
            Slot {
                request: Rc::clone(request),
                outcome,
                doubted: false,
            },
        );
        Ticket {
            waiting: Rc::clone(self),
            id,
            receiver,
        }
    }

    /// Hands a reply to whoever waits for it. Replies that nobody waits for, and those to another
    /// question, are dropped; after the latter the exchange ends if the right one does not follow.
    pub(super) fn deliver(self: &Rc<Self>, octets: &[u8]) -> bool {
        let Some(id) = octets.first_chunk().map(|id| u16::from_be_bytes(*id)) else {
            return false;
        };
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get_mut(&id) else {
            let is_near = slots
                .values()
                .any(|slot| has_question_of(&slot.request, octets));
            self.guesses.set(self.guesses.get() + u32::from(is_near));
            return false;
        };
        let fault = match Message::parse(&slot.request, octets) {
            Ok(message) => {
                if let Some(slot) = slots.remove(&id) {
                    // Whoever asked may have got an answer from elsewhere.
                    let _ = slot.outcome.send(Ok(message));
                }
                return true;
            }
            Err(MessageError::Question) => Fault::Mismatch,
            Err(MessageError::Malformed) => Fault::Malformed,
        };
        if !std::mem::replace(&mut slot.doubted, true) {
            let (waiting, request) = (Rc::clone(self), Rc::clone(&slot.request));
            tokio::task::spawn_local(async move {
                tokio::time::sleep(GRACE).await;
                waiting.give_up(id, &request, fault);
            });
        }
        false
    }

    /// Whether somebody tries to forge replies to what was asked here: RFC 5452 §9.2 has IDs and
    /// ports drawn at random, and a guess costs the guesser next to nothing.
    pub(super) const fn is_guessed_at(&self) -> bool {
        self.guesses.get() >= GUESSES_MAX
    }

    fn give_up(&self, id: u16, request: &Rc<[u8]>, fault: Fault) {
        let mut slots = self.slots.borrow_mut();
        if slots
            .get(&id)
            .is_some_and(|slot| Rc::ptr_eq(&slot.request, request))
            && let Some(slot) = slots.remove(&id)
        {
            let _ = slot.outcome.send(Err(fault));
        }
    }

    /// Tells all that there will be no reply.
    pub(super) fn fail(&self, fault: &Fault) {
        for (_, slot) in self.slots.borrow_mut().drain() {
            let _ = slot.outcome.send(Err(fault.clone()));
        }
    }
}

/// Does something when a question has ended, whichever way: with a reply, a fault, or because nobody
/// waits any longer.
pub(super) struct AtEnd<F: Fn()>(pub(super) F);

impl<F: Fn()> Drop for AtEnd<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// A place among the waiting, given up when dropped.
pub(super) struct Ticket {
    waiting: Rc<Waiting>,
    id: u16,
    receiver: oneshot::Receiver<Outcome>,
}

impl Ticket {
    /// The request with this ticket's ID.
    pub(super) fn message(&self, request: &[u8]) -> Vec<u8> {
        let mut message = request.to_vec();
        message[..2].copy_from_slice(&self.id.to_be_bytes());
        message
    }

    /// Waits for the reply.
    pub(super) async fn outcome(mut self) -> Outcome {
        let closed = || Err(Fault::io(io::ErrorKind::ConnectionAborted.into()));
        (&mut self.receiver).await.unwrap_or_else(|_| closed())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.waiting.slots.borrow_mut().remove(&self.id);
    }
}
