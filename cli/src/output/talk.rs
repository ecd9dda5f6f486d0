//! Talk: what a person is told on stderr while a command works.

use std::io::{self, BufRead as _, IsTerminal as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::door;
use crate::exit::Failure;
use crate::os;

/// Redraws of a progress bar's spinner.
const TICK: std::time::Duration = std::time::Duration::from_millis(100);

/// A sentence, which may have words of anybody's, behind a mark of our own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    mark: String,
    text: String,
}

impl Said {
    /// Painted or not; empty where there is none.
    pub(super) fn mark(&self) -> &str {
        &self.mark
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

impl From<&str> for Said {
    fn from(text: &str) -> Self {
        Self { mark: String::new(), text: text.to_owned() }
    }
}

impl From<&String> for Said {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

/// How a command talks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Talk {
    quiet: bool,
    terminal: bool,
    colour: bool,
}

impl Talk {
    /// To a terminal with progress and colour, else in plain lines.
    pub(crate) fn new(quiet: bool, no_color: bool) -> Self {
        let terminal = door::talks_to_terminal();
        Self { quiet, terminal, colour: terminal && !no_color }
    }

    /// Whether somebody looks.
    pub(crate) fn is_on_terminal(&self) -> bool {
        self.terminal
    }

    /// Says something that helps and is not needed.
    pub(crate) fn say(&self, said: impl Into<Said>) {
        if !self.quiet {
            say(said);
        }
    }

    /// Says what to do next, where somebody looks.
    pub(crate) fn hint(&self, text: &str) {
        if self.terminal {
            self.say(text);
        }
    }

    /// Says something that must not be missed.
    pub(crate) fn warn(&self, text: &str) {
        say(self.marked("33", "warning:", text));
    }

    /// A step that was done.
    pub(crate) fn done(&self, text: &str) -> Said {
        self.marked("32", "✓", text)
    }

    /// A step that went wrong, for now or for good.
    pub(crate) fn failed(&self, text: &str) -> Said {
        self.marked("31", "✗", text)
    }

    fn marked(&self, code: &str, mark: &str, text: &str) -> Said {
        let mark = if self.colour { format!("\x1b[{code}m{mark}\x1b[0m") } else { mark.to_owned() };
        Said { mark, text: text.to_owned() }
    }

    /// A bar for so many bytes, or a spinner for what has no measure; on a terminal only.
    pub(crate) fn progress(&self, bytes: Option<u64>) -> Progress {
        let shown = self.terminal && !self.quiet;
        let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let template = match bytes {
            Some(_) => "  {msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec}",
            None => "  {spinner} {msg}",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::with_draw_target(bytes, target).with_style(style);
        if shown && bytes.is_none() {
            bar.enable_steady_tick(TICK);
        }
        Progress { bar, talk: *self }
    }

    /// Asks for a line that is not shown while it is typed, of at most so many bytes; also whoever wants no talk.
    pub(crate) fn ask_secretly(&self, question: &str, bytes_max: usize) -> Result<Vec<u8>, Failure> {
        say(question);
        let line = os::read_unseen(bytes_max).map_err(|error| Failure::local("the terminal", error))?;
        line.ok_or_else(|| Failure::usage("nothing was done"))
    }

    /// Asks before something is destroyed. Where nobody can answer, `yes` must have been given.
    pub(crate) fn confirm(&self, question: &str, yes: bool) -> Result<(), Failure> {
        if yes {
            return Ok(());
        }
        if !(io::stdin().is_terminal() && self.terminal) {
            return Err(Failure::usage(format!("{question} There is nobody to ask: give -y to do it")));
        }
        door::ask(question);
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).map_err(|error| Failure::local("stdin", error))?;
        match answer.trim() {
            "y" | "Y" | "yes" => Ok(()),
            _ => Err(Failure::usage("nothing was done")),
        }
    }
}

/// What is going on at present, redrawn in place, with lines above it that stay.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    talk: Talk,
}

impl Progress {
    /// What is being done or waited for.
    pub(crate) fn status(&self, text: impl Into<String>) {
        self.bar.set_message(door::one_line(text));
    }

    /// Begins to count again: what it returns is told of bytes that are done.
    pub(crate) fn counter(&self) -> impl Fn(usize) + Send + 'static {
        self.bar.set_position(0);
        let bar = self.bar.clone();
        move |bytes| bar.inc(bytes as u64)
    }

    /// So many bytes are done.
    pub(crate) fn at(&self, bytes: u64) {
        self.bar.set_position(bytes);
    }

    /// What it returns is told of further bytes that are done.
    pub(crate) fn adder(&self) -> impl Fn(usize) + Send + 'static {
        let bar = self.bar.clone();
        move |bytes| bar.inc(bytes as u64)
    }

    /// A line that stays.
    pub(crate) fn line(&self, said: impl Into<Said>) {
        self.bar.suspend(|| self.talk.say(said));
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// One sentence to stderr.
pub(crate) fn say(said: impl Into<Said>) {
    door::say(&said.into());
}
