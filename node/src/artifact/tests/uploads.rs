//! Uploads of users: steps, refusals, the second copy, senders that leave.

use std::sync::atomic::Ordering;

use coracle_proto::pb::{StatRequest, UploadChunk, upload_event};
use coracle_proto::spec::ARTIFACT_SIZE_MAX;
use coracle_proto::status::{Code, Refusal};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::node::{Node, artifact, chunks, digest, until};

#[tokio::test]
async fn an_upload_is_checked_compiled_and_copied_before_it_is_stored() {
    let (one, two, three) = (Node::start(1).await, Node::start(2).await, Node::start(3).await);
    one.knows(&[&two, &three]);
    let bytes = artifact(1, 1_000_000);
    let (steps, stored) = one.put(&bytes).await.unwrap();
    let names: Vec<_> = steps.iter().map(|step| (step.name.as_str(), step.node)).collect();
    assert_eq!(names, [("received", 1), ("checked", 1), ("compiled", 1), ("copied", 2)]);
    assert_eq!((stored.size, stored.existed, stored.holders), (1_000_000, false, vec![1, 2]));
    assert_eq!(std::fs::read(two.store.path(&digest(&bytes))).unwrap(), bytes);
    assert!(three.store.held().is_empty(), "two copies are enough to go on");
    assert_eq!(two.compiler.compilations.load(Ordering::SeqCst), 0, "compiled when it is assigned");
    assert_eq!(one.unfinished() + two.unfinished(), 0);
}

#[tokio::test]
async fn a_stored_digest_is_answered_at_once_and_renewed_on_both() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    one.knows(&[&two]);
    let bytes = artifact(1, 3_000_000);
    one.put(&bytes).await.unwrap();
    for node in [&one, &two] {
        node.store.renew(&digest(&bytes), 5).unwrap();
    }
    let (steps, stored) = one.put(&bytes).await.unwrap();
    assert!(stored.existed);
    assert_eq!(stored.holders, [1, 2]);
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert_eq!(one.compiler.compilations.load(Ordering::SeqCst), 1);
    for node in [&one, &two] {
        assert!(node.store.get(&digest(&bytes)).unwrap().renewed_ms > 5);
    }
    // A copy alone does not make it ready for a deploy there.
    let (steps, stored) = two.put(&bytes).await.unwrap();
    assert!(stored.existed);
    assert_eq!(steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>(), ["checked", "compiled"]);
}

/// Its process is stopped: the kernel takes connections, nobody answers.
#[tokio::test]
async fn a_silent_peer_delays_no_copy() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    one.knows_address(9, silent.local_addr().unwrap().to_string());
    one.knows_address(2, two.address.to_string());
    for seed in [1, 2] {
        let bytes = artifact(seed, 1000);
        let put = one.put(&bytes);
        let (_, stored) =
            tokio::time::timeout(std::time::Duration::from_secs(2), put).await.unwrap().unwrap();
        assert_eq!(stored.holders, [1, 2]);
    }
}

#[tokio::test]
async fn what_is_refused_leaves_nothing() {
    let node = Node::start(1).await;
    let refused = node.put(b"!bad").await.unwrap_err();
    assert_eq!(refused.code, Code::UnsatisfiedImport);
    assert!(refused.message.contains("a:b/c"), "{refused}");
    let refused = node.put_as(digest(b"other"), b"these").await.unwrap_err();
    assert_eq!(refused.code, Code::DigestMismatch);
    assert!(node.store.held().is_empty());
    assert_eq!(node.unfinished(), 0);
}

