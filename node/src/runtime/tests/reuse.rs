//! Goal: an instance serves one call after another only where its function asks for it, never after anything went wrong, and
//! gives way to whatever finds no room.

use std::time::Duration;

use coracle_proto::id::InvocationId;
use coracle_proto::spec::{Draft, ReuseDraft};
use http_body_util::BodyExt as _;

use super::fixture::{Fixture, Function, Making, call, collect, env, eventually, get};
use super::guests::http;
use crate::call::Call;
use crate::clock;
use crate::runtime::bounds::STREAMS_KEPT_MAX;
use crate::runtime::{MemoryMode, RestLimits};

/// Computes for some tens of milliseconds.
const SLOW: &str = "(loop (local.set $n (i32.add (local.get $n) (i32.const 1)))
    (br_if 0 (i32.lt_u (local.get $n) (i32.const 100000000))))";

/// Counts the calls of its instance, does what `then` says, and answers with the count.
pub(super) fn counts(then: &str) -> Vec<u8> {
    http(&format!(
        "(global.set $count (i32.add (global.get $count) (i32.const 1))) {then}
        (call $forget (local.get $req))
        (i32.store8 (i32.const 3000) (i32.add (i32.const 48) (global.get $count)))
        (local.set $b (call $head (local.get $out))) (local.set $s (call $stream (local.get $b)))
        (call $print (local.get $s) (i32.const 3000) (i32.const 1)) (call $finish (local.get $b) (local.get $s))"
    ))
}

/// Does something at one of its calls.
pub(super) fn at(call: u32, what: &str) -> String {
    format!("(if (i32.eq (global.get $count) (i32.const {call})) (then {what}))")
}

pub(super) fn reuse() -> Draft {
    Draft { reuse: Some(ReuseDraft::default()), ..Draft::default() }
}

/// What so many calls say, one after the other; an error as its code.
pub(super) async fn said(fixture: &Fixture, function: &Function, calls: usize) -> String {
    let mut all = Vec::new();
    for _ in 0..calls {
        all.push(match fixture.get_to_the_end(function, "/").await {
            Ok((_, said)) => said,
            Err(error) => error.code().name().to_owned(),
        });
    }
    all.join(" ")
}

/// What four calls of a guest say that counts, and does something.
async fn four(then: &str, draft: Draft) -> (String, Fixture) {
    let fixture = Fixture::new();
    let function = fixture.deploy("f", &counts(then), draft).await.unwrap();
    (said(&fixture, &function, 4).await, fixture)
}

#[tokio::test]
async fn an_instance_serves_another_call_only_where_that_is_asked_for() {
    let (all, fixture) = four("", Draft::default()).await;
    assert_eq!((all.as_str(), fixture.runtime.stats().resting), ("1 1 1 1", 0));
    let (all, fixture) = four("", reuse()).await;
    let stats = fixture.runtime.stats();
    assert_eq!((all.as_str(), stats.resting, stats.running), ("1 2 3 4", 1, 0));
    assert!(stats.guests_bytes >= 17 << 16, "what rests is counted: {}", stats.guests_bytes);
    let usages = fixture.usages.take();
    assert_eq!(usages.len(), 4);
    assert!(
        usages.iter().all(|usage| usage.memory_peak_bytes >= 17 << 16 && usage.bytes_out == 1),
        "{usages:?}"
    );
}

#[tokio::test]
async fn it_serves_so_many_calls_and_grows_so_old() {
    let draft = |calls, age_ms| Draft { reuse: Some(ReuseDraft { calls, age_ms }), ..Draft::default() };
    assert_eq!(four("", draft(2, 0)).await.0, "1 2 1 2");
    let (fixture, began) = (Fixture::new(), clock::now());
    let function = fixture.deploy("f", &counts(""), draft(0, 1000)).await.unwrap();
    let mut every = tokio::time::interval(Duration::from_millis(250));
    let mut all = Vec::new();
    while all.len() < 2 || all.last().is_none_or(|last| last != "1") {
        every.tick().await;
        all.push(said(&fixture, &function, 1).await);
    }
    assert!(began.elapsed() >= Duration::from_secs(1), "{all:?}");
    assert!((4..=7).contains(&all.len()), "{all:?}");
}

