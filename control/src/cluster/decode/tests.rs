//! Each kind from the API's JSON and from the same object in YAML.

use super::*;

/// Decodes the object from both forms and expects the same of them.
fn trimmed<W: Wire>(json: &str, pod_names: bool) -> Option<Object> {
    let wire: W = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}"));
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    let yaml = yaml_serde::to_string(&value).unwrap();
    let from_yaml: W = yaml_serde::from_str(&yaml).unwrap_or_else(|e| panic!("{e}: {yaml}"));
    let keep = Keep {
        services: true,
        imports: true,
        pod_names,
        zones: pod_names,
    };
    let object = wire.trim(keep);
    assert_eq!(from_yaml.trim(keep), object, "{yaml}");
    object
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn port(name: &str, protocol: &str, number: Option<u16>) -> Port {
    Port {
        name: name.into(),
        protocol: protocol.into(),
        number,
    }
}

#[test]
fn namespaces() {
    for (json, name) in [
        (r#"{"metadata":{"name":"a"}}"#, "a"),
        (
            r#"{"metadata":{"name":"a","namespace":""},"status":{"phase":"Active"}}"#,
            "a",
        ),
        (
            r#"{"metadata":{"name":"b","deletionTimestamp":"2026-01-01T00:00:00Z"},
                "status":{"phase":"Terminating"}}"#,
            "b",
        ),
        (
            r#"{"metadata":{"name":"c","labels":null,"annotations":{"x":"y"},
                "managedFields":[{"fieldsV1":{"f:metadata":{}}}]}}"#,
            "c",
        ),
        (r#"{}"#, ""),
    ] {
        let expected = Object::Namespace(Key::new("", name));
        assert_eq!(
            trimmed::<WireNamespace>(json, false),
            Some(expected),
            "{json}"
        );
    }
}

#[test]
fn services_from_outside() {
    let host = |text: &str| match text.parse() {
        Ok(address) => EndpointAddress::Ip(address),
        Err(_) => EndpointAddress::Fqdn(text.into()),
    };
    for (rest, expected) in [
        (r#""status":{"loadBalancer":{}}"#, &[][..]),
        (r#""status":{"loadBalancer":{"ingress":null}}"#, &[]),
        (r#""spec":{"externalIPs":null}"#, &[]),
        (
            r#""spec":{"externalIPs":["192.0.2.1","fd00::1"]},
               "status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.2","hostname":"not.used"},
                 {"hostname":"lb.test"},{"ip":"","hostname":"b.test"},{}]}}"#,
            &["192.0.2.1", "fd00::1", "192.0.2.2", "lb.test", "b.test"],
        ),
    ] {
        let json = format!(r#"{{"metadata":{{"name":"a"}},{rest}}}"#);
        let Some(Object::Service(service)) = trimmed::<WireService>(&json, false) else {
            panic!("{json}");
        };
        let expected: Box<[_]> = expected.iter().map(|text| host(text)).collect();
        assert_eq!(service.external, expected, "{json}");
    }
}

