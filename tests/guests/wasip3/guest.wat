;; A guest of `wasi:http` 0.3 whose handler is BODY. It may wait in each of these functions:
;;   $head                 gives an answer whose body and trailers are to come
;;   $sized (at, len)      the same with these digits as its `content-length`
;;   $print (at, len)      adds to the body
;;   $finish               ends the body, with the trailers that lie at 512: none, unless $trailers read some
;;   $consume              begins to read the request
;;   $read (at, len) -> n  reads of its body; 0 at its end
;;   $trailers             reads its trailers, behind its body
;;   $forward              answers with the request's own body and trailers
;;   $fail (at, len)       answers with an error of these words
;;   $log (at, len)        prints
;;   $keep                 opens standard output, and leaves it open
;;   $sleep (nanoseconds)
;;   $send (at, len) -> e  asks the host of this name for /, without a body; 1 where that fails
;; and has 16 digits at 1024, and a global `$count`, which is zero.
(module
  (import "wasi:http/types@0.3.0" "[constructor]fields" (func $fields (result i32)))
  (import "wasi:http/types@0.3.0" "[method]fields.append" (func $append (param i32 i32 i32 i32 i32 i32)))
  (import "wasi:http/types@0.3.0" "[static]response.new" (func $response (param i32 i32 i32 i32 i32)))
  (import "wasi:http/types@0.3.0" "[stream-new-0][static]response.new" (func $body_new (result i64)))
  (import "wasi:http/types@0.3.0" "[async-lower][stream-write-0][static]response.new"
    (func $body_write_now (param i32 i32 i32) (result i32)))
  (import "wasi:http/types@0.3.0" "[stream-drop-writable-0][static]response.new" (func $body_close (param i32)))
  (import "wasi:http/types@0.3.0" "[future-new-1][static]response.new" (func $end_new (result i64)))
  (import "wasi:http/types@0.3.0" "[async-lower][future-write-1][static]response.new"
    (func $end_write_now (param i32 i32) (result i32)))
  (import "wasi:http/types@0.3.0" "[future-drop-writable-1][static]response.new" (func $end_close (param i32)))
  (import "wasi:http/types@0.3.0" "[future-drop-readable-2][static]response.new" (func $sent_close (param i32)))
  (import "wasi:http/types@0.3.0" "[static]request.consume-body" (func $open (param i32 i32 i32)))
  (import "wasi:http/types@0.3.0" "[future-new-0][static]request.consume-body" (func $taken_new (result i64)))
  (import "wasi:http/types@0.3.0" "[async-lower][future-write-0][static]request.consume-body"
    (func $taken_write_now (param i32 i32) (result i32)))
  (import "wasi:http/types@0.3.0" "[future-drop-writable-0][static]request.consume-body"
    (func $taken_close (param i32)))
  (import "wasi:http/types@0.3.0" "[async-lower][stream-read-1][static]request.consume-body"
    (func $in_read_now (param i32 i32 i32) (result i32)))
  (import "wasi:http/types@0.3.0" "[stream-drop-readable-1][static]request.consume-body" (func $in_close (param i32)))
  (import "wasi:http/types@0.3.0" "[async-lower][future-read-2][static]request.consume-body"
    (func $trailers_read_now (param i32 i32) (result i32)))
  (import "wasi:http/types@0.3.0" "[future-drop-readable-2][static]request.consume-body"
    (func $trailers_close (param i32)))
  (import "wasi:http/types@0.3.0" "[static]request.new" (func $request (param i32 i32 i32 i32 i32 i32 i32)))
  (import "wasi:http/types@0.3.0" "[future-new-1][static]request.new" (func $out_new (result i64)))
  (import "wasi:http/types@0.3.0" "[async-lower][future-write-1][static]request.new"
    (func $out_write_now (param i32 i32) (result i32)))
  (import "wasi:http/types@0.3.0" "[future-drop-writable-1][static]request.new" (func $out_close (param i32)))
  (import "wasi:http/types@0.3.0" "[future-drop-readable-2][static]request.new" (func $went_close (param i32)))
  (import "wasi:http/types@0.3.0" "[method]request.set-scheme" (func $scheme (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi:http/types@0.3.0" "[method]request.set-authority"
    (func $authority (param i32 i32 i32 i32) (result i32)))
  (import "wasi:http/types@0.3.0" "[method]request.set-path-with-query"
    (func $path (param i32 i32 i32 i32) (result i32)))
  (import "wasi:http/types@0.3.0" "[resource-drop]request" (func $forget (param i32)))
  (import "wasi:http/types@0.3.0" "[resource-drop]response" (func $forget_response (param i32)))
  (import "wasi:http/client@0.3.0" "[async-lower]send" (func $client (param i32 i32) (result i32)))
  (import "wasi:clocks/monotonic-clock@0.3.0" "wait-for" (func $sleep (param i64)))
  (import "wasi:cli/stdout@0.3.0" "write-via-stream" (func $stdout (param i32) (result i32)))
  (import "wasi:cli/stdout@0.3.0" "[stream-new-0]write-via-stream" (func $line_new (result i64)))
  (import "wasi:cli/stdout@0.3.0" "[async-lower][stream-write-0]write-via-stream"
    (func $line_write_now (param i32 i32 i32) (result i32)))
  (import "wasi:cli/stdout@0.3.0" "[stream-drop-writable-0]write-via-stream" (func $line_close (param i32)))
  (import "wasi:cli/stdout@0.3.0" "[async-lower][future-read-1]write-via-stream"
    (func $printed_read_now (param i32 i32) (result i32)))
  (import "wasi:cli/stdout@0.3.0" "[future-drop-readable-1]write-via-stream" (func $printed_close (param i32)))
  (import "$root" "[waitable-set-new]" (func $set_new (result i32)))
  (import "$root" "[waitable-join]" (func $join (param i32 i32)))
  (import "$root" "[waitable-set-wait]" (func $wait (param i32 i32) (result i32)))
  (import "$root" "[waitable-set-drop]" (func $set_drop (param i32)))
  (import "$root" "[subtask-drop]" (func $subtask_drop (param i32)))
  (import "[export]wasi:http/handler@0.3.0" "[task-return]handle"
    (func $return (param i32 i32 i32 i64 i32 i32 i32 i32)))

  (memory (export "memory") 17)
  (data (i32.const 1024) "0123456789abcdef")
  (data (i32.const 2048) "content-length/")
  (global $count (mut i32) (i32.const 0))
  (global $req (mut i32) (i32.const 0))
  (global $body (mut i32) (i32.const 0))
  (global $end (mut i32) (i32.const 0))
  (global $in (mut i32) (i32.const 0))
  (global $in_trailers (mut i32) (i32.const 0))
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))

  ;; The ends of a stream or future that was just made.
  (func $reader (param i64) (result i32) (i32.wrap_i64 (local.get 0)))
  (func $writer (param i64) (result i32) (i32.wrap_i64 (i64.shr_u (local.get 0) (i64.const 32))))

  ;; Waits for what was begun with a waitable, unless it is done: -1 says that it is not. Gives what it came to.
  (func $done (param $waitable i32) (param $state i32) (result i32) (local $set i32)
    (if (i32.ne (local.get $state) (i32.const -1)) (then (return (local.get $state))))
    (local.set $set (call $set_new))
    (call $join (local.get $waitable) (local.get $set))
    (drop (call $wait (local.get $set) (i32.const 192)))
    (call $join (local.get $waitable) (i32.const 0))
    (call $set_drop (local.get $set))
    (i32.load (i32.const 196)))
  (func $body_write (param i32 i32 i32) (result i32)
    (call $done (local.get 0) (call $body_write_now (local.get 0) (local.get 1) (local.get 2))))
  (func $end_write (param i32 i32) (result i32)
    (call $done (local.get 0) (call $end_write_now (local.get 0) (local.get 1))))
  (func $taken_write (param i32 i32) (result i32)
    (call $done (local.get 0) (call $taken_write_now (local.get 0) (local.get 1))))
  (func $in_read (param i32 i32 i32) (result i32)
    (call $done (local.get 0) (call $in_read_now (local.get 0) (local.get 1) (local.get 2))))
  (func $trailers_read (param i32 i32) (result i32)
    (call $done (local.get 0) (call $trailers_read_now (local.get 0) (local.get 1))))
  (func $out_write (param i32 i32) (result i32)
    (call $done (local.get 0) (call $out_write_now (local.get 0) (local.get 1))))
  (func $line_write (param i32 i32 i32) (result i32)
    (call $done (local.get 0) (call $line_write_now (local.get 0) (local.get 1) (local.get 2))))
  (func $printed_read (param i32 i32) (result i32)
    (call $done (local.get 0) (call $printed_read_now (local.get 0) (local.get 1))))

  (func $answer (param $fields i32) (param $contents i32) (param $trailers i32)
    (call $response (local.get $fields) (i32.const 1) (local.get $contents) (local.get $trailers) (i32.const 64))
    (call $sent_close (i32.load (i32.const 68)))
    (call $return (i32.const 0) (i32.load (i32.const 64))
      (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
  (func $begin (param $fields i32) (local $b i64) (local $e i64)
    (local.set $b (call $body_new))
    (local.set $e (call $end_new))
    (global.set $body (call $writer (local.get $b)))
    (global.set $end (call $writer (local.get $e)))
    (call $answer (local.get $fields) (call $reader (local.get $b)) (call $reader (local.get $e))))
  (func $head (call $begin (call $fields)))
  (func $sized (param $at i32) (param $len i32) (local $f i32)
    (local.set $f (call $fields))
    (call $append (local.get $f) (i32.const 2048) (i32.const 14) (local.get $at) (local.get $len) (i32.const 64))
    (call $begin (local.get $f)))
  (func $print (param $at i32) (param $len i32) (local $n i32)
    (loop $more
      (local.set $n (call $body_write (global.get $body) (local.get $at) (local.get $len)))
      (if (i32.and (local.get $n) (i32.const 15)) (then (return)))
      (local.set $n (i32.shr_u (local.get $n) (i32.const 4)))
      (local.set $at (i32.add (local.get $at) (local.get $n)))
      (local.set $len (i32.sub (local.get $len) (local.get $n)))
      (br_if $more (local.get $len))))
  (func $finish
    (call $body_close (global.get $body))
    (drop (call $end_write (global.get $end) (i32.const 512)))
    (call $end_close (global.get $end)))

  (func $consume (local $t i64)
    (local.set $t (call $taken_new))
    (call $open (global.get $req) (call $reader (local.get $t)) (i32.const 96))
    (drop (call $taken_write (call $writer (local.get $t)) (i32.const 640)))
    (call $taken_close (call $writer (local.get $t)))
    (global.set $in (i32.load (i32.const 96)))
    (global.set $in_trailers (i32.load (i32.const 100))))
  (func $read (param $at i32) (param $len i32) (result i32)
    (i32.shr_u (call $in_read (global.get $in) (local.get $at) (local.get $len)) (i32.const 4)))
  (func $trailers
    (call $in_close (global.get $in))
    (drop (call $trailers_read (global.get $in_trailers) (i32.const 512)))
    (call $trailers_close (global.get $in_trailers)))
  (func $forward
    (call $consume)
    (call $answer (call $fields) (global.get $in) (global.get $in_trailers)))

  ;; `internal-error` is the last of the error's cases.
  (func $fail (param $at i32) (param $len i32)
    (call $return (i32.const 1) (i32.const 38) (i32.const 1) (i64.extend_i32_u (local.get $at)) (local.get $len)
      (i32.const 0) (i32.const 0) (i32.const 0)))

  (func $log (param $at i32) (param $len i32) (local $l i64) (local $printed i32)
    (local.set $l (call $line_new))
    (local.set $printed (call $stdout (call $reader (local.get $l))))
    (drop (call $line_write (call $writer (local.get $l)) (local.get $at) (local.get $len)))
    (call $line_close (call $writer (local.get $l)))
    (drop (call $printed_read (local.get $printed) (i32.const 704)))
    (call $printed_close (local.get $printed)))
  (func $keep
    (call $printed_close (call $stdout (call $reader (call $line_new)))))

  (func $send (param $at i32) (param $len i32) (result i32)
    (local $o i64) (local $r i32) (local $state i32) (local $set i32)
    (local.set $o (call $out_new))
    (call $request (call $fields) (i32.const 0) (i32.const 0) (call $reader (local.get $o))
      (i32.const 0) (i32.const 0) (i32.const 160))
    (call $went_close (i32.load (i32.const 164)))
    (local.set $r (i32.load (i32.const 160)))
    (drop (call $scheme (local.get $r) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))
    (drop (call $authority (local.get $r) (i32.const 1) (local.get $at) (local.get $len)))
    (drop (call $path (local.get $r) (i32.const 1) (i32.const 2062) (i32.const 1)))
    (local.set $state (call $client (local.get $r) (i32.const 200)))
    ;; It has no trailers: whoever sends it asks for them.
    (drop (call $out_write (call $writer (local.get $o)) (i32.const 768)))
    (call $out_close (call $writer (local.get $o)))
    (if (i32.ne (i32.and (local.get $state) (i32.const 15)) (i32.const 2))
      (then
        (local.set $set (call $set_new))
        (call $join (i32.shr_u (local.get $state) (i32.const 4)) (local.get $set))
        (loop $again
          (drop (call $wait (local.get $set) (i32.const 192)))
          (br_if $again (i32.ne (i32.load (i32.const 196)) (i32.const 2))))
        (call $subtask_drop (i32.shr_u (local.get $state) (i32.const 4)))
        (call $set_drop (local.get $set))))
    (if (i32.eqz (i32.load8_u (i32.const 200)))
      (then (call $forget_response (i32.load (i32.const 208)))))
    (i32.load8_u (i32.const 200)))

  (func $recurse (param i64 i64) (result i64)
    (i64.add (call $recurse (local.get 1) (local.get 0)) (i64.const 1)))
  (func (export "[async-lift]wasi:http/handler@0.3.0#handle") (param i32) (result i32) (local $n i32)
    (global.set $req (local.get 0))
    ;; BODY
    (i32.const 0))
  (func (export "[callback][async-lift]wasi:http/handler@0.3.0#handle") (param i32 i32 i32) (result i32)
    (unreachable)))
