//! The source against a scripted server on a loopback socket.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::*;
use crate::cluster::object::Object;
use crate::metrics::own::OWN;

/// What the server says to one request.
enum Reply {
    /// A whole body.
    Json(String),
    /// Events of a watch, which then stays open.
    Watch(Vec<String>),
    /// Events of a watch, whose connection then breaks.
    Broken(Vec<String>),
    /// Nothing at all, not even a head.
    Nothing,
    /// An error.
    Status(u16),
}

/// Answers each request with what the script says to its target.
struct Server {
    url: String,
    /// Request lines and user agents, in order.
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(script: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (script, log) = (Arc::new(script), requests.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(stream, script.clone(), log.clone()));
            }
        });
        Self { url, requests }
    }
}

async fn serve(
    stream: TcpStream,
    script: Arc<impl Fn(&str, usize) -> Reply>,
    log: Arc<Mutex<Vec<String>>>,
) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                return;
            }
            if line == "\r\n" {
                break;
            }
            head.push(line.trim_end().to_owned());
        }
        let target = head[0].split(' ').nth(1).unwrap().to_owned();
        let agent = head
            .iter()
            .find(|line| line.to_lowercase().starts_with("user-agent:"));
        let path = target.split('?').next().unwrap().to_owned();
        let kind = if target.contains("watch=") {
            "watch"
        } else {
            "list"
        };
        // How many of this sort there were before.
        let count = {
            let mut log = log.lock().unwrap();
            let count = log
                .iter()
                .filter(|it| it.starts_with(&format!("{kind} {path}?")))
                .count();
            log.push(format!(
                "{kind} {target} {}",
                agent.map_or("", |line| line.as_str())
            ));
            count
        };
        let (events, is_broken) = match script(&target, count) {
            Reply::Json(body) => {
                let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: ";
                let reply = format!("{head}{}\r\n\r\n{body}", body.len());
                stream.write_all(reply.as_bytes()).await.unwrap();
                continue;
            }
            Reply::Status(code) => {
                let reply = format!("HTTP/1.1 {code} No\r\nContent-Length: 0\r\n\r\n");
                stream.write_all(reply.as_bytes()).await.unwrap();
                continue;
            }
            Reply::Nothing => continue,
            Reply::Watch(events) => (events, false),
            Reply::Broken(events) => (events, true),
        };
        let mut reply = String::from("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        for event in events {
            reply.push_str(&format!("{:x}\r\n{event}\n\r\n", event.len() + 1));
        }
        stream.write_all(reply.as_bytes()).await.unwrap();
        if is_broken {
            return;
        }
    }
}

fn list(items: &[&str], version: &str, next: &str) -> Reply {
    Reply::Json(format!(
        r#"{{"kind":"List","apiVersion":"v1","metadata":{{"resourceVersion":"{version}","continue":"{next}"}},"items":[{}]}}"#,
        items.join(",")
    ))
}

