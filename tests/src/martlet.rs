//! The server as a child process.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::Client;
use crate::dns::Query;
use crate::process::{Process, wait_until};

/// How to start a server.
pub struct Setup {
    corefile: String,
    files: Vec<(String, String)>,
    arguments: Vec<String>,
    ports: Vec<u16>,
    ready: Ready,
    descriptors: Option<u32>,
    environment: Vec<(String, String)>,
}

/// When a server is taken to be up.
enum Ready {
    /// It answers this name, and not with SERVFAIL.
    Answers(String),
    /// It answers anything.
    Talks,
    /// At once.
    Started,
}

impl Setup {
    /// A server with this Corefile. `{PORT}`, `{PORT2}`, … are replaced by free ports, `{DIR}` by
    /// the working directory.
    pub fn new(corefile: &str) -> Self {
        let ready = if corefile.contains("kubernetes ") {
            Ready::Answers("probe.default.svc.cluster.local.".to_owned())
        } else {
            Ready::Talks
        };
        let setup = Self {
            corefile: corefile.to_owned(),
            files: Vec::new(),
            arguments: Vec::new(),
            ports: Vec::new(),
            ready,
            descriptors: None,
            environment: Vec::new(),
        };
        let ports = (1..10)
            .take_while(|n| setup.corefile.contains(&placeholder(*n)))
            .count();
        Self {
            ports: (0..ports.max(1)).map(|_| free_port()).collect(),
            ..setup
        }
    }

    /// A file in the working directory.
    #[must_use]
    pub fn file(mut self, name: &str, text: &str) -> Self {
        self.files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// One more argument of the command line.
    #[must_use]
    pub fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// Asks this port, not a free one; for Corefiles that name their ports themselves.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.ports = vec![port];
        self
    }

    /// A variable of its environment.
    #[must_use]
    pub fn environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// It may open so many files, itself included, and no more. Needs `prlimit`.
    #[must_use]
    pub const fn descriptors(mut self, most: u32) -> Self {
        self.descriptors = Some(most);
        self
    }

    /// Waits until it answers this name, and not with SERVFAIL.
    #[must_use]
    pub fn until_it_answers(mut self, name: &str) -> Self {
        self.ready = Ready::Answers(name.to_owned());
        self
    }

    /// Does not wait for a synchronized cluster.
    #[must_use]
    pub fn until_it_talks(mut self) -> Self {
        self.ready = Ready::Talks;
        self
    }

    /// Does not wait at all.
    #[must_use]
    pub fn at_once(mut self) -> Self {
        self.ready = Ready::Started;
        self
    }

    /// Starts the server and waits until it is up; panics with its log when it does not come up.
    pub fn start(self) -> Martlet {
        let dir = TempDir::with_prefix("martlet-").expect("the temporary directory is writable");
        let fill = |text: &str| fill(text, &self.ports, dir.path());
        for (name, text) in &self.files {
            fs::write(dir.path().join(name), fill(text)).expect("the directory is writable");
        }
        let corefile = dir.path().join("Corefile");
        fs::write(&corefile, fill(&self.corefile)).expect("the directory is writable");
        let mut command = match self.descriptors {
            None => Command::new(binary()),
            // It becomes the server.
            Some(most) => {
                let mut command = Command::new("prlimit");
                command.arg(format!("--nofile={most}:{most}")).arg(binary());
                command
            }
        };
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.current_dir(dir.path()).arg("-conf").arg(corefile);
        command.args(self.arguments.iter().map(|argument| fill(argument)));
        let process = Process::start(&mut command);
        let mut martlet = Martlet {
            process,
            ports: self.ports,
            dir,
        };
        martlet.wait_ready(&self.ready);
        martlet
    }
}

/// A running server. It is killed when dropped.
pub struct Martlet {
    /// The process.
    pub process: Process,
    ports: Vec<u16>,
    dir: TempDir,
}

impl Martlet {
    /// Starts a server with this Corefile and these files (name, text) beside it.
    pub fn start(corefile: &str, files: &[(&str, &str)]) -> Self {
        let setup = Setup::new(corefile);
        files
            .iter()
            .fold(setup, |setup, (name, text)| setup.file(name, text))
            .start()
    }

    /// The port that stands for `{PORT}`.
    pub fn port(&self) -> u16 {
        self.ports[0]
    }

    /// The port that stands for `{PORT2}`, `{PORT3}`, …
    pub fn nth_port(&self, n: usize) -> u16 {
        self.ports[n - 1]
    }

    /// Its working directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Replaces a file in its working directory in one step, as Kubernetes does; `{PORT}` and the
    /// others are replaced as at the start.
    pub fn write(&self, name: &str, text: &str) {
        let new = self.dir.path().join(".new");
        fs::write(&new, fill(text, &self.ports, self.dir.path())).expect("it is writable");
        fs::rename(&new, self.dir.path().join(name)).expect("both are in one directory");
    }

    /// How often it has said this.
    pub fn said(&self, words: &str) -> usize {
        self.log().matches(words).count()
    }

