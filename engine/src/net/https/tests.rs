//! The server asked by our own client, and by requests that a well-meaning client never sends.

use std::net::SocketAddr;
use std::sync::Mutex;

use futures_util::future::join_all;
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::Barrier;
use tokio::task::{JoinHandle, JoinSet, LocalSet};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::net::tls::accept;
use crate::upstream::https::HttpsClient;

const IDLE: Duration = Timeouts::DEFAULT.idle;
const HANDSHAKE: Duration = Timeouts::DEFAULT.read;
use crate::upstream::tls;

/// A query for `NNNNN.test`, type A, with the given ID, which is NNNNN too.
fn a_query(id: u16) -> Vec<u8> {
    let mut query = id.to_be_bytes().to_vec();
    query.extend(b"\x01\x00\0\x01\0\0\0\0\0\0\x05");
    query.extend(format!("{id:05}").bytes());
    query.extend(b"\x04test\0\0\x01\0\x01");
    query
}

/// Its reply: one address with a TTL of 30 seconds.
fn reply_to(query: &[u8]) -> Vec<u8> {
    let mut reply = query.to_vec();
    reply[2] |= 0x80;
    reply[7] = 1;
    reply.extend(b"\xc0\x0c\0\x01\0\x01\0\0\0\x1e\0\x04\x0a\0\0\x01");
    reply
}

/// An authority and whatever it has signed.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    roots: RootCertStore,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let mut roots = RootCertStore::empty();
        let certificate = params.self_signed(&key).unwrap();
        roots.add(certificate.der().clone()).unwrap();
        let issuer = Issuer::new(params, key);
        Self { issuer, roots }
    }

    fn server(&self, alpn: &[&[u8]]) -> TlsAcceptor {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["dns.test".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config).into()
    }

    fn client(&self, alpn: &[&[u8]]) -> Arc<ClientConfig> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }

    fn https(&self, address: SocketAddr, get: bool) -> HttpsClient {
        let config = self.client(&[b"h2"]);
        HttpsClient::new(address, config, name(), "dns.test".into(), get, None)
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn name() -> ServerName<'static> {
    "dns.test".try_into().unwrap()
}

