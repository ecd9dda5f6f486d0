//! Goal: the README's first command does what the README says, also for a user without rights and with few files.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use coracle_tests::{Client, Live, eventually};

/// The word in dev's output that tells that everything is up.
const READY: &str = "ready; Ctrl-C";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The first command of the README's own text.
fn readme_command() -> String {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let line = readme
        .lines()
        .find(|line| line.starts_with("    cargo run --release"))
        .expect("the README has the command");
    line.trim().to_owned()
}

/// Calls each example at each of the three gateways.
async fn examples_answer() {
    let client = Client::default();
    for port in [8080, 8081, 8082] {
        eventually(&format!("hello at {port}"), async || {
            let answer = client.get(&format!("http://127.0.0.1:{port}/hello?name=Ada")).await?;
            if answer.text() == "Hello, Ada!\n" {
                Ok(())
            } else {
                Err(format!("{} {}", answer.status, answer.text()))
            }
        })
        .await;
        let counted =
            client.post(&format!("http://127.0.0.1:{port}/wordcount"), "one two three\n").await.unwrap();
        assert!(counted.text().contains("\"words\":3"), "{}", counted.text());
    }
    let photo = photo();
    let answer = client.post("http://127.0.0.1:8080/thumbnail?width=120&filter=gray", photo).await.unwrap();
    assert_eq!(
        (answer.status.as_u16(), answer.header("content-type")),
        (200, "image/jpeg"),
        "{}",
        answer.text()
    );
    assert_eq!(&answer.body[..2], &[0xff, 0xd8], "no JPEG");
}

/// A photograph that matplotlib ships.
fn photo() -> Vec<u8> {
    let python = std::env::var("CORACLE_PYTHON")
        .expect("CORACLE_PYTHON is a Python with matplotlib; .ci/run makes one");
    let find = "import matplotlib.cbook as c; print(c.get_sample_data('grace_hopper.jpg', asfileobj=False))";
    let output = Command::new(python).args(["-c", find]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(String::from_utf8(output.stdout).unwrap().trim()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_command_works() {
    let command = readme_command();
    let mut words = command.split_whitespace();
    let mut cargo = Command::new(words.next().unwrap());
    cargo.args(words).current_dir(root());
    let mut dev = Live::start(cargo);
    // It builds first: with cold dependencies ten minutes and more.
    dev.wait_for(READY, Duration::from_secs(300)).await;
    examples_answer().await;
    dev.interrupt().await;

    // The same as nobody, with the 1024 files that many systems give, from a folder of its own.
    let program = release_program();
    let home = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(home.path(), Some(65534), Some(65534)).unwrap();
    // Not 'coracle': that is the name of the folder in which contexts are kept.
    let copy = home.path().join("program");
    std::fs::copy(program, &copy).unwrap();
    let mut limited = Command::new("setpriv");
    limited.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "prlimit", "--nofile=1024:1024"]);
    limited.arg(&copy).args(["dev", "--nodes", "3", "--demo"]).current_dir(home.path());
    for variable in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "TMPDIR"] {
        limited.env(variable, home.path());
    }
    let mut dev = Live::start(limited);
    dev.wait_for(READY, Duration::from_secs(60)).await;
    examples_answer().await;
    dev.interrupt().await;
}

/// The program that the README's command has just built.
fn release_program() -> std::path::PathBuf {
    let target = std::env::var("CARGO_TARGET_DIR").map_or_else(|_| root().join("target"), Into::into);
    let program = target.join("release/coracle");
    assert!(program.exists(), "{} is missing", program.display());
    program
}
