//! What the pods of an invented cluster ask.
//!
//! Each [`List`] is an endless, seeded stream of questions about one [`Cluster`]. Written out, a
//! list has one `NAME TYPE` a line: the form that dnsperf and `martlet-load` read.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};
use rand_pcg::Pcg64Mcg;

use super::{CLUSTER_DOMAIN, Cluster, Family, PortSpec, Workload};

/// A kind of traffic.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum List {
    /// Existing names of the cluster, uniformly: mostly A of Services, some AAAA (NODATA where the
    /// Service has one family), headless Services, endpoints, SRV.
    InCluster,
    /// What a pod with `ndots:5` sends for an external name: three search domains, then the bare
    /// name, each for A and AAAA.
    SearchMix,
    /// Bare external names, their popularity following Zipf's law.
    ExternalZipf,
    /// Names under the cluster domain that do not exist, hardly ever the same twice.
    NxDomain,
    /// Reverse names of cluster IPs and of endpoints.
    Ptr,
    /// SRV of named ports.
    Srv,
}

impl List {
    /// All lists.
    pub const ALL: [Self; 6] = [
        Self::InCluster,
        Self::SearchMix,
        Self::ExternalZipf,
        Self::NxDomain,
        Self::Ptr,
        Self::Srv,
    ];

    /// The name of its file.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::InCluster => "in-cluster.txt",
            Self::SearchMix => "search-mix.txt",
            Self::ExternalZipf => "external-zipf.txt",
            Self::NxDomain => "nxdomain.txt",
            Self::Ptr => "ptr.txt",
            Self::Srv => "srv.txt",
        }
    }
}

/// One question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Question {
    /// The QNAME, without the final dot.
    pub name: String,
    /// The QTYPE's mnemonic.
    pub qtype: &'static str,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.qtype)
    }
}

/// The stream of one list: endless, but for a cluster without a single name.
#[derive(Debug)]
pub struct Questions<'c> {
    cluster: &'c Cluster,
    list: List,
    rng: Pcg64Mcg,
    /// Indexes of the Services that have an answer: headless ones do not without endpoints.
    answering: Vec<u32>,
    /// Those of them that are headless.
    headless: Vec<u32>,
    popularity: Zipf<f64>,
    /// The rest of a search list, already decided.
    pending: VecDeque<Question>,
}

impl<'c> Questions<'c> {
    /// The questions of `list` about `cluster`.
    pub fn new(cluster: &'c Cluster, list: List) -> Self {
        let (mut answering, mut headless) = (Vec::new(), Vec::new());
        for workload in cluster.workloads() {
            if !workload.headless || !workload.endpoints.is_empty() {
                answering.push(workload.index);
                headless.extend(workload.headless.then_some(workload.index));
            }
        }
        Self {
            cluster,
            list,
            // Not the seed itself, which lays out the cluster, and another one for each list.
            rng: Pcg64Mcg::seed_from_u64(!cluster.shape().seed ^ (list as u64) << 56),
            answering,
            headless,
            popularity: Zipf::new(f64::from(EXTERNAL_NAMES), ZIPF_EXPONENT)
                .expect("constants in range"),
            pending: VecDeque::new(),
        }
    }

    fn in_cluster(&mut self) -> Question {
        match self.rng.random_range(0..100) {
            0..60 => Question {
                name: service_name(&self.any_service()),
                qtype: "A",
            },
            60..72 => Question {
                name: service_name(&self.any_service()),
                qtype: "AAAA",
            },
            72..84 => Question {
                name: service_name(&self.headless_or_any()),
                qtype: "A",
            },
            84..92 => self.endpoint(),
            _ => self.srv(),
        }
    }

    /// A Service that has an answer.
    fn any_service(&mut self) -> Workload {
        let index = self
            .answering
            .choose(&mut self.rng)
            .expect("`next` saw one");
        self.cluster.workload(*index)
    }

    fn headless_or_any(&mut self) -> Workload {
        match self.headless.choose(&mut self.rng) {
            Some(&index) => self.cluster.workload(index),
            None => self.any_service(),
        }
    }

    /// An endpoint of a headless Service, or, in a cluster without, of any.
    fn endpoint(&mut self) -> Question {
        let workload = self.headless_or_any();
        if workload.endpoints.is_empty() {
            return Question {
                name: service_name(&workload),
                qtype: "A",
            };
        }
        let endpoint = self.rng.random_range(workload.endpoints.clone());
        Question {
            name: endpoint_name(&workload, endpoint, Family::V4),
            qtype: "A",
        }
    }

