//! Goal: guests read and write blobs as streams, within grants and bounds; a call for an event does it with its end.

mod guest;
mod memory;

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::spec::Draft as Spec;

use self::guest::Script;
use self::memory::{Memory, full};
use super::script as values;
use crate::blobs::{Commit, Content};
use crate::call::{Call, EFFECTS_MAX, Effect, Receipt};
use crate::runtime::bounds::BLOB_STREAMS_MAX;
use crate::runtime::tests::fixture::{Fixture, Function, call, collect, eventually, get};
use crate::runtime::{Came, Operation};

const ALL: (u64, u64) = (0, u64::MAX);

/// A function that may read and write `b`, and only read `r`.
struct World {
    fixture: Fixture,
    blobs: Memory,
}

impl World {
    fn new() -> Self {
        let blobs = Memory::default();
        let kept = super::Memory::with_blobs(Arc::new(blobs.clone()));
        Self { fixture: Fixture::with_state(Arc::new(kept)), blobs }
    }

    async fn deploy(&self, script: Script) -> Function {
        let spec =
            Spec { blobs: ["b", "r:read", "none", "values"].map(str::to_owned).to_vec(), ..Spec::default() };
        self.fixture.deploy("f", &script.built(), spec).await.unwrap()
    }

    async fn run(&self, script: Script) -> String {
        let function = self.deploy(script).await;
        self.fixture.get(&function, "/").await.unwrap().1
    }

    /// As a call for an event: what it tells, and what it did.
    async fn gathered(&self, script: Script) -> (String, Vec<Effect>) {
        let function = self.deploy(script).await;
        let receipt = Receipt::gathering();
        let call = Call { receipt: receipt.clone(), ..call(&function, get("/")) };
        let told = collect(self.fixture.runtime.invoke(call).await.unwrap()).await.unwrap().1;
        (told, receipt.told(Duration::from_secs(10)).await.effects)
    }
}

#[tokio::test]
async fn a_blob_is_written_by_pieces_and_there_when_it_is_finished() {
    let world = World::new();
    let script = Script::of("b").value().write_data("a").write("one ").has("a").write("two").finish();
    let script = script.has("a").get("a", ALL).get("a", (1, 4)).info("a").exists("b");
    assert_eq!(world.run(script).await, "ok ok ok no ok ok yes one two ne t a b 7 yes ");
    assert_eq!(world.blobs.text("b", "a").as_deref(), Some("one two"));
    assert_eq!(world.blobs.kept().idle, [Duration::from_secs(2 * 30 + 600)]);
    assert_eq!(world.blobs.kept().fetched, 2, "its content, where that was asked for");
    // Its content before its name.
    let world = World::new();
    let script = Script::of("b").value().write("one ").write("two").write_data("a").finish().get("a", ALL);
    assert_eq!(world.run(script).await, "ok ok ok ok ok one two ");
}

#[tokio::test]
async fn a_large_one_streams_both_ways_and_is_not_given_at_once() {
    let world = World::new();
    world.blobs.set("b", "huge", vec![0; (16 << 20) + 1]);
    let script = Script::of("b").value().write_data("a").zeros(600).finish().quietly().stream("a").info("a");
    let told = world.run(script.stream("huge").get("huge", ALL)).await;
    let size = 600 * 4096;
    assert!(told.starts_with(&format!("{size} a b {size} 16777217 limit-reached: ")), "{told}");
}

#[tokio::test]
async fn what_is_given_up_is_no_blob_and_what_fails_says_why() {
    let world = World::new();
    let script =
        Script::of("b").value().write_data("a").write("x").give_up().has("a").value().write("x").finish();
    let told = world.run(script).await;
    assert!(told.starts_with("ok ok ok no ok invalid-argument: 'write-data' was not asked"), "{told}");
    let script = Script::of("b").value().zeros(256).zeros(1).write_data("a").finish();
    let told = world.run(script.value().zeros(256).write_data("whole").finish().has("whole")).await;
    let over = "limit-reached: more than 1048576 bytes were written before 'write-data' said where they go, and no more are held";
    assert_eq!(told, format!("ok ok failed ok {over} ok ok ok yes "), "as much as is held, and more");
    world.blobs.kept().full = Some(full());
    let told = world.run(Script::of("b").value().write_data("a").write("x").finish().has("a")).await;
    assert_eq!(told, "ok ok failed disk-full: no member has room no ");
}

