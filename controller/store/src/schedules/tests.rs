//! Schedules over a real group of one member: they fire when their time has come, by what was asked for where it came
//! too late.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::{ClusterId, InvocationId};

use super::Schedules;
use crate::clock::Members;
use crate::model::{
    self, Definition, Kept, Missed, Name, Op, Outcome, Overlap, Place, Schedule, Settings, Span, Wanted,
};
use crate::world::{GROUP, World};

/// For what is to come within seconds.
const SOON: Duration = Duration::from_secs(20);
const MINUTE_MS: u64 = 60_000;

impl World {
    /// A schedule of which so much time is to be made up for.
    async fn put(&self, name: &str, definition: Definition, ago_ms: u64) -> u64 {
        let from_ms = self.served.schedules.now_ms() - ago_ms;
        let definition = Box::new(definition);
        assert_eq!(
            self.done(Op::PutSchedule { schedule: place(name), definition, from_ms }).await,
            Outcome::Done
        );
        from_ms
    }

    fn found(&self, name: &str) -> Schedule {
        model::schedule(&self.served.replica.state(), &place(name)).unwrap().unwrap()
    }

    async fn until(&self, name: &str, is: impl Fn(&Schedule) -> bool) -> Schedule {
        let waited = async {
            loop {
                let schedule = self.found(name);
                if is(&schedule) {
                    return schedule;
                }
                tokio::time::sleep(Duration::from_millis(5)).await; // a bounded poll
            }
        };
        tokio::time::timeout(SOON, waited).await.unwrap_or_else(|_| panic!("not yet: {:?}", self.found(name)))
    }

    /// Ids and times of all that was called, the oldest first, and how many times each says were left out.
    fn called(&self) -> Vec<(String, u64)> {
        let view = self.served.replica.state();
        let all = model::invocations(&view, &place("x").namespace, &Wanted::ALL, None, 1000).unwrap();
        assert_eq!(all.after, None);
        let ids: BTreeSet<InvocationId> = all.seen.iter().map(|seen| seen.invocation).collect();
        assert_eq!(ids.len(), all.seen.len());
        let mut numbers: Vec<u64> = all.seen.iter().map(|seen| seen.record.message).collect();
        numbers.sort_unstable();
        let body = |number: u64| {
            let body = model::message(&view, &queue(), number).unwrap().unwrap().body;
            let missed = body.attributes.get("missed").map_or(0, |missed| missed.parse().unwrap());
            (body.id, missed)
        };
        numbers.into_iter().map(body).collect()
    }
}

fn place(name: &str) -> Place {
    Place::parse("shop", name).unwrap()
}

fn queue() -> Place {
    place("function/f")
}

