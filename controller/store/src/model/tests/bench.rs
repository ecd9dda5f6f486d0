//! Two replicas of a group in memory, which are asked the same and must stay the same.

use std::collections::BTreeMap;

use bytes::Bytes;
use coracle_proto::id::{ClusterId, GroupId, RequestId};
use coracle_raft::{DiskMachine as _, Draft, Position, Stop};

use crate::DataMachine;
use crate::model::{
    Asked, Batch, Bucket, Change, Effect, Effected, Group, Op, Outcome, Place, Reason, Reply, Request,
    ToHold, Value, Write, codec, group, keys, value, view,
};

pub(crate) const CLUSTER: ClusterId = ClusterId::new(0xc0);
pub(crate) const GROUP: GroupId = GroupId::new(1);
pub(crate) const BEGIN_MS: u64 = 1_000_000;

/// A group's records, with a way to ask for changes.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) records: BTreeMap<Bytes, Bytes>,
    /// What a second replica has made of the same entries.
    replica: BTreeMap<Bytes, Bytes>,
    index: u64,
    pub(crate) term: u64,
    pub(crate) now_ms: u64,
    /// The random word of the next entry.
    pub(crate) random: u64,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let (records, replica) = (BTreeMap::new(), BTreeMap::new());
        Self { records, replica, index: 0, term: 3, now_ms: BEGIN_MS, random: 7 }
    }

    /// With one bucket, `shop/a`, of so many keys and bytes.
    pub(crate) fn with_bucket(keys_max: u64, bytes_max: u64) -> Self {
        let mut bench = Self::new();
        let done = bench.run(Op::PutBucket { bucket: place("a"), keys_max, bytes_max, holds: ToHold::Any });
        assert_eq!(done, Outcome::Done);
        bench
    }

    pub(crate) fn batch(&self, ops: Vec<Asked>) -> Batch {
        let (term, stamp_ms, random) = (self.term, self.now_ms, self.random);
        Batch { cluster: CLUSTER, group: GROUP, term, stamp_ms, random, ops }
    }

    /// What a replica answers to these bytes; what it drafts is kept when it answers.
    pub(crate) fn apply(&mut self, command: &[u8]) -> Result<Reply, Stop> {
        self.index += 1;
        let position = Position { term: self.term, index: self.index };
        let made = kept(&mut self.records, position, command)?;
        assert!(
            made == kept(&mut self.replica, position, command).unwrap(),
            "equal entries made other records"
        );
        // All of them is dear, and each change was compared.
        assert!(
            !self.index.is_multiple_of(64) || self.records == self.replica,
            "equal changes made other records"
        );
        Ok(codec::decode_reply(&made.0).unwrap())
    }

    pub(crate) fn ask(&mut self, batch: &Batch) -> Reply {
        let bytes = codec::encode(batch);
        assert_eq!(codec::decode(&bytes).unwrap(), *batch);
        self.apply(&bytes).unwrap()
    }

    pub(crate) fn run_all(&mut self, ops: Vec<Op>) -> Vec<Outcome> {
        let batch = self.batch(ops.into_iter().map(|op| Asked { request: None, op }).collect());
        match self.ask(&batch) {
            Reply::Outcomes(outcomes) => outcomes,
            Reply::Refused(refusal) => panic!("{refusal}"),
        }
    }

    pub(crate) fn run(&mut self, op: Op) -> Outcome {
        self.run_all(vec![op]).pop().unwrap()
    }

    pub(crate) fn requested(&mut self, id: u128, since: u64, op: Op) -> Outcome {
        let request = Some(Request { id: RequestId::new(id), since });
        let batch = self.batch(vec![Asked { request, op }]);
        match self.ask(&batch) {
            Reply::Outcomes(mut outcomes) => outcomes.pop().unwrap(),
            Reply::Refused(refusal) => panic!("{refusal}"),
        }
    }

    /// Asserts a refusal, and that nothing changed but the group's own record.
    pub(crate) fn refused(&mut self, op: Op) -> Reason {
        let before = self.books();
        let outcome = self.run(op);
        assert_eq!(self.books(), before);
        reason(&outcome)
    }

    fn books(&self) -> BTreeMap<Bytes, Bytes> {
        let mut records = self.records.clone();
        records.remove(&keys::group());
        records
    }

    pub(crate) fn write(&mut self, key: &str, change: Change) -> Outcome {
        self.run(perform(vec![write(key, change)]))
    }

    /// The version of what was set.
    pub(crate) fn set(&mut self, key: &str, data: &str) -> u64 {
        written(&self.write(key, set(data)))
    }

    pub(crate) fn value(&self, key: &str) -> Option<Value> {
        value(&self.records, &place("a"), key.as_bytes(), self.now_ms).unwrap()
    }

    pub(crate) fn data(&self, key: &str) -> Option<String> {
        self.value(key).map(|value| String::from_utf8(value.data.to_vec()).unwrap())
    }

    pub(crate) fn bucket(&self) -> Option<Bucket> {
        view::get(&self.records, &keys::bucket(&place("a"))).unwrap()
    }

    pub(crate) fn group(&self) -> Group {
        group(&self.records).unwrap().unwrap()
    }

    /// Puts other books under both replicas.
    pub(crate) fn set_group(&mut self, group: &Group) {
        use crate::model::codec::Stored as _;
        self.set_record(keys::group(), group.encode());
    }

    /// Puts another record under both replicas.
    pub(crate) fn set_record(&mut self, key: Bytes, record: Bytes) {
        self.records.insert(key.clone(), record.clone());
        self.replica.insert(key, record);
    }
}

