//! `coracle blob get`: to a file that is there whole or not at all, or to stdout; what breaks off goes on where it did.

use std::path::PathBuf;

use bytes::Bytes;
use coracle_proto::pb;
use coracle_proto::status::{Code, Refusal};
use http::header::{IF_MATCH, RANGE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;

use super::door::{Asked, Door};
use super::etag::Etag;
use super::link::Verb;
use super::sink::{Sink, Whither};
use super::span::Span;
use super::tries::{Wrong, tried};
use super::{Key, look, missing};
use crate::command::{Session, gateway};
use crate::exit::{Exit, Failure};
use crate::http::chain;
use crate::output::{Progress, Talk};
use crate::units::show_bytes;

/// What takes a while, so that how it goes on is told at its beginning.
const LONG_BYTES: u64 = 64 << 20;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A file has its name when all of it is there and its digest is right; until then FILE.ETAG.part has it.\n  \
                        coracle blob get uploads cat.jpg cat.jpg\n  \
                        coracle blob get uploads cat.jpg pictures/       # a folder: pictures/cat.jpg\n  \
                        coracle blob get backups src.tar | tar x"
)]
pub(super) struct Get {
    #[command(flatten)]
    key: Key,
    /// The file, or its folder; -, or none where it is piped on: stdout.
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Go on with what broke off.
    #[arg(long)]
    resume: bool,
    /// Only these bytes, which no digest vouches for: FIRST-LAST, FIRST-, or -COUNT for the last ones.
    #[arg(long, value_name = "RANGE", conflicts_with = "resume", allow_hyphen_values = true)]
    range: Option<Span>,
    #[command(flatten)]
    gateway: gateway::Flag,
}

pub(super) async fn run(args: &Get, session: &Session<'_>) -> Result<(), Failure> {
    let Key { bucket, key } = &args.key;
    let whither = Whither::of(args.file.as_deref(), key)?;
    if args.resume && !matches!(whither, Whither::File(_)) {
        return Err(Failure::usage("--resume: it goes with a FILE"));
    }
    let mut door = Door::reach(&bucket.bucket, key, &args.gateway, session).await?;
    let bytes = get(&mut door, &whither, args.resume, args.range).await?;
    if let Some(file) = whither.file() {
        let said = format!("{}: {} of '{key}'", file.display(), show_bytes(bytes));
        session.talk.say(session.talk.done(&said));
    }
    Ok(())
}

/// Gets it; answers with how much that is.
pub(super) async fn get(
    door: &mut Door,
    whither: &Whither,
    resume: bool,
    range: Option<Span>,
) -> Result<u64, Failure> {
    let found = look(&mut door.events, &door.id, &door.key).await?;
    let pb::BlobGetReply { info, parts, .. } = found.ok_or_else(|| missing(&door.id, &door.key))?;
    let info = info.unwrap_or_default();
    let (from, to) = range.map_or(Ok((0, info.bytes)), |range| range.within(info.bytes))?;
    let mut etag = range.is_none().then(|| Etag::new(&info.etag, parts.iter().map(|part| part.bytes)));
    let (mut sink, there) = Sink::open(whither, (resume, &info.etag), &mut etag).await?;
    if there > info.bytes {
        sink.spoil().await;
        let sentence =
            "what was there was more than the blob has, and is removed; begin anew without --resume";
        return Err(Failure::new(Exit::Conflict, sentence));
    }
    let progress = door.talk.progress(Some(to - from));
    progress.status(door.key.as_str());
    tell_beginning((resume, there, to - from), whither, door.talk, &progress);
    let mut run = Run { info: &info, at: from + there, from, to, etag, progress: &progress };
    while run.at < to {
        let what = format!("get '{}'", door.key);
        let done = tried(&progress, &what, async || run.go_on(door, &mut sink).await).await;
        if let Err(failure) = done {
            return Err(broken_off(failure, sink, (run.at - from, to - from), range.is_none()).await);
        }
    }
    if run.etag.is_some_and(|etag| etag.end().as_deref() != Some(info.etag.as_str())) {
        sink.spoil().await;
        let sentence = format!(
            "what is there of '{}' does not have the digest that its ETag {} says, and is removed",
            door.key, info.etag
        );
        return Err(Refusal::new(Code::DigestMismatch, sentence).into());
    }
    sink.end().await?;
    Ok(to - from)
}

