//! A guest that does one thing after the other with what its function keeps, and answers with what came of each: written in WAT.

use std::fmt::Write as _;

use wit_component::{ComponentEncoder, DecodedWasm, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use super::super::fixture::guest;

/// Where the texts of a script are in the guest's memory.
const TEXTS: usize = 2 << 16;

/// Which interface it is built for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Draft {
    First,
    Second,
}

impl Draft {
    pub(super) const ALL: [Self; 2] = [Self::First, Self::Second];

    const fn version(self) -> &'static str {
        match self {
            Self::First => "0.2.0-draft",
            Self::Second => "0.2.0-draft2",
        }
    }

    const fn wit(self) -> &'static str {
        match self {
            Self::First => include_str!("../../../../wit/keyvalue-draft.wit"),
            Self::Second => include_str!("../../../../wit/keyvalue-draft2.wit"),
        }
    }
}

/// What it does. Each step tells a word and a space.
pub(super) struct Script {
    draft: Draft,
    texts: Vec<u8>,
    steps: String,
}

impl Script {
    pub(super) fn of(draft: Draft) -> Self {
        Self { draft, texts: Vec::new(), steps: String::new() }
    }

    /// Of the second draft, with the bucket `b` open.
    pub(super) fn begun() -> Self {
        Self::of(Draft::Second).open("b")
    }

    fn text(&mut self, text: &str) -> String {
        let at = TEXTS + self.texts.len();
        self.texts.extend(text.as_bytes());
        format!("(i32.const {at}) (i32.const {})", text.len())
    }

    /// A list of texts in the guest's memory: `each` of them are one element.
    fn list(&mut self, texts: &[&str], each: usize) -> String {
        let mut elements = Vec::new();
        for text in texts {
            let at = TEXTS + self.texts.len();
            self.texts.extend(text.as_bytes());
            elements.extend(u32::try_from(at).unwrap().to_le_bytes());
            elements.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        }
        self.texts.resize(self.texts.len().next_multiple_of(4), 0);
        let at = TEXTS + self.texts.len();
        self.texts.extend(elements);
        format!("(i32.const {at}) (i32.const {})", texts.len() / each)
    }

    fn step(mut self, step: &str) -> Self {
        writeln!(self.steps, "{step}").unwrap();
        self
    }

    /// Opens a bucket; what comes then is done with it.
    pub(super) fn open(mut self, bucket: &str) -> Self {
        let name = self.text(bucket);
        self.step(&format!("(call $open {name} (i32.const 64)) (call $opened)"))
    }

    /// Lets go of the bucket.
    pub(super) fn close(self) -> Self {
        self.step("(call $close (global.get $bucket))")
    }

    pub(super) fn get(mut self, key: &str) -> Self {
        let key = self.text(key);
        self.step(&format!("(call $get (global.get $bucket) {key} (i32.const 64)) (call $value)"))
    }

    pub(super) fn set(mut self, key: &str, value: &str) -> Self {
        let (key, value) = (self.text(key), self.text(value));
        self.step(&format!("(call $set (global.get $bucket) {key} {value} (i32.const 64)) (call $done)"))
    }

    /// Sets a value of so many zero bytes.
    pub(super) fn set_zeros(mut self, key: &str, bytes: usize) -> Self {
        let key = self.text(key);
        let value = format!("(i32.const {}) (i32.const {bytes})", 1 << 20);
        self.step(&format!("(call $set (global.get $bucket) {key} {value} (i32.const 64)) (call $done)"))
    }

    pub(super) fn delete(mut self, key: &str) -> Self {
        let key = self.text(key);
        self.step(&format!("(call $delete (global.get $bucket) {key} (i32.const 64)) (call $done)"))
    }

    pub(super) fn exists(mut self, key: &str) -> Self {
        let key = self.text(key);
        self.step(&format!("(call $exists (global.get $bucket) {key} (i32.const 64)) (call $flag)"))
    }

    /// All keys, page by page.
    pub(super) fn keys(self) -> Self {
        self.step("(call $keys)")
    }

    /// A page behind a cursor that nobody has told.
    pub(super) fn keys_behind_nothing(self) -> Self {
        let cursor = match self.draft {
            Draft::First => "(i64.const 77)",
            Draft::Second => "(i32.const 1024) (i32.const 1)",
        };
        self.step(&format!(
            "(call $list (global.get $bucket) (i32.const 1) {cursor} (i32.const 64)) (call $done_at_8)"
        ))
    }

    pub(super) fn increment(mut self, key: &str, by: i64) -> Self {
        let key = self.text(key);
        self.step(&format!(
            "(call $increment (global.get $bucket) {key} (i64.const {by}) (i32.const 64)) (call $number)"
        ))
    }

    pub(super) fn get_many(mut self, keys: &[&str]) -> Self {
        let keys = self.list(keys, 1);
        self.step(&format!("(call $get_many (global.get $bucket) {keys} (i32.const 64)) (call $values)"))
    }