/// The answer, and what changed.
type Made = (Bytes, Vec<coracle_raft::Change>);

fn kept(records: &mut BTreeMap<Bytes, Bytes>, position: Position, command: &[u8]) -> Result<Made, Stop> {
    let mut draft = Draft::over(records);
    let reply = DataMachine::apply(&mut draft, position, command)?;
    let changes: Vec<_> = draft.into_changes().collect();
    for coracle_raft::Change { key, value } in changes.iter().cloned() {
        match value {
            Some(value) => records.insert(key, value),
            None => records.remove(&key),
        };
    }
    Ok((reply, changes))
}

pub(crate) fn place(name: &str) -> Place {
    Place::parse("shop", name).unwrap()
}

pub(crate) fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

pub(crate) fn perform(effects: Vec<Effect>) -> Op {
    Op::Perform { effects, hops: 0 }
}

pub(crate) fn write(key: &str, change: Change) -> Effect {
    Effect::Write(Write { bucket: place("a"), key: text(key), change })
}

pub(crate) fn set(data: &str) -> Change {
    Change::Set { data: text(data), ttl_ms: None }
}

pub(crate) fn reason(outcome: &Outcome) -> Reason {
    let Outcome::Refused(refusal) = outcome else { panic!("{outcome:?}") };
    assert!(!refusal.to_string().is_empty());
    refusal.reason
}

pub(crate) fn effected(outcome: &Outcome) -> &[Effected] {
    let Outcome::Performed(effects) = outcome else { panic!("{outcome:?}") };
    effects
}

fn written(outcome: &Outcome) -> u64 {
    let [Effected::Written { version, .. }] = effected(outcome) else { panic!("{outcome:?}") };
    *version
}

/// Luck of a test, from its seed.
pub(crate) fn luck(seed: u64) -> rand::rngs::StdRng {
    println!("seed {seed}");
    rand::SeedableRng::seed_from_u64(seed)
}

/// What operations of a random test came to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(pub(crate) BTreeMap<String, u32>);

impl Seen {
    pub(crate) fn count(&mut self, what: impl Into<String>) {
        *self.0.entry(what.into()).or_default() += 1;
    }

    pub(crate) fn outcome(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Refused(refusal) => self.count(format!("{:?}", refusal.reason)),
            other => self.count(format!("{other:?}").split([' ', '(']).next().unwrap()),
        }
    }

    pub(crate) fn expect(&self, whats: &[&str]) {
        println!("{:?}", self.0);
        for what in whats {
            assert!(self.0.contains_key(*what), "none was '{what}': the test does not see what it should");
        }
    }
}
