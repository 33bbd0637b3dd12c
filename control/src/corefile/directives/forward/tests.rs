//! Tables of `forward` directives.

use super::super::testing::{bad, good, warnings};
use super::*;

fn forward(text: &str) -> Forward {
    let mut block = good(text);
    assert_eq!(block.forward.len(), 1, "{text}");
    block.forward.remove(0)
}

fn address(transport: Transport, text: &str) -> Upstream {
    let destination = Destination::Address(text.parse().unwrap());
    Upstream {
        transport,
        destination,
        server_name: None,
    }
}

#[test]
fn has_defaults() {
    let plain = forward("forward . 10.0.0.1");
    assert_eq!(
        plain,
        Forward::new(
            plain.position.clone(),
            ZoneName::root(),
            vec![address(Transport::Dns, "10.0.0.1:53")]
        )
    );
    assert_eq!(plain.read_timeout.as_secs(), 2);
    assert_eq!((plain.max_fails, plain.expire.as_secs()), (2, 10));
}

#[test]
fn reads_zones() {
    for (text, from, warned) in [
        ("forward . 10.0.0.1", ".", 0),
        ("forward Example.org 10.0.0.1", "example.org.", 0),
        ("forward dns://example.org:53 10.0.0.1", "example.org.", 0),
        ("forward 10.0.0.0/8 10.0.0.1", "10.in-addr.arpa.", 0),
        ("forward 10.0.0.0/15 10.0.0.1", "0.10.in-addr.arpa.", 1),
    ] {
        assert_eq!(forward(text).from.as_str(), from, "{text}");
        assert_eq!(warnings(text).len(), warned, "{text}");
    }
}

#[test]
fn reads_upstreams() {
    let host = |transport, name: &str, port| Upstream {
        transport,
        destination: Destination::Host {
            name: ZoneName::parse(name).unwrap(),
            port,
        },
        server_name: None,
    };
    let named = |text: &str, name: &str| Upstream {
        server_name: Some(name.into()),
        ..address(Transport::Tls, text)
    };
    let file = |path: &str| Upstream {
        transport: Transport::Dns,
        destination: Destination::File(path.into()),
        server_name: None,
    };
    for (text, expected) in [
        ("8.8.8.8", address(Transport::Dns, "8.8.8.8:53")),
        ("8.8.8.8:153", address(Transport::Dns, "8.8.8.8:153")),
        ("dns://8.8.8.8", address(Transport::Dns, "8.8.8.8:53")),
        ("fd01::1", address(Transport::Dns, "[fd01::1]:53")),
        ("[fd01::1]", address(Transport::Dns, "[fd01::1]:53")),
        ("[fd01::1]:153", address(Transport::Dns, "[fd01::1]:153")),
        ("fe80::1%ens3", address(Transport::Dns, "[fe80::1]:53")),
        (
            "[fe80::1%ens3]:153",
            address(Transport::Dns, "[fe80::1]:153"),
        ),
        ("tls://9.9.9.9", address(Transport::Tls, "9.9.9.9:853")),
        (
            "tls://9.9.9.9%dns.quad9.net",
            named("9.9.9.9:853", "dns.quad9.net"),
        ),
        (
            "tls://9.9.9.9%dns.quad9.net:8853",
            named("9.9.9.9:8853", "dns.quad9.net"),
        ),
        (
            "tls://[2620:fe::fe%dns.quad9.net]:853",
            named("[2620:fe::fe]:853", "dns.quad9.net"),
        ),
        ("https://1.1.1.1", address(Transport::Https, "1.1.1.1:443")),
        ("/etc/resolv.conf", file("/etc/resolv.conf")),
        ("./resolv.conf", file("./resolv.conf")),
        (
            "dns.svc.cluster.local",
            host(Transport::Dns, "dns.svc.cluster.local.", 53),
        ),
        ("Upstream:5353", host(Transport::Dns, "upstream.", 5353)),
        (
            "tls://dns.quad9.net",
            host(Transport::Tls, "dns.quad9.net.", 853),
        ),
    ] {
        assert_eq!(
            forward(&format!("forward . {text}")).to,
            [expected],
            "{text}"
        );
    }
    let twice = forward("forward . 10.0.0.1 10.0.0.2 dns://10.0.0.1:53");
    assert_eq!(twice.to.len(), 2, "the same destination counts once");
}

