//! The comparison itself: it must see what it is there to see, in the answers that it is used on.

use std::collections::BTreeSet;

use martlet_tests::conformance::{Case, causes, full_answer};
use martlet_tests::dns::{Answer, Record, Reply};

/// A copy of the answer with one thing changed.
fn changed(answer: &Answer, change: impl Fn(&mut Reply)) -> Answer {
    let mut reply = answer.reply().expect("a reply was chosen").clone();
    change(&mut reply);
    Answer::Reply(reply.into())
}

#[test]
fn every_recorded_answer_equals_itself_and_no_mutation_of_it() {
    let recorded = Case::find("cluster-1/kubeadm")
        .expect("it was recorded")
        .recorded()
        .answers;
    type Change = fn(&mut Reply);
    let changes: [(&str, Change); 6] = [
        ("rcode", |reply| reply.rcode = "NOTAUTH".to_owned()),
        ("flag", |reply| reply.flags = format!("{} AD", reply.flags)),
        ("question", |reply| {
            reply.q.push(["x.".into(), "IN".into(), "A".into()])
        }),
        ("ttl", |reply| {
            reply
                .an
                .iter_mut()
                .chain(&mut reply.ns)
                .for_each(|record| record.1 += 1);
        }),
        ("record", |reply| {
            drop(reply.an.pop().or_else(|| reply.ns.pop()))
        }),
        ("rdata", |reply| {
            reply
                .an
                .iter_mut()
                .chain(&mut reply.ns)
                .for_each(|record| record.4.push('x'));
        }),
    ];
    let mut tried = [0; 6];
    for (key, answer) in &recorded {
        let full = full_answer(&recorded, key);
        assert!(causes(answer, answer, full).is_empty(), "{key}");
        let Some(reply) = answer.reply().filter(|reply| !reply.has("TC")) else {
            continue;
        };
        for ((what, change), tried) in changes.iter().zip(&mut tried) {
            let needs_records = ["ttl", "record", "rdata"].contains(what);
            if needs_records && reply.an.is_empty() && reply.ns.is_empty() {
                continue;
            }
            *tried += 1;
            let other = changed(answer, change);
            assert!(!causes(answer, &other, full).is_empty(), "{what} of {key}");
        }
    }
    assert!(tried.iter().all(|tried| *tried > 1000), "{tried:?}");
}

#[test]
fn truncated_answers_have_rules_of_their_own() {
    let recorded = Case::find("cluster-3/kubeadm")
        .expect("it was recorded")
        .recorded()
        .answers;
    let mut tried = 0;
    for (key, answer) in &recorded {
        let (Some(reply), Some(full)) = (answer.reply(), full_answer(&recorded, key)) else {
            continue;
        };
        if !reply.has("TC") || reply.an.is_empty() {
            continue;
        }
        tried += 1;
        // Another choice of the full answer's records, as far as there are others.
        let kept = reply.an.len();
        let others: Vec<Record> = full.an.iter().rev().take(kept).cloned().collect();
        let other = changed(answer, |reply| reply.an = others.clone());
        let same_owners = others.iter().all(|record| record.0 == reply.an[0].0);
        if same_owners && !full.has("TC") && others.len() == kept {
            assert_eq!(causes(answer, &other, Some(full)), [""; 0], "{key}");
        }
        let invented = changed(answer, |reply| reply.an[0].4 = "192.0.2.77".to_owned());
        assert!(!causes(answer, &invented, Some(full)).is_empty(), "{key}");
        let older = changed(answer, |reply| reply.an[0].1 += 1);
        assert!(!causes(answer, &older, Some(full)).is_empty(), "{key}");
        let whole = changed(answer, |reply| reply.flags = reply.flags.replace("TC ", ""));
        assert!(!causes(answer, &whole, Some(full)).is_empty(), "{key}");
    }
    assert!(tried > 20, "{tried}");
}

#[test]
fn each_case_asks_what_was_recorded() {
    for case in Case::all() {
        let asked: BTreeSet<_> = case
            .questions()
            .into_iter()
            .map(|question| question.key)
            .collect();
        let recorded: BTreeSet<_> = case.recorded().answers.into_keys().collect();
        assert_eq!(asked, recorded, "{}", case.label());
    }
}
