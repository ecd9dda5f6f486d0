//! Whether a program takes one call after another: found out by two calls of the node's own, before an instance of it serves
//! the second one of a caller.
//!
//! A function runs for its callers alone; so that this changes nothing in the world it is granted no host, nobody keeps what it
//! prints, and nobody is told what it took (docs/adr/0011).

use std::sync::{Arc, Weak};
use std::time::Duration;

use coracle_proto::attr;
use coracle_proto::id::{Epoch, InvocationId, VersionId, VersionNumber};
use coracle_proto::record::{Kind, Version};
use coracle_proto::status::Code;
use http::{HeaderName, HeaderValue, Request, header};
use http_body_util::BodyExt as _;

use super::after::{self, Manners};
use super::budget::Typical;
use super::invoke::{Invoker, Notes, Told};
use super::log::{Author, LogSink};
use super::usage::{Usage, UsageSink};
use crate::call::{Body, Call, CallError, Lease, Receipt, Trigger};
use crate::logs::Line;

/// Both calls together, to the ends of their answers: so long one program holds up the probes of others. Of who takes longer
/// nothing is found out: its instances are used again until one fails.
pub(super) const PROBE_MAX: Duration = Duration::from_secs(1);

impl Invoker {
    /// A version is ready: it is found out before its first call.
    pub(super) fn probe(self: &Arc<Self>, version: &Arc<Version>) {
        if !is_probed(version) {
            return;
        }
        // Nothing is loaded of which that is known.
        let manners = self.programs.known_manners(&version.digest);
        let Some(asked) = manners.as_ref().and_then(Asked::of) else { return };
        let (invoker, digest, kind) = (Arc::clone(self), version.digest, version.kind);
        let version = Arc::downgrade(version);
        // Where guests are in nobody's way.
        self.slow.handle().spawn(async move {
            if invoker.still_here(&version).is_none() {
                return;
            }
            // Before its turn, so that what is slow to load holds up no other. What cannot be loaded is found out by a call.
            if invoker.programs.get(&digest, kind).await.is_ok() {
                invoker.find_out_in_turn(asked, version).await;
            }
        });
    }

    /// A version was called: it is found out if nobody has begun to. Until it is known each call has a fresh instance.
    pub(super) fn probe_called(self: &Arc<Self>, version: &Arc<Version>, manners: &Arc<Manners>) {
        if !is_probed(version) {
            return;
        }
        let Some(asked) = Asked::of(manners) else { return };
        let (invoker, version) = (Arc::clone(self), Arc::downgrade(version));
        self.slow.handle().spawn(async move { invoker.find_out_in_turn(asked, version).await });
    }

    async fn find_out_in_turn(self: &Arc<Self>, asked: Asked, version: Weak<Version>) {
        let _turn = self.probing.lock().await;
        if let Some(version) = self.still_here(&version) {
            self.find_out(asked, &version).await;
        }
    }

    /// The version, unless it went while nobody waited for it: what takes no calls any more does not run, and code that was removed
    /// is not made known again.
    fn still_here(&self, version: &Weak<Version>) -> Option<Arc<Version>> {
        version.upgrade().filter(|version| self.programs.is_prepared(&version.digest))
    }

    async fn find_out(self: &Arc<Self>, asked: Asked, version: &Arc<Version>) {
        let probe = Probe::of(version);
        let failed = tokio::time::timeout(PROBE_MAX, self.two_calls(&probe)).await.unwrap_or(Ok(())).err();
        self.instances.rest().forget(&probe.version.id);
        if failed.as_ref().is_some_and(is_of_node) {
            return;
        }
        asked.learn(&probe.manners);
        let author = Author::new(Arc::clone(&self.told.logs), Arc::clone(version), probe.invocation, None);
        if let Some(error) = failed.filter(|_| probe.manners.serves_once()) {
            author.say(&format!("{}, when the node tried it before any caller did: {error}", after::OFF));
        } else if let Some(left) = probe.manners.holds() {
            author.say(&after::holds_on(left));
        }
    }

