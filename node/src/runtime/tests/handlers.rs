//! Goal: a component that takes events by an interface of its own is called by it: success acknowledges, an error or a trap does not.

use std::sync::Arc;

use coracle_proto::record::Kind;
use coracle_proto::spec::Draft;
use coracle_proto::status::Code;

use super::fixture::{Fixture, Function, body, call, collect, get};
use super::guests::{component, without_http};
use super::state::Memory;
use crate::call::{ASYNC, Call, CallError, Trigger};

const MESSAGES: (&str, &str) = (include_str!("../../../wit/messaging.wit"), "handlers");
const PAYLOADS: (&str, &str) = (include_str!("../../../wit/spin-redis.wit"), "handlers");
const CHANGES: (&str, &str) = (include_str!("../../../wit/keyvalue-draft2.wit"), "watchers");
const CHANGES_OF_DRAFT: (&str, &str) = (include_str!("../../../wit/keyvalue-draft.wit"), "watchers");
const ENVIRONMENT: (&str, &str) = (
    "package wasi:cli@0.2.12;
     interface environment { get-environment: func() -> list<tuple<string, string>>; }
     world imports { import environment; }",
    "imports",
);

/// By the first letter of a text: it is taken, refused with the text, or the guest ends.
const VERDICT: &str = r#"
  (memory (export "memory") 2)
  (global $free (mut i32) (i32.const 65536))
  (func (export "cabi_realloc") (param i32 i32 i32) (param $bytes i32) (result i32) (local $at i32)
    (local.set $at (global.get $free))
    (global.set $free (i32.and (i32.add (i32.add (local.get $at) (local.get $bytes)) (i32.const 7)) (i32.const -8)))
    (local.get $at))
  (func $verdict (param $at i32) (param $len i32) (result i32)
    (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 116)) (then (unreachable)))
    (i32.store8 (i32.const 64) (i32.ne (i32.load8_u (local.get $at)) (i32.const 111)))
    (i32.store (i32.const 68) (local.get $at))
    (i32.store (i32.const 72) (local.get $len))
    (i32.const 64))"#;

/// It judges the data, or where that begins with `s` the subject, or with `v` the name of the first variable.
const TAKES_MESSAGES: &str = r#"
  (import "wasi:cli/environment@0.2.12" "get-environment" (func $variables (param i32)))
  VERDICT
  (func (export "wasmcloud:messaging/handler@0.2.0#handle-message")
    (param $subject i32) (param $subject_len i32) (param $at i32) (param $len i32) (param i32 i32 i32) (result i32)
    (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 115))
      (then (return (call $verdict (local.get $subject) (local.get $subject_len)))))
    (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 118))
      (then
        (call $variables (i32.const 128))
        (local.set $at (i32.load (i32.const 128)))
        (return (call $verdict (i32.load (local.get $at)) (i32.load offset=4 (local.get $at))))))
    (call $verdict (local.get $at) (local.get $len)))"#;

const TAKES_PAYLOADS: &str = r#"
  VERDICT
  (func (export "fermyon:spin/inbound-redis#handle-message") (param $at i32) (param $len i32) (result i32)
    (drop (call $verdict (local.get $at) (local.get $len)))
    ;; What it calls an error, or a success that it calls an error.
    (i32.store8 (i32.const 65) (i32.ne (local.get $len) (i32.const 1)))
    (i32.const 64))"#;

/// It sets `seen` to the value that was set, and deletes it when another one was deleted.
const WATCHES: &str = r#"
  (import "wasi:keyvalue/store@0.2.0-draft2" "[method]bucket.set" (func $set (param i32 i32 i32 i32 i32 i32)))
  (import "wasi:keyvalue/store@0.2.0-draft2" "[method]bucket.delete" (func $delete (param i32 i32 i32 i32)))
  VERDICT
  (data (i32.const 1024) "seen")
  (func (export "wasi:keyvalue/watcher@0.2.0-draft2#on-set")
    (param $bucket i32) (param i32 i32) (param $at i32) (param $len i32)
    (call $set (local.get $bucket) (i32.const 1024) (i32.const 4) (local.get $at) (local.get $len) (i32.const 64)))
  (func (export "wasi:keyvalue/watcher@0.2.0-draft2#on-delete") (param $bucket i32) (param i32 i32)
    (call $delete (local.get $bucket) (i32.const 1024) (i32.const 4) (i32.const 64)))"#;

fn module(text: &str) -> String {
    format!("(module {})", text.replace("VERDICT", VERDICT))
}

