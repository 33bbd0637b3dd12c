use super::layout::{duration, request_size};
use super::*;

fn seen(scope: Scope) -> Observation {
    Observation {
        scope,
        done: true,
        qtype: RType::A,
        plugin: Plugin::Kubernetes,
        request_len: 50,
        reply_len: 120,
        ..Observation::NOTHING
    }
}

fn requests(totals: &Totals) -> u64 {
    totals.requests().map(|(.., count)| count).sum()
}

#[test]
fn every_count_has_a_place_of_its_own() {
    let metrics = Metrics::new(1);
    let scope = metrics.scope("dns://:53", ".", true);
    let mut recorder = metrics.recorder();
    let mut asked = 0;
    for (stream, ipv6) in [(false, false), (false, true), (true, false), (true, true)] {
        for (place, qtype) in TYPES
            .into_iter()
            .chain([RType(0), RType(9_999)])
            .enumerate()
        {
            let seen = Observation {
                stream,
                ipv6,
                qtype,
                rcode: Rcode(place as u16 * 2),
                plugin: Plugin::ALL[place % Plugin::ALL.len()],
                ..seen(scope)
            };
            recorder.record(&seen);
            asked += 1;
            let totals = metrics.totals().remove(0).1;
            assert_eq!(requests(&totals), asked);
            let place = place.min(TYPES.len());
            let of_kind = totals
                .requests()
                .find(|(s, v, t, _)| (*s, *v, *t) == (stream, ipv6, place));
            let before = u64::from(qtype == RType(9_999));
            assert_eq!(of_kind.unwrap().3, 1 + before, "{stream} {ipv6} {qtype}");
            let replies: u64 = totals.responses().map(|(.., count)| count).sum();
            assert_eq!(replies, asked);
        }
    }
    let totals = metrics.totals().remove(0).1;
    let sizes = [false, true].map(|stream| totals.response_sizes(stream));
    assert_eq!(sizes[0].sum + sizes[1].sum, asked * 120);
    assert_eq!(sizes[0].buckets[2] + sizes[1].buckets[2], asked);
    assert_eq!(totals.do_requests(), 0);
    assert_eq!(totals.durations().buckets.iter().sum::<u64>(), 0);
}

#[test]
fn types_are_called_as_in_coredns() {
    let names: Vec<_> = (0..=TYPES.len()).map(type_name).collect();
    let expected = "A AAAA PTR SRV CNAME MX NS SOA TXT HTTPS SVCB DS DNSKEY RRSIG NSEC NSEC3 IXFR \
                    AXFR ANY other";
    assert_eq!(names.join(" "), expected);
    for (place, plugin) in Plugin::ALL.into_iter().enumerate() {
        assert_eq!(plugin as usize, place);
    }
}

#[test]
fn buckets_hold_what_is_at_most_their_bound() {
    let first = request_size(0, 0).0;
    for (bucket, bound) in SIZE_BOUNDS.into_iter().enumerate() {
        assert_eq!(request_size(0, bound).0 - first, bucket, "{bound}");
        assert_eq!(
            request_size(0, bound + 1).0 - first,
            bucket + 1,
            "{bound}+1"
        );
    }
    let first = duration(0).0;
    for bucket in 0..DURATION_BUCKETS {
        let bound = 250_000 << bucket;
        assert_eq!(duration(bound).0 - first, bucket, "{bound} ns");
        assert_eq!(duration(bound + 1).0 - first, bucket + 1, "{bound}+1 ns");
    }
    assert_eq!(duration(u64::MAX).0 - first, DURATION_BUCKETS);
}

#[test]
fn durations_follow_with_the_batch() {
    let metrics = Metrics::new(130);
    let scopes: Vec<_> = (0..130)
        .map(|n| metrics.scope("dns://:53", &format!("{n}."), true))
        .collect();
    let mut recorder = metrics.recorder();
    recorder.end_batch(|| unreachable!("nothing to time"));
    for place in [0, 64, 128, 128, 3] {
        recorder.record(&seen(scopes[place]));
    }
    recorder.end_batch(|| Duration::from_millis(3));
    recorder.end_batch(|| unreachable!("all is timed"));
    let shared = metrics.shared_recorder();
    shared.record(&seen(scopes[3]), || Duration::from_secs(9));
    let totals = metrics.totals();
    for (place, expected) in [(0, 1), (64, 1), (128, 2), (3, 1), (1, 0)] {
        let durations = totals[place].1.durations();
        assert_eq!(durations.buckets[4], expected, "{place}");
    }
    let durations = totals[3].1.durations();
    assert_eq!(durations.buckets[DURATION_BUCKETS], 1);
    assert_eq!(durations.sum, 9_003_000_000);
}

