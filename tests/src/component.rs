//! Components that are made of text, so that what they ask of their host stands beside the test.

use std::path::{Path, PathBuf};

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use crate::guests::guest;

/// Writes the component of `tests/guests/NAME` into `folder`.
///
/// # Panics
/// When its text is no component.
#[must_use]
pub fn text_component(folder: &Path, name: &str) -> PathBuf {
    component(folder, (name, name), "")
}

/// Writes the component that a folder of `tests/guests` has as text, `guest.wat` of the world `guest` in `guest.wit`, into
/// `folder`; `body` stands where the text says `;; BODY`.
///
/// # Panics
/// When the text is no component.
pub(crate) fn component(folder: &Path, (kind, name): (&str, &str), body: &str) -> PathBuf {
    let text = |file: &str| std::fs::read_to_string(guest(kind).join(file)).expect("a text");
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
