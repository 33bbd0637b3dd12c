//! `forward FROM TO… { … }`: asks upstreams.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

pub(super) use self::upstream::address;
pub use self::upstream::{Destination, Transport, Upstream, nameservers};
use super::super::args::{Arg, Args};
use super::super::error::{Position, Problem, Reason};
use super::super::value;
use super::super::zone::ZoneName;
use super::Directive;

mod upstream;

/// One `forward`; a server block tries its own in file order.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Forward {
    /// Where it stands.
    pub position: Position,
    /// Queries at or below this name are forwarded…
    pub from: ZoneName,
    /// …unless they are at or below one of these (`except`).
    pub except: Vec<ZoneName>,
    /// Who is asked; from 1 to 15, each destination once.
    pub to: Vec<Upstream>,
    /// In which order.
    pub policy: Policy,
    /// `force_tcp`: over TCP, however the query came.
    pub force_tcp: bool,
    /// `prefer_udp`: over UDP first, however the query came. `force_tcp` wins.
    pub prefer_udp: bool,
    /// `read_timeout`: how long one upstream may take; never zero.
    pub read_timeout: Duration,
    /// `max_fails`: after so many failed probes an upstream is down; 0 for never.
    pub max_fails: u32,
    /// `max_connect_attempts`: over all upstreams for one query. `None` for twice their number,
    /// 0 for no limit.
    pub max_connect_attempts: Option<u32>,
    /// `health_check`: how upstreams are probed.
    pub health_check: HealthCheck,
    /// `failfast_all_unhealthy_upstreams`: SERVFAIL when all are down, instead of trying one.
    pub fail_fast: bool,
    /// `max_concurrent`: queries in flight, above which new ones are REFUSED; `None` for no limit.
    pub max_concurrent: Option<u32>,
    /// `expire`: how long an idle connection is kept.
    pub expire: Duration,
    /// `max_age`: how long any connection is kept; zero for no limit.
    pub max_age: Duration,
    /// `max_idle_conns`: idle connections for each upstream; 0 for no limit.
    pub max_idle_connections: usize,
    /// `failover`: RCODEs with which the next upstream is asked.
    pub failover: Vec<u16>,
    /// `next`: RCODEs with which the next `forward` is asked.
    pub next: Vec<u16>,
    /// `next_on_nodata`: so does an answer without records.
    pub next_on_nodata: bool,
    /// `tls`: how we authenticate, and whom we trust.
    pub tls: ForwardTls,
    /// `tls_servername`: the name in the certificates of all upstreams.
    pub tls_server_name: Option<Box<str>>,
    /// `doh_method`: whether DNS over HTTPS uses GET instead of POST.
    pub doh_get: bool,
    /// `resolver`: who resolves host names in `to`, as IP addresses with an optional port; empty
    /// for the system's resolver.
    pub resolvers: Vec<Box<str>>,
    /// `source_address`: where our queries come from.
    pub source_address: Option<IpAddr>,
    /// `hedge`, martlet's own: an upstream that is slower than its recent 99th percentile gets
    /// company.
    pub hedge: bool,
}

/// In which order upstreams are asked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Policy {
    /// At random.
    #[default]
    Random,
    /// One after the other.
    RoundRobin,
    /// The first that is up.
    Sequential,
    /// The quickest first; martlet's own.
    Latency,
}

/// How upstreams are probed once an exchange failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HealthCheck {
    /// The pause between probes; zero turns them off.
    pub interval: Duration,
    /// Whether probes have RD set (without `no_rec`).
    pub recursion_desired: bool,
    /// The name that is asked for.
    pub domain: ZoneName,
}

/// `tls [CA | CERTIFICATE KEY [CA]]`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ForwardTls {
    /// Our certificate and its key, PEM.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Who signs the upstreams' certificates, PEM; the system's list if `None`.
    pub ca: Option<PathBuf>,
}

impl Directive for Forward {
    const NAME: &'static str = "forward";

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let mut forward = Self::head(args)?;
        args.options(|option| forward.option(option));
        if !forward.max_age.is_zero() && forward.max_age < forward.expire {
            let (option, needs) = ("max_age", "an expire that is not longer");
            return Err(args.problem(Reason::Needs { option, needs }));
        }
        let named = forward
            .to
            .iter()
            .any(|upstream| upstream.server_name.is_some());
        if named && forward.tls_server_name.is_some() {
            let (one, other) = ("tls_servername", "tls://ADDRESS%NAME");
            return Err(args.problem(Reason::Conflict { one, other }));
        }
        Ok(forward)
    }
}

