use std::sync::Arc;

use martlet_engine::metrics::Histogram;
use prometheus::TextEncoder;

use super::family::{Families, Unit};
use super::*;

fn text(families: Families) -> String {
    let encoder = TextEncoder::new();
    encoder.encode_to_string(&families.sorted()).unwrap()
}

#[test]
fn families_are_written_as_go_writes_them() {
    let mut families = Families::default();
    families.counter("b_total", "Bees.", &[("z", "1"), ("a", "\"quoted\"\n")], 7);
    families.counter("b_total", "Bees.", &[("z", "2"), ("a", "")], 8);
    families.gauge("a", "First by name.", &[], 0.5);
    families.float_counter("c_total", "Seconds.", 1.25);
    let expected = "\
# HELP a First by name.
# TYPE a gauge
a 0.5
# HELP b_total Bees.
# TYPE b_total counter
b_total{a=\"\\\"quoted\\\"\\n\",z=\"1\"} 7
b_total{a=\"\",z=\"2\"} 8
# HELP c_total Seconds.
# TYPE c_total counter
c_total 1.25
";
    assert_eq!(text(families), expected);
}

#[test]
fn buckets_are_cumulative_and_in_the_unit_of_the_name() {
    let mut nanos = [0; 17];
    (nanos[0], nanos[2], nanos[16]) = (3, 2, 1);
    let mut octets = [0; 15];
    (octets[0], octets[5], octets[14]) = (1, 4, 2);
    for (unit, buckets, sum, lines) in [
        (
            Unit::Nanos,
            &nanos[..],
            1_500_000_000,
            &[
                "h_bucket{le=\"0.00025\"} 3",
                "h_bucket{le=\"0.0005\"} 3",
                "h_bucket{le=\"0.001\"} 5",
                "h_bucket{le=\"8.192\"} 5",
                "h_bucket{le=\"+Inf\"} 6",
                "h_sum 1.5",
                "h_count 6",
            ][..],
        ),
        (
            Unit::Octets,
            &octets,
            900,
            &[
                "h_bucket{le=\"0\"} 1",
                "h_bucket{le=\"400\"} 1",
                "h_bucket{le=\"511\"} 5",
                "h_bucket{le=\"64000\"} 5",
                "h_bucket{le=\"+Inf\"} 7",
                "h_sum 900",
                "h_count 7",
            ],
        ),
    ] {
        let mut families = Families::default();
        families.histogram("h", "", &[], (unit, Histogram { buckets, sum }));
        let text = text(families);
        for line in lines {
            assert!(text.lines().any(|found| found == *line), "{line}: {text}");
        }
        assert_eq!(text.lines().count(), buckets.len() + 3, "{text}");
    }
}

#[test]
fn what_several_blocks_share_is_listed_once() {
    let (mut list, item) = (Vec::new(), Arc::new(1));
    push_new(&mut list, &item);
    push_new(&mut list, &item);
    push_new(&mut list, &Arc::new(1));
    assert_eq!(list.len(), 2);
}

#[test]
fn panics_are_counted() {
    own::count_panics();
    let before = own::OWN.panics.get();
    let thread = std::thread::spawn(|| panic!("on purpose"));
    thread.join().unwrap_err();
    assert!(own::OWN.panics.get() > before);
}

#[test]
fn a_process_tells_of_itself() {
    let mut families = Families::default();
    process::describe(&mut families);
    let text = text(families);
    for name in [
        "process_cpu_seconds_total",
        "process_open_fds",
        "process_max_fds",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_start_time_seconds",
        "process_threads",
    ] {
        let samples = text
            .lines()
            .filter(|line| line.starts_with(&format!("{name} ")));
        assert_eq!(samples.count(), 1, "{name}: {text}");
    }
}