#[tokio::test]
async fn sizes_are_checked_before_and_during() {
    let node = Node::start(1).await;
    let mut client = node.client().await;
    let mut put = async |chunks: Vec<UploadChunk>| {
        let mut events = client.put(tokio_stream::iter(chunks)).await.unwrap().into_inner();
        let status = events.message().await.unwrap_err();
        Refusal::from_status(&status)
    };
    let over = usize::try_from(ARTIFACT_SIZE_MAX).unwrap() + 1;
    let refused = put(chunks(digest(b"a"), over, b"")).await;
    assert_eq!(refused.code, Code::ArtifactTooLarge);
    assert!(refused.message.contains("268435457") && refused.message.contains("268435456"), "{refused}");
    assert_eq!(put(chunks(digest(b"abc"), 2, b"abc")).await.code, Code::ArtifactTooLarge);
    assert_eq!(put(chunks(digest(b"abc"), 4, b"abc")).await.code, Code::DigestMismatch);
    assert_eq!(put(chunks(digest(b""), 0, b"")).await.code, Code::InvalidArgument);
    let mut odd = chunks(digest(b"abc"), 3, b"abc");
    odd[0].digest = bytes::Bytes::from_static(b"short");
    assert_eq!(put(odd).await.code, Code::InvalidArgument);
    assert_eq!(node.unfinished(), 0);
}

#[tokio::test]
async fn a_sender_that_leaves_costs_nothing() {
    let node = Node::start(1).await;
    let bytes = artifact(1, 2_000_000);
    let (sender, stream) = mpsc::channel(1);
    let mut client = node.client().await;
    let events = client.put(ReceiverStream::new(stream)).await.unwrap();
    let mut chunks = chunks(digest(&bytes), bytes.len(), &bytes).into_iter();
    for chunk in chunks.by_ref().take(3) {
        sender.send(chunk).await.unwrap();
    }
    until("it is being received", || node.unfinished() == 1).await;
    drop((events, sender));
    until("it is gone", || node.unfinished() == 0).await;

    // Left while it is compiled: the compilation is dropped, and the next sender is not held up.
    node.compiler.gate.forget_permits(1000);
    let put = tokio::spawn({
        let mut client = node.client().await;
        let chunks = super::node::chunks(digest(&bytes), bytes.len(), &bytes);
        async move {
            let mut events = client.put(tokio_stream::iter(chunks)).await.unwrap().into_inner();
            while events.message().await.unwrap().is_some() {}
        }
    });
    until("it is being compiled", || node.compiler.compilations.load(Ordering::SeqCst) == 1).await;
    put.abort();
    until("it is gone", || node.unfinished() == 0).await;
    node.compiler.gate.add_permits(1000);
    assert!(!node.put(&bytes).await.unwrap().1.existed);
}

#[tokio::test]
async fn two_uploads_of_one_digest_are_compiled_once() {
    let node = Node::start(1).await;
    let bytes = artifact(1, 500_000);
    let (first, second) = tokio::join!(node.put(&bytes), node.put(&bytes));
    let existed = [first.unwrap().1.existed, second.unwrap().1.existed];
    assert!(existed.contains(&true) && existed.contains(&false), "{existed:?}");
    assert_eq!(node.compiler.compilations.load(Ordering::SeqCst), 1);
}

/// What is not small.
const LARGE: usize = 2 << 20;

/// Senders that have begun to send large artifacts of one namespace.
async fn begun(node: &Node, namespace: &str, seeds: std::ops::Range<u8>) -> Vec<impl Sized + use<>> {
    let mut open = Vec::new();
    let all = usize::from(seeds.end);
    for seed in seeds {
        let (sender, stream) = mpsc::channel(4);
        let bytes = artifact(seed, LARGE);
        let head = chunks(digest(&bytes), LARGE, b"").remove(0);
        sender.send(UploadChunk { namespace: namespace.to_owned(), ..head }).await.unwrap();
        open.push((sender, node.client().await.put(ReceiverStream::new(stream)).await.unwrap()));
    }
    until("all have begun", || node.unfinished() == all).await;
    open
}

