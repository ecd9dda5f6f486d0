//! Goal: thousands of random operations leave the values that a plain map has.

use rand::Rng as _;
use rand::rngs::StdRng;

use super::bench::{Bench, Seen, luck, perform, place, text, write};
use super::kv_oracle::KvOracle;
use crate::model::{Change, Due, Effect, Op, Outcome, PageBounds, values};

const KEYS: [&str; 6] = ["a", "aa", "b", "\u{0}", "n", "long-long-long"];

fn data(luck: &mut StdRng) -> bytes::Bytes {
    if luck.random_bool(0.5) {
        text(&luck.random_range(-9..99_i64).to_string())
    } else {
        vec![luck.random(); luck.random_range(0..20)].into()
    }
}

fn change(luck: &mut StdRng, oracle: &KvOracle, key: &str) -> Change {
    let ttl_ms = luck.random_bool(0.3).then(|| luck.random_range(1..50));
    match luck.random_range(0..10) {
        0..4 => Change::Set { data: data(luck), ttl_ms },
        4..6 => Change::Delete,
        6..8 => {
            let current = oracle.cells.get(key.as_bytes()).map(|cell| cell.version);
            let expected = if luck.random_bool(0.8) { current } else { Some(luck.random_range(1..99)) };
            Change::CompareAndSet { expected, data: data(luck), ttl_ms }
        }
        _ => {
            let by = if luck.random_bool(0.1) { i64::MAX } else { luck.random_range(-5..5) };
            Change::Increment { by }
        }
    }
}

fn effects(luck: &mut StdRng, oracle: &KvOracle) -> Vec<Effect> {
    let one = |luck: &mut StdRng| {
        let key = KEYS[luck.random_range(0..KEYS.len())];
        write(key, change(luck, oracle, key))
    };
    (0..luck.random_range(1..4)).map(|_| one(luck)).collect()
}

fn step(luck: &mut StdRng, bench: &mut Bench, oracle: &mut KvOracle) -> Outcome {
    bench.now_ms += luck.random_range(0..10);
    if luck.random_bool(0.1) {
        let steps = luck.random_range(0..4);
        let outcome = bench.run(Op::Sweep { due: Due::Values, steps, from_ms: 0 });
        let swept = oracle.sweep(steps as usize, bench.now_ms);
        assert!(matches!(outcome, Outcome::Moved { moved, .. } if moved as usize == swept), "{outcome:?}");
        return outcome;
    }
    let effects = effects(luck, oracle);
    let outcome = bench.run(perform(effects.clone()));
    match oracle.perform(&effects, bench.now_ms) {
        Ok(effected) => assert_eq!(outcome, Outcome::Performed(effected)),
        Err(reason) => {
            assert!(matches!(&outcome, Outcome::Refused(refusal) if refusal.reason == reason), "{outcome:?}");
        }
    }
    outcome
}

fn compare(bench: &Bench, oracle: &KvOracle) {
    let bounds = PageBounds { most: 99, bytes_max: usize::MAX, keys_only: false };
    let page = values(&bench.records, &place("a"), b"", None, bounds, bench.now_ms).unwrap();
    let found: Vec<_> =
        page.entries.iter().map(|entry| (&entry.key, entry.value.version, &entry.value.data)).collect();
    let expected: Vec<_> =
        oracle.live(bench.now_ms).map(|(key, cell)| (key, cell.version, &cell.data)).collect();
    assert_eq!(found, expected);
    let bucket = bench.bucket().unwrap();
    assert_eq!((bucket.keys, bucket.bytes), (oracle.cells.len() as u64, oracle.bytes()));
}

fn play(seed: u64, steps: u32) -> Seen {
    let mut luck = luck(seed);
    let (mut bench, mut oracle, mut seen) =
        (Bench::with_bucket(4, 60), KvOracle::new(4, 60), Seen::default());
    for _ in 0..steps {
        let outcome = step(&mut luck, &mut bench, &mut oracle);
        seen.outcome(&outcome);
        compare(&bench, &oracle);
    }
    seen
}

#[test]
fn random_writes_leave_what_a_map_has() {
    let seen = play(rand::random(), 6_000);
    seen.expect(&[
        "Performed",
        "Moved",
        "Mismatch",
        "BucketFullKeys",
        "BucketFullBytes",
        "NotANumber",
        "Overflow",
    ]);
}

#[test]
fn a_seed_replays() {
    assert_eq!(play(0xc0_7ac1e, 300), play(0xc0_7ac1e, 300));
}