    /// Keys and values in turn.
    pub(super) fn set_many(mut self, pairs: &[&str]) -> Self {
        let pairs = self.list(pairs, 2);
        self.step(&format!("(call $set_many (global.get $bucket) {pairs} (i32.const 64)) (call $done)"))
    }

    pub(super) fn delete_many(mut self, keys: &[&str]) -> Self {
        let keys = self.list(keys, 1);
        self.step(&format!("(call $delete_many (global.get $bucket) {keys} (i32.const 64)) (call $done)"))
    }

    /// A handle to swap a value by; what comes then is done with it.
    pub(super) fn cas(mut self, key: &str) -> Self {
        let key = self.text(key);
        self.step(&format!("(call $cas (global.get $bucket) {key} (i32.const 64)) (call $handled)"))
    }

    pub(super) fn current(self) -> Self {
        self.step("(call $current (global.get $swapping) (i32.const 64)) (call $value)")
    }

    pub(super) fn swap(mut self, value: &str) -> Self {
        let value = self.text(value);
        self.step(&format!("(call $swap (global.get $swapping) {value} (i32.const 64)) (call $swapped)"))
    }

    pub(super) fn publish(mut self, to: &str, data: &str, reply_to: Option<&str>) -> Self {
        let (to, data) = (self.text(to), self.text(data));
        let reply = self.text(reply_to.unwrap_or_default());
        let some = i32::from(reply_to.is_some());
        self.step(&format!(
            "(call $publish {to} {data} (i32.const {some}) {reply} (i32.const 64)) (call $said)"
        ))
    }

    pub(super) fn request(mut self, to: &str) -> Self {
        let to = self.text(to);
        self.step(&format!("(call $request {to} {to} (i32.const 1) (i32.const 64)) (call $said)"))
    }

    /// Does something as often as is said.
    pub(super) fn times(self, times: usize, what: impl FnOnce(Self) -> Self) -> Self {
        self.inside(what, |steps| {
            format!(
                "(local.set $n (i32.const {times}))
                 (loop $again (global.set $free (i32.const 4194304)) {steps}
                   (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                   (br_if $again (i32.gt_s (local.get $n) (i32.const 0))))"
            )
        })
    }

    /// Does something in the instance's first call only.
    pub(super) fn once(self, what: impl FnOnce(Self) -> Self) -> Self {
        self.inside(what, |steps| {
            format!("(if (i32.eqz (global.get $called)) (then (global.set $called (i32.const 1)) {steps}))")
        })
    }

    fn inside(mut self, what: impl FnOnce(Self) -> Self, around: impl FnOnce(String) -> String) -> Self {
        let before = std::mem::take(&mut self.steps);
        let mut inner = what(self);
        let steps = std::mem::replace(&mut inner.steps, before);
        inner.step(&around(steps))
    }

    /// Forgets what was told so far: it would be too much.
    pub(super) fn quietly(self) -> Self {
        self.step("(global.set $out (i32.const 16384))")
    }

    /// The component.
    pub(super) fn built(self) -> Vec<u8> {
        let texts: String = self.texts.iter().fold(String::new(), |mut all, byte| {
            write!(all, "\\{byte:02x}").unwrap();
            all
        });
        let (cursor, more, cas) = match self.draft {
            Draft::First => ("i64", FIRST_PAGES, ""),
            Draft::Second => ("i32 i32", SECOND_PAGES, CAS),
        };
        let text = TEMPLATE
            .replace(";; CAS", cas)
            .replace(";; PAGES", more)
            .replace("CURSOR", cursor)
            .replace("VERSION", self.draft.version())
            .replace("TEXTS", &texts)
            .replace(";; STEPS", &self.steps);
        let mut module = wat::parse_str(text).unwrap();
        // This component's world has what it needs of WASI.
        let DecodedWasm::Component(resolve, world) =
            wit_component::decode(&guest("rust-http-wasip1.component.wasm")).unwrap()
        else {
            panic!("a component");
        };
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        for (name, wit) in [
            ("keyvalue.wit", self.draft.wit()),
            ("messaging.wit", include_str!("../../../../wit/messaging.wit")),
        ] {
            let mut resolve = Resolve::default();
            let package = resolve.push_source(name, wit).unwrap();
            let world = resolve.select_world(&[package], Some("imports")).unwrap();
            embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
        }
        ComponentEncoder::default().module(&module).unwrap().validate(true).encode().unwrap()
    }
}

/// Pages of keys, where cursors are numbers; and a value of a batch, which is an option with its key.
const FIRST_PAGES: &str = r#"
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
const SECOND_PAGES: &str = r#"
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

const CAS: &str = r#"
  (import "wasi:keyvalue/atomics@VERSION" "[static]cas.new" (func $cas (param i32 i32 i32 i32)))
  (import "wasi:keyvalue/atomics@VERSION" "[method]cas.current" (func $current (param i32 i32)))
  (import "wasi:keyvalue/atomics@VERSION" "swap" (func $swap (param i32 i32 i32 i32)))"#;

const TEMPLATE: &str = r#"(module
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
    (call $end (local.get $b) (i32.const 0) (i32.const 0) (i32.const 128))))"#;
