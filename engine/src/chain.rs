//! The compiled plan: listeners, server blocks, and each block's plugins in CoreDNS's fixed order.
//!
//! A block is a list of [`Stage`]s. A query walks it forwards until a stage says something else
//! than [`Step::Next`]; then the stages that were passed see the reply, backwards. That is the
//! whole contract: what wraps a response writer in CoreDNS is a response side here.
//!
//! The plan is immutable. Control builds it, workers pick up the current one once a turn.

mod listener;
mod random;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use self::listener::Lead;
pub use self::listener::{Listener, Protocol};
pub use self::random::Random;
use crate::direct::{Direct, Kept};
use crate::gathered::{Gathered, Need};
use crate::log::LogSink;
use crate::metrics::{Metrics, Observation, Plugin, Scope};
use crate::plugins::{
    acl, any, autopath, bufsize, cache, cancel, chaos, dns64, erratic, errors, file, forward,
    header, hosts, kubernetes, loadbalance, local, log, loop_, minimal, no_aaaa, nsid, rewrite,
    template, transfer, view, whoami, zones,
};
#[cfg(test)]
use crate::wire::name::Folded;
use crate::wire::name::count_labels;
use crate::wire::{FoldedName, Message, Query, Rcode, Reply};

/// What a stage says of a query.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// The reply holds the answer.
    Answered,
    /// Not mine: ask the next stage.
    Next,
    /// Nothing was written; the server sends this code without AA or records. The text is what
    /// `errors` logs; empty for codes that are no failure.
    Failed(Rcode, &'static str),
    /// No reply at all.
    Dropped,
    /// The answer needs I/O, which the context's need names: the query goes to the slow path.
    Slow,
    /// The stage serves the query itself, through the stages behind it; see [`crate::inner`].
    Wraps,
}

/// One plugin of a server block. A closed list: dispatch is a jump, and what a plugin may do is
/// what these two methods let it.
#[derive(Clone)]
pub enum Stage {
    /// Has the block for some queries only; the listener asks it.
    View(Arc<view::View>),
    /// Limits how long queries wait.
    Cancel(Duration),
    /// Tells the server's identifier.
    Nsid(Arc<[u8]>),
    /// Limits payload sizes.
    Bufsize(u16),
    /// Logs failures.
    Errors(errors::Errors),
    /// Logs queries.
    Log(log::Log),
    /// Answers `localhost` and its like.
    Local(local::Local),
    /// Makes IPv6 addresses.
    Dns64(dns64::Dns64),
    /// Answers ANY with HINFO.
    Any,
    /// Tells of the server, in class CH.
    Chaos(Box<chaos::Chaos>),
    /// Rotates RRsets.
    LoadBalance,
    /// Puts some addresses first.
    OrderAddresses(Arc<loadbalance::Order>),
    /// Asks something else.
    Rewrite(Arc<rewrite::Rewrite>),
    /// Walks search lists.
    Autopath(Arc<autopath::Autopath>),
    /// Says who may ask.
    Acl(Arc<acl::Acl>),
    /// Clamps TTLs.
    Clamp(Arc<cache::Cache>),
    /// Changes flags.
    Header(header::Header),
    /// Leaves out what answers do not need.
    Minimal,
    /// Answers from the question.
    Templates(Arc<template::Templates>),
    /// Hands out whole zones.
    Transfer(Arc<transfer::Transfer>),
    /// Answers from hosts files.
    Hosts(Arc<hosts::Hosts>),
    /// Answers from what Services are called outside of the cluster.
    K8sExternal(Arc<kubernetes::K8sExternal>),
    /// Answers from the cluster's index.
    Kubernetes(Arc<kubernetes::Kubernetes>),
    /// Denies IPv6 addresses.
    NoAaaa(Arc<zones::Zones>),
    /// Answers from replies of upstreams, and keeps them.
    Store(Arc<cache::Cache>),
    /// Notices queries that come back to their sender.
    Loop(Arc<loop_::Loop>),
    /// Asks upstreams.
    Forward(forward::Forward),
    /// Fails on purpose.
    Erratic(Arc<erratic::Erratic>),
    /// Zones from files.
    File(Arc<file::File>),
    /// Tells clients their address.
    Whoami,
    /// Does what a test wants.
    #[cfg(test)]
    Fixed(fn(&mut Context<'_>, &mut Reply<'_>) -> Step),
    /// Panics at some names, to show what becomes of that.
    #[cfg(test)]
    Panic,
}

