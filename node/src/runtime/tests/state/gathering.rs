//! Goal: what a call for an event does is told with its end and not done before, and its own reads see it.

use std::time::Duration;

use coracle_proto::spec::{Draft as Spec, ReuseDraft};
use coracle_proto::status::Code;

use super::script::{Draft, Script};
use super::{World, grants};
use crate::call::{Call, Effect, Receipt};
use crate::runtime::tests::fixture::{call, collect, eventually, get};
use crate::values::{Change, Write};

/// What the script tells, and what it did.
async fn gathered(world: &World, script: Script, spec: Spec) -> (String, Vec<Effect>) {
    let function = world.deploy(script, spec).await;
    let receipt = Receipt::gathering();
    let call = Call { receipt: receipt.clone(), ..call(&function, get("/")) };
    let told = collect(world.fixture.runtime.invoke(call).await.unwrap()).await.unwrap().1;
    let effects = receipt.told(Duration::from_secs(10)).await;
    assert!(effects.is_over());
    (told, effects.effects)
}

fn check(key: &'static str, version: u64) -> Effect {
    Effect::Check { bucket: "b".to_owned(), key: key.into(), version }
}

fn set(key: &'static str, data: &'static str) -> Effect {
    let change = Change::Set { data: data.into(), ttl: None, if_version: None };
    Effect::Write { bucket: "b".to_owned(), write: Write { key: key.into(), change } }
}

#[tokio::test]
async fn what_it_changes_is_told_and_its_reads_see_it() {
    for draft in Draft::ALL {
        let world = World::new();
        world.memory.set("a", "1");
        world.memory.set("n", "5");
        let script = Script::of(draft).open("b").get("a").set("a", "2").get("a").delete("c").exists("c");
        let script = script.increment("n", 2).increment("n", 1).exists("none").keys();
        let (told, effects) = gathered(&world, script.publish("q", "hello", None), grants()).await;
        assert_eq!(told, "ok 1 ok 2 ok no 7 8 no a n ok ", "{draft:?}");
        let gone = Write { key: "c".into(), change: Change::Delete };
        let expected = [
            check("a", 1),
            check("n", 2),
            check("none", 0),
            set("a", "2"),
            Effect::Write { bucket: "b".to_owned(), write: gone },
            // The store adds: so when the value is gone is as it was.
            Effect::Write {
                bucket: "b".to_owned(),
                write: Write { key: "n".into(), change: Change::Increment { by: 3 } },
            },
        ];
        assert_eq!(effects[..6], expected);
        let [Effect::Publish(said)] = &effects[6..] else { panic!("{effects:?}") };
        assert_eq!((said.to.as_str(), &said.data[..]), ("q", &b"hello"[..]));
        assert_eq!(world.memory.text("a").as_deref(), Some("1"), "nothing is done yet");
        assert_eq!(world.memory.text("n").as_deref(), Some("5"));
        assert!(world.memory.said().is_empty());
    }
}

#[tokio::test]
async fn a_swap_is_of_what_the_call_has_seen() {
    let world = World::new();
    world.memory.set("a", "1");
    let script =
        Script::begun().cas("a").current().swap("2").get("a").cas("a").set("a", "3").swap("4").get("a");
    let (told, effects) = gathered(&world, script, grants()).await;
    assert_eq!(told, "ok ok 1 ok 2 ok ok again 3 ");
    assert_eq!(effects, [check("a", 1), set("a", "3")]);
}

/// It would try until its bounds were reached, and cannot end well.
#[tokio::test]
async fn a_call_that_was_overtaken_between_two_reads_goes_on_and_is_checked_by_the_first() {
    let world = World::new();
    world.memory.set("a", "1");
    world.memory.overtake(2);
    let script = Script::begun().get("a").get("a").cas("a").current().swap("mine").get("a");
    let (told, effects) = gathered(&world, script, grants()).await;
    assert_eq!(told, "ok theirs theirs ok theirs ok mine ");
    assert_eq!(effects, [check("a", 2), set("a", "mine")]);
}

#[tokio::test]
async fn what_it_deleted_is_gone_for_it_and_what_it_reads_twice_is_checked_once() {
    for draft in Draft::ALL {
        let world = World::new();
        world.memory.set("a", "1");
        world.memory.set("n", "5");
        let script =
            Script::of(draft).open("b").get("a").get("a").exists("a").delete("a").get("a").exists("a");
        let script = script.keys().delete("n").increment("n", 2).increment("a", 1).delete("a");
        let (told, effects) = gathered(&world, script, grants()).await;
        assert_eq!(told, "ok 1 1 yes ok - no n ok 2 1 ok ", "{draft:?}");
        let gone = Write { key: "a".into(), change: Change::Delete };
        let gone = Effect::Write { bucket: "b".to_owned(), write: gone };
        assert_eq!(effects, [check("a", 1), gone, set("n", "2")], "{draft:?}");
    }
}

#[tokio::test]
async fn a_batch_over_the_bound_leaves_nothing_behind_and_reads_count_too() {
    let world = World::new();
    let keys: Vec<String> = (0..250).map(|number| format!("k{number}")).collect();
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let script = Script::begun().get_many(&keys).quietly();
    let script = script.set_many(&["a", "1", "b", "2", "c", "3", "d", "4", "e", "5", "f", "6", "g", "7"]);
    let script = script.get("k0").set("a", "1").set("b", "2").set("c", "3").set("d", "4").set("e", "5");
    let script = script.set("a", "6").set("f", "6").set("g", "7").get("k9").get("new");
    let (told, effects) = gathered(&world, script, grants()).await;
    let refused = "limit-reached: what a call for an event";
    assert!(told.starts_with(refused), "the batch is refused: {told}");
    assert_eq!(told.matches(refused).count(), 3, "{told}");
    assert_eq!((effects.len(), &effects[250]), (256, &set("a", "6")));
}

