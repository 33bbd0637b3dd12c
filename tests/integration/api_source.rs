//! The cluster from an API server: what is asked of it, and that DNS follows it through changes
//! and faults.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use martlet_tests::{Client, FakeApi, Gone, Martlet, Scrape, Setup, wait_until};
use serde_json::json;
use tempfile::TempDir;

use crate::fixtures::{becomes, cluster, namespace, pod, service, slice};

/// How long a change may take to be seen. It takes milliseconds; the rest is for busy machines.
const SOON: Duration = Duration::from_secs(2);
/// As [`SOON`], where a client waits between attempts.
pub(crate) const AFTER_BACKOFF: Duration = Duration::from_secs(30);

/// A server that follows an API server.
pub(crate) struct Followed {
    pub(crate) api: FakeApi,
    pub(crate) martlet: Martlet,
    _kubeconfig: TempDir,
}

impl Followed {
    /// The usual cluster, with these options of the `kubernetes` directive.
    pub(crate) fn start(options: &str) -> Self {
        Self::follow(FakeApi::start(cluster()), options, |setup| setup)
    }

    pub(crate) fn follow(api: FakeApi, options: &str, adjust: impl FnOnce(Setup) -> Setup) -> Self {
        let dir = TempDir::new().expect("the temporary directory is writable");
        let kubeconfig = api.write_kubeconfig(dir.path());
        let setup = adjust(Setup::new(&corefile(&kubeconfig, options)));
        Self {
            api,
            martlet: setup.start(),
            _kubeconfig: dir,
        }
    }

    pub(crate) fn client(&self) -> Client {
        self.martlet.client()
    }

    pub(crate) fn becomes(&self, name: &str, addresses: &[&str]) {
        becomes(self.client(), name, addresses, SOON);
    }

    /// Waits until the server watches so many kinds again.
    pub(crate) fn watches(&self, kinds: usize) {
        let watching = || (self.api.watchers() == kinds).then_some(());
        let watching = wait_until(AFTER_BACKOFF, watching);
        assert!(
            watching.is_some(),
            "{} watches; log:\n{}",
            self.api.watchers(),
            self.martlet.log()
        );
    }
}

fn corefile(kubeconfig: &Path, options: &str) -> String {
    let kubeconfig = kubeconfig.display();
    format!(
        ".:{{PORT}} {{\n    bind 127.0.0.1\n    kubernetes cluster.local in-addr.arpa {{\n        \
         kubeconfig {kubeconfig}\n        {options}\n    }}\n}}\n"
    )
}

pub(crate) const WEB: &str = "web.shop.svc.cluster.local.";
const DB: &str = "db.shop.svc.cluster.local.";

#[test]
fn the_first_list_is_answered_from() {
    let followed = Followed::start("pods insecure");
    followed.becomes(WEB, &["10.96.0.20"]);
    followed.becomes(DB, &["10.244.0.31", "10.244.0.32"]);
    let reverse = followed.client().ask("20.0.96.10.in-addr.arpa.", "PTR");
    assert_eq!(reverse.rdata("PTR").collect::<Vec<_>>(), [WEB]);
    assert_eq!(
        followed
            .client()
            .ask("none.shop.svc.cluster.local.", "A")
            .rcode,
        "NXDOMAIN"
    );
}

#[test]
fn services_come_change_and_go() {
    let followed = Followed::start("");
    let client = followed.client();
    let name = "new.shop.svc.cluster.local.";
    assert_eq!(client.ask(name, "A").rcode, "NXDOMAIN");
    followed.api.upsert(service("shop", "new", "10.96.0.40"));
    followed.becomes(name, &["10.96.0.40"]);
    followed
        .api
        .upsert(slice("shop", "new", &["10.244.0.40", "10.244.0.41"]));
    followed.becomes(name, &["10.96.0.40"]);
    // Of another type: what was stored for it must be answered anew, from other objects.
    followed.api.upsert(service("shop", "new", "None"));
    followed.becomes(name, &["10.244.0.40", "10.244.0.41"]);
    followed.api.upsert(service("shop", "new", "10.96.0.42"));
    followed.becomes(name, &["10.96.0.42"]);
    assert_eq!(
        client.ask("40.0.96.10.in-addr.arpa.", "PTR").rcode,
        "NXDOMAIN"
    );
    followed.api.delete("Service", "shop", "new");
    let gone = wait_until(SOON, || {
        (client.ask(name, "A").rcode == "NXDOMAIN").then_some(())
    });
    assert!(gone.is_some(), "{:?}", client.ask(name, "A"));
}

