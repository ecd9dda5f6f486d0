;; Reads the number at the key 'sum' of the bucket 'counters', adds one, writes it, and publishes it to 'done'. Numbers are decimal digits; none
;; is 0. Whatever is refused makes it fail.
(module
  (import "wasi:keyvalue/store@0.2.0-draft2" "open" (func $open (param i32 i32 i32)))
  (import "wasi:keyvalue/store@0.2.0-draft2" "[method]bucket.get" (func $get (param i32 i32 i32 i32)))
  (import "wasi:keyvalue/store@0.2.0-draft2" "[method]bucket.set" (func $set (param i32 i32 i32 i32 i32 i32)))
  (import "wasmcloud:messaging/consumer@0.2.0" "publish"
    (func $publish (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "counters")
  (data (i32.const 32) "sum")
  (data (i32.const 48) "done")
  (global $free (mut i32) (i32.const 4096))
  ;; Old memory, its size, alignment, wanted size: nothing is given back.
  (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $free))
    (global.set $free
      (i32.and (i32.add (i32.add (global.get $free) (local.get 3)) (i32.const 15)) (i32.const -16)))
    (local.get $at))
  ;; Whether what was answered at 256 is an error.
  (func $failed (result i32) (i32.load8_u (i32.const 256)))
  (func (export "wasi:cli/run@0.2.0#run") (result i32)
    (local $bucket i32) (local $number i64) (local $at i32) (local $end i32)
    (call $open (i32.const 16) (i32.const 8) (i32.const 256))
    (if (call $failed) (then (return (i32.const 1))))
    (local.set $bucket (i32.load (i32.const 260)))
    (call $get (local.get $bucket) (i32.const 32) (i32.const 3) (i32.const 256))
    (if (call $failed) (then (return (i32.const 1))))
    (if (i32.load8_u (i32.const 260)) (then
      (local.set $at (i32.load (i32.const 264)))
      (local.set $end (i32.add (local.get $at) (i32.load (i32.const 268))))
      (block $read (loop $digits
        (br_if $read (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $number
          (i64.add
            (i64.mul (local.get $number) (i64.const 10))
            (i64.sub (i64.load8_u (local.get $at)) (i64.const 48))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $digits)))))
    (local.set $number (i64.add (local.get $number) (i64.const 1)))
    (local.set $at (i32.const 512))
    (loop $digits
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i64.store8 (local.get $at) (i64.add (i64.rem_u (local.get $number) (i64.const 10)) (i64.const 48)))
      (local.set $number (i64.div_u (local.get $number) (i64.const 10)))
      (br_if $digits (i64.ne (local.get $number) (i64.const 0))))
    (local.set $end (i32.sub (i32.const 512) (local.get $at)))
    (call $set
      (local.get $bucket) (i32.const 32) (i32.const 3) (local.get $at) (local.get $end) (i32.const 256))
    (if (call $failed) (then (return (i32.const 1))))
    (call $publish
      (i32.const 48) (i32.const 4) (local.get $at) (local.get $end)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 256))
    (call $failed)))
