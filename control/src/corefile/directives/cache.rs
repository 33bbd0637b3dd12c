//! `cache [TTL] [ZONES…] { … }`: keeps replies for a while.

use std::time::Duration;

use super::super::args::{Arg, Args};
use super::super::error::{Problem, Reason};
use super::super::zone::ZoneName;
use super::Directive;

/// `cache`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cache {
    /// Replies for names at or below these are kept.
    pub zones: Vec<ZoneName>,
    /// Replies with an answer.
    pub success: Store,
    /// NXDOMAIN and NODATA.
    pub denial: Store,
    /// `servfail`: how long failures are kept; zero for not at all.
    pub servfail: Duration,
    /// `prefetch`: what is asked again before it expires.
    pub prefetch: Option<Prefetch>,
    /// `serve_stale`: what is served after it expired.
    pub serve_stale: Option<ServeStale>,
    /// `keepttl`: replies carry the TTL that they arrived with, instead of what is left of it.
    pub keep_ttl: bool,
}

/// One half of the cache.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Store {
    /// How many replies it holds at most. CoreDNS rounds down to a multiple of 256, at least 1024.
    pub capacity: usize,
    /// TTLs above it are lowered to it.
    pub ttl_max: Duration,
    /// TTLs below it are raised to it.
    pub ttl_min: Duration,
    /// `disable`: replies for names at or below these are not kept here.
    pub disabled: Vec<ZoneName>,
}

/// What is asked again before it expires.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Prefetch {
    /// Replies that were used at least this often…
    pub hits: u32,
    /// …without a pause longer than this…
    pub pause: Duration,
    /// …once less than this share of their TTL is left, in percent from 10 to 90.
    pub percentage: u8,
}

/// What is served after it expired.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ServeStale {
    /// For how long after.
    pub up_to: Duration,
    /// When a fresh reply is asked for.
    pub refresh: Refresh,
    /// The TTL in stale replies, in whole seconds.
    pub ttl: Duration,
    /// For how long a failed refresh is not tried again, at most 5 minutes.
    pub recheck: Duration,
    /// `serve_stale_policy prefer_positive`: a stale answer is preferred to a fresh denial.
    pub prefer_positive: bool,
}

/// When a fresh reply is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refresh {
    /// After the stale one was sent.
    Immediate,
    /// Before; the stale one is sent if that fails.
    Verify {
        /// How long to wait for the fresh one; zero for as long as it takes.
        timeout: Duration,
    },
}

impl Directive for Cache {
    const NAME: &'static str = "cache";

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let mut cache = Self::new();
        let mut words = args.rest();
        // A first argument that is a number is the TTL, anything else a zone.
        if let Some(first) = words
            .first()
            .filter(|word| word.text().parse::<i64>().is_ok())
        {
            let ttl = first.seconds()?;
            cache.success.ttl_max = ttl;
            cache.denial.ttl_max = ttl;
            words.remove(0);
        }
        for word in words {
            cache.zones.extend(word.zones()?);
        }
        if cache.zones.is_empty() {
            cache.zones = args.context().zones.to_vec();
        }
        let mut policy = false;
        args.options(|option| {
            if option.name() == "serve_stale_policy" {
                if policy {
                    let (one, other) = ("serve_stale_policy", "another serve_stale_policy");
                    return Err(option.problem(Reason::Conflict { one, other }));
                }
                policy = true;
                return lower_keyword(option.required("prefer_positive")?, "prefer_positive");
            }
            cache.option(option)
        });
        match (&mut cache.serve_stale, policy) {
            (Some(stale), policy) => stale.prefer_positive = policy,
            (None, false) => {}
            (None, true) => {
                let (option, needs) = ("serve_stale_policy", "serve_stale");
                return Err(args.problem(Reason::Needs { option, needs }));
            }
        }
        Ok(cache)
    }
}

impl Cache {
    /// What it is without options.
    fn new() -> Self {
        let store = |ttl_max| Store {
            capacity: CAPACITY,
            ttl_max,
            ttl_min: TTL_MIN,
            disabled: Vec::new(),
        };
        Self {
            zones: Vec::new(),
            success: store(SUCCESS_TTL_MAX),
            denial: store(DENIAL_TTL_MAX),
            servfail: SERVFAIL_TTL,
            prefetch: None,
            serve_stale: None,
            keep_ttl: false,
        }
    }

    fn option(&mut self, option: &mut Args<'_>) -> Result<(), Problem> {
        match option.name() {
            "success" => self.success.parse(option)?,
            "denial" => self.denial.parse(option)?,
            "prefetch" => self.prefetch = prefetch(option)?,
            "serve_stale" => self.serve_stale = Some(serve_stale(option)?),
            "servfail" => {
                let argument = option.required("a duration")?;
                self.servfail = argument.duration()?;
                // RFC 2308 §7.1 allows no more.
                if self.servfail > FAILURE_TTL_MAX {
                    return Err(argument.out_of("at most 5m"));
                }
            }
            "disable" => {
                let which = option.required("success or denial")?;
                let store = match which.keyword(&[("success", true), ("denial", false)])? {
                    true => &mut self.success,
                    false => &mut self.denial,
                };
                store.disabled = option
                    .rest()
                    .into_iter()
                    .map(Arg::name)
                    .collect::<Result<_, _>>()?;
                if store.disabled.is_empty() {
                    store.disabled.push(ZoneName::root());
                }
            }
            "keepttl" => self.keep_ttl = true,
            _ => return Err(option.unknown(Self::NAME, &OPTIONS)),
        }
        Ok(())
    }
}

