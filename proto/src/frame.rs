//! Parts of watch frames that may carry records encoded already: encoded once, they are shared by all who are sent the
//! same. On the wire they are the messages of `cluster.proto`, and whoever reads them finds records.

use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{self, DecodeContext, WireType};
use prost::{DecodeError, Message};

use crate::pb::{Change, NodeProcesses, NodeStatus};

const RECORDS_TAG: u32 = 1;
const LAST_TAG: u32 = 2;

/// The scope's whole content, in parts; see `cluster.proto`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// Records to put.
    pub records: Vec<Change>,
    /// The view is replaced when this part came.
    pub last: bool,
    /// More records, as [`encode_change`] makes them. Never read: they become `records` of the one who decodes.
    pub encoded: Bytes,
}

/// What changed; see `cluster.proto`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Changes {
    /// In the order in which they were made.
    pub changes: Vec<Change>,
    /// More changes, as [`encode_change`] makes them. Never read: they become `changes` of the one who decodes.
    pub encoded: Bytes,
}

/// Appends one change as both messages have it.
pub fn encode_change(change: &Change, to: &mut Vec<u8>) {
    encoding::message::encode(RECORDS_TAG, change, to);
}

/// Bytes that [`encode_change`] appends.
#[must_use]
pub fn encoded_len(change: &Change) -> usize {
    encoding::message::encoded_len(RECORDS_TAG, change)
}

