//! Blobs over a real group: what is asked, what visitors may, and what is refused by name.

use coracle_proto::pb::key_value_server::KeyValue as _;
use coracle_proto::pb::{
    BlobAccess, BlobContent, BlobPart, BlobVisitor, KvGetRequest, KvHolds, KvListBucketsRequest, KvPlace,
    KvPutBucketRequest,
};
use coracle_proto::status::Code;

use super::super::bench::{refused, request};
use super::*;
use crate::world::{GROUP, World};

impl World {
    fn blobs(&self) -> BlobsService {
        BlobsService { context: self.context() }
    }

    async fn put_blobs(&self, access: BlobAccess) {
        let put = KvPutBucketRequest {
            place: self.bucket(),
            request: request(),
            keys_max: 10,
            bytes_max: 1 << 40,
            holds: KvHolds::Blobs.into(),
            access: access.into(),
            ..KvPutBucketRequest::default()
        };
        self.values().put_bucket(Request::new(put)).await.unwrap();
    }

    fn commit_of(
        &self,
        key: &str,
        content: BlobContent,
        visitor: Option<BlobVisitor>,
    ) -> Request<BlobCommitRequest> {
        let (place, request, content) = (self.bucket(), request(), Some(content));
        let key = key.to_owned();
        Request::new(BlobCommitRequest { place, request, key, content, visitor, ..Default::default() })
    }

    fn get_of(&self, key: &str, visitor: Option<BlobVisitor>) -> Request<BlobGetRequest> {
        let (place, key) = (self.bucket(), key.to_owned());
        Request::new(BlobGetRequest { place, key, visitor, info_only: false })
    }

    async fn signed(&self, method: &str, key: &str) -> BlobVisitor {
        let (place, key) = (self.bucket(), key.to_owned());
        let asked = BlobSignRequest { place, method: method.to_owned(), key, valid_ms: 0 };
        let BlobSignReply { expires, signature } =
            self.blobs().sign(Request::new(asked)).await.unwrap().into_inner();
        BlobVisitor { method: method.to_owned(), expires, signature }
    }
}

fn data(text: &str) -> BlobContent {
    BlobContent { data: Bytes::copy_from_slice(text.as_bytes()), ..BlobContent::default() }
}

