//! `reload`: when the Corefile is read again.
//!
//! The files are read and compared, not watched: Kubernetes changes them by turning a symbolic link
//! above them, which no watch on a file sees.

use std::time::Duration;

use tokio::time::sleep;

use crate::corefile::{ConfigHash, Corefile, Problems, Reload};
use crate::metrics::own::OWN;

/// What was read last, whether or not it could be used.
enum Seen {
    Corefile(ConfigHash),
    Broken(String),
}

/// Looks at the Corefile from time to time.
pub struct Watch<L> {
    load: L,
    seen: Seen,
    /// How long to wait between two looks; `None` for ever.
    interval: Option<Duration>,
}

impl<L: Fn() -> Result<Corefile, Problems>> Watch<L> {
    /// Looks with `load` for something else than what is served.
    pub fn new(load: L, served: ConfigHash, reload: Option<Reload>) -> Self {
        let mut watch = Self {
            load,
            seen: Seen::Corefile(served),
            interval: None,
        };
        watch.serves(served, reload);
        watch
    }

    /// Notes what is served from now on, says so, and goes by its `reload`.
    pub fn serves(&mut self, served: ConfigHash, reload: Option<Reload>) {
        self.interval = reload.map(interval);
        OWN.reload_version.reset();
        if reload.is_some() {
            tracing::info!("plugin/reload: Running configuration SHA512 = {served}");
            let labels = ["sha512", &served.to_string()];
            OWN.reload_version.with_label_values(&labels).set(1);
        }
    }

    /// Reads the Corefile, changed or not.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub fn read(&mut self) -> Result<Corefile, Problems> {
        let read = tokio::task::block_in_place(|| (self.load)());
        self.seen = Seen::of(&read);
        read
    }

    /// Returns what the Corefile says once that is not what it said before. What is wrong is told
    /// once, and so is a Corefile that could not be used.
    ///
    /// # Errors
    ///
    /// What is wrong with the Corefile.
    pub async fn changed(&mut self) -> Result<Corefile, Problems> {
        let Some(interval) = self.interval else {
            return std::future::pending().await;
        };
        loop {
            sleep(interval).await;
            let read = tokio::task::block_in_place(|| (self.load)());
            let seen = Seen::of(&read);
            if !seen.is(&self.seen) {
                self.seen = seen;
                return read;
            }
        }
    }
}

impl Seen {
    fn of(read: &Result<Corefile, Problems>) -> Self {
        match read {
            Ok(corefile) => Self::Corefile(corefile.hash),
            Err(problems) => Self::Broken(problems.to_string()),
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Corefile(one), Self::Corefile(other)) => one == other,
            (Self::Broken(one), Self::Broken(other)) => one == other,
            _ => false,
        }
    }
}

/// The interval with half of the jitter more or less, so that servers that were started together do
/// not reload together.
fn interval(reload: Reload) -> Duration {
    let jitter = reload.jitter.mul_f64(rand::random::<f64>());
    (reload.interval + jitter).saturating_sub(reload.jitter / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_differ_by_the_jitter() {
        let seconds = Duration::from_secs;
        let (base, jitter) = (seconds(30), seconds(15));
        let reload = Reload {
            interval: base,
            jitter,
        };
        let found = (0..1_000).map(|_| interval(reload)).collect::<Vec<_>>();
        let (min, max) = (found.iter().min().unwrap(), found.iter().max().unwrap());
        assert!(*min >= base - jitter / 2 && *max <= base + jitter / 2);
        assert!(*max - *min > seconds(10), "{min:?} to {max:?}");
        let steady = Reload {
            jitter: Duration::ZERO,
            ..reload
        };
        assert_eq!(interval(steady), base);
    }
}
