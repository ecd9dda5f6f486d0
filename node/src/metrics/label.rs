//! Labels that cost no allocation per call.

use std::fmt::{self, Write as _};

use coracle_proto::id::{FunctionId, VersionNumber};
use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// Stands for everything over the bound.
const OTHER: &str = "other";

/// A function, or `other`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct FunctionLabel(pub(super) Option<FunctionId>);

/// A version's number, or `other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct VersionLabel(pub(super) Option<VersionNumber>);

impl EncodeLabelValue for FunctionLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        match &self.0 {
            Some(function) => write!(encoder, "{function}"),
            None => encoder.write_str(OTHER),
        }
    }
}

impl EncodeLabelValue for VersionLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        match self.0 {
            Some(number) => write!(encoder, "{number}"),
            None => encoder.write_str(OTHER),
        }
    }
}
