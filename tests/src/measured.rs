//! What the programs share that measure a server under load.

use std::path::Path;
use std::time::Duration;

use crate::flood::Flood;
use crate::martlet::Martlet;
use crate::process::cpu_time;

/// What kubeadm writes, with the cluster of a kubeconfig. `/metrics` is at `{PORT2}`. There is no upstream
/// that answers, and no `lameduck`, for which the end would wait.
pub fn corefile(kubeconfig: &Path) -> String {
    format!(
        ".:{{PORT}} {{
    bind 127.0.0.1
    errors
    health 127.0.0.1:{{PORT3}}
    ready 127.0.0.1:{{PORT4}}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }}
    prometheus 127.0.0.1:{{PORT2}}
    forward . 127.0.0.1:9 {{
        max_concurrent 1000
    }}
    cache 30
    loop
    reload
    loadbalance
}}
",
        kubeconfig.display()
    )
}

/// What clients that ask as fast as they are answered saw of a server.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Answers a second.
    pub rate: f64,
    /// The server's CPU time for each, in microseconds, with all else that it did meanwhile.
    pub cpu_us: f64,
}

/// Has clients ask for the addresses of `name` while `meanwhile` runs.
///
/// # Panics
///
/// If one of their questions is not answered.
pub fn under_load<T>(martlet: &Martlet, name: &str, meanwhile: impl FnOnce() -> T) -> (Load, T) {
    let cpu = || -> Duration { cpu_time(martlet.process.id()).expect("the process runs") };
    let before = cpu();
    let flood = Flood::start(martlet.client().server, name);
    let result = meanwhile();
    let tally = flood.stop();
    let spent = cpu().saturating_sub(before);
    assert!(
        tally.sent > 0 && tally.sent == tally.answered,
        "not all of {name} was answered: {tally:?}"
    );
    let load = Load {
        rate: tally.rate as f64,
        cpu_us: spent.as_secs_f64() * 1e6 / tally.sent as f64,
    };
    (load, result)
}

/// The middle value; of an even number, the greater of the two in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
