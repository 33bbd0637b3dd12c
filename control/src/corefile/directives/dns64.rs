//! `dns64 [PREFIX] { prefix PREFIX; translate_all; allow_ipv4 }`: AAAA records from A records.

use ipnet::Ipv6Net;
use martlet_engine::plugins::dns64;

use super::super::args::{Arg, Args};
use super::super::error::Problem;
use super::{Directive, Second};

/// `dns64`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Dns64(pub dns64::Dns64);

/// RFC 6052 §2.1.
const PREFIX: &str = "64:ff9b::/96";

impl Directive for Dns64 {
    const NAME: &'static str = "dns64";
    const SECOND: Second = Second::Replaces;

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let mut dns64 = dns64::Dns64 {
            prefix: PREFIX.parse().expect("it is one"),
            translate_all: false,
            allow_ipv4: false,
        };
        if let Some(argument) = args.next() {
            dns64.prefix = prefix(argument)?;
        }
        args.options(|option| {
            match option.name() {
                "prefix" => dns64.prefix = prefix(option.required("a prefix")?)?,
                "translate_all" => dns64.translate_all = true,
                "allow_ipv4" => dns64.allow_ipv4 = true,
                _ => {
                    let known = ["prefix", "translate_all", "allow_ipv4"];
                    return Err(option.unknown(Self::NAME, &known));
                }
            }
            Ok(())
        });
        Ok(Self(dns64))
    }
}

fn prefix(argument: Arg<'_>) -> Result<Ipv6Net, Problem> {
    let parsed = argument.text().parse::<Ipv6Net>();
    let prefix = parsed.map_err(|_| argument.is_not("an IPv6 prefix, such as 64:ff9b::/96"))?;
    let len = prefix.prefix_len();
    if len % 8 == 0 && (32..=96).contains(&len) {
        Ok(prefix.trunc())
    } else {
        Err(argument.out_of("a prefix of 32 to 96 bits, in whole octets"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good};

    #[test]
    fn reads_prefixes() {
        for (text, prefix) in [
            ("dns64", "64:ff9b::/96"),
            ("dns64 2001:db8::1/64", "2001:db8::/64"),
            ("dns64\ndns64 2001:db8::/64", "2001:db8::/64"),
            (
                "dns64 {\n prefix 2001:db8::/32\n translate_all\n allow_ipv4\n}",
                "2001:db8::/32",
            ),
        ] {
            let found = good(text).dns64.unwrap().0;
            assert_eq!(found.prefix.to_string(), prefix, "{text}");
            assert_eq!(found.translate_all, text.contains("all"), "{text}");
            assert_eq!(found.allow_ipv4, text.contains("ipv4"), "{text}");
        }
    }

    #[test]
    fn errors_name_the_word() {
        for (text, expected) in [
            ("dns64 10.0.0.0/8", "is not an IPv6 prefix"),
            ("dns64 fd00::/97", "must be a prefix of 32 to 96 bits"),
            ("dns64 {\n prefix\n}", "`prefix` needs a prefix"),
            ("dns64 {\n allow\n}", "`dns64` has no option `allow`"),
        ] {
            let found = bad(text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains(expected), "{text}: {found:?}");
        }
    }
}
