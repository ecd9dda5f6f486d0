//! Functions of WASI 0.3, made of text: `tests/guests/wasip3` has what they see of the host, and the functions they have.

use std::path::{Path, PathBuf};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::guests::guest;

/// Answers `0123`.
pub const HELLO: &str = "(call $head) (call $print (i32.const 1024) (i32.const 4)) (call $finish)";

/// Writes a component of `wasi:http` 0.3 whose handler is `body` into `folder`.
///
/// # Panics
/// When the text is no component.
#[must_use]
pub fn service(folder: &Path, name: &str, body: &str) -> PathBuf {
    let text = |file: &str| std::fs::read_to_string(guest("wasip3").join(file)).expect("a text");
    let mut module = wat::parse_str(text("guest.wat").replace(";; BODY", body)).expect("a module");
    let mut resolve = Resolve::default();
    let package = resolve.push_source("guest.wit", &text("guest.wit")).expect("a package");
    let world = resolve.select_world(&[package], Some("guest")).expect("a world");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
        .expect("a module of the world");
    let encoder = ComponentEncoder::default().module(&module).expect("a module of the world");
    let path = folder.join(format!("{name}.wasm"));
    std::fs::write(&path, encoder.validate(true).encode().expect("a component")).expect("written");
    path
}