impl Stage {
    /// The plugin that this is, or is a part of.
    pub const fn plugin(&self) -> Plugin {
        match self {
            Self::Errors(_) => Plugin::Errors,
            Self::Log(_) => Plugin::Log,
            Self::Local(_) => Plugin::Local,
            Self::Any => Plugin::Any,
            Self::Cancel(_) => Plugin::Cancel,
            Self::Nsid(_) => Plugin::Nsid,
            Self::Bufsize(_) => Plugin::Bufsize,
            Self::Chaos(_) => Plugin::Chaos,
            Self::Acl(_) => Plugin::Acl,
            Self::View(_) => Plugin::View,
            Self::Dns64(_) => Plugin::Dns64,
            Self::Autopath(_) => Plugin::Autopath,
            Self::Header(_) => Plugin::Header,
            Self::Minimal => Plugin::Minimal,
            Self::NoAaaa(_) => Plugin::NoAaaa,
            Self::LoadBalance | Self::OrderAddresses(_) => Plugin::LoadBalance,
            Self::Rewrite(_) => Plugin::Rewrite,
            Self::Clamp(_) | Self::Store(_) => Plugin::Cache,
            Self::Templates(_) => Plugin::Template,
            Self::Transfer(_) => Plugin::Transfer,
            Self::Hosts(_) => Plugin::Hosts,
            Self::K8sExternal(_) => Plugin::K8sExternal,
            Self::Kubernetes(_) => Plugin::Kubernetes,
            Self::Loop(_) => Plugin::Loop,
            Self::Forward(_) => Plugin::Forward,
            Self::Erratic(_) => Plugin::Erratic,
            Self::File(_) => Plugin::File,
            Self::Whoami => Plugin::Whoami,
            #[cfg(test)]
            Self::Panic | Self::Fixed(_) => Plugin::None,
        }
    }

    // Always: there are two callers, serving and tools, and serving must not pay for that.
    #[inline(always)]
    pub(crate) fn query(&self, context: &mut Context<'_>, reply: &mut Reply<'_>) -> Step {
        match self {
            Self::Errors(_)
            | Self::Log(_)
            | Self::Clamp(_)
            | Self::Nsid(_)
            | Self::View(_)
            | Self::Minimal => Step::Next,
            Self::Cancel(limit) => cancel::query(*limit, context),
            Self::Bufsize(max) => bufsize::query(*max, context, reply),
            Self::Chaos(chaos) => chaos.query(context, reply),
            Self::Dns64(dns64) => dns64.query(context),
            Self::Autopath(autopath) => autopath.query(context),
            Self::Acl(acl) => acl.query(context, reply),
            Self::Header(header) => header.query(context, reply),
            Self::NoAaaa(zones) => no_aaaa::query(zones, context, reply),
            Self::Store(cache) => cache.query(context, reply),
            Self::Loop(detector) => detector.query(context),
            Self::LoadBalance => {
                context.rotates = true;
                Step::Next
            }
            Self::OrderAddresses(order) => order.query(context),
            Self::Local(local) => local.query(context, reply),
            Self::Rewrite(rewrite) => rewrite.query(context),
            Self::Any => any::query(context, reply),
            Self::Templates(templates) => templates.query(context, reply),
            Self::Transfer(transfer) => transfer.query(context, reply),
            Self::Hosts(hosts) => hosts.query(context, reply),
            Self::K8sExternal(external) => external.query(context, reply),
            Self::Kubernetes(kubernetes) => kubernetes.query(context, reply),
            Self::Forward(forward) => forward.query(context, reply),
            Self::Erratic(erratic) => erratic.query(context, reply),
            Self::File(file) => file.query(context, reply),
            Self::Whoami => whoami::query(context, reply),
            #[cfg(test)]
            Self::Fixed(act) => act(context, reply),
            #[cfg(test)]
            Self::Panic => {
                let name = context.name.wire();
                let is_slow = name.starts_with(b"\x04slow");
                if is_slow && context.gathered.is_none() {
                    return Step::Slow;
                }
                assert!(!is_slow && !name.starts_with(b"\x05panic"), "as asked for");
                Step::Next
            }
        }
    }