impl Forward {
    /// Reads `FROM TO…`; everything else has its default.
    pub(super) fn head(args: &mut Args<'_>) -> Result<Self, Problem> {
        let argument = args.required("a zone and at least one upstream")?;
        let zones = argument.zones()?;
        if zones.len() > 1 {
            argument.warn(format!(
                "only the first of {} zones is forwarded",
                zones.len()
            ));
        }
        let from = zones
            .into_iter()
            .next()
            .expect("a zone expands to at least one");
        let words = args.some("at least one upstream")?;
        if words.len() > UPSTREAMS_MAX {
            let (limit, found) = (UPSTREAMS_MAX, words.len());
            return Err(args.problem(Reason::TooManyUpstreams { limit, found }));
        }
        let mut to: Vec<Upstream> = Vec::with_capacity(words.len());
        for word in words {
            let upstream = Upstream::parse(word)?;
            if !to
                .iter()
                .any(|known| known.destination == upstream.destination)
            {
                to.push(upstream);
            }
        }
        Ok(Self::new(args.position(), from, to))
    }

    /// What it is without options.
    fn new(position: Position, from: ZoneName, to: Vec<Upstream>) -> Self {
        Self {
            position,
            from,
            except: Vec::new(),
            to,
            policy: Policy::default(),
            force_tcp: false,
            prefer_udp: false,
            read_timeout: READ_TIMEOUT,
            max_fails: MAX_FAILS,
            max_connect_attempts: None,
            health_check: HealthCheck {
                interval: HEALTH_CHECK_INTERVAL,
                recursion_desired: true,
                domain: ZoneName::root(),
            },
            fail_fast: false,
            max_concurrent: None,
            expire: EXPIRE,
            max_age: Duration::ZERO,
            max_idle_connections: 0,
            failover: Vec::new(),
            next: Vec::new(),
            next_on_nodata: false,
            tls: ForwardTls::default(),
            tls_server_name: None,
            doh_get: false,
            resolvers: Vec::new(),
            source_address: None,
            hedge: false,
        }
    }

    fn option(&mut self, option: &mut Args<'_>) -> Result<(), Problem> {
        match option.name() {
            "except" => self.except(option)?,
            "policy" => self.policy = option.required("a policy")?.keyword(&POLICIES)?,
            "force_tcp" => self.force_tcp = true,
            "prefer_udp" => self.prefer_udp = true,
            "read_timeout" => {
                let argument = option.required("a duration")?;
                self.read_timeout = argument.duration()?;
                if self.read_timeout.is_zero() {
                    return Err(argument.out_of("more than 0"));
                }
            }
            "max_fails" => self.max_fails = option.required("a number")?.number()?,
            "max_connect_attempts" => {
                self.max_connect_attempts = Some(option.required("a number")?.number()?);
            }
            "health_check" => self.health_check = health_check(option)?,
            "failfast_all_unhealthy_upstreams" => self.fail_fast = true,
            "max_concurrent" => {
                let limit = option.required("a number")?.number()?;
                self.max_concurrent = (limit > 0).then_some(limit);
            }
            "expire" => self.expire = option.required("a duration")?.duration()?,
            "max_age" => self.max_age = option.required("a duration")?.duration()?,
            "max_idle_conns" => {
                self.max_idle_connections = option.required("a number")?.number()?;
            }
            "failover" => {
                for word in option.some("at least one RCODE")? {
                    match rcode(word)? {
                        0 => return Err(word.out_of("an RCODE other than NOERROR")),
                        rcode => self.failover.push(rcode),
                    }
                }
            }
            "next" => {
                for word in option.some("at least one RCODE")? {
                    self.next.push(rcode(word)?);
                }
            }
            "next_on_nodata" => self.next_on_nodata = true,
            "tls" => self.tls = tls(option),
            "tls_servername" => {
                self.tls_server_name = Some(option.required("a name")?.text().into());
            }
            "doh_method" => {
                let method = option.required("POST or GET")?;
                self.doh_get = method.keyword(&[("POST", false), ("GET", true)])?;
            }
            "hedge" => self.hedge = true,
            "resolver" => {
                let words = option.some("at least one IP address")?;
                self.resolvers = words.into_iter().map(resolver).collect::<Result<_, _>>()?;
            }
            "source_address" => {
                self.source_address = Some(option.required("an IP address")?.ip()?);
            }
            _ => return Err(option.unknown(Self::NAME, &OPTIONS)),
        }
        Ok(())
    }