    /// Waits until it has said this once more than `before` times; panics when it does not.
    pub fn says_again(&self, words: &str, before: usize) {
        let said = wait_until(Duration::from_secs(20), || {
            (self.said(words) > before).then_some(())
        });
        assert!(said.is_some(), "no more `{words}`:\n{}", self.log());
    }

    /// Has it read this Corefile at once, and waits until it serves it.
    pub fn reload(&self, corefile: &str) {
        let before = self.said("Reloading complete");
        self.write("Corefile", corefile);
        self.process.signal(Signal::USR1);
        self.says_again("Reloading complete", before);
    }

    /// The same with a Corefile that it cannot use. Returns what it says of it.
    pub fn refuses(&self, corefile: &str) -> String {
        let (before, words) = (self.log().len(), "SIGUSR1: reload failed");
        let said = self.said(words);
        self.write("Corefile", corefile);
        self.process.signal(Signal::USR1);
        self.says_again(words, said);
        self.log()[before..].to_owned()
    }

    /// A client for 127.0.0.1.
    pub fn client(&self) -> Client {
        Client::new(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port())))
    }

    /// What it has printed.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// Stops it as an operator would, and returns its exit status.
    pub fn stop(&mut self) -> ExitStatus {
        let status = self.process.terminate(Duration::from_secs(10));
        status.unwrap_or_else(|| panic!("did not end on SIGTERM; it said:\n{}", self.log()))
    }

    fn wait_ready(&mut self, ready: &Ready) {
        let (name, any) = match ready {
            Ready::Answers(name) => (name.as_str(), false),
            Ready::Talks => ("probe.invalid.", true),
            Ready::Started => return,
        };
        let client = Client {
            patience: Duration::from_millis(300),
            ..self.client()
        };
        let up = wait_until(Duration::from_secs(20), || {
            if self.process.ended().is_some() {
                return Some(false);
            }
            let reply = client.send(&Query::new(name, "A"))?;
            (any || reply.rcode != "SERVFAIL").then_some(true)
        });
        assert!(
            up == Some(true),
            "the server did not come up; it said:\n{}",
            self.log()
        );
    }
}

/// A process that has ended.
pub struct Finished {
    /// Its exit code; None when a signal ended it.
    pub code: Option<i32>,
    /// What it printed on stdout.
    pub stdout: String,
    /// What it printed on stderr.
    pub stderr: String,
}

/// Runs the binary to its end; kills it after ten seconds.
pub fn run_binary(dir: &Path, arguments: &[&str]) -> Finished {
    let [stdout, stderr] = ["stdout", "stderr"].map(|name| dir.join(format!(".{name}")));
    let file = |path: &Path| fs::File::create(path).expect("the directory is writable");
    let mut command = Command::new(binary());
    command
        .current_dir(dir)
        .args(arguments)
        .stdout(file(&stdout))
        .stderr(file(&stderr));
    let mut child = command.spawn().expect("the binary has been built");
    let status = wait_until(Duration::from_secs(10), || {
        child.try_wait().expect("the child is ours to wait for")
    });
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    let text = |path| fs::read_to_string(path).unwrap_or_default();
    Finished {
        code: status.and_then(|status| status.code()),
        stdout: text(&stdout),
        stderr: text(&stderr),
    }
}

/// The server's binary: `MARTLET_BIN`, or built now, once, as the tests themselves were built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match env::var_os("MARTLET_BIN") {
        Some(path) => path.into(),
        None => build(),
    })
}

/// Builds into the target directory and with the profile that the running test shows by its place
/// (`target/PROFILE/deps/integration-…`). All members are selected, as by `cargo test --workspace`,
/// since features of shared crates, and with them what is built already, depend on that.
fn build() -> PathBuf {
    let test = env::current_exe().expect("a running program has a file");
    let profile_dir = test
        .ancestors()
        .nth(2)
        .expect("tests lie in target/PROFILE/deps");
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(profile) => profile,
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "build",
        "--quiet",
        "--workspace",
        "--bin",
        "martlet",
        "--profile",
        profile,
    ]);
    command
        .arg("--target-dir")
        .arg(profile_dir.parent().expect("target/PROFILE has a parent"));
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    let status = command.status().expect("cargo can be started");
    assert!(status.success(), "{command:?}: {status}");
    profile_dir.join("martlet")
}

fn fill(text: &str, ports: &[u16], dir: &Path) -> String {
    let ports = ports.iter().enumerate();
    let text = ports.fold(text.to_owned(), |text, (n, port)| {
        text.replace(&placeholder(n + 1), &port.to_string())
    });
    text.replace("{DIR}", &dir.to_string_lossy())
}

fn placeholder(n: usize) -> String {
    if n == 1 {
        "{PORT}".to_owned()
    } else {
        format!("{{PORT{n}}}")
    }
}

/// A port that nobody uses, below those that the kernel hands out by itself. Counting up keeps the
/// tests of one process apart: the server shares ports with whoever else sets SO_REUSEPORT, so that
/// two servers on one port would not even notice.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 100).expect("below 100") * 100;
    loop {
        let port = 20_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        let address = (Ipv4Addr::LOCALHOST, port);
        if TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok() {
            return port;
        }
    }
}
