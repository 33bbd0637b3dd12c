//! Requests: who may ask what, and what comes back.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, timeout_at};

use super::store::{Scope, Stored, expired_event, status};
use super::{Gone, Recorded, Shared, lock};

/// The token that is let in.
pub(super) const TOKEN: &str = "let-me-in";

/// Faults that a test has asked for, and lists that are half told.
#[derive(Default)]
pub(super) struct Faults {
    /// How the loss of history is told; as an event when never asked for.
    pub(super) gone: Option<Gone>,
    /// Waits before each page of a list.
    pub(super) page_delay: Duration,
    /// Bound on the pages' size.
    pub(super) page_size: Option<usize>,
    /// So many requests get this status.
    pub(super) fail_next: (usize, u16),
    /// So many requests for a further page find their list gone.
    pub(super) lost_pages: usize,
    /// The rules of a ClusterRole; None for what CoreDNS's allows.
    pub(super) rules: Option<Vec<Value>>,
    /// Lists of which more was promised, by their token: what is left, and the list's version.
    lists: HashMap<String, (Vec<Arc<Stored>>, u64)>,
    tokens: usize,
}

impl Faults {
    /// The rest of a list.
    fn promised(&mut self, token: &str) -> Option<(Vec<Arc<Stored>>, u64)> {
        let list = self.lists.remove(token);
        if self.lost_pages > 0 {
            self.lost_pages -= 1;
            return None;
        }
        list
    }
}

/// The body of any response.
pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// Answers a request.
pub(super) async fn serve(
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let query = request.uri().query().map(parameters).unwrap_or_default();
    let mut recorded = Recorded {
        method: request.method().to_string(),
        path: request.uri().path().to_owned(),
        query,
        status: 0,
    };
    let response = answer(&shared, &request, &recorded).await;
    recorded.status = response.status().as_u16();
    lock(&shared.recorded).push(recorded);
    Ok(response)
}

async fn answer(
    shared: &Arc<Shared>,
    request: &Request<Incoming>,
    recorded: &Recorded,
) -> Response<Body> {
    let token = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if token.and_then(|token| token.strip_prefix("Bearer ")) != Some(TOKEN) {
        return failure(401, "Unauthorized", "Unauthorized");
    }
    let scope = scope(recorded).filter(|_| request.method() == Method::GET);
    let Some(scope) = scope else {
        return failure(
            403,
            "Forbidden",
            "only list and watch of what DNS needs are allowed",
        );
    };
    {
        let mut faults = lock(&shared.faults);
        if let Some(rules) = &faults.rules
            && !rules.iter().any(|rule| grants(rule, recorded))
        {
            return failure(403, "Forbidden", "the role does not grant it");
        }
        let (left, code) = &mut faults.fail_next;
        if *left > 0 {
            *left -= 1;
            return failure(*code, "InternalError", "as the test asked for");
        }
    }
    if recorded.is_watch() {
        watch(shared, recorded, scope)
    } else {
        list(shared, recorded, scope).await
    }
}

/// True when a rule of a ClusterRole allows a request for a collection.
fn grants(rule: &Value, recorded: &Recorded) -> bool {
    let path = recorded.path.split('/').skip(1).collect::<Vec<_>>();
    let group = match path.as_slice() {
        ["apis", group, ..] => group,
        _ => "",
    };
    let resource = path.last().copied().unwrap_or_default();
    let verb = if recorded.is_watch() { "watch" } else { "list" };
    [
        ("apiGroups", group),
        ("resources", resource),
        ("verbs", verb),
    ]
    .iter()
    .all(|(field, word)| {
        let words = rule[field].as_array();
        words.is_some_and(|words| words.iter().any(|own| own == word))
    })
}

/// The collection that a path names: of all namespaces, or of one.
fn scope(recorded: &Recorded) -> Option<Scope> {
    let path = recorded.path.as_str();
    let of = |group: &'static str, prefix| path.strip_prefix(prefix).map(|rest| (rest, group));
    let (rest, group) = of("core", "/api/v1/")
        .or_else(|| of("discovery", "/apis/discovery.k8s.io/v1/"))
        .or_else(|| of("multicluster", "/apis/multicluster.x-k8s.io/v1alpha1/"))?;
    let (namespace, plural) = match rest.split('/').collect::<Vec<_>>().as_slice() {
        [plural] => ("", *plural),
        ["namespaces", namespace, plural] => (*namespace, *plural),
        _ => return None,
    };
    let kind = match (plural, group) {
        ("namespaces", "core") if namespace.is_empty() => "Namespace",
        ("services", "core") => "Service",
        ("endpoints", "core") => "Endpoints",
        ("pods", "core") => "Pod",
        ("endpointslices", "discovery") => "EndpointSlice",
        ("serviceimports", "multicluster") => "ServiceImport",
        _ => return None,
    };
    let parameter = |name| recorded.parameter(name).unwrap_or_default().to_owned();
    Some(Scope {
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        labels: parameter("labelSelector"),
        fields: parameter("fieldSelector"),
    })
}

