//! Goal: what other platforms give their guests is given here: values by Spin's interface, variables, and lines with a level.

use std::sync::Arc;

use coracle_proto::spec::Draft;

use super::fixture::{Fixture, body, call, env};
use super::guests::without_http;
use super::state::Memory;
use crate::call::{Call, Trigger};

const MESSAGES: (&str, &str) = (include_str!("../../../wit/messaging.wit"), "handlers");
const SPIN: (&str, &str) = (include_str!("../../../wit/spin.wit"), "all");
const CONFIG: (&str, &str) = (include_str!("../../../wit/config.wit"), "imports");
const LOGGING: (&str, &str) = (include_str!("../../../wit/logging.wit"), "imports");

/// It answers with what the steps have put.
const GUEST: &str = r#"(module
  (import "fermyon:spin/key-value@2.0.0" "[static]store.open" (func $open (param i32 i32 i32)))
  (import "fermyon:spin/key-value@2.0.0" "[method]store.get" (func $get (param i32 i32 i32 i32)))
  (import "fermyon:spin/key-value@2.0.0" "[method]store.set" (func $set (param i32 i32 i32 i32 i32 i32)))
  (import "fermyon:spin/key-value@2.0.0" "[method]store.delete" (func $delete (param i32 i32 i32 i32)))
  (import "fermyon:spin/key-value@2.0.0" "[method]store.exists" (func $exists (param i32 i32 i32 i32)))
  (import "fermyon:spin/key-value@2.0.0" "[method]store.get-keys" (func $keys (param i32 i32)))
  (import "fermyon:spin/key-value@2.0.0" "[resource-drop]store" (func $close (param i32)))
  (import "fermyon:spin/variables@2.0.0" "get" (func $variable (param i32 i32 i32)))
  (import "wasi:config/runtime@0.2.0-draft" "get" (func $runtime (param i32 i32 i32)))
  (import "wasi:config/store@0.2.0-draft" "get" (func $config (param i32 i32 i32)))
  (import "wasi:config/store@0.2.0-draft" "get-all" (func $all (param i32)))
  (import "wasi:logging/logging@0.1.0-draft" "log" (func $log (param i32 i32 i32 i32 i32)))
  (memory (export "memory") 2)
  (global $free (mut i32) (i32.const 65536))
  (global $out (mut i32) (i32.const 16384))
  (data (i32.const 1024) "TEXTS")
  (data (i32.const 512) "- yes no denied missing ")
  (func (export "cabi_realloc") (param i32 i32 i32) (param $bytes i32) (result i32) (local $at i32)
    (local.set $at (global.get $free))
    (global.set $free (i32.and (i32.add (i32.add (local.get $at) (local.get $bytes)) (i32.const 7)) (i32.const -8)))
    (local.get $at))
  (func $put (param $at i32) (param $len i32)
    (memory.copy (global.get $out) (local.get $at) (local.get $len))
    (global.set $out (i32.add (global.get $out) (local.get $len))))
  (func $text (param $at i32)
    (call $put (i32.load (local.get $at)) (i32.load offset=4 (local.get $at)))
    (call $put (i32.const 513) (i32.const 1)))
  ;; Of a result at 64: an error with its case, or an option.
  (func $option
    (if (i32.load8_u (i32.const 64)) (then (call $failed) (return)))
    (if (i32.load8_u (i32.const 68)) (then (call $text (i32.const 72)))
      (else (call $put (i32.const 512) (i32.const 2)))))
  (func $failed
    (if (i32.eq (i32.load8_u (i32.const 68)) (i32.const 2)) (then (call $put (i32.const 521) (i32.const 7)) (return)))
    (if (i32.eq (i32.load8_u (i32.const 68)) (i32.const 1)) (then (call $put (i32.const 528) (i32.const 8)) (return)))
    (call $text (i32.const 72)))
  (func $done (if (i32.load8_u (i32.const 64)) (then (call $failed))))
  (func $flag
    (if (i32.load8_u (i32.const 64)) (then (call $failed) (return)))
    (if (i32.load8_u (i32.const 68)) (then (call $put (i32.const 514) (i32.const 4)))
      (else (call $put (i32.const 518) (i32.const 3)))))
  ;; Of a list of texts, whose elements have so many bytes.
  (func $each (param $bytes i32) (local $at i32) (local $left i32)
    (local.set $at (i32.load (i32.const 68)))
    (local.set $left (i32.load (i32.const 72)))
    (loop $next
      (if (i32.eqz (local.get $left)) (then (return)))
      (call $text (local.get $at))
      (local.set $at (i32.add (local.get $at) (local.get $bytes)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br $next)))
  (func $string
    (if (i32.load8_u (i32.const 64)) (then (call $failed)) (else (call $text (i32.const 68)))))
  (func (export "wasmcloud:messaging/handler@0.2.0#handle-message")
    (param i32 i32 i32 i32 i32 i32 i32) (result i32) (local $s i32)
    STEPS
    (i32.store8 (i32.const 64) (i32.const 1))
    (i32.store (i32.const 68) (i32.const 16384))
    (i32.store (i32.const 72) (i32.sub (global.get $out) (i32.const 16384)))
    (i32.const 64)))"#;