/// Its first call is as long as its reader takes.
#[tokio::test]
async fn one_that_grew_too_old_in_its_call_does_not_rest() {
    let pieces = "(local.set $b (call $head (local.get $out))) (local.set $s (call $stream (local.get $b)))
        (loop (call $print (local.get $s) (i32.const 1024) (i32.const 1))
            (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 9))))
        (call $finish (local.get $b) (local.get $s)) (call $forget (local.get $req))";
    for (age_ms, resting) in [(60_000, 1), (1000, 0)] {
        let draft = Draft { reuse: Some(ReuseDraft { calls: 0, age_ms }), ..Draft::default() };
        let fixture = Fixture::new();
        let function = fixture.deploy("f", &http(pieces), draft).await.unwrap();
        let answer = fixture.call(&function, get("/")).await.unwrap();
        let here = clock::now();
        eventually("its reader is ready", || here.elapsed() > Duration::from_secs(1)).await;
        assert_eq!(collect(answer).await.unwrap().1, "000000000");
        assert_eq!(fixture.runtime.stats().resting, resting, "{age_ms}");
    }
}

#[tokio::test]
async fn after_a_failure_it_serves_no_other_call() {
    let (all, _) = four(&at(3, "(unreachable)"), reuse()).await;
    assert_eq!(all, "1 2 function-trapped 1");
    let draft = Draft { cpu_time_ms: 200, ..reuse() };
    let (all, _) = four(&at(2, "(loop (br 0))"), draft).await;
    assert_eq!(all, "1 cpu-time-exceeded 1 cpu-time-exceeded");
    let draft = Draft { timeout_ms: 1000, ..reuse() };
    let (all, _) = four(&at(2, "(loop (br 0))"), draft).await;
    assert_eq!(all, "1 response-timeout 1 response-timeout");
    // It answers and leaves its body unfinished.
    let half =
        "(local.set $b (call $head (local.get $out))) (local.set $s (call $stream (local.get $b))) (return)";
    let (all, _) = four(&at(2, half), reuse()).await;
    assert_eq!(all, "1 function-failed 1 function-failed");
    let (all, fixture) = four(&at(2, "(drop (memory.grow (i32.const 60000)))"), reuse()).await;
    assert_eq!((all.as_str(), fixture.runtime.stats().resting), ("1 2 3 4", 1), "it coped");
}

/// It returns from its call, and keeps nothing of it.
#[tokio::test]
async fn after_an_answer_that_failed_it_serves_no_other_call() {
    for (what, answers) in [
        ("no answer", "(call $decline (local.get $out))"),
        ("an error", "(call $fail (local.get $out) (i32.const 1024) (i32.const 4))"),
        ("a body that is not finished", "(call $abandon (call $head (local.get $out)))"),
        (
            "a body of another length",
            "(local.set $b (call $sized (local.get $out) (i32.const 1029) (i32.const 1)))
            (local.set $s (call $stream (local.get $b)))
            (call $print (local.get $s) (i32.const 1024) (i32.const 2)) (call $finish (local.get $b) (local.get $s))",
        ),
    ] {
        let second = at(2, &format!("{answers} (call $forget (local.get $req)) (return)"));
        let (all, fixture) = four(&second, reuse()).await;
        let all = all.replace("invalid-response", "function-failed");
        assert_eq!(all, "1 function-failed 1 function-failed", "{what}");
        assert_eq!(fixture.runtime.stats().resting, 0, "{what}");
        let lines = fixture.lines.all();
        assert!(!lines.iter().any(|line| line.contains("'reuse' has no effect")), "{what}: {lines:?}");
    }
}

