//! The asking half of `loop`: one query to ourselves, for a name that nobody else knows.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use martlet_engine::plugins::loop_::Loop;
use martlet_engine::wire::name::write_presentation;
use martlet_engine::wire::{Flags, RType};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep, timeout};

use crate::telemetry;

/// How long the start of the server is watched, as in CoreDNS.
const WATCHED: Duration = Duration::from_secs(30);
/// How long one probe waits for its reply.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// The pause after a probe that did not get through.
const PAUSE: Duration = Duration::from_secs(1);
/// How long echoes may take to come back.
const ECHO: Duration = Duration::from_secs(2);

/// A detector and where to ask for it.
pub struct Probe {
    /// The detector.
    pub detector: Arc<Loop>,
    /// The server's own address.
    pub address: SocketAddr,
}

/// A detector for a zone (lower-case wire name) that ends the process when a query comes back.
pub fn detector(zone: &[u8], address: SocketAddr) -> Arc<Loop> {
    let mut name = Vec::new();
    for _ in 0..2 {
        let label = (rand::random::<u64>() >> 2).to_string();
        name.push(label.len() as u8);
        name.extend(label.bytes());
    }
    name.extend(zone);
    let (mut zone_text, mut query) = (String::new(), String::new());
    // Writing to a string cannot fail.
    let _ = write_presentation(zone, &mut zone_text);
    let _ = write_presentation(&name, &mut query);
    Arc::new(Loop::new(name.into(), move |remote| {
        telemetry::fatal(&format!(
            "plugin/loop: Loop ({remote} -> {address}) detected for zone \"{zone_text}\": \
             the upstreams of `forward` lead back to this server. Do not forward to a resolver on \
             this host's own loopback address, such as 127.0.0.53 in /etc/resolv.conf. \
             Query: \"HINFO {query}\""
        ));
        std::process::exit(1);
    }))
}

/// Asks until a probe got through, then listens for its echo, then turns the detector off.
pub async fn watch(probe: Probe) {
    let deadline = Instant::now() + WATCHED;
    while Instant::now() < deadline {
        if matches!(timeout(PROBE_TIMEOUT, ask(&probe)).await, Ok(Ok(()))) {
            sleep(ECHO).await;
            break;
        }
        probe.detector.reset();
        sleep(PAUSE).await;
    }
    probe.detector.turn_off();
}

async fn ask(probe: &Probe) -> std::io::Result<()> {
    let any: SocketAddr = match probe.address {
        SocketAddr::V4(_) => ([0; 4], 0).into(),
        SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(probe.address).await?;
    let mut query = rand::random::<u16>().to_be_bytes().to_vec();
    query.extend(Flags::RD.to_be_bytes());
    query.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    query.extend(probe.detector.name());
    query.extend(RType::HINFO.0.to_be_bytes());
    query.extend([0, 1]);
    socket.send(&query).await?;
    let mut reply = [0; 512];
    while socket.recv(&mut reply).await? < 2 || reply[..2] != query[..2] {}
    Ok(())
}