    /// Two calls of one instance, if the first leaves it as it should.
    pub(super) async fn two_calls(self: &Arc<Self>, probe: &Probe) -> Result<(), CallError> {
        let (program, _) = self.programs.get(&probe.version.digest, probe.version.kind).await?;
        let told = probe.told(program.program.memory_min());
        for _ in 0..2 {
            let mut body = self.serve(probe.call(), &told).await?.response.into_body();
            while let Some(frame) = body.frame().await {
                frame?;
            }
        }
        Ok(())
    }
}

/// Somebody finds out how a program takes calls. However that ends, it is asked again unless something was learnt.
struct Asked {
    manners: Arc<Manners>,
    learnt: bool,
}

impl Asked {
    /// `None` where nobody needs to.
    fn of(manners: &Arc<Manners>) -> Option<Self> {
        manners.ask().then(|| Self { manners: Arc::clone(manners), learnt: false })
    }

    fn learn(mut self, others: &Manners) {
        self.manners.learn(others);
        self.learnt = true;
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.learnt {
            self.manners.ask_again();
        }
    }
}

/// Whether it tells nothing of the program: the node had no room for it, at its beginning or as it grew.
fn is_of_node(error: &CallError) -> bool {
    error.not_started() || error.code() == Code::NodeOutOfMemory
}

/// Whether there is anything to find out: commands end with their call by what they are.
fn is_probed(version: &Version) -> bool {
    version.kind == Kind::HttpComponent && version.spec.reuse().is_some_and(|reuse| reuse.calls > 1)
}

/// A version as it is probed.
pub(super) struct Probe {
    /// With a number that none of the function's has: what rests of it serves nobody else.
    version: Arc<Version>,
    invocation: InvocationId,
    /// What is found out.
    manners: Arc<Manners>,
}

impl Probe {
    pub(super) fn of(version: &Version) -> Self {
        let id = VersionId { function: version.id.function.clone(), number: VersionNumber::new(0) };
        let spec = version.spec.clone().without_grants();
        let version = Arc::new(Version { id, spec, ..version.clone() });
        Self { version, invocation: InvocationId::new(rand::random()), manners: Arc::new(Manners::trusted()) }
    }

    /// Nobody; and what its calls come to is noted apart, of a program whose instances have so many bytes from their start.
    fn told(&self, memory_min: u64) -> Told {
        let typical = Arc::new(Typical::at_least(memory_min));
        let notes = Notes { habit: Arc::default(), typical, manners: Arc::clone(&self.manners) };
        Told { logs: Arc::new(Nobody), usage: Arc::new(Nobody), manners: Some(notes) }
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
            receipt: Receipt::default(),
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
    fn a_probe_has_no_grant_and_no_number_of_the_functions_and_says_what_it_is() {
        let hosts = vec!["example.org".to_owned()];
        let (keyvalue, publish) = (vec!["b".to_owned()], vec!["q".to_owned()]);
        let blobs = vec!["b".to_owned()];
        let env = [("A".to_owned(), "1".to_owned())].into();
        let reuse = Some(ReuseDraft::default());
        let real = version(Draft { hosts, env, reuse, keyvalue, blobs, publish, ..Draft::default() });
        let call = Probe::of(&real).call();
        assert!(call.version.spec.hosts().is_empty() && call.version.id != real.id);
        assert!(real.spec.has_state() && !call.version.spec.has_state());
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

    #[tokio::test]
    async fn what_was_asked_and_not_learnt_is_asked_again() {
        fn lost(_: Asked) {
            panic!("as a probe may");
        }
        let manners = Arc::new(Manners::default());
        let asked = Asked::of(&manners).unwrap();
        assert!(Asked::of(&manners).is_none(), "one does it for all");
        let ended = tokio::spawn(async move { lost(asked) }).await;
        assert!(ended.unwrap_err().is_panic());
        Asked::of(&manners).unwrap().learn(&Manners::trusted());
        assert!(Asked::of(&manners).is_none() && manners.serves_again());
    }
}