#[tokio::test]
async fn after_its_caller_left_it_serves_no_other_call() {
    let endless = "(local.set $s (call $stream (call $head (local.get $out))))
        (loop (call $print (local.get $s) (i32.const 1024) (i32.const 16)) (br 0))";
    let fixture = Fixture::new();
    let function = fixture.deploy("f", &counts(&at(2, endless)), reuse()).await.unwrap();
    assert_eq!(said(&fixture, &function, 1).await, "1");
    let mut body = fixture.call(&function, get("/")).await.unwrap().response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), 16);
    drop(body);
    assert_eq!(said(&fixture, &function, 1).await, "1");
}

/// Nothing of its guest's can fail any more, whatever becomes of the caller.
#[tokio::test]
async fn one_whose_guest_has_returned_serves_before_its_answer_has_been_read() {
    let pieces = "(local.set $b (call $head (local.get $out))) (local.set $s (call $stream (local.get $b)))
        (loop (call $print (local.get $s) (i32.const 1024) (i32.const 1))
            (br_if 0 (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 9))))
        (call $forget (local.get $req)) (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (i32.store8 (i32.const 3000) (i32.add (i32.const 48) (global.get $count)))
        (call $write_now (local.get $s) (i32.const 3000) (i32.const 1) (i32.const 64))
        (call $finish (local.get $b) (local.get $s))";
    for leaves in [false, true] {
        let fixture = Fixture::new();
        let function = fixture.deploy("f", &http(pieces), reuse()).await.unwrap();
        let mut first = fixture.call(&function, get("/")).await.unwrap().response.into_body();
        let mut read = 0;
        while fixture.runtime.stats().resting == 0 {
            read += first.frame().await.unwrap().unwrap().into_data().unwrap().len();
        }
        assert!(read < 10, "its reader does not have all of it");
        if !leaves {
            assert_eq!(said(&fixture, &function, 1).await, "0000000002");
            let rest = first.collect().await.unwrap().to_bytes();
            assert_eq!(rest, "0000000001"[read..]);
        } else {
            drop(first);
            assert_eq!(said(&fixture, &function, 1).await, "0000000002");
        }
    }
}

/// Whatever is left of a request could be read in the next one.
#[tokio::test]
async fn what_holds_on_to_its_callers_request_serves_no_other_call() {
    let keeps = http(
        "(global.set $count (i32.add (global.get $count) (i32.const 1)))
        (i32.store8 (i32.const 3000) (i32.add (i32.const 48) (global.get $count)))
        (local.set $b (call $head (local.get $out))) (local.set $s (call $stream (local.get $b)))
        (call $print (local.get $s) (i32.const 3000) (i32.const 1)) (call $finish (local.get $b) (local.get $s))",
    );
    let fixture = Fixture::new();
    let function = fixture.deploy("f", &keeps, reuse()).await.unwrap();
    assert_eq!(said(&fixture, &function, 3).await, "1 1 1");
    assert_eq!(fixture.runtime.stats().resting, 0);
    let lines = fixture.lines.all();
    let told = lines
        .iter()
        .filter(|line| line.contains("'reuse' has no effect: the function holds on to 1"))
        .count();
    assert_eq!(told, 1, "{lines:?}");
}

/// Else the host's table would be full at a later call, whose caller did nothing.
#[tokio::test]
async fn what_opens_a_stream_at_each_call_serves_so_many() {
    let fixture = Fixture::new();
    let leaks = fixture.deploy("f", &counts("(drop (call $stdout))"), reuse()).await.unwrap();
    said(&fixture, &leaks, STREAMS_KEPT_MAX).await;
    assert_eq!((fixture.runtime.stats().resting, fixture.lines.all().len()), (1, 0));
    said(&fixture, &leaks, 1).await;
    assert_eq!(fixture.runtime.stats().resting, 0);
    let lines = fixture.lines.all();
    assert!(lines.concat().contains("'reuse' has no effect: the function holds on to 1"), "{lines:?}");
    assert_eq!(said(&fixture, &leaks, 2).await, "1 2");
    let drops = fixture.deploy("f", &counts("(call $drop (call $stdout))"), reuse()).await.unwrap();
    said(&fixture, &drops, STREAMS_KEPT_MAX + 1).await;
    assert_eq!(fixture.runtime.stats().resting, 1);
}

