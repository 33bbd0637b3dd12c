//! `health [ADDRESS] { lameduck DURATION }`: the liveness endpoint.

use std::time::Duration;

use super::super::args::Args;
use super::super::error::{Position, Problem};
use super::super::value::ListenAddress;
use super::{Directive, Second};

/// `health`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Health {
    /// Where the directive stands.
    pub position: Position,
    /// Where `/health` is served; `:8080` if none is given.
    pub address: ListenAddress,
    /// How long to go on answering after the order to stop; zero if not given.
    pub lameduck: Duration,
}

impl Directive for Health {
    const NAME: &'static str = "health";
    const SECOND: Second = Second::Replaces;

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let mut health = Self {
            position: args.position(),
            address: ListenAddress::new("", HEALTH_PORT),
            lameduck: Duration::ZERO,
        };
        if let Some(address) = args.next() {
            health.address = address.listen_address()?;
        }
        args.options(|option| match option.name() {
            "lameduck" => {
                health.lameduck = option.required("a duration")?.duration()?;
                Ok(())
            }
            _ => Err(option.unknown(Self::NAME, &["lameduck"])),
        });
        Ok(health)
    }
}

/// The port that the probes in Kubernetes' own manifests ask.
const HEALTH_PORT: u16 = 8080;

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good};

    #[test]
    fn reads_address_and_lameduck() {
        for (text, address, seconds) in [
            ("health", ":8080", 0),
            ("health :8091", ":8091", 0),
            ("health 169.254.20.10:8080", "169.254.20.10:8080", 0),
            ("health {\n lameduck 5s\n}", ":8080", 5),
            ("health localhost:1 {\n lameduck 1m\n}", "localhost:1", 60),
            ("health :1\nhealth :2", ":2", 0),
        ] {
            let health = good(text).health.expect(text);
            assert_eq!(health.address.to_string(), address, "{text}");
            assert_eq!(health.lameduck.as_secs(), seconds, "{text}");
        }
    }

    #[test]
    fn refuses_the_rest() {
        let address = "an address with a port, such as :8080 or 127.0.0.1:8080";
        for (text, expected) in [
            (
                "health 8080",
                &*format!("2:8: `health`: `8080` is not {address}"),
            ),
            ("health :1 :2", "2:11: `health` takes no argument `:2` here"),
            ("health {\n lameduck\n}", "3:2: `lameduck` needs a duration"),
            (
                "health {\n lameduck 5\n}",
                "3:11: `lameduck`: `5` is not a duration, such as 30s or 1h30m",
            ),
            (
                "health {\n lameduck 5s 6s\n}",
                "3:14: `lameduck` takes no argument `6s` here",
            ),
            (
                "health {\n lame_duck 5s\n}",
                "3:2: `health` has no option `lame_duck`",
            ),
        ] {
            assert_eq!(bad(text), [format!("Corefile:{expected}")], "{text}");
        }
    }
}