fn object(name: &str, rest: &str) -> String {
    let metadata = format!(
        r#""name":"{name}","namespace":"n","resourceVersion":"7","managedFields":[{{"manager":"m"}}]"#
    );
    format!(r#"{{"metadata":{{{metadata}}},{rest}}}"#)
}

fn event(kind: &str, object: &str) -> String {
    format!(r#"{{"type":"{kind}","object":{object}}}"#)
}

fn word(event: &Event) -> String {
    match event {
        Event::Applied(Object::Pod(pod)) => format!("{}={}", pod.key.name, pod.address),
        Event::Applied(object) => object.key().name.to_string(),
        Event::Deleted(_, key) => format!("-{}", key.name),
        Event::RelistStarted(_) => "[".to_owned(),
        Event::RelistDone(_) => "]".to_owned(),
    }
}

fn kind(event: &Event) -> Kind {
    match event {
        Event::Applied(object) => object.kind(),
        Event::Deleted(kind, _) | Event::RelistStarted(kind) | Event::RelistDone(kind) => *kind,
    }
}

/// Runs the source until each named kind has sent so many events; the words of each.
async fn collect(
    server: &Server,
    limits: ApiLimits,
    settings: SourceSettings,
    wanted: &[(Kind, usize)],
) -> Vec<String> {
    let (events, mut received) = mpsc::channel(1);
    let access = Access::Endpoint {
        url: server.url.clone(),
        tls: None,
    };
    let task = tokio::spawn(run(access, limits, settings, Arc::default(), events));
    let mut words: Vec<Vec<String>> = wanted.iter().map(|_| Vec::new()).collect();
    while words
        .iter()
        .zip(wanted)
        .any(|(words, (_, count))| words.len() < *count)
    {
        let next = timeout(Duration::from_secs(20), received.recv()).await;
        let Ok(next) = next else {
            panic!("stuck after {words:?}: {:?}", server.requests)
        };
        let next = next.unwrap();
        let position = wanted
            .iter()
            .position(|(wanted, _)| *wanted == kind(&next))
            .unwrap();
        words[position].push(word(&next));
    }
    // A source nobody listens to ends, although its watches have nothing to say.
    drop(received);
    timeout(Duration::from_secs(5), task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    words.into_iter().map(|words| words.join(" ")).collect()
}

#[tokio::test]
async fn lists_in_pages_watches_and_lists_again_after_410() {
    let server = Server::start(|target, count| {
        let is_watch = target.contains("watch=");
        let service = |name| object(name, r#""spec":{"clusterIP":"10.0.0.1"}"#);
        let pod = |name, status| object(name, &format!(r#""status":{{{status}}}"#));
        if target.starts_with("/api/v1/namespaces?") {
            return if is_watch { Reply::Watch(vec![]) } else { list(&[&object("n", r#""spec":{}"#)], "1", "") };
        }
        if target.starts_with("/apis/discovery.k8s.io/v1/endpointslices?") {
            return if is_watch { Reply::Watch(vec![]) } else { list(&[], "1", "") };
        }
        if target.starts_with("/api/v1/pods?") {
            return if is_watch {
                let gone = r#""phase":"Running","podIP":"10.0.0.9"},"metadata":{"name":"p","namespace":"n","resourceVersion":"8","deletionTimestamp":"2026-01-01T00:00:00Z"}"#;
                Reply::Watch(vec![
                    event("MODIFIED", &pod("q", r#""phase":"Running","podIP":"10.0.0.2""#)),
                    event("MODIFIED", &format!(r#"{{"status":{{{gone}}}"#)),
                ])
            } else {
                list(
                    &[
                        &pod("p", r#""phase":"Running","podIP":"10.0.0.1""#),
                        &pod("q", r#""phase":"Pending""#),
                    ],
                    "1",
                    "",
                )
            };
        }
        assert!(target.starts_with("/api/v1/services?"), "{target}");
        match (is_watch, count) {
            (false, 0) => list(&[&service("a")], "5", "more"),
            (false, 1) => list(&[&service("b")], "5", ""),
            (false, 2) => Reply::Status(500),
            (false, _) => list(&[&service("c")], "9", ""),
            (true, 0) => Reply::Watch(vec![
                event("ADDED", &service("c")),
                event("BOOKMARK", r#"{"kind":"Service","apiVersion":"v1","metadata":{"resourceVersion":"8"}}"#),
                event("DELETED", &service("a")),
                event("ERROR", r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"too old","reason":"Expired","code":410}"#),
            ]),
            (true, _) => Reply::Watch(vec![event("MODIFIED", &service("c"))]),
        }
    })
    .await;
    let settings = SourceSettings {
        labels: Some("a in (b,c),!d".parse().unwrap()),
        namespace_labels: Some("team!=x".parse().unwrap()),
        pods: true,
        endpoint_slices: true,
        keep_pod_names: false,
        keep_zones: false,
        multicluster: false,
    };
    let limits = ApiLimits {
        qps: Some(100.0),
        burst: Some(50),
        max_inflight: Some(1),
        silence: None,
    };
    let wanted = [
        (Kind::Service, 10),
        (Kind::Pod, 5),
        (Kind::Namespace, 3),
        (Kind::EndpointSlice, 2),
    ];
    let words = collect(&server, limits, settings, &wanted).await;
    assert_eq!(
        words,
        [
            "[ a b ] c -a [ c ] c",
            "[ p=10.0.0.1 ] q=10.0.0.2 -p",
            "[ n ]",
            "[ ]"
        ]
    );

    let requests = server.requests.lock().unwrap().clone();
    let agent = concat!("martlet/", env!("CARGO_PKG_VERSION"));
    for (start, parts) in [
        (
            "list /api/v1/services?",
            &["limit=500", "labelSelector=a+in+%28b%2Cc%29%2C%21d"][..],
        ),
        (
            "watch /api/v1/services?",
            &[
                "allowWatchBookmarks=true",
                "resourceVersion=5",
                "labelSelector=a+in",
            ],
        ),
        (
            "list /apis/discovery.k8s.io/v1/endpointslices?",
            &["limit=100", "labelSelector=a+in"],
        ),
        ("list /api/v1/namespaces?", &["labelSelector=team%21%3Dx"]),
        (
            "watch /api/v1/pods?",
            &[
                "labelSelector=a+in",
                "fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed%2Cstatus.phase%21%3DUnknown",
            ],
        ),
    ] {
        let request = requests
            .iter()
            .find(|it| it.starts_with(start))
            .expect(start);
        for part in parts.iter().copied().chain([agent]) {
            assert!(request.contains(part), "{request} lacks {part}");
        }
    }
}

#[tokio::test]
async fn a_broken_connection_resumes_and_pods_are_left_alone() {
    let server = Server::start(|target, count| {
        let is_watch = target.contains("watch=");
        let service = |name| object(name, r#""spec":{"clusterIP":"10.0.0.1"}"#);
        match (target.starts_with("/api/v1/services?"), is_watch, count) {
            (true, false, 0) => list(&[&service("a")], "5", ""),
            (true, true, 0) => Reply::Broken(vec![event("ADDED", &service("b"))]),
            (true, true, 1) => Reply::Status(403),
            (true, true, 2) => Reply::Watch(vec![event("ADDED", &service("c"))]),
            (false, false, 0) => Reply::Status(403),
            (false, false, _) => list(&[], "1", ""),
            (false, true, _) => Reply::Watch(vec![]),
            other => panic!("{target} {other:?}"),
        }
    })
    .await;
    let wanted = [(Kind::Service, 5), (Kind::Namespace, 2)];
    let words = collect(
        &server,
        ApiLimits::default(),
        SourceSettings::default(),
        &wanted,
    )
    .await;
    assert_eq!(words, ["[ a ] b c", "[ ]"]);
    let requests = server.requests.lock().unwrap().clone();
    for request in &requests {
        assert!(
            !request.contains("pods") && !request.contains("endpointslices"),
            "{request}"
        );
    }
}

/// Watches and lists that hang with their connections open are asked for anew; what was sent before
/// is neither repeated nor taken back.
#[tokio::test]
async fn what_falls_silent_is_asked_for_anew() {
    let service = |name: &str| object(name, r#""spec":{"clusterIP":"10.0.0.1"}"#);
    let server = Server::start(move |target, count| {
        let is_watch = target.contains("watch=");
        match (target.starts_with("/api/v1/services?"), is_watch, count) {
            (true, false, 0) => list(&[&service("a")], "5", ""),
            (true, true, 0) => Reply::Watch(vec![event("ADDED", &service("b"))]),
            (true, true, 1) => Reply::Nothing,
            (true, true, _) => Reply::Watch(vec![event("ADDED", &service("c"))]),
            (false, false, 0) => Reply::Nothing,
            (false, false, _) => list(&[], "1", ""),
            (false, true, _) => Reply::Watch(vec![]),
            other => panic!("{target} {other:?}"),
        }
    })
    .await;
    let limits = ApiLimits {
        silence: Some(Duration::from_millis(300)),
        ..ApiLimits::default()
    };
    let wanted = [(Kind::Service, 5), (Kind::Namespace, 2)];
    let words = collect(&server, limits, SourceSettings::default(), &wanted).await;
    assert_eq!(words, ["[ a ] b c", "[ ]"]);
    let requests = server.requests.lock().unwrap().clone();
    let watches: Vec<_> = requests
        .iter()
        .filter(|request| request.starts_with("watch /api/v1/services?"))
        .collect();
    // Where the silent one had come to.
    assert!(watches[1].contains("resourceVersion=7"), "{watches:?}");
    let counted = |resource| OWN.watch_restarts.with_label_values(&[resource]).get();
    assert!(counted("services") >= 2 && counted("namespaces") >= 1);
}
