use std::net::UdpSocket;
use std::os::fd::AsFd;

use super::*;

const A_WHILE: Duration = Duration::from_secs(5);

/// A ring of each kind that this machine has, for these sockets.
fn rings(sockets: &[UdpSocket]) -> Vec<(bool, Ring)> {
    let descriptors = sockets.iter().map(AsFd::as_fd).collect::<Vec<_>>();
    let mut rings = Vec::new();
    for polled in [false, true] {
        match Ring::new(&descriptors, polled) {
            Ok(ring) => {
                ring.enable().unwrap();
                rings.push((polled, ring));
            }
            Err(error) => println!("no ring here (polled: {polled}): {error}"),
        }
    }
    rings
}

fn sockets<const COUNT: usize>() -> [UdpSocket; COUNT] {
    std::array::from_fn(|_| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(A_WHILE)).unwrap();
        socket
    })
}

/// Receives; a ring's news interrupt system calls of its thread.
fn receive(client: &UdpSocket, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match client.recv(buf) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Answers until so many datagrams were seen, each with itself and 0xff.
fn echo(ring: &mut Ring, mut count: usize) {
    while count > 0 {
        ring.turn(A_WHILE).unwrap();
        while let Some((socket, datagrams, mut answers)) = ring.batch() {
            for slot in 0..datagrams.count() {
                let message = datagrams.datagram(slot).unwrap().message;
                assert_eq!(usize::from(message[0]), socket);
                assert_eq!(message, datagrams.message(slot));
                assert_eq!(datagrams.is_ipv6(slot), Some(false));
                let (room, len) = (answers.room(), message.len());
                room[..len].copy_from_slice(message);
                room[len] = 0xff;
                answers.queue(slot, len + 1);
            }
            count -= datagrams.count();
        }
    }
}

/// Sends off what was queued last, and waits for the end of all requests.
fn end(ring: &mut Ring) {
    while !ring.is_idle() {
        ring.stop();
        ring.turn(A_WHILE).unwrap();
        assert!(ring.batch().is_none());
    }
}

#[test]
fn more_datagrams_than_buffers_are_answered() {
    // More for one socket would come near to what its buffer holds.
    const SOCKETS: usize = 15;
    const EACH: u8 = 80;
    let servers = sockets::<SOCKETS>();
    assert!(SOCKETS * usize::from(EACH) > 2 * RING_BUFFERS);
    for (polled, mut ring) in rings(&servers) {
        let clients = sockets::<SOCKETS>();
        for round in 0..3 {
            for (place, (client, server)) in clients.iter().zip(&servers).enumerate() {
                for number in 0..EACH {
                    let datagram = [place as u8, number, round];
                    client
                        .send_to(&datagram, server.local_addr().unwrap())
                        .unwrap();
                }
            }
            echo(&mut ring, SOCKETS * usize::from(EACH));
            // The last replies leave with the next turn, for which nothing has to arrive.
            ring.turn(Duration::from_millis(1)).unwrap();
            for (place, client) in clients.iter().enumerate() {
                // The kernel's thread may overtake itself: any order will do.
                let mut numbers = [false; EACH as usize];
                for _ in 0..EACH {
                    let mut buf = [0; 16];
                    let len = receive(client, &mut buf).unwrap_or_else(|error| {
                        panic!(
                            "{error} (polled: {polled}; {} under way, {} not sent)",
                            ring.sending, ring.unsent
                        )
                    });
                    let expected = [place as u8, buf[1], round, 0xff];
                    assert_eq!(buf[..len], expected, "polled: {polled}");
                    numbers[usize::from(buf[1])] = true;
                }
                assert!(numbers.into_iter().all(|seen| seen), "polled: {polled}");
            }
        }
        end(&mut ring);
        assert_eq!((ring.take_unsent(), ring.take_error().is_none()), (0, true));
    }
}

#[test]
fn a_reply_that_is_too_large_is_sent_by_other_means_or_counted() {
    let servers = sockets::<1>();
    for (polled, mut ring) in rings(&servers) {
        let clients = sockets::<1>();
        for _ in 0..2 {
            clients[0]
                .send_to(&[0], servers[0].local_addr().unwrap())
                .unwrap();
        }
        let (mut seen, mut unsent) = (0, 0);
        while seen < 2 {
            ring.turn(A_WHILE).unwrap();
            while let Some((_, datagrams, mut answers)) = ring.batch() {
                for slot in 0..datagrams.count() {
                    answers.room()[..MESSAGE_LEN_MAX].fill(7);
                    // No datagram is as long as a message may be.
                    answers.queue(slot, MESSAGE_LEN_MAX);
                    seen += 1;
                }
            }
        }
        let client = clients[0].local_addr().unwrap();
        let mut again = 0;
        while unsent < 2 {
            ring.turn(A_WHILE).unwrap();
            ring.resend(|place, octets, to, from| {
                assert_eq!((place, to, from), (0, client, None));
                assert_eq!(octets, [7; MESSAGE_LEN_MAX]);
                again += 1;
                false
            });
            unsent += ring.take_unsent();
        }
        assert_eq!((unsent, again), (2, 2), "polled: {polled}");
        end(&mut ring);
    }
}

#[test]
fn what_had_come_before_the_stop_is_answered() {
    let servers = sockets::<2>();
    for (polled, mut ring) in rings(&servers) {
        let clients = sockets::<1>();
        let send = |socket: u8| {
            let to = servers[usize::from(socket)].local_addr().unwrap();
            clients[0].send_to(&[socket, 1], to).unwrap();
        };
        send(0);
        // Taken from the socket, not answered.
        while ring.arrived.is_empty() {
            ring.turn(A_WHILE).unwrap();
        }
        ring.stop();
        echo(&mut ring, 1);
        end(&mut ring);
        let mut buf = [0; 16];
        assert_eq!(
            receive(&clients[0], &mut buf).unwrap(),
            3,
            "polled: {polled}"
        );
        // What comes later is left to others.
        send(1);
        servers[1].set_nonblocking(false).unwrap();
        assert_eq!(
            receive(&servers[1], &mut buf).unwrap(),
            2,
            "polled: {polled}"
        );
    }
}

#[test]
fn a_ring_may_be_dropped_at_any_time() {
    for turns in 0..3 {
        let servers = sockets::<2>();
        for (_, mut ring) in rings(&servers) {
            let clients = sockets::<1>();
            clients[0]
                .send_to(&[0], servers[0].local_addr().unwrap())
                .unwrap();
            for _ in 0..turns {
                ring.turn(Duration::from_millis(10)).unwrap();
                if let Some((_, _, mut answers)) = ring.batch() {
                    answers.queue(0, 1);
                }
            }
        }
        // The port is free again: nothing holds the socket.
        let address = servers[0].local_addr().unwrap();
        drop(servers);
        let again = (0..500).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            UdpSocket::bind(address).ok()
        });
        assert!(again.is_some(), "after {turns} turns");
    }
    // Never enabled.
    let servers = sockets::<1>();
    drop(Ring::new(&[servers[0].as_fd()], false));
}
