//! `wasi:keyvalue`: values of the buckets that the function was granted. Both drafts that components are built for are here: the engine
//! takes no one for another, and they are of one mind behind [`View`](crate::runtime::state::keeper::View).

mod draft;
mod draft2;

use super::interface::{Interface, Release};
use crate::runtime::state::keeper::Keeps;

const NAMES: &[&str] = &["wasi:keyvalue/store", "wasi:keyvalue/atomics", "wasi:keyvalue/batch"];

pub(super) const fn draft<T: Keeps>() -> Interface<T> {
    Interface {
        release: Release::Wasip2,
        exactly: Some("0.2.0-draft"),
        names: NAMES,
        link: |it| draft::link(it),
    }
}

pub(super) const fn draft2<T: Keeps>() -> Interface<T> {
    Interface {
        release: Release::Wasip2,
        exactly: Some("0.2.0-draft2"),
        names: NAMES,
        link: |it| draft2::link(it),
    }
}
