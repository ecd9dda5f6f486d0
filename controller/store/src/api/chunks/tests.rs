//! Chunks over a real group.