    /// Reads `except NAMES…`.
    pub(super) fn except(&mut self, option: &mut Args<'_>) -> Result<(), Problem> {
        for word in option.some("at least one zone")? {
            self.except.extend(word.zones()?);
        }
        Ok(())
    }
}

/// Reads `DURATION [no_rec] [domain NAME]`.
fn health_check(option: &mut Args<'_>) -> Result<HealthCheck, Problem> {
    let interval = option.required("a duration")?.duration()?;
    let mut check = HealthCheck {
        interval,
        recursion_desired: true,
        domain: ZoneName::root(),
    };
    while let Some(word) = option.next() {
        match word.text() {
            "no_rec" => check.recursion_desired = false,
            "domain" => check.domain = option.required("a name after `domain`")?.name()?,
            _ => return Err(word.unknown_word(["no_rec", "domain"].into_iter())),
        }
    }
    Ok(check)
}

/// Reads `[CA | CERTIFICATE KEY [CA]]`.
fn tls(option: &mut Args<'_>) -> ForwardTls {
    let mut path = || option.next().map(Arg::path);
    match (path(), path()) {
        (Some(certificate), Some(key)) => ForwardTls {
            identity: Some((certificate, key)),
            ca: path(),
        },
        (ca, _) => ForwardTls { identity: None, ca },
    }
}

/// Reads `IP[:PORT]`.
fn resolver(word: Arg<'_>) -> Result<Box<str>, Problem> {
    let text = word.text();
    let host = value::split_host_port(text).map_or(text, |(host, _)| host);
    match host.parse::<IpAddr>() {
        Ok(_) => Ok(text.into()),
        Err(_) => Err(word.is_not("an IP address, with or without a port")),
    }
}

/// Reads an RCODE by its name, in any letter case.
fn rcode(word: Arg<'_>) -> Result<u16, Problem> {
    let text = word.text();
    match RCODES
        .iter()
        .find(|(name, _)| text.eq_ignore_ascii_case(name))
    {
        Some((_, rcode)) => Ok(*rcode),
        None => Err(word.unknown_word(RCODES.iter().map(|(name, _)| *name))),
    }
}

const POLICIES: [(&str, Policy); 4] = [
    ("random", Policy::Random),
    ("round_robin", Policy::RoundRobin),
    ("sequential", Policy::Sequential),
    ("latency", Policy::Latency),
];

/// The RCODEs that CoreDNS knows by name (IANA's list, and one old spelling).
const RCODES: [(&str, u16); 21] = [
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("NOTIMPL", 4),
    ("REFUSED", 5),
    ("YXDOMAIN", 6),
    ("YXRRSET", 7),
    ("NXRRSET", 8),
    ("NOTAUTH", 9),
    ("NOTZONE", 10),
    ("DSOTYPENI", 11),
    ("BADSIG", 16),
    ("BADKEY", 17),
    ("BADTIME", 18),
    ("BADMODE", 19),
    ("BADNAME", 20),
    ("BADALG", 21),
    ("BADTRUNC", 22),
    ("BADCOOKIE", 23),
];

/// The options, for help with a misspelled one.
const OPTIONS: [&str; 22] = [
    "except",
    "policy",
    "force_tcp",
    "prefer_udp",
    "read_timeout",
    "max_fails",
    "max_connect_attempts",
    "health_check",
    "failfast_all_unhealthy_upstreams",
    "max_concurrent",
    "expire",
    "max_age",
    "max_idle_conns",
    "failover",
    "next",
    "next_on_nodata",
    "tls",
    "tls_servername",
    "doh_method",
    "resolver",
    "source_address",
    "hedge",
];

/// How many upstreams one `forward` may have, as in CoreDNS.
const UPSTREAMS_MAX: usize = 15;

const READ_TIMEOUT: Duration = Duration::from_secs(2);
const MAX_FAILS: u32 = 2;
const HEALTH_CHECK_INTERVAL: Duration = Duration::from_millis(500);
const EXPIRE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