fn takes_messages() -> Vec<u8> {
    without_http(&module(TAKES_MESSAGES), &[MESSAGES, ENVIRONMENT])
}

async fn event(fixture: &Fixture, function: &Function, kind: &str, data: &str) -> Result<u16, CallError> {
    let request = http::Request::post("http://localhost/")
        .header("ce-type", kind)
        .header("ce-id", "e-1")
        .body(body(data.to_owned()))
        .unwrap();
    sent(fixture, function, request).await
}

async fn sent(
    fixture: &Fixture,
    function: &Function,
    request: http::Request<crate::call::Body>,
) -> Result<u16, CallError> {
    let trigger = Trigger::Queue { kind: "queue".to_owned(), route: String::new() };
    let answer = fixture.runtime.invoke(Call { trigger, ..call(function, request) }).await?;
    collect(answer).await.map(|(status, _)| status)
}

#[tokio::test]
async fn a_message_is_taken_or_it_is_not() {
    let fixture = Fixture::new();
    let function = fixture.deploy("f", &takes_messages(), Draft::default()).await.unwrap();
    assert_eq!(function.version.kind, Kind::EventComponent);
    assert_eq!(event(&fixture, &function, "a.type", "ok").await, Ok(204));
    let failed = event(&fixture, &function, "a.type", "no such order").await.unwrap_err();
    assert_eq!(failed.code(), Code::FunctionFailed);
    assert_eq!(failed.refusal.message, "the function answered: no such order");
    let trapped = event(&fixture, &function, "a.type", "trap").await.unwrap_err();
    assert_eq!(trapped.code(), Code::FunctionTrapped);
    let subject = event(&fixture, &function, "a.type", "subject").await.unwrap_err();
    assert_eq!(subject.refusal.message, "the function answered: a.type");
    let request = http::Request::post("/").header("ce-type", "t").header("ce-subject", "Euro%20%E2%82%AC");
    let subject = sent(&fixture, &function, request.body(body("subject")).unwrap()).await.unwrap_err();
    assert_eq!(subject.refusal.message, "the function answered: Euro €");
    for (queue, name) in [("jobs", "jobs"), ("topic/done/f", "done"), ("webhook/w", "webhook/w")] {
        let request = http::Request::post("/").header("ce-type", "t").header("coracle-queue", queue);
        let subject = sent(&fixture, &function, request.body(body("subject")).unwrap()).await.unwrap_err();
        assert_eq!(subject.refusal.message, format!("the function answered: {name}"), "what it came by");
    }
    let long = event(&fixture, &function, "t", &"n".repeat(5000)).await.unwrap_err().refusal.message;
    assert_eq!(long, format!("the function answered: {}", "n".repeat(1024)));
    let variable = event(&fixture, &function, "a.type", "variable").await.unwrap_err();
    assert_eq!(variable.refusal.message, "the function answered: CE_TYPE");
}

#[tokio::test]
async fn only_events_call_what_takes_no_requests() {
    let fixture = Fixture::new();
    let function = fixture.deploy("f", &takes_messages(), Draft::default()).await.unwrap();
    let accepted = Trigger::Queue { kind: ASYNC.to_owned(), route: String::new() };
    for trigger in [call(&function, get("/")).trigger, accepted] {
        let refused =
            fixture.runtime.invoke(Call { trigger, ..call(&function, get("/")) }).await.unwrap_err();
        assert_eq!(refused.code(), Code::BadRequest);
        assert!(
            refused.refusal.message.contains("exports neither 'wasi:http/incoming-handler'"),
            "{refused}"
        );
    }
}

#[tokio::test]
async fn a_payload_is_taken_as_spin_does() {
    let fixture = Fixture::new();
    let wasm = without_http(&module(TAKES_PAYLOADS), &[PAYLOADS]);
    let function = fixture.deploy("f", &wasm, Draft::default()).await.unwrap();
    assert_eq!(event(&fixture, &function, "a.type", "ok").await, Ok(204));
    assert_eq!(event(&fixture, &function, "a.type", "n").await, Ok(204), "its error is a success");
    let failed = event(&fixture, &function, "a.type", "no").await.unwrap_err();
    assert_eq!(
        (failed.code(), failed.refusal.message.as_str()),
        (Code::FunctionFailed, "the function answered: error")
    );
}

