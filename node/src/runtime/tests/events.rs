//! Goal: a command that is called for an event is told its attributes, and its exit code is the answer.

use coracle_proto::spec::Draft;
use coracle_proto::status::Code;

use super::fixture::{Fixture, Function, body, call, collect, env};
use super::guests::command;
use crate::call::{ASYNC, Answer, Body, Call, CallError, Trigger};

/// An event as a queue gives it out, in its second attempt.
fn event(data: &'static str) -> http::Request<Body> {
    http::Request::post("http://localhost/")
        .header("host", "localhost")
        .header("ce-specversion", "1.0")
        .header("ce-id", "e-1")
        .header("ce-source", "/orders")
        .header("ce-type", "com.example.placed")
        .header("ce-time", "2018-04-05T17:31:00Z")
        .header("ce-subject", "Euro%20%E2%82%AC")
        .header("content-type", "text/csv")
        .header("coracle-attempt", "2")
        .header("traceparent", "00-1-2-01")
        .body(body(data))
        .unwrap()
}

async fn of_kind(
    fixture: &Fixture,
    function: &Function,
    kind: &str,
    data: &'static str,
) -> Result<Answer, CallError> {
    let trigger = Trigger::Queue { kind: kind.to_owned(), route: String::new() };
    fixture.runtime.invoke(Call { trigger, ..call(function, event(data)) }).await
}

async fn ended(fixture: &Fixture, function: &Function) -> Result<(u16, String), CallError> {
    collect(of_kind(fixture, function, "queue", "").await?).await
}

async fn deploy(fixture: &Fixture, text: &str, start: &str) -> Function {
    let draft = Draft { env: env(&[("OWN", "1")]), ..Draft::default() };
    fixture.deploy("command", &command(text, start), draft).await.unwrap()
}

#[tokio::test]
async fn commands_of_both_kinds_have_the_data_on_standard_input() {
    let fixture = Fixture::new();
    for file in ["c-wc.wasm", "rust-wc-wasip1.wasm", "rust-wc.command.component.wasm"] {
        let function = fixture.guest(file, Draft::default()).await;
        let answer = of_kind(&fixture, &function, "queue", "one two\nthree\n").await.unwrap();
        let (status, body) = collect(answer).await.unwrap();
        assert_eq!(status, 200, "{file}");
        assert!(body.contains("\"words\":3"), "{file}: {body}");
    }
}

#[tokio::test]
async fn attributes_are_in_the_environment_and_no_request_is() {
    let fixture = Fixture::new();
    let function = deploy(&fixture, "", "(call $environ)").await;
    let seen = async |kind: &str| {
        let answer = of_kind(&fixture, &function, kind, "data").await.unwrap();
        let (_, body) = collect(answer).await.unwrap();
        let mut seen: Vec<String> = body.split_terminator('\0').map(str::to_owned).collect();
        seen.sort();
        seen
    };
    let expected = [
        "CE_DATACONTENTTYPE=text/csv",
        "CE_ID=e-1",
        "CE_SOURCE=/orders",
        "CE_SPECVERSION=1.0",
        "CE_SUBJECT=Euro €",
        "CE_TIME=2018-04-05T17:31:00Z",
        "CE_TYPE=com.example.placed",
        "CORACLE_ATTEMPT=2",
        "OWN=1",
        "TRACEPARENT=00-1-2-01",
    ];
    for kind in ["queue", "topic", "schedule", "bucket"] {
        assert_eq!(seen(kind).await, expected, "{kind}");
    }
    let request = seen(ASYNC).await;
    for variable in
        ["GATEWAY_INTERFACE=CGI/1.1", "REQUEST_METHOD=POST", "HTTP_CE_ID=e-1", "CONTENT_TYPE=text/csv"]
    {
        assert!(request.iter().any(|it| it == variable), "{variable} in {request:?}");
    }
    assert!(!request.iter().any(|it| it.starts_with("CE_")), "{request:?}");
}

#[tokio::test]
async fn zero_is_done_and_what_was_printed_is_the_answer_as_it_is() {
    let fixture = Fixture::new();
    for exit in ["", "(call $exit (i32.const 0))"] {
        let start = format!("(call $print (i32.const 1024) (i32.const 15)) {exit}");
        let function = deploy(&fixture, r"Status: 400\0a\0ano", &start).await;
        let answer = of_kind(&fixture, &function, "queue", "").await.unwrap();
        assert_eq!(answer.response.headers()["content-type"], "text/plain; charset=utf-8");
        assert_eq!(collect(answer).await.unwrap(), (200, "Status: 400\n\nno".to_owned()));
        let answer = of_kind(&fixture, &function, ASYNC, "").await.unwrap();
        assert_eq!(collect(answer).await.unwrap(), (400, "no".to_owned()), "a request is answered as before");
    }
    let silent = deploy(&fixture, "", "").await;
    assert_eq!(ended(&fixture, &silent).await.unwrap(), (200, String::new()));
}

#[tokio::test]
async fn sixty_five_rejects_an_event_and_any_other_status_fails() {
    let fixture = Fixture::new();
    let print = "(call $print (i32.const 1024) (i32.const 4))";
    let flowing = format!("{print} (call $sleep (i64.const 200000000))");
    for (status, code) in [
        (65, Code::EventRejected),
        (1, Code::FunctionFailed),
        (64, Code::FunctionFailed),
        (66, Code::FunctionFailed),
        (-65, Code::FunctionFailed),
        (321, Code::FunctionFailed),
    ] {
        for before in ["", print, flowing.as_str()] {
            let start = format!("{before} (call $exit (i32.const {status}))");
            let function = deploy(&fixture, "half", &start).await;
            let error = ended(&fixture, &function).await.unwrap_err();
            assert_eq!(error.code(), code, "{status}: {error}");
            assert!(error.to_string().contains(&format!("exited with status {status}")), "{error}");
        }
    }
    let function = deploy(&fixture, "", "(call $exit (i32.const 65))").await;
    let error = of_kind(&fixture, &function, ASYNC, "").await.unwrap_err();
    assert_eq!(error.code(), Code::FunctionFailed, "of a request it says nothing else than others");
    let function = deploy(&fixture, "", "(unreachable)").await;
    assert_eq!(ended(&fixture, &function).await.unwrap_err().code(), Code::FunctionTrapped);
}

#[tokio::test]
async fn no_answer_of_a_component_passes_for_an_exit() {
    let fixture = Fixture::new();
    let function = fixture.guest("rust-http-wasip1.component.wasm", Draft::default()).await;
    let answer = of_kind(&fixture, &function, "queue", "data").await.unwrap();
    assert!(answer.response.status().is_success(), "{:?}", answer.response);
}

#[tokio::test]
async fn several_events_in_one_call_are_none_for_a_command() {
    let fixture = Fixture::new();
    let function = deploy(&fixture, "", "").await;
    let sent = |kind: &'static str| {
        let mut request = event("[]");
        request.headers_mut().insert("content-type", "application/cloudevents-batch+json".parse().unwrap());
        request.headers_mut().remove("ce-specversion");
        let trigger = Trigger::Queue { kind: kind.to_owned(), route: String::new() };
        Call { trigger, ..call(&function, request) }
    };
    let error = fixture.runtime.invoke(sent("queue")).await.unwrap_err();
    assert_eq!(error.code(), Code::EventRejected);
    assert!(error.to_string().contains("'batch' of the queue"), "{error}");
    fixture.runtime.invoke(sent(ASYNC)).await.expect("a request may have any body");
}
