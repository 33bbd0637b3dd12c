//! `log [NAMES…] [FORMAT] { class CLASSES… }`: the query log.

use martlet_engine::plugins::metadata::Label;

use super::super::args::Args;
use super::super::error::Problem;
use super::super::zone::ZoneName;
use super::Directive;

/// One `log`. A query is logged by the first one that has a name above its QNAME.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Log {
    /// At or below which names queries are logged; never empty.
    pub names: Vec<ZoneName>,
    /// What a line looks like; `{common}` and `{combined}` are written out already.
    pub format: Box<str>,
    /// Which replies are logged; never empty.
    pub classes: Vec<Class>,
}

/// A kind of reply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Class {
    /// Every reply.
    All,
    /// Answers and referrals.
    Success,
    /// NXDOMAIN and NODATA.
    Denial,
    /// SERVFAIL, NOTIMP, REFUSED and the like.
    Error,
}

/// What `{common}` stands for, and the format of a `log` that gives none.
pub const COMMON: &str = "{remote}:{port} - {>id} \"{type} {class} {name} {proto} {size} {>do} \
                          {>bufsize}\" {rcode} {>rflags} {rsize} {duration}";

/// What `{combined}` stands for, after `{common}`.
const COMBINED_TAIL: &str = " \"{>opcode}\"";

impl Directive for Log {
    const NAME: &'static str = "log";

    fn parse(args: &mut Args<'_>) -> Result<Self, Problem> {
        let mut words = args.rest();
        words.retain(|word| {
            let stdout = word.text() == "stdout";
            if stdout {
                word.warn("`stdout` is no longer needed: queries are always logged there");
            }
            !stdout
        });
        let mut format: Box<str> = COMMON.into();
        match words.last() {
            Some(last) if last.text().contains('{') && words.len() > 1 => {
                let combined = format!("{COMMON}{COMBINED_TAIL}");
                let text = last.text().replace("{common}", COMMON);
                format = text.replace("{combined}", &combined).into();
                words.pop();
            }
            Some(last) if last.text().contains('{') => {
                last.warn("a lone argument is a name, not a format; write `log . FORMAT`");
            }
            _ => {}
        }
        for label in format.split("{/").skip(1) {
            let label = label.split('}').next().unwrap_or_default();
            let is_own = matches!(label, "log/class" | "log/type");
            if !is_own && Label::named(label).is_none() {
                args.warn(format!(
                    "no plugin gives the label `{label}`; a dash stands for it"
                ));
            }
        }
        let mut names = Vec::with_capacity(words.len());
        for word in words {
            names.push(word.name()?);
        }
        if names.is_empty() {
            names.push(ZoneName::root());
        }
        let mut classes = Vec::new();
        args.options(|option| match option.name() {
            "class" => {
                for word in option.some("at least one of all, success, denial, error")? {
                    classes.push(word.keyword(&CLASSES)?);
                }
                Ok(())
            }
            _ => Err(option.unknown(Self::NAME, &["class"])),
        });
        if classes.is_empty() {
            classes.push(Class::All);
        }
        Ok(Self {
            names,
            format,
            classes,
        })
    }
}

const CLASSES: [(&str, Class); 4] = [
    ("all", Class::All),
    ("success", Class::Success),
    ("denial", Class::Denial),
    ("error", Class::Error),
];

#[cfg(test)]
mod tests {
    use super::super::testing::{bad, good, warnings};
    use super::*;

    #[test]
    fn reads_names_formats_and_classes() {
        for (text, names, format, classes) in [
            ("log", &["."][..], COMMON, &[Class::All][..]),
            ("log stdout", &["."], COMMON, &[Class::All]),
            ("log Example.org", &["example.org."], COMMON, &[Class::All]),
            ("log a b", &["a.", "b."], COMMON, &[Class::All]),
            ("log . {common}", &["."], COMMON, &[Class::All]),
            ("log a \"{type} x\"", &["a."], "{type} x", &[Class::All]),
            ("log {\n class error\n}", &["."], COMMON, &[Class::Error]),
            (
                "log {\n class denial\n class success\n}",
                &["."],
                COMMON,
                &[Class::Denial, Class::Success],
            ),
        ] {
            let log = &good(text).log[0];
            let found: Vec<_> = log.names.iter().map(ZoneName::as_str).collect();
            assert_eq!(
                (&*found, &*log.format, &*log.classes),
                (names, format, classes),
                "{text}"
            );
        }
        let combined = &good("log . {combined}").log[0];
        assert!(
            combined.format.ends_with("{duration} \"{>opcode}\""),
            "{}",
            combined.format
        );
        assert_eq!(good("log a\nlog b").log.len(), 2);
    }

    #[test]
    fn warns_about_old_and_mistaken_forms() {
        assert_eq!(warnings("log stdout").len(), 1);
        assert_eq!(warnings("log {common}").len(), 1);
        assert_eq!(warnings("log . {common}").len(), 0);
    }

    #[test]
    fn refuses_the_rest() {
        for text in [
            "log a..b",
            "log {\n class\n}",
            "log {\n class errors\n}",
            "log {\n classes all\n}",
        ] {
            assert_eq!(bad(text).len(), 1, "{text}");
        }
    }
}
