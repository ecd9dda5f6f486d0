//! Goal: whether a program serves again is found out before a caller finds out, by calls that change nothing and hold up nobody.

use http_body_util::BodyExt as _;

use super::fixture::{Fixture, Function, eventually, get};
use super::guests::http;
use super::reuse::{at, counts, reuse, said};
use crate::runtime::probe::PROBE_MAX;

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

async fn until_known(fixture: &Fixture, function: &Function) {
    let manners = fixture.manners(function);
    eventually("it is found out", || manners.serves_again() || manners.serves_once()).await;
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
    assert_eq!((fixture.lines.all().len(), fixture.usages.count()), (3, 3));
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
        while !fixture.manners(&function).serves_again() && !fixture.manners(&function).serves_once() {
            assert_eq!(said(&fixture, &function, 1).await, "1");
        }
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
    // There is room for one: a call that has it refuses the probe that it asked for, and the next one asks again.
    while !manners.serves_again() {
        said(&fixture, &function, 1).await;
        tokio::task::yield_now().await;
    }
}
