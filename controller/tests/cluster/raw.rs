//! A follower of the watch that counts frames and reads none: a thousand of them cost a test next to nothing.

use bytes::{Buf as _, Bytes};
use coracle_proto::pb::{Scope, WatchRequest, scope};
use tonic::codec::{Codec, DecodeBuf, Decoder, Streaming};
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_prost::ProstEncoder;

/// Requests as they are, answers as bytes.
#[derive(Debug, Default, Clone, Copy)]
struct Raw;

impl Codec for Raw {
    type Encode = WatchRequest;
    type Decode = Bytes;
    type Encoder = ProstEncoder<WatchRequest>;
    type Decoder = Self;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(tonic::codec::BufferSettings::default())
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Follows a scope from a revision on.
pub(crate) async fn follow(channel: Channel, kind: scope::Kind, revision: u64) -> Streaming<Bytes> {
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.expect("a connection");
    let scope = Some(Scope { kind: Some(kind) });
    let asked = WatchRequest { scope, revision, ..WatchRequest::default() };
    let path = http::uri::PathAndQuery::from_static("/coracle.v1.Control/Watch");
    grpc.server_streaming(Request::new(asked), path, Raw).await.expect("a watch").into_inner()
}