#[tokio::test]
async fn uploads_at_once_are_bounded_and_keep_no_copy_out() {
    let node = Node::start(1).await;
    let most = begun(&node, "a", 0..6).await;
    let refused = node.put_of("a", &artifact(9, LARGE)).await.unwrap_err();
    assert_eq!(refused.code, Code::Overloaded);
    assert!(refused.message.contains("6 uploads of namespace 'a'"), "{refused}");
    let open = (most, begun(&node, "b", 6..8).await);
    let refused = node.put(&artifact(9, LARGE)).await.unwrap_err();
    assert_eq!(refused.code, Code::Overloaded);
    assert!(refused.message.contains("8 uploads at once"), "{refused}");
    node.put_of("a", &artifact(8, 1000)).await.expect("a small one finds a place of its own");
    let bytes = artifact(9, 1000);
    let copy = tokio_stream::iter(chunks(digest(&bytes), 1000, &bytes));
    node.client().await.copy(copy).await.unwrap();
    drop(open);
    until("they are gone", || node.unfinished() == 0).await;
    node.put(&artifact(9, 1000)).await.unwrap();
}

#[tokio::test]
async fn copies_at_once_are_bounded_and_keep_no_upload_out() {
    let node = Node::start(1).await;
    let mut open = Vec::new();
    for seed in 0..8 {
        let (sender, stream) = mpsc::channel(4);
        let bytes = artifact(seed, 1000);
        sender.send(chunks(digest(&bytes), 1000, b"").remove(0)).await.unwrap();
        let mut client = node.client().await;
        open.push((sender, tokio::spawn(async move { client.copy(ReceiverStream::new(stream)).await })));
    }
    until("all have begun", || node.unfinished() == 8).await;
    let bytes = artifact(9, 1000);
    let copy = tokio_stream::iter(chunks(digest(&bytes), 1000, &bytes));
    let refused = node.client().await.copy(copy).await.unwrap_err();
    assert!(refused.message().contains("8 copies"), "{refused}");
    node.put(&bytes).await.unwrap();
}

