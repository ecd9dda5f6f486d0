//! Calls that are made again, uncounted, for what others did meanwhile: each time a message comes back later.

use std::time::{Duration, Instant};

use coracle_proto::id::Namespace;
use coracle_proto::status::{Code, Refusal};
use futures::StreamExt as _;
use futures::stream;

use super::Inner;
use super::offers::Offers;
use crate::blobs::At;
use crate::call::Effect;
use crate::clock;
use crate::runtime::State;
use crate::stores::{Settlement, Ticket, Verdict};
use crate::values::Bucket;

/// After the first time that somebody else changed what a call had read: about as long as it takes to change it.
const OVERTAKEN_MIN: Duration = Duration::from_millis(50);
/// However often it was.
const OVERTAKEN_MAX: Duration = Duration::from_secs(2);
/// After the first time that a queue or a bucket had no room for what a call did.
const FULL_MIN: Duration = Duration::from_millis(500);
/// However often it was: whoever makes room has it filled soon after.
const FULL_MAX: Duration = Duration::from_secs(30);
/// Values that are looked at once more at once.
const LOOK_AT_ONCE: usize = 16;
/// How long that is waited for: an election takes a second or two.
const LOOK_MAX: Duration = Duration::from_secs(10);

/// Why a call is made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Others changed what it had read.
    Overtaken,
    /// There was no room for what it did.
    Full,
}

impl Why {
    /// The word for it in metrics.
    const fn name(self) -> &'static str {
        match self {
            Self::Overtaken => "overtaken",
            Self::Full => "full",
        }
    }
}

/// How often which message was given back for what others did.
#[derive(Debug)]
pub(super) struct Again {
    overtaken: Offers,
    full: Offers,
}

impl Default for Again {
    fn default() -> Self {
        let (overtaken, full) = (Offers::new(OVERTAKEN_MIN, OVERTAKEN_MAX), Offers::new(FULL_MIN, FULL_MAX));
        Self { overtaken, full }
    }
}

impl Again {
    fn after(&self, ticket: &Ticket, why: Why) -> Duration {
        match why {
            Why::Overtaken => {
                let most = self.overtaken.after(ticket);
                // Two that met do not meet again.
                rand::random_range(most / 10..=most)
            }
            Why::Full => self.full.after(ticket),
        }
    }

    /// It has come to something else.
    pub(super) fn forget(&self, ticket: &Ticket) {
        self.overtaken.forget(ticket);
        self.full.forget(ticket);
    }
}

/// The word of an attempt that is as if it had not been. `error` says why, for people.
pub(super) fn given_back(inner: &Inner, ticket: &Ticket, why: Why, error: String) -> Settlement {
    inner.metrics.events.again(why.name());
    let verdict = Verdict::Offer { after: inner.again.after(ticket, why), error };
    Settlement::offered(ticket.clone(), verdict)
}

/// Why it is not known that all that a call had read was so at one moment. None: it was. Versions only grow, so a value that is at the
/// version that was read was so all the time between.
pub(super) async fn overtaken(inner: &Inner, namespace: &Namespace, effects: &[Effect]) -> Option<String> {
    let deadline = clock::now() + LOOK_MAX;
    let looks = effects.iter().filter_map(|effect| match effect {
        Effect::Check { bucket, key, version } => Some(async move {
            let bucket = Bucket { namespace: namespace.clone(), name: bucket.clone() };
            match version_of(inner, &bucket, key, deadline).await {
                Ok(found) if found.unwrap_or(0) == *version => None,
                Ok(_) => Some(format!("a value of bucket '{}'", bucket.name)),
                Err(refusal) => Some(format!("{}: {refusal}", refusal.code)),
            }
        }),
        Effect::Write { .. } | Effect::Blob { .. } | Effect::Publish(_) => None,
    });
    let mut changed =
        stream::iter(looks.collect::<Vec<_>>()).buffer_unordered(LOOK_AT_ONCE).filter_map(std::future::ready);
    changed.next().await
}

/// At which version a value is, or a blob: which of them a bucket holds is known where it is.
async fn version_of(
    inner: &Inner,
    bucket: &Bucket,
    key: &[u8],
    deadline: Instant,
) -> Result<Option<u64>, Refusal> {
    match (inner.stores.version(bucket, key, deadline).await, inner.stores.as_blobs()) {
        (Err(refusal), Some(blobs)) if refusal.code == Code::InvalidArgument => {
            let Ok(key) = std::str::from_utf8(key) else { return Err(refusal) };
            let at = At { bucket: bucket.clone(), key: key.to_owned() };
            Ok(blobs.info(&at, deadline).await?.map(|info| info.version))
        }
        (answer, _) => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stores::Fence;

    #[test]
    fn who_is_overtaken_again_waits_longer_and_two_do_not_wait_alike() {
        let again = Again::default();
        let ticket = |message| Ticket {
            namespace: Namespace::default(),
            queue: "q".to_owned(),
            message,
            fence: Fence { term: 1, sequence: 1 },
        };
        let millis = |why| again.after(&ticket(1), why).as_millis();
        for most in [50, 100, 200, 400, 800, 1600, 2000, 2000] {
            let after = millis(Why::Overtaken);
            assert!((most / 10..=most).contains(&after), "{after} of {most}");
        }
        let full: Vec<_> = (0..8).map(|_| millis(Why::Full)).collect();
        assert_eq!(full, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        again.forget(&ticket(1));
        assert_eq!((millis(Why::Overtaken) <= 50, millis(Why::Full)), (true, 500));
        let twenty: std::collections::BTreeSet<_> =
            (0..20).map(|message| again.after(&ticket(100 + message), Why::Overtaken)).collect();
        assert!(twenty.len() > 1, "{twenty:?}");
    }
}
