//! `api MANIFESTS FOLDER`: the API server of the tests, with the objects in the JSON files of one
//! folder; writes a kubeconfig into the other and serves until it is killed. For servers that read a
//! cluster from nowhere else: `perf/versus` runs it for CoreDNS.

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use martlet_tests::FakeApi;
use martlet_tests::upheaval::read_objects;

fn main() -> ExitCode {
    let arguments = env::args().skip(1).collect::<Vec<_>>();
    let [manifests, folder] = &arguments[..] else {
        eprintln!("usage: api MANIFESTS FOLDER");
        return ExitCode::from(2);
    };
    let api = FakeApi::start(read_objects(Path::new(manifests)));
    println!("{}", api.write_kubeconfig(Path::new(folder)).display());
    loop {
        thread::park();
    }
}
