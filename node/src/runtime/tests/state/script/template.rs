//! The text of a guest that a script is put into.

/// Pages of keys, where cursors are numbers; and a value of a batch, which is an option with its key.
pub(super) const FIRST_PAGES: &str = r#"
  (func $element (param $at i32)
    (if (i32.load8_u (local.get $at))
      (then (call $put (i32.load offset=12 (local.get $at)) (i32.load offset=16 (local.get $at))))
      (else (call $put (i32.const 1027) (i32.const 1))))
    (call $space))
  (func $keys (local $some i32) (local $cursor i64)
    (loop $next
      (call $list (global.get $bucket) (local.get $some) (local.get $cursor) (i32.const 64))
      (if (i32.load8_u (i32.const 64)) (then (call $error (i32.const 72)) (return)))
      (call $each (i32.load (i32.const 72)) (i32.load (i32.const 76)))
      (local.set $some (i32.load8_u (i32.const 80)))
      (local.set $cursor (i64.load (i32.const 88)))
      (br_if $next (local.get $some))))
  (func $done_at_8
    (if (i32.load8_u (i32.const 64)) (then (call $error (i32.const 72))) (else (call $put (i32.const 1024) (i32.const 3)))))"#;

/// The same, where they are texts, and the key is there without a value too.
pub(super) const SECOND_PAGES: &str = r#"
  (func $element (param $at i32) (call $option (i32.add (local.get $at) (i32.const 8))))
  (func $keys (local $some i32) (local $ptr i32) (local $len i32)
    (loop $next
      (call $list (global.get $bucket) (local.get $some) (local.get $ptr) (local.get $len) (i32.const 64))
      (if (i32.load8_u (i32.const 64)) (then (call $error (i32.const 68)) (return)))
      (call $each (i32.load (i32.const 68)) (i32.load (i32.const 72)))
      (local.set $some (i32.load8_u (i32.const 76)))
      (local.set $ptr (i32.load (i32.const 80)))
      (local.set $len (i32.load (i32.const 84)))
      (br_if $next (local.get $some))))
  (func $done_at_8
    (if (i32.load8_u (i32.const 64)) (then (call $error (i32.const 68))) (else (call $put (i32.const 1024) (i32.const 3)))))"#;

/// What the second draft alone has.
pub(super) const CAS: &str = r#"
  (import "wasi:keyvalue/atomics@VERSION" "[static]cas.new" (func $cas (param i32 i32 i32 i32)))
  (import "wasi:keyvalue/atomics@VERSION" "[method]cas.current" (func $current (param i32 i32)))
  (import "wasi:keyvalue/atomics@VERSION" "swap" (func $swap (param i32 i32 i32 i32)))"#;

