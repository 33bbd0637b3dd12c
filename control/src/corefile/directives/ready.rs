//! `ready [ADDRESS] { monitor until-ready|continuously }`: the readiness endpoint.

use super::super::args::Args;
use super::super::error::{Position, Problem};
use super::super::value::ListenAddress;
use super::Directive;

/// `ready`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ready {
    /// Where the directive stands.
    pub position: Position,
    /// Where `/ready` is served; `:8181` if none is given.
    pub address: ListenAddress,
    /// For how long directives are asked.
    pub monitor: Monitor,
}

/// For how long a directive is asked whether it is ready.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Monitor {
    /// Until it once was.
    #[default]
    UntilReady,
    /// Each time.
    Continuously,
}

impl Directive for Ready {
    const NAME: &'static str = "ready";

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let mut ready = Self {
            position: args.position(),
            address: ListenAddress::new("", READY_PORT),
            monitor: Monitor::default(),
        };
        if let Some(address) = args.next() {
            ready.address = address.listen_address()?;
        }
        args.options(|option| match option.name() {
            "monitor" => {
                ready.monitor = option.required("until-ready or continuously")?.keyword(&[
                    ("until-ready", Monitor::UntilReady),
                    ("continuously", Monitor::Continuously),
                ])?;
                Ok(())
            }
            _ => Err(option.unknown(Self::NAME, &["monitor"])),
        });
        Ok(ready)
    }
}

/// The port that the probes in Kubernetes' own manifests ask.
const READY_PORT: u16 = 8181;

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good};
    use super::Monitor;

    #[test]
    fn reads_address_and_monitor() {
        for (text, address, monitor) in [
            ("ready", ":8181", Monitor::UntilReady),
            ("ready [::1]:8181", "[::1]:8181", Monitor::UntilReady),
            (
                "ready {\n monitor continuously\n}",
                ":8181",
                Monitor::Continuously,
            ),
            (
                "ready :1 {\n monitor until-ready\n}",
                ":1",
                Monitor::UntilReady,
            ),
        ] {
            let ready = good(text).ready.expect(text);
            assert_eq!(
                (&*ready.address.to_string(), ready.monitor),
                (address, monitor),
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_the_rest() {
        for (text, expected) in [
            (
                "ready :1\nready :2",
                "3:1: `ready` may be given once in a server block; it is already at Corefile:2:1",
            ),
            ("ready :1 :2", "2:10: `ready` takes no argument `:2` here"),
            (
                "ready {\n monitor\n}",
                "3:2: `monitor` needs until-ready or continuously",
            ),
            (
                "ready {\n monitor always\n}",
                "3:10: `monitor`: `always` is not one of until-ready, continuously",
            ),
        ] {
            assert_eq!(bad(text), [format!("Corefile:{expected}")], "{text}");
        }
    }
}
