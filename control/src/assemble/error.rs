//! What a Corefile that is sound in itself asks for in vain.

use crate::cluster::selector::SelectorError;
use crate::corefile::Position;
use crate::metrics::web::WebError;
use crate::tls::TlsError;
use crate::upstreams::UpstreamError;
use crate::weights::WeightsError;
use crate::zone_file::ZoneFileError;

/// What a sound Corefile asks for and cannot have.
#[derive(Debug, thiserror::Error)]
pub enum AssembleError {
    /// DNS over gRPC, QUIC or HTTP/3.
    #[error("{position}: `{scheme}://` is not supported; serve `dns://`, `tls://` or `https://`")]
    Scheme {
        /// Where the server block stands.
        position: Position,
        /// The scheme.
        scheme: &'static str,
    },
    /// TLS or HTTPS without a certificate.
    #[error("{position}: `{scheme}://` needs a certificate; add `tls CERTIFICATE KEY`")]
    Certificate {
        /// Where the server block stands.
        position: Position,
        /// The scheme.
        scheme: &'static str,
    },
    /// The TLS of metrics.
    #[error("{position}: prometheus: {source}")]
    Web {
        /// Where the directive stands.
        position: Position,
        /// What is wrong with it.
        source: Box<WebError>,
    },
    /// A certificate or key that cannot be used.
    #[error("{position}: tls: {source}")]
    Tls {
        /// Where the directive stands.
        position: Position,
        /// What is wrong with it.
        source: Box<TlsError>,
    },
    /// Two schemes on one port.
    #[error("{position}: port {port} is served as `{other}://` by another server block")]
    Port {
        /// Where the server block stands.
        position: Position,
        /// The port.
        port: u16,
        /// Its other use.
        other: &'static str,
    },
    /// A label selector that is none.
    #[error("{position}: kubernetes: `{option} {text}`: {source}")]
    Selector {
        /// Where the server block stands.
        position: Position,
        /// The option.
        option: &'static str,
        /// The selector.
        text: String,
        /// What is wrong with it.
        source: Box<SelectorError>,
    },
    /// `bind` names an interface that is not there.
    #[error("{position}: bind: this machine has no interface `{name}` with an IP address")]
    Interface {
        /// Where the server block stands.
        position: Position,
        /// The name.
        name: Box<str>,
    },
    /// The upstreams of a `forward`.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
    /// The weight file of a `loadbalance`.
    #[error("{position}: loadbalance: {source}")]
    Weights {
        /// Where the server block stands.
        position: Position,
        /// What is wrong with it.
        source: Box<WeightsError>,
    },
    /// The zone file of a `file`.
    #[error("{position}: file: {source}")]
    ZoneFile {
        /// Where the server block stands.
        position: Position,
        /// What is wrong with it.
        source: Box<ZoneFileError>,
    },
    /// The file with the search list of `autopath` cannot be read.
    #[error("{position}: autopath: cannot read the search list: {source}")]
    SearchList {
        /// Where the server block stands.
        position: Position,
        /// What the system says.
        source: std::io::Error,
    },
    /// The interfaces cannot be listed.
    #[error("cannot list the network interfaces: {0}")]
    Interfaces(std::io::Error),
}

impl AssembleError {
    /// Whether this is about something that another machine may have: a file that is not here, a
    /// host that cannot be looked up, an interface.
    pub fn is_of_this_machine(&self) -> bool {
        match self {
            Self::Tls { source, .. } => source.is_absent(),
            Self::Web { source, .. } => source.is_absent(),
            Self::Upstream(error) => error.is_absent(),
            Self::Weights { source, .. } => source.is_absent(),
            Self::ZoneFile { source, .. } => source.is_absent(),
            Self::Interface { .. } | Self::Interfaces(_) | Self::SearchList { .. } => true,
            Self::Scheme { .. }
            | Self::Certificate { .. }
            | Self::Port { .. }
            | Self::Selector { .. } => false,
        }
    }
}