#[test]
fn a_slice_that_changes_twice_ends_with_the_second() {
    let followed = Followed::start("");
    for round in 1..=20 {
        let (first, second) = (format!("10.244.1.{round}"), format!("10.244.2.{round}"));
        followed
            .api
            .upsert(slice("shop", "db", &[&first, "10.244.9.9"]));
        followed.api.upsert(slice("shop", "db", &[&second]));
        followed.becomes(DB, &[&second]);
    }
    followed.api.delete("EndpointSlice", "shop", "db-1");
    followed.becomes(DB, &[]);
}

#[test]
fn namespaces_are_followed_through_their_labels() {
    let followed = Followed::start("namespace_labels tier=front");
    let client = followed.client();
    followed.becomes(WEB, &["10.96.0.20"]);
    followed.api.upsert(namespace("shop", "back"));
    let hidden = wait_until(SOON, || {
        (client.ask(WEB, "A").rcode == "NXDOMAIN").then_some(())
    });
    assert!(hidden.is_some(), "{:?}", client.ask(WEB, "A"));
    followed.api.upsert(service("shop", "web", "10.96.0.21"));
    followed.api.upsert(namespace("shop", "front"));
    followed.becomes(WEB, &["10.96.0.21"]);
    assert!(followed.api.recorded().iter().any(|request| {
        request.path == "/api/v1/namespaces"
            && request.parameter("labelSelector") == Some("tier=front")
    }));
}

#[test]
fn verified_pods_follow_their_addresses() {
    let followed = Followed::start("pods verified");
    let client = followed.client();
    let name = |address: &str| format!("{}.shop.pod.cluster.local.", address.replace('.', "-"));
    let answers = |address: &str| {
        let reply = client.ask(&name(address), "A");
        reply
            .addresses()
            .iter()
            .any(|found| found.to_string() == address)
    };
    assert!(answers("10.244.0.20"));
    assert!(!answers("10.244.0.99"));
    followed.api.upsert(pod("shop", "web-1", "10.244.0.99"));
    let moved = || (answers("10.244.0.99") && !answers("10.244.0.20")).then_some(());
    assert!(wait_until(SOON, moved).is_some());
    // A pod that has ended no longer fits the field selector.
    let mut ended = pod("shop", "web-1", "10.244.0.99");
    ended["status"]["phase"] = json!("Succeeded");
    followed.api.upsert(ended);
    assert!(wait_until(SOON, || (!answers("10.244.0.99")).then_some(())).is_some());
}

#[test]
fn dropped_connections_lose_nothing() {
    let followed = Followed::start("");
    followed.watches(3);
    for round in 1..=3 {
        followed.api.drop_connections();
        // While nobody watches: it must be caught up with.
        followed
            .api
            .upsert(service("shop", "web", &format!("10.96.1.{round}")));
        becomes(
            followed.client(),
            WEB,
            &[&format!("10.96.1.{round}")],
            AFTER_BACKOFF,
        );
        followed.watches(3);
    }
    let lists = followed
        .api
        .recorded()
        .into_iter()
        .filter(|request| !request.is_watch());
    let lists: Vec<_> = lists
        .filter(|request| request.parameter("continue").is_none())
        .collect();
    assert_eq!(
        lists.len(),
        3,
        "watches are resumed, not begun anew: {lists:#?}"
    );
}

#[test]
fn bookmarks_are_where_a_watch_resumes() {
    let followed = Followed::start("");
    followed.watches(3);
    followed.api.upsert(service("shop", "web", "10.96.1.1"));
    followed.becomes(WEB, &["10.96.1.1"]);
    followed.api.bookmark();
    std::thread::sleep(Duration::from_millis(200));
    followed.api.forget_recorded();
    followed.api.drop_connections();
    followed.watches(3);
    let web = followed
        .api
        .object("Service", "shop", "web")
        .expect("it was just written");
    let version = web["metadata"]["resourceVersion"].as_str();
    for request in followed.api.recorded() {
        assert!(request.is_watch(), "{request:?}");
        assert_eq!(request.parameter("resourceVersion"), version, "{request:?}");
    }
}

