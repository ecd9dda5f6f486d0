//! Look-ups against a name server of the test's own, which may be silent, slow or a liar.

mod server;

use std::sync::mpsc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::server::{A, AAAA, Asked, NameServer, record, reply};
use super::super::shares::Whose;
use super::*;

/// An answer is there, or it never comes.
const SOON: Duration = Duration::from_secs(2);

fn function(name: &str) -> FunctionId {
    FunctionId::parse("", name).unwrap()
}

fn names(server: &NameServer, max: LookupsMax) -> Arc<Names> {
    let hosts = "10.9.9.9 db.hosts\n127.0.0.1 localhost\n10.9.9.9 far.localhost\n";
    Arc::new(Names::new(System::fixed(server.upstream(), hosts, clock::now()), max))
}

async fn found(names: &Names, name: &str, function: &FunctionId) -> Result<Vec<String>, OutboundError> {
    let found = names.addresses(name, function).await?;
    Ok(found.iter().map(ToString::to_string).collect())
}

/// Waits, and says for what in vain.
async fn until(reason: &str, done: impl Fn() -> bool) {
    let waited = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    assert!(timeout(SOON * 5, waited).await.is_ok(), "not in time: {reason}");
}

/// 10.0.0.1 for an hour, and for IPv6 that there is none.
fn right(asked: &Asked) -> Vec<Vec<u8>> {
    vec![if asked.kind == A {
        reply(asked, 0, &[record(&[], A, 3600, &[10, 0, 0, 1])])
    } else {
        reply(asked, 0, &[])
    }]
}

#[tokio::test]
async fn what_says_itself_where_it_is_asks_nobody() {
    let server = NameServer::start(right).await;
    let (names, f) = (names(&server, LookupsMax { node: 0, function: 0 }), function("f"));
    for (host, addresses) in [
        ("10.1.2.3", &["10.1.2.3"][..]),
        ("::1", &["::1"]),
        ("localhost", &["127.0.0.1", "::1"]),
        ("LOCALHOST.", &["127.0.0.1", "::1"]),
        ("far.localhost", &["127.0.0.1", "::1"]),
        ("DB.hosts", &["10.9.9.9"]),
        ("db.hosts.", &["10.9.9.9"]),
    ] {
        assert_eq!(found(&names, host, &f).await.unwrap(), addresses, "{host}");
    }
    assert_eq!(server.asked(), []);
    assert!(!is_this_machine("notlocalhost") && !is_this_machine("localhost.example"));
}

#[tokio::test]
async fn a_node_without_name_servers_says_so_for_each_name() {
    let folder = tempfile::tempdir().unwrap();
    let files = Files { resolv_conf: folder.path().join("none"), hosts: folder.path().join("none") };
    let names = Names::new(System::read(files, clock::now()), LookupsMax::DEFAULTS);
    let error = found(&names, "db.example", &function("f")).await.unwrap_err().to_string();
    assert!(error.contains("none: No such file") && error.contains("'nameserver'"), "{error}");
    assert_eq!(found(&names, "localhost", &function("f")).await.unwrap().len(), 2);
}

/// The blocking pool has one thread: look-ups neither take it nor need it.
#[test]
fn a_silent_name_server_holds_up_nothing_but_its_names() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(silence());
}