#[tokio::test]
async fn a_handler_of_another_type_is_refused_before_its_events_come() {
    let fixture = Fixture::new();
    let other = MESSAGES.0.replace("reply-to: option<string>", "reply: option<string>");
    let refused = |wasm: Vec<u8>| {
        let fixture = &fixture;
        async move { fixture.deploy("f", &wasm, Draft::default()).await.map(drop).unwrap_err() }
    };
    let refusal = refused(without_http(&module(TAKES_MESSAGES), &[(&other, "handlers"), ENVIRONMENT])).await;
    assert_eq!(refusal.code, Code::UnsupportedModule);
    assert_eq!(
        refusal.message,
        "'handle-message' of 'wasmcloud:messaging/handler@0.2.0', which it exports, is 'func(record{subject: string, body: \
         list<u8>, reply: option<string>}) -> result<_, string>', and is called as 'func(record{subject: string, body: list<u8>, \
         reply-to: option<string>}) -> result<_, string>'"
    );
    let (none, text) = (
        CHANGES.0.replace("  on-delete: func(bucket: bucket, key: string);\n", ""),
        WATCHES.replace("(func (export \"wasi:keyvalue/watcher@0.2.0-draft2#on-delete\")", "(func"),
    );
    let refusal = refused(without_http(&module(&text), &[(&none, "watchers")])).await;
    assert_eq!(refusal.code, Code::UnsupportedModule);
    assert!(
        refusal.message.starts_with(
            "'on-delete' of 'wasi:keyvalue/watcher@0.2.0-draft2', which it exports, is not there"
        ),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_watcher_of_either_draft_is_given_the_bucket_and_the_value_as_it_is() {
    let older = WATCHES.replace("0.2.0-draft2", "0.2.0-draft");
    for (text, world) in [(WATCHES, CHANGES), (&older, CHANGES_OF_DRAFT)] {
        let wasm = without_http(&module(text), &[world]);
        let fixture = Fixture::new();
        let wants = fixture.runtime.check(&fixture.write(&wasm).1).await.unwrap().wants;
        assert!(wants.keyvalue && !wants.blobs, "its deploy tells whoever does not grant it");
        watches(wasm).await;
    }
}

async fn watches(wasm: Vec<u8>) {
    let memory = Arc::new(Memory::default());
    let fixture = Fixture::with_state(Arc::clone(&memory) as _);
    let granted = Draft { keyvalue: vec!["b".to_owned()], ..Draft::default() };
    let function = fixture.deploy("f", &wasm, granted).await.unwrap();
    memory.set("k", "value");
    let data = r#"{"bucket":"b","key":"k","version":1,"bytes":5}"#;
    assert_eq!(event(&fixture, &function, "dev.coracle.kv.set", data).await, Ok(204));
    assert_eq!(memory.text("seen").as_deref(), Some("value"));
    assert_eq!(event(&fixture, &function, "dev.coracle.kv.deleted", data).await, Ok(204));
    assert_eq!(memory.text("seen"), None);
    memory.values().clear();
    assert_eq!(event(&fixture, &function, "dev.coracle.kv.set", data).await, Ok(204), "it is gone again");
    assert_eq!(memory.text("seen"), None);
    let other = event(&fixture, &function, "other", data).await.unwrap_err();
    assert_eq!(other.code(), Code::EventRejected, "{other}");
    let function = fixture.deploy("f", &wasm, Draft::default()).await.unwrap();
    let denied = event(&fixture, &function, "dev.coracle.kv.set", data).await.unwrap_err();
    assert_eq!(denied.code(), Code::EventRejected, "it would be so at each attempt");
    assert!(denied.refusal.message.contains("access-denied"), "{denied}");
}

#[tokio::test]
async fn what_takes_requests_too_is_called_by_each_in_its_own_way() {
    let fixture = Fixture::new();
    let text = r#"(module
      (import "wasi:http/types@0.2.12" "[constructor]fields" (func $fields (result i32)))
      (import "wasi:http/types@0.2.12" "[constructor]outgoing-response" (func $response (param i32) (result i32)))
      (import "wasi:http/types@0.2.12" "[static]response-outparam.set"
        (func $answer (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
      (func (export "wasi:http/incoming-handler@0.2.12#handle") (param i32) (param $to i32)
        (call $answer (local.get $to) (i32.const 0) (call $response (call $fields)) (i32.const 0) (i64.const 0)
          (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
      TAKES)"#;
    let text = text.replace("TAKES", &TAKES_PAYLOADS.replace("VERDICT", VERDICT));
    let function = fixture.deploy("f", &component(&text, &[PAYLOADS]), Draft::default()).await.unwrap();
    assert_eq!(function.version.kind, Kind::HttpComponent);
    assert_eq!(fixture.get(&function, "/").await.unwrap().0, 200);
    assert_eq!(event(&fixture, &function, "a.type", "ok").await, Ok(204));
}
