//! Goal: what this format wrote of secrets, webhooks and ways of delivery is read for ever, and written again with the same bytes.

use std::fmt::Write as _;

use bytes::Bytes;

use super::bench::{Bench, perform, place, text};
use super::queue_bench::{published, report};
use crate::model::codec::{self, Stored};
use crate::model::record::Secrets;
use crate::model::{
    Asked, Before, Due, Effect, Fate, Fence, Form, Manner, Name, Op, Other, Outcome, Publish, Queue, Reason,
    Refusal, Reply, Sealed, Secret, Settings, Terms, Ticket, Verdict, Webhook,
};

/// As written by the first program that had them: `WHAT HEX` a line. Lines are never changed.
const FORMAT_1: &str = include_str!("golden/webhooks_1.txt");

fn line(what: &str, bytes: &[u8]) -> String {
    bytes.iter().fold(format!("{what} "), |mut line, byte| {
        write!(line, "{byte:02x}").unwrap();
        line
    }) + "\n"
}

fn bytes(hex: &str) -> Bytes {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

fn terms(form: Form) -> Terms {
    Terms { function: name("f"), form, secret: name("s"), tolerance_ms: 9 }
}

fn settings() -> Settings {
    let manner = Manner {
        path: "/p".into(),
        structured: true,
        reply: Some(name("r")),
        batch_max: 3,
        batch_wait_ms: 4,
    };
    Settings { manner, ..Settings::DEFAULT }
}

fn ops() -> Vec<Op> {
    let put = |form| Op::PutWebhook { webhook: place("w"), terms: terms(form), settings: settings() };
    let mut ops = vec![
        Op::PutSecret { secret: place("s"), value: Sealed::new(text("v")), keep_ms: 5 },
        Op::DropSecret { secret: place("s"), force: true },
        Op::DropWebhook { webhook: place("w") },
        Op::Sweep { due: Due::Secrets, steps: 1, from_ms: 2 },
    ];
    ops.extend(Form::ALL.map(put));
    ops
}

fn written() -> String {
    let bench = Bench::new();
    let entries = ops().into_iter().map(|op| {
        let batch = bench.batch(vec![Asked { request: None, op }]);
        line("entry", &codec::encode(&batch))
    });
    let replies = [Reason::NoSecret, Reason::NoWebhook, Reason::SecretsFull].map(|reason| {
        let outcome = Outcome::Refused(Refusal { reason, subject: "x".into(), found: 1, bound: 2 });
        line("reply", &codec::encode_reply(&Reply::Outcomes(vec![outcome])))
    });
    let before = Some(Before { value: Sealed::new(text("u")), until_ms: 8 });
    let secret = |before| Secret { value: Sealed::new(text("v")), version: 6, changed_ms: 7, before };
    entries.collect::<String>()
        + &replies.concat()
        + &line("secret", &secret(None).encode())
        + &line("secret", &secret(before).encode())
        + &line("secrets", &Secrets { count: 2 }.encode())
        + &line("webhook", &Webhook { terms: terms(Form::Slack) }.encode())
        + &line("queue", &Queue::told(settings(), None).encode())
        + &together()
}

/// What one call was for, and what is told by more than its id.
fn together() -> String {
    let fence = Fence { term: 3, sequence: 9 };
    let other = |report| Other { message: 12, fence, report };
    let others = vec![other(None), other(Some(report("200")))];
    let verdict = Verdict::Done { effects: Vec::new(), others };
    let ticket = Ticket { queue: place("q"), message: 11, fence };
    let settle = Op::Settle { ticket, verdict, report: None, answer: None };
    let publish = Publish { also: "d".into(), ..published("a") };
    let entries = [settle, perform(vec![Effect::Publish(Box::new(publish))])].map(|op| {
        let batch = Bench::new().batch(vec![Asked { request: None, op }]);
        line("entry", &codec::encode(&batch))
    });
    let settled = Outcome::Settled { fate: Fate::Done, effects: Vec::new(), lost: vec![11, 12] };
    entries.concat() + &line("reply", &codec::encode_reply(&Reply::Outcomes(vec![settled])))
}

fn again<R: Stored>(bytes: &[u8]) -> Bytes {
    R::decode(bytes).unwrap().encode()
}

#[test]
fn what_it_wrote_is_read_and_written_again_with_the_same_bytes() {
    for line in FORMAT_1.lines() {
        let (what, hex) = line.split_once(' ').unwrap();
        let stored = bytes(hex);
        let again = match what {
            "entry" => codec::encode(&codec::decode(&stored).unwrap()),
            "reply" => codec::encode_reply(&codec::decode_reply(&stored).unwrap()),
            "secret" => again::<Secret>(&stored),
            "secrets" => again::<Secrets>(&stored),
            "webhook" => again::<Webhook>(&stored),
            "queue" => again::<Queue>(&stored),
            other => panic!("'{other}' is no kind of line"),
        };
        assert_eq!(again, stored, "{what} is written otherwise now");
    }
    let written = written();
    assert_eq!(FORMAT_1, written, "this program would write:\n{written}");
}
