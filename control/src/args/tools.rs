//! The commands beside serving, and their arguments.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use clap_complete::Shell;

use super::Args;

/// What `check` is asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CheckArgs {
    /// The Corefile.
    pub corefile: PathBuf,
    /// Whether what it needs is told, if nothing is wrong.
    pub needs: bool,
}

/// What `explain` is asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExplainArgs {
    /// The name, as a program in a pod would say it. With a dot at its end it is taken as it is. An
    /// address stands for its reverse name.
    pub name: String,
    /// The type's mnemonic.
    pub qtype: String,
    /// The Corefile.
    pub corefile: PathBuf,
    /// The namespace of the pod that asks; it makes the search list.
    pub namespace: String,
    /// The port that is asked, where the Corefile has several.
    pub port: Option<u16>,
    /// The address of the client, for those who are not answered alike.
    pub client: IpAddr,
    /// Whether upstreams are really asked.
    pub ask: bool,
}

/// What `dump` is asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DumpArgs {
    /// The Corefile.
    pub corefile: PathBuf,
    /// The only zone wanted; `None` for all.
    pub zone: Option<String>,
}

/// What `top` is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopArgs {
    /// The URL of the metrics.
    pub metrics: String,
    /// The time between two looks.
    pub interval: Duration,
    /// One look, printed as text.
    pub once: bool,
}

/// The arguments of a command that clap has found.
pub(super) fn read(name: &str, matches: &ArgMatches) -> Args {
    let text = |id: &str| matches.get_one::<String>(id).cloned();
    let required = |id: &str| text(id).expect("clap requires it or has a default");
    let path = |id: &str| {
        let path = matches.get_one::<PathBuf>(id);
        path.expect("clap requires it or has a default").clone()
    };
    match name {
        "check" => Args::Check(CheckArgs {
            corefile: path("corefile"),
            needs: matches.get_flag("needs"),
        }),
        "explain" => Args::Explain(ExplainArgs {
            name: required("name"),
            qtype: required("type"),
            corefile: path("conf"),
            namespace: required("namespace"),
            port: matches.get_one("port").copied(),
            client: *matches.get_one("client").expect("it has a default"),
            ask: matches.get_flag("ask"),
        }),
        "dump" => Args::Dump(DumpArgs {
            corefile: path("conf"),
            zone: text("zone"),
        }),
        "top" => Args::Top(TopArgs {
            metrics: required("metrics"),
            interval: *matches.get_one("interval").expect("it has a default"),
            once: matches.get_flag("once"),
        }),
        "completions" => {
            let shell = matches.get_one::<Shell>("shell");
            Args::Completions(*shell.expect("clap requires it"))
        }
        "man" => Args::Man,
        other => unreachable!("clap knows no command `{other}`"),
    }
}

/// The commands, as clap is told of them.
pub(super) fn commands() -> [Command; 6] {
    let option = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .action(ArgAction::SetTrue)
            .help(help)
    };
    let conf = || {
        option("conf", "FILE", "Corefile to load")
            .default_value("Corefile")
            .value_parser(value_parser!(PathBuf))
    };
    [
        Command::new("check")
            .about("Read a Corefile and say what is wrong with it")
            .arg(
                Arg::new("corefile")
                    .value_name("COREFILE")
                    .required(true)
                    .value_parser(value_parser!(PathBuf)),
            )
            .arg(switch(
                "needs",
                "Print its ports, those of its upstreams, and its rights as JSON",
            )),
        Command::new("explain")
            .about("Say how a name is answered, by what, and why")
            .arg(Arg::new("name").value_name("NAME").required(true).help(
                "Name as a program in a pod says it; with a dot at its end, as it is. An \
                         address stands for its reverse name",
            ))
            .arg(
                Arg::new("type")
                    .value_name("TYPE")
                    .default_value("A")
                    .help("Type of the records; PTR for addresses"),
            )
            .arg(conf())
            .arg(
                option("namespace", "NAMESPACE", "Namespace of the pod that asks")
                    .default_value("default"),
            )
            .arg(
                option("port", "PORT", "Port that is asked, if there are several")
                    .value_parser(value_parser!(u16)),
            )
            .arg(
                option(
                    "client",
                    "ADDRESS",
                    "Address of the client, for `view`, `acl` and the like",
                )
                .default_value("127.0.0.1")
                .value_parser(value_parser!(IpAddr)),
            )
            .arg(switch("ask", "Ask upstreams, too")),
        Command::new("dump")
            .about("Write the cluster's names as zone files (RFC 1035)")
            .arg(conf())
            .arg(option("zone", "ZONE", "This zone only")),
        Command::new("top")
            .about("Show what a running server does, by its metrics")
            .arg(
                option("metrics", "URL", "Where the metrics are")
                    .default_value("http://127.0.0.1:9153/metrics"),
            )
            .arg(
                option("interval", "SECONDS", "Time between two looks")
                    .default_value("1")
                    .value_parser(seconds),
            )
            .arg(switch(
                "once",
                "Print one look as text, as when the output is no terminal",
            )),
        Command::new("completions")
            .about("Write completions for a shell")
            .arg(
                Arg::new("shell")
                    .value_name("SHELL")
                    .required(true)
                    .value_parser(value_parser!(Shell)),
            ),
        Command::new("man").about("Write the manual page (roff)"),
    ]
}

/// Shortest time between two looks, in seconds.
const INTERVAL_MIN: f64 = 0.1;
/// Longest time between two looks, in seconds.
const INTERVAL_MAX: f64 = 3_600.0;

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok();
    seconds
        .filter(|seconds| (INTERVAL_MIN..=INTERVAL_MAX).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("must be from {INTERVAL_MIN} to {INTERVAL_MAX}"))
}