impl Store {
    /// Reads `CAPACITY [TTL [MINIMUM]]`.
    fn parse(&mut self, option: &mut Args<'_>) -> Result<(), Problem> {
        self.capacity = option.required("a capacity")?.number()?;
        if let Some(ttl) = option.next() {
            self.ttl_max = ttl.seconds()?;
        }
        if let Some(ttl) = option.next() {
            self.ttl_min = Duration::from_secs(ttl.number::<u32>()?.into());
        }
        option.drop_rest();
        Ok(())
    }
}

/// Reads `HITS [PAUSE [PERCENTAGE%]]`; 0 hits turn it off.
fn prefetch(option: &mut Args<'_>) -> Result<Option<Prefetch>, Problem> {
    let hits = option.required("a number of hits")?.number()?;
    let mut prefetch = Prefetch {
        hits,
        pause: PREFETCH_PAUSE,
        percentage: PREFETCH_PERCENTAGE,
    };
    if let Some(pause) = option.next() {
        prefetch.pause = pause.duration()?;
    }
    if let Some(argument) = option.next() {
        let number = argument
            .text()
            .strip_suffix('%')
            .and_then(|number| number.parse().ok());
        prefetch.percentage = number.ok_or_else(|| argument.is_not("a percentage, such as 10%"))?;
        if !(10..=90).contains(&prefetch.percentage) {
            return Err(argument.out_of("from 10% to 90%"));
        }
    }
    Ok((hits > 0).then_some(prefetch))
}

/// Reads `[DURATION [immediate [TTL [RECHECK]] | verify [TIMEOUT [TTL [RECHECK]]]]]`.
fn serve_stale(option: &mut Args<'_>) -> Result<ServeStale, Problem> {
    let mut stale = ServeStale {
        up_to: STALE_UP_TO,
        refresh: Refresh::Immediate,
        ttl: Duration::ZERO,
        recheck: Duration::ZERO,
        prefer_positive: false,
    };
    if let Some(up_to) = option.next() {
        stale.up_to = up_to.duration()?;
    }
    if let Some(mode) = option.next() {
        if mode.text().eq_ignore_ascii_case("verify") {
            let timeout = option
                .next()
                .map(Arg::duration)
                .transpose()?
                .unwrap_or_default();
            stale.refresh = Refresh::Verify { timeout };
        } else if !mode.text().eq_ignore_ascii_case("immediate") {
            return Err(mode.unknown_word(["immediate", "verify"].into_iter()));
        }
    }
    if let Some(ttl) = option.next() {
        stale.ttl = ttl.duration()?;
        if stale.ttl.subsec_nanos() != 0 || stale.ttl.as_secs() > u32::MAX.into() {
            return Err(ttl.out_of("a whole number of seconds below 2^32"));
        }
    }
    if let Some(recheck) = option.next() {
        stale.recheck = recheck.duration()?;
        if stale.recheck > FAILURE_TTL_MAX {
            return Err(recheck.out_of("at most 5m"));
        }
    }
    Ok(stale)
}

/// Reads the only word that is possible, in any letter case.
fn lower_keyword(argument: Arg<'_>, word: &'static str) -> Result<(), Problem> {
    match argument.text().eq_ignore_ascii_case(word) {
        true => Ok(()),
        false => Err(argument.unknown_word([word].into_iter())),
    }
}

/// The options, for help with a misspelled one.
const OPTIONS: [&str; 8] = [
    "success",
    "denial",
    "prefetch",
    "serve_stale",
    "serve_stale_policy",
    "servfail",
    "disable",
    "keepttl",
];

/// How many replies each half holds, if not given.
const CAPACITY: usize = 9984;

