//! `coracle blob put`: a file, or stdin, at once or in parts.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use coracle_proto::pb;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::door::Door;
use super::etag::digest;
use super::link::hex;
use super::{BLOB_BYTES_MAX, Key, kind, parts};
use crate::client::Blobs;
use crate::command::events::bucket_at;
use crate::command::{Session, gateway, input};
use crate::exit::{Exit, Failure};
use crate::output::view::PutView;
use crate::units::show_bytes;

/// Bytes of a part.
pub(super) const PART_BYTES: usize = 64 << 20;
/// Bytes of what is kept in the blob's record: it goes with the commit. What is larger goes by an upload.
const INLINE_BYTES_MAX: usize = 64 << 10;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "What has over 64 MiB goes in parts: when it breaks off, --resume goes on with those that are missing.\n  \
                        coracle blob put uploads 2026/cat.jpg cat.jpg\n  \
                        tar c src | coracle blob put backups src.tar -"
)]
pub(super) struct Put {
    #[command(flatten)]
    pub(super) key: Key,
    /// The file; -, or none where something is piped: stdin.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) look: Look,
    /// Go on with an upload of that key that broke off.
    #[arg(long)]
    pub(super) resume: bool,
    #[command(flatten)]
    gateway: gateway::Flag,
}

/// What is said of the blob, and when it is to be put.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Look {
    /// Its type; without it by the file's ending.
    #[arg(long, value_name = "TYPE", value_parser = kind::check)]
    pub(super) content_type: Option<String>,
    /// By the file's ending.
    #[arg(skip)]
    pub(super) guess: &'static str,
    /// What else is to be known of it; repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(super) meta: Vec<(String, String)>,
    /// Only where there is one with this ETag; '*' for any.
    #[arg(long, value_name = "ETAG", value_parser = super::etag::said)]
    pub(super) if_match: Option<String>,
    /// Only where there is none.
    #[arg(long, conflicts_with = "if_match")]
    pub(super) if_none_match: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("'{text}': expected NAME=VALUE"))?;
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !((1..=64).contains(&name.len()) && name.bytes().all(letter)) {
        return Err(format!("'{name}': a name has 1 to 64 of a-z, 0-9 and '-'"));
    }
    // It goes in a header.
    if !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return Err(format!("'{value}': a value goes in a header, which has ASCII alone"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// What is put, a part at a time in memory: so each of them can be sent again.
pub(super) struct Source {
    file: File,
    pub(super) bytes: Option<u64>,
    part_bytes: usize,
}

impl Source {
    pub(super) async fn open(path: &Path) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::usage(format!("{}: {error}", path.display()));
        let file = input::open(path).await.map_err(failed)?;
        let facts = file.metadata().await.map_err(failed)?;
        if facts.is_dir() {
            return Err(Failure::usage(format!("{}: it is a folder", path.display())));
        }
        let bytes = facts.is_file().then_some(facts.len());
        if let Some(bytes) = bytes.filter(|bytes| *bytes > BLOB_BYTES_MAX) {
            let (bytes, most) = (show_bytes(bytes), show_bytes(BLOB_BYTES_MAX));
            return Err(Failure::usage(format!(
                "{}: {bytes}, and a blob has at most {most}",
                path.display()
            )));
        }
        Ok(Self { file, bytes, part_bytes: PART_BYTES })
    }

    /// The next part; less than others only at the end, where it may be empty.
    pub(super) async fn next(&mut self) -> Result<Bytes, Failure> {
        let mut part = Vec::new();
        let most = self.part_bytes as u64;
        let read = (&mut self.file).take(most).read_to_end(&mut part).await;
        read.map_err(|error| Failure::local("what is put cannot be read", error))?;
        Ok(part.into())
    }

    /// Whether this was all of it.
    pub(super) fn is_all(&self, first: &Bytes) -> bool {
        first.len() < self.part_bytes || self.bytes == Some(first.len() as u64)
    }

    #[cfg(test)]
    pub(super) fn in_parts_of(self, part_bytes: usize) -> Self {
        Self { part_bytes, ..self }
    }
}

pub(super) async fn run(args: &Put, session: &Session<'_>) -> Result<(), Failure> {
    args.look.check()?;
    let file = match &args.file {
        Some(file) => file.as_path(),
        None if io::stdin().is_terminal() => {
            let sentence = "FILE is missing: name one, or pipe what is to be put; - takes what is typed";
            return Err(Failure::usage(sentence));
        }
        None => Path::new("-"),
    };
    let source = Source::open(file).await?;
    let Key { bucket, key } = &args.key;
    let look = Look { guess: kind::guess(file, key), ..args.look.clone() };
    let mut door = Door::reach(&bucket.bucket, key, &args.gateway, session).await?;
    let done = put(&mut door, source, &look, args.resume).await?;
    session.talk.say(session.talk.done(&done.sentence()));
    session.output.one(&done)
}

impl Look {
    /// Each name once.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let names = || self.meta.iter().map(|(name, _)| name);
        match names().enumerate().find(|(at, name)| names().take(*at).any(|it| it == *name)) {
            Some((_, name)) => Err(Failure::usage(format!("--meta: '{name}' stands twice"))),
            None => Ok(()),
        }
    }

    /// As it was said, or by the ending.
    pub(super) fn kind(&self) -> String {
        self.content_type.clone().unwrap_or_else(|| self.guess.to_owned())
    }

    pub(super) fn metadata<M: FromIterator<(String, String)>>(&self) -> M {
        self.meta.iter().cloned().collect()
    }
}