/// Others of its instances rest when one is found out.
#[tokio::test]
async fn none_of_those_at_rest_is_asked_to_either() {
    let fixture = Fixture::new();
    let guest = counts(&[at(1, SLOW), at(2, "(unreachable)")].concat());
    let function = fixture.deploy("f", &guest, reuse()).await.unwrap();
    let (first, second) =
        tokio::join!(fixture.get_to_the_end(&function, "/"), fixture.get_to_the_end(&function, "/"));
    assert_eq!((first.unwrap().1, second.unwrap().1), ("1".to_owned(), "1".to_owned()));
    eventually("both rest", || fixture.runtime.stats().resting == 2).await;
    assert_eq!(said(&fixture, &function, 1).await, "function-trapped");
    eventually("none rests", || fixture.runtime.stats().resting == 0).await;
    assert_eq!(said(&fixture, &function, 2).await, "1 1");
}

#[tokio::test]
async fn each_call_has_its_own_log_trace_and_invocation() {
    let prints = "(local.set $s (call $stdout)) (call $print (local.get $s) (i32.const 1024) (i32.const 3))
        (call $drop (local.get $s))";
    let fixture = Fixture::new();
    let function = fixture.deploy("f", &counts(prints), reuse()).await.unwrap();
    for (number, answer) in [(1, "1"), (2, "2")] {
        let mut request = get("/");
        let traceparent = format!("00-{number:032x}-00000000000000ff-01");
        request.headers_mut().insert("traceparent", traceparent.parse().unwrap());
        let call = Call { invocation: InvocationId::new(number), ..call(&function, request) };
        assert_eq!(collect(fixture.runtime.invoke(call).await.unwrap()).await.unwrap().1, answer);
    }
    // Neither of them ends its line.
    let lines = fixture.lines.all();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.ends_with(": 012")), "{lines:?}");
    let whose = [1, 2].map(|number: u128| (InvocationId::new(number), Some(number.to_be_bytes())));
    assert_eq!(fixture.lines.whose(), whose);
}

#[tokio::test]
async fn each_call_has_its_own_processor_time() {
    let fixture = Fixture::new();
    let function = fixture.deploy("f", &counts(SLOW), Draft::default()).await.unwrap();
    assert_eq!(said(&fixture, &function, 2).await, "1 1");
    eventually("both are told", || fixture.usages.count() == 2).await;
    let takes = fixture.usages.take().iter().map(|usage| usage.cpu).max().unwrap();
    // Two calls have more together than one may have.
    let cpu_time_ms = clock::millis(takes * 5 / 3);
    let draft = Draft { cpu_time_ms, ..reuse() };
    let function = fixture.deploy("f", &counts(SLOW), draft).await.unwrap();
    for count in ["1", "2"] {
        assert_eq!(said(&fixture, &function, 1).await, count, "{cpu_time_ms} ms each");
        eventually("it rests", || fixture.runtime.stats().resting == 1).await;
    }
    eventually("both are told", || fixture.usages.count() == 2).await;
    let used: Duration = fixture.usages.take().iter().map(|usage| usage.cpu).sum();
    println!("{used:?} of {cpu_time_ms} ms each");
}

#[tokio::test]
async fn a_program_that_cannot_serve_twice_is_not_asked_to() {
    let (all, fixture) = four(&at(2, "(unreachable)"), reuse()).await;
    assert_eq!(all, "1 function-trapped 1 1");
    let lines = fixture.lines.all();
    assert_eq!(lines.iter().filter(|line| line.contains("'reuse' is off")).count(), 1, "{lines:?}");
}

#[tokio::test]
async fn a_real_component_keeps_its_output_and_answers_again() {
    let fixture = Fixture::new();
    let function = fixture.guest("rust-http-wasip1.component.wasm", reuse()).await;
    let first = fixture.get_to_the_end(&function, "/a").await.unwrap();
    assert_eq!(fixture.runtime.stats().resting, 1);
    assert_eq!(fixture.get_to_the_end(&function, "/a").await.unwrap(), first);
    assert_eq!(fixture.runtime.stats().resting, 1);
    let lines = fixture.lines.all();
    assert_eq!(lines.iter().filter(|line| line.contains("log line from guest: /a")).count(), 2, "{lines:?}");
}