#[tokio::test]
async fn names_come_in_pages_and_blobs_are_deleted_copied_and_moved() {
    let world = World::new();
    for key in ["a", "b", "c/d", "e", "f"] {
        world.blobs.set("b", key, key);
    }
    assert_eq!(world.run(Script::of("b").names_behind(0).names_behind(3)).await, "ok ok a b c/d e f ok e f ");
    let script = Script::of("b").delete("a").delete("none").copy(("b", "b"), ("b", "x"));
    let script = script.rename(("b", "c/d"), ("b", "y")).rename(("b", "e"), ("b", "e")).names_behind(0);
    let told = world.run(script.copy(("b", "none"), ("b", "z"))).await;
    assert_eq!(told, "ok ok ok ok ok ok ok b e f x y blob-not-found: there is no 'none' in the bucket ");
    let copied = world.blobs.kept().blobs[&("b".to_owned(), "x".to_owned())].info.clone();
    assert_eq!((copied.content_type.as_str(), copied.metadata["by"].as_str()), ("text/plain", "me"));
    assert_eq!(world.run(Script::of("b").clear().names_behind(0)).await, "ok ok ok ");
    assert_eq!(
        world
            .run(
                Script::of("b")
                    .value()
                    .write_data("l")
                    .zeros(100)
                    .finish()
                    .quietly()
                    .copy(("b", "l"), ("b", "m"))
                    .stream("m")
            )
            .await,
        "ok 409600 ",
        "in parts"
    );
}

#[tokio::test]
async fn a_list_does_not_end_where_a_page_of_it_fails() {
    let world = World::new();
    for key in ["a", "b", "c", "d", "e"] {
        world.blobs.set("b", key, key);
    }
    world.blobs.kept().fails_behind = Some("b".to_owned());
    let told = world.run(Script::of("b").names_behind(0)).await;
    assert_eq!(told, "ok ok a b no-quorum: nobody leads c d e ");
}

#[tokio::test]
async fn what_a_blob_is_is_told_by_the_end_of_its_name() {
    let world = World::new();
    world.run(Script::of("b").put("site/index.html", "x").put("data", "x")).await;
    let kind =
        |key: &str| world.blobs.kept().blobs[&("b".to_owned(), key.to_owned())].info.content_type.clone();
    assert_eq!((kind("site/index.html").as_str(), kind("data").as_str()), ("text/html; charset=utf-8", ""));
}

#[tokio::test]
async fn what_was_sent_and_is_no_blob_is_given_up() {
    let large = |script: Script, key: &str| script.value().write_data(key).zeros(50).finish();
    let world = World::new();
    let begun = Script::of("b").value().write_data("a").zeros(50).quietly();
    assert_eq!(world.run(begun).await, "");
    eventually("what was not finished is given up", || world.blobs.kept().open.is_empty()).await;
    world.blobs.kept().refuses = Some(full());
    let told = world.run(large(Script::of("b"), "a")).await;
    assert_eq!(told, "ok ok ok disk-full: no member has room ");
    assert!(world.blobs.kept().open.is_empty(), "its commit was refused");
    world.blobs.kept().refuses = None;
    world.run(large(Script::of("b"), "a")).await;
    world.blobs.kept().refuses = Some(full());
    let told = world.run(Script::of("b").copy(("b", "a"), ("b", "c"))).await;
    assert_eq!(told, "ok disk-full: no member has room ");
    assert!(world.blobs.kept().open.is_empty(), "the commit of its copy was refused");
    let (_, effects) = world.gathered(large(large(large(Script::of("b"), "x"), "y"), "x").delete("y")).await;
    let open: Vec<_> = world.blobs.kept().open.iter().copied().collect();
    let kept = effects.iter().filter_map(|effect| match effect {
        Effect::Blob { commit: Some(commit), .. } => commit.content.upload(),
        _ => None,
    });
    assert_eq!(open, kept.collect::<Vec<_>>(), "what the call replaced is given up");
    assert_eq!(open.len(), 1);
}

