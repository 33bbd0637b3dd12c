//! `prometheus [ADDRESS] { runtime_metrics; tls FILE }`: the metrics endpoint.

use std::path::PathBuf;

use super::super::args::Args;
use super::super::error::{Position, Problem, Reason};
use super::super::value::ListenAddress;
use super::Directive;

/// `prometheus`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Prometheus {
    /// Where the directive stands.
    pub position: Position,
    /// Where `/metrics` is served; `localhost:9153` if none is given.
    pub address: ListenAddress,
    /// `runtime_metrics`: CoreDNS then adds all figures of the Go runtime; martlet has none.
    pub runtime_metrics: bool,
    /// `tls FILE`: the exporter toolkit's web configuration.
    pub tls: Option<PathBuf>,
}

impl Directive for Prometheus {
    const NAME: &'static str = "prometheus";

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let address = ListenAddress::new("localhost", METRICS_PORT);
        let mut prometheus = Self {
            position: args.position(),
            address,
            runtime_metrics: false,
            tls: None,
        };
        if let Some(address) = args.next() {
            prometheus.address = address.listen_address()?;
        }
        args.options(|option| match option.name() {
            "runtime_metrics" => {
                prometheus.runtime_metrics = true;
                Ok(())
            }
            "tls" if prometheus.tls.is_some() => {
                let (one, other) = ("tls", "another tls");
                Err(option.problem(Reason::Conflict { one, other }))
            }
            "tls" => {
                prometheus.tls = Some(option.required("a file")?.text().into());
                Ok(())
            }
            _ => Err(option.unknown(Self::NAME, &["runtime_metrics", "tls"])),
        });
        Ok(prometheus)
    }
}

/// The port that Prometheus' list of exporters gives CoreDNS.
const METRICS_PORT: u16 = 9153;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::testing::{bad, good};

    #[test]
    fn reads_address_and_options() {
        let plain = good("prometheus").prometheus.unwrap();
        assert_eq!(plain.address.to_string(), "localhost:9153");
        let full = good("prometheus :9153 {\n runtime_metrics\n tls web.yml\n}")
            .prometheus
            .unwrap();
        assert_eq!(full.address.to_string(), ":9153");
        assert!(full.runtime_metrics);
        assert_eq!(full.tls.as_deref(), Some(Path::new("web.yml")));
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "prometheus 9153",
            "prometheus :1 :2",
            "prometheus\nprometheus",
            "prometheus {\n runtime_metrics yes\n}",
            "prometheus {\n tls\n}",
            "prometheus {\n tls a b\n}",
            "prometheus {\n tls a\n tls b\n}",
            "prometheus {\n runtime\n}",
        ] {
            assert_eq!(bad(text).len(), 1, "{text}");
        }
    }
}
