//! `explain`: how a name is answered, by what, and why.
//!
//! Queries walk the very chain that serves, with somebody watching, but through no socket. What
//! upstreams would say is only found out with `--ask`.

mod cluster;
mod upstream;

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use martlet_engine::chain::{Block, Listener, Outcome, Peer, Protocol, Stage, Step};
use martlet_engine::gathered::{Gathered, Need};
use martlet_engine::plugins::kubernetes::Kubernetes;
use martlet_engine::watched::{Watched, watch};
use martlet_engine::wire::message::question_of;
use martlet_engine::wire::name::reverse_of;
use martlet_engine::wire::{RType, Rcode};

use self::cluster::Meaning;
use super::record::{Record, answers, name_text, query, type_from_text};
use super::{Offline, ToolError, nobody, print};
use crate::args::ExplainArgs;
use crate::corefile::{Options, Position, Target};
use crate::names::wire_of;
use crate::run::RunError;

/// The resolver option that Kubernetes gives to pods: names with fewer dots are searched for.
const NDOTS: usize = 5;
/// Names inside names that are followed, and rounds of asking for one name.
const ROUNDS_MAX: usize = 8;

/// Says how the name is answered.
pub(super) fn explain(args: &ExplainArgs) -> Result<(), RunError> {
    let mut qtype =
        type_from_text(&args.qtype).ok_or_else(|| ToolError::Type(args.qtype.clone()))?;
    let mut asked = args.name.clone();
    if let Ok(address) = asked.parse::<IpAddr>() {
        asked = name_text(&reverse_of(address));
        // What stands there when nobody has said anything.
        qtype = if qtype == RType::A { RType::PTR } else { qtype };
    }
    let offline = Offline::load(&args.corefile)?;
    let listener = listener(&offline.assembled.plan.listeners, args.port)
        .ok_or(ToolError::NoListener(args.port))?;
    let explainer = Explainer {
        offline: &offline,
        listener: &listener,
        client: Peer {
            remote: SocketAddr::new(args.client, 0),
            ..nobody()
        },
        asks: args.ask,
    };
    let names = explainer.searched(&asked, &args.namespace);
    let mut wires = Vec::new();
    for name in &names {
        let wire = wire_of(name).ok_or_else(|| ToolError::Name(args.name.clone()))?;
        wires.push((name, wire));
    }
    let mut out = String::new();
    if names.len() > 1 {
        // Writing to a string cannot fail, here and below.
        let _ = writeln!(
            out,
            "A pod in namespace `{}` (ndots:{NDOTS}) asks for `{}` {qtype} as:\n",
            args.namespace, args.name
        );
    }
    let mut shown = None;
    for (place, (name, wire)) in wires.iter().enumerate() {
        let answer = explainer.look(wire, qtype, 0);
        let positive = answer.is_positive();
        if names.len() > 1 {
            let _ = writeln!(out, "  {}. {name}  {}", place + 1, answer.summary(qtype));
        }
        let open = answer
            .seen
            .as_ref()
            .is_some_and(|seen| seen.outcome == Outcome::Slow);
        if positive || (open && shown.is_none()) || names.len() == 1 {
            shown = Some((wire, answer));
        }
        if positive {
            if place + 1 < names.len() {
                let _ = writeln!(out, "     and stops there");
            }
            break;
        }
    }
    if let Some((wire, answer)) = shown {
        if !out.is_empty() {
            out.push('\n');
        }
        explainer.describe(wire, qtype, &answer, &mut out);
    }
    Ok(print(out.as_bytes())?)
}

/// The listener that a pod would ask: plain DNS, on this port if one is given, rather one that
/// knows a cluster.
fn listener(listeners: &[Arc<Listener>], port: Option<u16>) -> Option<Arc<Listener>> {
    let fits = |listener: &&Arc<Listener>| {
        let has_port = |port| listener.addresses.iter().any(|at| at.port() == port);
        matches!(listener.protocol, Protocol::Dns) && port.is_none_or(has_port)
    };
    let knows = |listener: &&Arc<Listener>| kubernetes_of(&listener.blocks).next().is_some();
    let mut fitting = listeners.iter().filter(fits);
    let found = fitting.clone().find(knows).or_else(|| fitting.next());
    found.cloned()
}

fn kubernetes_of<'a>(
    blocks: impl IntoIterator<Item = &'a Block>,
) -> impl Iterator<Item = &'a Kubernetes> {
    let stages = blocks.into_iter().flat_map(|block| &*block.stages);
    stages.filter_map(|stage| match stage {
        Stage::Kubernetes(kubernetes) => Some(&**kubernetes),
        _ => None,
    })
}

