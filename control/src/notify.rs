//! NOTIFY (RFC 1996): secondaries of `transfer` are told that a zone has changed, so that they need not
//! wait for its refresh time.
//!
//! Nobody who changes a zone waits for that: its serial is looked at once a second, and what came of
//! several changes is told at once.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use martlet_engine::plugins::transfer::Primary;
use martlet_engine::wire::name::NameText;
use martlet_engine::wire::record::serial_of;
use martlet_engine::wire::reply::QUESTION_POINTER;
use martlet_engine::wire::{Class, Flags, Opcode, RType, Rcode, Record};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// Where the opcode stands in the flags.
const OPCODE_SHIFT: u32 = 11;

/// A secondary of a zone.
pub struct Secondary {
    /// The zone.
    pub zone: Primary,
    /// Where it is told.
    pub address: SocketAddr,
    /// Where it is told from; any address if there is none.
    pub source: Option<IpAddr>,
    /// How often.
    pub pace: Pace,
}

/// When secondaries are told.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How often the zone is looked at.
    pub look: Duration,
    /// How long replies are waited for, one try after another.
    pub tries: [Duration; 4],
    /// How long a secondary is left alone after that: each word may make it ask for the whole zone,
    /// and a busy cluster changes all the time.
    pub pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            look: Duration::from_secs(1),
            tries: [2, 4, 8, 16].map(Duration::from_secs),
            pause: Duration::from_secs(10),
        }
    }
}

/// Why a secondary was not told.
#[derive(Debug, thiserror::Error)]
enum Fault {
    /// There is no way to it.
    #[error(transparent)]
    Network(#[from] io::Error),
    /// It says nothing.
    #[error("no reply")]
    Silence,
    /// It says something else than NOERROR.
    #[error("the reply is {0}")]
    Code(Rcode),
}

impl Secondary {
    /// Tells it of the zone as it is, and of each change. Whether it has heard or not, it asks by itself
    /// in the end.
    pub async fn watch(self) {
        let (mut told, mut is_deaf) = (None, false);
        let (address, tries) = (self.address, self.pace.tries.len());
        loop {
            let soa = self.zone.soa();
            let serial = soa.as_ref().and_then(serial_of);
            let Some(soa) = soa.filter(|_| serial != told) else {
                sleep(self.pace.look).await;
                continue;
            };
            told = serial;
            let zone = NameText::of(&soa.owner);
            let zone = zone.as_str();
            match self.tell(&soa).await {
                Ok(()) => {
                    let serial = serial.unwrap_or_default();
                    tracing::debug!("plugin/transfer: told {address} of {zone}, serial {serial}");
                    is_deaf = false;
                }
                // Said once as long as it lasts.
                Err(error) => {
                    if !is_deaf {
                        tracing::warn!(
                            "plugin/transfer: {address} has not heard in {tries} tries that {zone} has \
                             changed: {error}"
                        );
                    }
                    is_deaf = true;
                }
            }
            sleep(self.pace.pause).await;
        }
    }

    /// Says it until it is heard, or often enough.
    async fn tell(&self, soa: &Record) -> Result<(), Fault> {
        let mut heard = Err(Fault::Silence);
        for patience in self.pace.tries {
            let end = Instant::now() + patience;
            let said = timeout_at(end, self.say(soa)).await;
            heard = said.unwrap_or(Err(Fault::Silence));
            if heard.is_ok() {
                break;
            }
            sleep_until(end).await;
        }
        heard
    }

    /// Says it once, and waits for the reply.
    async fn say(&self, soa: &Record) -> Result<(), Fault> {
        let any = match self.address {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((self.source.unwrap_or(any), 0)).await?;
        socket.connect(self.address).await?;
        let message = message(rand::random(), soa);
        socket.send(&message).await?;
        let mut reply = [0; 512];
        loop {
            let len = socket.recv(&mut reply).await?;
            match code(&message, &reply[..len]) {
                Some(Rcode::NOERROR) => return Ok(()),
                Some(other) => return Err(Fault::Code(other)),
                // Somebody else's, or for an earlier try.
                None => {}
            }
        }
    }
}

/// The message with the new SOA record as a hint (RFC 1996 §3.7), which spares those who have it already
/// the question.
fn message(id: u16, soa: &Record) -> Vec<u8> {
    let flags = u16::from(Opcode::NOTIFY.0) << OPCODE_SHIFT | Flags::AA;
    let mut message = Vec::new();
    for word in [id, flags, 1, 1, 0, 0] {
        message.extend(word.to_be_bytes());
    }
    let kind = [RType::SOA.0, Class::IN.0].map(u16::to_be_bytes);
    message.extend(&soa.owner);
    message.extend(kind.as_flattened());
    message.extend(QUESTION_POINTER.to_be_bytes());
    message.extend(kind.as_flattened());
    message.extend(soa.ttl.to_be_bytes());
    // Two names and five numbers.
    message.extend((soa.rdata.len() as u16).to_be_bytes());
    message.extend(&soa.rdata);
    message
}

/// The code of the reply to a message. `None` for what is none.
fn code(message: &[u8], reply: &[u8]) -> Option<Rcode> {
    let flags = Flags(u16::from_be_bytes(*reply.get(2..)?.first_chunk()?));
    let is_ours = reply[..2] == message[..2] && flags.has(Flags::QR);
    (is_ours && flags.opcode() == Opcode::NOTIFY).then_some(Rcode(flags.0 & 0xf))
}

#[cfg(test)]
mod tests;
