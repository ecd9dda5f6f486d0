//! The id under which a request is done once, however often it is sent.

use std::cell::RefCell;

use bytes::Bytes;
use coracle_proto::id::RequestId;
use tonic::Status;

use super::trouble::was_decided;

/// The id of one request. What a group has refused under it it would refuse for ever: the next attempt has another one.
#[derive(Debug)]
pub(crate) struct Once(RefCell<Bytes>);

impl Once {
    pub(crate) fn new() -> Self {
        Self(RefCell::new(new_id()))
    }

    /// As the next attempt has it.
    pub(crate) fn id(&self) -> Bytes {
        self.0.borrow().clone()
    }

    /// What an attempt was answered, passed on.
    pub(crate) fn heard<T>(&self, answered: Result<T, Status>) -> Result<T, Status> {
        if answered.as_ref().is_err_and(was_decided) {
            self.0.replace(new_id());
        }
        answered
    }
}

fn new_id() -> Bytes {
    RequestId::new(rand::random()).to_wire()
}

#[cfg(test)]
mod tests {
    use coracle_proto::status::{Code, Refusal};

    use super::*;

    #[test]
    fn only_what_a_group_has_decided_makes_it_another_request() {
        let once = Once::new();
        let first = once.id();
        let refused = |code| Err::<(), _>(Status::from(Refusal::new(code, "")));
        for answered in
            [Ok(()), refused(Code::NotLeader), refused(Code::OutcomeUnknown), Err(Status::unknown(""))]
        {
            let _ = once.heard(answered);
            assert_eq!(once.id(), first);
        }
        assert!(once.heard(refused(Code::QueueFull)).is_err());
        assert_ne!(once.id(), first);
    }
}
