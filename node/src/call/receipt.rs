//! What a call took, and what it did in the platform, for whoever wants to know: told where it ran, and read where it was sent from.

use std::sync::Arc;
use std::time::Duration;

use coracle_proto::id::{NodeId, VersionNumber};
use tokio::sync::watch;

use super::gathered::Effect;

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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// Where it was sent last, and what was to run there.
    pub place: Option<(NodeId, VersionNumber)>,
    /// What it took there.
    pub spent: Option<Spent>,
    /// What it did in the platform, where that is gathered.
    pub effects: Vec<Effect>,
    /// Nothing more will be told of it.
    over: bool,
    /// What runs there may do nothing in the platform.
    idle: bool,
    /// How often it was sent.
    run: u64,
}

impl Told {
    /// Whether all of it was told.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Whether it is known what it did in the platform: it was told, or it cannot have done anything.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.over || self.idle
    }
}

/// Where is told what a call took. By default nobody wants to know, and it costs nothing. Clones are one.
#[derive(Debug, Clone, Default)]
pub struct Receipt {
    told: Option<Arc<watch::Sender<Told>>>,
    gathers: bool,
    /// Of which sending what is told here is: what an earlier one still has to say concerns nobody.
    run: u64,
}

impl Receipt {
    /// For somebody who wants to know.
    #[must_use]
    pub fn wanted() -> Self {
        Self { told: Some(Arc::new(watch::Sender::new(Told::default()))), ..Self::default() }
    }

    /// For somebody who has it done in the platform what the call does there, when it has ended.
    #[must_use]
    pub fn gathering() -> Self {
        Self { gathers: true, ..Self::wanted() }
    }

    /// Whether what the call does in the platform is told with its end, and not done before.
    #[must_use]
    pub const fn gathers(&self) -> bool {
        self.gathers
    }

    /// Whether anybody wants to know.
    #[must_use]
    pub const fn is_wanted(&self) -> bool {
        self.told.is_some()
    }

    /// The call is sent there.
    pub fn sent(&mut self, node: NodeId, version: VersionNumber) {
        if let Some(told) = &self.told {
            self.run = told.borrow().run + 1;
            told.send_replace(Told { place: Some((node, version)), run: self.run, ..Told::default() });
        }
    }

    /// What runs was not granted anything in the platform: whatever is told late of it, it has done nothing there.
    pub fn set_idle(&self) {
        if let Some(told) = &self.told {
            told.send_if_modified(|told| {
                told.idle |= told.run == self.run;
                false
            });
        }
    }

    /// The call is over, and took so much, where that is known. What is told first counts.
    pub fn over(&self, spent: Option<Spent>) {
        self.over_with(spent, Vec::new());
    }

    /// The same, with what it did in the platform.
    pub fn over_with(&self, spent: Option<Spent>, effects: Vec<Effect>) {
        if let Some(told) = &self.told {
            told.send_if_modified(|told| {
                let first = !told.over && told.run == self.run;
                if first {
                    (told.over, told.spent, told.effects) = (true, spent, effects);
                }
                first
            });
        }
    }

    /// What was told, when it is over. After `patience` what is known by then, where it is known what the call did in the platform;
    /// where it is not, after `longest`.
    pub async fn told_whole(&self, patience: Duration, longest: Duration) -> Told {
        let told = self.told(patience).await;
        if told.is_whole() { told } else { self.told(longest).await }
    }

    /// What was told, when it is over: its guest may end a moment later than its answer. After `patience` what is known by
    /// then.
    pub async fn told(&self, patience: Duration) -> Told {
        let Some(told) = &self.told else { return Told::default() };
        let mut news = told.subscribe();
        let over = tokio::time::timeout(patience, news.wait_for(|told| told.over)).await;
        match over {
            Ok(Ok(told)) => told.clone(),
            Ok(Err(_)) | Err(_) => told.borrow().clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: (NodeId, VersionNumber) = (NodeId::new(3), VersionNumber::new(7));

    #[tokio::test]
    async fn what_was_told_first_of_the_last_place_counts() {
        let mut receipt = Receipt::wanted();
        receipt.sent(NodeId::new(1), VersionNumber::new(7));
        let earlier = receipt.clone();
        receipt.sent(PLACE.0, PLACE.1);
        earlier.over(None);
        let spent = Spent { bytes_in: 1, ..Spent::default() };
        let elsewhere = receipt.clone();
        let (told, ()) = tokio::join!(receipt.told(Duration::from_secs(10)), async move {
            elsewhere.over(Some(spent));
            elsewhere.over(None);
        });
        assert_eq!((told.place, told.spent), (Some(PLACE), Some(spent)));
        assert!(told.is_over() && !receipt.gathers() && Receipt::gathering().is_wanted());
    }

    /// A call that was moved: what its first attempt gathered was done nowhere.
    #[tokio::test]
    async fn what_an_earlier_sending_did_is_forgotten_whenever_it_tells() {
        let check = |version| Effect::Check { bucket: "b".to_owned(), key: "k".into(), version };
        for early in [true, false] {
            let mut receipt = Receipt::gathering();
            receipt.sent(NodeId::new(1), VersionNumber::new(7));
            let earlier = receipt.clone();
            if early {
                earlier.over_with(None, vec![check(1)]);
            }
            receipt.sent(PLACE.0, PLACE.1);
            assert!(!receipt.told(Duration::ZERO).await.is_over());
            earlier.over_with(None, vec![check(1)]);
            assert_eq!(receipt.told(Duration::ZERO).await.effects, vec![]);
            receipt.over_with(None, vec![check(2)]);
            assert_eq!(receipt.told(Duration::ZERO).await.effects, [check(2)]);
        }
    }

    #[tokio::test]
    async fn nobody_waits_for_ever() {
        let mut receipt = Receipt::wanted();
        receipt.sent(PLACE.0, PLACE.1);
        let told = receipt.told(Duration::from_millis(1)).await;
        assert_eq!((told.place, told.spent), (Some(PLACE), None));
        assert_eq!(Receipt::default().told(Duration::from_secs(100)).await, Told::default());
    }
}
