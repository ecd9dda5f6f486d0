//! Goal: whether a program serves again is found out before a caller finds out, by calls that change nothing and hold up nobody.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use coracle_proto::attr;
use http_body_util::BodyExt as _;
use tokio::sync::MutexGuard;
use tracing::{Subscriber, span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use super::fixture::{Fixture, Function, eventually, get};
use super::guests::http;
use super::reuse::{at, counts, reuse, said};
use crate::runtime::MemoryMode;
use crate::runtime::after::Manners;
use crate::runtime::budget::Budget;
use crate::runtime::probe::{PROBE_MAX, Probe};
use crate::runtime::programs::Resident;

/// Prints at each call.
const PRINTS: &str =
    "(local.set $s (call $stdout)) (call $print (local.get $s) (i32.const 1024) (i32.const 3))
    (call $drop (local.get $s))";

/// One that was just made ready.
async fn ready(fixture: &Fixture, name: &str, guest: &[u8]) -> Function {
    let function = fixture.deploy_unknown(name, guest, reuse()).await.unwrap();
    fixture.runtime.probe(&function.version);
    function
}

/// One that was just made ready, and gets its turn when what comes with it is dropped.
async fn waiting<'a>(fixture: &'a Fixture, guest: &[u8]) -> (Function, Arc<Manners>, MutexGuard<'a, ()>) {
    let turn = fixture.runtime.0.invoker.probing.lock().await;
    let function = ready(fixture, "f", guest).await;
    let manners = fixture.manners(&function);
    eventually("it waits for its turn", || manners.is_asked()).await;
    (function, manners, turn)
}

fn is_known(manners: &Manners) -> bool {
    manners.serves_again() || manners.serves_once()
}

async fn until_known(fixture: &Fixture, function: &Function) {
    let manners = fixture.manners(function);
    eventually("it is found out", || is_known(&manners)).await;
}

