//! DNS over HTTPS towards upstreams (RFC 8484), over HTTP/2.
//!
//! All questions to a server share one connection. It is opened by a task of its own, so that a
//! question which gives up does not take the connection from those that wait for it too.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::sync::watch;
use tokio::time::timeout;

use super::tls;
use crate::limits::MESSAGE_LEN_MAX;
use crate::wire::query::HEADER_LEN;

/// Where DNS is served, as in CoreDNS.
pub(crate) const PATH: &str = "/dns-query";
/// The media type of a DNS message.
pub(crate) const MEDIA_TYPE: &str = "application/dns-message";

/// How long a connection may take to be there; no question waits longer.
const CONNECT: Duration = Duration::from_secs(5);
/// While questions are open, a server that sent nothing for this long is pinged…
const PING_AFTER: Duration = Duration::from_secs(1);
/// …and given up when this passes too. A server may vanish without a word, and without pings its
/// connection would take the questions of many minutes along. Together it is less than the two
/// seconds that an upstream has by default, so that the first question can find out.
const PING: Duration = Duration::from_millis(750);

/// Asks one server.
pub struct HttpsClient {
    server: Server,
    host: Box<str>,
    get: bool,
    connection: Mutex<Option<Connection>>,
}

/// Where and who the server is.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    source: Option<IpAddr>,
}

type Sender = SendRequest<Full<Bytes>>;

/// A connection that is there, is being opened (`None`) or could not be had.
type Connection = watch::Receiver<Option<Result<Sender, Arc<io::Error>>>>;

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
enum ReplyError {
    #[error(transparent)]
    Connection(hyper::Error),
    #[error("the server answers with status {0}")]
    Status(StatusCode),
    #[error("the server sends something else than a DNS message")]
    MediaType,
    #[error("the server sends more or less than a DNS message")]
    Length,
}

impl HttpsClient {
    /// A client that has not connected yet. `config` must offer `h2` by ALPN, `host` is the one in
    /// the URL, with a port if the URL has one.
    pub fn new(
        address: SocketAddr,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        host: Box<str>,
        get: bool,
        source: Option<IpAddr>,
    ) -> Self {
        Self {
            server: Server {
                address,
                config,
                name,
                source,
            },
            host,
            get,
            connection: Mutex::new(None),
        }
    }

    /// Sends a query and returns its reply, with the query's ID. Takes as long as the server does;
    /// whoever loses patience drops the future, and the server is told.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached, or replies with anything but a DNS message.
    pub async fn exchange(&self, query: &[u8]) -> io::Result<Vec<u8>> {
        let request = self.request(query)?;
        let mut retried = false;
        loop {
            let (connection, known) = self.connection();
            let sender = established(connection.clone()).await?;
            match ask(sender, request.clone()).await {
                Ok(mut reply) => {
                    reply[..2].copy_from_slice(&query[..2]);
                    return Ok(reply);
                }
                Err(ReplyError::Connection(error)) => {
                    self.forget(&connection);
                    // Servers close idle connections, and a question may cross that on its way.
                    if !known || retried {
                        return Err(io::Error::other(error));
                    }
                    retried = true;
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        }
    }

    fn request(&self, query: &[u8]) -> io::Result<Request<Full<Bytes>>> {
        if query.len() < HEADER_LEN {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // One ID for all lets HTTP caches recognize identical questions (RFC 8484 §4.1).
        let mut message = query.to_vec();
        message[..2].fill(0);
        let builder = Request::builder().header(ACCEPT, MEDIA_TYPE);
        let uri = Uri::builder()
            .scheme("https")
            .authority(self.host.as_bytes());
        let request = if self.get {
            let message = URL_SAFE_NO_PAD.encode(message);
            uri.path_and_query(format!("{PATH}?dns={message}"))
                .build()
                .and_then(|uri| builder.uri(uri).body(Full::default()))
        } else {
            uri.path_and_query(PATH).build().and_then(|uri| {
                builder
                    .method(Method::POST)
                    .header(CONTENT_TYPE, MEDIA_TYPE)
                    .uri(uri)
                    .body(Full::from(message))
            })
        };
        request.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))
    }

    /// The connection, and whether it was there or being opened before this call.
    fn connection(&self) -> (Connection, bool) {
        let mut current = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = current.as_ref().filter(|known| is_usable(known)) {
            return (known.clone(), true);
        }
        let (outcome, connection) = watch::channel(None);
        let server = self.server.clone();
        tokio::spawn(async move {
            let opened = match timeout(CONNECT, server.open()).await {
                Ok(opened) => opened.map_err(Arc::new),
                Err(elapsed) => Err(Arc::new(elapsed.into())),
            };
            // If the client is gone, so is who would want it.
            let _ = outcome.send(Some(opened));
        });
        *current = Some(connection.clone());
        (connection, false)
    }

    /// Has the next question open a new connection. Questions in flight keep this one.
    fn forget(&self, connection: &Connection) {
        let mut current = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        current.take_if(|current| current.same_channel(connection));
    }
}

impl Server {
    async fn open(&self) -> io::Result<Sender> {
        let stream = tls::connect(self.address, self.source, &self.config, &self.name).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            let text = "the server does not speak HTTP/2";
            return Err(io::Error::new(io::ErrorKind::Unsupported, text));
        }
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        // It ends with the last sender; what goes wrong, the questions in flight are told.
        tokio::spawn(connection);
        Ok(sender)
    }
}

fn is_usable(connection: &Connection) -> bool {
    match &*connection.borrow() {
        // Unless the task that opens it went down with its runtime.
        None => connection.has_changed().is_ok(),
        Some(Ok(sender)) => !sender.is_closed(),
        Some(Err(_)) => false,
    }
}

async fn established(mut connection: Connection) -> io::Result<Sender> {
    let outcome = connection.wait_for(Option::is_some).await;
    match outcome.as_deref() {
        Ok(Some(Ok(sender))) => Ok(sender.clone()),
        Ok(Some(Err(error))) => Err(io::Error::new(error.kind(), Arc::clone(error))),
        Ok(None) | Err(_) => Err(io::ErrorKind::Interrupted.into()),
    }
}

async fn ask(mut sender: Sender, request: Request<Full<Bytes>>) -> Result<Vec<u8>, ReplyError> {
    let response = sender
        .send_request(request)
        .await
        .map_err(ReplyError::Connection)?;
    if response.status() != StatusCode::OK {
        return Err(ReplyError::Status(response.status()));
    }
    if !is_dns_message(response.headers().get(CONTENT_TYPE)) {
        return Err(ReplyError::MediaType);
    }
    let body = Limited::new(response.into_body(), MESSAGE_LEN_MAX);
    match body.collect().await {
        Ok(body) => {
            let reply = Vec::from(body.to_bytes());
            (reply.len() >= HEADER_LEN)
                .then_some(reply)
                .ok_or(ReplyError::Length)
        }
        Err(error) => Err(match error.downcast() {
            Ok(error) => ReplyError::Connection(*error),
            Err(_) => ReplyError::Length,
        }),
    }
}

/// Whether that is what a `Content-Type` says, parameters aside.
pub(crate) fn is_dns_message(content_type: Option<&http::HeaderValue>) -> bool {
    content_type
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case(MEDIA_TYPE))
}