async fn silence() {
    let silent = |asked: &Asked| if asked.name.starts_with("silent") { Vec::new() } else { right(asked) };
    let server = NameServer::start(silent).await;
    let (names, f, g) = (names(&server, LookupsMax::DEFAULTS), function("f"), function("g"));
    assert_eq!(found(&names, "known.example", &g).await.unwrap(), ["10.0.0.1"]);
    let begun = clock::now();
    let waiting: Vec<_> = (0..200)
        .map(|number| {
            let (names, f) = (Arc::clone(&names), f.clone());
            tokio::spawn(async move { found(&names, &format!("silent{number}.example"), &f).await })
        })
        .collect();
    let LookupsMax { function: most, .. } = LookupsMax::DEFAULTS;
    // All have begun, and the fault bites: the server has heard of each that may be under way.
    let heard = || server.asked().iter().filter(|(name, ..)| name.starts_with("silent")).count();
    let refused = || waiting.iter().filter(|it| it.is_finished()).count();
    until("the others are refused", || refused() >= 200 - most as usize && heard() >= 2 * most as usize)
        .await;
    assert_eq!(names.shares.under_way(), (most, 1));

    let asked = clock::now();
    timeout(SOON, tokio::task::spawn_blocking(|| ())).await.expect("the pool is free").unwrap();
    let pool = asked.elapsed();
    // What is known needs no share, not even of the function that has none left.
    for function in [&f, &g] {
        assert_eq!(found(&names, "known.example", function).await.unwrap(), ["10.0.0.1"]);
    }
    let (end, hold) = mpsc::channel::<()>();
    let held = tokio::task::spawn_blocking(move || hold.recv());
    let asked = clock::now();
    let other = timeout(SOON, found(&names, "other.example", &g)).await.expect("another one's look-up");
    let look_up = asked.elapsed();
    assert_eq!(other.unwrap(), ["10.0.0.1"], "it has a share of its own, and needs no thread");
    drop(end);
    held.await.unwrap().unwrap_err();
    assert_eq!(names.shares.under_way(), (most, 1), "all that was silent is so still");

    let (mut refused, mut silent) = (0, 0);
    for result in join_all(waiting).await {
        match result.unwrap().unwrap_err() {
            OutboundError::TooManyLookups { whose: Whose::Function, max } if max == most => refused += 1,
            OutboundError::ResolveTimeout(why) if why.contains("no answer of 127.0.0.1") => silent += 1,
            error => panic!("{error}"),
        }
    }
    let took = begun.elapsed();
    assert_eq!((refused, silent), (200 - most, most));
    assert!(took < LOOKUP_TIMEOUT + SOON, "{took:?}");
    assert_eq!(names.shares.under_way(), (0, 0));
    println!(
        "{refused} refused, {silent} given up after {took:?}; spawn_blocking took {pool:?}, another one's look-up {look_up:?}"
    );
}

