//! What a call took, for whoever wants to know: told where it ran, and read where it was sent from.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::{NodeId, VersionNumber};
use tokio::sync::watch;

/// What a call took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Spent {
    /// Processor time of the guest, with what was done for its requests.
    pub cpu: Duration,
    /// The most memory that it had, times how long it ran, byte-milliseconds.
    pub memory_byte_ms: u64,
    /// Bytes of the request's body that the guest was given.
    pub bytes_in: u64,
    /// Bytes of the answer's body that were made and taken.
    pub bytes_out: u64,
}

/// What is known of a call so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Told {
    /// Where it was sent last, and what was to run there.
    pub place: Option<(NodeId, VersionNumber)>,
    /// What it took there.
    pub spent: Option<Spent>,
    /// Nothing more will be told of it.
    over: bool,
}

/// Where is told what a call took. By default nobody wants to know, and it costs nothing. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Receipt(Option<Arc<watch::Sender<Told>>>);

impl Receipt {
    /// For somebody who wants to know.
    #[must_use]
    pub fn wanted() -> Self {
        Self(Some(Arc::new(watch::Sender::new(Told::default()))))
    }

    /// Whether anybody wants to know.
    #[must_use]
    pub const fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// The call is sent there.
    pub fn sent(&self, node: NodeId, version: VersionNumber) {
        if let Some(told) = &self.0 {
            told.send_replace(Told { place: Some((node, version)), ..Told::default() });
        }
    }

    /// The call is over, and took so much, where that is known. What is told first counts.
    pub fn over(&self, spent: Option<Spent>) {
        if let Some(told) = &self.0 {
            told.send_if_modified(|told| {
                let first = !told.over;
                if first {
                    (told.over, told.spent) = (true, spent);
                }
                first
            });
        }
    }

    /// What was told, when it is over: its guest may end a moment later than its answer. After `patience` what is known by
    /// then.
    pub async fn told(&self, patience: Duration) -> Told {
        let Some(told) = &self.0 else { return Told::default() };
        let mut news = told.subscribe();
        let over = tokio::time::timeout(patience, news.wait_for(|told| told.over)).await;
        match over {
            Ok(Ok(told)) => *told,
            Ok(Err(_)) | Err(_) => *told.borrow(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: (NodeId, VersionNumber) = (NodeId::new(3), VersionNumber::new(7));

    #[tokio::test]
    async fn what_was_told_first_of_the_last_place_counts() {
        let receipt = Receipt::wanted();
        receipt.sent(NodeId::new(1), VersionNumber::new(7));
        receipt.over(None);
        receipt.sent(PLACE.0, PLACE.1);
        let spent = Spent { bytes_in: 1, ..Spent::default() };
        let elsewhere = receipt.clone();
        let (told, ()) = tokio::join!(receipt.told(Duration::from_secs(10)), async move {
            elsewhere.over(Some(spent));
            elsewhere.over(None);
        });
        assert_eq!((told.place, told.spent), (Some(PLACE), Some(spent)));
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let receipt = Receipt::wanted();
        receipt.sent(PLACE.0, PLACE.1);
        let told = receipt.told(Duration::from_millis(1)).await;
        assert_eq!((told.place, told.spent), (Some(PLACE), None));
        assert_eq!(Receipt::default().told(Duration::from_secs(100)).await, Told::default());
    }
}
