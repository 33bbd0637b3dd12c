use std::net::Ipv4Addr;
use std::sync::Arc;

use martlet_engine::plugins::file::Contents;
use martlet_engine::plugins::file::zone::Zone;
use martlet_engine::wire::name::wire_from_text;
use martlet_engine::wire::text;
use tokio::time::timeout;

use super::*;
use crate::task::Task;

/// Long enough for any machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// In which nothing comes.
const QUIET: Duration = Duration::from_millis(300);

fn change(contents: &Contents, serial: u32) {
    let soa = format!("z.test. 60 SOA ns.z.test. mail.z.test. {serial} 1 2 3 4");
    let records = [text::record(&soa).unwrap()];
    let zone = Zone::new(&wire_from_text("z.test").unwrap(), records).unwrap();
    contents.store(Some(Arc::new(zone)));
}

/// A secondary that says what it is told to.
struct Heard {
    socket: UdpSocket,
    contents: Contents,
    _task: Task,
}

impl Heard {
    async fn start(source: Option<IpAddr>) -> Self {
        Self::with(source, Duration::from_millis(200)).await
    }

    async fn with(source: Option<IpAddr>, pause: Duration) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let contents = Contents::default();
        let secondary = Secondary {
            zone: Primary::File(Arc::clone(&contents)),
            address: socket.local_addr().unwrap(),
            source,
            pace: Pace {
                look: Duration::from_millis(10),
                tries: [Duration::from_millis(100); 4],
                pause,
            },
        };
        let task = Task::spawn(secondary.watch());
        Self {
            socket,
            contents,
            _task: task,
        }
    }

    /// The next message, and who sends it.
    async fn next(&self) -> (Vec<u8>, SocketAddr) {
        let mut message = [0; 512];
        let received = timeout(PATIENCE, self.socket.recv_from(&mut message)).await;
        let (len, from) = received.expect("something comes").unwrap();
        (message[..len].to_vec(), from)
    }

    /// Replies with these flags instead of those of the message.
    async fn reply(&self, (message, to): &(Vec<u8>, SocketAddr), flags: u16) {
        let mut reply = message.clone();
        reply[2..4].copy_from_slice(&flags.to_be_bytes());
        self.socket.send_to(&reply, to).await.unwrap();
    }

    async fn is_quiet(&self) -> bool {
        timeout(QUIET, self.socket.recv(&mut [0; 512]))
            .await
            .is_err()
    }
}

/// The serial that a message tells.
fn serial(message: &[u8]) -> u32 {
    let at = message.len() - 20;
    u32::from_be_bytes(message[at..at + 4].try_into().unwrap())
}

const FINE: u16 = 0xa000;

#[tokio::test]
async fn a_change_is_told_once_with_its_soa() {
    let heard = Heard::start(None).await;
    assert!(heard.is_quiet().await, "there is no zone yet");
    change(&heard.contents, 7);
    let first = heard.next().await;
    heard.reply(&first, FINE).await;
    let zone = b"\x01z\x04test\x00";
    let head = [0x24, 0, 0, 1, 0, 1, 0, 0, 0, 0];
    let soa = [0xc0, 12, 0, 6, 0, 1, 0, 0, 0, 60, 0, 44];
    let expected = [
        &head[..],
        zone,
        &[0, 6, 0, 1],
        &soa,
        b"\x02ns",
        zone,
        b"\x04mail",
        zone,
    ];
    let expected = [&expected.concat()[..], &[0, 0, 0, 7, 0, 0, 0, 1]].concat();
    assert_eq!(first.0[2..2 + expected.len()], expected);
    assert!(heard.is_quiet().await, "nothing has changed");
    change(&heard.contents, 7);
    assert!(heard.is_quiet().await, "the serial has not changed");
    change(&heard.contents, 8);
    assert_eq!(serial(&heard.next().await.0), 8);
}

#[tokio::test]
async fn changes_in_a_row_are_told_as_one() {
    let heard = Heard::start(None).await;
    change(&heard.contents, 1);
    let first = heard.next().await;
    for serial in 2..50 {
        change(&heard.contents, serial);
    }
    heard.reply(&first, FINE).await;
    let second = heard.next().await;
    assert_eq!((serial(&first.0), serial(&second.0)), (1, 49));
    heard.reply(&second, FINE).await;
    assert!(heard.is_quiet().await);
}

#[tokio::test]
async fn one_that_was_told_is_left_alone_for_a_while() {
    let heard = Heard::with(None, Duration::from_secs(3_600)).await;
    change(&heard.contents, 1);
    heard.reply(&heard.next().await, FINE).await;
    change(&heard.contents, 2);
    assert!(heard.is_quiet().await);
}

#[tokio::test]
async fn it_is_said_again_until_it_is_heard() {
    let heard = Heard::start(None).await;
    change(&heard.contents, 1);
    let _unheard = heard.next().await;
    // Not replies to this one: a query, another opcode, another ID.
    let second = heard.next().await;
    heard.reply(&second, 0x2400).await;
    heard.reply(&second, 0x8000).await;
    let (mut other, from) = second;
    other[0] ^= 1;
    heard.reply(&(other, from), FINE).await;
    // REFUSED, as of one that does not know us yet.
    let third = heard.next().await;
    heard.reply(&third, FINE | 5).await;
    let last = heard.next().await;
    heard.reply(&last, FINE).await;
    assert!(heard.is_quiet().await);
    assert_eq!(serial(&last.0), 1);
}

#[tokio::test]
async fn one_that_says_nothing_is_given_up_until_the_next_change() {
    let heard = Heard::start(None).await;
    change(&heard.contents, 1);
    for _ in 0..4 {
        assert_eq!(serial(&heard.next().await.0), 1);
    }
    assert!(heard.is_quiet().await);
    change(&heard.contents, 2);
    assert_eq!(serial(&heard.next().await.0), 2);
}

#[tokio::test]
async fn it_is_said_from_the_address_that_the_corefile_names() {
    let source = IpAddr::from([127, 0, 0, 9]);
    let heard = Heard::start(Some(source)).await;
    change(&heard.contents, 1);
    assert_eq!(heard.next().await.1.ip(), source);
}

#[test]
fn what_is_no_reply_is_passed_over() {
    let soa = text::record("z.test. 60 SOA ns.z.test. mail.z.test. 1 1 2 3 4").unwrap();
    let message = message(0x1234, &soa);
    for (reply, expected) in [
        (&b""[..], None),
        (b"\x12\x34\xa0", None),
        (b"\x12\x34\xa0\x00", Some(Rcode::NOERROR)),
        (b"\x12\x34\xa0\x04", Some(Rcode::NOTIMP)),
        (b"\x12\x35\xa0\x00", None),
    ] {
        assert_eq!(code(&message, reply), expected, "{reply:?}");
    }
}
