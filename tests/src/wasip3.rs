//! Functions of WASI 0.3, made of text: `tests/guests/wasip3` has what they see of the host, and the functions they have.

use std::path::{Path, PathBuf};

use crate::component::component;

/// Answers `0123`.
pub const HELLO: &str = "(call $head) (call $print (i32.const 1024) (i32.const 4)) (call $finish)";

/// Writes a component of `wasi:http` 0.3 whose handler is `body` into `folder`.
///
/// # Panics
/// When the text is no component.
#[must_use]
pub fn service(folder: &Path, name: &str, body: &str) -> PathBuf {
    component(folder, ("wasip3", name), body)
}