fn tell_beginning(
    (resume, there, bytes): (bool, u64, u64),
    whither: &Whither,
    talk: Talk,
    progress: &Progress,
) {
    if resume && there == 0 {
        progress.line("nothing of this blob is there yet: it begins anew");
    } else if talk.is_on_terminal() && bytes > LONG_BYTES && matches!(whither, Whither::File(_)) {
        progress.line("where it breaks off, --resume goes on with it");
    }
}

/// What stays of it: it goes on later, unless the blob is another one by now.
async fn broken_off(failure: Failure, sink: Sink, (at, bytes): (u64, u64), resumes: bool) -> Failure {
    if !resumes || matches!(failure.exit, Exit::Conflict | Exit::NotFound) {
        sink.spoil().await;
        return failure;
    }
    let Some(part) = sink.leave().await.filter(|_| at > 0) else { return failure };
    let (at, bytes) = (show_bytes(at), show_bytes(bytes));
    let message = format!("{}; {} has {at} of {bytes}: --resume goes on", failure.message, part.display());
    Failure { message, ..failure }
}

/// How far it is.
struct Run<'a> {
    info: &'a pb::BlobInfo,
    at: u64,
    /// Bytes that are meant, and the one behind them.
    from: u64,
    to: u64,
    /// Of all of it.
    etag: Option<Etag>,
    progress: &'a Progress,
}

impl Run<'_> {
    /// One request, from here on. Where it breaks off after something came, that is something.
    async fn go_on(&mut self, door: &mut Door, sink: &mut Sink) -> Result<(), Wrong> {
        let from = self.at;
        let asked =
            Asked { verb: Verb::Get, query: String::new(), headers: self.headers()?, body: Bytes::new() };
        let response = door.send(&asked, |_| ()).await?;
        let expected = if self.is_whole() { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT };
        if response.status() != expected {
            let sentence = format!("the gateway answered {}, and not {expected}", response.status());
            return Err(Wrong::Final(Failure::new(Exit::Server, sentence)));
        }
        let mut body = response.into_body();
        loop {
            let frame = match door.moved.watch(body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) if self.at == self.to => return Ok(()),
                Ok(None) => return self.broke(from, "it ended too early"),
                Ok(Some(Err(error))) => return self.broke(from, &chain(&error)),
                Err(_) => return self.broke(from, "nothing comes any more"),
            };
            let Some(data) = frame.data_ref() else { continue };
            if self.at + data.len() as u64 > self.to {
                let sentence = format!("more came than the {} bytes that were asked for", self.to - from);
                return Err(Wrong::Final(Failure::new(Exit::Server, sentence)));
            }
            sink.write(data).await?;
            self.etag.iter_mut().for_each(|etag| etag.add(data));
            door.moved.add(data.len());
            self.at += data.len() as u64;
            self.progress.at(self.at - self.from);
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
        if !self.is_whole() {
            let end = if self.to < self.info.bytes { (self.to - 1).to_string() } else { String::new() };
            headers.insert(RANGE, value(format!("bytes={}-{end}", self.at))?);
        }
        Ok(headers)
    }

    /// Whether all of the blob is asked for.
    fn is_whole(&self) -> bool {
        (self.at, self.to) == (0, self.info.bytes)
    }

    fn broke(&self, from: u64, reason: &str) -> Result<(), Wrong> {
        if self.at > from {
            return Ok(());
        }
        Err(Wrong::Again(Failure::new(Exit::Server, format!("the answer broke off: {reason}"))))
    }
}