/// An instance that serves one call after the other takes nothing of one to the next.
#[tokio::test]
async fn what_one_call_gathered_is_not_the_next_one_s() {
    let world = World::new();
    let spec = Spec { reuse: Some(ReuseDraft::default()), ..grants() };
    let script = Script::begun().get("a").set("a", "1").get("a").close();
    let function = world.deploy(script, spec).await;
    for _ in 0..2 {
        let receipt = Receipt::gathering();
        let call = Call { receipt: receipt.clone(), ..call(&function, get("/")) };
        let told = collect(world.fixture.runtime.invoke(call).await.unwrap()).await.unwrap().1;
        assert_eq!(told, "ok - ok 1 ");
        let told = receipt.told(Duration::from_secs(10)).await;
        assert_eq!(told.effects, [check("a", 0), set("a", "1")]);
        eventually("it rests", || world.fixture.runtime.stats().resting == 1).await;
    }
    assert_eq!(world.memory.text("a"), None);
}

#[tokio::test]
async fn grants_and_bounds_are_those_of_any_call_and_more() {
    let world = World::new();
    let (told, effects) = gathered(&world, Script::of(Draft::Second).open("r").set("a", "1"), grants()).await;
    assert_eq!((told.as_str(), effects), ("ok access-denied ", vec![]));
    let script = Script::begun().set_zeros("a", 200 << 10).set_zeros("b", 200 << 10).set("c", "1");
    let (told, effects) = gathered(&world, script, grants()).await;
    assert!(told.starts_with("ok ok limit-reached: what a call for an event"), "{told}");
    assert!(told.ends_with(" ok ") && effects.len() == 2, "{told}");
}

/// Elsewhere a guest is stopped when its answer has ended.
#[tokio::test]
async fn what_it_does_after_its_answer_is_done_with_the_rest() {
    let world = World::new();
    world.memory.slow();
    let script = Script::begun().set("first", "1").after(|it| it.get("x").set("last", "2"));
    let (told, effects) = gathered(&world, script, grants()).await;
    assert_eq!(told, "ok ok ");
    assert_eq!(effects, [check("x", 0), set("first", "1"), set("last", "2")]);
}

/// Half of what it does would be done otherwise.
#[tokio::test]
async fn a_guest_that_fails_after_its_answer_has_not_answered() {
    for slow in [false, true] {
        let world = World::new();
        if slow {
            world.memory.slow();
        }
        let script = Script::begun().set("first", "1").after(|it| it.get("x").set("last", "2").trap());
        let function = world.deploy(script, grants()).await;
        let call = Call { receipt: Receipt::gathering(), ..call(&function, get("/")) };
        let ended = match world.fixture.runtime.invoke(call).await {
            Ok(answer) => collect(answer).await.map(|it| it.1),
            Err(error) => Err(error),
        };
        assert_eq!(ended.unwrap_err().code(), Code::FunctionTrapped, "{slow}");
    }
}

/// What is told late of a call that was granted nothing makes no difference.
#[tokio::test]
async fn a_call_that_was_granted_nothing_is_known_to_have_done_nothing_from_its_start_on() {
    let world = World::new();
    for (spec, idle) in [(Spec::default(), true), (grants(), false)] {
        let function = world.deploy(Script::of(Draft::Second), spec).await;
        let receipt = Receipt::gathering();
        let call = Call { receipt: receipt.clone(), ..call(&function, get("/")) };
        let running = world.fixture.runtime.invoke(call).await.unwrap();
        let told = receipt.told(Duration::ZERO).await;
        assert!(told.is_over() || told.is_whole() == idle, "{told:?}");
        collect(running).await.unwrap();
    }
}

/// Each of them would be an entry of a log, and nothing would bound them.
#[tokio::test]
async fn a_batch_of_nothing_counts_as_an_operation_and_is_written_nowhere() {
    let world = World::new();
    let batches = (0..500).fold(Script::begun(), |script, _| script.set_many(&[]).delete_many(&[]));
    let told = world.run(batches.quietly().set("a", "1")).await;
    assert!(told.starts_with("limit-reached: a call may read or change 1000 keys"), "{told}");
    assert!(world.memory.hops().is_empty(), "no write was asked for");
}

/// The store would refuse all that the call did with them.
#[tokio::test]
async fn what_is_said_of_a_message_is_bounded_together() {
    let world = World::new();
    let said = |bytes: usize| format!("q?type={}&subject={}", "t".repeat(bytes), "s".repeat(bytes));
    let script = Script::of(Draft::ALL[0]).publish(&said(2048), "", None).publish(&said(1900), "", None);
    let (told, effects) = gathered(&world, script, grants()).await;
    assert!(told.starts_with("invalid-argument: what is said of a message, with its trace, has 4"), "{told}");
    assert!(told.ends_with(" bytes, and at most 4096 are allowed ok "), "{told}");
    assert_eq!(effects.len(), 1);
}
