//! Asks a corpus over real sockets, many questions in flight.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use super::corpus::Question;
use crate::dns::{Answer, decode, decode_transfer};

/// Asks everything and gathers the answers by key.
///
/// `in_order` asks one after the other, for servers whose answers depend on what was asked before.
/// So does a corpus that sleeps. Otherwise there is a lane for TCP, one for each address that is
/// asked from, and one for the questions that are expected to be met with silence, so that waiting
/// for those holds nothing up.
pub(super) fn ask_all(
    server: SocketAddr,
    questions: &[Question],
    in_order: bool,
) -> BTreeMap<String, Answer> {
    if in_order || questions.iter().any(|question| question.sleep().is_some()) {
        return questions
            .iter()
            .flat_map(|question| ask_one(server, question))
            .collect();
    }
    let mut lanes: HashMap<Lane, Vec<&Question>> = HashMap::new();
    for question in questions {
        lanes.entry(Lane::of(question)).or_default().push(question);
    }
    let mut answers = BTreeMap::new();
    thread::scope(|scope| {
        let lanes = lanes
            .into_iter()
            .map(|(lane, questions)| scope.spawn(move || lane.ask(server, &questions)));
        for lane in lanes.collect::<Vec<_>>() {
            answers.extend(lane.join().expect("a lane reports faults as answers"));
        }
    });
    answers
}

fn ask_one(server: SocketAddr, question: &Question) -> Vec<(String, Answer)> {
    if let Some(pause) = question.sleep() {
        thread::sleep(pause);
    }
    Lane::of(question).ask(server, &[question])
}

#[derive(Clone, Copy, Eq, Hash, PartialEq)]
enum Lane {
    Tcp,
    Silence,
    Udp(Option<IpAddr>),
}

impl Lane {
    fn of(question: &Question) -> Self {
        if question.has("tcp") || question.has("xfr") {
            Self::Tcp
        } else if question.has("once")
            && question.timeout().is_some()
            && question.source().is_none()
        {
            Self::Silence
        } else {
            Self::Udp(question.source())
        }
    }

    fn ask(self, server: SocketAddr, questions: &[&Question]) -> Vec<(String, Answer)> {
        let result = match self {
            Self::Tcp => Ok(questions
                .iter()
                .map(|question| over_tcp(server, question))
                .collect()),
            Self::Silence => over_udp(server, None, questions, usize::MAX),
            Self::Udp(source) => over_udp(server, source, questions, IN_FLIGHT),
        };
        // A socket that fails as a whole leaves the same mark on every question.
        let answers = result.unwrap_or_else(|error| vec![failed(&error); questions.len()]);
        questions
            .iter()
            .map(|question| question.key.clone())
            .zip(answers)
            .collect()
    }
}

/// A question that waits for its answer.
struct Waiting {
    index: usize,
    wire: Vec<u8>,
    deadline: Instant,
    last_try: bool,
}

fn over_udp(
    server: SocketAddr,
    source: Option<IpAddr>,
    questions: &[&Question],
    most: usize,
) -> io::Result<Vec<Answer>> {
    let any: IpAddr = if server.is_ipv4() {
        [0; 4].into()
    } else {
        [0; 16].into()
    };
    let socket = UdpSocket::bind((source.unwrap_or(any), 0))?;
    socket.connect(server)?;
    SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER)?;
    let own_port = socket.local_addr()?.port();
    let mut answers = vec![Answer::Nothing("timeout".to_owned()); questions.len()];
    let mut waiting: HashMap<u16, Waiting> = HashMap::new();
    let mut buffer = vec![0; 65_535];
    let (mut next, mut id) = (0, 0_u16);
    while next < questions.len() || !waiting.is_empty() {
        while next < questions.len() && waiting.len() < most.min(questions.len()) {
            id = id.wrapping_add(1);
            if waiting.contains_key(&id) {
                continue;
            }
            let question = questions[next];
            let wire = question.wire(id);
            socket.send(&wire)?;
            let patience = question
                .timeout()
                .map_or(TIMEOUT, |asked| asked.max(SILENCE));
            let deadline = Instant::now() + patience;
            let last_try = question.has("once");
            waiting.insert(
                id,
                Waiting {
                    index: next,
                    wire,
                    deadline,
                    last_try,
                },
            );
            next += 1;
        }
        let first = waiting.values().map(|waiting| waiting.deadline).min();
        let patience = first.map(|first| first.saturating_duration_since(Instant::now()));
        socket.set_read_timeout(patience.map(|left| left.max(Duration::from_millis(1))))?;
        match socket.recv(&mut buffer) {
            Ok(len) => {
                let id = buffer[..len]
                    .first_chunk()
                    .map(|id| u16::from_be_bytes(*id));
                if let Some(done) = id.and_then(|id| waiting.remove(&id)) {
                    answers[done.index] = Answer::Reply(decode(&buffer[..len], own_port).into());
                }
            }
            Err(error) if is_timeout(&error) => retry(&socket, &mut waiting)?,
            Err(error) => return Err(error),
        }
    }
    Ok(answers)
}

