//! `coracle blob get`: to a file that is there whole or not at all, or to stdout; what breaks off goes on where it did.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use coracle_proto::pb;
use coracle_proto::status::{Code, Refusal};
use http::header::{IF_MATCH, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::door::{Asked, Door};
use super::etag::Etag;
use super::link::Verb;
use super::tries::{Wrong, tried};
use super::{Key, look, missing};
use crate::command::{Session, gateway};
use crate::exit::{Exit, Failure};
use crate::http::chain;
use crate::output::{Progress, door as terminal, unwritten};
use crate::units::show_bytes;

/// Behind the name of a file that is not whole.
const PART: &str = ".part";

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A file has its name when all of it is there and its digest is right; until then .part stands behind it.\n  \
                        coracle blob get uploads cat.jpg cat.jpg\n  \
                        coracle blob get backups src.tar | tar x"
)]
pub(super) struct Get {
    #[command(flatten)]
    key: Key,
    /// The file; - for stdout.
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    /// Go on with a FILE.part that broke off.
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    gateway: gateway::Flag,
}

pub(super) async fn run(args: &Get, session: &Session<'_>) -> Result<(), Failure> {
    let Key { bucket, key } = &args.key;
    let file = Some(args.file.as_path()).filter(|file| *file != Path::new("-"));
    if args.resume && file.is_none() {
        return Err(Failure::usage("--resume: it goes with a FILE"));
    }
    let mut door = Door::reach(&bucket.bucket, key, &args.gateway, session).await?;
    let bytes = get(&mut door, file, args.resume).await?;
    if let Some(file) = file {
        let said = format!("{}: {} of '{key}'", file.display(), show_bytes(bytes));
        session.talk.say(session.talk.done(&said));
    }
    Ok(())
}

/// Whither it goes.
enum Sink {
    Stdout(terminal::Body),
    File { file: File, part: PathBuf, name: PathBuf },
}

impl Sink {
    /// With what is there of it already.
    async fn open(name: Option<&Path>, resume: bool, etag: &mut Etag) -> Result<(Self, u64), Failure> {
        let Some(name) = name else { return Ok((Self::Stdout(terminal::Body::to_stdout()), 0)) };
        let mut part: OsString = name.as_os_str().to_owned();
        part.push(PART);
        let (part, name) = (PathBuf::from(part), name.to_owned());
        let failed = |error| Failure::local(part.display(), error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(!resume);
        let mut file = options.open(&part).await.map_err(failed)?;
        let (mut there, mut buffer) = (0, vec![0; 256 << 10]);
        loop {
            let read = file.read(&mut buffer).await.map_err(failed)?;
            let Some(data) = buffer.get(..read).filter(|data| !data.is_empty()) else { break };
            etag.add(data);
            there += read as u64;
        }
        Ok((Self::File { file, part, name }, there))
    }

    async fn write(&mut self, data: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Stdout(body) => body.write(data).map_err(|error| unwritten(&error)),
            Self::File { file, part, .. } => {
                file.write_all(data).await.map_err(|error| Failure::local(part.display(), error))
            }
        }
    }

    /// All of it is there.
    async fn end(self) -> Result<(), Failure> {
        match self {
            Self::Stdout(body) => body.finish().map_err(|error| unwritten(&error)),
            Self::File { mut file, part, name } => {
                let end = async {
                    file.flush().await?;
                    file.sync_all().await?;
                    fs::rename(&part, &name).await
                };
                end.await.map_err(|error| Failure::local(name.display(), error))
            }
        }
    }

    /// It is not what it was to be: nothing would go on from there.
    async fn spoil(self) {
        if let Self::File { part, .. } = self {
            // What stays is found out by its digest again.
            let _ = fs::remove_file(part).await;
        }
    }
}

/// Gets all of it; answers with how much that is.
pub(super) async fn get(door: &mut Door, file: Option<&Path>, resume: bool) -> Result<u64, Failure> {
    let found = look(&mut door.events, &door.id, &door.key).await?;
    let pb::BlobGetReply { info, parts, .. } = found.ok_or_else(|| missing(&door.id, &door.key))?;
    let info = info.unwrap_or_default();
    let mut etag = Etag::new(&info.etag, parts.iter().map(|part| part.bytes));
    let (mut sink, there) = Sink::open(file, resume, &mut etag).await?;
    if there > info.bytes {
        let sentence =
            "what is there is more than the blob has: it is of another one; begin anew without --resume";
        return Err(Failure::new(Exit::Conflict, sentence));
    }
    let progress = door.talk.progress(Some(info.bytes));
    progress.status(door.key.as_str());
    let mut run = Run { info: &info, at: there, etag, progress: &progress };
    while run.at < info.bytes {
        let (what, talk) = (format!("get '{}'", door.key), door.talk);
        tried(talk, &what, async || run.go_on(door, &mut sink).await).await?;
    }
    if run.etag.end().as_deref() != Some(info.etag.as_str()) {
        sink.spoil().await;
        let sentence =
            format!("what came of '{}' does not have the digest that its ETag {} says", door.key, info.etag);
        return Err(Refusal::new(Code::DigestMismatch, sentence).into());
    }
    sink.end().await?;
    Ok(info.bytes)
}

/// How far it is.
struct Run<'a> {
    info: &'a pb::BlobInfo,
    at: u64,
    etag: Etag,
    progress: &'a Progress,
}

impl Run<'_> {
    /// One request, from here on. Where it breaks off after something came, that is something.
    async fn go_on(&mut self, door: &mut Door, sink: &mut Sink) -> Result<(), Wrong> {
        let from = self.at;
        let asked =
            Asked { verb: Verb::Get, query: String::new(), headers: self.headers()?, body: Bytes::new() };
        let response = door.send(&asked, |_| ()).await?;
        let expected = if from == 0 { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT };
        if response.status() != expected {
            let sentence = format!("the gateway answered {}, and not {expected}", response.status());
            return Err(Wrong::Final(Failure::new(Exit::Server, sentence)));
        }
        let mut body = response.into_body();
        loop {
            let frame = match door.moved.watch(body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) if self.at == self.info.bytes => return Ok(()),
                Ok(None) => return self.broke(from, "it ended too early"),
                Ok(Some(Err(error))) => return self.broke(from, &chain(&error)),
                Err(_) => return self.broke(from, "nothing comes any more"),
            };
            let Some(data) = frame.data_ref() else { continue };
            if self.at + data.len() as u64 > self.info.bytes {
                let sentence = format!("more came than the {} bytes of the blob", self.info.bytes);
                return Err(Wrong::Final(Failure::new(Exit::Server, sentence)));
            }
            sink.write(data).await?;
            self.etag.add(data);
            door.moved.add(data.len());
            self.at += data.len() as u64;
            self.progress.at(self.at);
        }
    }

    /// Only of the blob that it began with.
    fn headers(&self) -> Result<HeaderMap, Wrong> {
        let mut headers = HeaderMap::new();
        let value = |text: String| {
            let value = HeaderValue::from_str(&text);
            value.map_err(|error| Wrong::Final(Failure::new(Exit::Server, format!("{text}: {error}"))))
        };
        headers.insert(IF_MATCH, value(format!("\"{}\"", self.info.etag))?);
        if self.at > 0 {
            headers.insert(RANGE, value(format!("bytes={}-", self.at))?);
        }
        Ok(headers)
    }

    fn broke(&self, from: u64, reason: &str) -> Result<(), Wrong> {
        if self.at > from {
            return Ok(());
        }
        Err(Wrong::Again(Failure::new(Exit::Server, format!("the answer broke off: {reason}"))))
    }
}
