//! `proxy FROM TO… { … }`: what `forward` was called until CoreDNS 1.5.

use super::super::args::Args;
use super::super::error::{Problem, Reason};
use super::forward::{Forward, Policy};

/// Its name in Corefiles.
pub(super) const NAME: &str = "proxy";

/// Reads a `proxy` as the `forward` that it became. The options that depended on how `proxy` worked
/// are left out, as CoreDNS' own migration tool does.
pub(super) fn parse(args: &mut Args<'_>) -> Result<Forward, Problem> {
    args.warn("`proxy` became `forward` in CoreDNS 1.5; it is read as one");
    let mut forward = Forward::head(args)?;
    args.options(|option| match option.name() {
        "except" => forward.except(option),
        "policy" => {
            let word = option.required("a policy")?;
            match word.text() {
                "random" => forward.policy = Policy::Random,
                "round_robin" => forward.policy = Policy::RoundRobin,
                "first" => forward.policy = Policy::Sequential,
                "least_conn" => {
                    word.warn("`policy least_conn` is read as `force_tcp`");
                    forward.force_tcp = true;
                }
                _ => return Err(word.unknown_word(POLICIES.into_iter())),
            }
            Ok(())
        }
        "protocol" => {
            let protocol = option.required("a protocol")?;
            let words: Vec<_> = option.rest().iter().map(|word| word.text()).collect();
            match (protocol.text(), &*words) {
                ("dns", []) => {}
                ("dns", ["force_tcp"]) => forward.force_tcp = true,
                ("https_google", _) => protocol.warn("`https_google` is gone; DNS is used"),
                ("grpc", _) => {
                    let name = "`protocol grpc`".into();
                    return Err(protocol.problem(Reason::NotSupported { name }));
                }
                _ => return Err(protocol.is_not("dns, dns force_tcp or https_google")),
            }
            Ok(())
        }
        "fail_timeout" | "max_fails" | "health_check" | "spray" => {
            option.rest();
            option.warn(format!("`{}` has no effect in `forward`", option.name()));
            Ok(())
        }
        _ => Err(option.unknown(NAME, &OPTIONS)),
    });
    Ok(forward)
}

const POLICIES: [&str; 4] = ["random", "round_robin", "first", "least_conn"];

const OPTIONS: [&str; 7] = [
    "except",
    "policy",
    "protocol",
    "fail_timeout",
    "max_fails",
    "health_check",
    "spray",
];

#[cfg(test)]
mod tests {
    use super::super::super::Policy;
    use super::super::testing::{bad, good, warnings};

    #[test]
    fn becomes_forward() {
        for (text, tcp, policy, warned) in [
            ("proxy . /etc/resolv.conf", false, Policy::Random, 1),
            (
                "proxy . 10.0.0.1 {\n policy least_conn\n}",
                true,
                Policy::Random,
                2,
            ),
            (
                "proxy . 10.0.0.1 {\n policy round_robin\n}",
                false,
                Policy::RoundRobin,
                1,
            ),
            (
                "proxy . 10.0.0.1 {\n protocol dns force_tcp\n}",
                true,
                Policy::Random,
                1,
            ),
            (
                "proxy . 10.0.0.1 {\n protocol https_google\n spray\n}",
                false,
                Policy::Random,
                3,
            ),
            (
                "proxy . 10.0.0.1 {\n fail_timeout 1s\n max_fails 3\n health_check /h:8080 5s\n}",
                false,
                Policy::Random,
                4,
            ),
        ] {
            let forward = &good(text).forward[0];
            assert_eq!((forward.force_tcp, forward.policy), (tcp, policy), "{text}");
            assert_eq!(warnings(text).len(), warned, "{text}");
        }
        let mixed = good("forward a 10.0.0.1\nproxy b 10.0.0.2 {\n except c.b\n}");
        let zones: Vec<_> = mixed
            .forward
            .iter()
            .map(|forward| forward.from.as_str())
            .collect();
        assert_eq!(zones, ["a.", "b."]);
        assert_eq!(mixed.forward[1].except[0].as_str(), "c.b.");
        for text in [
            "proxy .",
            "proxy . 10.0.0.1 {\n policy x\n}",
            "proxy . 10.0.0.1 {\n protocol grpc insecure\n}",
            "proxy . 10.0.0.1 {\n protocol odd\n}",
            "proxy . 10.0.0.1 {\n force_tcp\n}",
        ] {
            assert_eq!(bad(text).len(), 1, "{text}");
        }
    }
}
