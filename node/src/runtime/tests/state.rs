//! Goal: guests read and change what their function keeps by the interfaces that they were built for, within grants and bounds.

mod blobs;
mod gathering;
mod memory;
mod script;
mod spans;

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::spec::{Draft as Spec, ReuseDraft};
use coracle_proto::status::Code;

pub(in crate::runtime) use self::memory::{Memory, NoState};
use self::script::{Draft, Script};
use super::fixture::{Fixture, Function, call, collect, eventually, get};
use crate::call::{Call, Trigger};
use crate::runtime::bounds::{BATCH_READ_BYTES_MAX, BUCKETS_OPEN_MAX, STATE_READ_BYTES_MAX};
use crate::runtime::{Came, Operation};

/// A function that may read and write `b`, only read `r`, and publish to `q`; and what is kept.
struct World {
    fixture: Fixture,
    memory: Arc<Memory>,
}

fn grants() -> Spec {
    let keyvalue = ["b", "r:read", "none"].map(str::to_owned).to_vec();
    Spec { keyvalue, publish: vec!["q".to_owned()], ..Spec::default() }
}

impl World {
    fn new() -> Self {
        let memory = Arc::new(Memory::default());
        Self { fixture: Fixture::with_state(Arc::clone(&memory) as _), memory }
    }

    async fn deploy(&self, script: Script, spec: Spec) -> Function {
        self.fixture.deploy("f", &script.built(), spec).await.unwrap()
    }

    /// What the script tells.
    async fn run(&self, script: Script) -> String {
        let function = self.deploy(script, grants()).await;
        self.fixture.get(&function, "/").await.unwrap().1
    }
}

#[tokio::test]
async fn values_are_read_and_changed_by_both_drafts() {
    for draft in Draft::ALL {
        let world = World::new();
        let script = Script::of(draft).open("b").get("a").exists("a").set("a", "1").get("a").exists("a");
        let script = script.set("ab", "").exists("").delete("a").delete("a").get("a").exists("a").close();
        let told = world.run(script).await;
        assert_eq!(
            told, "ok - no ok 1 yes ok invalid-argument: a key has at least one byte ok ok - no ",
            "{draft:?}"
        );
        assert_eq!(world.memory.text("ab").as_deref(), Some(""));
    }
}

#[tokio::test]
async fn keys_come_in_pages_numbers_are_added_and_batches_are_whole() {
    for draft in Draft::ALL {
        let world = World::new();
        for key in ["k1", "k2", "k3", "k4", "k5"] {
            world.memory.set(key, "v");
        }
        world.memory.set(&b"k2\xff"[..], "no text");
        let told = world.run(Script::of(draft).open("b").keys().increment("n", 2).increment("n", 5)).await;
        assert_eq!(told, "ok k1 k2 k3 k4 k5 2 7 ", "{draft:?}");
        assert_eq!(world.memory.text("n").as_deref(), Some("7"));
        world.memory.values().clear();
        let script =
            Script::of(draft).open("b").set_many(&["x", "1", "y", "2"]).get_many(&["y", "none", "x"]);
        let told = world.run(script.delete_many(&["x", "none"]).get_many(&["x", "y"])).await;
        assert_eq!(told, "ok ok 2 - 1 ok - 2 ", "{draft:?}");
        let told = world.run(Script::of(draft).open("b").keys_behind_nothing()).await;
        assert!(told.starts_with("ok invalid-argument: "), "{told}");
    }
}

#[tokio::test]
async fn a_value_is_swapped_only_where_it_is_as_it_was() {
    let world = World::new();
    let told =
        world.run(Script::begun().cas("a").swap("1").get("a").cas("a").current().swap("2").get("a")).await;
    assert_eq!(told, "ok ok ok 1 ok 1 ok 2 ");
    world.memory.race(1);
    let told = world.run(Script::begun().cas("a").current().swap("3").current().swap("4").get("a")).await;
    assert_eq!(told, "ok ok 2 again raced ok 4 ", "the handle is of what is there now");
    let read_only = world.run(Script::of(Draft::Second).open("r").cas("a").swap("5")).await;
    assert_eq!(read_only, "ok ok access-denied ");
}

