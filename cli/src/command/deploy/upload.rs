//! The first step of a deploy: the component goes to a node, which stores, checks, compiles and copies it.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use coracle_proto::id::{Digest, FunctionId, Namespace};
use coracle_proto::pb::{self, upload_event};
use coracle_proto::spec::ARTIFACT_SIZE_MAX;
use coracle_proto::status::{Code, Refusal};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;
use tonic::{Response, Status};

use crate::client::{Admin, Client};
use crate::command::input;
use crate::exit::Failure;
use crate::output::{Progress, Talk};
use crate::units::{show_bytes, show_duration};

/// Bytes of one message: what the API takes at most.
const CHUNK_MAX: usize = 256 << 10;

/// A component, whole in memory: what was hashed is what is sent, also when the file changes meanwhile.
#[derive(Debug)]
pub(super) struct Artifact {
    pub(super) digest: Digest,
    bytes: Bytes,
}

impl Artifact {
    /// Whether there is such a file.
    pub(super) fn find(path: &Path) -> Result<(), Failure> {
        input::find(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
    }

    /// Reads a file, or stdin for '-'.
    pub(super) async fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let unreadable = |error: std::io::Error| Failure::usage(format!("{shown}: {error}"));
        let mut bytes = Vec::new();
        // One byte more than allowed tells that there is more.
        let limit = ARTIFACT_SIZE_MAX + 1;
        let file = input::open(path).await.map_err(unreadable)?;
        file.take(limit).read_to_end(&mut bytes).await.map_err(unreadable)?;
        if bytes.is_empty() {
            return Err(Failure::usage(format!("{shown}: it is empty")));
        }
        if bytes.len() as u64 > ARTIFACT_SIZE_MAX {
            let reason = format!("{shown}: it has over {}", show_bytes(ARTIFACT_SIZE_MAX));
            return Err(Refusal::new(Code::ArtifactTooLarge, reason).into());
        }
        let digest = Digest::new(Sha256::digest(&bytes).into());
        Ok(Self { digest, bytes: bytes.into() })
    }

    pub(super) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The messages of an upload for a function of that namespace; `sent` is told of each one's bytes.
    fn chunks(
        &self,
        namespace: &Namespace,
        sent: impl Fn(usize) + Send + 'static,
    ) -> impl Iterator<Item = pb::UploadChunk> + Send + 'static {
        let (digest, size, bytes) = (self.digest, self.size(), self.bytes.clone());
        let namespace = namespace.to_string();
        (0..bytes.len()).step_by(CHUNK_MAX).map(move |start| {
            let data = bytes.slice(start..bytes.len().min(start + CHUNK_MAX));
            sent(data.len());
            match start {
                0 => pb::UploadChunk { digest: digest.to_wire(), size, data, namespace: namespace.clone() },
                _ => pb::UploadChunk { data, ..pb::UploadChunk::default() },
            }
        })
    }
}

/// Uploads to whichever node takes it. Sending it again is harmless: it is named by its digest.
pub(super) async fn upload(
    client: &mut Client,
    artifact: &Artifact,
    id: &FunctionId,
    talk: Talk,
) -> Result<pb::Stored, Failure> {
    let progress = talk.progress(Some(artifact.size()));
    progress.status(format!("uploading {id}"));
    let doing = Doing::default();
    let attempt =
        async |admin: Admin| send(admin, (artifact, &id.namespace), (&progress, &doing), talk).await;
    let stored = client.call_slow(&format!("upload of {id}"), Duration::MAX, attempt).await;
    let stored = stored.map_err(|failure| match doing.set(None) {
        Some(last) if client.deadline().is_over() => {
            let message = format!("{}; at last it was {}", failure.message, phrase(&last));
            Failure { message, ..failure }
        }
        Some(_) | None => failure,
    })?;
    let holders: Vec<_> = stored.holders.iter().map(ToString::to_string).collect();
    let known = if stored.existed { ", known already" } else { "" };
    let size = show_bytes(artifact.size());
    let nodes = if holders.len() == 1 { "node" } else { "nodes" };
    progress.line(talk.done(&format!("{id}: {size} held by {nodes} {}{known}", holders.join(", "))));
    Ok(stored)
}

/// What the node did last, as far as it told: said when the time is up, which may have gone by in a queue.
#[derive(Debug, Default)]
struct Doing(Mutex<Option<pb::Working>>);