/// Asks again what is overdue, and gives up on what was asked again already.
fn retry(socket: &UdpSocket, waiting: &mut HashMap<u16, Waiting>) -> io::Result<()> {
    let now = Instant::now();
    waiting.retain(|_, question| question.deadline > now || !question.last_try);
    for question in waiting
        .values_mut()
        .filter(|question| question.deadline <= now)
    {
        socket.send(&question.wire)?;
        question.deadline = now + TIMEOUT;
        question.last_try = true;
    }
    Ok(())
}

fn over_tcp(server: SocketAddr, question: &Question) -> Answer {
    let tries = if question.has("once") || question.has("xfr") {
        1
    } else {
        2
    };
    let timeout = question.timeout().unwrap_or(TIMEOUT);
    for _ in 0..tries {
        match exchange(server, question, timeout) {
            Ok(answer) => return answer,
            Err(error) if is_timeout(&error) => {}
            Err(error) => return failed(&error),
        }
    }
    Answer::Nothing("timeout".to_owned())
}

fn exchange(server: SocketAddr, question: &Question, timeout: Duration) -> io::Result<Answer> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    if let Some(source) = question.source() {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect_timeout(&server.into(), timeout)?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(timeout))?;
    let own_port = stream.local_addr()?.port();
    let wire = question.wire(1);
    let len = u16::try_from(wire.len()).map_err(io::Error::other)?;
    stream.write_all(&[&len.to_be_bytes(), wire.as_slice()].concat())?;
    if question.has("xfr") {
        return transfer(&mut stream, own_port);
    }
    let message = message(&mut stream)?;
    if message.get(..2) != wire.get(..2) {
        return Ok(Answer::Nothing("wrong id".to_owned()));
    }
    Ok(Answer::Reply(decode(&message, own_port).into()))
}

/// Reads the messages of a zone transfer up to the second SOA record or an error.
fn transfer(stream: &mut TcpStream, own_port: u16) -> io::Result<Answer> {
    let (mut messages, mut soas) = (Vec::new(), 0);
    loop {
        let message = message(stream)?;
        let part = decode(&message, own_port);
        messages.push(message);
        soas += part.rdata("SOA").count();
        if part.rcode != "NOERROR" || soas >= 2 || part.an.is_empty() {
            return Ok(Answer::Reply(decode_transfer(&messages, own_port).into()));
        }
    }
}

/// Reads a message behind its length (RFC 1035 §4.2.2).
fn message(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut len = [0; 2];
    stream.read_exact(&mut len)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

fn failed(error: &io::Error) -> Answer {
    use ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    let closed = [
        BrokenPipe,
        ConnectionAborted,
        ConnectionReset,
        UnexpectedEof,
    ];
    let closed = closed.contains(&error.kind());
    Answer::Nothing(if closed {
        "closed".to_owned()
    } else {
        error.kind().to_string()
    })
}

/// Questions of a lane in flight: enough to keep the server busy, few enough for its socket buffer.
const IN_FLIGHT: usize = 32;

/// How long to wait for an answer before asking once more.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How long no answer has to last, at least: a busy machine may be late with one.
const SILENCE: Duration = Duration::from_secs(2);

/// Room for the answers to all questions in flight, big ones too, as far as the kernel allows.
const RECEIVE_BUFFER: usize = 4 << 20;