    /// Serves the query through the stages behind, for stages that said [`Step::Wraps`].
    #[cold]
    pub(crate) fn wrap(
        &self,
        context: &mut Context<'_>,
        rest: &[Self],
        reply: &mut Reply<'_>,
    ) -> Step {
        match self {
            Self::Rewrite(rewrite) => rewrite.wrap(context, rest, reply),
            Self::Dns64(dns64) => dns64.wrap(context, rest, reply),
            Self::Autopath(autopath) => autopath.wrap(context, rest, reply),
            _ => Step::Failed(Rcode::SERVFAIL, "nothing to wrap"),
        }
    }

    /// What the usual reply needs no work for is decided here, without a call.
    #[inline(always)]
    pub(crate) fn response(&self, context: &mut Context<'_>, step: Step, reply: &mut Reply<'_>) {
        match self {
            Self::Errors(errors) => {
                if let Step::Failed(rcode, cause) = step {
                    errors.failed(context, rcode, cause);
                }
            }
            Self::Log(log) => log.response(context, step, reply),
            Self::LoadBalance => {
                if context.rotates {
                    loadbalance::response(context, step, reply);
                }
            }
            Self::OrderAddresses(order) => order.response(context, step, reply),
            Self::Clamp(cache) => {
                if step == Step::Answered && !context.from_cache && !cache.within_bounds(reply) {
                    cache.clamp(context, reply);
                }
            }
            Self::Store(cache) => cache.response(context, step, reply),
            Self::Nsid(id) => nsid::response(id, context, step, reply),
            Self::Header(header) => header.response(step, reply),
            Self::Minimal => minimal::response(step, reply),
            Self::Local(_)
            | Self::Any
            | Self::Cancel(_)
            | Self::Bufsize(_)
            | Self::Chaos(_)
            | Self::Acl(_)
            | Self::View(_)
            | Self::Dns64(_)
            | Self::Autopath(_)
            | Self::NoAaaa(_)
            | Self::Rewrite(_)
            | Self::Templates(_)
            | Self::Transfer(_)
            | Self::Hosts(_)
            | Self::K8sExternal(_)
            | Self::Kubernetes(_)
            | Self::Loop(_)
            | Self::Forward(_)
            | Self::Erratic(_)
            | Self::File(_)
            | Self::Whoami => {}
            #[cfg(test)]
            Self::Panic | Self::Fixed(_) => {}
        }
    }
}

/// A server block as one listener has it.
#[derive(Clone)]
pub struct Block {
    /// The block's zone: lower-case wire name.
    pub zone: Box<[u8]>,
    /// The number of its labels.
    pub labels: usize,
    /// The plugins. A block without any refuses.
    pub stages: Arc<[Stage]>,
    /// Where its queries are counted.
    pub scope: Scope,
    /// What the stages come to for most queries in the cluster's zones, if they do.
    pub(crate) direct: Option<Direct>,
    /// What they come to for most others.
    pub(crate) kept: Option<Kept>,
}

impl Block {
    /// A block for `zone`, a lower-case wire name.
    pub fn new(zone: Box<[u8]>, stages: Arc<[Stage]>, scope: Scope) -> Self {
        let direct = Direct::new(&zone, &stages);
        Self {
            labels: count_labels(&zone),
            kept: Kept::new(&zone, &stages, direct.is_some()),
            direct,
            zone,
            stages,
            scope,
        }
    }

