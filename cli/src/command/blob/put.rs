//! `coracle blob put`: a file, or stdin, at once or in parts.

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::door::{Asked, Door, etag_of};
use super::etag::digest;
use super::link::{Verb, hex};
use super::tries::{Wrong, tried};
use super::{Key, kind, look, parts};
use crate::command::{Session, gateway, input};
use crate::exit::{Exit, Failure};
use crate::output::Progress;
use crate::output::view::PutView;
use crate::units::show_bytes;

/// Bytes of a part; what has no more is sent at once.
pub(super) const PART_BYTES: usize = 64 << 20;
/// Bytes of a blob.
const BLOB_BYTES_MAX: u64 = 5 << 30;
/// Before the names of metadata.
const META: &str = "coracle-meta-";

#[derive(Debug, clap::Args)]
#[command(
    after_help = "What has over 64 MiB goes in parts: when it breaks off, --resume goes on with those that are missing.\n  \
                        coracle blob put uploads 2026/cat.jpg cat.jpg\n  \
                        tar c src | coracle blob put backups src.tar -"
)]
pub(super) struct Put {
    #[command(flatten)]
    pub(super) key: Key,
    /// The file; - for stdin.
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
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
    /// What else is to be known of it; repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub(super) meta: Vec<(String, String)>,
    /// Only where there is one with this ETag; '*' for any.
    #[arg(long, value_name = "ETAG")]
    pub(super) if_match: Option<String>,
    /// Only where there is none.
    #[arg(long, conflicts_with = "if_match")]
    pub(super) if_none_match: bool,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let expected = || format!("'{text}': expected NAME=VALUE, the name of a-z, 0-9 and '-'");
    let (name, value) = text.split_once('=').ok_or_else(expected)?;
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = (1..=64).contains(&name.len()) && name.bytes().all(letter);
    // It goes in a header.
    let good = good && value.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if good { Ok((name.to_owned(), value.to_owned())) } else { Err(expected()) }
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
    let source = Source::open(&args.file).await?;
    let Key { bucket, key } = &args.key;
    let look = Look { content_type: Some(args.look.kind(&args.file, key)), ..args.look.clone() };
    let mut door = Door::reach(&bucket.bucket, key, &args.gateway, session).await?;
    let done = put(&mut door, source, &look, args.resume).await?;
    session.talk.say(session.talk.done(&done.sentence()));
    session.output.one(&done)
}

impl Look {
    /// As it was said, or by the ending of the file, or of the key.
    fn kind(&self, file: &Path, key: &str) -> String {
        let said = self.content_type.clone();
        said.unwrap_or_else(|| {
            let by_file = file.to_str().and_then(kind::of);
            by_file.or_else(|| kind::of(key)).unwrap_or(kind::ANY).to_owned()
        })
    }

    fn headers(&self) -> Result<HeaderMap, Failure> {
        let mut headers = HeaderMap::new();
        let value = |text: &str| {
            HeaderValue::from_str(text).map_err(|error| Failure::usage(format!("'{text}': {error}")))
        };
        if let Some(kind) = &self.content_type {
            headers.insert(CONTENT_TYPE, value(kind)?);
        }
        for (name, text) in &self.meta {
            let name = format!("{META}{name}").parse::<HeaderName>();
            let name = name.map_err(|error| Failure::usage(format!("--meta: {error}")))?;
            headers.insert(name, value(text)?);
        }
        match self.if_match.as_deref() {
            Some("*") => {
                headers.insert(IF_MATCH, HeaderValue::from_static("*"));
            }
            Some(etag) => {
                headers.insert(IF_MATCH, value(&format!("\"{etag}\""))?);
            }
            None => {}
        }
        if self.if_none_match {
            headers.insert(IF_NONE_MATCH, HeaderValue::from_static("*"));
        }
        Ok(headers)
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
    let progress = door.talk.progress(source.bytes);
    progress.status(door.key.as_str());
    if source.is_all(&first) {
        return whole(door, first, said, &progress).await;
    }
    parts::put(door, source, first, (said, resume), &progress).await
}

async fn whole(door: &mut Door, data: Bytes, said: &Look, progress: &Progress) -> Result<PutView, Failure> {
    let (bytes, etag) = (data.len() as u64, hex(&digest(&data)));
    let asked = Asked { verb: Verb::Put, query: String::new(), headers: said.headers()?, body: data };
    let (what, talk) = (format!("put '{}'", door.key), door.talk);
    let mut lost = false;
    let done = tried(talk, &what, async || {
        let sent = door.send(&asked, progress.counter()).await;
        lost |= matches!(sent, Err(Wrong::Again(_)));
        let response = sent?;
        match etag_of(response.headers()) {
            Some(other) if other != etag => {
                let sentence = format!("what arrived has the ETag {other}, and not {etag}");
                Err(Wrong::Again(Failure::new(Exit::Server, sentence)))
            }
            Some(_) | None => Ok(()),
        }
    })
    .await;
    match done {
        // An attempt whose answer was lost may have done it, and is what the condition found.
        Err(failure) if failure.exit == Exit::Conflict && lost => {
            let found = look(&mut door.events, &door.id, &door.key).await?.and_then(|it| it.info);
            if found.is_none_or(|it| it.etag != etag) {
                return Err(failure);
            }
        }
        done => done?,
    }
    Ok(PutView::new(&door.id, &door.key, bytes, etag))
}
