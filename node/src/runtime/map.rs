//! Mapping compiled code: the one unsafe step, taken only with code that this node's compiler wrote.
#![allow(unsafe_code, reason = "a mapped file is run as native code: only a `Verified` one gets here")]

use wasmtime::component::Component;
use wasmtime::{Engine, Module};

use super::cache::Verified;

/// Maps a compiled component.
pub(super) fn component(engine: &Engine, code: &Verified) -> wasmtime::Result<Component> {
    // SAFETY: the file was written by this node's compile child and is unchanged since (its keyed hash was checked in
    // this process); its folder can be written by this user only, and files in it are never written twice.
    unsafe { Component::deserialize_file(engine, code.path()) }
}

/// Maps a compiled core module.
pub(super) fn module(engine: &Engine, code: &Verified) -> wasmtime::Result<Module> {
    // SAFETY: as above.
    unsafe { Module::deserialize_file(engine, code.path()) }
}