/// As [`eventually`], of what calls functions meanwhile.
async fn in_time(what: &str, waiting: impl Future<Output = ()>) {
    tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// Its program as it is loaded.
async fn program(fixture: &Fixture, function: &Function) -> Arc<Resident> {
    let programs = &fixture.runtime.0.invoker.programs;
    programs.get(&function.version.digest, function.version.kind).await.unwrap().0
}

#[tokio::test]
async fn one_that_serves_again_is_found_out_and_nothing_is_left_of_that() {
    let fixture = Fixture::new();
    let function = ready(&fixture, "f", &counts(PRINTS)).await;
    until_known(&fixture, &function).await;
    let stats = fixture.runtime.stats();
    assert_eq!((stats.resting, stats.running, stats.guests_bytes, stats.resident), (0, 0, 0, 1));
    assert_eq!((fixture.lines.all(), fixture.usages.count()), (Vec::new(), 0));
    assert_eq!(said(&fixture, &function, 3).await, "1 2 3", "no caller has the instance that was tried");
    eventually("each is told", || fixture.usages.count() == 3).await;
    assert_eq!(fixture.lines.all().len(), 3);
}

#[tokio::test]
async fn no_caller_meets_an_instance_that_fails_at_its_second_call() {
    let fixture = Fixture::new();
    let guest = counts(&at(2, "(unreachable)"));
    let function = ready(&fixture, "f", &guest).await;
    eventually("the log says so", || !fixture.lines.all().is_empty()).await;
    let lines = fixture.lines.all();
    assert!(lines.len() == 1 && lines[0].contains("'reuse' is off on this node"), "{lines:?}");
    assert!(lines[0].contains("before any caller did: the function trapped"), "{lines:?}");
    assert_eq!(said(&fixture, &function, 3).await, "1 1 1");
    // Another version of the same code is known.
    let again = ready(&fixture, "g", &guest).await;
    assert_eq!(said(&fixture, &again, 3).await, "1 1 1");
    assert_eq!((fixture.runtime.stats().resting, fixture.lines.all().len()), (0, 1));
}

/// After a start, whose node loads no code in advance.
#[tokio::test]
async fn one_that_nobody_tried_is_tried_when_it_is_called_and_not_used_again_before() {
    for (then, later) in [("", "1 2"), (at(2, "(unreachable)").as_str(), "1 1")] {
        let fixture = Fixture::new();
        let function = fixture.deploy_unknown("f", &counts(then), reuse()).await.unwrap();
        let manners = fixture.manners(&function);
        in_time("it is found out", async {
            while !is_known(&manners) {
                assert_eq!(said(&fixture, &function, 1).await, "1");
            }
        })
        .await;
        // The last of those may have ended when it was known.
        let told = said(&fixture, &function, 2).await;
        assert!(told == later || told == "2 3", "{told}");
        assert_eq!(told == "1 1", later == "1 1", "{told}");
    }
}

#[tokio::test]
async fn one_that_holds_on_to_its_request_is_told_at_once() {
    let keeps = http(
        "(local.set $b (call $head (local.get $out))) (local.set $s (call $stream (local.get $b)))
        (call $finish (local.get $b) (local.get $s))",
    );
    let fixture = Fixture::new();
    let function = ready(&fixture, "f", &keeps).await;
    eventually("the log says so", || !fixture.lines.all().is_empty()).await;
    assert!(fixture.lines.all()[0].contains("'reuse' has no effect"), "{:?}", fixture.lines.all());
    said(&fixture, &function, 2).await;
    assert_eq!((fixture.runtime.stats().resting, fixture.lines.all().len()), (0, 1));
}

#[tokio::test]
async fn one_that_cannot_be_tried_is_used_again_until_it_fails() {
    let fixture = Fixture::new();
    let function = ready(&fixture, "f", &counts(&at(1, "(unreachable)"))).await;
    until_known(&fixture, &function).await;
    assert!(fixture.manners(&function).serves_again() && fixture.lines.all().is_empty());
}

#[tokio::test]
async fn one_that_takes_for_ever_is_given_up_and_holds_up_no_other() {
    let fixture = Fixture::new();
    let other = fixture.deploy("other", &counts(""), reuse()).await.unwrap();
    let endless = "(local.set $s (call $stream (call $head (local.get $out))))
        (loop (call $print (local.get $s) (i32.const 1024) (i32.const 16)) (br 0))";
    let function = ready(&fixture, "f", &http(endless)).await;
    let behind = ready(&fixture, "g", &counts("(nop)")).await;
    assert_eq!(said(&fixture, &other, 2).await, "1 2");
    let began = crate::clock::now();
    until_known(&fixture, &behind).await;
    assert!(began.elapsed() < PROBE_MAX * 5, "{:?}", began.elapsed());
    until_known(&fixture, &function).await;
    eventually("it has ended", || fixture.runtime.stats().running == 0).await;
}

#[tokio::test]
async fn one_that_finds_no_room_is_tried_later() {
    let fixture = Fixture::with_guests_bytes(20 << 16);
    let endless = "(local.set $s (call $stream (call $head (local.get $out))))
        (loop (call $print (local.get $s) (i32.const 1024) (i32.const 16)) (br 0))";
    let busy = fixture.deploy("busy", &http(endless), reuse()).await.unwrap();
    let function = fixture.deploy_unknown("f", &counts(""), reuse()).await.unwrap();
    let mut body = fixture.call(&busy, get("/")).await.unwrap().response.into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(said(&fixture, &function, 1).await, "overloaded");
    let manners = fixture.manners(&function);
    eventually("it was refused", || manners.ask()).await;
    manners.ask_again();
    drop(body);
    // There is room for one: where a call still has it the probe that it asked for is refused, and the next one asks again.
    in_time("it is found out", async {
        while !is_known(&manners) {
            said(&fixture, &function, 1).await;
            eventually("that has come to an end", || !manners.is_asked() || is_known(&manners)).await;
        }
    })
    .await;
    assert!(manners.serves_again());
}

#[tokio::test]
async fn what_rests_does_not_give_way_to_one_that_is_tried() {
    let places = Fixture::with_running_max(MemoryMode::OnDemand, 1);
    for fixture in [Fixture::with_guests_bytes(20 << 16), places] {
        let other = fixture.deploy("other", &counts("(nop)"), reuse()).await.unwrap();
        assert_eq!(said(&fixture, &other, 1).await, "1");
        let (function, manners, turn) = waiting(&fixture, &counts("")).await;
        drop(turn);
        eventually("it was refused", || !manners.is_asked()).await;
        assert!(!is_known(&manners));
        assert_eq!(said(&fixture, &other, 1).await, "2", "the instance that rested is there");
        // A caller's call has what it needs.
        assert_eq!(said(&fixture, &function, 1).await, "1");
    }
}

#[tokio::test]
async fn one_that_goes_before_its_turn_does_not_run() {
    for removed in [false, true] {
        let fixture = Fixture::new();
        let (function, manners, turn) = waiting(&fixture, &counts("")).await;
        if removed {
            fixture.runtime.forget(&function.version.digest);
        }
        // The version is there as long as somebody has it.
        let kept = Some(function).filter(|_| removed);
        drop(turn);
        eventually("it was given up", || !manners.is_asked()).await;
        assert!(!is_known(&manners));
        drop(kept);
    }
}

/// Names of spans that a call has.
struct Spans(Arc<Mutex<Vec<&'static str>>>);

impl<S: Subscriber> Layer<S> for Spans {
    fn on_new_span(&self, span: &span::Attributes<'_>, _: &span::Id, _: Context<'_, S>) {
        let name = span.metadata().name();
        if [attr::SPAN_RUN, attr::SPAN_INSTANTIATE].contains(&name) {
            self.0.lock().unwrap().push(name);
        }
    }
}

#[tokio::test]
async fn one_that_is_tried_leaves_no_trace() {
    let fixture = Fixture::new();
    let function = fixture.deploy("f", &counts(""), reuse()).await.unwrap();
    let spans = Arc::<Mutex<Vec<&'static str>>>::default();
    // Of this thread, on which calls begin.
    let subscriber = tracing_subscriber::registry().with(Spans(Arc::clone(&spans)));
    let _default = tracing::subscriber::set_default(subscriber);
    in_time("a caller's call has both", async {
        while *spans.lock().unwrap() != [attr::SPAN_RUN, attr::SPAN_INSTANTIATE] {
            // Another test met a span for the first time just while the subscriber came.
            tracing::callsite::rebuild_interest_cache();
            fixture.runtime.0.invoker.instances.rest().forget(&function.version.id);
            spans.lock().unwrap().clear();
            assert_eq!(said(&fixture, &function, 1).await, "1");
        }
    })
    .await;
    spans.lock().unwrap().clear();
    fixture.runtime.0.invoker.two_calls(&Probe::of(&function.version)).await.unwrap();
    assert!(spans.lock().unwrap().is_empty(), "{spans:?}");
}

#[tokio::test]
async fn what_one_that_is_tried_takes_is_not_expected_of_callers() {
    // Computes for some tens of milliseconds, and grows.
    let slow = "(loop (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if 0 (i32.lt_u (local.get $n) (i32.const 100000000))))
        (drop (memory.grow (i32.const 8)))";
    // What a caller's call is admitted with.
    let typical = |program: &Resident| {
        let budget = Budget::new(u64::MAX);
        let share = budget.begin(&program.typical, u64::MAX).unwrap();
        let given = budget.given();
        drop(share);
        given
    };
    let fixture = Fixture::new();
    let function = fixture.deploy_unknown("f", &counts(&at(1, slow)), reuse()).await.unwrap();
    let program = program(&fixture, &function).await;
    let before = typical(&program);
    fixture.runtime.probe(&function.version);
    until_known(&fixture, &function).await;
    eventually("it has ended", || fixture.runtime.stats().running == 0).await;
    assert!(!program.habit.is_long());
    assert_eq!(typical(&program), before);
    // What a caller's takes is, once its instance is gone.
    assert_eq!(said(&fixture, &function, 1).await, "1");
    fixture.runtime.0.invoker.instances.rest().forget(&function.version.id);
    assert!(program.habit.is_long() && typical(&program) > before);
}
