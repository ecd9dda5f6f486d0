//! What a guest's end means to the caller.

use coracle_proto::status::Code;
use wasmtime::{PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;

use super::call::Signals;
use super::event::{NotTaken, Rejected};
use crate::call::CallError;

/// Names the error of a guest that did not end well.
pub(super) fn of_run(error: &wasmtime::Error, signals: &Signals) -> CallError {
    if error.downcast_ref::<PoolConcurrencyLimitError>().is_some() {
        return CallError::new(Code::Overloaded, "the node has no room for another instance");
    }
    if let Some(rejected) = error.downcast_ref::<Rejected>() {
        return CallError::new(Code::EventRejected, rejected.to_string());
    }
    if let Some(not_taken) = error.downcast_ref::<NotTaken>() {
        let code = match not_taken {
            NotTaken::Failed(_) => Code::FunctionFailed,
            NotTaken::Never(_) => Code::EventRejected,
        };
        return CallError::new(code, not_taken.to_string());
    }
    let refused = signals.memory_refused();
    if let Some(I32Exit(status)) = error.downcast_ref::<I32Exit>() {
        // It may have lived on well without what it was refused: why it exits, it alone knows.
        let hint = refused.map_or_else(String::new, |bound| {
            format!("; it had asked for more than the {bound} bytes that 'memory' grants")
        });
        let message = format!("the function exited with status {status}{hint}");
        return CallError::new(Code::FunctionFailed, message);
    }
    if let Some(full) = signals.node_full().filter(|_| may_lack_memory(error)) {
        let message = format!(
            "this node has no more memory for guests: they have {} of {} MiB ('--guests-memory')",
            full.given >> 20,
            full.max >> 20
        );
        return CallError::new(Code::NodeOutOfMemory, message);
    }
    let why = brief(error);
    match refused.filter(|_| may_lack_memory(error)) {
        Some(bound) => CallError::new(
            Code::MemoryExceeded,
            format!("the function asked for more than the {bound} bytes that 'memory' grants ({why})"),
        ),
        None => CallError::new(Code::FunctionTrapped, format!("the function trapped: {why}")),
    }
}

/// Whether it is what comes of a refused allocation: an abort, or the use of what was not given. What is no trap is
/// an instance that did not begin.
fn may_lack_memory(error: &wasmtime::Error) -> bool {
    let trap = error.downcast_ref::<Trap>();
    trap.is_none_or(|trap| {
        matches!(trap, Trap::UnreachableCodeReached | Trap::MemoryOutOfBounds | Trap::AllocationTooLarge)
    })
}

/// The trap's own text, or the error's innermost.
fn brief(error: &wasmtime::Error) -> String {
    match error.downcast_ref::<Trap>() {
        Some(trap) => trap.to_string(),
        None => error.root_cause().to_string(),
    }
}

/// Whether the guest exited and said that all is well.
pub(super) fn is_success(error: &wasmtime::Error) -> bool {
    error.downcast_ref::<I32Exit>().is_some_and(|exit| exit.0 == 0)
}