impl Doing {
    fn set(&self, now: Option<pb::Working>) -> Option<pb::Working> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), now)
    }
}

async fn send(
    mut admin: Admin,
    (artifact, namespace): (&Artifact, &Namespace),
    (progress, doing): (&Progress, &Doing),
    talk: Talk,
) -> Result<Response<pb::Stored>, Status> {
    doing.set(None);
    let chunks = tokio_stream::iter(artifact.chunks(namespace, progress.counter()));
    let mut events = admin.upload(chunks).await?.into_inner();
    let mut ahead = None;
    while let Some(event) = events.message().await? {
        match event.kind {
            Some(upload_event::Kind::Working(working)) => {
                progress.status(phrase(&working));
                // How many are before it is worth a line that stays; how long it takes is not.
                if working.ahead > 0 && ahead.replace(working.ahead) != Some(working.ahead) {
                    progress.line(&format!("  {}", phrase(&working)));
                }
                doing.set(Some(working));
            }
            Some(upload_event::Kind::Step(step)) => {
                doing.set(None);
                progress.status(sentence(&step));
                progress.line(talk.done(&sentence(&step)));
            }
            Some(upload_event::Kind::Stored(stored)) => return Ok(Response::new(stored)),
            // Something that a newer node tells.
            None => {}
        }
    }
    Err(Status::unavailable("the node ended the upload without a word"))
}

/// `compiling on node 1, 12 s`, or `waiting behind 3 compilations on node 1, 12 s`.
fn phrase(working: &pb::Working) -> String {
    let (node, seconds) = (working.node, working.elapsed_ms / 1000);
    match working.ahead {
        0 => format!("compiling on node {node}, {seconds} s"),
        ahead => format!("{} on node {node}, {seconds} s", waiting_behind(ahead)),
    }
}

/// `waiting behind 3 compilations`.
pub(super) fn waiting_behind(ahead: u32) -> String {
    let noun = if ahead == 1 { "compilation" } else { "compilations" };
    format!("waiting behind {ahead} {noun}")
}

/// `compiled on node 2: 1.2 MiB of code (340 ms)`.
fn sentence(step: &pb::Step) -> String {
    let node = if step.node == 0 { String::new() } else { format!(" on node {}", step.node) };
    let detail = if step.detail.is_empty() { String::new() } else { format!(": {}", step.detail) };
    let elapsed = show_duration(Duration::from_millis(step.elapsed_ms));
    format!("{}{node}{detail} ({elapsed})", step.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_bounded_and_only_the_first_says_what_it_is() {
        let bytes: Bytes = vec![7; CHUNK_MAX * 2 + 5].into();
        let artifact = Artifact { digest: Digest::new([1; 32]), bytes: bytes.clone() };
        let (count, counted) = std::sync::mpsc::channel();
        let chunks: Vec<_> =
            artifact.chunks(&Namespace::default(), move |bytes| count.send(bytes).unwrap()).collect();
        assert_eq!(
            chunks.iter().map(|chunk| chunk.data.len()).collect::<Vec<_>>(),
            [CHUNK_MAX, CHUNK_MAX, 5]
        );
        assert_eq!(counted.iter().sum::<usize>(), bytes.len());
        assert_eq!((chunks[0].size, chunks[0].digest.len()), (bytes.len() as u64, 32));
        assert!(chunks[1].digest.is_empty() && chunks[1].size == 0);
    }

    #[test]
    fn what_takes_long_is_told_with_its_time() {
        let working = |ahead| phrase(&pb::Working { node: 1, ahead, elapsed_ms: 12_345 });
        assert_eq!(working(0), "compiling on node 1, 12 s");
        assert_eq!(working(1), "waiting behind 1 compilation on node 1, 12 s");
        assert_eq!(working(3), "waiting behind 3 compilations on node 1, 12 s");
    }

    #[test]
    fn steps_name_node_and_time() {
        let step = |node, detail: &str| {
            sentence(&pb::Step { name: "compiled".into(), node, detail: detail.into(), elapsed_ms: 340 })
        };
        assert_eq!(step(2, "1 MiB of code"), "compiled on node 2: 1 MiB of code (340 ms)");
        assert_eq!(step(0, ""), "compiled (340 ms)");
    }
}