const BOTH: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// A server that can be stopped, which cuts its connections.
struct Running {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Running {
    fn start<F, Fut>(listener: TcpListener, acceptor: TlsAcceptor, answer: F) -> Self
    where
        F: Fn(Vec<u8>) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Option<Vec<u8>>> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        let task = tokio::spawn(async move {
            let mut tasks = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                let (acceptor, answer) = (acceptor.clone(), answer.clone());
                tasks.spawn(async move {
                    serve(
                        accept(&acceptor, stream, HANDSHAKE).await?,
                        answer,
                        (Arc::default(), Timeouts::DEFAULT),
                        watch::channel(false).1,
                    )
                    .await
                });
            }
        });
        Self {
            address,
            connections,
            task,
        }
    }

    /// One that replies at once.
    async fn prompt(authority: &Authority) -> Self {
        let answer = |query: Vec<u8>| async move { Some(reply_to(&query)) };
        Self::start(listener().await, authority.server(&BOTH), answer)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    async fn stop(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

#[tokio::test]
async fn queries_get_their_replies() {
    let authority = Authority::new();
    let server = Running::prompt(&authority).await;
    for get in [false, true] {
        let client = authority.https(server.address, get);
        for id in [0, 7, 65_535] {
            let query = a_query(id);
            assert_eq!(client.exchange(&query).await.unwrap(), reply_to(&query));
        }
        let error = client.exchange(b"short").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
    assert_eq!(server.connections(), 2, "one for each client");
}

#[tokio::test]
async fn many_queries_share_a_connection() {
    const MANY: u16 = 50;
    let authority = Authority::new();
    // Nobody gets a reply before all have asked.
    let all = Arc::new(Barrier::new(MANY.into()));
    let answer = move |query: Vec<u8>| {
        let all = Arc::clone(&all);
        async move {
            all.wait().await;
            (query[..2] == [0, 0]).then(|| reply_to(&query))
        }
    };
    let server = Running::start(listener().await, authority.server(&BOTH), answer);
    for get in [false, true] {
        let client = authority.https(server.address, get);
        // As the slow path runs it: on one thread, next to tasks that stay there.
        let asking = (1..=MANY).map(async |id| {
            let query = a_query(id);
            assert_eq!(client.exchange(&query).await.unwrap(), reply_to(&query));
        });
        LocalSet::new().run_until(join_all(asking)).await;
    }
    assert_eq!(server.connections(), 2, "one for each client");
}

#[tokio::test]
async fn a_server_may_go_away_and_come_back() {
    let authority = Authority::new();
    let server = Running::prompt(&authority).await;
    let address = server.address;
    let client = authority.https(address, false);
    let query = a_query(1);
    client.exchange(&query).await.unwrap();
    server.stop().await;
    let error = client.exchange(&query).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{error}");
    let answer = |query: Vec<u8>| async move { Some(reply_to(&query)) };
    for _ in 0..2 {
        let listener = TcpListener::bind(address).await.unwrap();
        let server = Running::start(listener, authority.server(&BOTH), answer);
        // The second time there is a connection that the client thinks well of.
        let asking = (1..=20).map(async |id| {
            let query = a_query(id);
            assert_eq!(client.exchange(&query).await.unwrap(), reply_to(&query));
        });
        join_all(asking).await;
        assert_eq!(server.connections(), 1);
        server.stop().await;
    }
}

#[tokio::test]
async fn whoever_gives_up_takes_nothing_along() {
    let authority = Authority::new();
    let (arrived, gone) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (arriving, going) = (Arc::clone(&arrived), Arc::clone(&gone));
    let answer = move |query: Vec<u8>| {
        let (arriving, going) = (Arc::clone(&arriving), Arc::clone(&going));
        async move {
            if query[12..].starts_with(b"\x0500001") {
                let _told = OnDrop(going);
                arriving.notify_one();
                std::future::pending::<()>().await;
            }
            Some(reply_to(&query))
        }
    };
    let listener = listener().await;
    let client = authority.https(listener.local_addr().unwrap(), false);
    let query = a_query(2);
    // It gives up while the connection is being opened: nobody accepts it yet.
    assert!(timeout(SHORT, client.exchange(&query)).await.is_err());
    let server = Running::start(listener, authority.server(&BOTH), answer);
    assert_eq!(client.exchange(&query).await.unwrap(), reply_to(&query));
    // It gives up while the server thinks.
    let never = a_query(1);
    tokio::select! {
        reply = client.exchange(&never) => panic!("{reply:?}"),
        () = arrived.notified() => {}
    }
    assert_eq!(client.exchange(&query).await.unwrap(), reply_to(&query));
    timeout(LONG, gone.notified())
        .await
        .expect("the server is told");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_server_that_vanished_is_found_out() {
    let authority = Authority::new();
    let listener = listener().await;
    let client = authority.https(listener.local_addr().unwrap(), false);
    let acceptor = authority.server(&BOTH);
    let vanish = Arc::new(Notify::new());
    let vanishing = Arc::clone(&vanish);
    tokio::spawn(async move {
        // Of a vanished server the connections stay open, and nothing moves on them.
        let mut vanished = Vec::new();
        loop {
            let stream = accept(&acceptor, listener.accept().await.unwrap().0, HANDSHAKE).await;
            let answer = |query: Vec<u8>| async move { Some(reply_to(&query)) };
            let mut serving = Box::pin(serve(
                stream.unwrap(),
                answer,
                (Arc::default(), Timeouts::DEFAULT),
                watch::channel(false).1,
            ));
            tokio::select! {
                end = serving.as_mut() => panic!("{end:?}"),
                () = vanishing.notified() => vanished.push(serving),
            }
        }
    });
    let query = a_query(1);
    client.exchange(&query).await.unwrap();
    vanish.notify_one();
    sleep(SHORT).await;
    tokio::time::pause();
    let start = tokio::time::Instant::now();
    // The question that finds out is asked again.
    assert_eq!(client.exchange(&query).await.unwrap(), reply_to(&query));
    let waited = start.elapsed();
    assert!(waited > Duration::from_millis(500), "{waited:?}");
    assert!(waited < Duration::from_secs(2), "{waited:?}");
}

struct OnDrop(Arc<Notify>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Long enough for a client to begin something; the test holds if it did not.
const SHORT: Duration = Duration::from_millis(20);
/// Far more than anything takes.
const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn strangers_are_not_asked() {
    let authority = Authority::new();
    let server = Running::prompt(&authority).await;
    let query = a_query(1);
    let stranger = Authority::new().https(server.address, false);
    let error = stranger.exchange(&query).await.unwrap_err().to_string();
    assert!(error.starts_with("invalid peer certificate"), "{error}");
    let config = authority.client(&[b"h2"]);
    let other = "other.test".try_into().unwrap();
    let other = HttpsClient::new(server.address, config, other, "x".into(), false, None);
    let error = other.exchange(&query).await.unwrap_err().to_string();
    assert!(error.contains("not valid for name"), "{error}");
    // Not one of HTTP/2 only, but one of no particular protocol.
    let answer = |_| async { None };
    let server = Running::start(listener().await, authority.server(&[]), answer);
    let client = authority.https(server.address, false);
    let error = client.exchange(&query).await.unwrap_err().to_string();
    assert_eq!(error, "the server does not speak HTTP/2");
}

#[tokio::test]
async fn replies_are_checked() {
    let authority = Authority::new();
    let length = "the server sends more or less than a DNS message";
    let table = [
        (
            None,
            "the server answers with status 500 Internal Server Error",
        ),
        (Some(11), length),
        (Some(65_536), length),
    ];
    for (len, text) in table {
        let answer = move |_| async move { len.map(|len| vec![0; len]) };
        let server = Running::start(listener().await, authority.server(&BOTH), answer);
        let client = authority.https(server.address, false);
        let error = client.exchange(&a_query(1)).await.unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}

#[tokio::test]
async fn requests_are_those_of_rfc_8484() {
    let authority = Authority::new();
    let listener = listener().await;
    let address = listener.local_addr().unwrap();
    let acceptor = authority.server(&BOTH);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    tokio::spawn(async move {
        loop {
            let stream = accept(&acceptor, listener.accept().await.unwrap().0, HANDSHAKE).await;
            let service = service_fn(|request: Request<Incoming>| {
                let header = |name| request.headers().get(name).cloned();
                log.lock().unwrap().push((
                    request.method().clone(),
                    request.uri().to_string(),
                    header(http::header::ACCEPT),
                    header(CONTENT_TYPE),
                ));
                let page = Response::builder().header(CONTENT_TYPE, "text/html");
                std::future::ready(page.body(Full::<Bytes>::from(vec![b' '; 100])))
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream.unwrap()), service);
            let _ = connection.await;
        }
    });
    for get in [false, true] {
        let error = authority.https(address, get).exchange(&a_query(1)).await;
        let error = error.unwrap_err().to_string();
        assert_eq!(error, "the server sends something else than a DNS message");
    }
    let media_type = Some(HeaderValue::from_static("application/dns-message"));
    let message = "AAABAAABAAAAAAAABTAwMDAxBHRlc3QAAAEAAQ";
    let posted = "https://dns.test/dns-query".to_owned();
    let got = format!("{posted}?dns={message}");
    let expected = [
        (Method::POST, posted, media_type.clone(), media_type.clone()),
        (Method::GET, got, media_type, None),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

/// Sends octets over a connection of HTTP/1.1 and returns what comes back until it ends. The
/// server's `patience` need not be waited for.
async fn raw(authority: &Authority, address: SocketAddr, request: &[u8], patience: bool) -> String {
    let config = authority.client(&[b"http/1.1"]);
    let mut stream = tls::connect(address, None, &config, &name()).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut response = Vec::new();
    if patience {
        // Lets the request arrive first.
        sleep(SHORT).await;
        tokio::time::pause();
    }
    // How it ends is not asked.
    let _ = stream.read_to_end(&mut response).await;
    if patience {
        tokio::time::resume();
    }
    String::from_utf8_lossy(&response).into_owned()
}

#[tokio::test]
async fn other_requests_are_refused() {
    let authority = Authority::new();
    let server = Running::prompt(&authority).await;
    let post = |headers: &str, body: &[u8]| {
        let head = format!("POST /dns-query HTTP/1.1\r\nconnection: close\r\n{headers}");
        let head = format!("{head}content-length: {}\r\n\r\n", body.len());
        [head.as_bytes(), body].concat()
    };
    let get = |line: &str| format!("{line} HTTP/1.1\r\nconnection: close\r\n\r\n").into_bytes();
    let message = "AAABAAABAAAAAAAABTAwMDAxBHRlc3QAAAEAAQ";
    let ours = "content-type: application/dns-message\r\n";
    let query = a_query(1);
    let mut response = a_query(1);
    response[2] |= 0x80;
    let mut headers_only = a_query(1);
    headers_only.truncate(HEADER_LEN);
    let table = [
        ("200 OK", post(ours, &query)),
        (
            "200 OK",
            post("Content-Type: Application/DNS-Message; x=y\r\n", &query),
        ),
        ("200 OK", post("", &query)),
        ("200 OK", get(&format!("GET /dns-query?dns={message}"))),
        (
            "200 OK",
            get(&format!("GET /dns-query?x=y&d%6es={message}&z")),
        ),
        ("200 OK", post(ours, &headers_only)),
        ("400 Bad Request", get("GET /dns-query")),
        ("400 Bad Request", get("GET /dns-query?dns=")),
        ("400 Bad Request", get("GET /dns-query?dns=%20")),
        (
            "400 Bad Request",
            get(&format!("GET /dns-query?dns={message}==")),
        ),
        (
            "400 Bad Request",
            get(&format!("GET /dns-query?dns={message}&dns={message}")),
        ),
        ("400 Bad Request", post(ours, &query[..11])),
        ("400 Bad Request", post(ours, &query[..14])),
        ("400 Bad Request", post(ours, &response)),
        ("404 Not Found", get(&format!("GET /?dns={message}"))),
        (
            "404 Not Found",
            get(&format!("GET /dns-query/?dns={message}")),
        ),
        (
            "405 Method Not Allowed",
            get(&format!("PUT /dns-query?dns={message}")),
        ),
        ("413 Payload Too Large", post(ours, &[0; 65_536])),
        (
            "415 Unsupported Media Type",
            post("content-type: text/html\r\n", &query),
        ),
        ("408 Request Timeout", {
            let mut cut = post(ours, &query);
            cut.truncate(cut.len() - 1);
            cut
        }),
        // Neither a whole request nor none.
        ("", b"GET /dns-query".to_vec()),
        ("", Vec::new()),
    ];
    for (status, request) in table {
        let shown = String::from_utf8_lossy(&request).into_owned();
        let patience = status.starts_with("408") || status.is_empty();
        let response = raw(&authority, server.address, &request, patience).await;
        let expected = if status.is_empty() {
            String::new()
        } else {
            format!("HTTP/1.1 {status}\r\n")
        };
        assert!(response.starts_with(&expected), "{response:?} to {shown:?}");
        assert_eq!(
            response.is_empty(),
            status.is_empty(),
            "{response:?} to {shown:?}"
        );
        if status.starts_with("200") {
            for header in [
                "\r\ncontent-type: application/dns-message\r\n",
                "\r\ncache-control: max-age=",
                "\r\ncontent-length: ",
            ] {
                assert!(response.contains(header), "{response:?} to {shown:?}");
            }
        }
        let allow = response.contains("\r\nallow: GET, POST\r\n");
        assert_eq!(allow, status.starts_with("405"), "{response:?}");
    }
}

#[tokio::test]
async fn a_connection_is_idle_only_without_requests() {
    let authority = Authority::new();
    let answer = |query: Vec<u8>| async move {
        sleep(6 * IDLE).await;
        Some(reply_to(&query))
    };
    let server = Running::start(listener().await, authority.server(&BOTH), answer);
    let request = b"GET /dns-query?dns=AAABAAABAAAAAAAABTAwMDAxBHRlc3QAAAEAAQ HTTP/1.1\r\n\r\n";
    let start = tokio::time::Instant::now();
    let response = raw(&authority, server.address, request, true).await;
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    assert!(
        response.contains("\r\ncache-control: max-age=30\r\n"),
        "{response}"
    );
    assert!(
        start.elapsed() >= 7 * IDLE,
        "the connection outlasts its reply"
    );
}

#[tokio::test]
async fn an_idle_connection_is_left_and_replaced() {
    let authority = Authority::new();
    let server = Running::prompt(&authority).await;
    let client = authority.https(server.address, false);
    let query = a_query(1);
    client.exchange(&query).await.unwrap();
    tokio::time::pause();
    sleep(2 * IDLE).await;
    tokio::time::resume();
    assert_eq!(client.exchange(&query).await.unwrap(), reply_to(&query));
    assert_eq!(server.connections(), 2);
}

#[test]
fn replies_may_be_kept_as_long_as_their_smallest_ttl() {
    let record = |rtype: RType, ttl: u32| {
        let mut record = vec![0];
        record.extend(rtype.0.to_be_bytes());
        record.extend([0, 1]);
        record.extend(ttl.to_be_bytes());
        record.extend([0, 1, 0]);
        record
    };
    let (a, ns, soa) = (RType::A, RType::NS, RType::SOA);
    let opt = (RType::OPT, 0);
    // The response code, the three sections, the age.
    type Section<'a> = &'a [(RType, u32)];
    let table: [(u8, [Section<'_>; 3], u32); 14] = [
        (0, [&[(a, 30), (a, 20)], &[], &[]], 20),
        (0, [&[(a, 30)], &[(ns, 10)], &[]], 10),
        (0, [&[(a, 30)], &[(ns, 20)], &[(a, 10), opt]], 10),
        (0, [&[(a, 0)], &[], &[]], 0),
        (0, [&[(a, 100_000)], &[], &[opt]], 3_600),
        (0, [&[], &[(soa, 60)], &[]], 60),
        (0, [&[], &[(ns, 60)], &[]], 5),
        (0, [&[], &[(ns, 70), (soa, 60)], &[]], 60),
        (0, [&[], &[], &[opt]], 5),
        (0, [&[], &[], &[(a, 40)]], 40),
        (3, [&[], &[(soa, 60)], &[opt]], 60),
        (3, [&[(a, 60)], &[(soa, 60)], &[]], 5),
        (3, [&[], &[], &[]], 5),
        (2, [&[(a, 60)], &[], &[]], 5),
    ];
    for (rcode, sections, age) in table {
        let mut reply = a_query(1);
        reply[3] |= rcode;
        for (section, records) in sections.iter().enumerate() {
            reply[7 + 2 * section] = records.len() as u8;
            for &(rtype, ttl) in *records {
                reply.extend(record(rtype, ttl));
            }
        }
        assert_eq!(max_age(&reply), age, "{rcode} {sections:?}");
    }
    assert_eq!(max_age(b""), 5);
}
