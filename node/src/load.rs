//! How busy a node says it is. Pure.

/// A node's own account of its load: piggybacked on answers, and in its reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Calls that run or wait for a slot.
    pub in_flight: u32,
    /// Calls that it runs at once at full speed: its cores.
    pub slots: u32,
    /// Functions whose code is mapped.
    pub resident_functions: u64,
    /// Memory of guests, bytes.
    pub memory_bytes: u64,
    /// CPU of the node over the last interval, in thousandths of all its cores.
    pub cpu_permille: u32,
}