/// What the steps put. `'TEXT'` in them stands for where a text is, and its length.
async fn told(fixture: &Fixture, steps: &str, spec: Draft) -> String {
    told_by(fixture, |text| text.to_owned(), steps, spec).await
}

/// The same of a guest whose interfaces were changed.
async fn told_by(fixture: &Fixture, changed: fn(&str) -> String, steps: &str, spec: Draft) -> String {
    let (mut texts, mut code) = (String::new(), String::new());
    for (number, part) in steps.split('\'').enumerate() {
        if number % 2 == 0 {
            code.push_str(part);
        } else {
            code.push_str(&format!("(i32.const {}) (i32.const {})", 1024 + texts.len() / 3, part.len()));
            texts.extend(part.bytes().map(|byte| format!("\\{byte:02x}")));
        }
    }
    let text = GUEST.replace("TEXTS", &texts).replace("STEPS", &code);
    let logging = changed(LOGGING.0);
    let wasm = without_http(&changed(&text), &[MESSAGES, SPIN, CONFIG, (&logging, LOGGING.1)]);
    let function = fixture.deploy("f", &wasm, spec).await.unwrap();
    let trigger = Trigger::Queue { kind: "queue".to_owned(), route: String::new() };
    let request = http::Request::post("/").body(body("")).unwrap();
    let answer = fixture.runtime.invoke(Call { trigger, ..call(&function, request) }).await;
    let message = answer.unwrap_err().refusal.message;
    message.strip_prefix("the function answered: ").unwrap_or(&message).trim_end().to_owned()
}

#[tokio::test]
async fn spin_s_values_are_those_of_buckets() {
    let memory = Arc::new(Memory::default());
    let fixture = Fixture::with_state(Arc::clone(&memory) as _);
    for key in ["k1", "k2", "k3", "k4"] {
        memory.set(key, "v");
    }
    let grants = || Draft { keyvalue: vec!["b".into(), "none".into()], ..Draft::default() };
    let steps = "(call $open 'b' (i32.const 64)) (call $done) (local.set $s (i32.load (i32.const 68)))
        (call $get (local.get $s) 'a' (i32.const 64)) (call $option)
        (call $set (local.get $s) 'a' 'value' (i32.const 64)) (call $done)
        (call $get (local.get $s) 'a' (i32.const 64)) (call $option)
        (call $exists (local.get $s) 'a' (i32.const 64)) (call $flag)
        (call $keys (local.get $s) (i32.const 64)) (call $each (i32.const 8))
        (call $delete (local.get $s) 'a' (i32.const 64)) (call $done)
        (call $exists (local.get $s) 'a' (i32.const 64)) (call $flag)
        (call $get (local.get $s) '' (i32.const 64)) (call $option)
        (call $close (local.get $s))";
    assert_eq!(
        told(&fixture, steps, grants()).await,
        "- value yes a k1 k2 k3 k4 no invalid-argument: a key has at least one byte"
    );
    let steps =
        "(call $open 'other' (i32.const 64)) (call $done) (call $open 'none' (i32.const 64)) (call $done)";
    assert_eq!(told(&fixture, steps, grants()).await, "denied missing");
}

#[tokio::test]
async fn variables_are_those_of_the_environment() {
    let fixture = Fixture::new();
    let spec = Draft { env: env(&[("COLOUR", "red"), ("shape", "round")]), ..Draft::default() };
    let steps = "(call $variable 'colour' (i32.const 64)) (call $string)
        (call $variable 'shape' (i32.const 64)) (call $string)
        (call $variable 'none' (i32.const 64)) (call $string)
        (call $runtime 'COLOUR' (i32.const 64)) (call $option)
        (call $runtime 'colour' (i32.const 64)) (call $option)
        (call $config 'shape' (i32.const 64)) (call $option)
        (call $all (i32.const 64)) (call $each (i32.const 16))";
    assert_eq!(told(&fixture, steps, spec).await, "red round missing red - round COLOUR shape");
}

#[tokio::test]
async fn what_is_logged_has_its_level() {
    logs(str::to_owned).await;
    // As many tools have it.
    logs(|text| {
        text.replace("wasi:logging@0.1.0-draft", "wasi:logging")
            .replace("logging/logging@0.1.0-draft", "logging/logging")
    })
    .await;
}

async fn logs(changed: fn(&str) -> String) {
    let fixture = Fixture::new();
    let steps = "(call $log (i32.const 3) 'ctx' 'it is late') (call $log (i32.const 5) '' 'it ends\nhere')";
    told_by(&fixture, changed, steps, Draft::default()).await;
    let lines = fixture.lines.all();
    let own: Vec<_> = lines.iter().filter(|line| !line.contains("the call failed")).collect();
    assert!(own[0].ends_with(": WARN ctx: it is late") && own[1].ends_with(": CRITICAL it ends"), "{own:?}");
    assert!(own[2].ends_with(": here") && own.len() == 3, "{own:?}");
}