#[tokio::test]
async fn uploads_are_checked_one_after_the_other() {
    let node = Node::start(1).await;
    let many: Vec<_> = (0..6).map(|seed| artifact(seed, 1000)).collect();
    let (one, two, three) = (node.put(&many[0]), node.put(&many[1]), node.put(&many[2]));
    let (four, five, six) = (node.put(&many[3]), node.put(&many[4]), node.put(&many[5]));
    let done = tokio::join!(one, two, three, four, five, six);
    for result in [done.0, done.1, done.2, done.3, done.4, done.5] {
        result.unwrap();
    }
    assert_eq!(node.compiler.checks_most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_sender_that_goes_on_after_the_answer_is_let_through_as_far_as_it_announced() {
    let node = Node::start(1).await;
    let bytes = artifact(1, 1000);
    node.put(&bytes).await.unwrap();
    let (sender, stream) = mpsc::channel(1);
    let mut client = node.client().await;
    sender.send(chunks(digest(&bytes), 1000, b"").remove(0)).await.unwrap();
    let mut events = client.put(ReceiverStream::new(stream)).await.unwrap().into_inner();
    while let Some(event) = events.message().await.unwrap() {
        if let Some(upload_event::Kind::Stored(stored)) = event.kind {
            assert!(stored.existed);
            break;
        }
    }
    for data in [&bytes[..], &bytes[..1]] {
        let data = bytes::Bytes::copy_from_slice(data);
        sender.send(UploadChunk { data, ..UploadChunk::default() }).await.unwrap();
    }
    let refused = Refusal::from_status(&events.message().await.unwrap_err());
    assert_eq!(refused.code, Code::ArtifactTooLarge);
    assert!(refused.message.contains("at most 1000"), "{refused}");
}

#[tokio::test]
async fn what_came_as_a_copy_and_rotted_is_not_compiled() {
    let node = Node::start(1).await;
    let bytes = artifact(1, 1000);
    let copy = tokio_stream::iter(chunks(digest(&bytes), 1000, &bytes));
    node.client().await.copy(copy).await.unwrap();
    std::fs::write(node.store.path(&digest(&bytes)), artifact(2, 1000)).unwrap();
    let (_, stored) = node.put(&bytes).await.unwrap();
    assert!(!stored.existed, "what was sent took its place");
    assert_eq!(std::fs::read(node.store.path(&digest(&bytes))).unwrap(), bytes);
}

#[tokio::test]
async fn a_dead_peer_is_passed_over_and_alone_is_said() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    one.knows_address(7, closed.clone());
    let (steps, stored) = one.put(&artifact(1, 1000)).await.unwrap();
    assert_eq!(stored.holders, [1]);
    let last = steps.last().unwrap();
    assert!(
        last.name == "alone" && last.detail.contains("node 7") && last.detail.contains(&closed),
        "{last:?}"
    );

    one.knows_address(2, two.address.to_string());
    let (_, stored) = one.put(&artifact(2, 1000)).await.unwrap();
    assert_eq!(stored.holders, [1, 2]);
}

#[tokio::test]
async fn a_live_peer_that_cannot_take_it_fails_the_upload() {
    let (one, two) = (Node::start(1).await, Node::start(2).await);
    one.knows(&[&two]);
    // Its folder is gone: it answers, and cannot store.
    std::fs::remove_dir_all(two.folder.path().join("tmp")).unwrap();
    let refused = one.put(&artifact(1, 1000)).await.unwrap_err();
    assert_eq!(refused.code, Code::Internal);
    assert!(refused.message.starts_with("node 1, copy: node 2 refused a copy: "), "{refused}");
}

#[tokio::test]
async fn stat_tells_and_renews() {
    let node = Node::start(1).await;
    let bytes = artifact(1, 1000);
    let mut client = node.client().await;
    let mut stat = async |renew| {
        let request = StatRequest { digest: digest(&bytes).to_wire(), renew };
        client.stat(request).await.unwrap().into_inner()
    };
    assert!(!stat(true).await.held);
    node.put(&bytes).await.unwrap();
    node.store.renew(&digest(&bytes), 5).unwrap();
    assert!(stat(false).await.held);
    assert_eq!(node.store.get(&digest(&bytes)).unwrap().renewed_ms, 5);
    let said = stat(true).await;
    assert_eq!((said.size, said.kind()), (1000, coracle_proto::pb::Kind::HttpComponent));
    assert!(node.store.get(&digest(&bytes)).unwrap().renewed_ms > 5);
}

#[tokio::test]
async fn a_small_one_passes_large_ones_and_who_waits_is_told() {
    let node = Node::start(1).await;
    node.compiler.gate.forget_permits(1000);
    let compilations = || node.compiler.compilations.load(Ordering::SeqCst);
    let mut client = node.client().await;
    let mut large = Vec::new();
    for seed in 0..3 {
        let bytes = artifact(seed, 2_000_000);
        let chunks = tokio_stream::iter(chunks(digest(&bytes), bytes.len(), &bytes));
        large.push(client.put(chunks).await.unwrap().into_inner());
        until("one is compiled, and the others are on their way", || compilations() == 1).await;
    }
    let mut ahead = Vec::new();
    for events in &mut large {
        // The first one is told of once a second that it is compiled, the others at once that they wait.
        let told = loop {
            match events.message().await.unwrap().unwrap().kind.unwrap() {
                upload_event::Kind::Working(working) => break working,
                upload_event::Kind::Step(_) => {}
                upload_event::Kind::Stored(stored) => panic!("{stored:?}"),
            }
        };
        assert_eq!(told.node, 1);
        ahead.push(told.ahead);
    }
    ahead.sort_unstable();
    println!("compilations before each: {ahead:?}");
    assert_eq!(ahead, [0, 1, 2]);
    let stat = client.stat(StatRequest::default()).await.unwrap().into_inner();
    assert_eq!(stat.compile_bytes, 6_000_000);

    let small = artifact(9, 22_000);
    let put = node.put(&small);
    let compiled = async {
        until("the small one is compiled beside the large one", || compilations() == 2).await;
        // The tests' compiler lets go whoever came first: both that are being compiled.
        node.compiler.gate.add_permits(2);
    };
    let (done, ()) = tokio::join!(put, compiled);
    assert!(!done.unwrap().1.existed);
    node.compiler.gate.add_permits(1000);
    for mut events in large {
        while events.message().await.unwrap().is_some() {}
    }
    let stat = client.stat(StatRequest::default()).await.unwrap().into_inner();
    assert_eq!((compilations(), stat.compile_bytes), (4, 0));
}
