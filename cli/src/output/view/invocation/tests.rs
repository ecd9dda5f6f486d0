//! Goal: an invocation is shown with what each attempt took, and a dead one with what to do.

use super::*;

fn report(attempt: u32) -> pb::AttemptReport {
    pb::AttemptReport {
        node: 2,
        version: 3,
        started_ms: 1_795_248_000_000,
        ended_ms: 1_795_248_000_250,
        cold: attempt == 1,
        outcome: "500".to_owned(),
        error: "status 500".to_owned(),
        cpu_us: 1_500,
        memory_byte_ms: 2_000_000_000,
        bytes_in: 10,
        bytes_out: 2048,
        attempt,
    }
}

fn dead() -> pb::InvocationRecord {
    pb::InvocationRecord {
        invocation: vec![0xaa; 16].into(),
        namespace: "shop".to_owned(),
        queue: "function/cart".to_owned(),
        function: "cart".to_owned(),
        kind: "async".to_owned(),
        state: InvocationState::Dead.into(),
        accepted_ms: 1_795_248_000_000,
        ended_ms: 1_795_248_001_000,
        attempts: 2,
        reports: vec![report(1), report(2)],
        cause: "attempts".to_owned(),
        last_error: "status 500".to_owned(),
        message: 7,
        ..pb::InvocationRecord::default()
    }
}

#[test]
fn an_invocation_is_listed() {
    let view = InvocationView::from(dead());
    let cells = view.cells();
    let id = "aa".repeat(16);
    assert_eq!(cells[..4], [id.as_str(), "shop/cart", "dead", "2"]);
    assert_eq!(cells[4..6], ["2026-11-21T08:00:00.000Z", "2026-11-21T08:00:01.000Z"]);
    let waiting = pb::InvocationRecord {
        state: InvocationState::Waiting.into(),
        namespace: "default".to_owned(),
        ended_ms: 0,
        reports: Vec::new(),
        last_error: String::new(),
        ..dead()
    };
    let json = serde_json::to_value(InvocationView::from(waiting)).unwrap();
    for key in ["ended", "next", "node", "last_error", "trace"] {
        assert!(json[key].is_null(), "{key}: {json}");
    }
    assert_eq!((&json["state"], &json["function"]), (&"waiting".into(), &"cart".into()));
}

#[test]
fn attempts_have_what_they_took() {
    let view = InvocationView::from(dead());
    let json = serde_json::to_value(&view).unwrap();
    let first = &json["reports"][0];
    assert_eq!((&first["cpu_ms"], &first["gb_ms"]), (&1.5.into(), &2.0.into()));
    assert_eq!((&first["took_ms"], &first["cold"]), (&250.into(), &true.into()));
    let text = view.describe(false);
    let line = text.lines().find(|line| line.starts_with("1 ")).unwrap();
    let cells: Vec<_> = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert_eq!(
        cells,
        ["1", "2", "3", "2026-11-21T08:00:00.000Z", "250 ms", "500", "yes", "1.5", "2.00", "status 500"]
    );
    assert!(!text.contains("2 KiB") && view.describe(true).contains("2 KiB"), "{text}");
}

#[test]
fn a_dead_letter_says_what_to_do() {
    let id = "aa".repeat(16);
    let text = InvocationView::from(dead()).describe(false);
    for part in [
        format!("coracle dlq show {id}"),
        format!("coracle invocation retry {id}"),
        format!("coracle dlq purge shop/cart {id}"),
    ] {
        assert!(text.contains(&part), "no '{part}' in\n{text}");
    }
    let well = pb::InvocationRecord { state: InvocationState::Succeeded.into(), ..dead() };
    assert!(!InvocationView::from(well).describe(false).contains("dead letter"));
}

#[test]
fn one_of_a_queue_that_nobody_takes_from_has_no_function() {
    let wire = pb::InvocationRecord { namespace: "shop".into(), queue: "jobs".into(), ..Default::default() };
    let view = InvocationView::from(wire);
    assert_eq!((view.function(), view.queue()), (String::new(), "shop/jobs".to_owned()));
}

#[test]
fn an_answer_is_text_where_it_is() {
    let header = pb::EventHeader { name: "content-type".to_owned(), value: "text/plain".into() };
    let answer = pb::EventAnswer { status: 200, headers: vec![header], body: "hi".into(), body_bytes: 2 };
    let json = serde_json::to_value(ResultView::new(&[0xaa; 16], answer.clone())).unwrap();
    assert_eq!((&json["status"], &json["body"]), (&200.into(), &"hi".into()));
    assert_eq!(json["headers"][0]["value"], "text/plain");
    let binary = pb::EventAnswer { body: vec![0xff].into(), ..answer };
    assert!(serde_json::to_value(ResultView::new(&[0xaa; 16], binary)).unwrap()["body"].is_null());
}
