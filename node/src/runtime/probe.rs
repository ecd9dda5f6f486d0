//! Whether a program takes one call after another: found out by two calls of the node's own, before an instance of it serves
//! the second one of a caller.
//!
//! A function runs for its callers alone; so that this changes nothing in the world it is granted no host, nobody keeps what it
//! prints, and nobody is told what it took (docs/adr/0011).

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::attr;
use coracle_proto::id::{Epoch, InvocationId, VersionId, VersionNumber};
use coracle_proto::record::{Kind, Version};
use http::{HeaderName, HeaderValue, Request, header};
use http_body_util::BodyExt as _;
use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use super::after::{self, Manners};
use super::invoke::{Invoker, Told};
use super::log::{Author, LogSink};
use super::usage::{Usage, UsageSink};
use crate::call::{Body, Call, CallError, Lease, Trigger};
use crate::logs::Line;

/// Both calls together, to the ends of their answers. Of who takes longer nothing is found out: its instances are used again
/// until one fails.
pub(super) const PROBE_MAX: Duration = Duration::from_secs(1);

impl Invoker {
    /// A version is ready: it is found out before its first call.
    pub(super) fn probe(self: &Arc<Self>, version: &Arc<Version>) {
        if !is_probed(version) {
            return;
        }
        let (invoker, version) = (Arc::clone(self), Arc::clone(version));
        // Where guests are in nobody's way.
        self.slow.handle().spawn(async move {
            let _turn = invoker.probing.lock().await;
            // What cannot be loaded now is found out when it is called.
            let Ok((program, _)) = invoker.programs.get(&version.digest, version.kind).await else { return };
            if program.manners.ask() {
                invoker.find_out(&program.manners, &version).await;
            }
        });
    }

    /// A version is called: it is found out if nobody has begun to. Until it is known each call has a fresh instance.
    pub(super) fn probe_called(self: &Arc<Self>, version: &Arc<Version>, manners: &Arc<Manners>) {
        if !is_probed(version) || !manners.ask() {
            return;
        }
        let (invoker, version, manners) = (Arc::clone(self), Arc::clone(version), Arc::clone(manners));
        self.slow.handle().spawn(async move {
            let _turn = invoker.probing.lock().await;
            invoker.find_out(&manners, &version).await;
        });
    }

    async fn find_out(self: &Arc<Self>, manners: &Manners, version: &Arc<Version>) {
        let probe = Probe::of(version);
        // A trace of its own for each would hide those of callers.
        let calls = self.two_calls(&probe).with_subscriber(NoSubscriber::default());
        let failed = tokio::time::timeout(PROBE_MAX, calls).await.unwrap_or(Ok(())).err();
        self.instances.rest().forget(&probe.version.id);
        if failed.as_ref().is_some_and(CallError::not_started) {
            return manners.ask_again();
        }
        manners.learn(&probe.manners);
        let author = Author::new(Arc::clone(&self.told.logs), Arc::clone(version), probe.invocation, None);
        if let Some(error) = failed.filter(|_| probe.manners.serves_once()) {
            author.say(&format!("{}, when the node tried it before any caller did: {error}", after::OFF));
        } else if let Some(left) = probe.manners.holds() {
            author.say(&after::holds_on(left));
        }
    }

    async fn two_calls(self: &Arc<Self>, probe: &Probe) -> Result<(), CallError> {
        let manners = Some(Arc::clone(&probe.manners));
        let told = Told { logs: Arc::new(Nobody), usage: Arc::new(Nobody), manners };
        for _ in 0..2 {
            let mut body = self.serve(probe.call(), &told).await?.response.into_body();
            while let Some(frame) = body.frame().await {
                frame?;
            }
        }
        Ok(())
    }
}

/// Whether there is anything to find out: commands end with their call by what they are.
fn is_probed(version: &Version) -> bool {
    version.kind == Kind::HttpComponent && version.spec.reuse().is_some_and(|reuse| reuse.calls > 1)
}

/// A version as it is probed.
struct Probe {
    /// With a number that none of the function's has: what rests of it serves nobody else.
    version: Arc<Version>,
    invocation: InvocationId,
    /// What is found out.
    manners: Arc<Manners>,
}

impl Probe {
    fn of(version: &Version) -> Self {
        let id = VersionId { function: version.id.function.clone(), number: VersionNumber::new(0) };
        let spec = version.spec.clone().without_hosts();
        let version = Arc::new(Version { id, spec, ..version.clone() });
        Self { version, invocation: InvocationId::new(rand::random()), manners: Arc::new(Manners::trusted()) }
    }

    fn call(&self) -> Call {
        let mut request = Request::new(Body::default());
        let headers = request.headers_mut();
        headers.insert(header::HOST, HeaderValue::from_static("localhost"));
        headers.insert(HeaderName::from_static(attr::HEADER_PROBE), HeaderValue::from_static("reuse"));
        Call {
            version: Arc::clone(&self.version),
            epoch: Epoch::default(),
            invocation: self.invocation,
            attempt: 1,
            trigger: Trigger::Http { route: String::new(), remote: None },
            head_timeout: self.version.spec.limits().timeout,
            request,
            lease: Lease::default(),
        }
    }
}

/// Who keeps nothing.
#[derive(Debug)]
struct Nobody;

impl LogSink for Nobody {
    fn line(&self, _: Line<'_>) -> bool {
        false
    }

    fn lost(&self, _: &VersionId, _: u64) {}
}

impl UsageSink for Nobody {
    fn used(&self, _: Usage) {}
}

#[cfg(test)]
mod tests {
    use coracle_proto::spec::{Draft, ReuseDraft};

    use super::super::call::tests::invocation;
    use super::*;

    fn version(draft: Draft) -> Arc<Version> {
        Arc::clone(&invocation(draft).0.version)
    }

    #[test]
    fn a_probe_has_no_host_and_no_number_of_the_functions_and_says_what_it_is() {
        let hosts = vec!["example.org".to_owned()];
        let env = [("A".to_owned(), "1".to_owned())].into();
        let real = version(Draft { hosts, env, reuse: Some(ReuseDraft::default()), ..Draft::default() });
        let call = Probe::of(&real).call();
        assert!(call.version.spec.hosts().is_empty() && call.version.id != real.id);
        assert_eq!(call.version.spec.env(), real.spec.env());
        assert_eq!(call.version.spec.limits(), real.spec.limits());
        assert_eq!((call.request.method().as_str(), call.request.uri().path()), ("GET", "/"));
        assert_eq!(call.request.headers()["coracle-probe"], "reuse");
    }

    #[test]
    fn only_what_would_serve_again_is_probed() {
        let reuse = |calls| Draft { reuse: Some(ReuseDraft { calls, age_ms: 0 }), ..Draft::default() };
        assert!(is_probed(&version(reuse(2))));
        assert!(!is_probed(&version(reuse(1))) && !is_probed(&version(Draft::default())));
        let command = Version { kind: Kind::CommandComponent, ..Version::clone(&version(reuse(2))) };
        assert!(!is_probed(&command));
    }
}
