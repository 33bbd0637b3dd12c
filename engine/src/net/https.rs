//! DNS over HTTPS (RFC 8484), HTTP/1.1 and HTTP/2.
//!
//! hyper speaks HTTP; what is ours is which requests are queries, what the others are told, and
//! when a connection has been silent for too long.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use tokio_rustls::server::TlsStream;

use super::tcp::is_closing;
use crate::limits::{MESSAGE_LEN_MAX, STREAM_IN_FLIGHT_MAX};
use crate::metrics::HttpsStatuses;
use crate::plugins::timeouts::Timeouts;
use crate::upstream::https::{MEDIA_TYPE, PATH, is_dns_message};
use crate::wire::name::FoldedName;
use crate::wire::query::{HEADER_LEN, Query, QueryError};
use crate::wire::walk::{RecordAt, records, skip_name};
use crate::wire::{Flags, RType, Rcode};

/// Header octets of a request. With GET the query is one of them: 12,000 octets of it fit, which no
/// query needs.
const HEAD_LEN_MAX: usize = 16 << 10;
/// The lifetime of replies that say little about their own, in seconds; as CoreDNS.
const MAX_AGE_MIN: u32 = 5;
/// The longest lifetime, in seconds; as CoreDNS.
const MAX_AGE_MAX: u32 = 3_600;

