//! How much of one thing may be under way at once: of all functions of a node together, and of each of them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_proto::id::FunctionId;

/// Whose bound was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// Of all guests.
    Node,
    /// Of all calls of one function.
    Function,
    /// Of one call.
    Call,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Node => "all of its functions together",
            Self::Function => "the function",
            Self::Call => "the call",
        })
    }
}

/// A bound that is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) whose: Whose,
    pub(super) max: u32,
}

/// Counts what is under way.
#[derive(Debug)]
pub(super) struct Shares {
    node: u32,
    function: u32,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: u32,
    /// Of each function that has any.
    functions: HashMap<FunctionId, u32>,
}

/// One that is under way; dropping it ends it.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    function: FunctionId,
}

impl Shares {
    /// So many of all functions, and so many of each.
    pub(super) fn new(node: u32, function: u32) -> Arc<Self> {
        Arc::new(Self { node, function, taken: Mutex::default() })
    }

    /// Counts one more, or names the bound that is reached.
    pub(super) fn take(self: &Arc<Self>, function: &FunctionId) -> Result<Share, Full> {
        let mut taken = self.taken();
        let already = taken.functions.get(function).copied().unwrap_or(0);
        if already >= self.function {
            return Err(Full { whose: Whose::Function, max: self.function });
        }
        if taken.all >= self.node {
            return Err(Full { whose: Whose::Node, max: self.node });
        }
        taken.all += 1;
        taken.functions.insert(function.clone(), already + 1);
        drop(taken);
        Ok(Share { shares: Arc::clone(self), function: function.clone() })
    }

    /// How many are under way, and of how many functions.
    #[cfg(test)]
    pub(super) fn under_way(&self) -> (u32, usize) {
        let taken = self.taken();
        (taken.all, taken.functions.len())
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Whose it is.
    pub(super) fn function(&self) -> &FunctionId {
        &self.function
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        taken.all = taken.all.saturating_sub(1);
        if let Some(its) = taken.functions.get_mut(&self.function) {
            *its = its.saturating_sub(1);
            if *its == 0 {
                taken.functions.remove(&self.function);
            }
        }
    }
}
