//! The program under test as a command: one that ends, and one that goes on talking.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::wait::{eventually, within};

/// What a command came to.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its exit code.
    pub code: i32,
    /// Results.
    pub stdout: String,
    /// Talk.
    pub stderr: String,
}

impl Finished {
    /// The output of a command that must have worked.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    pub fn ok(self) -> Self {
        self.failed_with(0)
    }

    /// The output of a command that must have ended with this code.
    ///
    /// # Panics
    /// When it ended with another one.
    #[must_use]
    pub fn failed_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// Its stdout as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

impl From<Output> for Finished {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Runs a command to its end, with something on stdin.
///
/// # Panics
/// When it cannot be started or does not end.
pub async fn run(
    program: &Path,
    arguments: &[&str],
    environment: &[(String, String)],
    stdin: &str,
) -> Finished {
    use tokio::io::AsyncWriteExt as _;
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the program under test starts");
    if let Some(mut pipe) = child.stdin.take() {
        // A command that reads nothing closes its end first.
        let _ = pipe.write_all(stdin.as_bytes()).await;
    }
    let waited = tokio::time::timeout(Duration::from_secs(300), child.wait_with_output()).await;
    waited.expect("the command ends within 5 minutes").expect("output").into()
}

/// A command that goes on: what it writes to stdout and stderr is read as it comes. It is killed in the end.
#[derive(Debug)]
pub struct Live {
    child: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Live {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let (sender, lines) = channel();
        let outputs: [Option<Box<dyn Read + Send>>; 2] = [
            child.stdout.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
            child.stderr.take().map(|pipe| Box::new(pipe) as Box<dyn Read + Send>),
        ];
        for output in outputs.into_iter().flatten() {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    // A test that is over reads no more.
                    let _ = sender.send(line);
                }
            });
        }
        Self { child, lines, seen: Vec::new() }
    }

    /// Waits for a line with these words that was not waited for before, and answers with it.
    ///
    /// # Panics
    /// When it does not come.
    pub async fn wait_for(&mut self, words: &str, goal: Duration) -> String {
        let found = within(goal, &format!("it says '{words}'"), || {
            self.seen.extend(self.lines.try_iter().inspect(|line| println!("| {line}")));
            let found = self.seen.iter().position(|line| line.contains(words));
            std::future::ready(found.ok_or_else(|| self.seen.join("\n")))
        })
        .await;
        self.seen.remove(found)
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ctrl-C, as the terminal sends it; it must end well.
    ///
    /// # Panics
    /// When it does not.
    pub async fn interrupt(&mut self) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"));
        kill_process(pid.expect("a process id"), Signal::INT).expect("the signal is sent");
        eventually("it ends well", || {
            std::future::ready(match self.child.try_wait() {
                Ok(Some(status)) if status.success() => Ok(()),
                other => Err(format!("{other:?}")),
            })
        })
        .await;
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