    /// Whether its `view` is for this query, if it has one.
    #[inline]
    fn takes(&self, query: &Query<'_>, name: &FoldedName, peer: &Peer) -> bool {
        match self.stages.first() {
            Some(Stage::View(view)) => view.takes(query, name, peer),
            _ => true,
        }
    }

    /// Panics at a name before it is this name's turn.
    #[cfg(test)]
    fn panic_early(&self, name: &Folded<'_>) {
        let panics = matches!(self.stages.first(), Some(Stage::Panic));
        assert!(!(panics && name.ends_with(b"\x05early\0")), "as asked for");
    }

    /// The name of its view; empty if it is for everybody.
    pub fn view(&self) -> &str {
        match self.stages.first() {
            Some(Stage::View(view)) => &view.name,
            _ => "",
        }
    }
}

/// Everything that workers need to know, swapped as a whole.
#[derive(Clone)]
pub struct Plan {
    /// The listeners.
    pub listeners: Vec<Arc<Listener>>,
    /// Where log lines go.
    pub log: LogSink,
    /// The counts; plans that follow each other share them.
    pub metrics: Arc<Metrics>,
}

impl Plan {
    /// The place of the listener that has this address.
    pub(crate) fn find(&self, address: SocketAddr) -> Option<usize> {
        let mut listeners = self.listeners.iter();
        listeners.position(|listener| listener.addresses.contains(&address))
    }
}

/// How a query came and how its reply will leave.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The client.
    pub remote: SocketAddr,
    /// The address that was asked.
    pub local: SocketAddr,
    /// Over TCP.
    pub stream: bool,
    /// The address to reply from, where the socket has several.
    pub answer_from: Option<IpAddr>,
    /// When it came; read once a batch.
    pub received: Instant,
}

impl Peer {
    /// The address that was asked, as exactly as it is known.
    pub fn local_address(&self) -> IpAddr {
        self.answer_from.unwrap_or_else(|| self.local.ip())
    }
}

/// One query on its way through a block.
pub struct Context<'q> {
    /// The query.
    pub query: Query<'q>,
    /// Its name in lower case.
    pub name: &'q FoldedName,
    /// The name that the client asked for, where stages before this one ask something else.
    pub(crate) original: Option<&'q FoldedName>,
    /// Who asks.
    pub peer: &'q Peer,
    /// The listener that it came to, for look-ups of other names.
    pub listener: &'q Listener,
    /// `loadbalance` wants RRsets rotated. Whoever does it clears this.
    pub rotates: bool,
    /// Look-ups inside look-ups so far.
    pub nesting: u8,
    /// The worker's random state.
    pub random: &'q mut Random,
    /// Where log lines go.
    pub log: &'q LogSink,
    /// What the slow path has found out; `None` on the fast path.
    pub gathered: Option<&'q Gathered>,
    /// What a stage that said [`Step::Slow`] cannot go on without.
    pub need: Option<Need>,
    /// How long an upstream's reply is worth waiting for, if not as long as it takes.
    pub patience: Option<Duration>,
    /// Flags that an upstream is asked with, besides those of the query.
    pub request_flags: u16,
    /// What an upstream replied, whole, for whoever keeps it.
    pub upstream: Option<Arc<Message>>,
    /// The answer was kept from an earlier one.
    pub from_cache: bool,
    /// Upstreams took longer than the query wanted to wait.
    pub impatient: bool,
    /// A kept answer is at hand in case upstreams fail.
    pub verifies: bool,
    /// Somebody should ask again behind the client's back.
    pub wants_refresh: bool,
    /// What `errors` logs of a failure, if there is more to say than the step does.
    pub cause: Option<String>,
    /// The reply may be several messages.
    pub may_stream: bool,
    /// They are these.
    pub outgoing: Option<Box<transfer::Outgoing>>,
    /// What is to be counted.
    pub seen: Observation,
    /// What counts something by labels of its own, once the query has come to its end: the chain may
    /// have to be walked again.
    pub(crate) at_end: Vec<Box<dyn FnOnce()>>,
}

