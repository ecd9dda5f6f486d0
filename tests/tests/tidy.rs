//! Goal: the style rules that no compiler checks. Each rule is a test; each names the file, the line and the way out.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use coracle_proto::status::Code;

#[path = "tidy/ways.rs"]
mod ways;

/// Lines of a file without its inline tests. Half of the files should be under 150.
const FILE_LINES_MAX: usize = 400;

/// Modules that decide and do nothing else (ARCHITECTURE.md, the pure line).
const PURE: [&str; 26] = [
    "controller/src/model.rs",
    "controller/src/model/",
    "controller/src/placer.rs",
    "controller/src/placer/",
    "controller/src/reconcile/plan",
    "controller/src/liveness/detector",
    "controller/src/seats.rs",
    "controller/src/groups.rs",
    "controller/store/src/cron.rs",
    "controller/store/src/cron/",
    "controller/store/src/schedules/agenda.rs",
    "controller/store/src/clock/middle.rs",
    "controller/store/src/schedules/pace.rs",
    "controller/store/src/schedules/plan.rs",
    "controller/store/src/hmac.rs",
    "controller/store/src/members.rs",
    "controller/store/src/model.rs",
    "controller/store/src/model/",
    "controller/src/soft/orders",
    "controller/src/upkeep.rs",
    "controller/src/upkeep/",
    "node/src/balance.rs",
    "node/src/balance/",
    "node/src/agent/plan",
    "node/src/load.rs",
    "node/src/turns/queue.rs",
];

/// What a pure module may use. A new line here is a decision, not a convenience.
const PURE_IMPORTS: [&str; 45] = [
    "std::cmp",
    "std::collections::BTreeMap",
    "std::collections::BTreeSet",
    "std::collections::VecDeque",
    "std::collections::{",
    "std::fmt",
    "std::iter",
    "std::num",
    "std::ops",
    "std::sync::Arc",
    "std::time::Duration",
    "std::time::{Duration, Instant}",
    "imbl",
    "base64",
    "croner",
    "jiff",
    "blake3",
    "bytes::Bytes",
    "prost::Message",
    "serde_json",
    "sha2",
    "thiserror",
    "coracle_proto::codec",
    "coracle_proto::id",
    "coracle_proto::key",
    "coracle_proto::record",
    "coracle_proto::route",
    "coracle_proto::spec",
    "coracle_proto::status",
    "coracle_proto::pb",
    "coracle_proto::{",
    "coracle_raft::Draft",
    "coracle_raft::Position",
    "coracle_raft::Reader",
    "coracle_raft::Seat",
    "coracle_raft::Stop",
    "coracle_raft::{Halt, Stop}",
    "crate::clock::millis",
    "crate::cron",
    "crate::hmac",
    "crate::model",
    "crate::placer",
    "crate::balance",
    "crate::agent::plan",
    "crate::load",
];

/// What no line of a pure module may name, imported or not.
const IMPURE: [&str; 13] = [
    "async ",
    "HashMap",
    "::now()",
    "eprintln!",
    "println!",
    "rand::",
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::thread",
    "tokio::",
    "tracing::",
];

/// A dependency and the places that may name it.
const DOORS: [(&str, &[&str]); 11] = [
    ("openraft", &["controller/raft/"]),
    ("sled", &["controller/raft/"]),
    ("fjall", &["controller/raft/"]),
    ("wasmtime", &["node/src/runtime", "node/src/outbound", "tests/benches/platform/floor"]),
    ("wasmparser", &["node/src/runtime"]),
    ("hyper", &["node/src/front", "node/src/outbound", "cli/src/admin", "cli/src/http", "tests/"]),
    ("hyper_util", &["node/src/front", "node/src/outbound", "cli/src/admin", "cli/src/http", "tests/"]),
    ("hickory_resolver", &["node/src/outbound/names"]),
    ("croner", &["controller/store/src/cron"]),
    ("jiff", &["controller/store/src/cron"]),
    ("rustix", &["os.rs", "os/", "tests/"]),
];

struct Source {
    name: String,
    text: String,
}