async fn list(shared: &Arc<Shared>, recorded: &Recorded, scope: Scope) -> Response<Body> {
    let delay = lock(&shared.faults).page_delay;
    sleep(delay).await;
    let (mut items, version) = match recorded
        .parameter("continue")
        .filter(|token| !token.is_empty())
    {
        None => {
            let store = lock(&shared.store);
            (store.list(&scope), store.version())
        }
        Some(token) => match lock(&shared.faults).promised(token) {
            Some(list) => list,
            None => return failure(410, "Expired", "the continue token is too old"),
        },
    };
    let mut faults = lock(&shared.faults);
    let limit = recorded
        .parameter("limit")
        .and_then(|limit| limit.parse().ok())
        .unwrap_or(0);
    let limit = if limit == 0 { usize::MAX } else { limit };
    let limit = limit.min(faults.page_size.unwrap_or(usize::MAX));
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if items.len() > limit {
        let rest = items.split_off(limit);
        faults.tokens += 1;
        let token = format!("page-{}", faults.tokens);
        metadata["remainingItemCount"] = json!(rest.len());
        metadata["continue"] = json!(token);
        faults.lists.insert(token, (rest, version));
    }
    drop(faults);
    let head = json!({"kind": format!("{}List", scope.kind), "apiVersion": scope.api_version()});
    let items: Vec<&str> = items.iter().map(|item| &*item.item).collect();
    let head = head.to_string();
    let head = head.strip_suffix('}').expect("an object ends so");
    let body = format!(
        "{head},\"metadata\":{metadata},\"items\":[{}]}}",
        items.join(",")
    );
    respond(200, body)
}

fn watch(shared: &Arc<Shared>, recorded: &Recorded, scope: Scope) -> Response<Body> {
    let bookmarks = matches!(
        recorded.parameter("allowWatchBookmarks"),
        Some("1" | "true")
    );
    let seconds = recorded
        .parameter("timeoutSeconds")
        .and_then(|text| text.parse().ok());
    let since = recorded
        .parameter("resourceVersion")
        .and_then(|text| text.parse().ok());
    let events = lock(&shared.store).watch(scope, since.unwrap_or(0), bookmarks);
    match events {
        Some(events) => streamed(events, Duration::from_secs(seconds.unwrap_or(1800))),
        None if lock(&shared.faults).gone == Some(Gone::Status) => {
            failure(410, "Expired", "too old resource version")
        }
        None => respond(200, expired_event()),
    }
}

/// The events until the watch is over, each line a chunk.
fn streamed(events: UnboundedReceiver<String>, lifetime: Duration) -> Response<Body> {
    let end = Instant::now() + lifetime;
    let frames = stream::unfold(events, move |mut events| async move {
        let event = timeout_at(end, events.recv()).await.ok()??;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from(event))), events))
    });
    build(200, StreamBody::new(frames).boxed_unsync())
}

/// A failed request's `Status`.
fn failure(code: u16, reason: &str, message: &str) -> Response<Body> {
    respond(code, status(code, reason, message).to_string())
}

fn respond(code: u16, text: String) -> Response<Body> {
    build(code, Full::new(Bytes::from(text)).boxed_unsync())
}

fn build(code: u16, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).expect("tests ask for real codes");
    let json = "application/json".parse().expect("plain text");
    response.headers_mut().insert(CONTENT_TYPE, json);
    if code == 429 {
        response
            .headers_mut()
            .insert(RETRY_AFTER, "1".parse().expect("plain text"));
    }
    response
}

/// The parameters of a query string, with `%XX` and `+` resolved.
fn parameters(query: &str) -> Vec<(String, String)> {
    let decode = |text: &str| {
        let mut octets = Vec::with_capacity(text.len());
        let mut rest = text.bytes();
        while let Some(octet) = rest.next() {
            octets.push(match octet {
                b'+' => b' ',
                b'%' => {
                    let digits: Vec<_> = rest.by_ref().take(2).collect();
                    let digits = str::from_utf8(&digits).unwrap_or_default();
                    u8::from_str_radix(digits, 16).unwrap_or(b'?')
                }
                other => other,
            });
        }
        String::from_utf8_lossy(&octets).into_owned()
    };
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(k, v)| (decode(k), decode(v)))
        .collect()
}
