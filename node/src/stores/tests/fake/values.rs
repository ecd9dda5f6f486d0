//! Values of the store that keeps them in memory.

use std::collections::BTreeMap;

use bytes::Bytes;
use coracle_proto::pb::key_value_server::KeyValue;
use coracle_proto::pb::{self, kv_write};
use coracle_proto::status::{Code, Refusal};
use tonic::{Request, Response, Status};

use super::State;
use super::served::Served;

/// Keys of a page.
const PAGE_MAX: usize = 3;

/// Each with its version.
pub(crate) type Values = BTreeMap<Bytes, (Bytes, u64)>;

impl State {
    /// Whether it answers at all.
    fn asked(&self) -> Result<(), Refusal> {
        let refusal = || Refusal::new(Code::NotLeader, "another one leads");
        (!self.follows).then_some(()).ok_or_else(refusal)
    }

    fn bucket(&mut self, place: Option<&pb::KvPlace>) -> Result<&mut Values, Refusal> {
        let name = &place.unwrap().bucket;
        let code = match self.blob_buckets.contains_key(name) {
            true => Code::InvalidArgument,
            false => Code::BucketNotFound,
        };
        let none = || Refusal::new(code, format!("there is no bucket of values '{name}'"));
        self.buckets.get_mut(name).ok_or_else(none)
    }

    fn write(&mut self, request: &pb::KvWriteRequest) -> Result<pb::KvWriteReply, Refusal> {
        if let Some(code) = self.refuses {
            return Err(Refusal::new(code, "no"));
        }
        let mut changed = self.bucket(request.place.as_ref())?.clone();
        let mut written = Vec::new();
        for write in &request.writes {
            let version = self.next();
            let before = changed.get(&write.key).cloned();
            let (value, number) = match write.change.as_ref().unwrap() {
                kv_write::Change::Set(set) => {
                    let found = before.as_ref().map_or(0, |it| it.1);
                    if set.if_version.is_some_and(|expected| expected != found) {
                        return Err(Refusal::new(Code::Conflict, format!("it is at version {found}")));
                    }
                    (Some(set.value.clone()), None)
                }
                kv_write::Change::Increment(it) => {
                    let text = |it: &(Bytes, u64)| String::from_utf8(it.0.to_vec()).unwrap();
                    let number = before.as_ref().map_or(0, |it| text(it).parse().unwrap()) + it.by;
                    (Some(number.to_string().into()), Some(number))
                }
                kv_write::Change::Delete(_) => (None, None),
            };
            let version = if value.is_some() { version } else { 0 };
            written.push(pb::KvWritten { version, number, existed: before.is_some() });
            match value {
                Some(value) => changed.insert(write.key.clone(), (value, version)),
                None => changed.remove(&write.key),
            };
        }
        *self.bucket(request.place.as_ref())? = changed;
        Ok(pb::KvWriteReply { written, sequence: self.sequence })
    }
}

fn unknown<T>() -> Result<Response<T>, Status> {
    Err(Status::unimplemented(""))
}

#[tonic::async_trait]
impl KeyValue for Served {
    async fn get(&self, request: Request<pb::KvGetRequest>) -> Result<Response<pb::KvGetReply>, Status> {
        let (pb::KvGetRequest { place, key, version_only }, mut state) = (request.into_inner(), self.state());
        state.asked()?;
        let found = state.bucket(place.as_ref())?.get(&key).cloned();
        let entry = found.map(|(value, version)| pb::KvEntry {
            key,
            value: if version_only { Bytes::new() } else { value },
            version,
            expires_ms: 0,
        });
        Ok(Response::new(pb::KvGetReply { entry, sequence: state.sequence }))
    }

    async fn list(&self, request: Request<pb::KvListRequest>) -> Result<Response<pb::KvListReply>, Status> {
        let (request, mut state) = (request.into_inner(), self.state());
        state.asked()?;
        let sequence = state.sequence;
        let values = state.bucket(request.place.as_ref())?;
        let most = if request.limit == 0 { PAGE_MAX } else { request.limit as usize };
        let asked = |key: &&Bytes| key.starts_with(&request.prefix) && **key > request.after;
        let all: Vec<_> = values.keys().filter(asked).cloned().collect();
        let entry =
            |key: &Bytes| pb::KvEntry { key: key.clone(), version: values[key].1, ..Default::default() };
        let entries: Vec<_> = all.iter().take(most).map(entry).collect();
        let last = entries.last().map(|it| it.key.clone()).filter(|_| all.len() > most);
        Ok(Response::new(pb::KvListReply { entries, after: last.unwrap_or_default(), sequence }))
    }

    async fn write(
        &self,
        request: Request<pb::KvWriteRequest>,
    ) -> Result<Response<pb::KvWriteReply>, Status> {
        let (request, mut state) = (request.into_inner(), self.state());
        state.writes.push(request.clone());
        let reply = if state.comes(request.request.as_ref())? {
            state.write(&request)?
        } else {
            let written = vec![pb::KvWritten::default(); request.writes.len()];
            pb::KvWriteReply { written, sequence: state.sequence }
        };
        state.answers(reply)
    }

    async fn put_bucket(
        &self,
        _: Request<pb::KvPutBucketRequest>,
    ) -> Result<Response<pb::KvChangeReply>, Status> {
        unknown()
    }

    async fn drop_bucket(
        &self,
        _: Request<pb::KvDropBucketRequest>,
    ) -> Result<Response<pb::KvChangeReply>, Status> {
        unknown()
    }

    async fn list_buckets(
        &self,
        request: Request<pb::KvListBucketsRequest>,
    ) -> Result<Response<pb::KvListBucketsReply>, Status> {
        let (request, state) = (request.into_inner(), self.state());
        state.asked()?;
        let bucket = |name: &String, holds: pb::KvHolds| pb::KvBucket {
            bucket: name.clone(),
            holds: holds.into(),
            ..Default::default()
        };
        let of_values = state.buckets.keys().map(|name| bucket(name, pb::KvHolds::Unspecified));
        let of_blobs = state.blob_buckets.keys().map(|name| bucket(name, pb::KvHolds::Blobs));
        let mut buckets: Vec<_> = of_values.chain(of_blobs).filter(|it| it.bucket > request.after).collect();
        buckets.sort_by(|one, other| one.bucket.cmp(&other.bucket));
        buckets.truncate(request.limit as usize);
        Ok(Response::new(pb::KvListBucketsReply { buckets, after: String::new() }))
    }

    async fn watch(&self, _: Request<pb::KvWatchRequest>) -> Result<Response<pb::KvBucketReply>, Status> {
        unknown()
    }

    async fn unwatch(&self, _: Request<pb::KvUnwatchRequest>) -> Result<Response<pb::KvBucketReply>, Status> {
        unknown()
    }
}
