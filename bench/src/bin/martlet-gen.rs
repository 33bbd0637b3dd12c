//! Writes an invented cluster (manifests and question lists) into a folder.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use martlet_bench::cluster::manifest::{self, Extras, Format};
use martlet_bench::cluster::queries::{List, Question, Questions};
use martlet_bench::cluster::{Cluster, Shape, zone};

/// Writes an invented cluster: DIR/manifests (for `kubernetes { manifests DIR/manifests }`) and
/// DIR/queries (one `NAME TYPE` a line).
#[derive(Parser)]
struct Args {
    /// Services in the cluster
    #[arg(long, default_value_t = 10_000)]
    services: u32,
    /// Pods behind all Services together
    #[arg(long, default_value_t = 100_000)]
    endpoints: u32,
    /// Namespaces
    #[arg(long, default_value_t = 200)]
    namespaces: u32,
    /// Share of headless Services, 0 to 1
    #[arg(long, default_value_t = 0.1)]
    headless_share: f64,
    /// Share of Services with IPv4 and IPv6, 0 to 1
    #[arg(long, default_value_t = 0.1)]
    dual_stack_share: f64,
    /// The same seed gives the same bytes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Lines in each question list
    #[arg(long, default_value_t = 100_000)]
    queries: usize,
    /// Write the Pods as well, for `pods verified`
    #[arg(long)]
    pods: bool,
    /// Write v1 Endpoints as well, for servers that read no EndpointSlices
    #[arg(long)]
    v1_endpoints: bool,
    /// How manifests are printed
    #[arg(long, value_enum, default_value_t = FormatArg::Yaml)]
    format: FormatArg,
    /// Write DIR/cluster.zone and DIR/cluster.hosts as well, the same names for other servers, and
    /// DIR/reverse.zone and DIR/external.zone, what the rest of the questions is answered with
    #[arg(long)]
    zone: bool,
    /// Folder to write into; created when missing
    #[arg(long)]
    out: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum FormatArg {
    Yaml,
    Json,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => martlet_bench::fail(&*error),
    }
}

fn run(args: &Args) -> Result<(), Box<dyn std::error::Error>> {
    let cluster = Cluster::new(Shape {
        services: args.services,
        endpoints: args.endpoints,
        namespaces: args.namespaces,
        headless_share: args.headless_share,
        dual_stack_share: args.dual_stack_share,
        seed: args.seed,
    })?;
    let format = match args.format {
        FormatArg::Yaml => Format::Yaml,
        FormatArg::Json => Format::Json,
    };
    let extras = Extras {
        pods: args.pods,
        v1_endpoints: args.v1_endpoints,
    };
    manifest::write(&cluster, &args.out.join("manifests"), format, extras)?;
    let directory = args.out.join("queries");
    std::fs::create_dir_all(&directory).map_err(|source| manifest::WriteError {
        path: directory.clone(),
        source,
    })?;
    for list in List::ALL {
        let path = directory.join(list.file_name());
        let questions = Questions::new(&cluster, list).take(args.queries);
        write_file(path, |out| write_list(out, questions))?;
    }
    if args.zone {
        write_file(args.out.join("cluster.zone"), |out| {
            zone::write(&cluster, out)
        })?;
        write_file(args.out.join("cluster.hosts"), |out| {
            zone::write_hosts(&cluster, out)
        })?;
        write_file(args.out.join("reverse.zone"), |out| {
            zone::write_reverse(&cluster, out)
        })?;
        write_file(args.out.join("external.zone"), |out| {
            zone::write_external(out)
        })?;
    }
    Ok(())
}

fn write_file(
    path: PathBuf,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), manifest::WriteError> {
    let written = File::create(&path).and_then(|file| {
        let mut out = BufWriter::new(file);
        write(&mut out)?;
        out.flush()
    });
    written.map_err(|source| manifest::WriteError { path, source })
}

fn write_list(out: &mut impl Write, questions: impl Iterator<Item = Question>) -> io::Result<()> {
    for question in questions {
        writeln!(out, "{question}")?;
    }
    Ok(())
}