#[tokio::test]
async fn each_bound_is_named() {
    let server = NameServer::start(|_| Vec::new()).await;
    let names = names(&server, LookupsMax { node: 2, function: 1 });
    let mut open = Vec::new();
    for name in ["f", "g"] {
        let names = Arc::clone(&names);
        open.push(tokio::spawn(
            async move { found(&names, &format!("{name}.example"), &function(name)).await },
        ));
    }
    until("both are under way", || names.shares.under_way() == (2, 2)).await;
    let refused = async |name: &str| found(&names, "a.example", &function(name)).await.unwrap_err();
    let error = refused("f").await;
    assert_eq!(
        error.to_string(),
        "the function has 1 look-ups of names under way on this node, and may have no more"
    );
    assert!(error.is_refusal());
    let error = refused("h").await;
    assert!(matches!(error, OutboundError::TooManyLookups { whose: Whose::Node, max: 2 }), "{error}");
    // What nobody waits for any more is no look-up.
    for task in open {
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
    assert_eq!(names.shares.under_way(), (0, 0));
}

/// As many as a node may have, at a server that answers all of them.
#[tokio::test]
async fn all_that_may_be_under_way_are_answered() {
    let server = NameServer::start(right).await;
    let (names, max) = (names(&server, LookupsMax::DEFAULTS), LookupsMax::DEFAULTS);
    let begun = clock::now();
    let all = (0..max.node).map(|number| {
        let (names, function) = (Arc::clone(&names), function(&format!("f{}", number / max.function)));
        async move { found(&names, &format!("n{number}.example"), &function).await }
    });
    for result in join_all(all).await {
        assert_eq!(result.unwrap(), ["10.0.0.1"]);
    }
    println!("{} names at once took {:?}", max.node, begun.elapsed());
    assert_eq!(names.shares.under_way(), (0, 0));
}

#[tokio::test]
async fn an_answer_is_asked_for_once_and_so_is_that_there_is_none() {
    let server = NameServer::start(|asked| match asked.name.as_str() {
        "none.example" => vec![server::nothing(asked, 3, 60)],
        "empty.example" => vec![server::nothing(asked, 0, 60)],
        "broken.example" => vec![reply(asked, 2, &[])],
        _ => right(asked),
    })
    .await;
    let (names, f) = (names(&server, LookupsMax::DEFAULTS), function("f"));
    for _ in 0..10 {
        for name in ["db.example", "DB.Example"] {
            assert_eq!(found(&names, name, &f).await.unwrap(), ["10.0.0.1"]);
        }
        for name in ["none.example", "empty.example"] {
            let error = found(&names, name, &f).await.unwrap_err();
            assert_eq!(error.to_string(), format!("name not resolved: '{name}' has no address"));
        }
    }
    for name in ["db.example", "none.example", "empty.example"] {
        assert_eq!((server.times(name, A), server.times(name, AAAA)), (1, 1), "{name}");
    }
    // A failure is none of these.
    for times in 1..3 {
        let error = found(&names, "broken.example", &f).await.unwrap_err();
        assert!(error.to_string().contains("'broken.example' at 127.0.0.1: "), "{error}");
        assert!(server.times("broken.example", A) >= times);
    }
}

#[tokio::test]
async fn an_answer_that_is_too_long_comes_by_tcp() {
    let server = loop {
        let server = NameServer::start(|asked| vec![server::cut_short(asked)]).await;
        if let Some(server) = server.with_tcp(|asked| right(asked).concat()).await {
            break server;
        }
    };
    let found = found(&names(&server, LookupsMax::DEFAULTS), "db.example", &function("f")).await;
    assert_eq!(found.unwrap(), ["10.0.0.1"]);
}

#[tokio::test]
async fn equal_look_ups_are_one_and_go_on_without_the_first() {
    let gate = Arc::new(Semaphore::new(0));
    let server = NameServer::start_behind(Arc::clone(&gate), right).await;
    let names = names(&server, LookupsMax::DEFAULTS);
    let waiting: Vec<_> = (0..50)
        .map(|number| {
            let (names, function) = (Arc::clone(&names), function(if number % 2 == 0 { "f" } else { "g" }));
            tokio::spawn(async move { found(&names, "db.example", &function).await })
        })
        .collect();
    let asked = |kind| server.times("db.example", kind) > 0;
    until("the server is asked", || asked(A) && asked(AAAA)).await;
    assert_eq!(names.shares.under_way(), (1, 1));
    waiting[0].abort();
    gate.add_permits(Semaphore::MAX_PERMITS >> 1);
    for (number, result) in join_all(waiting).await.into_iter().enumerate() {
        match result {
            Ok(addresses) => assert_eq!(addresses.unwrap(), ["10.0.0.1"]),
            Err(error) => assert!(number == 0 && error.is_cancelled(), "{error}"),
        }
    }
    assert_eq!((server.times("db.example", A), server.times("db.example", AAAA)), (1, 1));
    assert_eq!(names.shares.under_way(), (0, 0));
}

#[tokio::test]
async fn answers_that_lie_are_passed_over_or_errors() {
    let server = NameServer::start(server::lie).await;
    let (names, f) = (names(&server, LookupsMax::DEFAULTS), function("f"));
    let all = server::LIES.map(|(name, told)| {
        let (names, f) = (Arc::clone(&names), f.clone());
        async move { (name, told, found(&names, &format!("{name}.example"), &f).await) }
    });
    for (name, told, result) in join_all(all).await {
        println!("{name}: {result:?}");
        if name == "other-name" {
            assert!(result.as_ref().unwrap_err().to_string().ends_with("has no address"), "{result:?}");
        }
        match (told, result) {
            (Some(address), Ok(addresses)) => assert_eq!(addresses, [address], "{name}"),
            (None, Err(OutboundError::Resolve(_) | OutboundError::ResolveTimeout(_))) => {}
            (_, result) => panic!("{name}: {result:?}"),
        }
    }
    // Whatever the bytes are, nobody panics: each seed is a name.
    for seed in 0..300 {
        let result = timeout(SOON * 4, found(&names, &format!("seed{seed}.example"), &f)).await;
        assert!(result.expect("an end").is_err(), "seed {seed}");
    }
    assert_eq!(names.shares.under_way(), (0, 0));
}
