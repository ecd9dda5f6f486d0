//! What a guest does with what its function keeps, and how often, by what came of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// One kind of operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// A bucket is opened.
    Open,
    /// A value is read.
    Get,
    /// A value is set.
    Set,
    /// A value is deleted.
    Delete,
    /// It is asked whether there is one.
    Exists,
    /// A page of keys is read.
    ListKeys,
    /// A number is added to.
    Increment,
    /// The version of a value is looked at, to be swapped.
    Cas,
    /// A value is set if it is as it was.
    Swap,
    /// Values are read.
    GetMany,
    /// Values are set.
    SetMany,
    /// Values are deleted.
    DeleteMany,
    /// A bucket of blobs is opened.
    GetContainer,
    /// It is asked whether there is such a bucket.
    ContainerExists,
    /// A blob is read.
    GetData,
    /// It is said where a blob goes.
    WriteData,
    /// A blob is there from now on.
    Finish,
    /// Blobs are listed.
    ListObjects,
    /// It is asked whether there is a blob.
    HasObject,
    /// It is asked what a blob is.
    ObjectInfo,
    /// A blob is deleted.
    DeleteObject,
    /// Blobs are deleted.
    DeleteObjects,
    /// All blobs of a bucket are deleted.
    Clear,
    /// A blob is copied.
    CopyObject,
    /// A blob is copied, and deleted where it was.
    MoveObject,
    /// A message is published.
    Publish,
}

/// What came of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Came {
    /// It was done.
    Ok,
    /// The function was not granted it.
    Denied,
    /// It was over a bound, or what is kept does not allow it.
    Refused,
    /// Nobody could do it, or could tell.
    Failed,
    /// The call ended meanwhile.
    Abandoned,
}

impl Operation {
    /// Each there is.
    pub const ALL: [Self; 26] = [
        Self::Open,
        Self::Get,
        Self::Set,
        Self::Delete,
        Self::Exists,
        Self::ListKeys,
        Self::Increment,
        Self::Cas,
        Self::Swap,
        Self::GetMany,
        Self::SetMany,
        Self::DeleteMany,
        Self::GetContainer,
        Self::ContainerExists,
        Self::GetData,
        Self::WriteData,
        Self::Finish,
        Self::ListObjects,
        Self::HasObject,
        Self::ObjectInfo,
        Self::DeleteObject,
        Self::DeleteObjects,
        Self::Clear,
        Self::CopyObject,
        Self::MoveObject,
        Self::Publish,
    ];

    /// Its name in metrics and traces: that of the interface's function.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Get => "get",
            Self::Set => "set",
            Self::Delete => "delete",
            Self::Exists => "exists",
            Self::ListKeys => "list-keys",
            Self::Increment => "increment",
            Self::Cas => "cas",
            Self::Swap => "swap",
            Self::GetMany => "get-many",
            Self::SetMany => "set-many",
            Self::DeleteMany => "delete-many",
            Self::GetContainer => "get-container",
            Self::ContainerExists => "container-exists",
            Self::GetData => "get-data",
            Self::WriteData => "write-data",
            Self::Finish => "finish",
            Self::ListObjects => "list-objects",
            Self::HasObject => "has-object",
            Self::ObjectInfo => "object-info",
            Self::DeleteObject => "delete-object",
            Self::DeleteObjects => "delete-objects",
            Self::Clear => "clear",
            Self::CopyObject => "copy-object",
            Self::MoveObject => "move-object",
            Self::Publish => "publish",
        }
    }
}

impl Operation {
    /// Whether it is one on blobs.
    pub(super) const fn is_of_blobs(self) -> bool {
        match self {
            Self::Open
            | Self::Get
            | Self::Set
            | Self::Delete
            | Self::Exists
            | Self::ListKeys
            | Self::Increment
            | Self::Cas
            | Self::Swap
            | Self::GetMany
            | Self::SetMany
            | Self::DeleteMany
            | Self::Publish => false,
            Self::GetContainer
            | Self::ContainerExists
            | Self::GetData
            | Self::WriteData
            | Self::Finish
            | Self::ListObjects
            | Self::HasObject
            | Self::ObjectInfo
            | Self::DeleteObject
            | Self::DeleteObjects
            | Self::Clear
            | Self::CopyObject
            | Self::MoveObject => true,
        }
    }
}

impl Came {
    /// Each there is.
    pub const ALL: [Self; 5] = [Self::Ok, Self::Denied, Self::Refused, Self::Failed, Self::Abandoned];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Denied => "denied",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

/// How often a call did something, by what came of it.
pub type Counts = BTreeMap<(Operation, Came), u64>;

/// Where that is counted. Most calls do nothing of it, and it costs them nothing.
#[derive(Debug, Default)]
pub(in crate::runtime) struct Tally(Mutex<Counts>);

impl Tally {
    /// One more.
    pub(in crate::runtime) fn count(&self, operation: Operation, came: Came) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry((operation, came)).or_default();
        *count = count.saturating_add(1);
    }

    /// What was counted.
    pub(in crate::runtime) fn take(&mut self) -> Counts {
        std::mem::take(self.0.get_mut().unwrap_or_else(PoisonError::into_inner))
    }
}
