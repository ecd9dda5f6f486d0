//! Which messages of a queue somebody means.

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
