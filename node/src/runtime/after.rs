//! What becomes of an instance when its call has ended well: it rests, where its function has asked for that and the program
//! can take one call after another.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::call::CallContext;
use super::instance::Instance;
use super::rest::Rest;
use crate::clock;

/// Whether instances of a program can take one call after another, as far as it is known.
#[derive(Debug, Default)]
pub(super) struct Manners {
    /// One that had served a call failed at the next.
    serves_once: AtomicBool,
    /// Somebody was told of what it leaves behind.
    told: AtomicBool,
}

impl Manners {
    /// Whether it is not even tried.
    pub(super) fn serves_once(&self) -> bool {
        self.serves_once.load(Ordering::Relaxed)
    }
}

/// Where the instance of a call goes.
pub(super) struct After {
    pub(super) rest: Arc<Rest>,
    /// Of the program.
    pub(super) manners: Arc<Manners>,
}

impl After {
    /// The call has ended as it should.
    pub(super) fn ended(&self, mut instance: Instance, invocation: &CallContext) {
        let Some(reuse) = invocation.version.spec.reuse().filter(|_| !self.manners.serves_once()) else {
            return;
        };
        // The guest returned, and its answer may have failed all the same, or do so later: whatever rests asks for that.
        let Some(ending) = invocation.account.ending() else { return };
        let left = instance.end();
        if left == 0 && !ending.is_broken() && instance.may_serve(reuse, clock::now()) {
            self.rest.keep(&invocation.version, instance, ending.clone());
        } else if left > 0 && !self.manners.told.swap(true, Ordering::Relaxed) {
            invocation.author.say(&format!(
                "'reuse' has no effect: the function holds on to {left} resources of calls that have ended (the request, a \
                 body, header fields, streams that it opens at each call), and such an instance serves no other call"
            ));
        }
    }

    /// The guest trapped. One that fails at its second call, whatever that is, may be made for one alone.
    pub(super) fn trapped(&self, instance: &Instance, invocation: &CallContext) {
        if instance.serves_second() && !self.manners.serves_once.swap(true, Ordering::Relaxed) {
            // Those at rest are of the same program. Whoever puts one there just now is not waited for: nobody takes it.
            self.rest.forget(&invocation.version.id);
            invocation.author.say(
                "'reuse' is off until the function's code is loaded anew: an instance that had served a call trapped at the next",
            );
        }
    }
}