/// Puts all of it.
pub(super) async fn put(
    door: &mut Door,
    mut source: Source,
    said: &Look,
    resume: bool,
) -> Result<PutView, Failure> {
    let first = source.next().await?;
    if source.is_all(&first) && first.len() <= INLINE_BYTES_MAX {
        return whole(door, first, said).await;
    }
    let progress = door.talk.progress(source.bytes);
    progress.status(door.key.as_str());
    parts::put(door, source, first, (said, resume), &progress).await
}

async fn whole(door: &mut Door, data: Bytes, said: &Look) -> Result<PutView, Failure> {
    let (bytes, etag) = (data.len() as u64, hex(&digest(&data)));
    let content =
        pb::BlobContent { data, content_type: said.kind(), metadata: said.metadata(), ..Default::default() };
    commit(door, content, said, (bytes, &etag)).await?;
    Ok(PutView::new(&door.id, &door.key, bytes, etag))
}

/// The blob is this from now on, with such a size and ETag. Done once, however often it is sent: so whoever is told that it is done
/// has done it, and conditions are asked once.
pub(super) async fn commit(
    door: &mut Door,
    content: pb::BlobContent,
    said: &Look,
    (bytes, etag): (u64, &str),
) -> Result<(), Failure> {
    let Door { events, id, key, .. } = door;
    // However long the rest took.
    events.renew();
    let commit = async |mut service: Blobs, place, request| {
        let told = pb::BlobCommitRequest {
            place: Some(bucket_at(place, id.name.as_str())),
            request,
            key: key.clone(),
            content: Some(content.clone()),
            if_match: said.if_match.clone().unwrap_or_default(),
            if_none_match: said.if_none_match,
            hops: 0,
            visitor: None,
        };
        service.commit(told).await
    };
    let reply = events.alter(&format!("put '{key}'"), &id.namespace, commit).await?;
    let info = reply.info.ok_or_else(|| Failure::local("put", "the store says nothing of what it keeps"))?;
    if (info.bytes, info.etag.as_str()) == (bytes, etag) {
        return Ok(());
    }
    let sentence =
        format!("the blob has {} bytes and the ETag {}, and not {bytes} and {etag}", info.bytes, info.etag);
    Err(Failure::new(Exit::Server, sentence))
}