/// A recorder of before goes on, one of after has room for more; both count in one place.
#[test]
fn room_grows_without_losing_counts() {
    let metrics = Metrics::new(1);
    let first = metrics.scope("dns://:53", "a.", true);
    let mut old = metrics.recorder();
    old.record(&seen(first));
    assert_eq!(metrics.room(), 0);
    assert!(metrics.has_scope("dns://:53", "a.", "") && !metrics.has_scope("dns://:53", "b.", ""));
    let grown = metrics.with_room_for(2);
    assert_eq!(grown.room(), 2);
    assert_eq!(grown.scope("dns://:53", "a.", true), first);
    let second = grown.scope("dns://:53", "b.", true);
    let mut new = grown.recorder();
    old.record(&seen(first));
    for scope in [first, second] {
        assert_eq!(old.counts(&seen(scope)), scope == first);
        assert!(new.counts(&seen(scope)));
        new.record(&seen(scope));
    }
    assert!(old.counts(&seen(Scope::NONE)), "there is nothing to count");
    for metrics in [metrics, grown] {
        let totals = metrics.totals();
        assert_eq!(requests(&totals[0].1), 3);
        assert_eq!(requests(&totals[1].1), 1);
    }
}

#[test]
fn blocks_without_prometheus_count_only_what_their_plugins_do() {
    let metrics = Metrics::new(2);
    let silent = metrics.scope("dns://:53", "a.", false);
    let mut recorder = metrics.recorder();
    let mut observation = seen(silent);
    observation.events = Event::CacheRequest.bit() | Event::CacheMiss.bit();
    recorder.record(&observation);
    recorder.end_batch(|| unreachable!("nothing to time"));
    // What the slow path goes on with is counted there.
    observation.scope.counted = true;
    observation.done = false;
    recorder.record(&observation);
    let totals = metrics.totals().remove(0).1;
    assert_eq!(requests(&totals), 0);
    assert_eq!(totals.event(Event::CacheRequest), 2);
    assert_eq!(totals.event(Event::CacheMiss), 2);
    assert_eq!(totals.event(Event::CacheStale), 0);
}

#[test]
fn scopes_are_found_again_and_limited() {
    let metrics = Metrics::new(2);
    let first = metrics.scope("dns://:53", ".", true);
    let second = metrics.scope("dns://:53", "dropped", true);
    assert_ne!(first, second);
    assert_eq!(metrics.scope("dns://:53", ".", true), first);
    assert_eq!(metrics.scope("tls://:853", ".", true), Scope::NONE);
    // Nothing happens with these.
    metrics.recorder().record(&seen(Scope::NONE));
    assert_eq!(metrics.totals().len(), 2);
    // Counts of threads are added up, also of those that have ended.
    metrics.recorder().record(&seen(first));
    metrics.recorder().record(&seen(first));
    assert_eq!(requests(&metrics.totals()[0].1), 2);
}

#[test]
fn https_responses_are_counted_by_status() {
    let metrics = Metrics::default();
    for status in [200, 200, 404, 599] {
        metrics.https("https://:443").count(status);
    }
    let counted: Vec<_> = metrics
        .https_responses()
        .into_iter()
        .filter(|(.., count)| *count > 0)
        .map(|(server, status, count)| (server.to_string(), status, count))
        .collect();
    let row = |status, count| ("https://:443".to_owned(), status, count);
    assert_eq!(counted, [row(200, 2), row(404, 1), row(500, 1)]);
}

#[test]
fn templates_are_counted_by_server_and_view() {
    let metrics = Metrics::new(8);
    let what = |zone: &str| TemplateCount {
        zone: zone.into(),
        class: "IN",
        rtype: "A",
        event: TemplateEvent::Match,
    };
    // Two zones of one block, its other view, another server.
    for (server, zone, view, template) in [
        ("dns://:53", "a.", "", "."),
        ("dns://:53", "b.", "", "."),
        ("dns://:53", "b.", "", "b."),
        ("dns://:53", "a.", "inside", "."),
        ("dns://:54", "a.", "", "."),
    ] {
        let scope = metrics.scope_of_view(server, zone, view, true);
        metrics.templates().add(scope, what(template));
    }
    let rows = metrics.sums(&metrics.templates()).into_iter();
    let rows = rows
        .map(|((server, view, what), count)| format!("{server} {view:?} {} {count}", what.zone));
    assert_eq!(
        rows.collect::<Vec<_>>(),
        [
            "dns://:53 \"\" . 2",
            "dns://:53 \"\" b. 1",
            "dns://:53 \"inside\" . 1",
            "dns://:54 \"\" . 1",
        ]
    );
}
