//! The command line: CoreDNS's flags, spelled with one dash or two, and martlet's own commands.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, ArgAction, Command, value_parser};
use clap_complete::Shell;
use martlet_engine::net::io::IoChoice;

use crate::memory::Budget;
use crate::telemetry::Format;

pub use self::tools::{CheckArgs, DumpArgs, ExplainArgs, TopArgs};

mod tools;

/// What the command line asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Args {
    /// Serve.
    Serve(ServeArgs),
    /// `-version`.
    Version,
    /// `-plugins`.
    Plugins,
    /// `check COREFILE`: read it, say what is wrong.
    Check(CheckArgs),
    /// `explain NAME [TYPE]`: say how it would be answered.
    Explain(ExplainArgs),
    /// `dump`: write the cluster's names as zone files.
    Dump(DumpArgs),
    /// `top`: show what a running server does.
    Top(TopArgs),
    /// `completions SHELL`: write the shell's completions.
    Completions(Shell),
    /// `man`: write the manual page.
    Man,
}

/// How to serve.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServeArgs {
    /// `-conf`: the Corefile; `None` for `Corefile` in the working directory, or the built-in one
    /// where there is none.
    pub corefile: Option<PathBuf>,
    /// `-dns.port`: the port of server blocks that name none.
    pub port: u16,
    /// `-pidfile`: where to write the process ID.
    pub pid_file: Option<PathBuf>,
    /// `-quiet`: nothing is printed at the start.
    pub quiet: bool,
    /// `-memory-limit`, or that of the control group: near it caches give way.
    pub memory_limit: Option<Budget>,
    /// `-io`: how workers move datagrams.
    pub io: IoChoice,
    /// `-log-format`: how log lines are written.
    pub log_format: Format,
}

/// The port of DNS (RFC 1035 §4.2).
const DNS_PORT: &str = "53";

impl Args {
    /// Reads the arguments of the process, the program's name first.
    ///
    /// # Errors
    ///
    /// clap's error, which knows how to print itself and its exit code; also for `--help`.
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = command().try_get_matches_from(arguments.into_iter().map(two_dashes))?;
        if let Some((name, matches)) = matches.subcommand() {
            return Ok(tools::read(name, matches));
        }
        if matches.get_flag("version") {
            return Ok(Self::Version);
        }
        if matches.get_flag("plugins") {
            return Ok(Self::Plugins);
        }
        Ok(Self::Serve(ServeArgs {
            corefile: matches.get_one::<PathBuf>("conf").cloned(),
            port: *matches
                .get_one::<u16>("dns.port")
                .expect("it has a default"),
            pid_file: matches.get_one::<PathBuf>("pidfile").cloned(),
            quiet: matches.get_flag("quiet"),
            memory_limit: match matches.get_one::<u64>("memory-limit") {
                Some(0) => None,
                Some(mebibytes) => Some(Budget::of_process(mebibytes.saturating_mul(1 << 20))),
                None => Budget::of_group(),
            },
            io: *matches.get_one("io").expect("it has a default"),
            log_format: *matches.get_one("log-format").expect("it has a default"),
        }))
    }
}

/// The whole command line, as clap knows it.
pub fn command() -> Command {
    let path = || value_parser!(PathBuf);
    let flag = |name, help| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    Command::new("martlet")
        .about("A Kubernetes cluster DNS server")
        .disable_version_flag(true)
        .args_conflicts_with_subcommands(true)
        .arg(
            Arg::new("conf")
                .long("conf")
                .value_name("FILE")
                .value_parser(path())
                .help("Corefile to load (default: ./Corefile)"),
        )
        .arg(
            Arg::new("dns.port")
                .long("dns.port")
                .visible_alias("p")
                .value_name("PORT")
                .default_value(DNS_PORT)
                .value_parser(value_parser!(u16))
                .help("Port of server blocks that name none"),
        )
        .arg(
            Arg::new("io")
                .long("io")
                .value_name("WAY")
                .default_value("auto")
                .value_parser(
                    PossibleValuesParser::new(IoChoice::names())
                        .try_map(|word| word.parse::<IoChoice>()),
                )
                .help("How workers move datagrams"),
        )
        .arg(
            Arg::new("memory-limit")
                .long("memory-limit")
                .value_name("MIB")
                .value_parser(value_parser!(u64))
                .help("Memory near which caches shrink, 0 for none (default: the container's)"),
        )
        .arg(
            Arg::new("log-format")
                .long("log-format")
                .value_name("FORMAT")
                .default_value("text")
                .value_parser(
                    PossibleValuesParser::new(Format::names())
                        .try_map(|word| word.parse::<Format>()),
                )
                .help("How log lines are written: as CoreDNS has them, or as JSON objects"),
        )
        .arg(
            Arg::new("pidfile")
                .long("pidfile")
                .value_name("FILE")
                .value_parser(path())
                .help("File to write the process ID to"),
        )
        .arg(flag("plugins", "List the plugins and exit"))
        .arg(flag("quiet", "Print nothing at the start"))
        .arg(flag("version", "Show the version and exit"))
        .subcommands(tools::commands())
}

