//! A guest that does one thing after the other with blobs, and answers with what came of each: written in WAT.

use std::fmt::Write as _;

use crate::runtime::tests::guests::component;

/// Where the texts of a script are in the guest's memory.
const TEXTS: usize = 2 << 16;
/// Zeros to be written.
const ZEROS: usize = 3 << 20;

/// What it does. Each step tells a word and a space.
#[derive(Default)]
pub(super) struct Script {
    texts: Vec<u8>,
    steps: String,
}

impl Script {
    /// With a bucket open.
    pub(super) fn of(bucket: &str) -> Self {
        Self::default().open(bucket)
    }

    fn text(&mut self, text: &str) -> String {
        let at = TEXTS + self.texts.len();
        self.texts.extend(text.as_bytes());
        format!("(i32.const {at}) (i32.const {})", text.len())
    }

    fn step(mut self, step: &str) -> Self {
        writeln!(self.steps, "{step}").unwrap();
        self
    }

    pub(super) fn open(mut self, bucket: &str) -> Self {
        let name = self.text(bucket);
        self.step(&format!("(call $get_container {name} (i32.const 64)) (global.set $box (call $handle))"))
    }

    pub(super) fn create(mut self, bucket: &str) -> Self {
        let name = self.text(bucket);
        self.step(&format!("(call $create {name} (i32.const 64)) (drop (call $handle))"))
    }

    /// Reads a part of a blob at once.
    pub(super) fn get(mut self, key: &str, (first, last): (u64, u64)) -> Self {
        let key = self.text(key);
        self.step(&format!(
            "(call $get_data (global.get $box) {key} (i64.const {first}) (i64.const {}) (i32.const 64)) (call $whole)",
            last.cast_signed()
        ))
    }

    /// Reads a blob as a stream, and tells how many bytes it had.
    pub(super) fn stream(mut self, key: &str) -> Self {
        let key = self.text(key);
        self.step(&format!(
            "(call $get_data (global.get $box) {key} (i64.const 0) (i64.const -1) (i32.const 64)) (call $streamed)"
        ))
    }

    /// Begins to read a blob, and does not read it.
    pub(super) fn keep(mut self, key: &str) -> Self {
        let key = self.text(key);
        self.step(&format!(
            "(call $get_data (global.get $box) {key} (i64.const 0) (i64.const -1) (i32.const 64)) (drop (call $handle))"
        ))
    }

    /// A value, and its stream.
    pub(super) fn value(self) -> Self {
        self.step("(call $begin)")
    }

    /// A value that has no stream.
    pub(super) fn value_alone(self) -> Self {
        self.step("(global.set $value (call $new))")
    }

    /// Says where the value goes.
    pub(super) fn write_data(mut self, key: &str) -> Self {
        let key = self.text(key);
        self.step(&format!(
            "(call $write_data (global.get $box) {key} (global.get $value) (i32.const 64)) (call $done)"
        ))
    }

    pub(super) fn write(mut self, text: &str) -> Self {
        let text = self.text(text);
        self.step(&format!("(call $flush (global.get $stream) {text} (i32.const 64)) (call $wrote)"))
    }

    /// Writes 4,096 zeros so many times, and tells of the last time.
    pub(super) fn zeros(self, times: usize) -> Self {
        self.step(&format!(
            "(local.set $n (i32.const {times}))
             (loop $again
               (call $flush (global.get $stream) (i32.const {ZEROS}) (i32.const 4096) (i32.const 64))
               (local.set $n (i32.sub (local.get $n) (i32.const 1)))
               (br_if $again (i32.gt_s (local.get $n) (i32.const 0))))
             (call $wrote)"
        ))
    }

    /// Lets go of the stream, and ends the value.
    pub(super) fn finish(self) -> Self {
        self.step("(call $drop (global.get $stream)) (call $finish (global.get $value) (i32.const 64)) (call $done)")
    }

    /// Lets go of both.
    pub(super) fn give_up(self) -> Self {
        self.step("(call $drop (global.get $stream)) (call $forget_value (global.get $value))")
    }

    /// A blob of a text.
    pub(super) fn put(self, key: &str, text: &str) -> Self {
        self.value().write_data(key).write(text).finish()
    }

