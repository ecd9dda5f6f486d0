//! Small misbehaving functions, written as text: WASI preview 1 commands.

use std::path::{Path, PathBuf};

/// Writes a command module whose `_start` is `body` into `folder`.
///
/// The module imports `fd_write`, `fd_read`, `poll_oneoff` and `proc_exit`, has a memory of one page that may grow,
/// `$say`, which writes `hello\n` to the stream that it is given, `$shout`, which writes a thousand of them at once, and
/// `$nap`, which waits so many milliseconds.
///
/// # Panics
/// When the text is no module.
#[must_use]
pub fn command(folder: &Path, name: &str, body: &str) -> PathBuf {
    let thousand = "hello\\n".repeat(1_000);
    let text = format!(
        r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 4096) "{thousand}")
  (func $write (param $stream i32) (param $bytes i32)
    (i32.store (i32.const 0) (i32.const 4096))
    (i32.store (i32.const 4) (local.get $bytes))
    (drop (call $fd_write (local.get $stream) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $say (param $stream i32) (call $write (local.get $stream) (i32.const 6)))
  (func $shout (param $stream i32) (call $write (local.get $stream) (i32.const 6000)))
  (func $nap (param $ms i64)
    (i32.store (i32.const 1040) (i32.const 1))
    (i64.store (i32.const 1048) (i64.mul (local.get $ms) (i64.const 1000000)))
    (drop (call $poll (i32.const 1024) (i32.const 1088) (i32.const 1) (i32.const 1152))))
  (func $deep (param i32) (result i32)
    (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
  (func (export "_start") {body}))"#
    );
    write(folder, name, &text)
}

/// Writes a module of this text into `folder`.
///
/// # Panics
/// When the text is no module.
#[must_use]
pub fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(format!("{name}.wasm"));
    std::fs::write(&path, wat::parse_str(text).expect("a module")).expect("written");
    path
}

/// Writes a command module into `folder` that answers with this status and, as its body, with its environment: `NAME=VALUE`, each
/// with a zero byte behind it, among them the request's headers as `HTTP_NAME`. It says `hello` to its log.
///
/// # Panics
/// When the text is no module.
#[must_use]
pub fn environment(folder: &Path, name: &str, status: u16) -> PathBuf {
    let (head, said) = (format!("Status: {status}\n\n"), "hello\n");
    let (head_text, head_bytes) = (head.replace('\n', "\\n"), head.len());
    let (said_text, said_bytes) = (said.replace('\n', "\\n"), said.len());
    let text = format!(
        r#"(module
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 64) "{head_text}")
  (data (i32.const 128) "{said_text}")
  (func $write (param $stream i32) (param $from i32) (param $bytes i32)
    (i32.store (i32.const 0) (local.get $from))
    (i32.store (i32.const 4) (local.get $bytes))
    (drop (call $fd_write (local.get $stream) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func (export "_start")
    (call $write (i32.const 2) (i32.const 128) (i32.const {said_bytes}))
    (drop (call $sizes (i32.const 16) (i32.const 20)))
    (drop (call $environ (i32.const 1024) (i32.const 65536)))
    (call $write (i32.const 1) (i32.const 64) (i32.const {head_bytes}))
    (call $write (i32.const 1) (i32.const 65536) (i32.load (i32.const 20)))))"#
    );
    write(folder, name, &text)
}

/// Runs for ever.
pub const LOOP: &str = "(loop $again (br $again))";
/// Traps.
pub const TRAP: &str = "(unreachable)";
/// Overflows its stack.
pub const RECURSE: &str = "(drop (call $deep (i32.const 0)))";
/// Takes memory until it is refused, then traps.
pub const ALLOCATE: &str =
    "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)";
/// Fails before it says anything.
pub const EXIT: &str = "(call $proc_exit (i32.const 3))";
/// Answers `hello`.
pub const HELLO: &str = "(call $say (i32.const 1))";
/// Answers `hello` after 20 ms of waiting: some of its calls are always under way.
pub const NAP: &str = "(call $nap (i64.const 20)) (call $say (i32.const 1))";
/// Waits ten minutes, then answers `hello`.
pub const LONG_NAP: &str = "(call $nap (i64.const 600000)) (call $say (i32.const 1))";
/// Floods its log without end.
pub const FLOOD: &str = "(loop $again (call $shout (i32.const 2)) (br $again))";
/// Answers without end.
pub const TALK: &str = "(loop $again (call $say (i32.const 1)) (br $again))";
