//! Tests; each file has its subject.
