//! Values that several directives share: durations, listen addresses.

use std::fmt;
use std::time::Duration;

/// Where an HTTP endpoint listens.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ListenAddress {
    /// A host name, an IP address without brackets, or nothing for all addresses.
    pub host: Box<str>,
    /// The TCP port.
    pub port: u16,
}

impl ListenAddress {
    /// An address from its parts.
    pub fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }

    /// Reads `HOST:PORT`, `[V6]:PORT` or `:PORT`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = split_host_port(text)?;
        Some(Self::new(host, port))
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Splits `HOST:PORT` or `[HOST]:PORT`; a host with colons needs the brackets.
pub(super) fn split_host_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host = bracketed.unwrap_or(host);
    if bracketed.is_none() && host.contains([':', '[', ']']) {
        return None;
    }
    Some((host, port.parse().ok()?))
}

/// Reads a duration as Go writes them: `30s`, `1h30m`, `1.5s`, `300ms`; `0` needs no unit. Negative
/// ones are refused, since no directive has a use for them.
pub(super) fn duration(text: &str) -> Option<Duration> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let nanos = nanoseconds(number, unit)?;
        total = total.checked_add(Duration::from_nanos(nanos))?;
        rest = tail;
    }
    // Go's durations end here, and nothing longer is meant in earnest.
    (!text.is_empty() && total.as_nanos() <= i64::MAX as u128).then_some(total)
}

/// Writes a duration as Go does: `30s`, `1h30m0s`, `1.5s`, `300ms`.
pub(crate) fn go_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let in_units = |unit: u128, name: &str| {
        let digits = unit.ilog10() as usize;
        let fraction = format!("{:0digits$}", nanos % unit);
        let number = format!("{}.{fraction}", nanos / unit);
        format!(
            "{}{name}",
            number.trim_end_matches('0').trim_end_matches('.')
        )
    };
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..1_000_000 => in_units(1_000, "µs"),
        1_000_000..1_000_000_000 => in_units(1_000_000, "ms"),
        _ => {
            let seconds = duration.as_secs();
            let whole = Duration::from_secs(seconds / 60 * 60);
            let rest = (duration - whole).as_secs_f64();
            match (seconds / 3_600, seconds / 60 % 60) {
                (0, 0) => format!("{rest}s"),
                (0, minutes) => format!("{minutes}m{rest}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{rest}s"),
            }
        }
    }
}

/// `number` units, cut to whole nanoseconds.
fn nanoseconds(number: &str, unit: &str) -> Option<u64> {
    let unit: u64 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() {
        0
    } else {
        whole.parse::<u64>().ok()?
    };
    let mut nanos = whole.checked_mul(unit)?;
    let mut weight = unit;
    for digit in fraction.bytes() {
        weight /= 10;
        nanos = nanos.checked_add(u64::from(digit - b'0') * weight)?;
    }
    Some(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_durations() {
        for text in [
            "0s", "7ns", "1.5µs", "300ms", "1s", "1.5s", "30s", "5m0s", "1m0.25s", "1h0m0s",
            "1h30m1s",
        ] {
            let read = duration(text.trim_start_matches("0s")).unwrap_or_default();
            assert_eq!(go_duration(read), text);
        }
    }

    #[test]
    fn reads_durations() {
        for (text, expected) in [
            ("0", Some(Duration::ZERO)),
            ("+5s", Some(Duration::from_secs(5))),
            ("30s", Some(Duration::from_secs(30))),
            ("1h30m", Some(Duration::from_secs(5400))),
            ("1.5s", Some(Duration::from_millis(1500))),
            (".5s", Some(Duration::from_millis(500))),
            ("1.h", Some(Duration::from_secs(3600))),
            ("5001ms", Some(Duration::from_millis(5001))),
            ("2us3µs4μs", Some(Duration::from_micros(9))),
            ("7ns", Some(Duration::from_nanos(7))),
            ("0s", Some(Duration::ZERO)),
            ("", None),
            ("+", None),
            ("30", None),
            ("s", None),
            (".s", None),
            ("1.2.3s", None),
            ("-5s", None),
            ("5 s", None),
            ("5x", None),
            ("5S", None),
            ("9999999999h", None),
            ("99999999999999999999s", None),
            ("2562048h", None),
        ] {
            assert_eq!(duration(text), expected, "{text:?}");
        }
    }

    #[test]
    fn reads_listen_addresses() {
        for (text, expected) in [
            (":8080", Some(":8080")),
            ("localhost:9153", Some("localhost:9153")),
            ("127.0.0.1:80", Some("127.0.0.1:80")),
            ("[::1]:80", Some("[::1]:80")),
            ("[localhost]:80", Some("localhost:80")),
            ("8080", None),
            ("localhost", None),
            ("::1:80", None),
            ("[::1]", None),
            (":", None),
            (":x", None),
            (":65536", None),
        ] {
            let address = ListenAddress::parse(text).map(|address| address.to_string());
            assert_eq!(address.as_deref(), expected, "{text:?}");
        }
    }
}
