//! Goal: what is published, and what a queue is told, has bounds that are named.

use super::bench::{Bench, perform, place};
use super::queue_bench::{published, put};
use crate::model::{Effect, MESSAGE_BYTES_MAX, Manner, Op, Outcome, Publish, Reason, Settings};

fn bench() -> Bench {
    Bench::with_queue(Settings::DEFAULT)
}

fn publish(publish: Publish) -> Op {
    perform(vec![Effect::Publish(Box::new(publish))])
}

#[test]
fn what_is_published_has_bounds() {
    let mut bench = bench();
    let wrong = [
        (Publish { data: vec![0; MESSAGE_BYTES_MAX + 1].into(), ..published("a") }, Reason::TooLarge),
        (Publish { id: "i".repeat(257), ..published("a") }, Reason::TooLarge),
        (Publish { group: "a\0b".into(), ..published("a") }, Reason::Invalid),
        (Publish { attributes: [("a".into(), "v".repeat(5000))].into(), ..published("a") }, Reason::TooLarge),
        (Publish { queue: place("z"), ..published("a") }, Reason::Nowhere),
    ];
    for (wrong, reason) in wrong {
        assert_eq!(bench.refused(publish(wrong)), reason);
    }
    let many = (0..33).map(|number| (number.to_string(), String::new())).collect();
    assert_eq!(bench.refused(publish(Publish { attributes: many, ..published("a") })), Reason::TooMany);
}

#[test]
fn what_a_queue_is_told_has_bounds() {
    const DAY_MS: u64 = 24 * 60 * 60 * 1000;
    let wrong = [
        ("messages_max", Settings { messages_max: 0, ..Settings::DEFAULT }),
        ("messages_max", Settings { messages_max: 10_000_001, ..Settings::DEFAULT }),
        ("bytes_max", Settings { bytes_max: (64 << 30) + 1, ..Settings::DEFAULT }),
        ("attempts", Settings { attempts_max: 0, ..Settings::DEFAULT }),
        ("attempts", Settings { attempts_max: 101, ..Settings::DEFAULT }),
        ("backoff_ms", Settings { backoff_ms: DAY_MS + 1, ..Settings::DEFAULT }),
        ("backoff_max_ms", Settings { backoff_max_ms: DAY_MS + 1, ..Settings::DEFAULT }),
        ("age_ms", Settings { age_ms: 0, ..Settings::DEFAULT }),
        ("age_ms", Settings { age_ms: 14 * DAY_MS + 1, ..Settings::DEFAULT }),
        ("dead_keep_ms", Settings { dead_keep_ms: 90 * DAY_MS + 1, ..Settings::DEFAULT }),
    ];
    let mut bench = bench();
    for (field, settings) in wrong {
        let Outcome::Refused(refusal) = bench.run(put(place("q"), settings)) else { panic!("{field}") };
        assert_eq!(refusal.reason, Reason::Invalid);
        assert!(refusal.to_string().starts_with(&format!("{field} of a queue is ")), "{refusal}");
    }
    let most = Settings {
        messages_max: 10_000_000,
        bytes_max: 64 << 30,
        attempts_max: 100,
        backoff_ms: DAY_MS,
        backoff_max_ms: DAY_MS,
        age_ms: 14 * DAY_MS,
        dead_keep_ms: 90 * DAY_MS,
        manner: Manner::USUAL,
    };
    assert_eq!(bench.run(put(place("q"), most)), Outcome::Done);
}
