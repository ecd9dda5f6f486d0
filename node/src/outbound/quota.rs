//! How many requests may be open: of one call, of one function, and of all.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_proto::id::FunctionId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::OutboundError;

/// How many requests may be open at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct RequestsMax {
    /// Of all guests of a node: each has a socket.
    pub(super) node: u32,
    /// Of one function, however many calls it has: half, so that others find as many.
    pub(super) function: u32,
    /// Of one call: more than browsers open to all hosts together, and few enough that the calls of one function, of
    /// which there are about a hundred for two cores, do not wait for one of them.
    pub(super) call: u32,
}

impl RequestsMax {
    pub(super) const DEFAULTS: Self = Self { node: 1024, function: 512, call: 64 };
}

const _: () = {
    let RequestsMax { node, function, call } = RequestsMax::DEFAULTS;
    assert!(function <= node / 2 && call <= function / 8);
};

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

/// One call of a function, which makes requests.
#[derive(Debug)]
pub struct Caller {
    function: FunctionId,
    requests: Arc<Semaphore>,
}

/// Counts what is open.
#[derive(Debug)]
pub(super) struct Quota {
    max: RequestsMax,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    all: u32,
    /// Of each function that has any.
    functions: HashMap<FunctionId, u32>,
}

/// An open request; dropping it ends it.
#[derive(Debug)]
pub(super) struct Request {
    quota: Arc<Quota>,
    function: FunctionId,
    _of_call: OwnedSemaphorePermit,
}

impl Quota {
    pub(super) fn new(max: RequestsMax) -> Arc<Self> {
        Arc::new(Self { max, open: Mutex::default() })
    }

    /// A call that has no request yet.
    pub(super) fn caller(&self, function: FunctionId) -> Caller {
        Caller { function, requests: Arc::new(Semaphore::new(self.max.call as usize)) }
    }

    /// Counts a request, or names the bound that is reached.
    pub(super) fn begin(self: &Arc<Self>, caller: &Caller) -> Result<Request, OutboundError> {
        let RequestsMax { node, function: of_function, call } = self.max;
        let too_many = |whose, max| OutboundError::TooMany { whose, max };
        let of_call = Arc::clone(&caller.requests).try_acquire_owned();
        let of_call = of_call.map_err(|_| too_many(Whose::Call, call))?;
        let function = caller.function.clone();
        let mut open = self.open();
        let already = open.functions.get(&function).copied().unwrap_or(0);
        if already >= of_function {
            return Err(too_many(Whose::Function, of_function));
        }
        if open.all >= node {
            return Err(too_many(Whose::Node, node));
        }
        open.all += 1;
        open.functions.insert(function.clone(), already + 1);
        drop(open);
        Ok(Request { quota: Arc::clone(self), function, _of_call: of_call })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut open = self.quota.open();
        open.all = open.all.saturating_sub(1);
        if let Some(requests) = open.functions.get_mut(&self.function) {
            *requests = requests.saturating_sub(1);
            if *requests == 0 {
                open.functions.remove(&self.function);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whose(result: Result<Request, OutboundError>) -> Option<(Whose, u32)> {
        match result {
            Err(OutboundError::TooMany { whose, max }) => Some((whose, max)),
            Err(error) => panic!("{error}"),
            Ok(_) => None,
        }
    }

    #[test]
    fn each_bound_is_kept_and_named_and_freed() {
        let quota = Quota::new(RequestsMax { node: 6, function: 4, call: 3 });
        let caller = |name| quota.caller(FunctionId::parse("", name).unwrap());
        let (first, second, other) = (caller("f"), caller("f"), caller("g"));
        let mut open: Vec<_> = (0..3).map(|_| quota.begin(&first).unwrap()).collect();
        assert_eq!(whose(quota.begin(&first)), Some((Whose::Call, 3)));
        open.push(quota.begin(&second).unwrap());
        assert_eq!(whose(quota.begin(&second)), Some((Whose::Function, 4)));
        open.extend((0..2).map(|_| quota.begin(&other).unwrap()));
        assert_eq!(whose(quota.begin(&other)), Some((Whose::Node, 6)));
        // What was refused holds nothing, and what ended neither.
        open.clear();
        assert!(quota.open().functions.is_empty() && quota.open().all == 0);
        assert!((0..3).all(|_| whose(quota.begin(&second)).is_none()));
    }
}
