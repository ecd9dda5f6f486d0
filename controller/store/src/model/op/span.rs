//! Which messages of a queue are meant, and when a queue may go.

/// When a queue is deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// While nobody takes its messages and it has none.
    Unused,
    /// In any case.
    Forced,
    /// When it is being deleted already. Another one of the same name is not meant.
    Begun,
}

/// Messages by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// From this one on.
    pub from: u64,
    /// Before this one.
    pub to: u64,
}

impl Span {
    /// All of them.
    pub const ALL: Self = Self { from: 0, to: u64::MAX };
}

/// Which messages of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// That are ready, delayed, or behind others.
    Waiting,
    /// Dead letters.
    Dead,
}