struct Explainer<'a> {
    offline: &'a Offline,
    listener: &'a Listener,
    client: Peer,
    asks: bool,
}

/// What was found out about one name.
struct Answer {
    /// How the query went; `None` if it was too long for one.
    seen: Option<Watched>,
    /// The answer section.
    records: Vec<Record>,
    /// What had to be asked elsewhere, line by line.
    elsewhere: Vec<String>,
    /// What the name is for the `kubernetes` of its block.
    meaning: Option<Meaning>,
}

impl Answer {
    fn is_positive(&self) -> bool {
        !self.records.is_empty()
    }

    /// One line.
    fn summary(&self, qtype: RType) -> String {
        let Some(seen) = &self.seen else {
            return "cannot be asked".to_owned();
        };
        let why = self.why(seen, qtype);
        let why = why.map_or_else(String::new, |why| format!(": {why}"));
        match seen.outcome {
            Outcome::Slow => "is for upstreams to answer".to_owned(),
            Outcome::Dropped => "gets no reply".to_owned(),
            Outcome::Reply => match self.records.len() {
                0 if seen.rcode == Rcode::NOERROR => format!("NODATA{why}"),
                0 => format!("{}{why}", seen.rcode),
                1 => "1 record".to_owned(),
                many => format!("{many} records"),
            },
        }
    }

    /// Why there are no records.
    fn why(&self, seen: &Watched, qtype: RType) -> Option<String> {
        if seen.outcome != Outcome::Reply || self.is_positive() {
            return None;
        }
        match seen.step {
            None => Some("no server block takes this name".to_owned()),
            Some(Step::Failed(_, "")) => None,
            Some(Step::Failed(_, cause)) => Some(cause.to_owned()),
            Some(_) if !self.elsewhere.is_empty() => None,
            Some(_) if seen.rcode == Rcode::SERVFAIL => {
                Some("the cluster's data is not complete yet".to_owned())
            }
            Some(_) => self.meaning.as_ref()?.missing(seen.rcode, qtype),
        }
    }
}

