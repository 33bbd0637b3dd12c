//! Manifests as nodes run them: their Corefiles word for word, on the ports that they name, with the
//! rights that their pods have and no other.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use martlet_tests::netns::{isolated, mount_resolv_conf, run};
use martlet_tests::tools::available;
use martlet_tests::{Client, FakeApi, Process, Scrape, Setup, binary, wait_until};
use serde_json::Value;
use tempfile::TempDir;

use super::{corefile, folder, only};
use crate::fixtures::{becomes, cluster, manifest, status, status_at};

/// Where a pod finds its service account; `/var/run` is `/run`.
const ACCOUNT: &str = "/run/secrets/kubernetes.io/serviceaccount";
/// The address of the node-local form.
const NODE: Ipv4Addr = Ipv4Addr::new(169, 254, 20, 10);

/// Starts the server as a container's only process. It has the capability of its file, as the image
/// gives it, and no other, and is nobody in particular where other users can be had.
fn start(corefile: &str, scratch: &Path, environment: &[(&str, String)]) -> Process {
    let program = scratch.join("martlet");
    fs::copy(binary(), &program).expect("there is room for it");
    run(
        Path::new("setcap"),
        &["cap_net_bind_service=+ep", &program.display().to_string()],
    );
    let path = scratch.join("Corefile");
    fs::write(&path, corefile).expect("it is writable");
    fs::set_permissions(scratch, fs::Permissions::from_mode(0o755)).expect("it is ours");
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-all,+net_bind_service", "--inh-caps=-all"]);
    if are_there_users() {
        command.args(["--reuid=65532", "--regid=65532", "--clear-groups"]);
    }
    command.arg(program).arg("-conf").arg(path).current_dir("/");
    command.envs(environment.iter().map(|(name, value)| (*name, value)));
    Process::start(&mut command)
}

/// Puts an empty folder over `/run`, in which `/etc/resolv.conf` may lie.
fn hide_run() {
    let resolv_conf = fs::canonicalize("/etc/resolv.conf").expect("there is one");
    run(Path::new("mount"), &["-t", "tmpfs", "tmpfs", "/run"]);
    if !resolv_conf.exists() {
        let folder = resolv_conf.parent().expect("a file lies in a folder");
        fs::create_dir_all(folder).expect("it is ours");
        fs::write(&resolv_conf, "").expect("as before");
    }
}

/// False in a user namespace that knows its owner alone.
fn are_there_users() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").expect("Linux has it");
    map.contains("4294967295")
}

/// A client that waits until somebody answers at this address.
fn client(server: &mut Process, address: Ipv4Addr) -> Client {
    let client = Client::new(SocketAddr::from((address, 53)));
    let query = martlet_tests::dns::Query::new("probe.invalid.", "A");
    let up = wait_until(Duration::from_secs(20), || {
        let is_over = server.ended().is_some();
        (is_over || client.send(&query).is_some()).then_some(!is_over)
    });
    assert_eq!(up, Some(true), "{}", server.output());
    client
}

#[test]
fn the_base_serves_as_a_pod() {
    if !available(&["setcap", "setpriv"]) {
        return;
    }
    isolated("deploy::pod::the_base_serves_as_a_pod", || {
        let scratch = TempDir::new().expect("the temporary directory is writable");
        let objects = folder("base");
        let api = FakeApi::start(cluster());
        let rules = only(&objects, "ClusterRole")["rules"].as_array();
        api.allow_only(rules.expect("a list").clone());
        hide_run();
        fs::create_dir_all(ACCOUNT).expect("it is ours");
        let environment = api.write_service_account(Path::new(ACCOUNT));
        mount_resolv_conf(scratch.path(), "nameserver 192.0.2.53\n");
        let mut server = start(corefile(&objects), scratch.path(), &environment);
        let client = client(&mut server, Ipv4Addr::LOCALHOST);
        let (name, soon) = ("web.shop.svc.cluster.local.", Duration::from_secs(20));
        let ready = wait_until(soon, || (status(8181, "/ready") == "200").then_some(()));
        assert!(ready.is_some(), "{}", server.output());
        becomes(client, name, &["10.96.0.20"], soon);
        assert_eq!(client.ask_tcp(name, "A").addresses().len(), 1);
        assert_eq!(status(8080, "/health"), "200");
        assert!(Scrape::of(9153).sum("coredns_dns_requests_total", &[]) >= 2.0);
        // It goes within the time that the pod is given, and lameduck is a part of that.
        let pod = &only(&objects, "Deployment")["spec"]["template"]["spec"];
        let grace = pod["terminationGracePeriodSeconds"].as_u64();
        let ended = server.terminate(Duration::from_secs(grace.expect("a number")));
        assert!(
            ended.is_some_and(|status| status.success()),
            "{}",
            server.output()
        );
    });
}