#[tokio::test]
async fn only_what_was_granted_is_done() {
    let world = World::new();
    world.memory.set("a", "1");
    assert_eq!(world.run(Script::of(Draft::Second).open("other")).await, "access-denied ");
    assert_eq!(world.run(Script::of(Draft::First).open("none")).await, "no-such-store ");
    let script = Script::of(Draft::Second).open("r").get("a").set("a", "2").delete("a").increment("a", 1);
    let told = world.run(script.set_many(&["a", "2"]).delete_many(&["a"])).await;
    assert_eq!(told, format!("ok 1 {}", "access-denied ".repeat(5)));
    assert_eq!(world.memory.text("a").as_deref(), Some("1"));
    let function = world.deploy(Script::begun().publish("q", "x", None), Spec::default()).await;
    let told = world.fixture.get(&function, "/").await.unwrap().1;
    assert_eq!(told, "access-denied access-denied: 'q' is not one of the function's 'publish' ");
    assert!(world.memory.said().is_empty());
}

#[tokio::test]
async fn refusals_of_whoever_keeps_it_have_code_and_sentence() {
    let world = World::new();
    world.memory.refuse(Code::LimitReached, "bucket 'b' would have 11 keys, its bound is 10");
    let told = world.run(Script::begun().set("a", "1").publish("q", "x", None)).await;
    let said = "limit-reached: bucket 'b' would have 11 keys, its bound is 10 ";
    assert_eq!(told, format!("ok {said}{said}"));
    world.memory.refuse(Code::BucketNotFound, "it was deleted meanwhile");
    assert_eq!(world.run(Script::begun().set("a", "1")).await, "ok no-such-store ");
    let fixture = Fixture::new();
    let function = fixture.deploy("f", &Script::begun().built(), grants()).await.unwrap();
    assert_eq!(fixture.get(&function, "/").await.unwrap().1, "no-store: no node keeps anything ");
}

