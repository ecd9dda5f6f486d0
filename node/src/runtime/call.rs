//! What one invocation brings, and what is seen of it while it runs. Nothing of it outlives the call: an instance holds it
//! for as long as it serves.

mod account;
mod deadline;
mod ending;
mod signals;
mod watch;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use coracle_proto::record::Version;
use coracle_proto::spec::Limits;
use coracle_proto::trace;
use http::{HeaderMap, HeaderName, HeaderValue};

pub(super) use self::account::Account;
pub(super) use self::deadline::Deadline;
pub(super) use self::ending::Ending;
pub(super) use self::signals::Signals;
pub(super) use self::watch::Watch;
use super::log::Author;
use crate::hops;
use crate::outbound::{Egress, Requests};

/// Shared by the call's guest, its bodies, and whoever waits for its answer.
pub(super) struct CallContext {
    pub(super) version: Arc<Version>,
    /// Whose lines it prints.
    pub(super) author: Arc<Author>,
    /// What it takes.
    pub(super) account: Account,
    pub(super) watch: Watch,
    pub(super) signals: Signals,
    onward: Onward,
    /// Calls in a row, of which this is the last one.
    hops: u32,
    /// Its own requests, once it has made one.
    requests: OnceLock<Requests>,
}

/// What the call's own requests say of the chain of calls that they go on with.
struct Onward {
    traceparent: Option<HeaderValue>,
    tracestate: Option<HeaderValue>,
    hops: HeaderValue,
}

impl CallContext {
    /// A call that says in its `headers` which chain of calls it goes on with.
    pub(super) fn new(
        version: Arc<Version>,
        author: Arc<Author>,
        account: Account,
        headers: &HeaderMap,
    ) -> Arc<Self> {
        let onward = Onward {
            traceparent: headers.get(trace::TRACEPARENT).cloned(),
            tracestate: headers.get(trace::TRACESTATE).cloned(),
            hops: hops::onward(headers),
        };
        let watch = Watch::new(account.began(), version.spec.limits().idle_timeout);
        let (signals, requests) = (Signals::default(), OnceLock::new());
        let hops = hops::so_far(headers).saturating_add(1);
        Arc::new(Self { version, author, account, watch, signals, onward, hops, requests })
    }

    /// The bounds of the call.
    pub(super) fn limits(&self) -> Limits {
        self.version.spec.limits()
    }

    /// Tells in a request of the guest's own which chain of calls it goes on with, unless it tells a trace itself.
    pub(super) fn write_onward(&self, headers: &mut HeaderMap) {
        let Onward { traceparent, tracestate, hops } = &self.onward;
        if !headers.contains_key(trace::TRACEPARENT) {
            for (name, value) in [(trace::TRACEPARENT, traceparent), (trace::TRACESTATE, tracestate)] {
                if let Some(value) = value {
                    headers.insert(HeaderName::from_static(name), value.clone());
                }
            }
        }
        headers.insert(hops::CDN_LOOP, hops.clone());
    }

    /// How many calls in a row what it causes has behind it.
    pub(super) const fn next_hops(&self) -> u32 {
        self.hops
    }

    /// Among whose requests the guest's own ones are counted.
    pub(super) fn requests(&self, egress: &Egress) -> &Requests {
        self.requests.get_or_init(|| egress.requests_of(self.version.id.function.clone()))
    }

    /// Its requests have taken so much.
    #[cfg(test)]
    pub(super) fn has_requests(&self, meter: crate::outbound::Meter) {
        let requests = Requests::having(self.version.id.function.clone(), meter);
        assert!(self.requests.set(requests).is_ok());
    }

    /// What others did for its requests, which counts as its own.
    pub(super) fn requests_cpu(&self) -> Duration {
        self.requests.get().map_or(Duration::ZERO, |requests| requests.meter().used())
    }
}

impl Drop for CallContext {
    fn drop(&mut self) {
        self.account.computed(self.requests_cpu());
    }
}

#[cfg(test)]
pub(super) mod tests {
    use coracle_proto::id::{Digest, FunctionId, InvocationId, VersionId, VersionNumber};
    use coracle_proto::record::Kind;
    use coracle_proto::spec::{Draft, FunctionSpec};

    use super::super::tests::{Lines, Usages};
    use super::*;
    use crate::call::Receipt;

    /// One whose trace is `00-ab-cd-01`, on its second hop, and its log.
    pub(in super::super) fn invocation(draft: Draft) -> (Arc<CallContext>, Arc<Lines>) {
        let function = FunctionId::parse("", "f").unwrap();
        let version = Arc::new(Version {
            id: VersionId { function, number: VersionNumber::new(1) },
            digest: Digest::new([0; 32]),
            size: 0,
            kind: Kind::HttpComponent,
            spec: FunctionSpec::new(draft).unwrap(),
            created_ms: 0,
            trace: String::new(),
        });
        let lines = Arc::<Lines>::default();
        let sink = Arc::<Lines>::clone(&lines);
        let author = Author::new(sink, Arc::clone(&version), InvocationId::new(1), None);
        let (usage, receipt) = (Arc::<Usages>::default(), Receipt::default());
        let account = Account::new(usage, Arc::clone(&version), InvocationId::new(1), "http", receipt);
        let headers = [("traceparent", "00-ab-cd-01"), ("cdn-loop", "a")];
        let headers = headers.map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        let headers = HeaderMap::from_iter(headers);
        (CallContext::new(version, Arc::new(author), account, &headers), lines)
    }
}
