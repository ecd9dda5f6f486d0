//! Chunks on the disk.
