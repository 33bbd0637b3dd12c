use std::collections::HashMap;

use super::*;

/// A fixed stream in which key `n` comes about `1/n` as often as key 1: (key, true counts).
fn zipf(keys: u64, length: u32) -> (Vec<u64>, HashMap<u64, u32>) {
    let weights: Vec<f64> = (1..=keys).map(|n| 1.0 / n as f64).collect();
    let sum: f64 = weights.iter().sum();
    let mut state = 1_u64;
    let mut truth = HashMap::new();
    let stream = (0..length)
        .map(|_| {
            // xorshift64: any even spread will do.
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let mut at = (state >> 11) as f64 / (1_u64 << 53) as f64 * sum;
            let place = weights.iter().position(|weight| {
                at -= weight;
                at < 0.0
            });
            let key = place.map_or(keys, |place| place as u64 + 1);
            *truth.entry(key).or_default() += 1;
            key
        })
        .collect();
    (stream, truth)
}

fn number(busy: &Busy<'_>) -> u64 {
    u64::from_be_bytes(busy.key.try_into().unwrap())
}

#[test]
fn heavy_keys_are_found_and_counts_are_within_their_error() {
    let (stream, truth) = zipf(5_000, 50_000);
    let mut sketch = Sketch::default();
    for key in &stream {
        sketch.count(&key.to_be_bytes(), *key);
    }
    let found: HashMap<u64, Busy<'_>> = sketch.iter().map(|busy| (number(&busy), busy)).collect();
    assert_eq!(found.len(), Sketch::PLACES);
    let sum: u32 = found.values().map(|busy| busy.count).sum();
    assert_eq!(sum, 50_000, "each query is counted once");
    for (key, busy) in &found {
        let true_count = truth[key];
        assert!(busy.count >= true_count, "{key}: {busy:?}, {true_count}");
        assert!(busy.count - busy.error <= true_count, "{key}: {busy:?}");
        assert!(busy.error <= 50_000 / 128, "{key}: {busy:?}");
    }
    for (key, count) in truth {
        assert!(count <= 50_000 / 128 || found.contains_key(&key), "{key}");
    }
}

#[test]
fn equal_hashes_do_not_make_equal_keys() {
    let mut sketch = Sketch::default();
    sketch.count(b"one", 7);
    sketch.count(b"two", 7);
    sketch.count(b"one", 7);
    let counts: Vec<_> = sketch.iter().map(|busy| (busy.key, busy.count)).collect();
    assert_eq!(counts, [(&b"one"[..], 2), (&b"two"[..], 1)]);
}

#[test]
fn a_shorter_key_leaves_nothing_of_the_longer_one_before() {
    let mut sketch = Sketch::default();
    for n in 0..128_u64 {
        sketch.count(format!("a-long-name-{n}").as_bytes(), n);
    }
    sketch.count(b"short", 999);
    let short = sketch.iter().find(|busy| busy.key == b"short");
    assert_eq!(short.map(|busy| (busy.count, busy.error)), Some((2, 1)));
}

#[test]
fn halving_forgets_what_is_rare() {
    let mut sketch = Sketch::default();
    sketch.count(b"rare", 1);
    for _ in 0..5 {
        sketch.count(b"often", 2);
    }
    sketch.halve();
    let counts: Vec<_> = sketch.iter().map(|busy| (busy.key, busy.count)).collect();
    assert_eq!(counts, [(&b"often"[..], 2)]);
}

#[test]
fn the_longest_name_is_counted_and_anything_longer_is_not() {
    let mut sketch = Sketch::default();
    sketch.count(&[1; 255], 1);
    sketch.count(&[1; 256], 1);
    let lengths: Vec<_> = sketch
        .iter()
        .map(|busy| (busy.key.len(), busy.count))
        .collect();
    assert_eq!(lengths, [(255, 1)]);
}
