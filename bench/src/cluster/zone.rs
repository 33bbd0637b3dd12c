//! A cluster's names as the zone file that a server without Kubernetes can load.
//!
//! Addresses, SRV records and the names of endpoints are the ones that the index answers; reverse
//! names are in zones of their own and are left out.

use std::io::{self, Write};
use std::net::IpAddr;

use super::queries::{endpoint_name, service_name};
use super::{CLUSTER_DOMAIN, Cluster, Family, Workload};

/// TTL of all records, in seconds.
const TTL: u32 = 30;

/// One record.
struct Record {
    name: String,
    data: String,
}

/// Writes the zone of the cluster's domain.
///
/// # Errors
///
/// If `out` does.
pub fn write(cluster: &Cluster, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "$ORIGIN {CLUSTER_DOMAIN}.\n$TTL {TTL}")?;
    writeln!(
        out,
        "@ SOA ns.dns.{CLUSTER_DOMAIN}. hostmaster.{CLUSTER_DOMAIN}. 1 7200 1800 86400 {TTL}\n\
         @ NS ns.dns.{CLUSTER_DOMAIN}.\nns.dns A 127.0.0.1"
    )?;
    for workload in cluster.workloads() {
        for Record { name, data } in records(&workload) {
            writeln!(out, "{name}. {data}")?;
        }
    }
    Ok(())
}

/// Writes the A and AAAA records of all names as a hosts file has them, which is all that dnsmasq
/// can be told in bulk.
///
/// # Errors
///
/// If `out` does.
pub fn write_hosts(cluster: &Cluster, out: &mut impl Write) -> io::Result<()> {
    for workload in cluster.workloads() {
        for Record { name, data } in records(&workload) {
            if let Some(address) = data
                .strip_prefix("A ")
                .or_else(|| data.strip_prefix("AAAA "))
            {
                writeln!(out, "{address} {name}")?;
            }
        }
    }
    Ok(())
}

fn records(workload: &Workload) -> Vec<Record> {
    let name = service_name(workload);
    let mut records = Vec::new();
    let mut add = |name: String, data: String| records.push(Record { name, data });
    // Whom SRV records lead to, and under which port.
    let mut targets = Vec::new();
    if workload.headless {
        for endpoint in workload.endpoints.clone() {
            let target = endpoint_name(workload, endpoint);
            for &family in workload.families() {
                let address = workload.pod_ip(endpoint, family);
                add(name.clone(), address_data(address));
                // The name of an endpoint without a hostname is made of the one address.
                if workload.stateful || family == Family::V4 {
                    add(target.clone(), address_data(address));
                }
            }
            targets.push(target);
        }
    } else {
        for address in workload.cluster_ips() {
            add(name.clone(), address_data(address));
        }
        targets.push(name.clone());
    }
    for port in workload.ports {
        let protocol = port.protocol.to_ascii_lowercase();
        let number = if workload.headless {
            port.target
        } else {
            port.number
        };
        let weight = 100 / targets.len().max(1);
        for target in &targets {
            let data = format!("SRV 0 {weight} {number} {target}.");
            if !port.name.is_empty() {
                add(format!("_{}._{protocol}.{name}", port.name), data.clone());
            }
            // The bare name stands for all ports.
            add(name.clone(), data);
        }
    }
    records
}

fn address_data(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => format!("A {v4}"),
        IpAddr::V6(v6) => format!("AAAA {v6}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Shape;
    use crate::cluster::queries::{List, Questions};

    #[test]
    fn every_question_about_the_cluster_finds_its_name() {
        let shape = Shape {
            services: 60,
            endpoints: 400,
            namespaces: 3,
            ..Shape::default()
        };
        let cluster = Cluster::new(shape).unwrap();
        let mut zone = Vec::new();
        write(&cluster, &mut zone).unwrap();
        let zone = String::from_utf8(zone).unwrap();
        for question in Questions::new(&cluster, List::InCluster).take(500) {
            // AAAA of a Service with one family is there as a name, without data.
            let line = match question.qtype {
                "AAAA" => format!("\n{}. A", question.name),
                qtype => format!("\n{}. {qtype} ", question.name),
            };
            assert!(zone.contains(&line), "{question}");
        }
    }
}
