//! Goal: what this format wrote once is read for ever, and written again with the same bytes.

use std::fmt::Write as _;

use bytes::Bytes;
use coracle_proto::id::RequestId;

use super::bench::{Bench, CLUSTER, GROUP, perform, place, text, write};
use super::queue_bench::{NODE, invocation_of, published, report, submit};
use crate::model::codec::{self, Stored};
use crate::model::record::{Buckets, Dedup, Late, Queues, Remembered, Schedules, Watchers};
use crate::model::{
    Answer, Asked, Bucket, Burial, Cause, Change, Check, Claim, Claimed, Counts, Definition, Deletion,
    Delivery, Due, Effect, Effected, Ended, Fate, Fence, Fired, Group, Holds, How, HttpHead, Invocation,
    Kept, Message, Missed, Name, Op, Outcome, Overlap, Publish, Queue, Reason, Refusal, Reply, Request,
    Schedule, Settings, Span, State, Tick, Ticket, ToHold, Topic, Value, Verdict, Watcher,
};

/// As written by the first program that had the format: `WHAT NAME HEX` a line. A later format gets a file of its
/// own; lines of this one are never changed.
const FORMAT_1: &str = include_str!("golden/format_1.txt");

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

pub(crate) fn bytes(hex: &str) -> Bytes {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The first word of how it is written for programmers.
pub(crate) fn name(it: &impl std::fmt::Debug) -> String {
    format!("{it:?}").split([' ', '(']).next().unwrap().to_owned()
}

fn publish() -> Publish {
    let (http, fingerprint) = (Some(head()), text("f"));
    Publish { group: "g".into(), delay_ms: 5, http, fingerprint, ..published("a") }
}

fn headers() -> Vec<(String, Bytes)> {
    vec![("x".into(), text("1")), ("x".into(), text("2"))]
}

fn head() -> HttpHead {
    let (method, uri, route) = ("POST".into(), "http://h/a".into(), "/a".into());
    HttpHead { method, uri, headers: headers(), route }
}

fn answer() -> Answer {
    Answer { status: 200, headers: headers(), body: text("body"), body_bytes: 9 }
}

const FENCE: Fence = Fence { term: 3, sequence: 12 };

fn ticket() -> Ticket {
    Ticket { queue: place("q"), message: 11, fence: FENCE }
}

fn target() -> Option<Name> {
    Some(Name::parse("f").unwrap())
}

fn ops() -> Vec<Op> {
    let ttl_ms = Some(9000);
    let effects = vec![
        write("k", Change::Set { data: text("v"), ttl_ms }),
        write("k", Change::Delete),
        write("k", Change::CompareAndSet { expected: Some(3), data: text("w"), ttl_ms }),
        write("k", Change::CompareAndSet { expected: None, data: text("w"), ttl_ms: None }),
        write("n", Change::Increment { by: -2 }),
    ];
    let queue = place("q");
    let mut ops = vec![
        Op::PutBucket { bucket: place("a"), keys_max: 10, bytes_max: 1000, holds: ToHold::Any },
        Op::DropBucket { bucket: place("a"), force: false, begun: false },
        perform(effects),
        Op::Sweep { due: Due::Values, steps: 5, from_ms: 9 },
        Op::PutQueue { queue: queue.clone(), settings: Settings::DEFAULT, target: None },
        Op::PutQueue { queue: queue.clone(), settings: Settings::DEFAULT, target: target() },
        submit(publish()),
        Op::PauseQueue { queue: queue.clone(), paused: true },
        Op::Claim { queue: queue.clone(), node: NODE, most: 2, until_ms: 77 },
        Op::Extend { ticket: ticket(), until_ms: 78 },
        Op::Offer { ticket: ticket(), after_ms: 6, error: "no".into() },
        Op::Cancel { invocation: invocation_of("a") },
        Op::Revive { invocation: invocation_of("a") },
        Op::Redrive { queue: queue.clone(), span: Span::ALL, steps: 3 },
        Op::Purge { queue: queue.clone(), kept: Kept::Dead, span: Span { from: 1, to: 9 }, steps: 3 },
        Op::Purge { queue, kept: Kept::Waiting, span: Span::ALL, steps: 3 },
    ];
    ops.extend(schedule_ops());
    let error = || "no".to_owned();
    let verdicts = [
        Verdict::Done { effects: vec![Effect::Publish(Box::new(publish()))], others: Vec::new() },
        Verdict::Retry { after_ms: Some(0), error: error() },
        Verdict::Retry { after_ms: None, error: error() },
        Verdict::Dead { error: error() },
    ];
    ops.extend(verdicts.map(|verdict| {
        let (report, answer) = (Some(report("200")), Some(answer()));
        Op::Settle { ticket: ticket(), verdict, report, answer }
    }));
    let verdict = Verdict::Done { effects: Vec::new(), others: Vec::new() };
    ops.push(Op::Settle { ticket: ticket(), verdict, report: None, answer: None });
    ops.extend(hearing_ops());
    ops
}

fn definition(missed: Missed, overlap: Overlap) -> Definition {
    let (cron, zone) = ("0 3 * * *".into(), "Europe/Berlin".into());
    Definition { cron, zone, function: Name::parse("f").unwrap(), data: text("data"), missed, overlap }
}

fn schedule_ops() -> Vec<Op> {
    let schedule = || place("nightly");
    let put = |missed, overlap| Op::PutSchedule {
        schedule: schedule(),
        definition: Box::new(definition(missed, overlap)),
        from_ms: 90,
    };
    let tick = |missed, invocation| {
        Op::Tick(Tick { schedule: schedule(), revision: 7, at_ms: 100, missed, invocation })
    };
    vec![
        put(Missed::Once, Overlap::Allow),
        put(Missed::Skip, Overlap::Forbid),
        put(Missed::All, Overlap::Allow),
        Op::DropSchedule { schedule: schedule() },
        Op::PauseSchedule { schedule: schedule(), paused: true, from_ms: 90 },
        tick(0, Some(invocation_of("a"))),
        tick(3, None),
        Op::Trigger { schedule: schedule(), invocation: invocation_of("a") },
    ]
}

fn schedule_records() -> String {
    let new = Schedule {
        definition: definition(Missed::Once, Overlap::Forbid),
        paused: false,
        revision: 7,
        cursor_ms: 100,
        fired: None,
        invocation: None,
        ticks: 0,
        skipped: 0,
        missed: 0,
    };
    let (fired, invocation) = (Some(Fired { at_ms: 100, fired_ms: 101 }), Some(invocation_of("a")));
    let old = Schedule { paused: true, fired, invocation, ticks: 1, skipped: 2, missed: 3, ..new.clone() };
    line("record", "Schedule", &new.encode())
        + &line("record", "Schedule", &old.encode())
        + &line("record", "Schedules", &Schedules { count: 2 }.encode())
}

fn outcomes() -> Vec<Outcome> {
    let effects =
        vec![Effected::Written { version: 4, number: Some(-2) }, Effected::Deleted { existed: true }];
    let invocation = invocation_of("a");
    let published = vec![Effected::Published { message: 11, repeated: true, invocation }];
    vec![
        Outcome::Done,
        Outcome::Performed(effects),
        Outcome::Moved { moved: 3, more: true, next: 0 },
        Outcome::Moved { moved: 3, more: true, next: 4 },
        Outcome::Claimed(vec![Claimed { message: 11, attempt: 1, fence: FENCE, until_ms: 77 }]),
        Outcome::Settled { fate: Fate::Done, effects: published, lost: Vec::new() },
        Outcome::Settled { fate: Fate::Retried { at_ms: 80 }, effects: Vec::new(), lost: Vec::new() },
        Outcome::Settled { fate: Fate::Dead(Cause::Attempts), effects: Vec::new(), lost: Vec::new() },
        Outcome::Refused(Refusal::over(Reason::BucketFullKeys, place("a"), 11, 10)),
        Outcome::Performed(vec![Effected::Spread { copies: 3, repeated: true }, Effected::Checked]),
        Outcome::Refused(Refusal::over(Reason::Loop, "events", 17, 16)),
    ]
}

pub(crate) fn line(what: &str, name: &str, bytes: &[u8]) -> String {
    format!("{what} {name} {}\n", hex(bytes))
}

fn records() -> String {
    let group =
        Group { cluster: CLUSTER, id: GROUP, sequence: 7, time_ms: 8, remembered: 2, remembered_from: 3 };
    let remembered = Remembered { sequence: 6, outcome: Outcome::Done };
    let value = Value { version: 4, expires_ms: Some(5), data: text("v"), hops: 0 };
    let caused = Value { hops: 9, ..value.clone() };
    let (holds, uploads) = (Holds::Values, 0);
    let (keys_max, bytes_max, keys, bytes, watched, dropping_ms) = (10, 1000, 1, 2, false, 0);
    let bucket = Bucket { keys_max, bytes_max, keys, bytes, watched, dropping_ms, holds, uploads };
    line("record", "Group", &group.encode())
        + &line("record", "Remembered", &remembered.encode())
        + &line("record", "Bucket", &bucket.encode())
        + &line("record", "Value", &value.encode())
        + &line("record", "Bucket", &Bucket { watched: true, ..bucket }.encode())
        + &line("record", "Bucket", &Bucket { dropping_ms: 9, ..bucket }.encode())
        + &line("record", "Value", &caused.encode())
        + &line("record", "Late", &Late { timer_ms: 9 }.encode())
        + &line("record", "Buckets", &Buckets { count: 3 }.encode())
}

fn queue_records() -> String {
    let message = Message {
        source: "s".into(),
        id: "a".into(),
        attributes: [("type".to_owned(), "t".to_owned())].into(),
        published_ms: 7,
        data: text("data"),
        kind: "async".into(),
        http: Some(head()),
    };
    let counts = Counts {
        ready: 1,
        behind: 2,
        published: 9,
        forgotten: 3,
        cancelled: 4,
        records: 5,
        ready_from: 6,
        records_from_ms: 7,
        answer_bytes: 8,
        ..Counts::default()
    };
    let states = [
        State::Ready,
        State::Delayed { at_ms: 5 },
        State::Behind { at_ms: 6 },
        State::Claimed(Claim { node: NODE, since_ms: 70, until_ms: 77, fence: FENCE }),
        State::Dead(Burial { cause: Cause::Age, at_ms: 8, until_ms: 9 }),
    ];
    let deliveries = states.map(|state| {
        let (group, last_error) = ("g".to_owned(), "no".to_owned());
        let invocation = invocation_of("a");
        Delivery { attempts: 2, deadline_ms: 99, weight: 11, group, last_error, invocation, state }
    });
    let deliveries = deliveries.map(|delivery| line("record", "Delivery", &delivery.encode()));
    let queue = Queue { paused: true, ..Queue::told(Settings::DEFAULT, target()) };
    let dedup = Dedup { message: 11, until_ms: 6, invocation: invocation_of("a"), fingerprint: text("f") };
    line("record", "Queue", &queue.encode())
        + &line("record", "Counts", &counts.encode())
        + &line("record", "Message", &message.encode())
        + &line("record", "Dedup", &dedup.encode())
        + &deliveries.concat()
        + &line("record", "Queue", &Queue { dropping_ms: Some(99), ..queue.clone() }.encode())
        + &line("record", "Queue", &Queue { ends_when_empty: true, ..queue }.encode())
        + &line("record", "Counts", &Counts { records_timer_ms: 5, ids_timer_ms: 6, ..counts }.encode())
}

fn hearing_records() -> String {
    let names = ["f", "g"].map(|name| Name::parse(name).unwrap());
    let topic = Topic { subscribers: names.to_vec(), published: 3 };
    line("record", "Topic", &Topic::default().encode())
        + &line("record", "Topic", &topic.encode())
        + &line("record", "Queues", &Queues { count: 2 }.encode())
        + &line("record", "Watchers", &Watchers { watchers: vec![watcher()] }.encode())
}

fn watcher() -> Watcher {
    let (prefix, suffix) = ("p".into(), "s".into());
    Watcher { function: Name::parse("f").unwrap(), sets: true, deletes: true, prefix, suffix }
}

/// Of topics, of buckets that are watched, of queues that are deleted.
fn hearing_ops() -> Vec<Op> {
    let (topic, bucket, function) = (|| place("t"), || place("a"), || Name::parse("f").unwrap());
    let settings = Settings::DEFAULT;
    vec![
        Op::DropBucket { bucket: bucket(), force: true, begun: false },
        Op::DropBucket { bucket: bucket(), force: false, begun: true },
        Op::Sweep { due: Due::Buckets, steps: 5, from_ms: 9 },
        Op::Perform { effects: Vec::new(), hops: 3 },
        Op::Watch { bucket: bucket(), watcher: watcher(), settings: settings.clone() },
        Op::Unwatch { bucket: bucket(), function: function() },
        Op::Sweep { due: Due::Drops, steps: 5, from_ms: 9 },
        Op::DropQueue { queue: place("q"), deletion: Deletion::Unused, steps: 7 },
        Op::DropQueue { queue: place("q"), deletion: Deletion::Forced, steps: 7 },
        Op::DropQueue { queue: place("q"), deletion: Deletion::Begun, steps: 7 },
        Op::PutTopic { topic: topic() },
        Op::DropTopic { topic: topic(), force: true },
        Op::Subscribe { topic: topic(), function: function(), settings },
        Op::Unsubscribe { topic: topic(), function: function() },
        perform(vec![Effect::Check(Check { bucket: bucket(), key: text("k"), version: 4 })]),
    ]
}

fn invocation_records() -> String {
    let ended = |how, cause| {
        let last_error = "no".to_owned();
        Some(Ended { how, at_ms: 80, until_ms: 90, attempts: 2, last_error, cause })
    };
    let ends = [
        None,
        ended(How::Succeeded, None),
        ended(How::Dead, Some(Cause::Rejected)),
        ended(How::Cancelled, None),
        ended(How::Dropped, Some(Cause::Age)),
    ];
    let records = ends.map(|ended| Invocation {
        queue: place("q"),
        message: 11,
        function: target(),
        kind: "async".into(),
        accepted_ms: 70,
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        reports: vec![report("503"), report("200")],
        answered: true,
        ended,
    });
    records.map(|record| line("record", "Invocation", &record.encode())).concat()
        + &line("record", "Answer", &answer().encode())
}

fn written() -> String {
    let bench = Bench::new();
    let request = Some(Request { id: RequestId::new(0xb2), since: 6 });
    let asked = ops().into_iter().map(|op| {
        let batch = bench.batch(vec![Asked { request, op: op.clone() }]);
        line("entry", &name(&op), &codec::encode(&batch))
    });
    let told = outcomes().into_iter().map(|outcome| {
        let name = name(&outcome);
        line("reply", &name, &codec::encode_reply(&Reply::Outcomes(vec![outcome])))
    });
    let refused = Reply::Refused(Refusal::over(Reason::WrongTerm, "the entry", 2, 3));
    asked.chain(told).collect::<String>()
        + &line("reply", "Whole", &codec::encode_reply(&refused))
        + &records()
        + &queue_records()
        + &invocation_records()
        + &schedule_records()
        + &hearing_records()
}

pub(crate) fn again<R: Stored>(bytes: &[u8]) -> Bytes {
    R::decode(bytes).unwrap().encode()
}

#[test]
fn what_a_format_wrote_is_read_and_written_again_with_the_same_bytes() {
    for line in FORMAT_1.lines() {
        let [what, name, hex] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let stored = bytes(hex);
        let again = match (what, name) {
            ("entry", _) => codec::encode(&codec::decode(&stored).unwrap()),
            ("reply", _) => codec::encode_reply(&codec::decode_reply(&stored).unwrap()),
            ("record", "Group") => again::<Group>(&stored),
            ("record", "Remembered") => again::<Remembered>(&stored),
            ("record", "Bucket") => again::<Bucket>(&stored),
            ("record", "Value") => again::<Value>(&stored),
            ("record", "Queue") => again::<Queue>(&stored),
            ("record", "Counts") => again::<Counts>(&stored),
            ("record", "Message") => again::<Message>(&stored),
            ("record", "Dedup") => again::<Dedup>(&stored),
            ("record", "Schedule") => again::<Schedule>(&stored),
            ("record", "Schedules") => again::<Schedules>(&stored),
            ("record", "Delivery") => again::<Delivery>(&stored),
            ("record", "Invocation") => again::<Invocation>(&stored),
            ("record", "Answer") => again::<Answer>(&stored),
            ("record", "Topic") => again::<Topic>(&stored),
            ("record", "Queues") => again::<Queues>(&stored),
            ("record", "Buckets") => again::<Buckets>(&stored),
            ("record", "Late") => again::<Late>(&stored),
            ("record", "Watchers") => again::<Watchers>(&stored),
            other => panic!("{other:?} is no kind of line"),
        };
        assert_eq!(again, stored, "{what} {name} is written otherwise now");
    }
}

/// Fails when something new is not in the file, or when the same is written in another way.
#[test]
fn the_golden_file_has_everything() {
    let written = written();
    assert_eq!(FORMAT_1, written, "this program would write:\n{written}");
}
