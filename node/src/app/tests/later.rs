//! Goal: a whole node accepts a call, runs it later, and says what it took; no controller is needed for it.

use coracle_proto::pb::InvocationState;

use super::controller::Controller;
use super::whole::{CLUSTER, Plane, answers, guest, state, until};
use crate::stores::tests::fake::Store;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_accepted_run_later_and_what_it_took_is_told() {
    let (folder, store) = (tempfile::tempdir().unwrap(), Store::start().await);
    let (controller, address, serving) = Controller::start(CLUSTER).await;
    let plane = Plane::start_as(folder.path(), &[address], 1, &coracle_proto::record::Role::DEFAULT);
    until("a report", async || controller.last_report().is_some()).await;
    let stored = plane.put(&guest("hello-min.component.wasm")).await;
    let mut records = state(&plane, &stored, 5);
    records.extend(Store::records(&[&store]).into_iter().filter_map(|change| change.record));
    controller.set(5, records);
    answers(&plane).await;
    serving.abort();

    let (status, accepted) = plane.ask("/hello/later", "prefer: respond-async\r\n").await.unwrap();
    assert_eq!(status, 202, "{accepted}");
    until("it has ended", async || store.message(0).state == InvocationState::Succeeded).await;
    let message = store.message(0);
    let answer = message.answer.unwrap();
    let (report, bytes) = (&message.reports[0], answer.body.len() as u64);
    println!("{report:?}");
    assert!(answer.status == 200 && bytes > 0 && report.bytes_out == bytes, "{report:?}");
    assert!(report.cpu_us > 0 && report.memory_byte_ms > 0, "{report:?}");
    assert_eq!((report.node, report.version, report.outcome.as_str()), (1, 1, "200"));
    let location = accepted.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
    let (status, again) = plane.get(&format!("{location}/result")).await.unwrap();
    assert!(status == 200 && again.contains("coracle-attempt: 1"), "{again}");
    plane.end().await;
    let takes = &store.state().takes;
    assert!(takes.last().is_some_and(|last| last.places == 0), "it said that it goes away");
}
