//! Calls that are open at this gateway, and how many of them each caller may have.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use coracle_proto::status::Code;

use crate::call::CallError;

/// Bits of an IPv6 address that tell one caller from another: whoever has one address of a network may use all of it.
const NETWORK_BITS: u32 = 64;

/// The places of open calls. A caller may have as many as are free: one alone has half of them at most, the next one that
/// holds on to what it gets half of the rest.
#[derive(Debug)]
pub(super) struct OpenCalls {
    max: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// Of each caller that has any: bounded by the places.
    callers: HashMap<IpAddr, usize>,
}

/// The place of one call, until the last byte of its answer has left; dropping it gives it back.
#[derive(Debug)]
pub(super) struct OpenCall {
    calls: Arc<OpenCalls>,
    caller: IpAddr,
}

impl OpenCalls {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, state: Mutex::new(State { free: max, callers: HashMap::new() }) })
    }

    /// Counts a call, or refuses it.
    pub(super) fn enter(self: &Arc<Self>, caller: IpAddr) -> Result<OpenCall, CallError> {
        let caller = network(caller);
        let mut state = self.state();
        let (free, max) = (state.free, self.max);
        let refused = |said| Err(CallError::new(Code::Overloaded, said));
        if free == 0 {
            return refused(format!("{max} calls are open at this gateway"));
        }
        let open = state.callers.entry(caller).or_default();
        if *open >= free {
            return refused(format!(
                "{open} of the {max} calls that may be open at this gateway are of '{caller}', and no caller has more \
                 than are free"
            ));
        }
        *open += 1;
        state.free -= 1;
        drop(state);
        Ok(OpenCall { calls: Arc::clone(self), caller })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.max - self.state().free
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        let mut state = self.calls.state();
        state.free += 1;
        if let Some(open) = state.callers.get_mut(&self.caller) {
            *open -= 1;
            if *open == 0 {
                state.callers.remove(&self.caller);
            }
        }
    }
}

fn network(caller: IpAddr) -> IpAddr {
    match caller.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> NETWORK_BITS << NETWORK_BITS).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(calls: &Arc<OpenCalls>, caller: &str) -> Vec<OpenCall> {
        std::iter::from_fn(|| calls.enter(caller.parse().unwrap()).ok()).collect()
    }

    #[test]
    fn one_that_holds_on_to_its_calls_leaves_half_to_others() {
        let calls = OpenCalls::new(64);
        let mut held = vec![fill(&calls, "10.0.0.1")];
        assert_eq!(held[0].len(), 32, "half of them");
        for host in 2..=6 {
            held.push(fill(&calls, &format!("10.0.0.{host}")));
            assert!(!held.last().unwrap().is_empty(), "nothing for {host}");
        }
        held.clear();
        assert_eq!((calls.count(), calls.state().callers.len()), (0, 0));
    }

    #[test]
    fn the_addresses_of_one_network_are_one_caller() {
        let calls = OpenCalls::new(8);
        let _held = fill(&calls, "2001:db8::1");
        let refused = calls.enter("2001:db8::ffff:2".parse().unwrap()).unwrap_err();
        assert_eq!(refused.code(), Code::Overloaded);
        assert!(refused.to_string().contains("4 of the 8"), "{refused}");
        assert!(calls.enter("2001:db8:0:1::1".parse().unwrap()).is_ok());
        // However a socket of both families writes it.
        let _mapped = calls.enter("::ffff:10.0.0.1".parse().unwrap()).unwrap();
        assert!(calls.state().callers.contains_key(&"10.0.0.1".parse::<IpAddr>().unwrap()));
    }
}
