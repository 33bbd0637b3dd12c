//! What an operator can do about a list or watch that fails.

use std::error::Error;
use std::io;

use kube::runtime::watcher;

/// What is asked of the API server, and where it is.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    /// The server's URL.
    pub(super) url: String,
    /// The API group; empty for the core group.
    pub(super) group: &'static str,
    /// The resource's name in URLs and roles.
    pub(super) plural: &'static str,
}

impl Asked {
    /// The remedy, where there is one besides waiting.
    pub(super) fn remedy(&self, error: &watcher::Error) -> Option<String> {
        let url = &self.url;
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(code) = status(error) {
                return self.of_status(code);
            }
            if let Some(error) = error.downcast_ref::<io::Error>() {
                if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
                    return Some(self.of_tls(tls));
                }
                return match error.kind() {
                    io::ErrorKind::ConnectionRefused => Some(format!(
                        "nothing listens at {url}: check the address, and that the API server is up"
                    )),
                    io::ErrorKind::TimedOut
                    | io::ErrorKind::HostUnreachable
                    | io::ErrorKind::NetworkUnreachable => Some(format!(
                        "{url} cannot be reached: check the address, routes, firewalls and network \
                         policies"
                    )),
                    _ => None,
                };
            }
            cause = error.source();
        }
        None
    }

    fn of_status(&self, code: u16) -> Option<String> {
        let Self { url, group, plural } = self;
        match code {
            401 => Some(format!(
                "{url} does not know who we are: check the pod's service account token, or the \
                 credentials in `kubeconfig` or `tls`"
            )),
            403 => Some(format!(
                "bind a ClusterRole to our user with the rule {{apiGroups: ['{group}'], \
                 resources: [{plural}], verbs: [list, watch]}}"
            )),
            404 => Some(format!(
                "{url} has no {plural} in v1: check that it is an API server, of Kubernetes 1.21 \
                 or later"
            )),
            _ => None,
        }
    }

    fn of_tls(&self, error: &rustls::Error) -> String {
        let url = &self.url;
        match error {
            rustls::Error::InvalidCertificate(_) => format!(
                "the certificate of {url} is not trusted: check the CA in `tls`, in the kubeconfig \
                 or of the service account, and the name in the URL"
            ),
            rustls::Error::AlertReceived(_) => {
                format!("{url} refuses our certificate: check those in `tls` or in the kubeconfig")
            }
            _ => format!("there is no TLS with {url}: check that the URL is right, and its scheme"),
        }
    }
}

/// The status code in an error, if it is the API server that complains.
fn status(error: &(dyn Error + 'static)) -> Option<u16> {
    let of_watch = match error.downcast_ref::<watcher::Error>() {
        Some(watcher::Error::WatchError(status)) => Some(status.code),
        _ => None,
    };
    let of_request = match error.downcast_ref::<kube::Error>() {
        Some(kube::Error::Api(status)) => Some(status.code),
        _ => None,
    };
    of_watch.or(of_request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remedy(error: kube::Error) -> Option<String> {
        let asked = Asked {
            url: "https://10.96.0.1/".to_owned(),
            group: "discovery.k8s.io",
            plural: "endpointslices",
        };
        asked.remedy(&watcher::Error::InitialListFailed(error))
    }

    #[test]
    fn faults_have_a_remedy() {
        let api = |code| {
            let status = kube::core::Status::failure("no", "No").with_code(code);
            kube::Error::Api(status.boxed())
        };
        let io = |error| kube::Error::Service(Box::new(error));
        let tls = |error| io(io::Error::other(error));
        let untrusted = rustls::CertificateError::UnknownIssuer;
        let cases: Vec<(kube::Error, Option<&str>)> = vec![
            (api(401), Some("service account token")),
            (
                api(403),
                Some(
                    "the rule {apiGroups: ['discovery.k8s.io'], resources: [endpointslices], \
                     verbs: [list, watch]}",
                ),
            ),
            (api(404), Some("no endpointslices in v1")),
            (api(500), None),
            (
                io(io::ErrorKind::ConnectionRefused.into()),
                Some("nothing listens at https://10.96.0.1/"),
            ),
            (io(io::ErrorKind::TimedOut.into()), Some("network policies")),
            (io(io::ErrorKind::ConnectionReset.into()), None),
            (tls(untrusted.into()), Some("check the CA")),
            (
                tls(rustls::Error::AlertReceived(
                    rustls::AlertDescription::BadCertificate,
                )),
                Some("refuses our certificate"),
            ),
            (
                tls(rustls::Error::InvalidMessage(
                    rustls::InvalidMessage::InvalidContentType,
                )),
                Some("its scheme"),
            ),
        ];
        for (error, part) in cases {
            let text = error.to_string();
            let found = remedy(error);
            match part {
                None => assert_eq!(found, None, "{text}"),
                Some(part) => assert!(found.as_ref().unwrap().contains(part), "{text}: {found:?}"),
            }
        }
    }
}
