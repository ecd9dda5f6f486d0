//! Messages that are published together: what is sent, what is said to it, and what was acknowledged.

use coracle_proto::pb;
use coracle_proto::status::{Again, Code, Refusal};

use crate::client::is_decided;
use crate::exit::{Exit, Failure};

/// What stores say of a batch that is too large only because it goes to many: the code alone may mean one of its
/// messages.
const TOO_MUCH: [&str; 2] = ["copies of messages", "bytes of changes at once"];

/// Some messages that are published together.
#[derive(Debug)]
pub(super) struct Batch {
    /// Rises from one that is sent to the next.
    pub(super) number: u64,
    /// From 1.
    pub(super) first_line: u64,
    pub(super) messages: Vec<pb::PublishMessage>,
    /// Kept when it is sent again: it is done once. None: nothing of it was sent, or what was sent is not done.
    pub(super) request: Option<pb::KvRequest>,
}

impl Batch {
    pub(super) fn last_line(&self) -> u64 {
        self.first_line.saturating_add(self.messages.len() as u64).saturating_sub(1)
    }

    /// Its halves, neither of which was sent; none of a single message.
    pub(super) fn halves(mut self) -> Option<(Self, Self)> {
        if self.messages.len() < 2 {
            return None;
        }
        let messages = self.messages.split_off(self.messages.len().div_ceil(2));
        self.request = None;
        let first_line = self.last_line().saturating_add(1);
        let second = Self { number: self.number, first_line, messages, request: None };
        Some((self, second))
    }
}

/// What was acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sum {
    pub(super) published: u64,
    /// Those of them that were there already.
    pub(super) repeated: u64,
    /// Queues that have them.
    pub(super) copies: u64,
}

impl Sum {
    pub(super) fn add(&mut self, reply: &pb::PublishReply) {
        for one in &reply.published {
            self.published = self.published.saturating_add(1);
            self.repeated = self.repeated.saturating_add(u64::from(one.repeated));
            self.copies = self.copies.saturating_add(one.copies.into());
        }
    }
}

/// Why a batch was refused: nothing of it was done by this attempt.
#[derive(Debug, Clone)]
pub(super) struct Refused {
    code: Option<Code>,
    pub(super) failure: Failure,
}

impl From<pb::PublishRefused> for Refused {
    fn from(said: pb::PublishRefused) -> Self {
        match said.code.parse::<Code>() {
            Ok(code) => Self { code: Some(code), failure: Refusal::new(code, said.message).into() },
            Err(_) => {
                let sentence = format!("{} ({})", said.message, said.code);
                Self { code: None, failure: Failure::new(Exit::Refused, sentence) }
            }
        }
    }
}

impl Refused {
    /// Whether it passes, as a queue that is full does.
    pub(super) fn passes(&self) -> bool {
        self.code.is_some_and(|code| match code.retry() {
            Again::NotStarted | Again::Unknown => true,
            Again::Never => false,
        })
    }

    /// Whether the same request would get this answer for ever, and another one need not.
    pub(super) fn is_decided(&self) -> bool {
        self.code.is_some_and(is_decided)
    }

    /// Whether fewer messages might be taken.
    pub(super) fn is_too_much(&self) -> bool {
        let says = |it: &&str| self.failure.message.contains(*it);
        self.code == Some(Code::RequestTooLarge)
            || (self.code == Some(Code::InvalidArgument) && TOO_MUCH.iter().any(says))
    }
}