/// The module, with places for the rest.
pub(super) const TEMPLATE: &str = r#"(module
  (import "wasi:http/types@0.2.12" "[constructor]fields" (func $fields (result i32)))
  (import "wasi:http/types@0.2.12" "[constructor]outgoing-response" (func $response (param i32) (result i32)))
  (import "wasi:http/types@0.2.12" "[method]outgoing-response.body" (func $body (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[static]response-outparam.set"
    (func $answer (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.12" "[method]outgoing-body.write" (func $write (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[static]outgoing-body.finish" (func $end (param i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.12" "[resource-drop]incoming-request" (func $forget (param i32)))
  (import "wasi:io/streams@0.2.12" "[method]output-stream.blocking-write-and-flush"
    (func $flush (param i32 i32 i32 i32)))
  (import "wasi:io/streams@0.2.12" "[resource-drop]output-stream" (func $drop (param i32)))
  (import "wasi:keyvalue/store@VERSION" "open" (func $open (param i32 i32 i32)))
  (import "wasi:keyvalue/store@VERSION" "[method]bucket.get" (func $get (param i32 i32 i32 i32)))
  (import "wasi:keyvalue/store@VERSION" "[method]bucket.set" (func $set (param i32 i32 i32 i32 i32 i32)))
  (import "wasi:keyvalue/store@VERSION" "[method]bucket.delete" (func $delete (param i32 i32 i32 i32)))
  (import "wasi:keyvalue/store@VERSION" "[method]bucket.exists" (func $exists (param i32 i32 i32 i32)))
  (import "wasi:keyvalue/store@VERSION" "[method]bucket.list-keys" (func $list (param i32 i32 CURSOR i32)))
  (import "wasi:keyvalue/store@VERSION" "[resource-drop]bucket" (func $close (param i32)))
  (import "wasi:keyvalue/atomics@VERSION" "increment" (func $increment (param i32 i32 i32 i64 i32)))
  (import "wasi:keyvalue/batch@VERSION" "get-many" (func $get_many (param i32 i32 i32 i32)))
  (import "wasi:keyvalue/batch@VERSION" "set-many" (func $set_many (param i32 i32 i32 i32)))
  (import "wasi:keyvalue/batch@VERSION" "delete-many" (func $delete_many (param i32 i32 i32 i32)))
  (import "wasmcloud:messaging/consumer@0.2.0" "publish" (func $publish (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "wasmcloud:messaging/consumer@0.2.0" "request" (func $request (param i32 i32 i32 i32 i32 i32)))
  ;; CAS
  (global $bucket (mut i32) (i32.const 0))
  (global $swapping (mut i32) (i32.const 0))
  (global $called (mut i32) (i32.const 0))
  (global $out (mut i32) (i32.const 16384))
  (global $free (mut i32) (i32.const 4194304))
  (memory (export "memory") 128)
  (data (i32.const 1024) "ok -yes no again no-such-store access-denied ")
  (data (i32.const 131072) "TEXTS")
  ;; From 4 MiB on, and from there again in each call.
  (func (export "cabi_realloc") (param i32 i32 i32) (param $bytes i32) (result i32) (local $at i32)
    (local.set $at (global.get $free))
    (global.set $free (i32.and (i32.add (i32.add (local.get $at) (local.get $bytes)) (i32.const 7)) (i32.const -8)))
    (local.get $at))
  (func $put (param $at i32) (param $len i32)
    (memory.copy (global.get $out) (local.get $at) (local.get $len))
    (global.set $out (i32.add (global.get $out) (local.get $len))))
  (func $space (call $put (i32.const 1026) (i32.const 1)))
  (func $error (param $at i32)
    (if (i32.eqz (i32.load8_u (local.get $at))) (then (call $put (i32.const 1041) (i32.const 14)) (return)))
    (if (i32.eq (i32.load8_u (local.get $at)) (i32.const 1))
      (then (call $put (i32.const 1055) (i32.const 14)) (return)))
    (call $put (i32.load offset=4 (local.get $at)) (i32.load offset=8 (local.get $at)))
    (call $space))
  (func $done
    (if (i32.load8_u (i32.const 64)) (then (call $error (i32.const 68))) (else (call $put (i32.const 1024) (i32.const 3)))))
  (func $opened
    (if (i32.load8_u (i32.const 64)) (then (call $error (i32.const 68)))
      (else (global.set $bucket (i32.load (i32.const 68))) (call $put (i32.const 1024) (i32.const 3)))))
  (func $handled
    (if (i32.load8_u (i32.const 64)) (then (call $error (i32.const 68)))
      (else (global.set $swapping (i32.load (i32.const 68))) (call $put (i32.const 1024) (i32.const 3)))))
  (func $swapped
    (if (i32.eqz (i32.load8_u (i32.const 64))) (then (call $put (i32.const 1024) (i32.const 3)) (return)))
    (if (i32.eqz (i32.load8_u (i32.const 68))) (then (call $error (i32.const 72)) (return)))
    (global.set $swapping (i32.load (i32.const 72)))
    (call $put (i32.const 1035) (i32.const 6)))
  (func $option (param $at i32)
    (if (i32.load8_u (local.get $at))
      (then (call $put (i32.load offset=4 (local.get $at)) (i32.load offset=8 (local.get $at))))
      (else (call $put (i32.const 1027) (i32.const 1))))
    (call $space))
  (func $value
    (if (i32.load8_u (i32.const 64)) (then (call $error (i32.const 68))) (else (call $option (i32.const 68)))))
  (func $flag
    (if (i32.load8_u (i32.const 64)) (then (call $error (i32.const 68)) (return)))
    (if (i32.load8_u (i32.const 68)) (then (call $put (i32.const 1028) (i32.const 4)))
      (else (call $put (i32.const 1032) (i32.const 3)))))
  ;; Of one digit.
  (func $number
    (if (i32.load8_u (i32.const 64)) (then (call $error (i32.const 72)) (return)))
    (i32.store8 (i32.const 1088) (i32.add (i32.load8_u (i32.const 72)) (i32.const 48)))
    (call $put (i32.const 1088) (i32.const 1)) (call $space))
  (func $each (param $at i32) (param $left i32)
    (loop $next
      (if (i32.eqz (local.get $left)) (then (return)))
      (call $put (i32.load (local.get $at)) (i32.load offset=4 (local.get $at))) (call $space)
      (local.set $at (i32.add (local.get $at) (i32.const 8)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br $next)))
  ;; Both drafts have elements of 20 bytes.
  (func $values (local $at i32) (local $left i32)
    (if (i32.load8_u (i32.const 64)) (then (call $error (i32.const 68)) (return)))
    (local.set $at (i32.load (i32.const 68)))
    (local.set $left (i32.load (i32.const 72)))
    (loop $next
      (if (i32.eqz (local.get $left)) (then (return)))
      (call $element (local.get $at))
      (local.set $at (i32.add (local.get $at) (i32.const 20)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br $next)))
  (func $said
    (if (i32.load8_u (i32.const 64))
      (then (call $put (i32.load (i32.const 68)) (i32.load (i32.const 72))) (call $space))
      (else (call $put (i32.const 1024) (i32.const 3)))))
  ;; PAGES
  (func (export "wasi:http/incoming-handler@0.2.12#handle") (param $req i32) (param $to i32)
    (local $r i32) (local $b i32) (local $s i32) (local $n i32)
    (call $forget (local.get $req))
    (global.set $out (i32.const 16384))
    (global.set $free (i32.const 4194304))
    ;; STEPS
    (local.set $r (call $response (call $fields)))
    (call $body (local.get $r) (i32.const 64))
    (local.set $b (i32.load (i32.const 68)))
    (call $answer (local.get $to) (i32.const 0) (local.get $r) (i32.const 0) (i64.const 0)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (call $write (local.get $b) (i32.const 64))
    (local.set $s (i32.load (i32.const 68)))
    (call $flush (local.get $s) (i32.const 16384) (i32.sub (global.get $out) (i32.const 16384)) (i32.const 64))
    (call $drop (local.get $s))
    (call $end (local.get $b) (i32.const 0) (i32.const 0) (i32.const 128))
    ;; AFTER
  ))"#;