    fn srv(&mut self) -> Question {
        let workload = self.any_service();
        let named: Vec<&PortSpec> = workload
            .ports
            .iter()
            .filter(|port| !port.name.is_empty())
            .collect();
        let name = service_name(&workload);
        match named.choose(&mut self.rng) {
            Some(port) => {
                let protocol = port.protocol.to_ascii_lowercase();
                Question {
                    name: format!("_{}._{protocol}.{name}", port.name),
                    qtype: "SRV",
                }
            }
            // All ports at the Service's own name: beyond the specification, but CoreDNS answers.
            None => Question { name, qtype: "SRV" },
        }
    }

    fn external_name(&mut self) -> String {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number from 1 to EXTERNAL_NAMES"
        )]
        let rank = self.popularity.sample(&mut self.rng) as u32;
        external_name(rank)
    }

    fn search(&mut self) -> Question {
        if self.pending.is_empty() {
            let external = self.external_name();
            let namespace = self.any_namespace();
            for domain in [
                format!(".{namespace}.svc.{CLUSTER_DOMAIN}"),
                format!(".svc.{CLUSTER_DOMAIN}"),
                format!(".{CLUSTER_DOMAIN}"),
                String::new(),
            ] {
                for qtype in ["A", "AAAA"] {
                    self.pending.push_back(Question {
                        name: format!("{external}{domain}"),
                        qtype,
                    });
                }
            }
        }
        self.pending.pop_front().expect("just filled")
    }

    fn missing(&mut self) -> Question {
        // No generated name starts like this, so none of these can exist by chance.
        let label = format!("missing-{:08x}", self.rng.random::<u32>());
        let name = match self.rng.random_range(0..10) {
            0..6 => format!("{label}.{}.svc.{CLUSTER_DOMAIN}", self.any_namespace()),
            6 => format!("{label}.{}", service_name(&self.any_service())),
            7 => format!("web.{label}.svc.{CLUSTER_DOMAIN}"),
            _ => format!("{label}.{CLUSTER_DOMAIN}"),
        };
        Question {
            name,
            qtype: if self.rng.random() { "A" } else { "AAAA" },
        }
    }

    fn ptr(&mut self) -> Question {
        let workload = self.any_service();
        let families = workload.families();
        let family = *families.choose(&mut self.rng).expect("at least one family");
        let cluster_ip = workload
            .cluster_ips()
            .nth(usize::from(family == Family::V6));
        let address = match cluster_ip {
            Some(ip) if workload.endpoints.is_empty() || self.rng.random() => ip,
            _ => workload.pod_ip(self.rng.random_range(workload.endpoints.clone()), family),
        };
        Question {
            name: reverse_name(address),
            qtype: "PTR",
        }
    }

    fn any_namespace(&mut self) -> String {
        let index = self.rng.random_range(0..self.cluster.shape().namespaces);
        self.cluster.namespace(index)
    }
}

impl Iterator for Questions<'_> {
    type Item = Question;

    fn next(&mut self) -> Option<Question> {
        // Only headless Services and no endpoints: nothing to ask for.
        if self.answering.is_empty() {
            return None;
        }
        Some(match self.list {
            List::InCluster => self.in_cluster(),
            List::SearchMix => self.search(),
            List::ExternalZipf => {
                let name = self.external_name();
                Question {
                    name,
                    qtype: if self.rng.random_ratio(7, 10) {
                        "A"
                    } else {
                        "AAAA"
                    },
                }
            }
            List::NxDomain => self.missing(),
            List::Ptr => self.ptr(),
            List::Srv => self.srv(),
        })
    }
}

/// The name of an endpoint: that of its hostname, or of its address in a family.
pub fn endpoint_name(workload: &Workload, endpoint: u32, family: Family) -> String {
    let label = workload.hostname(endpoint).unwrap_or_else(|| {
        let address = workload.pod_ip(endpoint, family).to_string();
        address.replace(['.', ':'], "-")
    });
    format!("{label}.{}", service_name(workload))
}

/// The Service's name in the cluster domain.
pub fn service_name(workload: &Workload) -> String {
    format!(
        "{}.{}.svc.{CLUSTER_DOMAIN}",
        workload.name, workload.namespace
    )
}

/// All external names that are ever asked for.
pub fn external_names() -> impl Iterator<Item = String> {
    (1..=EXTERNAL_NAMES).map(external_name)
}

/// The external name of a rank in popularity, from 1.
fn external_name(rank: u32) -> String {
    format!("{}.site-{rank}.example", super::pick(&EXTERNAL_HOSTS, rank))
}

/// The name that an address's PTR hangs on.
pub fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles = (0..Ipv6Addr::BITS).step_by(4);
            let labels = nibbles.map(|shift| format!("{:x}.", address.to_bits() >> shift & 0xf));
            labels.collect::<String>() + "ip6.arpa"
        }
    }
}

const EXTERNAL_NAMES: u32 = 10_000;
const ZIPF_EXPONENT: f64 = 1.0;
const EXTERNAL_HOSTS: [&str; 5] = ["www", "api", "cdn", "mail", "img"];