#[tokio::test]
async fn a_call_for_an_event_writes_as_many_blobs_as_it_has_effects() {
    let world = World::new();
    let script = (0..EFFECTS_MAX).fold(Script::of("b").quietly(), |script, number| {
        script.value().write_data(&format!("k{number}")).zeros(1 + number % 2 * 14).finish().quietly()
    });
    let (told, effects) = world.gathered(script.put("one-more", "x")).await;
    assert!(told.contains("limit-reached: ") && told.contains("257 of"), "{told}");
    assert_eq!(effects.len(), EFFECTS_MAX);
    let inline = effects.iter().filter(|effect| {
        matches!(effect, Effect::Blob { commit: Some(Commit { content: Content::Inline(_), .. }), .. })
    });
    assert!((10..50).contains(&inline.count()), "some of those of 4 KiB");
}

#[tokio::test]
async fn a_bucket_of_the_other_kind_is_told_when_it_is_opened() {
    let world = World::new();
    let told = world.run(Script::of("values").exists("values")).await;
    assert_eq!(told, "invalid-argument: the bucket holds values: 'wasi:keyvalue' has them no ");
    world.blobs.set("b", "a", "x");
    let (told, effects) = world.gathered(Script::of("b").copy(("b", "a"), ("values", "a"))).await;
    assert_eq!(told, "ok invalid-argument: the bucket holds values: 'wasi:keyvalue' has them ");
    assert_eq!(effects, [], "it would be found at the call's end");
    let wants =
        world.fixture.runtime.check(&world.fixture.write(&Script::of("b").built()).1).await.unwrap().wants;
    assert!(wants.blobs && !wants.keyvalue);
    let script = values::Script::of(values::Draft::ALL[0]).open("b");
    let spec = Spec { keyvalue: vec!["b".to_owned()], ..Spec::default() };
    let function = world.fixture.deploy("v", &script.built(), spec).await.unwrap();
    let told = world.fixture.get(&function, "/").await.unwrap().1;
    assert!(told.contains("invalid-argument: the bucket holds blobs: 'wasi:blobstore' has them"), "{told}");
}

#[tokio::test]
async fn only_what_was_granted_is_done() {
    let world = World::new();
    world.blobs.set("r", "a", "read");
    let denied = "access-denied: the function's 'blobs' do not allow it ";
    assert_eq!(world.run(Script::of("other").exists("other")).await, format!("{denied}{denied}"));
    assert_eq!(
        world.run(Script::of("none").exists("none")).await,
        "bucket-not-found: there is no such bucket no "
    );
    let script = Script::of("r").get("a", ALL).value().write_data("a").delete("a").clear();
    let script =
        script.copy(("b", "a"), ("r", "b")).rename(("r", "a"), ("b", "a")).copy(("r", "a"), ("b", "c"));
    let told = world.run(script).await;
    assert_eq!(told, format!("ok read {}ok ", denied.repeat(5)));
    assert_eq!(world.blobs.text("r", "a").as_deref(), Some("read"));
    assert_eq!(world.run(Script::default().create("r").create("r")).await, "ok ok ", "as elsewhere");
    let told = world.run(Script::default().create("new")).await;
    assert!(told.starts_with("invalid-argument: 'new': buckets are made"), "{told}");
    let fixture = Fixture::new();
    let spec = Spec { blobs: vec!["b".to_owned()], ..Spec::default() };
    let function = fixture.deploy("f", &Script::of("b").built(), spec).await.unwrap();
    assert_eq!(fixture.get(&function, "/").await.unwrap().1, "no-store: no node keeps anything ");
}

