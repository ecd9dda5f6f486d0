//! A whole data plane in this process.