/// CoreDNS's flags have one dash (Go's flag package takes one or two): `-conf` becomes `--conf`.
fn two_dashes(argument: OsString) -> OsString {
    match argument.to_str() {
        Some(text)
            if text.len() > 1
                && text.starts_with('-')
                && !text.starts_with("--")
                && text != "-h" =>
        {
            format!("-{text}").into()
        }
        _ => argument,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use martlet_engine::net::io::Io;

    fn parse(line: &str) -> Result<Args, clap::Error> {
        Args::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn flags_take_one_dash_or_two() {
        let plain = ServeArgs {
            corefile: None,
            port: 53,
            pid_file: None,
            quiet: false,
            memory_limit: Budget::of_group(),
            io: IoChoice::Auto,
            log_format: Format::Text,
        };
        let check = |needs| {
            Args::Check(CheckArgs {
                corefile: "Corefile".into(),
                needs,
            })
        };
        let cases = [
            ("martlet", Args::Serve(plain.clone())),
            (
                "martlet -conf /etc/Corefile",
                Args::Serve(ServeArgs {
                    corefile: Some("/etc/Corefile".into()),
                    ..plain.clone()
                }),
            ),
            (
                "martlet --conf=a",
                Args::Serve(ServeArgs {
                    corefile: Some("a".into()),
                    ..plain.clone()
                }),
            ),
            (
                "martlet -dns.port=1053 -quiet",
                Args::Serve(ServeArgs {
                    port: 1053,
                    quiet: true,
                    ..plain.clone()
                }),
            ),
            (
                "martlet -p 54",
                Args::Serve(ServeArgs {
                    port: 54,
                    ..plain.clone()
                }),
            ),
            (
                "martlet -pidfile /run/pid",
                Args::Serve(ServeArgs {
                    pid_file: Some("/run/pid".into()),
                    ..plain.clone()
                }),
            ),
            (
                "martlet -io io_uring",
                Args::Serve(ServeArgs {
                    io: IoChoice::Only(Io::IoUring),
                    ..plain.clone()
                }),
            ),
            (
                "martlet -log-format=json",
                Args::Serve(ServeArgs {
                    log_format: Format::Json,
                    ..plain.clone()
                }),
            ),
            ("martlet -version", Args::Version),
            ("martlet -plugins", Args::Plugins),
            ("martlet check Corefile", check(false)),
            ("martlet check --needs Corefile", check(true)),
            (
                "martlet explain web AAAA -conf a --namespace shop --client fd00::7",
                Args::Explain(ExplainArgs {
                    name: "web".into(),
                    qtype: "AAAA".into(),
                    corefile: "a".into(),
                    namespace: "shop".into(),
                    port: None,
                    client: "fd00::7".parse().unwrap(),
                    ask: false,
                }),
            ),
            (
                "martlet dump --zone cluster.local",
                Args::Dump(DumpArgs {
                    corefile: "Corefile".into(),
                    zone: Some("cluster.local".into()),
                }),
            ),
            (
                "martlet top -once --interval 0.5",
                Args::Top(TopArgs {
                    metrics: "http://127.0.0.1:9153/metrics".into(),
                    interval: std::time::Duration::from_millis(500),
                    once: true,
                }),
            ),
            ("martlet completions bash", Args::Completions(Shell::Bash)),
            ("martlet man", Args::Man),
        ];
        for (line, expected) in cases {
            assert_eq!(parse(line).unwrap(), expected, "{line}");
        }
        for line in [
            "martlet Corefile",
            "martlet -dns.port 70000",
            "martlet -nope",
            "martlet -io epoll",
            "martlet -log-format xml",
            "martlet check",
            "martlet explain",
            "martlet explain a --client b",
            "martlet top --interval 0",
            "martlet completions cmd.exe",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
