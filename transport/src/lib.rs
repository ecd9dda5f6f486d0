//! The one way out of a process and the one way in: every gRPC connection between two processes is made by a [`Dialer`] and
//! taken by an [`Acceptor`].
//!
//! A caller says what a connection is for ([`Purpose`]), a server which port it is ([`Port`]); how such a connection is kept
//! stands here, side by side. What all connections need one day, such as to know who is at the other end, is put here, once.

mod accept;
pub mod calls;
mod dial;
mod purpose;

pub use accept::{Acceptor, Port};
pub use dial::Dialer;
pub use purpose::Purpose;