/// What was missed while the history was lost is found by a list.
fn lists_anew_after(gone: Gone) {
    let followed = Followed::start("");
    followed.watches(3);
    let silent = "silent.shop.svc.cluster.local.";
    followed
        .api
        .upsert_silently(service("shop", "silent", "10.96.2.1"));
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(followed.client().ask(silent, "A").rcode, "NXDOMAIN");
    followed.api.expire(gone);
    becomes(followed.client(), silent, &["10.96.2.1"], AFTER_BACKOFF);
    followed.watches(3);
    followed.api.upsert(service("shop", "web", "10.96.2.2"));
    followed.becomes(WEB, &["10.96.2.2"]);
}

#[test]
fn history_that_is_gone_by_an_error_event_is_listed_anew() {
    lists_anew_after(Gone::Event);
}

#[test]
fn history_that_is_gone_by_a_status_is_listed_anew() {
    lists_anew_after(Gone::Status);
}

#[test]
fn a_slow_relist_never_shows_half_a_cluster() {
    let mut objects = cluster();
    objects.extend((0..200).map(|n| service("shop", &format!("s{n:03}"), &format!("10.97.0.{n}"))));
    let followed = Followed::follow(FakeApi::start(objects), "", |setup| setup);
    followed.watches(3);
    let client = followed.client();
    followed.api.page_size(20);
    followed.api.slow_lists(Duration::from_millis(50));
    followed.api.delete("Service", "shop", "s100");
    followed
        .api
        .upsert_silently(service("shop", "s999", "10.97.9.9"));
    followed.api.forget_recorded();
    followed.api.expire(Gone::Event);
    let end = Instant::now() + AFTER_BACKOFF;
    let mut asked = 0;
    loop {
        for n in [0, 57, 111, 199] {
            let reply = client.ask(&format!("s{n:03}.shop.svc.cluster.local."), "A");
            assert_eq!(
                reply.addresses().len(),
                1,
                "after {asked} questions: {reply:?}"
            );
            let reverse = client.ask(&format!("{n}.0.97.10.in-addr.arpa."), "PTR");
            assert_eq!(reverse.an.len(), 1, "after {asked} questions: {reverse:?}");
            asked += 2;
        }
        let new = client.ask("s999.shop.svc.cluster.local.", "A");
        let listed = followed
            .api
            .recorded()
            .iter()
            .filter(|r| !r.is_watch())
            .count()
            > 10;
        if listed && !new.an.is_empty() && followed.api.watchers() == 3 {
            break;
        }
        assert!(
            Instant::now() < end,
            "the relist does not end; log:\n{}",
            followed.martlet.log()
        );
    }
    assert_eq!(
        client.ask("s100.shop.svc.cluster.local.", "A").rcode,
        "NXDOMAIN"
    );
    assert!(asked > 50, "{asked} questions during the relist");
}

#[test]
fn only_what_the_cluster_role_allows_is_asked() {
    let all = [
        "/api/v1/namespaces",
        "/api/v1/services",
        "/apis/discovery.k8s.io/v1/endpointslices",
    ];
    for (options, pods) in [("pods insecure", false), ("pods verified", true)] {
        let followed = Followed::start(options);
        followed.watches(if pods { 4 } else { 3 });
        let requests = followed.api.recorded();
        for request in &requests {
            assert_eq!(
                (request.method.as_str(), request.status),
                ("GET", 200),
                "{request:?}"
            );
        }
        let paths: BTreeSet<_> = requests
            .iter()
            .map(|request| request.path.as_str())
            .collect();
        let expected: BTreeSet<_> = all
            .into_iter()
            .chain(pods.then_some("/api/v1/pods"))
            .collect();
        assert_eq!(paths, expected, "{options}");
        for path in paths {
            let of = requests.iter().filter(|request| request.path == path);
            let (watches, lists): (Vec<_>, Vec<_>) = of.partition(|request| request.is_watch());
            assert!(
                lists.iter().all(|list| list.parameter("limit").is_some()),
                "{lists:?}"
            );
            assert!(!watches.is_empty(), "{path}");
            let bookmarks = |watch: &&martlet_tests::Recorded| {
                watch.parameter("allowWatchBookmarks") == Some("true")
            };
            assert!(watches.iter().all(bookmarks), "{watches:?}");
        }
    }
}