#[test]
fn reads_options() {
    let all = forward(
        "root /r\nforward . 10.0.0.1 {\n except a b 10.0.0.0/8\n policy sequential\n force_tcp\n prefer_udp\n \
         read_timeout 3s\n max_fails 0\n max_connect_attempts 4\n health_check 1s no_rec domain a.b\n \
         failfast_all_unhealthy_upstreams\n max_concurrent 1000\n expire 20s\n max_age 1m\n \
         max_idle_conns 5\n failover servfail REFUSED\n next NXDOMAIN NOERROR\n next_on_nodata\n \
         tls c k ca\n tls_servername x.y\n doh_method GET\n resolver 10.0.0.9 10.0.0.9:54\n \
         source_address 10.0.0.3\n}",
    );
    let except: Vec<_> = all.except.iter().map(ZoneName::as_str).collect();
    assert_eq!(except, ["a.", "b.", "10.in-addr.arpa."]);
    assert_eq!(all.policy, Policy::Sequential);
    assert!(all.force_tcp && all.prefer_udp && all.fail_fast && all.next_on_nodata && all.doh_get);
    assert_eq!((all.max_fails, all.max_connect_attempts), (0, Some(4)));
    let HealthCheck {
        interval,
        recursion_desired,
        domain,
    } = &all.health_check;
    assert_eq!(
        (interval.as_secs(), *recursion_desired, domain.as_str()),
        (1, false, "a.b.")
    );
    assert_eq!(
        (all.max_concurrent, all.max_idle_connections),
        (Some(1000), 5)
    );
    let seconds = [all.read_timeout, all.expire, all.max_age].map(|duration| duration.as_secs());
    assert_eq!(seconds, [3, 20, 60]);
    assert_eq!((&*all.failover, &*all.next), (&[2, 5][..], &[3, 0][..]));
    assert_eq!(all.tls.identity, Some(("/r/c".into(), "/r/k".into())));
    assert_eq!(all.tls.ca, Some("/r/ca".into()));
    assert_eq!(all.tls_server_name.as_deref(), Some("x.y"));
    assert_eq!(all.resolvers, ["10.0.0.9".into(), "10.0.0.9:54".into()]);
    assert_eq!(all.source_address, Some("10.0.0.3".parse().unwrap()));

    let ca = forward("forward . 10.0.0.1 {\n tls ca\n max_concurrent 0\n policy round_robin\n}");
    assert_eq!(
        ca.tls,
        ForwardTls {
            identity: None,
            ca: Some("ca".into())
        }
    );
    assert_eq!((ca.max_concurrent, ca.policy), (None, Policy::RoundRobin));
}

#[test]
fn keeps_file_order() {
    let block = good("forward a 10.0.0.1\nforward b 10.0.0.2\nforward . 10.0.0.3");
    let zones: Vec<_> = block
        .forward
        .iter()
        .map(|forward| forward.from.as_str())
        .collect();
    assert_eq!(zones, ["a.", "b.", "."]);
}

#[test]
fn refuses_the_rest() {
    let many = (0..16).map(|n| format!(" 10.0.0.{n}")).collect::<String>();
    for text in [
        "forward",
        "forward .",
        "forward a..b 10.0.0.1",
        "forward . 10.0.0.256",
        "forward . 8.9.1043",
        "forward . 10.0.0.1:x",
        "forward . 10.0.0.1:99999",
        "forward . a..b",
        "forward . grpc://10.0.0.1",
        "forward . unix:///x",
        "forward . quic://10.0.0.1",
        "forward . https://10.0.0.1/dns-query",
        "forward . /etc/resolv.conf:53",
        "forward . \"\"",
        "forward . tls://",
        &format!("forward .{many}"),
        "forward . tls://10.0.0.1%a {\n tls_servername b\n}",
        "forward . 10.0.0.1 {\n max_age 5s\n}",
    ] {
        assert_eq!(bad(text).len(), 1, "{text}");
    }
    for option in [
        "except",
        "except a..b",
        "policy",
        "policy first",
        "force_tcp yes",
        "prefer_udp yes",
        "read_timeout 0s",
        "read_timeout 2",
        "max_fails",
        "max_fails -1",
        "max_fails 1 2",
        "max_connect_attempts x",
        "health_check",
        "health_check 5",
        "health_check 5s recurse",
        "health_check 5s domain",
        "health_check 5s domain a..b",
        "failfast_all_unhealthy_upstreams x",
        "max_concurrent x",
        "max_concurrent -1",
        "expire",
        "max_idle_conns -1",
        "failover",
        "failover NOERROR",
        "failover ODD",
        "next",
        "next ODD",
        "next_on_nodata x",
        "tls a b c d",
        "tls_servername",
        "doh_method put",
        "resolver",
        "resolver dns.example",
        "source_address",
        "source_address lo",
        "max_conccurent 5",
    ] {
        let text = format!("forward . 10.0.0.1 {{\n {option}\n}}");
        assert_eq!(bad(&text).len(), 1, "{text}");
    }
}

#[test]
fn finds_name_servers() {
    let text = "# x\n; y\nsearch a b\nnameserver 10.0.0.1\nnameserver fe80::1%eth0 x\n\
                nameserver\nnameserver host\n options ndots:5\n  nameserver 10.0.0.2\n";
    let found: Vec<_> = nameservers(text).iter().map(ToString::to_string).collect();
    assert_eq!(found, ["10.0.0.1:53", "[fe80::1]:53", "10.0.0.2:53"]);
}
