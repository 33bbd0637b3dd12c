//! An API server that behaves badly for a while: whatever it does, every question is answered all
//! the time, and what it knows in the end is what is answered.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use martlet_tests::{FakeApi, Gone, Recorded, Setup};
use serde_json::Value;

use crate::api_source::{AFTER_BACKOFF, Followed, WEB};
use crate::fixtures::{becomes, cluster, service};

/// Services that never change.
const STEADY: usize = 100;

fn steady(n: usize) -> Value {
    service("shop", &format!("s{n:03}"), &format!("10.97.0.{n}"))
}

/// A server that follows the usual cluster and the steady services.
fn followed() -> Followed {
    let mut objects = cluster();
    objects.extend((0..STEADY).map(steady));
    let followed = Followed::follow(FakeApi::start(objects), "", |setup: Setup| setup);
    followed.watches(3);
    followed.api.forget_recorded();
    followed
}

/// Asks for the steady services all the time while `trouble` lasts; each answer must be theirs.
fn answered_all_the_time(followed: &Followed, trouble: impl FnOnce()) {
    let client = followed.client();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut asked = 0;
            while !is_over.load(Ordering::Relaxed) {
                for n in [0, 9, 10, 57, STEADY - 1] {
                    let name = format!("s{n:03}.shop.svc.cluster.local.");
                    let reply = client.ask(&name, "A");
                    let found = reply.addresses();
                    let found: Vec<_> = found.iter().map(ToString::to_string).collect();
                    assert_eq!(found, [format!("10.97.0.{n}")], "after {asked} questions");
                    let reverse = client.ask(&format!("{n}.0.97.10.in-addr.arpa."), "PTR");
                    assert_eq!(reverse.rdata("PTR").collect::<Vec<_>>(), [&*name]);
                    asked += 2;
                }
            }
            asked
        });
        let troubled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(trouble));
        is_over.store(true, Ordering::Relaxed);
        let asked = asking.join().expect("each answer is right");
        if let Err(panic) = troubled {
            std::panic::resume_unwind(panic);
        }
        assert!(asked > 50, "{asked} questions");
    });
}

/// Waits until the change of a moment ago is answered and three kinds are watched again.
fn recovers(followed: &Followed, address: &str) {
    becomes(followed.client(), WEB, &[address], AFTER_BACKOFF);
    followed.watches(3);
}

fn lists(requests: &[Recorded]) -> usize {
    let is_list = |request: &&Recorded| !request.is_watch();
    requests.iter().filter(is_list).count()
}

#[test]
fn watches_that_break_again_and_again_are_resumed() {
    let followed = followed();
    answered_all_the_time(&followed, || {
        for round in 0..15 {
            followed.api.drop_connections();
            let address = format!("10.96.1.{round}");
            followed.api.upsert(service("shop", "web", &address));
            std::thread::sleep(Duration::from_millis(150));
        }
        recovers(&followed, "10.96.1.14");
    });
    assert_eq!(lists(&followed.api.recorded()), 0, "none was begun anew");
}

#[test]
fn history_that_is_lost_again_and_again_is_listed_anew() {
    let followed = followed();
    answered_all_the_time(&followed, || {
        for round in 0..8 {
            let gone = [Gone::Event, Gone::Status][round % 2];
            let address = format!("10.96.1.{round}");
            // Nobody hears of it by a watch.
            followed
                .api
                .upsert_silently(service("shop", "web", &address));
            followed.api.expire(gone);
            std::thread::sleep(Duration::from_millis(200));
        }
        recovers(&followed, "10.96.1.7");
    });
}

#[test]
fn a_server_that_wants_to_be_left_alone_is_asked_again_later() {
    let followed = followed();
    answered_all_the_time(&followed, || {
        followed.api.fail_next(9, 429);
        followed.api.drop_connections();
        followed.api.upsert(service("shop", "web", "10.96.1.1"));
        recovers(&followed, "10.96.1.1");
    });
    let refused = followed.api.recorded();
    let refused = refused.iter().filter(|request| request.status == 429);
    assert_eq!(refused.count(), 9);
}

/// A list whose further pages are gone begins anew; what its first pages named counts for nothing.
#[test]
fn lists_that_expire_between_their_pages_begin_anew() {
    let followed = followed();
    followed.api.page_size(10);
    answered_all_the_time(&followed, || {
        followed.api.lose_pages(3);
        followed
            .api
            .upsert_silently(service("shop", "web", "10.96.1.1"));
        followed.api.expire(Gone::Event);
        recovers(&followed, "10.96.1.1");
    });
    let gone = followed.api.recorded();
    let gone = gone
        .iter()
        .filter(|request| request.status == 410 && request.parameter("continue").is_some());
    assert_eq!(gone.count(), 3);
}
