//! The client: identity, trust, limits.

use std::path::Path;
use std::time::Duration;

use http::header::{HeaderValue, USER_AGENT};
use kube::Client;
use kube::client::ClientBuilder;
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use tower::limit::{ConcurrencyLimitLayer, RateLimitLayer};
use tower::util::option_layer;

use super::measured::{Measure, Queue};
use super::silence::{SILENCE_MAX, Silence};
use super::{Access, ApiLimits, ClientTls, SourceError};

/// Sets the client up and tells the server's URL. No connection is made yet.
pub(super) async fn connect(
    access: Access,
    limits: ApiLimits,
) -> Result<(Client, String), SourceError> {
    let mut config = configure(access).await?;
    let agent = HeaderValue::from_static(concat!("martlet/", env!("CARGO_PKG_VERSION")));
    config.headers.push((USER_AGENT, agent));
    let url = config.cluster_url.to_string();
    let authority = config.cluster_url.authority();
    let host = authority.map_or("", |authority| authority.as_str());
    let (measure, queue) = (Measure::new(host), Queue::new(host));
    let builder = ClientBuilder::try_from(config).map_err(|source| SourceError::Client {
        url: url.clone(),
        source: Box::new(source),
    })?;
    let rate = rate_limit(limits).map(|(requests, per)| RateLimitLayer::new(requests, per));
    let in_flight = limits.max_inflight.filter(|&max| max > 0);
    let in_flight = in_flight.and_then(|max| usize::try_from(max).ok());
    let client = builder
        .with_layer(&measure)
        // Inside of the limits: a request that waits for its turn has asked nobody yet.
        .with_layer(&Silence::new(limits.silence.unwrap_or(SILENCE_MAX)))
        .with_layer(&option_layer(in_flight.map(ConcurrencyLimitLayer::new)))
        .with_layer(&option_layer(rate))
        .with_layer(&queue)
        .build();
    Ok((client, url))
}

async fn configure(access: Access) -> Result<Config, SourceError> {
    match access {
        Access::InCluster => Config::incluster().map_err(SourceError::InCluster),
        Access::Kubeconfig { path, context } => {
            let options = KubeConfigOptions {
                context,
                ..KubeConfigOptions::default()
            };
            let loaded = match Kubeconfig::read_from(&path) {
                Ok(file) => Config::from_custom_kubeconfig(file, &options).await,
                Err(error) => Err(error),
            };
            loaded.map_err(|source| SourceError::Kubeconfig {
                path,
                source: Box::new(source),
            })
        }
        Access::Endpoint { url, tls } => {
            let uri = match url.parse::<http::Uri>() {
                Ok(uri) if matches!(uri.scheme_str(), Some("http" | "https")) => uri,
                _ => return Err(SourceError::Url { url }),
            };
            let mut config = Config::new(uri);
            if let Some(ClientTls { cert, key, ca }) = tls {
                config.auth_info.client_certificate = Some(readable(&cert)?);
                config.auth_info.client_key = Some(readable(&key)?);
                readable(&ca)?;
                config.root_cert_file = Some(ca);
            }
            Ok(config)
        }
    }
}

/// The path as text, once it is known that it can be read: the client's own error does not always
/// name the file.
fn readable(path: &Path) -> Result<String, SourceError> {
    let fault = |source| SourceError::Unreadable {
        path: path.to_owned(),
        source,
    };
    std::fs::File::open(path).map_err(fault)?;
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| fault(std::io::ErrorKind::InvalidFilename.into()))
}

/// So many requests in so much time: a burst, and as long as `qps` takes to allow for another.
fn rate_limit(limits: ApiLimits) -> Option<(u64, Duration)> {
    if limits.qps.is_none() && limits.burst.is_none() {
        return None;
    }
    let qps = limits.qps.filter(|&qps| qps > 0.0).unwrap_or(QPS);
    let burst = limits.burst.filter(|&burst| burst > 0).unwrap_or(BURST);
    let per = Duration::try_from_secs_f64(f64::from(burst) / f64::from(qps)).unwrap_or(PER_MAX);
    Some((u64::from(burst), per.clamp(PER_MIN, PER_MAX)))
}

/// What CoreDNS's client falls back to when only the other limit is set.
const QPS: f32 = 5.0;

/// As [`QPS`].
const BURST: u32 = 10;

/// Keeps a tiny `qps` from stopping the client for good.
const PER_MAX: Duration = Duration::from_secs(3600);

/// The limiter refuses a period of nothing.
const PER_MIN: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_become_a_burst_and_its_period() {
        for (qps, burst, expected) in [
            (None, None, None),
            (Some(2.0), Some(10), Some((10, 5000))),
            (Some(5.0), None, Some((10, 2000))),
            (None, Some(20), Some((20, 4000))),
            (Some(0.0), Some(0), Some((10, 2000))),
            (Some(f32::NAN), Some(5), Some((5, 1000))),
            (Some(f32::INFINITY), Some(5), Some((5, 1))),
            (Some(1e-30), Some(5), Some((5, 3_600_000))),
        ] {
            let limits = ApiLimits {
                qps,
                burst,
                ..ApiLimits::default()
            };
            let expected = expected.map(|(n, ms)| (n, Duration::from_millis(ms)));
            assert_eq!(rate_limit(limits), expected, "{qps:?} {burst:?}");
        }
    }

    #[tokio::test]
    async fn faults_of_configuration_name_their_file() {
        let missing = Path::new("/nonexistent/file");
        let tls = ClientTls {
            cert: missing.into(),
            key: missing.into(),
            ca: missing.into(),
        };
        for (access, part) in [
            (
                Access::Kubeconfig {
                    path: missing.into(),
                    context: None,
                },
                "/nonexistent/file",
            ),
            (
                Access::Endpoint {
                    url: "https://[::1]:6443".to_owned(),
                    tls: Some(tls),
                },
                "/nonexistent/file",
            ),
            (
                Access::Endpoint {
                    url: "no url".to_owned(),
                    tls: None,
                },
                "`no url`",
            ),
            (
                Access::Endpoint {
                    url: "ftp://host".to_owned(),
                    tls: None,
                },
                "`ftp://host`",
            ),
        ] {
            let error = connect(access, ApiLimits::default())
                .await
                .err()
                .expect("must fail");
            assert!(error.to_string().contains(part), "{error}");
        }
    }
}
