//! `wasmcloud:messaging`: messages for the queues and topics that the function was granted.

use wasmtime::component::Linker;

use self::bound::wasmcloud::messaging::{consumer, types};
use super::interface::{Interface, Release};
use crate::runtime::state::keeper::{HasKeeper, Keeps, View};
use crate::runtime::state::trouble::Trouble;

mod bound {
    wasmtime::component::bindgen!({
        path: "wit/messaging.wit",
        world: "imports",
        imports: { default: async | trappable },
    });
}

const NAMES: &[&str] = &["wasmcloud:messaging/consumer", "wasmcloud:messaging/types"];
/// Why nothing is asked by messages.
const NO_ANSWERS: &str =
    "a message has no answer here: publish it, and let whoever takes it publish what it has to say";

pub(super) const fn interface<T: Keeps>() -> Interface<T> {
    Interface { release: Release::Wasip2, exactly: Some("0.2.0"), names: NAMES, link: |it| link(it) }
}

fn link<T: Keeps>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    types::add_to_linker::<T, HasKeeper>(linker, T::keeper)?;
    consumer::add_to_linker::<T, HasKeeper>(linker, T::keeper)
}

impl types::Host for View<'_> {}

impl consumer::Host for View<'_> {
    async fn request(
        &mut self,
        subject: String,
        _: Vec<u8>,
        _: u32,
    ) -> wasmtime::Result<Result<types::BrokerMessage, String>> {
        Ok(Err(format!("invalid-argument: request to '{subject}': {NO_ANSWERS}")))
    }

    async fn publish(&mut self, message: types::BrokerMessage) -> wasmtime::Result<Result<(), String>> {
        let types::BrokerMessage { subject, body, reply_to } = message;
        if let Some(reply_to) = reply_to {
            return Ok(Err(format!("invalid-argument: 'reply-to' is '{reply_to}': {NO_ANSWERS}")));
        }
        match View::publish(self, &subject, body).await {
            Ok(()) => Ok(Ok(())),
            Err(Trouble::Broken(error)) => Err(error),
            Err(Trouble::Denied) => {
                Ok(Err(format!("access-denied: '{subject}' is not one of the function's 'publish'")))
            }
            Err(trouble) => Ok(Err(trouble.to_string())),
        }
    }
}