/// Serves one connection until it ends or idles. `answer` is called once for each query and may be
/// busy with many at once; without a reply of it the client gets status 500. Responses are counted
/// in `statuses`.
///
/// # Errors
///
/// If the client breaks off or does not speak HTTP.
pub(crate) async fn serve<F, Fut>(
    stream: TlsStream<TcpStream>,
    answer: F,
    (statuses, timeouts): (Arc<HttpsStatuses>, Timeouts),
    mut closes: watch::Receiver<bool>,
) -> io::Result<()>
where
    F: Fn(Vec<u8>) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Option<Vec<u8>>> + Send + 'static,
{
    let negotiated = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let activity = Arc::new(Activity::default());
    let shared = Arc::clone(&activity);
    let service = service_fn(move |request| {
        let answer = answer.clone();
        let open = Open::new(&shared);
        let statuses = Arc::clone(&statuses);
        async move {
            let response = respond(request, timeouts.read, answer).await;
            statuses.count(response.status().as_u16());
            drop(open);
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.idle)
        .max_buf_size(HEAD_LEN_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAM_IN_FLIGHT_MAX as u32)
        .max_header_list_size(HEAD_LEN_MAX as u32);
    let builder = if negotiated {
        builder.http2_only()
    } else {
        builder.http1_only()
    };
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        end = connection.as_mut() => end.map_err(io::Error::other),
        () = async {
            tokio::select! {
                () = activity.idle(timeouts.idle) => {}
                () = is_closing(&mut closes) => {}
            }
        } => {
            // The goodbye keeps clients from sending what would not be read.
            connection.as_mut().graceful_shutdown();
            timeout(timeouts.write, connection).await?.map_err(io::Error::other)
        }
    }
}

/// Whether a connection is in use.
#[derive(Default)]
struct Activity {
    /// Requests without a response.
    open: AtomicUsize,
    changed: Notify,
}

impl Activity {
    /// Returns when there was no request for so long.
    async fn idle(&self, limit: Duration) {
        loop {
            let quiet = self.open.load(Ordering::Relaxed) == 0;
            tokio::select! {
                () = sleep(limit), if quiet => return,
                () = self.changed.notified() => {}
            }
        }
    }
}

/// A request under way.
struct Open(Arc<Activity>);

impl Open {
    fn new(activity: &Arc<Activity>) -> Self {
        activity.open.fetch_add(1, Ordering::Relaxed);
        activity.changed.notify_one();
        Self(Arc::clone(activity))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.changed.notify_one();
    }
}

async fn respond<F, Fut>(
    request: Request<Incoming>,
    read_limit: Duration,
    answer: F,
) -> Response<Full<Bytes>>
where
    F: Fn(Vec<u8>) -> Fut,
    Fut: Future<Output = Option<Vec<u8>>>,
{
    let query = match query(request, read_limit).await {
        Ok(query) => query,
        Err(status) => return refusal(status),
    };
    let Some(reply) = answer(query).await else {
        return refusal(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let age = format!("max-age={}", max_age(&reply));
    let age = HeaderValue::try_from(age).expect("letters and digits");
    let mut response = Response::new(Full::from(reply));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    headers.insert(CACHE_CONTROL, age);
    response
}

fn refusal(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    if status == StatusCode::METHOD_NOT_ALLOWED {
        let methods = HeaderValue::from_static("GET, POST");
        response.headers_mut().insert(ALLOW, methods);
    }
    response
}

/// Reads the query of a request, or says with which status to refuse it. CoreDNS has 404 and 400
/// only; the rest is RFC 8484 §4.2.1's.
async fn query(request: Request<Incoming>, limit: Duration) -> Result<Vec<u8>, StatusCode> {
    let (head, body) = request.into_parts();
    // Before anything is refused: HTTP/2 resets a stream that is answered while the client still
    // sends, and some clients then tell of the reset instead of the status.
    let body = read(body, limit).await?;
    if head.uri.path() != PATH {
        return Err(StatusCode::NOT_FOUND);
    }
    let message = match head.method {
        Method::GET => from_parameters(head.uri.query().unwrap_or_default())?,
        Method::POST if is_of_other_type(&head.headers) => {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        Method::POST => body,
        _ => return Err(StatusCode::METHOD_NOT_ALLOWED),
    };
    // What is not well-formed gets no DNS reply here, as in CoreDNS.
    match Query::parse(&message, &mut FoldedName::default()) {
        Ok(_) | Err(QueryError::NoQuestion) => Ok(message),
        Err(_) => Err(StatusCode::BAD_REQUEST),
    }
}

fn from_parameters(parameters: &str) -> Result<Vec<u8>, StatusCode> {
    let mut found = form_urlencoded::parse(parameters.as_bytes()).filter(|(name, _)| name == "dns");
    let (Some((_, message)), None) = (found.next(), found.next()) else {
        return Err(StatusCode::BAD_REQUEST);
    };
    let message = URL_SAFE_NO_PAD.decode(message.as_bytes());
    message.map_err(|_| StatusCode::BAD_REQUEST)
}

/// Reads a body no longer than a DNS message.
async fn read(body: Incoming, limit: Duration) -> Result<Vec<u8>, StatusCode> {
    let body = Limited::new(body, MESSAGE_LEN_MAX);
    match timeout(limit, body.collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes().into()),
        Ok(Err(error)) if error.is::<hyper::Error>() => Err(StatusCode::BAD_REQUEST),
        Ok(Err(_)) => Err(StatusCode::PAYLOAD_TOO_LARGE),
        Err(_) => Err(StatusCode::REQUEST_TIMEOUT),
    }
}

/// Whether a request says that it is no DNS message. Some clients say nothing, and CoreDNS answers
/// them.
fn is_of_other_type(headers: &HeaderMap) -> bool {
    headers.contains_key(CONTENT_TYPE) && !is_dns_message(headers.get(CONTENT_TYPE))
}

/// How many seconds a reply may be kept by HTTP caches: the smallest TTL in it, as CoreDNS has it.
fn max_age(reply: &[u8]) -> u32 {
    smallest_ttl(reply).map_or(MAX_AGE_MIN, |ttl| ttl.min(MAX_AGE_MAX))
}

/// The smallest TTL of a reply that is worth keeping.
fn smallest_ttl(reply: &[u8]) -> Option<u32> {
    let header = reply.get(..HEADER_LEN)?;
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let [questions, answers, authorities, additionals] = [4, 6, 8, 10].map(|at| word(at).into());
    let mut at = HEADER_LEN;
    for _ in 0..questions {
        at = skip_name(reply, at)? + 4;
    }
    let found = records(reply, at, answers + authorities + additionals).collect::<Vec<_>>();
    let has = |rtype| {
        let authority = found.iter().skip(answers).take(authorities);
        authority.into_iter().any(|record| record.rtype == rtype)
    };
    let worth = match Rcode(word(2) & Flags::RCODE) {
        // Without an answer, NS records alone lead elsewhere.
        Rcode::NOERROR => answers > 0 || has(RType::SOA) || !has(RType::NS),
        Rcode::NXDOMAIN => answers == 0,
        _ => false,
    };
    let ttl = |record: &RecordAt| {
        let octets = reply[record.ttl_at..].first_chunk().expect("in the reply");
        u32::from_be_bytes(*octets)
    };
    let lasting = found.iter().filter(|record| record.rtype != RType::OPT);
    lasting.map(ttl).min().filter(|_| worth)
}

#[cfg(test)]
mod tests;
