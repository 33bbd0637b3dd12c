//! Metrics as a server tells them: fetched over HTTP, read from Prometheus's text format.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

/// How long connecting, and each piece of the reply, may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// Octets of a reply; more is no page of metrics.
const REPLY_MAX: u64 = 64 << 20;
/// Where metrics are, unless the URL says otherwise.
const PATH: &str = "/metrics";

/// Reads the page at `url` (`http://HOST:PORT/PATH`, or `HOST:PORT`).
///
/// # Errors
///
/// Why there is none, in words.
pub(super) fn fetch(url: &str) -> Result<String, String> {
    let full = if url.contains("://") {
        url.to_owned()
    } else {
        format!("http://{url}")
    };
    let uri = full
        .parse::<http::Uri>()
        .map_err(|error| error.to_string())?;
    if uri.scheme_str() != Some("http") {
        return Err("only http:// is spoken here".to_owned());
    }
    let authority = uri.authority().ok_or("there is no host in it")?;
    let host = authority.host().trim_matches(['[', ']']);
    let port = authority.port_u16().unwrap_or(80);
    let path = uri.path_and_query().map_or(PATH, |path| path.as_str());
    let path = if path == "/" { PATH } else { path };
    let reply =
        exchange((host, port), authority.as_str(), path).map_err(|error| error.to_string())?;
    let reply = String::from_utf8_lossy(&reply);
    let (head, body) = reply
        .split_once("\r\n\r\n")
        .ok_or("the reply is not HTTP")?;
    let status = head.lines().next().unwrap_or_default();
    if status.split_whitespace().nth(1) != Some("200") {
        return Err(format!("the server says `{status}`"));
    }
    Ok(body.to_owned())
}

/// HTTP/1.0: the reply ends with the connection and comes in one piece (RFC 1945).
fn exchange(to: (&str, u16), host: &str, path: &str) -> std::io::Result<Vec<u8>> {
    let mut last = std::io::Error::other("the host has no address");
    for address in to.to_socket_addrs()? {
        let mut stream = match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => stream,
            Err(error) => {
                last = error;
                continue;
            }
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "GET {path} HTTP/1.0\r\nHost: {host}\r\nAccept: text/plain\r\n\r\n"
        )?;
        let mut reply = Vec::new();
        stream.take(REPLY_MAX).read_to_end(&mut reply)?;
        return Ok(reply);
    }
    Err(last)
}

/// One line of metrics.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

/// All metrics of one moment.
#[derive(Debug)]
pub(super) struct Scrape(Vec<Sample>);

impl Scrape {
    /// Reads a page; lines of other programs and broken ones are passed over.
    pub(super) fn parse(text: &str) -> Self {
        let ours = |line: &&str| {
            let mut prefixes = ["coredns_", "martlet_", "process_"].into_iter();
            prefixes.any(|prefix| line.starts_with(prefix))
        };
        Self(text.lines().filter(ours).filter_map(sample).collect())
    }

    /// Whether nothing in it is of a DNS server.
    pub(super) fn is_empty(&self) -> bool {
        self.0
            .iter()
            .all(|sample| sample.name.starts_with("process_"))
    }

    /// The sum over all rows of a metric.
    pub(super) fn sum(&self, name: &str) -> f64 {
        self.rows(name).map(|sample| sample.value).sum()
    }

    /// A metric's rows: labels and value.
    pub(super) fn each(
        &self,
        name: &str,
    ) -> impl Iterator<Item = (&BTreeMap<String, String>, f64)> {
        self.rows(name).map(|sample| (&sample.labels, sample.value))
    }

    /// A metric's sums by the values of a label.
    pub(super) fn by(&self, name: &str, label: &str) -> BTreeMap<&str, f64> {
        self.add_up(self.rows(name), label)
    }

    /// The same of those rows alone whose label `kind.0` is `kind.1`.
    pub(super) fn by_where(
        &self,
        name: &str,
        label: &str,
        kind: (&str, &str),
    ) -> BTreeMap<&str, f64> {
        let is_of_kind = |sample: &&Sample| {
            sample
                .labels
                .get(kind.0)
                .is_some_and(|value| value == kind.1)
        };
        self.add_up(self.rows(name).filter(is_of_kind), label)
    }

    fn add_up<'a>(
        &'a self,
        rows: impl Iterator<Item = &'a Sample>,
        label: &str,
    ) -> BTreeMap<&'a str, f64> {
        let mut sums = BTreeMap::new();
        for sample in rows {
            let value = sample.labels.get(label).map_or("", |value| &**value);
            *sums.entry(value).or_default() += sample.value;
        }
        sums
    }

    fn rows(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.0.iter().filter(move |sample| sample.name == name)
    }
}

/// Reads `name{label="value",…} number`.
fn sample(line: &str) -> Option<Sample> {
    let name_len = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(name_len);
    let mut labels = BTreeMap::new();
    let mut rest = rest.trim_start();
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        while !rest.starts_with('}') {
            let (label, tail) = rest.split_once("=\"")?;
            let (value, tail) = quoted(tail)?;
            labels.insert(label.trim().to_owned(), value);
            rest = tail.strip_prefix(',').unwrap_or(tail);
        }
        rest = &rest[1..];
    }
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// A label's value up to its closing quote, and what comes behind that.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, char)) = chars.next() {
        match char {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            char => value.push(char),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_added_up() {
        let scrape = Scrape::parse(
            "# HELP coredns_x y\ncoredns_x{a=\"1\",b=\"p\\\"q,}\"} 2\ncoredns_x{a=\"2\",b=\"\"} 3.5\n\
             coredns_x{a=\"1\"} 1e1 1700000000\ncoredns_bare 7\ncoredns_broken{a=\"1\n\
             other_x{a=\"1\"} 100\n",
        );
        assert_eq!(scrape.sum("coredns_x"), 15.5);
        assert_eq!(
            scrape.by("coredns_x", "a"),
            [("1", 12.0), ("2", 3.5)].into()
        );
        let by_b = [("", 13.5), ("p\"q,}", 2.0)];
        assert_eq!(scrape.by("coredns_x", "b"), by_b.into());
        assert_eq!(scrape.sum("coredns_bare"), 7.0);
        assert_eq!(scrape.sum("coredns_broken"), 0.0);
        assert!(!scrape.is_empty());
        assert!(Scrape::parse("process_cpu_seconds_total 1\ngo_info 1\n").is_empty());
    }
}
