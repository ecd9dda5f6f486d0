//! Several addresses, refusals, broken connections: what is sent again, to whom, and under which request id.

use coracle_proto::status::{Code, Refusal};

use super::fake::{Fake, Script};
use super::*;

const LONG: Duration = Duration::from_secs(10);

async fn client(addresses: &[&Address], wait: Duration) -> Result<Client, Failure> {
    let targets = Targets::given(addresses.iter().map(|address| (*address).clone()).collect());
    Client::connect(targets, Deadline::after(wait), Talk::new(true, true)).await
}

async fn deploy(client: &mut Client) -> Result<pb::DeployReply, Failure> {
    let send = async |mut admin: Admin, context| {
        admin.deploy(pb::DeployRequest { context: Some(context), deploy: None }).await
    };
    client.change("deploy a", send).await
}

/// An address at which nobody listens.
fn nobody() -> Address {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string().parse().unwrap()
}

#[tokio::test]
async fn a_change_keeps_its_request_id_on_each_retry() {
    let refusals = [Refusal::new(Code::NoQuorum, "no leader").into(), tonic::Status::unavailable("reset")];
    let first = Fake::start(Script { refusals: refusals.into(), ..Script::default() }).await;
    let second = Fake::refusing(Refusal::new(Code::OutcomeUnknown, "the leader was lost")).await;
    let mut client = client(&[&first.address, &second.address], LONG).await.unwrap();
    assert_eq!(deploy(&mut client).await.unwrap().version, 1);
    let ids = [first.request_ids(), second.request_ids()].concat();
    assert_eq!(ids.len(), 4, "two refusals of the first, one of the second, one success");
    assert!(ids.iter().all(|id| *id == ids[0] && id.len() == 16), "{ids:?}");
    first.with(|script| {
        assert_eq!(script.changes[0].0.since, 41, "the revision seen before the first attempt");
        assert!(script.changes.iter().all(|(_, trace)| *trace == client.trace().to_string()));
    });
    deploy(&mut client).await.unwrap();
    let next = [first.request_ids(), second.request_ids()].concat();
    assert_eq!(next.iter().filter(|id| **id != ids[0]).count(), 1, "another change has another id");
}

#[tokio::test]
async fn what_is_refused_for_good_is_not_sent_again() {
    let first = Fake::refusing(Refusal::new(Code::RouteConflict, "'/a' belongs to 'b'")).await;
    let second = Fake::start(Script::default()).await;
    let mut client = client(&[&first.address, &second.address], LONG).await.unwrap();
    let failure = deploy(&mut client).await.unwrap_err();
    assert_eq!(failure.exit, Exit::Conflict);
    assert_eq!(
        failure.message,
        "deploy a: '/a' belongs to 'b' (code route-conflict, see docs/errors/route-conflict.md)"
    );
    assert_eq!((first.request_ids().len(), second.request_ids().len()), (1, 0));
}

#[tokio::test]
async fn faults_are_tried_a_few_times_and_no_more() {
    let faults = (0..20).map(|_| Refusal::new(Code::Internal, "a bug").into()).collect();
    let node = Fake::start(Script { refusals: faults, ..Script::default() }).await;
    let failure = deploy(&mut client(&[&node.address], LONG).await.unwrap()).await.unwrap_err();
    assert_eq!(failure.exit, Exit::Server);
    assert_eq!(node.request_ids().len(), FAULTS_MAX as usize);
}

#[tokio::test]
async fn want_of_a_quorum_is_waited_for_until_the_deadline() {
    let refusals = (0..1000).map(|_| Refusal::new(Code::NoQuorum, "no leader").into()).collect();
    let node = Fake::start(Script { refusals, ..Script::default() }).await;
    let mut client = client(&[&node.address], Duration::from_millis(400)).await.unwrap();
    let failure = deploy(&mut client).await.unwrap_err();
    assert!(failure.message.contains("code no-quorum"), "{failure}");
    assert_eq!(failure.exit, Exit::Server);
    assert!((2..20).contains(&node.request_ids().len()), "{} attempts", node.request_ids().len());
}

#[tokio::test]
async fn the_next_address_is_tried_and_none_is_said() {
    let node = Fake::start(Script::default()).await;
    let dead = nobody();
    let mut reached = client(&[&dead, &node.address], LONG).await.unwrap();
    deploy(&mut reached).await.unwrap();
    let failure = client(&[&dead], Duration::from_millis(100)).await.unwrap_err();
    assert_eq!(failure.exit, Exit::Connect);
    assert!(failure.message.contains(dead.as_str()) && failure.message.contains("refused"), "{failure}");
}

/// A node that is stopped: the kernel takes connections for it, and nothing answers.
fn silent() -> (std::net::TcpListener, Address) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    (listener, address)
}

#[tokio::test]
async fn silent_addresses_do_not_use_up_the_time() {
    let (silent, node) = ([silent(), silent(), silent()], Fake::start(Script::default()).await);
    let addresses = [&silent[0].1, &silent[1].1, &silent[2].1, &node.address];
    // One after the other they would take it all.
    let mut reached = client(&addresses, Duration::from_secs(5)).await.unwrap();
    deploy(&mut reached).await.unwrap();
}

#[tokio::test]
async fn addresses_that_are_all_silent_are_given_up_together() {
    let silent: Vec<_> = (0..16).map(|_| silent()).collect();
    let addresses: Vec<_> = silent.iter().map(|(_, address)| address).collect();
    let watch = Stopwatch::start();
    let failure = client(&addresses, Duration::from_secs(60)).await.unwrap_err();
    // One after the other they would take half a minute.
    assert!(watch.elapsed() < Duration::from_secs(20), "{:?}", watch.elapsed());
    assert_eq!(failure.exit, Exit::Connect);
    assert!(addresses.iter().all(|address| failure.message.contains(address.as_str())), "{failure}");
}

#[tokio::test]
async fn a_node_tells_of_others() {
    let second = Fake::start(Script::default()).await;
    let script = Script {
        controllers: vec![second.address.to_string()],
        refusals: [Refusal::new(Code::NoQuorum, "cut off").into()].into(),
        ..Script::default()
    };
    let first = Fake::start(script).await;
    deploy(&mut client(&[&first.address], LONG).await.unwrap()).await.unwrap();
    assert_eq!((first.request_ids().len(), second.request_ids().len()), (1, 1));
}

#[tokio::test]
async fn a_request_never_goes_to_another_cluster() {
    let first = Fake::refusing(Refusal::new(Code::NoQuorum, "no leader")).await;
    let other = Fake::start(Script { cluster: 8, ..Script::default() }).await;
    let failure =
        deploy(&mut client(&[&first.address, &other.address], LONG).await.unwrap()).await.unwrap_err();
    assert_eq!(other.request_ids().len(), 0);
    assert!(failure.message.contains("belongs to the cluster"), "{failure}");
}

#[tokio::test]
async fn reads_are_asked_again_too() {
    let node = Fake::refusing(tonic::Status::unknown("h2 error")).await;
    let mut client = client(&[&node.address], LONG).await.unwrap();
    let request = pb::ListRoutesRequest { stale: false };
    client.call("route list", async |mut admin| admin.list_routes(request).await).await.unwrap();
    assert_eq!(node.with(|script| script.reads), 2);
}
