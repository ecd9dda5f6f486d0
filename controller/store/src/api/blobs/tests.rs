//! Blobs over a real group.
