//! What plugins that have nothing to do cost: kubeadm's block alone, and with ten rules of `rewrite`
//! that are about none of the names.

use std::hint::black_box;
use std::sync::Arc;

use criterion::Criterion;
use martlet_engine::chain::{Block, Listener, Stage};
use martlet_engine::log::LogSink;
use martlet_engine::plugins::rewrite::{Action, Form, Matcher, ResponseRule, Rewrite, Rule};
use martlet_engine::respond::{Response, Scratch, respond};
use martlet_perf::sample::{self, Kind};
use martlet_perf::seam;

pub(crate) fn chain(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("chain");
    let queries = Kind::IndexHit.queries();
    let (log, _lines) = LogSink::new();
    let peer = seam::peer();
    for (name, rules) in [("kubeadm", Vec::new()), ("ten_rewrites", rules())] {
        let listener = listener(rules);
        let mut scratch = Scratch::default();
        let mut buf = vec![0; 65_535];
        let mut next = queries.iter().cycle();
        let mut run = || {
            let query = next.next().expect("it goes round");
            respond(
                black_box(query),
                peer,
                &listener,
                &log,
                &mut scratch,
                &mut buf,
            )
        };
        assert!(matches!(run(), Response::Reply(_)), "{name}");
        group.bench_function(name, |bencher| bencher.iter(|| black_box(run())));
    }
    group.finish();
}

fn listener(rules: Vec<Rule>) -> Listener {
    let mut listener = seam::listener(sample::cluster(), Vec::new());
    if !rules.is_empty() {
        let block = listener.blocks.remove(0);
        let mut stages = block.stages.to_vec();
        // Behind `loadbalance`, where it stands in CoreDNS's order.
        stages.insert(1, Stage::Rewrite(Arc::new(Rewrite::new(rules, None))));
        let zone = Box::clone(&block.zone);
        listener.blocks = vec![Block::new(zone, stages.into(), block.scope)];
    }
    listener
}

/// As operators have them: names that moved, and TTLs of some of them.
fn rules() -> Vec<Rule> {
    let name = |form, text: &str| Action::Name {
        from: Matcher::new(form, text),
        to: "web.shop.svc.cluster.local.".into(),
        auto: true,
        answers: Vec::new(),
    };
    let ttl =
        |form, text: &str| Action::Response(Matcher::new(form, text), ResponseRule::Ttl(60, 60));
    let actions = [
        name(Form::Exact, "db.example.com."),
        name(Form::Exact, "cache.example.com."),
        name(Form::Exact, "mail.example.com."),
        name(Form::Exact, "api.example.com."),
        name(Form::Suffix, ".corp.example.com."),
        name(Form::Suffix, ".schmoogle.com."),
        name(Form::Prefix, "coredns-"),
        name(Form::Prefix, "legacy-"),
        ttl(Form::Suffix, ".example.org."),
        ttl(Form::Exact, "www.example.net."),
    ];
    let rule = |action| Rule {
        continues: false,
        action,
    };
    actions.into_iter().map(rule).collect()
}