#[test]
fn faults_at_the_start_are_waited_out() {
    // Status, or no server at all.
    for status in [Some(500), Some(429), None] {
        let api = FakeApi::start(cluster());
        match status {
            Some(status) => api.fail_next(4, status),
            None => api.go_down(),
        }
        let followed = Followed::follow(api, "startup_timeout 1s", Setup::until_it_talks);
        if status.is_none() {
            assert_eq!(followed.client().ask(WEB, "A").rcode, "SERVFAIL");
            followed.api.come_up();
        }
        becomes(followed.client(), WEB, &["10.96.0.20"], AFTER_BACKOFF);
    }
}

#[test]
fn an_outage_leaves_the_answers_as_they_were() {
    let followed = Followed::start("");
    followed.watches(3);
    followed.api.go_down();
    for _ in 0..20 {
        assert_eq!(followed.client().ask(WEB, "A").addresses().len(), 1);
        std::thread::sleep(Duration::from_millis(20));
    }
    followed.api.upsert(service("shop", "web", "10.96.3.1"));
    followed.api.come_up();
    becomes(followed.client(), WEB, &["10.96.3.1"], AFTER_BACKOFF);
    followed.watches(3);
    followed.api.refuse(true);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(followed.client().ask(WEB, "A").addresses().len(), 1);
    followed.api.refuse(false);
    followed.watches(3);
}

#[test]
fn a_refused_token_is_said_and_answers_are_servfail() {
    let api = FakeApi::start(cluster());
    let dir = TempDir::new().expect("the temporary directory is writable");
    let kubeconfig = api.write_kubeconfig_with_token(dir.path(), "wrong");
    let setup = Setup::new(&corefile(&kubeconfig, "startup_timeout 1s")).until_it_talks();
    let martlet = setup.start();
    assert_eq!(martlet.client().ask(WEB, "A").rcode, "SERVFAIL");
    let said = wait_until(SOON, || martlet.log().contains("nauthorized").then_some(()));
    assert!(said.is_some(), "{}", martlet.log());
    let remedy = "does not know who we are: check the pod's service account token";
    assert!(martlet.log().contains(remedy), "{}", martlet.log());
    assert!(api.recorded().iter().all(|request| request.status == 401));
}

/// The age of the data is that of the outage.
#[test]
fn an_outage_shows_in_the_age_of_the_data() {
    let api = FakeApi::start(cluster());
    let dir = TempDir::new().expect("the temporary directory is writable");
    let kubeconfig = api.write_kubeconfig(dir.path());
    let corefile = corefile(&kubeconfig, "pods insecure") + "m.test:{PORT} {\n    bind 127.0.0.1\n";
    let martlet = Setup::new(&(corefile + "    prometheus :{PORT2}\n    whoami\n}\n")).start();
    let age = || {
        let scrape = Scrape::of(martlet.nth_port(2));
        scrape.sum("martlet_kubernetes_data_age_seconds", &[])
    };
    assert_eq!(age(), 0.0);
    api.go_down();
    let grows = wait_until(AFTER_BACKOFF, || (age() > 1.0).then_some(()));
    assert!(grows.is_some(), "{}", martlet.log());
    for kind in ["Namespace", "Service", "EndpointSlice"] {
        let told = format!("[WARNING] watch failed; what is known stays in force kind={kind} ");
        martlet.says_again(&told, 0);
    }
    assert!(martlet.log().contains(" lasting_s="), "{}", martlet.log());
    api.come_up();
    // A watch that has nothing to say is known to work only after a while.
    let current = wait_until(AFTER_BACKOFF, || {
        api.upsert(namespace("more", "front"));
        api.upsert(service("more", "web", "10.96.0.44"));
        api.upsert(slice("more", "web", &["10.244.0.44"]));
        (age() == 0.0).then_some(())
    });
    assert!(current.is_some(), "{}", martlet.log());
    martlet.says_again("[INFO] watch works again kind=Service lasted_s=", 0);
}
