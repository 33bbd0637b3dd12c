//! What upheavals of the cluster cost in memory: everything is listed anew because the history is
//! gone, and every object changes at once, again and again.

use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::dns::Query;
use crate::fake_api::{FakeApi, Gone};
use crate::martlet::{Martlet, Setup, binary};
use crate::process::{status_kib, wait_until};

/// Long enough for any cluster.
const PATIENCE: Duration = Duration::from_secs(300);
/// The Service that shows how far the server has come.
const MARK: &str = "upheaval-mark";

/// An upheaval and what it took; memory in KiB.
pub struct Upheaval {
    /// What it was.
    pub name: String,
    /// From its beginning until the server answered with the last change.
    pub time: Duration,
    /// The most that was resident meanwhile.
    pub most: usize,
    /// Resident some time after.
    pub after: usize,
}

/// What was found.
pub struct Report {
    /// From the process' start to its first answer.
    pub ready: Duration,
    /// Objects in the cluster.
    pub objects: usize,
    /// Resident after the start, in KiB.
    pub steady: usize,
    /// In their order.
    pub upheavals: Vec<Upheaval>,
}

/// The objects in the JSON files of a folder, each an object or a list of them.
pub fn read_objects(folder: &Path) -> Vec<Value> {
    let entries = fs::read_dir(folder).expect("the folder can be read");
    entries
        .flat_map(|entry| {
            let text = fs::read(entry.expect("the folder can be read").path());
            let mut value: Value =
                serde_json::from_slice(&text.expect("the file can be read")).expect("it is JSON");
            match value["items"].take() {
                Value::Array(items) => items,
                _ => vec![value],
            }
        })
        .collect()
}

/// Serves these objects, has them listed anew once, and then changes every one of them `storms`
/// times; memory has the time `rest` to settle each time. `pods` is the mode of the `kubernetes`
/// directive.
pub fn run(objects: Vec<Value>, pods: &str, storms: u32, rest: Duration) -> Report {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": MARK}});
    let mut all = objects.clone();
    all.extend([namespace, service(), slice(0)]);
    let count = all.len();
    let api = FakeApi::start(all);
    let folder = tempfile::tempdir().expect("the temporary directory is writable");
    let corefile = format!(
        ".:{{PORT}} {{\n    bind 127.0.0.1\n    kubernetes cluster.local in-addr.arpa ip6.arpa {{\n        \
         kubeconfig {}\n        pods {pods}\n        ttl 0\n        startup_timeout 5m\n    }}\n}}\n",
        api.write_kubeconfig(folder.path()).display()
    );
    binary(); // Which may have to be built first.
    let start = Instant::now();
    let martlet = Setup::new(&corefile)
        .until_it_answers(&format!("{}.", name()))
        .start();
    let ready = start.elapsed();
    seen(&martlet, 0);
    thread::sleep(rest);
    let steady = memory(&martlet, "VmRSS");
    let mut number = 0;
    let mut upheaval = |name: String, turn: &mut dyn FnMut(u32)| {
        number += 1;
        forget_the_most(&martlet);
        let start = Instant::now();
        turn(number);
        seen(&martlet, number);
        let time = start.elapsed();
        thread::sleep(rest);
        Upheaval {
            name,
            time,
            most: memory(&martlet, "VmHWM"),
            after: memory(&martlet, "VmRSS"),
        }
    };
    let mut upheavals = vec![upheaval("relist".to_owned(), &mut |number| {
        api.upsert_silently(slice(number));
        api.expire(Gone::Event);
    })];
    for storm in 1..=storms {
        upheavals.push(upheaval(format!("storm {storm}"), &mut |number| {
            for object in &objects {
                api.upsert(touched(object, number));
            }
            api.upsert(slice(number));
        }));
    }
    Report {
        ready,
        objects: count,
        steady,
        upheavals,
    }
}

/// The object with a new annotation and, if it has endpoints, with the first of them gone or back.
fn touched(object: &Value, number: u32) -> Value {
    let mut object = object.clone();
    object["metadata"]["annotations"] = json!({"touched": number.to_string()});
    if let Some(first) = object.pointer_mut("/endpoints/0") {
        first["conditions"] = json!({"ready": number.is_multiple_of(2)});
    }
    object
}

/// Waits until the server answers with the address of this number.
fn seen(martlet: &Martlet, number: u32) {
    let (client, asked) = (martlet.client(), format!("{}.", name()));
    let expected = IpAddr::from(address(number));
    let found = wait_until(PATIENCE, || {
        let reply = client.send(&Query::new(&asked, "A"))?;
        reply.addresses().contains(&expected).then_some(())
    });
    assert!(
        found.is_some(),
        "change {number} was never answered:\n{}",
        martlet.log()
    );
}

fn memory(martlet: &Martlet, field: &str) -> usize {
    status_kib(martlet.process.id(), field).expect("the process runs")
}

/// Has the kernel measure `VmHWM` from now on.
fn forget_the_most(martlet: &Martlet) {
    let path = format!("/proc/{}/clear_refs", martlet.process.id());
    fs::write(path, "5").expect("the process is ours");
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0b00_0000 + number)
}

fn name() -> String {
    format!("{MARK}.{MARK}.svc.cluster.local")
}

fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": MARK, "namespace": MARK},
        "spec": {"clusterIP": "None", "clusterIPs": ["None"], "type": "ClusterIP"},
    })
}

fn slice(number: u32) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": MARK, "namespace": MARK, "labels": {"kubernetes.io/service-name": MARK},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address(number).to_string()]}],
        "ports": [],
    })
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |kib: usize| kib as f64 / 1024.0;
        let ready = self.ready.as_secs_f64();
        writeln!(
            f,
            "{} objects, answered {ready:.2} s after the start",
            self.objects
        )?;
        writeln!(
            f,
            "{:<10}{:>8}{:>12}{:>8}{:>12}",
            "", "s", "most MiB", "ratio", "after MiB"
        )?;
        write!(f, "{:<10}{:>40.1}", "steady", mib(self.steady))?;
        for upheaval in &self.upheavals {
            write!(
                f,
                "\n{:<10}{:>8.2}{:>12.1}{:>8.2}{:>12.1}",
                upheaval.name,
                upheaval.time.as_secs_f64(),
                mib(upheaval.most),
                upheaval.most as f64 / self.steady as f64,
                mib(upheaval.after),
            )?;
        }
        Ok(())
    }
}
