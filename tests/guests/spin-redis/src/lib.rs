//! Keeps what each message says under its first word, and counts them: a component of Spin's Redis trigger.

use anyhow::{Context as _, bail};
use bytes::Bytes;
use spin_sdk::key_value::Store;
use spin_sdk::{redis_component, variables};

#[redis_component]
fn on_message(message: Bytes) -> anyhow::Result<()> {
    let text = std::str::from_utf8(&message)?;
    let (key, rest) = text.split_once(' ').context("a message has two words")?;
    let store = Store::open(&variables::get("bucket")?)?;
    if store.exists(key)? {
        bail!("'{key}' is there already");
    }
    store.set(key, rest.as_bytes())?;
    Ok(())
}