#[test]
fn service_types() {
    let cluster =
        |list: &[&str]| ServiceType::ClusterIp(list.iter().map(|text| ip(text)).collect());
    for (spec, expected) in [
        (
            r#"{"clusterIP":"10.0.0.1","clusterIPs":["10.0.0.1","fd00::1"]}"#,
            cluster(&["10.0.0.1", "fd00::1"]),
        ),
        (r#"{"clusterIP":"10.0.0.1"}"#, cluster(&["10.0.0.1"])),
        (
            r#"{"clusterIP":"10.0.0.1","clusterIPs":[]}"#,
            cluster(&["10.0.0.1"]),
        ),
        (
            r#"{"clusterIP":"10.0.0.1","clusterIPs":null}"#,
            cluster(&["10.0.0.1"]),
        ),
        (
            r#"{"clusterIP":"10.0.0.1","clusterIPs":["10.0.0.2"]}"#,
            cluster(&["10.0.0.2"]),
        ),
        (
            r#"{"clusterIPs":["10.0.0.1","nonsense","010.0.0.1"]}"#,
            cluster(&["10.0.0.1"]),
        ),
        (
            r#"{"clusterIPs":["::ffff:10.0.0.1"]}"#,
            cluster(&["10.0.0.1"]),
        ),
        (r#"{"clusterIP":"","type":"ClusterIP"}"#, cluster(&[])),
        (r#"{"clusterIP":null,"type":null}"#, cluster(&[])),
        (r#"{}"#, cluster(&[])),
        (r#"null"#, cluster(&[])),
        (
            r#"{"clusterIP":"None","clusterIPs":["None"]}"#,
            ServiceType::Headless,
        ),
        (r#"{"clusterIP":"None"}"#, ServiceType::Headless),
        (
            r#"{"clusterIP":"None","type":"LoadBalancer"}"#,
            ServiceType::Headless,
        ),
        (
            r#"{"type":"LoadBalancer","clusterIP":"10.0.0.1","externalIPs":["1.1.1.1"]}"#,
            cluster(&["10.0.0.1"]),
        ),
        (
            r#"{"type":"ExternalName","externalName":"Example.COM."}"#,
            ServiceType::ExternalName("Example.COM.".into()),
        ),
        (
            r#"{"type":"ExternalName"}"#,
            ServiceType::ExternalName("".into()),
        ),
    ] {
        let json = format!(
            r#"{{"metadata":{{"name":"s","namespace":"n","deletionTimestamp":"2026-01-01T00:00:00Z"}},
                "spec":{spec}}}"#
        );
        let Some(Object::Service(service)) = trimmed::<WireService>(&json, false) else {
            panic!("{json}")
        };
        assert_eq!(service.key, Key::new("n", "s"));
        assert_eq!(service.service_type, expected, "{spec}");
    }
}

#[test]
fn ports_of_services_and_slices() {
    for (ports, expected) in [
        ("null", vec![]),
        ("[]", vec![]),
        (r#"[{"port":80}]"#, vec![port("", "TCP", Some(80))]),
        (
            r#"[{"name":"dns","port":53,"protocol":"UDP","targetPort":"dns"},
                {"name":"","port":7,"protocol":"SCTP","appProtocol":"x"}]"#,
            vec![port("dns", "UDP", Some(53)), port("", "SCTP", Some(7))],
        ),
        (
            r#"[{"name":null,"port":null,"protocol":null}]"#,
            vec![port("", "TCP", None)],
        ),
        (
            r#"[{"port":65535},{"port":65536},{"port":-1}]"#,
            vec![
                port("", "TCP", Some(65535)),
                port("", "TCP", None),
                port("", "TCP", None),
            ],
        ),
    ] {
        let json =
            format!(r#"{{"metadata":{{"name":"x"}},"ports":{ports},"spec":{{"ports":{ports}}}}}"#);
        let Some(Object::Service(service)) = trimmed::<WireService>(&json, false) else {
            panic!()
        };
        assert_eq!(*service.ports, expected, "{ports}");
        let slice = trimmed::<WireEndpointSlice>(&json, false);
        let Some(Object::EndpointSlice(slice)) = slice else {
            panic!()
        };
        assert_eq!(*slice.ports, expected, "{ports}");
    }
}

#[test]
fn endpoints_of_slices() {
    // `address|hostname|pod` for each endpoint, pod names kept.
    let long = "p".repeat(64);
    let long_pod = format!(r#"[{{"addresses":["10.0.0.1"],"targetRef":{{"name":"{long}"}}}}]"#);
    for (address_type, endpoints, expected) in [
        ("IPv4", "null", ""),
        ("IPv4", "[]", ""),
        ("IPv4", r#"[{"addresses":null},{"addresses":[]}]"#, ""),
        (
            "IPv4",
            r#"[{"addresses":["10.0.0.1","10.0.0.2"]}]"#,
            "10.0.0.1|| 10.0.0.2||",
        ),
        (
            "IPv6",
            r#"[{"addresses":["fd00::1"],"conditions":{}}]"#,
            "fd00::1||",
        ),
        (
            "IPv4",
            r#"[{"addresses":["10.0.0.1"],"conditions":null}]"#,
            "10.0.0.1||",
        ),
        (
            "IPv4",
            r#"[{"addresses":["10.0.0.1"],"conditions":{"ready":null}}]"#,
            "10.0.0.1||",
        ),
        (
            "IPv4",
            r#"[{"addresses":["10.0.0.1"],"conditions":{"ready":false,"serving":true,"terminating":true}},
                {"addresses":["10.0.0.2"],"conditions":{"ready":true,"serving":false}}]"#,
            "10.0.0.2||",
        ),
        (
            "IPv4",
            r#"[{"addresses":["bad","10.0.0.1"]}]"#,
            "10.0.0.1||",
        ),
        (
            "FQDN",
            r#"[{"addresses":["a.example.com"],"hostname":"h"}]"#,
            "a.example.com|h|",
        ),
        (
            "IPv4",
            r#"[{"addresses":["10.0.0.1"],"hostname":"web-0","nodeName":"n","zone":"z",
                "targetRef":{"kind":"Pod","name":"web-0-pod","uid":"u"}},
                {"addresses":["10.0.0.2"],"hostname":"","targetRef":null}]"#,
            "10.0.0.1|web-0|web-0-pod 10.0.0.2||",
        ),
        ("IPv4", &long_pod, "10.0.0.1||"),
    ] {
        let json = format!(
            r#"{{"metadata":{{"name":"x-1","namespace":"n"}},"addressType":"{address_type}","endpoints":{endpoints}}}"#
        );
        let print = |keep| {
            let slice = trimmed::<WireEndpointSlice>(&json, keep);
            let Some(Object::EndpointSlice(slice)) = slice else {
                panic!("{json}")
            };
            let print = |endpoint: &Endpoint| {
                let address = match &endpoint.address {
                    EndpointAddress::Ip(address) => address.to_string(),
                    EndpointAddress::Fqdn(name) => name.to_string(),
                };
                let hostname = endpoint.hostname.as_deref().unwrap_or_default();
                let pod_name = endpoint.pod_name.as_deref().unwrap_or_default();
                format!("{address}|{hostname}|{pod_name}")
            };
            slice
                .endpoints
                .iter()
                .map(print)
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(print(true), expected, "{endpoints}");
        assert!(!print(false).contains("pod"), "{endpoints}");
    }
}

#[test]
fn labels_and_annotations_of_slices() {
    let millis = |ms: u64| SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(ms);
    for (metadata, service, trigger) in [
        (r#"{}"#, "", None),
        (r#"{"labels":{},"annotations":{}}"#, "", None),
        (
            r#"{"labels":{"a":"b","kubernetes.io/service-name":"web","c":"d"}}"#,
            "web",
            None,
        ),
        (
            r#"{"labels":{"kubernetes.io/service-name":null}}"#,
            "",
            None,
        ),
        (
            r#"{"annotations":{"x":"{\"y\":1}",
                "endpoints.kubernetes.io/last-change-trigger-time":"1970-01-01T00:00:01.5Z"}}"#,
            "",
            Some(millis(1500)),
        ),
        (
            r#"{"annotations":{"endpoints.kubernetes.io/last-change-trigger-time":"1970-01-01T01:00:01+01:00"}}"#,
            "",
            Some(millis(1000)),
        ),
        (
            r#"{"annotations":{"endpoints.kubernetes.io/last-change-trigger-time":"now"}}"#,
            "",
            None,
        ),
    ] {
        let json = format!(r#"{{"metadata":{metadata}}}"#);
        let slice = trimmed::<WireEndpointSlice>(&json, false);
        let Some(Object::EndpointSlice(slice)) = slice else {
            panic!("{json}")
        };
        assert_eq!(
            (&*slice.service, slice.last_change_trigger),
            (service, trigger),
            "{metadata}"
        );
    }
}

#[test]
fn pods() {
    for (deleted, status, expected) in [
        (
            false,
            r#"{"phase":"Running","podIP":"10.0.0.1","podIPs":[{"ip":"10.0.0.1"},{"ip":"fd00::1"}]}"#,
            Some("10.0.0.1"),
        ),
        (
            false,
            r#"{"phase":"Pending","podIP":"fd00::1"}"#,
            Some("fd00::1"),
        ),
        (false, r#"{"podIP":"10.0.0.1"}"#, Some("10.0.0.1")),
        (true, r#"{"phase":"Running","podIP":"10.0.0.1"}"#, None),
        (false, r#"{"phase":"Succeeded","podIP":"10.0.0.1"}"#, None),
        (false, r#"{"phase":"Failed","podIP":"10.0.0.1"}"#, None),
        (false, r#"{"phase":"Unknown","podIP":"10.0.0.1"}"#, None),
        (false, r#"{"phase":"Pending"}"#, None),
        (false, r#"{"phase":"Running","podIP":""}"#, None),
        (false, r#"{"phase":"Running","podIP":null}"#, None),
        (false, r#"{"phase":"Running","podIP":"nonsense"}"#, None),
        (false, "null", None),
    ] {
        let time = if deleted {
            r#""2026-01-01T00:00:00Z""#
        } else {
            "null"
        };
        let json = format!(
            r#"{{"metadata":{{"name":"p","namespace":"n","deletionTimestamp":{time}}},"status":{status}}}"#
        );
        let pod = |address| {
            Object::Pod(Pod {
                key: Key::new("n", "p"),
                address: ip(address),
            })
        };
        assert_eq!(
            trimmed::<WirePod>(&json, false),
            expected.map(pod),
            "{json}"
        );
    }
}

#[test]
fn slices_of_imports_and_zones() {
    let json = r#"{"metadata":{"name":"s","namespace":"n","labels":{
        "multicluster.kubernetes.io/source-cluster":"c1",
        "kubernetes.io/service-name":"web",
        "multicluster.kubernetes.io/service-name":"all-web"}},
        "addressType":"IPv4",
        "endpoints":[{"addresses":["10.0.0.1"],"zone":"West"},{"addresses":["10.0.0.2"]}]}"#;
    let slice = |keep: Keep| {
        let wire: WireEndpointSlice = serde_json::from_str(json).unwrap();
        match wire.trim(keep) {
            Some(Object::EndpointSlice(slice)) => slice,
            other => panic!("{other:?}"),
        }
    };
    let nothing = slice(Keep::default());
    assert_eq!((&*nothing.service, &nothing.import), ("", &None));
    assert!(nothing.endpoints.iter().all(|one| one.zone.is_none()));
    let all = slice(Keep {
        services: true,
        imports: true,
        pod_names: false,
        zones: true,
    });
    let import = Import {
        service: "all-web".into(),
        cluster: "c1".into(),
    };
    assert_eq!((&*all.service, all.import), ("web", Some(import)));
    let zones: Vec<_> = all
        .endpoints
        .iter()
        .map(|one| one.zone.as_deref())
        .collect();
    assert_eq!(zones, [Some("West"), None]);
}

#[test]
fn service_imports() {
    let set = |ips: &[&str]| ServiceType::ClusterIp(ips.iter().map(|text| ip(text)).collect());
    let ports = r#""ports":[{"port":80,"protocol":"TCP"}]"#;
    for (spec, expected) in [
        (
            format!(r#"{{"type":"ClusterSetIP","ips":["10.0.0.1","x","fd00::1"],{ports}}}"#),
            Some(set(&["10.0.0.1", "fd00::1"])),
        ),
        (
            format!(r#"{{"type":"Headless",{ports}}}"#),
            Some(ServiceType::Headless),
        ),
        (
            r#"{"type":"Headless"}"#.to_owned(),
            Some(ServiceType::Headless),
        ),
        (format!("{{{ports}}}"), Some(set(&[]))),
        (
            r#"{"type":"ClusterSetIP","ips":["10.0.0.1"]}"#.to_owned(),
            None,
        ),
    ] {
        let json = format!(r#"{{"metadata":{{"name":"a","namespace":"b"}},"spec":{spec}}}"#);
        let found = match trimmed::<WireServiceImport>(&json, false) {
            Some(Object::ServiceImport(import)) => Some(import.service_type),
            None => None,
            other => panic!("{other:?}"),
        };
        assert_eq!(found, expected, "{spec}");
    }
}