impl Source {
    /// The lines of the product: without the inline test module, which stands last.
    fn product(&self) -> impl Iterator<Item = (usize, &str)> {
        let begins =
            ["", "pub(super) ", "pub(crate) "].map(|open| format!("\n#[cfg(test)]\n{open}mod tests"));
        let end = begins.iter().find_map(|begin| self.text.find(begin)).unwrap_or(self.text.len());
        self.text[..end].lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace").to_owned()
}

fn sources() -> Vec<Source> {
    let mut found = Vec::new();
    for package in ["proto", "ports", "transport", "controller", "node", "cli", "tests", "examples"] {
        collect(&root().join(package), &mut found);
    }
    assert!(
        found.len() > 50,
        "only {} source files were found: the test looks in the wrong place",
        found.len()
    );
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    for entry in
        fs::read_dir(folder).expect("a folder of the workspace").map(|entry| entry.expect("an entry"))
    {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root()).expect("below the root").display().to_string();
            found.push(Source { name, text: fs::read_to_string(&path).expect("readable source") });
        }
    }
}

fn report(rule: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{rule}:\n  {}", wrong.join("\n  "));
}

#[test]
fn files_are_short() {
    let long = |source: &Source| {
        let lines = source.product().count();
        (lines > FILE_LINES_MAX).then(|| format!("{}: {lines} lines", source.name))
    };
    let wrong: Vec<_> = sources().iter().filter_map(long).collect();
    report("a file is one type or one verb: split what is over 400 lines", &wrong);
}

#[test]
fn files_say_their_purpose() {
    let silent = |source: &Source| (!source.text.starts_with("//!")).then(|| source.name.clone());
    let wrong: Vec<_> = sources().iter().filter_map(silent).collect();
    report("a file opens with a //! sentence of purpose", &wrong);
}

#[test]
fn folders_are_named_for_their_concern() {
    let banned = ["mod.rs", "utils.rs", "util.rs", "common.rs", "helpers.rs", "helper.rs", "misc.rs"];
    let vague = |source: &Source| {
        let file = source.name.rsplit('/').next().unwrap_or_default();
        banned.contains(&file).then(|| source.name.clone())
    };
    let wrong: Vec<_> = sources().iter().filter_map(vague).collect();
    report("no mod.rs, no utils, common, helpers", &wrong);
}

#[test]
fn the_pure_line_holds() {
    let pure = |source: &&Source| {
        PURE.iter().any(|place| source.name.starts_with(place))
            && !source.name.ends_with("tests.rs")
            && !source.name.contains("/tests/")
    };
    let all = sources();
    let pure: Vec<_> = all.iter().filter(pure).collect();
    assert!(pure.len() >= 5, "only {} pure files were found: the test looks in the wrong places", pure.len());
    let wrong: Vec<_> = pure.into_iter().flat_map(impurities).collect();
    report("pure modules use only what is on the list in tidy.rs", &wrong);
}

#[test]
fn impurities_are_found() {
    let found = |text: &str| {
        let name = "controller/src/placer.rs".to_owned();
        impurities(&Source { name, text: format!("//! A plant.\n{text}\n") }).len()
    };
    assert_eq!(
        found("use std::collections::BTreeMap;\n/// Not async, no tokio::time.\npub fn place() {}"),
        0
    );
    for planted in [
        "use std::fs;",
        "use rand::Rng;",
        "async fn place() {}",
        "fn now() -> Instant { std::time::Instant::now() }",
        "fn read() { let _ = std::fs::read(\"x\"); }",
        "fn luck() -> u8 { rand::random() }",
        "fn say() { println!(\"x\"); }",
        "fn map() -> HashMap<u8, u8> { HashMap::new() }",
    ] {
        assert_eq!(found(planted), 1, "{planted}");
    }
}

/// Lines of a pure module that import or name what is not pure.
fn impurities(source: &Source) -> Vec<String> {
    let impure = |line: &str| {
        let code = line.split("//").next().unwrap_or_default();
        let Some(import) = line.strip_prefix("use ").or_else(|| line.strip_prefix("pub use ")) else {
            return IMPURE.iter().any(|word| code.contains(word));
        };
        let own = import.starts_with("super::")
            || import.starts_with("self::")
            || import_is_child(&source.name, import);
        !own && !PURE_IMPORTS.iter().any(|allowed| import.starts_with(allowed))
    };
    let told = |(number, line): (usize, &str)| format!("{}:{number}: {}", source.name, line.trim());
    source.product().filter(|(_, line)| impure(line)).map(told).collect()
}

/// `pub use child::Type` in `model.rs` re-exports from `model/child.rs`.
fn import_is_child(file: &str, import: &str) -> bool {
    let first = import.split("::").next().unwrap_or_default();
    let folder = file.trim_end_matches(".rs");
    root().join(folder).join(format!("{first}.rs")).exists()
}