/// What the node-local form asks: the cluster's server, and the one of the node's resolv.conf.
const BEHIND: &str = "\
cluster.local:53 in-addr.arpa:53 {
    bind 10.96.0.10
    kubernetes cluster.local in-addr.arpa {
        manifests cluster.yaml
    }
}
.:53 {
    bind 10.0.0.53
    hosts {
        192.0.2.80 www.acme.test
    }
}
";

#[test]
fn the_node_local_form_serves_on_a_node() {
    if !available(&["setcap", "setpriv"]) {
        return;
    }
    isolated("deploy::pod::the_node_local_form_serves_on_a_node", || {
        let scratch = TempDir::new().expect("the temporary directory is writable");
        let objects = folder("node-local");
        let pod = &only(&objects, "DaemonSet")["spec"]["template"]["spec"];
        make_address(&pod["initContainers"][0]["command"]);
        for address in ["10.96.0.10/32", "10.0.0.53/32"] {
            run(Path::new("ip"), &["addr", "add", address, "dev", "lo"]);
        }
        mount_resolv_conf(scratch.path(), "nameserver 10.0.0.53\n");
        let behind = Setup::new(BEHIND).file("cluster.yaml", &manifest(&cluster()));
        let _behind = behind.at_once().start();
        let mut server = start(corefile(&objects), scratch.path(), &[]);
        let client = client(&mut server, NODE);
        let soon = Duration::from_secs(20);
        becomes(client, "web.shop.svc.cluster.local.", &["10.96.0.20"], soon);
        becomes(client, "www.acme.test.", &["192.0.2.80"], soon);
        assert_eq!(client.ask_tcp("www.acme.test.", "A").addresses().len(), 1);
        assert_eq!(client.ask("20.0.96.10.in-addr.arpa.", "PTR").an.len(), 1);
        assert_eq!(status_at(NODE, 8080, "/health"), "200");
        assert_eq!(status_at(NODE, 8181, "/ready"), "200");
        assert!(Scrape::of(9253).sum("coredns_dns_requests_total", &[]) >= 4.0);
    });
}

/// Runs the command of the init container twice, as at the start of a node's first and second pod.
fn make_address(command: &Value) {
    let words = command.as_array().expect("a list").iter();
    let words: Vec<_> = words.map(|word| word.as_str().expect("a text")).collect();
    let ip = |arguments: &[&str]| Command::new("ip").args(arguments).output();
    let dummy = ip(&["link", "add", "probe", "type", "dummy"]).expect("it is installed");
    if !dummy.status.success() {
        // A kernel without such interfaces: the command finds one of another type.
        run(
            Path::new("ip"),
            &[
                "link",
                "add",
                "nodelocaldns",
                "type",
                "veth",
                "peer",
                "name",
                "probe",
            ],
        );
    }
    for _ in 0..2 {
        let mut arguments = vec![
            "--bounding-set=-all,+net_admin",
            "--inh-caps=-all",
            "--no-new-privs",
        ];
        arguments.extend(&words);
        run(Path::new("setpriv"), &arguments);
    }
}
