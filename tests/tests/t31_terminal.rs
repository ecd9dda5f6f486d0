//! Goal: what somebody else wrote does nothing to the terminal of who looks at it, and programs get it whole.

use std::path::Path;

use coracle_tests::{Cluster, eventually, run, wat};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_coracle-under-test");

/// Clears the screen, as C0 and as C1, and turns the text; with what a manifest and a text module write for it.
const HOSTILE: &str = "\u{1b}[2J\u{9b}2J\u{202e}\u{7f}";
const HOSTILE_TOML: &str = r"\u001b[2J\u009b2J\u202e\u007f";
const HOSTILE_WAT: &str = r"\1b[2J\c2\9b2J\e2\80\ae\7f";

#[track_caller]
fn assert_tame(what: &str, text: &str) {
    let acts = |char: char| (char.is_control() && !matches!(char, '\n' | '\t')) || char == '\u{202e}';
    assert!(!text.contains(acts), "{what}: {text:?}");
}

/// Writes hostile words, and a byte that is no text, to both of its streams.
fn says(folder: &Path) {
    let text = format!(
        r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\40\00\00\00\0e\00\00\00")
  (data (i32.const 64) "{HOSTILE_WAT}\9b\0a")
  (func (export "_start")
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 32)))
    (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 32)))))"#
    );
    let _ = wat::write(folder, "says", &text);
}

#[tokio::test(flavor = "multi_thread")]
async fn words_of_others_do_nothing_to_the_terminal() {
    let (cluster, folder) = (Cluster::start(PROGRAM, 1).await, TempDir::new().unwrap());
    says(folder.path());
    let manifest = folder.path().join("coracle.toml");
    let text = format!(
        "[function.says]\ncomponent = 'says.wasm'\nenv = {{ KEY = \"{HOSTILE_TOML}\" }}\nargs = [\"{HOSTILE_TOML}\"]\n"
    );
    std::fs::write(&manifest, text).unwrap();
    let _ = cluster.run(&["deploy", &manifest.display().to_string()]).await.ok();

    for format in ["table", "wide", "json", "yaml", "name"] {
        let get = cluster.run(&["function", "get", "says", "-o", format]).await.ok();
        assert_tame(format, &(get.stdout + &get.stderr));
    }
    let table = cluster.run(&["function", "get", "says"]).await.ok();
    assert!(table.stdout.contains(r"KEY=\u{1b}[2J\u{9b}2J\u{202e}\u{7f}"), "{}", table.stdout);
    let json = cluster.run(&["function", "get", "says", "-o", "json"]).await.ok().json();
    assert_eq!(json["versions"][0]["spec"]["env"]["KEY"], HOSTILE, "{json}");

    // A body is nobody's words but the function's: a program gets it as it is, a person gets to see it.
    let body = cluster.client.post(&cluster.url(0, "/says"), "").await.unwrap();
    assert!(body.text().contains(HOSTILE), "{}", body.text());
    let piped = cluster.run(&["invoke", "says"]).await.ok();
    assert!(piped.stdout.starts_with(HOSTILE), "{:?}", piped.stdout);
    let command = format!("{PROGRAM} --address {} --quiet invoke says", cluster.nodes[0].grpc);
    let seen = run(Path::new("script"), &["-qec", &command, "/dev/null"], &[], "").await.ok();
    let seen = seen.stdout.replace("\r\n", "\n");
    assert_tame("on a terminal", &seen);
    assert!(seen.contains(r"\u{1b}[2J\u{9b}2J\u{202e}\u{7f}\x9b"), "{seen}");

    for format in ["table", "wide", "json", "yaml", "name"] {
        let logs = eventually("a line of the log", async || {
            let logs = cluster.run(&["logs", "says", "-o", format]).await.ok();
            if logs.stdout.contains("2J") { Ok(logs) } else { Err(format!("{logs:?}")) }
        });
        let logs = logs.await;
        assert_tame(format, &(logs.stdout + &logs.stderr));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_with_words_of_others_do_nothing_to_the_terminal() {
    let (cluster, folder) = (Cluster::start(PROGRAM, 1).await, TempDir::new().unwrap());
    let text = format!(r#"(module (import "env" "{HOSTILE_WAT}\0a✓ done" (func)) (func (export "_start")))"#);
    let file = wat::write(folder.path(), "asks", &text).display().to_string();
    let refused = cluster.run(&["deploy", "asks", &file]).await.failed_with(4);
    assert!(refused.stderr.contains("[2J"), "{}", refused.stderr);
    assert_tame("an import", &refused.stderr);
    assert!(!refused.stderr.lines().any(|line| line.starts_with("✓ done")), "{}", refused.stderr);

    let manifest = folder.path().join("coracle.toml");
    std::fs::write(&manifest, format!("[function.says]\n\"{HOSTILE_TOML}\" = 1\n")).unwrap();
    let key = cluster.run(&["deploy", &manifest.display().to_string()]).await.failed_with(1);
    assert!(key.stderr.contains("unknown key"), "{}", key.stderr);
    assert_tame("a key", &key.stderr);
    for words in [&["function", "get", HOSTILE][..], &[HOSTILE], &["invoke", "a", "-H", HOSTILE]] {
        let usage = cluster.run(words).await.failed_with(1);
        assert_tame("the command line", &usage.stderr);
        // The parser leaves ESC out by itself.
        assert!(usage.stderr.contains(r"\u{9b}2J"), "{}", usage.stderr);
    }
}