fn definition(cron: &str, missed: Missed) -> Definition {
    Definition {
        cron: cron.to_owned(),
        zone: String::new(),
        function: Name::parse("f").unwrap(),
        data: Bytes::from_static(b"data"),
        missed,
        overlap: Overlap::Allow,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_second_fires_once_and_in_its_time() {
    let world = World::start().await;
    let from_ms = world.put("a", definition("* * * * * *", Missed::Once), 0).await;
    let schedule = world.until("a", |schedule| schedule.ticks >= 3).await;
    let first_ms = from_ms / 1000 * 1000 + 1000;
    let fired = schedule.fired.unwrap();
    assert_eq!(fired.at_ms, first_ms + (schedule.ticks - 1) * 1000, "none was passed over");
    let late_ms = fired.fired_ms - fired.at_ms;
    println!("the last tick was {late_ms} ms late");
    assert!(late_ms < MINUTE_MS && schedule.missed == 0, "{schedule:?}");
    let expected = (0..3).map(|tick| (format!("a@{}", first_ms + tick * 1000), 0));
    assert!(world.called().into_iter().take(3).eq(expected), "{:?}", world.called());
    let from_ms = world.served.schedules.now_ms();
    world.done(Op::PauseSchedule { schedule: place("a"), paused: true, from_ms }).await;
    let paused = world.found("a");
    // Another one is looked at meanwhile: the paused one had its chance.
    world.put("b", definition("* * * * * *", Missed::Once), 0).await;
    world.until("b", |schedule| schedule.ticks >= 2).await;
    assert_eq!(world.found("a"), paused);
    world.done(Op::DropSchedule { schedule: place("b") }).await;
    world.put("c", definition("* * * * * *", Missed::Once), 0).await;
    world.until("c", |schedule| schedule.ticks >= 2).await;
    world.replicas.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_has_asked_the_clocks_knows_the_time_and_no_other() {
    let world = World::start().await;
    assert!(world.served.schedules.known_ms().await.is_some());
    let new = Schedules::new(GROUP, Members::new(ClusterId::new(1)));
    assert_eq!(new.known_ms().await, None, "it does not lead");
    world.replicas.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_ends_is_noticed() {
    let world = World::start().await;
    assert_eq!(world.replicas.ended(), None);
    world.replicas.end_a_task(GROUP);
    let noticed = async {
        while world.replicas.ended() != Some(GROUP) {
            tokio::time::sleep(Duration::from_millis(5)).await; // a bounded poll
        }
    };
    tokio::time::timeout(SOON, noticed).await.expect("the task has ended");
    world.replicas.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_missed_is_made_up_for_as_was_asked() {
    let world = World::start().await;
    let skips = definition("0 0 * * *", Missed::Skip);
    world.put("skips", skips, 10 * 24 * 60 * MINUTE_MS).await;
    let schedule = world.until("skips", |schedule| schedule.missed > 0).await;
    assert!((9..=10).contains(&schedule.missed) && schedule.ticks <= 1, "{schedule:?}");
    let once = definition("0 0 * * *", Missed::Once);
    world.put("once", once, 10 * 24 * 60 * MINUTE_MS).await;
    let schedule = world.until("once", |schedule| schedule.missed + schedule.ticks == 10).await;
    assert!(schedule.ticks <= 2, "{schedule:?}");
    let all = definition("0 * * * *", Missed::All);
    let from_ms = world.put("all", all, 200 * 60 * MINUTE_MS).await;
    world.until("all", |schedule| schedule.missed + schedule.ticks == 200).await;
    let hour_ms = 60 * MINUTE_MS;
    let first_ms = (from_ms / hour_ms + 1) * hour_ms;
    let called: Vec<_> = world.called().into_iter().filter(|(id, _)| id.starts_with("all@")).collect();
    let expected = (0..100).map(|hour| (format!("all@{}", first_ms + hour * hour_ms), 0));
    assert!(called.iter().take(100).cloned().eq(expected), "{called:?}");
    let left_out: Vec<_> = called.iter().filter(|(_, missed)| *missed > 0).collect();
    assert!(matches!(left_out[..], [(_, 98 | 99)]), "one says how many were left out: {left_out:?}");
    world.replicas.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_holds_a_schedule_back_and_no_other() {
    let world = World::start().await;
    let settings = Settings { messages_max: 1, ..Settings::DEFAULT };
    let target = Some(Name::parse("f").unwrap());
    world.done(Op::PutQueue { queue: queue(), settings, target }).await;
    let from_ms = world.put("a", definition("* * * * * *", Missed::Once), 0).await;
    world.until("a", |schedule| schedule.ticks == 1).await;
    let other = Definition { function: Name::parse("g").unwrap(), ..definition("* * * * * *", Missed::Once) };
    world.put("other", other, 0).await;
    world.until("other", |schedule| schedule.ticks >= 3).await;
    let overdue = async {
        while world.served.schedules.shown().unwrap().overdue_ms < 1000 {
            tokio::time::sleep(Duration::from_millis(5)).await; // a bounded poll
        }
    };
    tokio::time::timeout(SOON, overdue).await.expect("what is held is overdue");
    assert!(world.served.schedules.shown().unwrap().offset_ms.abs() < 1000);
    let held = world.found("a");
    assert_eq!((held.ticks, held.missed), (1, 0));
    let kept = Kept::Waiting;
    world.done(Op::Purge { queue: queue(), kept, span: Span::ALL, steps: 9 }).await;
    world
        .done(Op::PutQueue {
            queue: queue(),
            settings: Settings::DEFAULT,
            target: Some(Name::parse("f").unwrap()),
        })
        .await;
    let schedule = world.until("a", |schedule| schedule.ticks >= 4).await;
    let last_ms = schedule.fired.unwrap().at_ms;
    assert_eq!(last_ms, (from_ms / 1000 + schedule.ticks) * 1000, "none was lost: {schedule:?}");
    world.replicas.close().await;
}