    pub(super) fn has(mut self, key: &str) -> Self {
        let key = self.text(key);
        self.step(&format!("(call $has (global.get $box) {key} (i32.const 64)) (call $flag)"))
    }

    pub(super) fn exists(mut self, bucket: &str) -> Self {
        let name = self.text(bucket);
        self.step(&format!("(call $exists {name} (i32.const 64)) (call $flag)"))
    }

    /// Its name, its bucket, and its size, which has one digit.
    pub(super) fn info(mut self, key: &str) -> Self {
        let key = self.text(key);
        self.step(&format!("(call $info (global.get $box) {key} (i32.const 64)) (call $told)"))
    }

    pub(super) fn delete(mut self, key: &str) -> Self {
        let key = self.text(key);
        self.step(&format!("(call $delete (global.get $box) {key} (i32.const 64)) (call $done)"))
    }

    pub(super) fn clear(self) -> Self {
        self.step("(call $clear (global.get $box) (i32.const 64)) (call $done)")
    }

    /// All names behind so many.
    pub(super) fn names_behind(self, skipped: u64) -> Self {
        self.step(&format!(
            "(call $list (global.get $box) (i32.const 64)) (local.set $n (call $handle))
             (call $skip (local.get $n) (i64.const {skipped}) (i32.const 64))
             (call $names (local.get $n))
             (call $forget_names (local.get $n))"
        ))
    }

    pub(super) fn copy(self, from: (&str, &str), to: (&str, &str)) -> Self {
        self.between("copy", from, to)
    }

    pub(super) fn rename(self, from: (&str, &str), to: (&str, &str)) -> Self {
        self.between("move", from, to)
    }

    fn between(mut self, what: &str, from: (&str, &str), to: (&str, &str)) -> Self {
        let texts = [from.0, from.1, to.0, to.1].map(|text| self.text(text)).join(" ");
        self.step(&format!("(call ${what} {texts} (i32.const 64)) (call $done)"))
    }

    /// Forgets what was told so far.
    pub(super) fn quietly(self) -> Self {
        self.step("(global.set $out (i32.const 16384))")
    }

    /// The component.
    pub(super) fn built(self) -> Vec<u8> {
        let texts: String = self.texts.iter().fold(String::new(), |mut all, byte| {
            write!(all, "\\{byte:02x}").unwrap();
            all
        });
        let text = TEMPLATE.replace("TEXTS", &texts).replace(";; STEPS", &self.steps);
        let text = text.replace("IO@", "wasi:io/streams@0.2.12").replace("@BLOB", "@0.2.0-draft");
        // As tools do: with one release of WASI for all of a program.
        let wit = include_str!("../../../../../wit/blobstore.wit");
        let wit = wit
            .replace("wasi:io/streams@0.2.0", "wasi:io/streams@0.2.12")
            .replace("wasi:io@0.2.0", "wasi:io@0.2.12");
        component(&text, &[(&wit, "imports")])
    }
}

