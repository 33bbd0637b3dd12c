//! A cluster's names as the zone file that a server without Kubernetes can load.
//!
//! Addresses, SRV records and the names of endpoints are the ones that the index answers. Reverse names
//! and external ones are in files of their own: whoever checks replies reads them, no server does.

use std::io::{self, Write};
use std::net::IpAddr;

use martlet_engine::wire::name::wire_from_text;
use martlet_perf::external;

use super::queries::{endpoint_name, external_names, reverse_name, service_name};
use super::{CLUSTER_DOMAIN, Cluster, Workload};

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

/// Writes the PTR records of cluster IPs and endpoints.
///
/// # Errors
///
/// If `out` does.
pub fn write_reverse(cluster: &Cluster, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "$TTL {TTL}")?;
    let mut add = |address, name: &str| writeln!(out, "{}. PTR {name}.", reverse_name(address));
    for workload in cluster.workloads() {
        for address in workload.cluster_ips() {
            add(address, &service_name(&workload))?;
        }
        for endpoint in workload.endpoints.clone() {
            for &family in workload.families() {
                let name = endpoint_name(&workload, endpoint, family);
                add(workload.pod_ip(endpoint, family), &name)?;
            }
        }
    }
    Ok(())
}

/// Writes what the upstream says to external names.
///
/// # Errors
///
/// If `out` does.
///
/// # Panics
///
/// If an external name is no name.
pub fn write_external(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "$TTL {TTL}")?;
    for name in external_names() {
        let (v4, v6) = external::addresses(&wire_from_text(&name).expect("a name"));
        writeln!(out, "{name}. A {v4}\n{name}. AAAA {v6}")?;
    }
    Ok(())
}

fn records(workload: &Workload) -> Vec<Record> {
    let name = service_name(workload);
    let mut records = Vec::new();
    let mut add = |name: String, data: String| records.push(Record { name, data });
    // Whom SRV records lead to, and by how many addresses.
    let (mut targets, mut addresses) = (Vec::new(), 0);
    if workload.headless {
        for endpoint in workload.endpoints.clone() {
            for &family in workload.families() {
                let data = address_data(workload.pod_ip(endpoint, family));
                let target = endpoint_name(workload, endpoint, family);
                add(name.clone(), data.clone());
                add(target.clone(), data);
                addresses += 1;
                // A hostname is the same in both families.
                if targets.last() != Some(&target) {
                    targets.push(target);
                }
            }
        }
    } else {
        for address in workload.cluster_ips() {
            add(name.clone(), address_data(address));
            addresses += 1;
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
        for target in &targets {
            let mut add = |name, addresses: usize| {
                let weight = (100 / addresses).max(1);
                add(name, format!("SRV 0 {weight} {number} {target}."));
            };
            if !port.name.is_empty() {
                add(format!("_{}._{protocol}.{name}", port.name), addresses);
            }
            // The bare name stands for all ports.
            add(name.clone(), addresses * workload.ports.len());
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