fn visitor(method: &str) -> BlobVisitor {
    BlobVisitor { method: method.to_owned(), ..BlobVisitor::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_parts_is_seen_when_it_is_committed() {
    let world = World::start().await;
    world.put_blobs(BlobAccess::Signed).await;
    let (service, key) = (world.blobs(), "k".to_owned());
    let metadata = std::collections::BTreeMap::from([("name".to_owned(), "value".to_owned())]);
    let begin = BlobBeginRequest {
        place: world.bucket(),
        request: request(),
        key: key.clone(),
        content_type: "text/plain".into(),
        metadata: metadata.clone(),
        ..BlobBeginRequest::default()
    };
    let begun = service.begin(Request::new(begin)).await.unwrap().into_inner().upload.unwrap();
    assert_eq!((begun.until_ms - begun.begun_ms, &begun.bucket[..]), (10 * 60 * 1000, "a"));
    let of = || BlobUploadRequest {
        place: world.bucket(),
        request: request(),
        key: key.clone(),
        upload: begun.id.clone(),
        visitor: None,
    };
    let part = |number, digest: u8| BlobPart { number, run: 7, bytes: 9, digest: vec![digest; 32].into() };
    for it in [part(2, 2), part(1, 1)] {
        let BlobUploadRequest { place, request, key, upload, visitor } = of();
        let put = BlobPutPartRequest { place, request, key, upload, part: Some(it), visitor };
        service.put_part(Request::new(put)).await.unwrap();
    }
    let upload = service.get_upload(Request::new(of())).await.unwrap().into_inner().upload.unwrap();
    assert_eq!(upload.parts, [part(1, 1), part(2, 2)]);
    let list = BlobListUploadsRequest { place: world.bucket(), ..Default::default() };
    let listed = service.list_uploads(Request::new(list)).await.unwrap().into_inner();
    assert_eq!((listed.uploads.len(), listed.after.len()), (1, 0));
    assert!(service.get(world.get_of("k", None)).await.unwrap().into_inner().info.is_none());
    let named = |number, digest| BlobPart { run: 0, bytes: 0, ..part(number, digest) };
    let parts = |digest| BlobContent {
        upload: begun.id.clone(),
        parts: vec![named(1, 1), named(2, digest)],
        ..BlobContent::default()
    };
    let (code, sentence) = refused(service.commit(world.commit_of("k", parts(3), None)).await);
    assert!(code == Code::InvalidArgument && sentence.contains("part 2"), "{sentence}");
    let committed = service.commit(world.commit_of("k", parts(2), None)).await.unwrap().into_inner();
    let info = committed.info.unwrap();
    assert_eq!((info.bytes, &info.content_type[..], &info.metadata), (18, "text/plain", &metadata));
    assert!(!committed.existed && info.etag.ends_with("-2"));
    let got = service.get(world.get_of("k", None)).await.unwrap().into_inner();
    assert_eq!((got.info.as_ref(), &got.upload, got.data.len()), (Some(&info), &begun.id, 0));
    let bare = |number| BlobPart { digest: Bytes::new(), ..part(number, 0) };
    assert_eq!(got.parts, [bare(1), bare(2)]);
    assert_eq!(refused(service.renew(Request::new(of())).await).0, Code::UploadNotFound);
    assert_eq!(refused(service.abort(Request::new(of())).await).0, Code::UploadNotFound);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_needs_a_signature_unless_the_bucket_says_otherwise() {
    let world = World::start().await;
    world.put_blobs(BlobAccess::Signed).await;
    let service = world.blobs();
    let put = async |visitor| service.commit(world.commit_of("k", data("x"), Some(visitor))).await;
    assert_eq!(refused(put(visitor("PUT")).await).0, Code::SignatureRefused);
    assert_eq!(refused(put(world.signed("PUT", "other").await).await).0, Code::SignatureRefused);
    assert_eq!(refused(put(world.signed("GET", "k").await).await).0, Code::SignatureRefused);
    put(world.signed("PUT", "k").await).await.unwrap();
    let get = async |visitor| service.get(world.get_of("k", Some(visitor))).await;
    assert_eq!(refused(get(visitor("GET")).await).0, Code::SignatureRefused);
    let signed = world.signed("GET", "k").await;
    assert_eq!(get(signed.clone()).await.unwrap().into_inner().data, "x");
    let list = async |visitor| {
        let list = BlobListRequest { place: world.bucket(), visitor: Some(visitor), ..Default::default() };
        service.list(Request::new(list)).await
    };
    assert_eq!(refused(list(signed.clone()).await).0, Code::SignatureRefused, "it is of a key");
    assert_eq!(list(world.signed("GET", "").await).await.unwrap().into_inner().blobs.len(), 1);
    world.put_blobs(BlobAccess::Read).await;
    get(visitor("GET")).await.unwrap();
    assert_eq!(refused(put(visitor("PUT")).await).0, Code::SignatureRefused);
    world.put_blobs(BlobAccess::Open).await;
    put(visitor("PUT")).await.unwrap();
    world.put_blobs(BlobAccess::Signed).await;
    // By the group's time, whoever leads.
    world.jump(20 * 60 * 1000).await;
    let (code, sentence) = refused(get(signed).await);
    assert!(code == Code::SignatureRefused && sentence.contains("is over"), "{sentence}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_and_ends_are_answered_by_code() {
    let world = World::start().await;
    world.put_blobs(BlobAccess::Signed).await;
    let service = world.blobs();
    let commit = |if_match: &str, if_none_match| {
        let commit = world.commit_of("k", data("x"), None).into_inner();
        Request::new(BlobCommitRequest { if_match: if_match.to_owned(), if_none_match, ..commit })
    };
    assert_eq!(refused(service.commit(commit("*", false)).await).0, Code::PreconditionFailed);
    let first = service.commit(commit("", true)).await.unwrap().into_inner().info.unwrap();
    assert_eq!(refused(service.commit(commit("", true)).await).0, Code::PreconditionFailed);
    let again = service.commit(commit(&first.etag, false)).await.unwrap().into_inner();
    assert!(again.existed && again.info.unwrap().version > first.version);
    let delete = || {
        let (place, request, key) = (world.bucket(), request(), "k".to_owned());
        Request::new(BlobDeleteRequest { place, request, key, ..Default::default() })
    };
    assert!(service.delete(delete()).await.unwrap().into_inner().existed);
    assert!(!service.delete(delete()).await.unwrap().into_inner().existed);
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_tells_what_it_holds_and_refuses_the_other_kind() {
    let world = World::start().await;
    let (code, _) = refused(world.blobs().get(world.get_of("k", None)).await);
    assert_eq!(code, Code::BucketNotFound);
    world.put_blobs(BlobAccess::Read).await;
    let get = KvGetRequest { place: world.bucket(), key: "k".into(), version_only: false };
    let (code, sentence) = refused(world.values().get(Request::new(get)).await);
    assert!(code == Code::InvalidArgument && sentence.contains("holds blobs"), "{sentence}");
    let list = async || {
        let (cluster_id, namespace) = (world.cluster().to_wire(), "shop".to_owned());
        let asked = KvListBucketsRequest { cluster_id, group: GROUP.get(), namespace, ..Default::default() };
        world.values().list_buckets(Request::new(asked)).await.unwrap().into_inner().buckets.remove(0)
    };
    let told = list().await;
    assert_eq!((told.holds(), told.access(), told.dropping), (KvHolds::Blobs, BlobAccess::Read, false));
    let values = KvPutBucketRequest {
        place: world.bucket(),
        request: request(),
        keys_max: 10,
        bytes_max: 1024,
        holds: KvHolds::Values.into(),
        ..KvPutBucketRequest::default()
    };
    let (code, sentence) = refused(world.values().put_bucket(Request::new(values.clone())).await);
    assert!(code == Code::InvalidArgument && sentence.contains("never changes"), "{sentence}");
    let place = world.bucket().map(|place| KvPlace { bucket: "v".to_owned(), ..place });
    let access = BlobAccess::Open.into();
    let odd = KvPutBucketRequest { place: place.clone(), access, request: request(), ..values.clone() };
    assert_eq!(refused(world.values().put_bucket(Request::new(odd)).await).0, Code::InvalidArgument);
    let large =
        KvPutBucketRequest { place: place.clone(), bytes_max: 1 << 40, request: request(), ..values.clone() };
    assert_eq!(refused(world.values().put_bucket(Request::new(large)).await).0, Code::InvalidArgument);
    let values = KvPutBucketRequest { place: place.clone(), request: request(), ..values };
    world.values().put_bucket(Request::new(values)).await.unwrap();
    let get = BlobGetRequest { place, ..world.get_of("k", None).into_inner() };
    let (code, sentence) = refused(world.blobs().get(Request::new(get)).await);
    assert!(code == Code::InvalidArgument && sentence.contains("holds values"), "{sentence}");
    world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_signed_is_refused_by_name() {
    let world = World::start().await;
    world.put_blobs(BlobAccess::Signed).await;
    for (method, key, valid_ms, part) in [
        ("HEAD", "k", 0, "'method'"),
        ("PUT", "", 0, "'key'"),
        ("GET", "k", 7 * 24 * 3_600_000 + 1, "'valid_ms'"),
    ] {
        let (method, key) = (method.to_owned(), key.to_owned());
        let asked = BlobSignRequest { place: world.bucket(), method, key, valid_ms };
        let (code, sentence) = refused(world.blobs().sign(Request::new(asked)).await);
        assert!(code == Code::InvalidArgument && sentence.contains(part), "{sentence}");
    }
    world.end().await;
}
