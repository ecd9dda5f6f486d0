//! What a guest's end means to the caller.

use coracle_proto::status::Code;
use wasmtime::{PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;

use super::guest::Signals;
use crate::call::CallError;

/// What is told of a trap.
const MESSAGE_BYTES_MAX: usize = 1000;

/// Names the error of a guest that did not end well.
pub(super) fn of_run(error: &wasmtime::Error, signals: &Signals) -> CallError {
    if let Some(bound) = signals.memory_refused() {
        return CallError::new(
            Code::MemoryExceeded,
            format!(
                "the function asked for more than the {bound} bytes that 'memory' grants ({})",
                brief(error)
            ),
        );
    }
    if let Some(I32Exit(status)) = error.downcast_ref::<I32Exit>() {
        return CallError::new(Code::FunctionFailed, format!("the function exited with status {status}"));
    }
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return CallError::new(Code::Overloaded, "the node has no room for another instance");
    }
    CallError::new(Code::FunctionTrapped, format!("the function trapped: {}", brief(error)))
}

/// The trap's own text, or the error's innermost.
fn brief(error: &wasmtime::Error) -> String {
    let mut text = match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    };
    if text.len() > MESSAGE_BYTES_MAX {
        let end = (0..=MESSAGE_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
    }
    text
}

/// Whether the guest exited and said that all is well.
pub(super) fn is_success(error: &wasmtime::Error) -> bool {
    error.downcast_ref::<I32Exit>().is_some_and(|exit| exit.0 == 0)
}
