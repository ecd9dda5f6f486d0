//! How many requests may be open: of one call, of one function, and of all.

use std::sync::Arc;

use coracle_proto::id::FunctionId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::OutboundError;
use super::meter::Meter;
use super::shares::{Full, Share, Shares, Whose};

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

/// The requests of one call of a function.
#[derive(Debug)]
pub struct Requests {
    function: FunctionId,
    open: Arc<Semaphore>,
    meter: Meter,
}

impl Requests {
    /// What they take of the processor.
    #[must_use]
    pub const fn meter(&self) -> &Meter {
        &self.meter
    }

    /// One whose requests have taken so much.
    #[cfg(test)]
    pub(crate) fn having(function: FunctionId, meter: Meter) -> Self {
        Self { function, open: Arc::new(Semaphore::new(0)), meter }
    }
}

/// Counts what is open.
#[derive(Debug)]
pub(super) struct Quota {
    call: u32,
    shares: Arc<Shares>,
}

/// An open request; dropping it ends it.
#[derive(Debug)]
pub(super) struct OpenRequest {
    share: Share,
    _of_call: OwnedSemaphorePermit,
}

impl Quota {
    pub(super) fn new(max: RequestsMax) -> Self {
        Self { call: max.call, shares: Shares::new(max.node, max.function) }
    }

    /// Of a call that has none yet.
    pub(super) fn requests_of(&self, function: FunctionId) -> Requests {
        let open = Arc::new(Semaphore::new(self.call as usize));
        Requests { function, open, meter: Meter::default() }
    }

    /// Counts a request, or names the bound that is reached.
    pub(super) fn begin(&self, requests: &Requests) -> Result<OpenRequest, OutboundError> {
        let too_many = |whose, max| OutboundError::TooMany { whose, max };
        let of_call = Arc::clone(&requests.open).try_acquire_owned();
        let of_call = of_call.map_err(|_| too_many(Whose::Call, self.call))?;
        let share = self.shares.take(&requests.function);
        let share = share.map_err(|Full { whose, max }| too_many(whose, max))?;
        Ok(OpenRequest { share, _of_call: of_call })
    }
}

impl OpenRequest {
    /// Whose it is.
    pub(super) fn function(&self) -> &FunctionId {
        self.share.function()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whose(result: Result<OpenRequest, OutboundError>) -> Option<(Whose, u32)> {
        match result {
            Err(OutboundError::TooMany { whose, max }) => Some((whose, max)),
            Err(error) => panic!("{error}"),
            Ok(_) => None,
        }
    }

    #[test]
    fn each_bound_is_kept_and_named_and_freed() {
        let quota = Quota::new(RequestsMax { node: 6, function: 4, call: 3 });
        let caller = |name| quota.requests_of(FunctionId::parse("", name).unwrap());
        let (first, second, other) = (caller("f"), caller("f"), caller("g"));
        let mut open: Vec<_> = (0..3).map(|_| quota.begin(&first).unwrap()).collect();
        assert_eq!(whose(quota.begin(&first)), Some((Whose::Call, 3)));
        open.push(quota.begin(&second).unwrap());
        assert_eq!(whose(quota.begin(&second)), Some((Whose::Function, 4)));
        open.extend((0..2).map(|_| quota.begin(&other).unwrap()));
        assert_eq!(whose(quota.begin(&other)), Some((Whose::Node, 6)));
        // What was refused holds nothing, and what ended neither.
        open.clear();
        assert_eq!(quota.shares.under_way(), (0, 0));
        assert!((0..3).all(|_| whose(quota.begin(&second)).is_none()));
    }
}