#[test]
fn each_dependency_has_one_door() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (number, line) in source.text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            for (dependency, doors) in DOORS {
                let named = names_crate(code, dependency);
                if named
                    && !doors.iter().any(|door| source.name.contains(door))
                    && !source.name.ends_with("tidy.rs")
                {
                    wrong.push(format!("{}:{}: {dependency}", source.name, number + 1));
                }
            }
        }
    }
    report("a dependency is named behind its own door only", &wrong);
}

/// What somebody else wrote must not act on the operator's terminal: `door` escapes it.
#[test]
fn the_terminal_has_one_door() {
    const WAYS: [&str; 4] = ["io::stdout()", "io::stderr", "print!(", "println!("];
    let mut wrong = Vec::new();
    for source in
        sources().iter().filter(|it| it.name.starts_with("cli/src/") && !it.name.ends_with("/door.rs"))
    {
        for (number, line) in source.product() {
            if WAYS.iter().any(|way| line.contains(way)) && !source.name.contains("/tests") {
                wrong.push(format!("{}:{number}: {}", source.name, line.trim()));
            }
        }
    }
    report("the command line writes to stdout and stderr in output/door.rs only", &wrong);
}

/// Whether `code` has a path that begins with the crate's name.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|char| char.is_alphanumeric() || matches!(char, '_' | ':' | '"'))
    })
}

#[test]
fn generated_types_stay_at_the_edges() {
    let edges = [
        "proto/", "/api", "codec", "tests/", "network", "/client", "/command", "service", "remote", "wire",
        "follower", "exchange", "ways", "report", "transfer", "announce", "identity", "soft", "watch",
        "upload", "join", "forward", "children", "logs", "admin", "orders", "output",
    ];
    let mut wrong = Vec::new();
    for source in sources() {
        if edges.iter().any(|edge| source.name.contains(edge)) {
            continue;
        }
        for (number, line) in source.product() {
            if names_crate(line, "pb") || line.contains("coracle_proto::pb") {
                wrong.push(format!("{}:{number}: {}", source.name, line.trim()));
            }
        }
    }
    report("generated protobuf types belong to api folders and codec files", &wrong);
}

#[test]
fn tests_wait_by_predicate() {
    let mut wrong = Vec::new();
    for source in sources() {
        if !source.name.contains("tests/") && !source.text.contains("#[cfg(test)]") {
            continue;
        }
        let tests_from =
            if source.name.contains("tests/") { 0 } else { source.text.find("#[cfg(test)]").unwrap_or(0) };
        let before = source.text[..tests_from].lines().count();
        for (number, line) in source.text[tests_from..].lines().enumerate() {
            if line.contains("sleep(")
                && !line.contains("a bounded poll")
                && !source.name.ends_with("tidy.rs")
            {
                wrong.push(format!("{}:{}: {}", source.name, before + number + 1, line.trim()));
            }
        }
    }
    report("tests wait for a predicate; a poll inside such a wait is marked '// a bounded poll'", &wrong);
}

#[test]
fn each_code_has_its_page() {
    let folder = root().join("docs/errors");
    let missing = |code: &&Code| !folder.join(format!("{code}.md")).exists();
    let wrong: Vec<_> =
        Code::ALL.iter().filter(missing).map(|code| format!("docs/errors/{code}.md is missing")).collect();
    report("each error code has a page", &wrong);
    let names: BTreeSet<String> = Code::ALL.iter().map(|code| format!("{code}.md")).collect();
    let stray = |entry: std::io::Result<fs::DirEntry>| {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        (name != "README.md" && !names.contains(&name))
            .then(|| format!("docs/errors/{name} is no code's page"))
    };
    let wrong: Vec<_> = fs::read_dir(folder).expect("docs/errors").filter_map(stray).collect();
    report("each page has an error code", &wrong);
}

#[test]
fn nothing_names_a_machine() {
    let banned = [
        "/root/",
        "/work/main",
        "/home/",
        "crates.io/api",
        "proxy.golang",
        "registry.npmjs",
        "files.pythonhosted",
    ];
    let mut wrong = Vec::new();
    for source in sources().iter().filter(|source| !source.name.ends_with("tidy.rs")) {
        for (number, line) in source.text.lines().enumerate() {
            if banned.iter().any(|word| line.contains(word)) {
                wrong.push(format!("{}:{}: {}", source.name, number + 1, line.trim()));
            }
        }
    }
    report("sources name no machine's paths and no registry's host", &wrong);
}