impl<'q> Context<'q> {
    /// A query at the beginning of its way.
    pub const fn new(
        query: Query<'q>,
        name: &'q FoldedName,
        peer: &'q Peer,
        listener: &'q Listener,
        random: &'q mut Random,
        log: &'q LogSink,
    ) -> Self {
        Self {
            query,
            name,
            original: None,
            peer,
            listener,
            rotates: false,
            nesting: 0,
            random,
            log,
            gathered: None,
            need: None,
            patience: None,
            request_flags: 0,
            upstream: None,
            from_cache: false,
            impatient: false,
            verifies: false,
            wants_refresh: false,
            cause: None,
            may_stream: false,
            outgoing: None,
            seen: Observation::NOTHING,
            at_end: Vec::new(),
        }
    }

    /// No upstream's reply is worth waiting for longer than this.
    pub(crate) fn limit_patience(&mut self, limit: Duration) {
        self.patience = Some(self.patience.map_or(limit, |known| known.min(limit)));
    }

    /// Whether nobody waits for the reply, which is to refresh the cache.
    pub fn is_refresh(&self) -> bool {
        self.gathered.is_some_and(|gathered| gathered.refresh)
    }

    /// Finds the block and runs its chain.
    pub fn serve(&mut self, reply: &mut Reply<'_>) -> Outcome {
        self.serve_watched(reply, |_, _, _| {})
    }

    /// The same; `watch` is told the block, how many of its stages the query passed, and what the
    /// next one said.
    #[inline]
    pub(crate) fn serve_watched(
        &mut self,
        reply: &mut Reply<'_>,
        watch: impl FnOnce(&'q Block, usize, Step),
    ) -> Outcome {
        let found = self.listener.block(&self.query, self.name, self.peer);
        let (block, stages) = match found {
            Some(block) if !block.stages.is_empty() => {
                self.seen.scope = block.scope;
                (block, &*block.stages)
            }
            _ => {
                self.seen.scope = self.listener.scope;
                reply.set_rcode(Rcode::REFUSED);
                return Outcome::Reply;
            }
        };
        let (step, passed) = self.walk(stages, reply);
        watch(block, passed, step);
        match step {
            Step::Dropped => {
                for stage in &stages[..passed] {
                    if let Stage::Log(log) = stage {
                        log.without_reply(self);
                    }
                }
                Outcome::Dropped
            }
            Step::Slow => Outcome::Slow,
            Step::Answered => {
                self.seen.plugin = stages[passed].plugin();
                Outcome::Reply
            }
            Step::Failed(..) | Step::Next | Step::Wraps => Outcome::Reply,
        }
    }

    /// Walks stages forwards until one answers, and back through those that were passed. Returns what
    /// it said, and how many were passed.
    pub(crate) fn walk(&mut self, stages: &[Stage], reply: &mut Reply<'_>) -> (Step, usize) {
        let mut passed = 0;
        let step = loop {
            let Some((stage, behind)) = stages.get(passed..).and_then(<[_]>::split_first) else {
                break Step::Failed(Rcode::SERVFAIL, "no next plugin found");
            };
            match stage.query(self, reply) {
                Step::Next => passed += 1,
                Step::Wraps => break stage.wrap(self, behind, reply),
                step => break step,
            }
        };
        match step {
            Step::Dropped | Step::Slow => return (step, passed),
            Step::Failed(rcode, _) => {
                reply.clear();
                reply.set_rcode(rcode);
            }
            Step::Answered | Step::Next | Step::Wraps => {}
        }
        for stage in stages[..passed].iter().rev() {
            stage.response(self, step, reply);
        }
        (step, passed)
    }
}

/// What became of a query.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The reply is ready.
    Reply,
    /// Nothing is to be sent.
    Dropped,
    /// The slow path has to go on with it.
    Slow,
}
