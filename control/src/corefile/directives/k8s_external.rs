//! `k8s_external [ZONES…] { apex NAME; ttl SECONDS; headless; fallthrough [ZONES…] }`: Services under
//! the names and addresses that they have outside of the cluster.

use martlet_engine::wire::name::append_labels;

use super::super::args::Args;
use super::super::error::Problem;
use super::super::zone::ZoneName;
use super::Directive;
use super::kubernetes::Fallthrough;

/// `k8s_external`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct K8sExternal {
    /// What it is for. PTR records lead into the first one.
    pub zones: Vec<ZoneName>,
    /// Where the zones' own names are, below each: labels in wire form, lower case.
    pub apex: Box<[u8]>,
    /// In seconds.
    pub ttl: u32,
    /// Whether Services without external hosts are answered with their endpoints.
    pub headless: bool,
    /// Which unknown names are left to the directives behind.
    pub fallthrough: Fallthrough,
}

const APEX: &str = "dns";
const TTL: u32 = 5;
const TTL_MAX: u32 = 3_600;
const OPTIONS: [&str; 4] = ["apex", "ttl", "headless", "fallthrough"];

impl Directive for K8sExternal {
    const NAME: &'static str = "k8s_external";

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let mut external = Self {
            zones: args.zones_or_block()?,
            apex: labels(APEX).unwrap_or_default(),
            ttl: TTL,
            headless: false,
            fallthrough: Fallthrough::None,
        };
        args.options(|option| {
            match option.name() {
                "apex" => {
                    let apex = option.required("a name")?;
                    external.apex = labels(apex.text()).ok_or_else(|| apex.is_not("a name"))?;
                    option.drop_rest();
                }
                "ttl" => {
                    let ttl = option.required("a number of seconds")?;
                    external.ttl = ttl.number()?;
                    if external.ttl > TTL_MAX {
                        return Err(ttl.out_of("from 0 to 3600"));
                    }
                    option.drop_rest();
                }
                "headless" => external.headless = true,
                "fallthrough" => external.fallthrough = Fallthrough::parse(option)?,
                _ => return Err(option.unknown(Self::NAME, &OPTIONS)),
            }
            Ok(())
        });
        Ok(external)
    }
}

/// The wire form of a name, in lower case and without its root.
fn labels(text: &str) -> Option<Box<[u8]>> {
    let mut wire = Vec::new();
    append_labels(&mut wire, text.strip_suffix('.').unwrap_or(text))?;
    (!wire.is_empty()).then(|| wire.into())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good};
    use super::*;

    fn read(text: &str) -> K8sExternal {
        let text = format!("kubernetes cluster.local\n{text}");
        good(&text).k8s_external.unwrap()
    }

    #[test]
    fn reads_options() {
        let plain = read("k8s_external");
        assert_eq!((plain.ttl, plain.headless), (5, false));
        assert_eq!(*plain.apex, *b"\x03dns");
        let full = read(
            "k8s_external a.test b.test {\n apex Ns.a\n ttl 0\n headless\n fallthrough b.test\n}",
        );
        assert_eq!(full.zones.len(), 2);
        assert_eq!((&*full.apex, full.ttl), (&b"\x02ns\x01a"[..], 0));
        assert!(full.headless);
        let zone = ZoneName::parse("b.test").unwrap();
        assert_eq!(full.fallthrough, Fallthrough::Zones(vec![zone]));
    }

    #[test]
    fn errors_name_the_word() {
        for (text, expected) in [
            ("k8s_external {\n ttl\n}", "`ttl` needs a number"),
            ("k8s_external {\n ttl 3601\n}", "must be from 0 to 3600"),
            ("k8s_external {\n apex\n}", "`apex` needs a name"),
            ("k8s_external {\n apex a..b\n}", "`a..b` is not a name"),
            ("k8s_external {\n headless x\n}", "takes no argument"),
            ("k8s_external {\n apexx\n}", "has no option `apexx`"),
            ("k8s_external a..b", "a label is empty"),
        ] {
            let found = bad(&format!("kubernetes cluster.local\n{text}"));
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(found[0].contains(expected), "{text}: {found:?}");
        }
        let alone = bad("k8s_external a.test");
        assert_eq!(alone.len(), 1, "{alone:?}");
        assert!(
            alone[0].contains("`k8s_external` needs `kubernetes`"),
            "{alone:?}"
        );
    }
}
