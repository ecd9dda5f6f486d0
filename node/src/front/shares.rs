//! Something of which there is so much, and of which no caller has more than is free.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_ports::network;

/// A caller may have as much as is free: one alone has half of all at most, the next one that holds on to what it gets
/// half of the rest.
#[derive(Debug)]
pub(super) struct Shares {
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Of each caller that has any: bounded by what there is.
    callers: HashMap<IpAddr, usize>,
}

/// A part of it; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Share {
    shares: Arc<Shares>,
    caller: IpAddr,
    count: usize,
}

/// Why there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Short {
    /// Nobody gets so much.
    All,
    /// This caller has so much already.
    Caller(IpAddr, usize),
}

impl Shares {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, state: Mutex::new(State { free: max, callers: HashMap::new() }) })
    }

    pub(super) const fn max(&self) -> usize {
        self.max
    }

    /// So much of it for a caller.
    pub(super) fn take(self: &Arc<Self>, caller: IpAddr, count: usize) -> Result<Share, Short> {
        let caller = network(caller);
        let mut state = self.state();
        let Some(rest) = state.free.checked_sub(count) else { return Err(Short::All) };
        let its = state.callers.get(&caller).copied().unwrap_or(0);
        if its.saturating_add(count) > state.free {
            return Err(Short::Caller(caller, its));
        }
        state.callers.insert(caller, its + count);
        state.free = rest;
        drop(state);
        Ok(Share { shares: Arc::clone(self), caller, count })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much is taken.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.max - self.state().free
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut state = self.shares.state();
        state.free += self.count;
        if let Some(its) = state.callers.get_mut(&self.caller) {
            *its -= self.count;
            if *its == 0 {
                state.callers.remove(&self.caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(shares: &Arc<Shares>, caller: &str) -> Vec<Share> {
        std::iter::from_fn(|| shares.take(caller.parse().unwrap(), 1).ok()).collect()
    }

    #[test]
    fn one_that_holds_on_to_what_it_has_leaves_half_to_others() {
        let shares = Shares::new(64);
        let mut held = vec![fill(&shares, "10.0.0.1")];
        assert_eq!(held[0].len(), 32, "half of them");
        for host in 2..=6 {
            held.push(fill(&shares, &format!("10.0.0.{host}")));
            assert!(!held.last().unwrap().is_empty(), "nothing for {host}");
        }
        held.clear();
        let callers = shares.state().callers.len();
        assert_eq!((shares.count(), callers), (0, 0));
    }

    #[test]
    fn the_addresses_of_one_network_are_one_caller() {
        let shares = Shares::new(8);
        let _held = fill(&shares, "2001:db8::1");
        let short = shares.take("2001:db8::ffff:2".parse().unwrap(), 1).unwrap_err();
        assert_eq!(short, Short::Caller("2001:db8::".parse().unwrap(), 4));
        assert!(shares.take("2001:db8:0:1::1".parse().unwrap(), 1).is_ok());
    }

    #[test]
    fn what_is_large_is_bounded_like_what_is_small() {
        let shares = Shares::new(10);
        let caller = "10.0.0.1".parse().unwrap();
        assert_eq!(shares.take(caller, 11).unwrap_err(), Short::All);
        let held = shares.take(caller, 5).unwrap();
        assert_eq!(shares.take(caller, 1).unwrap_err(), Short::Caller(caller, 5));
        assert!(shares.take("10.0.0.2".parse().unwrap(), 5).is_ok(), "others may");
        drop(held);
        assert_eq!(shares.count(), 0);
    }
}