const SUCCESS_TTL_MAX: Duration = Duration::from_secs(3600);
const DENIAL_TTL_MAX: Duration = Duration::from_secs(1800);
const TTL_MIN: Duration = Duration::from_secs(5);
const SERVFAIL_TTL: Duration = Duration::from_secs(5);
const FAILURE_TTL_MAX: Duration = Duration::from_secs(300);
const PREFETCH_PAUSE: Duration = Duration::from_secs(60);
const PREFETCH_PERCENTAGE: u8 = 10;
const STALE_UP_TO: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good, good_in, warnings};
    use super::*;

    fn cache(text: &str) -> Cache {
        good(text).cache.expect(text)
    }

    fn names(zones: &[ZoneName]) -> Vec<&str> {
        zones.iter().map(ZoneName::as_str).collect()
    }

    #[test]
    fn reads_ttl_and_zones() {
        for (text, ttls, zones) in [
            ("cache", (3600, 1800), &["."][..]),
            ("cache 30", (30, 30), &["."]),
            ("cache a B.", (3600, 1800), &["a.", "b."]),
            (
                "cache 10 10.0.0.0/15",
                (10, 10),
                &["0.10.in-addr.arpa.", "1.10.in-addr.arpa."],
            ),
        ] {
            let cache = cache(text);
            let found = (
                cache.success.ttl_max.as_secs(),
                cache.denial.ttl_max.as_secs(),
            );
            assert_eq!((found, &*names(&cache.zones)), (ttls, zones), "{text}");
            assert_eq!(
                (cache.success.capacity, cache.success.ttl_min.as_secs()),
                (9984, 5)
            );
        }
        let block = good_in("cluster.local 10.0.0.0/8", "cache");
        assert_eq!(
            names(&block.cache.unwrap().zones),
            ["cluster.local.", "10.in-addr.arpa."]
        );
    }

    #[test]
    fn reads_options() {
        let all = cache(
            "cache 900 {\n success 2048 60 0\n denial 5000 30\n prefetch 10 2m 20%\n servfail 1m\n \
             disable denial cluster.local\n disable success\n keepttl\n serve_stale 2h verify 1s 30s 10s\n \
             serve_stale_policy Prefer_Positive\n}",
        );
        assert_eq!(
            all.success,
            Store {
                capacity: 2048,
                ttl_max: Duration::from_secs(60),
                ttl_min: Duration::ZERO,
                disabled: vec![ZoneName::root()],
            }
        );
        assert_eq!(
            (all.denial.capacity, all.denial.ttl_max.as_secs()),
            (5000, 30)
        );
        assert_eq!(names(&all.denial.disabled), ["cluster.local."]);
        let (hits, pause) = (10, Duration::from_secs(120));
        assert_eq!(
            all.prefetch,
            Some(Prefetch {
                hits,
                pause,
                percentage: 20
            })
        );
        assert_eq!(all.servfail.as_secs(), 60);
        assert!(all.keep_ttl);
        assert_eq!(
            all.serve_stale,
            Some(ServeStale {
                up_to: Duration::from_secs(7200),
                refresh: Refresh::Verify {
                    timeout: Duration::from_secs(1)
                },
                ttl: Duration::from_secs(30),
                recheck: Duration::from_secs(10),
                prefer_positive: true,
            })
        );
        assert_eq!(cache("cache {\n prefetch 0\n}").prefetch, None);
        assert_eq!(warnings("cache {\n success 1 2 3 4\n}").len(), 1);
    }

    #[test]
    fn reads_serve_stale() {
        for (text, up_to, refresh, ttl, recheck) in [
            ("serve_stale", 3600, Refresh::Immediate, 0, 0),
            ("serve_stale 0s", 0, Refresh::Immediate, 0, 0),
            (
                "serve_stale 1m IMMEDIATE 5s 1m",
                60,
                Refresh::Immediate,
                5,
                60,
            ),
            (
                "serve_stale 1m verify",
                60,
                Refresh::Verify {
                    timeout: Duration::ZERO,
                },
                0,
                0,
            ),
        ] {
            let stale = cache(&format!("cache {{\n {text}\n}}"))
                .serve_stale
                .expect(text);
            assert_eq!(stale.refresh, refresh, "{text}");
            let seconds = (
                stale.up_to.as_secs(),
                stale.ttl.as_secs(),
                stale.recheck.as_secs(),
            );
            assert_eq!(seconds, (up_to, ttl, recheck), "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["cache 0", "cache -1", "cache\ncache", "cache 30 a..b"] {
            assert_eq!(bad(text).len(), 1, "{text}");
        }
        for option in [
            "success",
            "success x",
            "success -1",
            "success 1 0",
            "success 1 2 -1",
            "denial",
            "prefetch",
            "prefetch x",
            "prefetch 1 2",
            "prefetch 1 2m 10",
            "prefetch 1 2m %",
            "prefetch 1 2m 9%",
            "prefetch 1 2m 91%",
            "prefetch 1 2m 10% x",
            "serve_stale x",
            "serve_stale 1h later",
            "serve_stale 1h immediate 1500ms",
            "serve_stale 1h immediate 1s 6m",
            "serve_stale 1h immediate 1s 1s 1s",
            "serve_stale 1h verify 1s 1s 1s 1s",
            "serve_stale\n serve_stale_policy",
            "serve_stale\n serve_stale_policy x",
            "serve_stale\n serve_stale_policy prefer_positive\n serve_stale_policy prefer_positive",
            "serve_stale_policy prefer_positive",
            "servfail",
            "servfail 301s",
            "disable",
            "disable both",
            "disable success a..b",
            "keepttl x",
            "sucess 1",
        ] {
            let text = format!("cache {{\n {option}\n}}");
            assert_eq!(bad(&text).len(), 1, "{text}");
        }
    }
}