#[tokio::test]
async fn each_bound_of_sizes_names_itself() {
    let world = World::new();
    let long = "k".repeat(1025);
    let told = world.run(Script::begun().get(&long).set_zeros("a", (256 << 10) + 1)).await;
    assert_eq!(
        told,
        "ok invalid-argument: a key has 1025 bytes, and at most 1024 are allowed \
         invalid-argument: a value has 262145 bytes, and at most 262144 are allowed "
    );
    assert_eq!(world.run(Script::begun().set_zeros("a", 256 << 10)).await, "ok ok ");
    assert_eq!(world.memory.values()[&b"a"[..]].data.len(), 256 << 10);
    let keys: Vec<String> = (0..257).map(|number| format!("k{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let told = world.run(Script::begun().get_many(&keys).delete_many(&keys)).await;
    let said = "invalid-argument: 257 keys at once, and at most 256 are allowed ";
    assert_eq!(told, format!("ok {said}{said}"));
    let large = vec!["a"; BATCH_READ_BYTES_MAX / (256 << 10) + 1];
    let told = world.run(Script::begun().get_many(&large)).await;
    assert_eq!(told, "ok limit-reached: values of one 'get-many' have at most 4194304 bytes together ");
    let told = world.run(Script::begun().publish("q", &"x".repeat((64 << 10) + 1), None)).await;
    assert_eq!(told, "ok invalid-argument: a message has 65537 bytes, and at most 65536 are allowed ");
}

#[tokio::test]
async fn each_bound_of_a_call_names_itself_and_is_that_call_s_own() {
    let world = World::new();
    let function = world.deploy(read_often(1000), grants()).await;
    for _ in 0..2 {
        let told = world.fixture.get(&function, "/").await.unwrap().1;
        assert_eq!(
            told, "limit-reached: a call may read or change 1000 keys, and this one has ",
            "each call anew"
        );
    }
    world.memory.set("a", vec![b'x'; 256 << 10]);
    let times = STATE_READ_BYTES_MAX / (256 << 10);
    let function = world.deploy(read_often(times + 1), grants()).await;
    let told = world.fixture.get(&function, "/").await.unwrap().1;
    assert_eq!(told, "limit-reached: a call may read 67108864 bytes of keys and values ");
    let opens = Script::of(Draft::Second).times(BUCKETS_OPEN_MAX, |it| it.open("b").quietly()).open("b");
    let told = world.run(opens).await;
    assert_eq!(
        told,
        "limit-reached: a call may have 100 handles of buckets, of blobs, of lists and to swap by, and has as many "
    );
    let opens = Script::of(Draft::Second).times(BUCKETS_OPEN_MAX + 1, |it| it.open("b").close().quietly());
    let opens = opens.open("b");
    assert_eq!(world.run(opens).await, "ok ", "those that it has let go of do not count");
}

/// Opens the bucket, reads `a` so often, and tells what came of the last time.
fn read_often(times: usize) -> Script {
    Script::begun().times(times, |it| it.quietly().read("a"))
}

#[tokio::test]
async fn a_guest_that_waits_is_stopped_with_its_call() {
    let world = World::new();
    let spec = Spec { timeout_ms: 200, ..grants() };
    let function = world.deploy(Script::begun().get("a"), spec).await;
    world.memory.wait();
    let error = world.fixture.get(&function, "/").await.unwrap_err();
    assert_eq!(error.code(), Code::ResponseTimeout);
    eventually("nobody waits any more", || Arc::strong_count(&world.memory.waiting) == 1).await;
    eventually("it is told", || world.fixture.usages.count() > 0).await;
    let usage = world.fixture.usages.take().remove(0);
    assert_eq!(usage.operations, [((Operation::Open, Came::Abandoned), 1)].into());
    assert!(usage.cpu < Duration::from_millis(150), "waiting is not computing: {usage:?}");
}

#[tokio::test]
async fn what_a_call_did_is_counted_by_what_came_of_it() {
    let world = World::new();
    let script = Script::begun().get("a").get("b").set("a", "1").open("other").publish("q", "x", None);
    world.run(script.publish("other", "x", None)).await;
    eventually("it is told", || world.fixture.usages.count() > 0).await;
    let usage = world.fixture.usages.take().remove(0);
    let expected = [
        ((Operation::Open, Came::Ok), 1),
        ((Operation::Open, Came::Denied), 1),
        ((Operation::Get, Came::Ok), 2),
        ((Operation::Set, Came::Ok), 1),
        ((Operation::Publish, Came::Ok), 1),
        ((Operation::Publish, Came::Denied), 1),
    ];
    assert_eq!(usage.operations, expected.into());
}

#[tokio::test]
async fn an_instance_that_holds_on_to_a_bucket_serves_no_other_call() {
    let reuse = || Spec { reuse: Some(ReuseDraft::default()), ..grants() };
    let world = World::new();
    let function = world.deploy(Script::begun().get("a").close(), reuse()).await;
    for _ in 0..3 {
        assert_eq!(world.fixture.get_to_the_end(&function, "/").await.unwrap().1, "ok - ");
    }
    eventually("it rests", || world.fixture.runtime.stats().resting == 1).await;
    // Only its first call opens the bucket: its second one would use what that one has opened.
    let world = World::new();
    let keeping = Script::of(Draft::Second).once(|it| it.open("b").quietly()).get("a");
    let function = world.deploy(keeping, reuse()).await;
    for _ in 0..2 {
        assert_eq!(world.fixture.get_to_the_end(&function, "/").await.unwrap().1, "- ");
    }
    assert_eq!(world.fixture.runtime.stats().resting, 0);
}

#[tokio::test]
async fn bounds_are_those_of_a_call_and_not_of_its_instance() {
    let world = World::new();
    let spec = Spec { reuse: Some(ReuseDraft::default()), ..grants() };
    let script = Script::begun().times(600, |it| it.quietly().get("a")).close();
    let function = world.deploy(script, spec).await;
    for _ in 0..2 {
        assert_eq!(world.fixture.get_to_the_end(&function, "/").await.unwrap().1, "- ");
        eventually("it rests", || world.fixture.runtime.stats().resting == 1).await;
    }
}

#[tokio::test]
async fn messages_go_to_the_queues_that_were_granted() {
    let world = World::new();
    let script = Script::begun().publish("q", "hello", None).publish("q", "x", Some("r")).request("q");
    let function = world.deploy(script, grants()).await;
    let told = world.fixture.get(&function, "/").await.unwrap().1;
    assert!(told.starts_with("ok ok invalid-argument: 'reply-to' is 'r': "), "{told}");
    assert!(told.contains(" invalid-argument: request to 'q': "), "{told}");
    let said = world.memory.said();
    let [said] = &said[..] else { panic!("{said:?}") };
    assert_eq!((said.source.as_str(), said.to.as_str()), ("//default/function/f", "q"));
    assert_eq!(said.data, "hello");
    assert_eq!((said.id.as_str(), said.group.as_str(), said.delay), ("", "", Duration::ZERO));
    let mut attributes = said.attributes.clone();
    assert!(attributes.remove("time").is_some_and(|time| time.starts_with("20") && time.ends_with('Z')));
    let expected = [("hops", "1"), ("type", "dev.coracle.queue.message")];
    assert_eq!(attributes, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
}

#[tokio::test]
async fn a_subject_says_more_of_its_message() {
    let world = World::new();
    let subject = "q?type=com.example.placed&id=o%2D1&group=g&delay=10s&subject=a%20b";
    let script = Script::begun().publish(subject, "hello", None).publish("q?colour=red", "x", None);
    let told = world.run(script.publish("other?id=1", "x", None)).await;
    assert!(told.starts_with("ok ok invalid-argument: 'colour' of the subject is none of"), "{told}");
    assert!(told.contains(" access-denied: 'other?id=1' is not"), "{told}");
    let said = world.memory.said();
    let [said] = &said[..] else { panic!("{said:?}") };
    assert_eq!((said.to.as_str(), said.id.as_str(), said.group.as_str()), ("q", "o-1", "g"));
    assert_eq!((said.delay, said.attributes["subject"].as_str()), (Duration::from_secs(10), "a b"));
    assert_eq!(said.attributes["type"], "com.example.placed");
}

#[tokio::test]
async fn a_chain_of_events_ends() {
    let world = World::new();
    let function = world.deploy(Script::of(Draft::Second).publish("q", "x", None), grants()).await;
    let event = |hops: &str| {
        let mut request = get("/");
        request.headers_mut().insert("ce-hops", hops.parse().unwrap());
        let trigger = Trigger::Queue { kind: "queue".to_owned(), route: String::new() };
        Call { trigger, ..call(&function, request) }
    };
    for (hops, told) in [("0", "ok "), ("15", "ok ")] {
        let answer = world.fixture.runtime.invoke(event(hops)).await.unwrap();
        assert_eq!(collect(answer).await.unwrap().1, told, "{hops}");
    }
    let answer = world.fixture.runtime.invoke(event("16")).await.unwrap();
    let told = collect(answer).await.unwrap().1;
    assert!(told.starts_with("loop-detected: calls led to one another 16 times"), "{told}");
    let hops: Vec<_> = world.memory.said().iter().map(|it| it.attributes["hops"].clone()).collect();
    assert_eq!(hops, ["1", "16"]);
}

#[tokio::test]
async fn what_a_call_causes_goes_on_with_its_chain_whatever_fired_it() {
    for (name, value, hops) in
        [("accept", "*/*", 1), ("cdn-loop", "coracle, other, coracle", 3), ("ce-hops", "4", 5)]
    {
        let world = World::new();
        let script = Script::begun().set("a", "1").delete("a").publish("q", "x", None);
        let function = world.deploy(script, grants()).await;
        let mut request = get("/");
        request.headers_mut().insert(name, value.parse().unwrap());
        let answer = world.fixture.runtime.invoke(call(&function, request)).await.unwrap();
        assert_eq!(collect(answer).await.unwrap().1, "ok ok ok ok ", "{name}");
        assert_eq!(world.memory.hops(), [hops, hops], "{name}");
        assert_eq!(world.memory.said()[0].attributes["hops"], hops.to_string(), "{name}");
    }
}
