//! Lines as they come: as many together as are there, within the bounds of one publish.

use bytes::Bytes;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::sync::mpsc;

use crate::command::input::MESSAGE_BYTES_MAX as DATA_BYTES_MAX;
use crate::exit::Failure;
use crate::units::show_bytes;

/// Messages that are published together, as stores take them.
pub(super) const MESSAGES_MAX: usize = 256;
/// Bytes of the messages of one publish, as stores take them.
const BYTES_MAX: usize = 448 << 10;

/// Those that were there, or why there are no more.
pub(super) type Gathered = Result<Vec<Bytes>, Failure>;

/// Reads while others are sent.
#[derive(Debug)]
pub(super) struct Batches {
    /// Of a message beside its data.
    head_bytes: usize,
    lines: mpsc::Receiver<Result<Bytes, Failure>>,
    /// For the next batch.
    held: Option<Bytes>,
    failed: Option<Failure>,
}

impl Batches {
    pub(super) fn of(file: File, head_bytes: usize) -> Self {
        let (sender, lines) = mpsc::channel(MESSAGES_MAX);
        tokio::spawn(read(file, sender));
        Self { head_bytes, lines, held: None, failed: None }
    }

    /// Waits for a line and takes those that are there, so many at most; none after the last. May be dropped while it
    /// waits.
    pub(super) async fn next(&mut self, most: usize) -> Option<Gathered> {
        if let Some(failure) = self.failed.take() {
            return Some(Err(failure));
        }
        let first = match self.held.take() {
            Some(line) => line,
            None => match self.lines.recv().await? {
                Ok(line) => line,
                Err(failure) => return Some(Err(failure)),
            },
        };
        let mut bytes = first.len() + self.head_bytes;
        let mut batch = vec![first];
        while batch.len() < most.min(MESSAGES_MAX) {
            match self.lines.try_recv() {
                Ok(Ok(line)) if bytes + line.len() + self.head_bytes <= BYTES_MAX => {
                    bytes += line.len() + self.head_bytes;
                    batch.push(line);
                }
                Ok(Ok(line)) => {
                    self.held = Some(line);
                    break;
                }
                Ok(Err(failure)) => {
                    self.failed = Some(failure);
                    break;
                }
                Err(_) => break,
            }
        }
        Some(Ok(batch))
    }
}

async fn read(file: File, lines: mpsc::Sender<Result<Bytes, Failure>>) {
    let mut reader = BufReader::new(file);
    for number in 1_u64.. {
        let line = match line(&mut reader, number).await {
            Ok(None) => return,
            Ok(Some(line)) => Ok(line),
            Err(failure) => Err(failure),
        };
        let last = line.is_err();
        if lines.send(line).await.is_err() || last {
            return;
        }
    }
}

/// Without what ends it; none after the last.
async fn line(reader: &mut BufReader<File>, number: u64) -> Result<Option<Bytes>, Failure> {
    let mut line = Vec::new();
    // With `\r\n` behind it.
    let most = DATA_BYTES_MAX as u64 + 2;
    let read = (&mut *reader).take(most).read_until(b'\n', &mut line).await;
    if read.map_err(|error| Failure::local(format!("line {number}"), error))? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    if line.len() > DATA_BYTES_MAX {
        let most = show_bytes(DATA_BYTES_MAX as u64);
        return Err(Failure::usage(format!("line {number}: a message has at most {most}")));
    }
    Ok(Some(line.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn batches(text: &[u8]) -> Vec<Gathered> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let mut batches = Batches::of(File::open(file.path()).await.unwrap(), 200);
        let mut found = Vec::new();
        while let Some(gathered) = batches.next(MESSAGES_MAX).await {
            found.push(gathered);
        }
        found
    }

    #[tokio::test]
    async fn each_line_is_one_message_also_the_last_without_an_end() {
        let found = batches(b"a\r\n\nb").await;
        let lines: Vec<_> = found.into_iter().flat_map(Result::unwrap).collect();
        assert_eq!(lines, ["a", "", "b"]);
        assert!(batches(b"").await.is_empty());
    }

    #[tokio::test]
    async fn a_batch_is_within_its_bounds_and_keeps_the_order() {
        let text: String = (0..2_000).map(|number| format!("{number}{}\n", "x".repeat(1_000))).collect();
        let found: Vec<_> = batches(text.as_bytes()).await.into_iter().map(Result::unwrap).collect();
        assert!(found.iter().all(|batch| batch.len() <= MESSAGES_MAX));
        assert!(found.iter().all(|batch| batch.iter().map(Bytes::len).sum::<usize>() <= BYTES_MAX));
        let all: Vec<_> = found.into_iter().flatten().collect();
        assert_eq!(all.len(), 2_000);
        assert!(all[7].starts_with(b"7x") && all[1_999].starts_with(b"1999x"));
    }

    #[tokio::test]
    async fn a_line_that_is_too_long_is_named_and_what_is_before_it_goes() {
        let mut text = b"a\n".to_vec();
        text.extend(vec![b'x'; DATA_BYTES_MAX + 1]);
        text.extend(b"\nb\n");
        let mut found = batches(&text).await;
        let failure = found.pop().unwrap().unwrap_err();
        assert_eq!(failure.message, "line 2: a message has at most 64 KiB");
        assert_eq!(found.into_iter().flat_map(Result::unwrap).collect::<Vec<_>>(), ["a"]);
        let longest = vec![b'x'; DATA_BYTES_MAX];
        assert_eq!(batches(&longest).await[0].as_ref().unwrap()[0].len(), DATA_BYTES_MAX);
    }
}
