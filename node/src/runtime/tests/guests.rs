//! Guests written in WAT, each for one thing.

use wit_component::{ComponentEncoder, DecodedWasm, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::fixture::guest;

/// A component of `wasi:http` whose handler is `body`. It has `$req`, `$out`, three locals, and the functions
/// `$head` (out -> body), `$sized` (out, digits pointer, digits -> body) with a `content-length`, `$stream` (body ->
/// stream), `$print` (stream, pointer, length), `$write_now` (stream, pointer, length, result) without a wait, `$finish`
/// (body, stream), `$abandon` (body), `$fail` (out, pointer, length), `$decline` (out), `$forget` (req), and `$stdout` (->
/// stream) with `$drop` (stream); and a global `$count`, which is zero.
pub(super) fn http(body: &str) -> Vec<u8> {
    component(&HTTP.replace(";; BODY", body), &[])
}

/// The component of a module, whose world is that of `wasi:http` with more: each from a WIT text, by its name there.
pub(super) fn component(text: &str, worlds: &[(&str, &str)]) -> Vec<u8> {
    let mut module = wat::parse_str(text).unwrap();
    // This component's world has all that these need.
    let DecodedWasm::Component(resolve, world) =
        wit_component::decode(&guest("rust-http-wasip1.component.wasm")).unwrap()
    else {
        panic!("a component");
    };
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    more(&mut module, worlds);
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// A component that exports nothing of `wasi:http`, of a module whose imports and exports are those of worlds.
pub(super) fn without_http(text: &str, worlds: &[(&str, &str)]) -> Vec<u8> {
    let mut module = wat::parse_str(text).unwrap();
    more(&mut module, worlds);
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

fn more(module: &mut Vec<u8>, worlds: &[(&str, &str)]) {
    for (wit, world) in worlds {
        let mut resolve = Resolve::default();
        let package = resolve.push_source("guest.wit", wit).unwrap();
        let world = resolve.select_world(&[package], Some(world)).unwrap();
        embed_component_metadata(module, &resolve, world, StringEncoding::UTF8).unwrap();
    }
}

/// A component of `wasi:http` 0.3 whose handler is `body`, with the functions that `tests/guests/wasip3/guest.wat` names.
pub(super) fn service(body: &str) -> Vec<u8> {
    let text = |file: &str| String::from_utf8(guest(&format!("wasip3/{file}"))).unwrap();
    let mut module = wat::parse_str(text("guest.wat").replace(";; BODY", body)).unwrap();
    let mut resolve = Resolve::default();
    let package = resolve.push_source("guest.wit", &text("guest.wit")).unwrap();
    let world = resolve.select_world(&[package], Some("guest")).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
}

/// A command of preview 1 whose start is `body`. It has `$print` (pointer, length), `$sleep` (nanoseconds), `$exit` (status),
/// and `$environ`, which prints the environment, each variable with a zero byte behind it; and `text` at 1024.
pub(super) fn command(text: &str, body: &str) -> Vec<u8> {
    wat::parse_str(COMMAND.replace(";; BODY", body).replace("TEXT", text)).unwrap()
}

const HTTP: &str = r#"(module
  (import "wasi:http/types@0.2.12" "[constructor]fields" (func $fields (result i32)))
  (import "wasi:http/types@0.2.12" "[method]fields.append" (func $append (param i32 i32 i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.12" "[method]output-stream.write" (func $write_now (param i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.12" "[constructor]outgoing-response" (func $response (param i32) (result i32)))
  (import "wasi:http/types@0.2.12" "[method]outgoing-response.body" (func $body (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[static]response-outparam.set"
    (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.12" "[method]outgoing-body.write" (func $write (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[static]outgoing-body.finish" (func $end (param i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.12" "[method]output-stream.blocking-write-and-flush"
    (func $flush (param i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.12" "[resource-drop]output-stream" (func $drop (param i32)))
  (import "wasi:http/types@0.2.12" "[resource-drop]incoming-request" (func $forget (param i32)))
  (import "wasi:http/types@0.2.12" "[resource-drop]outgoing-body" (func $abandon (param i32)))
  (import "wasi:http/types@0.2.12" "[resource-drop]response-outparam" (func $decline (param i32)))
  (import "wasi:cli/stdout@0.2.12" "get-stdout" (func $stdout (result i32)))
  (global $count (mut i32) (i32.const 0))
  (memory (export "memory") 17)
  (data (i32.const 1024) "0123456789abcdef")
  (data (i32.const 2048) "content-length")
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
  (func $head (param $out i32) (result i32)
    (call $answer (local.get $out) (call $fields)))
  (func $sized (param $out i32) (param $at i32) (param $len i32) (result i32) (local $f i32)
    (local.set $f (call $fields))
    (call $append (local.get $f) (i32.const 2048) (i32.const 14) (local.get $at) (local.get $len) (i32.const 64))
    (call $answer (local.get $out) (local.get $f)))
  (func $fail (param $out i32) (param $at i32) (param $len i32)
    ;; `internal-error` is the last of the error's cases.
    (call $set (local.get $out) (i32.const 1) (i32.const 38) (i32.const 1)
      (i64.extend_i32_u (local.get $at)) (local.get $len) (i32.const 0) (i32.const 0) (i32.const 0)))
  (func $answer (param $out i32) (param $f i32) (result i32) (local $r i32)
    (local.set $r (call $response (local.get $f)))
    (call $body (local.get $r) (i32.const 64))
    (call $set (local.get $out) (i32.const 0) (local.get $r) (i32.const 0) (i64.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (i32.load (i32.const 68)))
  (func $stream (param $b i32) (result i32)
    (call $write (local.get $b) (i32.const 64))
    (i32.load (i32.const 68)))
  (func $print (param $s i32) (param $at i32) (param $len i32)
    (call $flush (local.get $s) (local.get $at) (local.get $len) (i32.const 64)))
  (func $finish (param $b i32) (param $s i32)
    (call $drop (local.get $s))
    (call $end (local.get $b) (i32.const 0) (i32.const 0) (i32.const 128)))
  (func $recurse (param i64 i64) (result i64)
    (i64.add (call $recurse (local.get 1) (local.get 0)) (i64.const 1)))
  (func (export "wasi:http/incoming-handler@0.2.12#handle") (param $req i32) (param $out i32)
    (local $b i32) (local $s i32) (local $n i32)
    ;; BODY
  ))"#;

const COMMAND: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $variables (param i32 i32) (result i32)))
  (memory (export "memory") 2)
  (data (i32.const 1024) "TEXT")
  (func $print (param $at i32) (param $len i32)
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (local.get $len))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $environ
    (drop (call $sizes (i32.const 16) (i32.const 20)))
    (drop (call $variables (i32.const 8192) (i32.const 65536)))
    (call $print (i32.const 65536) (i32.load (i32.const 20))))
  (func $sleep (param $nanos i64)
    (i32.store (i32.const 136) (i32.const 0))
    (i32.store (i32.const 144) (i32.const 1))
    (i64.store (i32.const 152) (local.get $nanos))
    (drop (call $poll (i32.const 128) (i32.const 256) (i32.const 1) (i32.const 8))))
  (func (export "_start")
    ;; BODY
  ))"#;