const TEMPLATE: &str = r#"(module
  (import "wasi:http/types@0.2.12" "[constructor]fields" (func $fields (result i32)))
  (import "wasi:http/types@0.2.12" "[constructor]outgoing-response" (func $response (param i32) (result i32)))
  (import "wasi:http/types@0.2.12" "[method]outgoing-response.body" (func $body (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[static]response-outparam.set"
    (func $answer (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.12" "[method]outgoing-body.write" (func $body_stream (param i32 i32)))
  (import "wasi:http/types@0.2.12" "[static]outgoing-body.finish" (func $end (param i32 i32 i32 i32)))
  (import "wasi:http/types@0.2.12" "[resource-drop]incoming-request" (func $forget (param i32)))
  (import "IO@" "[method]output-stream.blocking-write-and-flush" (func $flush (param i32 i32 i32 i32)))
  (import "IO@" "[method]input-stream.blocking-read" (func $read (param i32 i64 i32)))
  (import "IO@" "[resource-drop]output-stream" (func $drop (param i32)))
  (import "IO@" "[resource-drop]input-stream" (func $drop_in (param i32)))
  (import "wasi:blobstore/blobstore@BLOB" "get-container" (func $get_container (param i32 i32 i32)))
  (import "wasi:blobstore/blobstore@BLOB" "create-container" (func $create (param i32 i32 i32)))
  (import "wasi:blobstore/blobstore@BLOB" "container-exists" (func $exists (param i32 i32 i32)))
  (import "wasi:blobstore/blobstore@BLOB" "copy-object"
    (func $copy (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "wasi:blobstore/blobstore@BLOB" "move-object"
    (func $move (param i32 i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "wasi:blobstore/container@BLOB" "[method]container.get-data"
    (func $get_data (param i32 i32 i32 i64 i64 i32)))
  (import "wasi:blobstore/container@BLOB" "[method]container.write-data"
    (func $write_data (param i32 i32 i32 i32 i32)))
  (import "wasi:blobstore/container@BLOB" "[method]container.list-objects" (func $list (param i32 i32)))
  (import "wasi:blobstore/container@BLOB" "[method]container.has-object" (func $has (param i32 i32 i32 i32)))
  (import "wasi:blobstore/container@BLOB" "[method]container.object-info" (func $info (param i32 i32 i32 i32)))
  (import "wasi:blobstore/container@BLOB" "[method]container.delete-object"
    (func $delete (param i32 i32 i32 i32)))
  (import "wasi:blobstore/container@BLOB" "[method]container.clear" (func $clear (param i32 i32)))
  (import "wasi:blobstore/container@BLOB" "[method]stream-object-names.read-stream-object-names"
    (func $next (param i32 i64 i32)))
  (import "wasi:blobstore/container@BLOB" "[method]stream-object-names.skip-stream-object-names"
    (func $skip (param i32 i64 i32)))
  (import "wasi:blobstore/container@BLOB" "[resource-drop]stream-object-names" (func $forget_names (param i32)))
  (import "wasi:blobstore/types@BLOB" "[static]outgoing-value.new-outgoing-value" (func $new (result i32)))
  (import "wasi:blobstore/types@BLOB" "[method]outgoing-value.outgoing-value-write-body"
    (func $write_body (param i32 i32)))
  (import "wasi:blobstore/types@BLOB" "[static]outgoing-value.finish" (func $finish (param i32 i32)))
  (import "wasi:blobstore/types@BLOB" "[resource-drop]outgoing-value" (func $forget_value (param i32)))
  (import "wasi:blobstore/types@BLOB" "[static]incoming-value.incoming-value-consume-sync"
    (func $sync (param i32 i32)))
  (import "wasi:blobstore/types@BLOB" "[static]incoming-value.incoming-value-consume-async"
    (func $async (param i32 i32)))
  (import "wasi:blobstore/types@BLOB" "[method]incoming-value.size" (func $size (param i32) (result i64)))
  (global $box (mut i32) (i32.const 0))
  (global $value (mut i32) (i32.const 0))
  (global $stream (mut i32) (i32.const 0))
  (global $out (mut i32) (i32.const 16384))
  (global $free (mut i32) (i32.const 4194304))
  (memory (export "memory") 800)
  (data (i32.const 1024) "ok yes no failed ")
  (data (i32.const 131072) "TEXTS")
  (func (export "cabi_realloc") (param i32 i32 i32) (param $bytes i32) (result i32) (local $at i32)
    (local.set $at (global.get $free))
    (global.set $free (i32.and (i32.add (i32.add (local.get $at) (local.get $bytes)) (i32.const 7)) (i32.const -8)))
    (local.get $at))
  (func $put (param $at i32) (param $len i32)
    (memory.copy (global.get $out) (local.get $at) (local.get $len))
    (global.set $out (i32.add (global.get $out) (local.get $len))))
  (func $text (param $at i32)
    (call $put (i32.load (local.get $at)) (i32.load offset=4 (local.get $at)))
    (call $put (i32.const 1026) (i32.const 1)))
  (func $done
    (if (i32.load8_u (i32.const 64)) (then (call $text (i32.const 68)))
      (else (call $put (i32.const 1024) (i32.const 3)))))
  (func $wrote
    (if (i32.load8_u (i32.const 64)) (then (call $put (i32.const 1034) (i32.const 7)))
      (else (call $put (i32.const 1024) (i32.const 3)))))
  (func $handle (result i32)
    (call $done)
    (i32.load (i32.const 68)))
  (func $flag
    (if (i32.load8_u (i32.const 64)) (then (call $text (i32.const 68)) (return)))
    (if (i32.load8_u (i32.const 68)) (then (call $put (i32.const 1027) (i32.const 4)))
      (else (call $put (i32.const 1031) (i32.const 3)))))
  (func $whole
    (if (i32.load8_u (i32.const 64)) (then (call $text (i32.const 68)) (return)))
    (call $sync (i32.load (i32.const 68)) (i32.const 64))
    (call $text (i32.const 68)))
  (func $decimal (param $n i64) (local $at i32)
    (local.set $at (i32.const 1120))
    (loop $more
      (local.set $at (i32.sub (local.get $at) (i32.const 1)))
      (i64.store8 (local.get $at) (i64.add (i64.rem_u (local.get $n) (i64.const 10)) (i64.const 48)))
      (local.set $n (i64.div_u (local.get $n) (i64.const 10)))
      (br_if $more (i32.wrap_i64 (local.get $n))))
    (call $put (local.get $at) (i32.sub (i32.const 1120) (local.get $at)))
    (call $put (i32.const 1026) (i32.const 1)))
  (func $streamed (local $size i64) (local $read i64) (local $in i32)
    (if (i32.load8_u (i32.const 64)) (then (call $text (i32.const 68)) (return)))
    (local.set $size (call $size (i32.load (i32.const 68))))
    (call $async (i32.load (i32.const 68)) (i32.const 64))
    (if (i32.load8_u (i32.const 64)) (then (call $text (i32.const 68)) (return)))
    (local.set $in (i32.load (i32.const 68)))
    (loop $more
      (global.set $free (i32.const 4194304))
      (call $read (local.get $in) (i64.const 65536) (i32.const 64))
      (if (i32.eqz (i32.load8_u (i32.const 64)))
        (then
          (local.set $read (i64.add (local.get $read) (i64.extend_i32_u (i32.load (i32.const 72)))))
          (br $more))))
    (call $drop_in (local.get $in))
    (if (i64.ne (local.get $size) (local.get $read)) (then (call $put (i32.const 1034) (i32.const 7))))
    (call $decimal (local.get $read)))
  (func $begin
    (global.set $value (call $new))
    (call $write_body (global.get $value) (i32.const 64))
    (global.set $stream (i32.load (i32.const 68)))
    (call $write_body (global.get $value) (i32.const 64))
    (if (i32.eqz (i32.load8_u (i32.const 64))) (then (unreachable))))
  (func $told
    (if (i32.load8_u (i32.const 64)) (then (call $text (i32.const 72)) (return)))
    (call $text (i32.const 72)) (call $text (i32.const 80)) (call $decimal (i64.load (i32.const 96))))
  (func $names (param $list i32) (local $at i32) (local $left i32)
    (loop $page
      (call $next (local.get $list) (i64.const 2) (i32.const 64))
      (if (i32.load8_u (i32.const 64)) (then (call $text (i32.const 68)) (br $page)))
      (local.set $at (i32.load (i32.const 68)))
      (local.set $left (i32.load (i32.const 72)))
      (if (local.get $left) (then
        (loop $each
          (call $text (local.get $at))
          (local.set $at (i32.add (local.get $at) (i32.const 8)))
          (local.set $left (i32.sub (local.get $left) (i32.const 1)))
          (br_if $each (local.get $left)))))
      (br_if $page (i32.eqz (i32.load8_u (i32.const 76))))))
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
    (call $body_stream (local.get $b) (i32.const 64))
    (local.set $s (i32.load (i32.const 68)))
    (call $flush (local.get $s) (i32.const 16384) (i32.sub (global.get $out) (i32.const 16384)) (i32.const 64))
    (call $drop (local.get $s))
    (call $end (local.get $b) (i32.const 0) (i32.const 0) (i32.const 128))))"#;