/// Its first version has the number of the one before it.
#[tokio::test]
async fn what_rests_of_a_function_that_was_made_anew_serves_no_other() {
    let fixture = Fixture::new();
    let first = fixture.deploy("f", &counts(""), reuse()).await.unwrap();
    assert_eq!(said(&fixture, &first, 2).await, "1 2");
    let other_code = fixture.deploy("f", &counts("(nop)"), reuse()).await.unwrap();
    assert_eq!(other_code.version.id, first.version.id);
    assert_eq!(said(&fixture, &other_code, 2).await, "1 2");
    let draft = Draft { env: env(&[("A", "1")]), ..reuse() };
    let other_grants = fixture.deploy("f", &counts("(nop)"), draft).await.unwrap();
    assert_eq!(said(&fixture, &other_grants, 2).await, "1 2");
}

#[tokio::test]
async fn one_that_is_not_called_goes() {
    let fixture = Fixture::with_rest(RestLimits { idle: Duration::from_millis(50), ..RestLimits::DEFAULT });
    let function = fixture.deploy("f", &counts(""), reuse()).await.unwrap();
    for _ in 0..2 {
        assert_eq!(said(&fixture, &function, 2).await, "1 2");
        // It is taken from those at rest first, and its memory is given back without their lock.
        eventually("none rests", || fixture.runtime.stats().resting == 0).await;
        eventually("its memory is given back", || fixture.runtime.stats().guests_bytes == 0).await;
    }
}

#[tokio::test]
async fn so_many_rest_of_one_function_and_of_all() {
    let fixture = Fixture::with_rest(RestLimits { version: 1, node: 2, ..RestLimits::DEFAULT });
    let one = fixture.deploy("one", &counts(SLOW), reuse()).await.unwrap();
    let (first, second) = tokio::join!(fixture.get_to_the_end(&one, "/"), fixture.get_to_the_end(&one, "/"));
    assert_eq!((first.unwrap().1, second.unwrap().1), ("1".to_owned(), "1".to_owned()), "one call each");
    eventually("one rests", || fixture.runtime.stats().resting == 1).await;
    let two = fixture.deploy("two", &counts(""), reuse()).await.unwrap();
    let three = fixture.deploy("three", &counts(""), reuse()).await.unwrap();
    assert_eq!(said(&fixture, &two, 2).await, "1 2");
    assert_eq!(said(&fixture, &three, 2).await, "1 2");
    assert_eq!(fixture.runtime.stats().resting, 2);
    assert_eq!(said(&fixture, &two, 1).await, "3");
    assert_eq!(said(&fixture, &one, 1).await, "1", "it had rested longest");
}

#[tokio::test]
async fn what_rests_gives_way() {
    let grows = at(1, "(if (i32.eq (memory.grow (i32.const 10)) (i32.const -1)) (then (unreachable)))");
    for making in [
        Making { running_max: 1, memory: MemoryMode::Pool, ..Making::default() },
        Making { guests_bytes: 2 << 20, ..Making::default() },
        Making { guests_bytes: (17 + 17 + 5) << 16, ..Making::default() },
    ] {
        let fixture = Fixture::made(making);
        let rests = fixture.deploy("rests", &counts(""), reuse()).await.unwrap();
        let other = fixture.deploy("other", &counts(&grows), Draft::default()).await.unwrap();
        assert_eq!(said(&fixture, &rests, 2).await, "1 2");
        assert_eq!(fixture.runtime.stats().resting, 1);
        assert_eq!(said(&fixture, &other, 1).await, "1", "{making:?}");
        assert_eq!(fixture.runtime.stats().resting, 0, "{making:?}");
        assert_eq!(said(&fixture, &rests, 1).await, "1");
    }
}
