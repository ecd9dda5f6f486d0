//! Goal: what leads from one part to another. Connections are made and taken in one place, modules know each other in one
//! direction.

use std::collections::{BTreeMap, BTreeSet};

use super::{Source, report, sources};

/// Every gRPC connection between two processes is made and taken in one place: what they need to be safe is put there.
#[test]
fn connections_have_one_door() {
    let outside = |source: &&Source| !source.name.starts_with("transport/") && !is_test(&source.name);
    let wrong: Vec<_> = sources().iter().filter(outside).flat_map(connections).collect();
    report("a gRPC connection is made by `Dialer` and taken by `Acceptor`, of `transport/`", &wrong);
}

#[test]
fn connections_are_found() {
    let found = |text: &str| {
        let name = "controller/src/peers.rs".to_owned();
        connections(&Source { name, text: format!("//! A plant.\n{text}\n") }).len()
    };
    assert_eq!(found("use tonic::transport::Channel;\nuse tonic::transport::server::Connected;"), 0);
    for planted in [
        "use tonic::transport::Endpoint;",
        "use tonic::transport::{Channel, Endpoint};",
        "let server = tonic::transport::Server::builder();",
        "    transport::{Channel, Server},",
    ] {
        assert_eq!(found(planted), 1, "{planted}");
    }
}

#[test]
fn ways_round_the_dialer_are_found() {
    let found = |text: &str| {
        let name = "controller/src/peers.rs".to_owned();
        connections(&Source { name, text: format!("//! A plant.\n{text}\n") }).len()
    };
    for allowed in [
        "let mut client = Client::connect(targets, deadline, talk).await?;",
        "let client = AdminClient::new(channel);",
        "fn channel(address: &str) -> Result<Channel, Error>; // not by Channel::from_static",
        "let stream = TcpStream::connect(address).await?;",
    ] {
        assert_eq!(found(allowed), 0, "{allowed}");
    }
    for planted in [
        "let channel = Channel::from_static(\"http://127.0.0.1:1\").connect_lazy();",
        "let channel = Channel::from_shared(address)?.connect().await?;",
        "let channel = tonic::transport::Channel::builder(uri).connect().await?;",
        "let (channel, added) = Channel::balance_channel(8);",
        "let client = AdminClient::connect(address).await?;",
        "let client = pb::admin_client::AdminClient::<Channel>::connect(address).await?;",
        "    .and_then(ControlClient::connect)",
    ] {
        assert_eq!(found(planted), 1, "{planted}");
    }
}

/// Whether a file is of tests alone.
fn is_test(name: &str) -> bool {
    ["tests/", "/tests.rs", "/fake.rs"].iter().any(|part| name.contains(part))
}

/// Lines that name what makes or takes connections.
fn connections(source: &Source) -> Vec<String> {
    let names = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        let path = code.split_once("transport::").map_or("", |(_, path)| path);
        let mut words = path.split(|char: char| !char.is_alphanumeric() && char != '_');
        words.any(|word| matches!(word, "Endpoint" | "Server")) || dials(code)
    };
    let told = |(number, line): (usize, &str)| format!("{}:{number}: {}", source.name, line.trim());
    source.product().filter(|(_, line)| names(line)).map(told).collect()
}

/// Whether a line makes an endpoint by way of its channel, or a generated client that connects by itself. A plain `Client` is
/// one of our own.
fn dials(line: &str) -> bool {
    let line = line.replace("::<Channel>", "");
    let mut pairs =
        line.match_indices("::").map(|(at, _)| (last_word(&line[..at]), first_word(&line[at + 2..])));
    pairs.any(|(owner, verb)| match verb {
        "from_shared" | "from_static" | "builder" | "balance_list" | "balance_channel" => owner == "Channel",
        "connect" => owner == "Channel" || owner.strip_suffix("Client").is_some_and(|name| !name.is_empty()),
        _ => false,
    })
}

fn first_word(text: &str) -> &str {
    text.split(|char: char| !char.is_alphanumeric() && char != '_').next().unwrap_or_default()
}

fn last_word(text: &str) -> &str {
    text.rsplit(|char: char| !char.is_alphanumeric() && char != '_').next().unwrap_or_default()
}

/// Whom each module of a package names.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// Packages whose top modules make no circle: who reads one reads those below it, and never comes back.
const TREES: [&str; 3] = ["cli/src/", "controller/src/", "transport/src/"];

#[test]
fn modules_make_no_circle() {
    let sources = sources();
    for root in TREES {
        let found = imports(&sources, root);
        assert!(found.len() >= 4, "{root}: only {} modules were found", found.len());
        let told = |(module, names): (&String, &BTreeSet<String>)| format!("{root}{module} -> {names:?}");
        let wrong: Vec<_> = circle(found).iter().map(told).collect();
        report("top modules import each other in one direction: move what both need below them", &wrong);
    }
}

#[test]
fn circles_are_found() {
    let source = |name: &str, text: &str| Source { name: format!("cli/src/{name}"), text: text.to_owned() };
    let mut sources = vec![
        source("lib.rs", "mod a;\nuse crate::a::A;"),
        source("a.rs", "use crate::b::B;\n// crate::c\n#[cfg(test)]\nmod tests {\n    use crate::c::C;\n}"),
        source("b/deep.rs", "use crate::{\n    c::C, d,\n};"),
        source("c.rs", "fn own() { crate::c::own() }"),
        source("d.rs", ""),
    ];
    assert!(circle(imports(&sources, "cli/src/")).is_empty());
    sources.push(source("d/deep.rs", "fn back() { crate::a::back() }"));
    let found = circle(imports(&sources, "cli/src/"));
    assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), ["a", "b", "d"]);
}

/// The modules below `root`, each with those that its files name.
fn imports(sources: &[Source], root: &str) -> Imports {
    let module = |source: &Source| {
        let first = source.name.strip_prefix(root)?.split(['/', '.']).next()?;
        (!matches!(first, "lib" | "main")).then(|| first.to_owned())
    };
    let mut imports: Imports =
        sources.iter().filter_map(module).map(|name| (name, BTreeSet::new())).collect();
    let all: BTreeSet<String> = imports.keys().cloned().collect();
    for source in sources.iter().filter(|source| !is_test(&source.name)) {
        let Some(own) = module(source) else { continue };
        let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
        let text: Vec<String> = source.product().map(|(_, line)| code(line)).collect();
        let named = named(&text.join("\n")).into_iter().filter(|name| *name != own && all.contains(name));
        imports.entry(own.clone()).or_default().extend(named);
    }
    imports
}

/// What comes after each `crate::`, one by one where several are named together.
fn named(text: &str) -> Vec<String> {
    let word = |text: &str| {
        let text = text.trim_start();
        let end = text.find(|char: char| !char.is_alphanumeric() && char != '_').unwrap_or(text.len());
        text[..end].to_owned()
    };
    let after = text.match_indices("crate::").map(|(at, path)| &text[at + path.len()..]);
    after
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(many) => many.split(';').next().unwrap_or_default().split(',').map(word).collect(),
            None => vec![word(rest)],
        })
        .collect()
}

/// What is left when those that name nobody who is left are taken away, again and again.
fn circle(mut left: Imports) -> Imports {
    loop {
        let free: Vec<String> =
            left.iter().filter(|(_, names)| names.is_empty()).map(|(module, _)| module.clone()).collect();
        if free.is_empty() {
            return left;
        }
        for module in free {
            left.remove(&module);
            for names in left.values_mut() {
                names.remove(&module);
            }
        }
    }
}