#[tokio::test]
async fn bounds_name_themselves_and_operations_are_counted() {
    let world = World::new();
    world.blobs.set("b", "a", "x");
    let script = (0..BLOB_STREAMS_MAX - 1).fold(Script::of("b"), |script, _| script.keep("a"));
    assert!(
        world.run(script.put("new", "y")).await.ends_with(" ok ok ok "),
        "one that is written counts once"
    );
    let script = (0..BLOB_STREAMS_MAX).fold(Script::of("b"), |script, _| script.keep("a")).quietly();
    let told = world.run(script.keep("a")).await;
    assert_eq!(told, "limit-reached: a call reads, writes and lists 16 blobs at once, and this one does ");
    let script = (0..BLOB_STREAMS_MAX).fold(Script::of("b"), |script, _| script.keep("a")).quietly();
    let told = world.run(script.value_alone().write_data("new").has("a")).await;
    assert!(
        told.starts_with("limit-reached: a call reads, ") && told.ends_with(" yes "),
        "it is told: {told}"
    );
    let told = world.run(Script::of("b").has("").has("a\u{7}")).await;
    assert!(told.starts_with("ok invalid-argument: the name of an object has 0 bytes"), "{told}");
    let told = world.run(Script::of("b").get("a", (1, 5))).await;
    assert_eq!(told, "ok range-not-satisfiable: bytes 1 to 5 of an object of 1 ");
    let world = World::new();
    world.run(Script::of("b").put("a", "x").get("a", ALL).get("b", ALL).delete("a")).await;
    eventually("it is told", || world.fixture.usages.count() > 0).await;
    let expected = [
        ((Operation::GetContainer, Came::Ok), 1),
        ((Operation::GetData, Came::Ok), 1),
        ((Operation::GetData, Came::Refused), 1),
        ((Operation::WriteData, Came::Ok), 1),
        ((Operation::Finish, Came::Ok), 1),
        ((Operation::DeleteObject, Came::Ok), 1),
    ];
    let usage = world.fixture.usages.take().remove(0);
    assert_eq!((usage.blob_bytes_out, usage.blob_bytes_in), (1, 1));
    assert_eq!(usage.operations, expected.into());
    assert_eq!(world.blobs.kept().hops, [1, 1]);
}

#[tokio::test]
async fn a_call_for_an_event_sends_at_once_and_commits_with_its_end() {
    let world = World::new();
    for key in ["a", "c", "d"] {
        world.blobs.set("b", key, "old");
    }
    let before = world.blobs.kept().blobs.clone();
    let script = Script::of("b").get("a", ALL).put("a", "new").get("a", ALL).delete("c").has("c").has("none");
    let script =
        script.value().write_data("large").zeros(50).finish().quietly().stream("large").names_behind(0);
    let (told, effects) = world.gathered(script.copy(("b", "a"), ("b", "e"))).await;
    assert_eq!(told, "204800 ok a d large ok ");
    assert_eq!(world.blobs.kept().blobs, before, "nothing is done yet");
    let check =
        |key: &'static str, version| Effect::Check { bucket: "b".to_owned(), key: key.into(), version };
    assert_eq!(effects[..2], [check("a", 1), check("none", 0)]);
    let blobs: Vec<_> = effects[2..]
        .iter()
        .map(|effect| match effect {
            Effect::Blob { bucket, key, commit } if bucket == "b" => (key.as_str(), commit.as_ref()),
            other => panic!("{other:?}"),
        })
        .collect();
    let [("a", Some(new)), ("c", None), ("e", Some(copy)), ("large", Some(large))] = blobs[..] else {
        panic!("{blobs:?}")
    };
    let inline = |commit: &Commit| commit.content == Content::Inline("new".into());
    assert!(inline(new) && inline(copy));
    let Content::Parts { upload, parts } = &large.content else { panic!("{large:?}") };
    assert_eq!((parts[0].bytes, world.blobs.kept().sent[upload].len()), (204_800, 204_800), "it was sent");
}