impl Message for Snapshot {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        encoding::message::encode_repeated(RECORDS_TAG, &self.records, buf);
        buf.put_slice(&self.encoded);
        if self.last {
            encoding::bool::encode(LAST_TAG, &self.last, buf);
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            RECORDS_TAG => encoding::message::merge_repeated(wire_type, &mut self.records, buf, ctx),
            LAST_TAG => encoding::bool::merge(wire_type, &mut self.last, buf, ctx),
            _ => encoding::skip_field(wire_type, tag, buf, ctx),
        }
    }

    fn encoded_len(&self) -> usize {
        let last = if self.last { encoding::bool::encoded_len(LAST_TAG, &self.last) } else { 0 };
        encoding::message::encoded_len_repeated(RECORDS_TAG, &self.records) + self.encoded.len() + last
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

impl Message for Changes {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        encoding::message::encode_repeated(RECORDS_TAG, &self.changes, buf);
        buf.put_slice(&self.encoded);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            RECORDS_TAG => encoding::message::merge_repeated(wire_type, &mut self.changes, buf, ctx),
            _ => encoding::skip_field(wire_type, tag, buf, ctx),
        }
    }

    fn encoded_len(&self) -> usize {
        encoding::message::encoded_len_repeated(RECORDS_TAG, &self.changes) + self.encoded.len()
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What nodes say of themselves; see `cluster.proto`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SoftBatch {
    /// Statuses, perhaps in parts.
    pub nodes: Vec<NodeStatus>,
    /// Between controllers: the leader's; of others nothing.
    pub alarms: Vec<String>,
    /// The controller that sends it.
    pub from: u64,
    /// Of which cluster.
    pub cluster_id: Bytes,
    /// What supervisors tell.
    pub processes: Vec<NodeProcesses>,
    /// More of the batch before, which had the alarms.
    pub continued: bool,
    /// The highest format of commands that the sender reads; 0: the first.
    pub format: u32,
    /// More statuses, as [`encode_status`] makes them. Never read: they become `nodes` of the one who decodes.
    pub encoded: Bytes,
}

/// Appends one status as batches have it.
pub fn encode_status(status: &NodeStatus, to: &mut Vec<u8>) {
    encoding::message::encode(1, status, to);
}

impl Message for SoftBatch {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        encoding::message::encode_repeated(1, &self.nodes, buf);
        buf.put_slice(&self.encoded);
        encoding::string::encode_repeated(2, &self.alarms, buf);
        if self.from != 0 {
            encoding::uint64::encode(3, &self.from, buf);
        }
        if !self.cluster_id.is_empty() {
            encoding::bytes::encode(4, &self.cluster_id, buf);
        }
        encoding::message::encode_repeated(5, &self.processes, buf);
        if self.continued {
            encoding::bool::encode(6, &self.continued, buf);
        }
        if self.format != 0 {
            encoding::uint32::encode(7, &self.format, buf);
        }
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            1 => encoding::message::merge_repeated(wire_type, &mut self.nodes, buf, ctx),
            2 => encoding::string::merge_repeated(wire_type, &mut self.alarms, buf, ctx),
            3 => encoding::uint64::merge(wire_type, &mut self.from, buf, ctx),
            4 => encoding::bytes::merge(wire_type, &mut self.cluster_id, buf, ctx),
            5 => encoding::message::merge_repeated(wire_type, &mut self.processes, buf, ctx),
            6 => encoding::bool::merge(wire_type, &mut self.continued, buf, ctx),
            7 => encoding::uint32::merge(wire_type, &mut self.format, buf, ctx),
            _ => encoding::skip_field(wire_type, tag, buf, ctx),
        }
    }

    fn encoded_len(&self) -> usize {
        let from = if self.from == 0 { 0 } else { encoding::uint64::encoded_len(3, &self.from) };
        let cluster =
            if self.cluster_id.is_empty() { 0 } else { encoding::bytes::encoded_len(4, &self.cluster_id) };
        let continued = if self.continued { encoding::bool::encoded_len(6, &self.continued) } else { 0 };
        let format = if self.format == 0 { 0 } else { encoding::uint32::encoded_len(7, &self.format) };
        encoding::message::encoded_len_repeated(1, &self.nodes)
            + format
            + self.encoded.len()
            + encoding::string::encoded_len_repeated(2, &self.alarms)
            + encoding::message::encoded_len_repeated(5, &self.processes)
            + from
            + cluster
            + continued
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_before_is_read_as_records() {
        let change = |key: &str| Change { key: key.to_owned(), record: None };
        let mut encoded = Vec::new();
        for key in ["b", "c"] {
            encode_change(&change(key), &mut encoded);
        }
        let sent = Snapshot { records: vec![change("a")], last: true, encoded: encoded.into() };
        let bytes = sent.encode_to_vec();
        assert_eq!(bytes.len(), sent.encoded_len());
        let read = Snapshot::decode(&bytes[..]).unwrap();
        assert_eq!(read.records, [change("a"), change("b"), change("c")]);
        assert!(read.last && read.encoded.is_empty());
        let plain = Snapshot { records: read.records, last: true, encoded: Bytes::new() };
        assert_eq!(plain.encode_to_vec(), bytes, "the same bytes as of records");
        let sent = Changes { changes: vec![change("a")], encoded: sent.encoded };
        let read = Changes::decode(&sent.encode_to_vec()[..]).unwrap();
        assert_eq!(read.changes, [change("a"), change("b"), change("c")]);
    }

    #[test]
    fn a_batch_is_read_as_it_was_sent() {
        let status = |node| NodeStatus { node, ..NodeStatus::default() };
        let mut encoded = Vec::new();
        encode_status(&status(2), &mut encoded);
        let sent = SoftBatch {
            nodes: vec![status(1)],
            alarms: vec!["a".to_owned(), "b".to_owned()],
            from: 3,
            cluster_id: vec![4; 16].into(),
            processes: vec![NodeProcesses { node: 5, ..NodeProcesses::default() }],
            continued: true,
            format: 6,
            encoded: encoded.into(),
        };
        let bytes = sent.encode_to_vec();
        assert_eq!(bytes.len(), sent.encoded_len());
        let read = SoftBatch::decode(&bytes[..]).unwrap();
        let nodes = vec![status(1), status(2)];
        assert_eq!(read, SoftBatch { nodes, encoded: Bytes::new(), ..sent });
    }
}