impl Explainer<'_> {
    /// The names that a pod's resolver asks for, in order.
    fn searched(&self, name: &str, namespace: &str) -> Vec<String> {
        let zone = kubernetes_of(&self.listener.blocks)
            .next()
            .map(|kubernetes| name_text(&kubernetes.primary));
        let (Some(zone), false) = (zone, name.ends_with('.')) else {
            return vec![format!("{}.", name.trim_end_matches('.'))];
        };
        let mut names = vec![
            format!("{name}.{namespace}.svc.{zone}"),
            format!("{name}.svc.{zone}"),
            format!("{name}.{zone}"),
        ];
        let first = name.matches('.').count() >= NDOTS;
        names.insert(if first { 0 } else { names.len() }, format!("{name}."));
        names
    }

    /// Walks a query through the chain, and again with what it needs where that is to be had.
    fn look(&self, name: &[u8], qtype: RType, depth: usize) -> Answer {
        let plan = (self.listener, &self.offline.assembled.plan.log);
        let packet = query(name, qtype);
        let mut gathered = Gathered::new(false);
        let mut elsewhere = Vec::new();
        // As a worker does, and then the slow path.
        let mut seen = watch(&packet, self.client, plan, None);
        if (seen.as_ref()).is_some_and(|seen| seen.outcome == Outcome::Slow) {
            seen = watch(&packet, self.client, plan, Some(&gathered));
        }
        for _ in 0..ROUNDS_MAX {
            match seen.as_mut().and_then(|seen| seen.need.take()) {
                None => break,
                Some(Need::Exchange { group, request }) => {
                    elsewhere.push(upstream::describe(&group));
                    if !self.asks {
                        break;
                    }
                    let question = question_of(&request).into();
                    let (said, result) = upstream::ask(&group, request);
                    elsewhere.extend(said);
                    gathered.add_exchange(group, question, result);
                }
                Some(Need::LookUp(inner)) => {
                    if depth >= ROUNDS_MAX {
                        break;
                    }
                    elsewhere.push(format!(
                        "leads to {} {}",
                        name_text(&inner.name),
                        inner.qtype
                    ));
                    let answer = self.look(&inner.name, inner.qtype, depth + 1);
                    elsewhere.extend(answer.elsewhere);
                    let reply = answer.seen.filter(|seen| seen.outcome == Outcome::Reply);
                    let Some(reply) = reply else { break };
                    gathered.add_look_up(inner, Some(reply.reply));
                }
                Some(Need::Pause { wait, number }) => {
                    elsewhere.push(format!("waits for {} ms", wait.as_millis()));
                    gathered.pause = Some(number);
                }
            }
            seen = watch(&packet, self.client, plan, Some(&gathered));
        }
        let records = seen
            .as_ref()
            .map_or_else(Vec::new, |seen| answers(&seen.reply));
        let block = seen.as_ref().and_then(|seen| seen.block);
        let block = block.map(|place| &self.listener.blocks[place]);
        let meaning = kubernetes_of(block).find_map(|kubernetes| Meaning::of(kubernetes, name));
        Answer {
            seen,
            records,
            elsewhere,
            meaning,
        }
    }

    /// Everything about one name.
    fn describe(&self, name: &[u8], qtype: RType, answer: &Answer, out: &mut String) {
        let mut line = |word: &str, text: &str| {
            let _ = writeln!(out, "  {word:<9} {text}");
        };
        let addresses = self.listener.addresses.iter().map(ToString::to_string);
        let addresses = addresses.collect::<Vec<_>>().join(" ");
        line("question", &format!("{} {qtype}", name_text(name)));
        line("listener", &addresses);
        let Some(seen) = &answer.seen else {
            return;
        };
        if let Some(place) = seen.block {
            let block = &self.listener.blocks[place];
            let position = self.position(block);
            let position = position.map_or_else(String::new, |at| format!(" ({at})"));
            let view = match block.view() {
                "" => String::new(),
                view => format!(", view {view}"),
            };
            let zone = name_text(&block.zone);
            line("block", &format!("{zone}{view}{position}"));
            line("stages", &stages(block, seen));
        }
        if let Some(meaning) = &answer.meaning {
            line("zone", &meaning.zone);
            line("means", &meaning.means);
            for object in &meaning.objects {
                line("object", object);
            }
        }
        for text in &answer.elsewhere {
            line("elsewhere", text);
        }
        match seen.outcome {
            Outcome::Slow => line("answer", "not known without asking; `--ask` does"),
            Outcome::Dropped => line("answer", "none is sent"),
            Outcome::Reply => {
                line("answer", &seen.rcode.to_string());
                for record in &answer.records {
                    line("", &record.to_string());
                }
                if let Some(why) = answer.why(seen, qtype) {
                    line("why", &why);
                }
            }
        }
    }

    /// Where the server block stands in the Corefile. Several may have one zone, if not the same
    /// address or view.
    fn position(&self, block: &Block) -> Option<&Position> {
        let (ip, port) = {
            let first = self.listener.addresses.first()?;
            (first.ip(), first.port())
        };
        let (corefile, default) = (&self.offline.corefile, Options::process().dns_port);
        let found = corefile.blocks.iter().find(|known| {
            let view = known.directives.view.as_ref();
            let view = view.map_or("", |view| &*view.name);
            let mut binds = known.directives.bind.iter().flat_map(|bind| &bind.listen);
            let listens = known.directives.bind.is_empty()
                || binds.any(|target| match target {
                    Target::Address(address) => *address == ip,
                    Target::Interface(_) => true,
                });
            view == block.view()
                && listens
                && known.addresses.iter().any(|address| {
                    let own = address.port;
                    let own = own.unwrap_or_else(|| address.scheme.default_port(default));
                    own == port && *address.zone.wire() == *block.zone
                })
        });
        found.map(|known| &known.position)
    }
}

/// The stages that the query passed, and what the last one said.
fn stages(block: &Block, seen: &Watched) -> String {
    let names = block.stages[..seen.passed.min(block.stages.len())]
        .iter()
        // It only touches replies.
        .filter(|stage| !matches!(stage, Stage::Clamp(_)))
        .map(|stage| format!("{} > ", stage.plugin().name()))
        .collect::<String>();
    let last = block.stages.get(seen.passed);
    let last = last.map_or("nobody", |stage| stage.plugin().name());
    let said = match seen.step {
        Some(Step::Answered) => "answers",
        Some(Step::Failed(..)) if seen.passed >= block.stages.len() => "answers",
        Some(Step::Failed(..)) => "fails",
        Some(Step::Dropped) => "drops the query",
        Some(Step::Slow) => "needs what is elsewhere",
        Some(Step::Next | Step::Wraps) | None => "",
    };
    format!("{names}{last} {said}")
}
