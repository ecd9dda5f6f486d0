//! `coracle schedule`: functions that are called at times.

use std::path::PathBuf;

use bytes::Bytes;
use clap::{Subcommand, ValueEnum};
use coracle_proto::id::{FunctionId, FunctionName, InvocationId, Namespace, RequestId};
use coracle_proto::pb::{self, ScheduleMissed, ScheduleOverlap};
use coracle_proto::status::{Code, Refusal};
use tokio::io::AsyncReadExt as _;

use super::events::Events;
use super::{Session, input};
use crate::client::{Admin, Schedules};
use crate::exit::Failure;
use crate::output::rfc3339;
use crate::output::view::{Changed, ScheduleView};
use crate::units;

/// What a call gets with it; larger data lies in a bucket.
const DATA_BYTES_MAX: u64 = 64 << 10;

/// Arguments.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a schedule, or tell it anew.
    Create(Box<Create>),
    /// List the schedules of a namespace.
    List(List),
    /// Show a schedule with its next times.
    Get(Named),
    /// Let nothing fire until it is resumed.
    Pause(Named),
    /// Let it go on; times of the pause do not fire.
    Resume(Named),
    /// Call its function now.
    Trigger(Named),
    /// Delete a schedule. What it has called goes on.
    Delete(Named),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The schedule: NAME, or NAMESPACE/NAME.
    #[arg(value_name = "SCHEDULE")]
    schedule: FunctionId,
}

#[derive(Debug, clap::Args)]
struct List {
    /// Those of this namespace [default: default].
    #[arg(long)]
    namespace: Option<Namespace>,
}

#[derive(Debug, clap::Args)]
struct Create {
    #[command(flatten)]
    named: Named,
    /// When: five fields (minute, hour, day, month, weekday), six with seconds before them, or @hourly, @daily and so on.
    #[arg(long, value_name = "EXPRESSION")]
    cron: String,
    /// The zone of whose clock that is, such as Europe/Berlin.
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    zone: String,
    /// The function of the same namespace that is called.
    #[arg(long, value_name = "NAME")]
    function: FunctionName,
    /// With which it is called: a text, or @FILE; @- for stdin.
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    data: String,
    /// Times at which nobody was there to fire: leave them out, fire the newest, or all.
    #[arg(long, value_enum, value_name = "POLICY", default_value = "once")]
    missed: Missed,
    /// A time at which the last call has not ended: fire all the same, or leave it out.
    #[arg(long, value_enum, value_name = "POLICY", default_value = "allow")]
    overlap: Overlap,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Missed {
    Skip,
    Once,
    All,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Overlap {
    Allow,
    Forbid,
}

impl From<Missed> for ScheduleMissed {
    fn from(missed: Missed) -> Self {
        match missed {
            Missed::Skip => Self::Skip,
            Missed::Once => Self::Once,
            Missed::All => Self::All,
        }
    }
}

impl From<Overlap> for ScheduleOverlap {
    fn from(overlap: Overlap) -> Self {
        match overlap {
            Overlap::Allow => Self::Allow,
            Overlap::Forbid => Self::Forbid,
        }
    }
}

pub(super) async fn run(args: &Args, session: &Session<'_>) -> Result<(), Failure> {
    match &args.verb {
        Verb::Create(args) => create(args, session).await,
        Verb::List(args) => list(args, session).await,
        Verb::Get(named) => get(named, session).await,
        Verb::Pause(named) => pause(named, true, session).await,
        Verb::Resume(named) => pause(named, false, session).await,
        Verb::Trigger(named) => trigger(named, session).await,
        Verb::Delete(named) => delete(named, session).await,
    }
}

async fn create(args: &Create, session: &Session<'_>) -> Result<(), Failure> {
    let id = &args.named.schedule;
    let spec = pb::ScheduleSpec {
        cron: args.cron.clone(),
        zone: args.zone.clone(),
        function: args.function.to_string(),
        data: data(&args.data).await?,
        missed: ScheduleMissed::from(args.missed).into(),
        overlap: ScheduleOverlap::from(args.overlap).into(),
    };
    let mut client = session.connect().await?;
    // A schedule of nothing would make dead letters only.
    let (namespace, name) = (id.namespace.to_string(), args.function.to_string());
    let function = pb::GetFunctionRequest { namespace, name, stale: false };
    let find = async |mut admin: Admin| admin.get_function(function.clone()).await;
    client.call("schedule create", find).await?;
    let mut events = Events::of(client)?;
    let request = request();
    let put = async |mut service: Schedules, place, since| {
        let request = Some(pb::KvRequest { id: request.clone(), since });
        let (schedule, spec) = (id.name.to_string(), Some(spec.clone()));
        service.put(pb::PutScheduleRequest { place: Some(place), request, schedule, spec }).await
    };
    let made = events.schedules("schedule create", &id.namespace, put).await?.schedule;
    let made = made.ok_or_else(|| missing(id))?;
    let first =
        made.next_ms.first().map_or_else(String::new, |at| format!("; it fires first at {}", rfc3339(*at)));
    session.talk.say(session.talk.done(&format!("schedule {id} is there{first}")));
    session.output.one(&ScheduleView::from(made))
}

/// A text, or what stands in a file.
async fn data(text: &str) -> Result<Bytes, Failure> {
    let Some(file) = text.strip_prefix('@') else { return Ok(Bytes::copy_from_slice(text.as_bytes())) };
    let file = PathBuf::from(file);
    let failed = |error| Failure::local(file.display(), error);
    let opened = input::open(&file).await.map_err(failed)?;
    let mut data = Vec::new();
    opened.take(DATA_BYTES_MAX + 1).read_to_end(&mut data).await.map_err(failed)?;
    if data.len() as u64 > DATA_BYTES_MAX {
        let most = units::show_bytes(DATA_BYTES_MAX);
        return Err(Failure::usage(format!("{}: a schedule's data has at most {most}", file.display())));
    }
    Ok(data.into())
}

async fn list(args: &List, session: &Session<'_>) -> Result<(), Failure> {
    let namespace = args.namespace.clone().unwrap_or_default();
    let mut events = Events::reach(session).await?;
    let (mut rows, mut after) = (Vec::new(), String::new());
    loop {
        let page = async |mut service: Schedules, place, _| {
            let after = after.clone();
            service.list(pb::ListSchedulesRequest { place: Some(place), limit: 0, after }).await
        };
        let page = events.schedules("schedule list", &namespace, page).await?;
        rows.extend(page.schedules.into_iter().map(ScheduleView::from));
        if page.after.is_empty() {
            return session.output.list(&rows);
        }
        after = page.after;
    }
}

async fn get(named: &Named, session: &Session<'_>) -> Result<(), Failure> {
    let id = &named.schedule;
    let get = async |mut service: Schedules, place, _| {
        service.get(pb::GetScheduleRequest { place: Some(place), schedule: id.name.to_string() }).await
    };
    let found = Events::reach(session).await?.schedules("schedule get", &id.namespace, get).await?;
    session.output.one(&ScheduleView::from(found.schedule.ok_or_else(|| missing(id))?))
}

async fn pause(named: &Named, paused: bool, session: &Session<'_>) -> Result<(), Failure> {
    let id = &named.schedule;
    let (what, outcome) = if paused { ("schedule pause", "paused") } else { ("schedule resume", "resumed") };
    let request = request();
    let change = async |mut service: Schedules, place, since| {
        let request = Some(pb::KvRequest { id: request.clone(), since });
        let schedule = id.name.to_string();
        service.pause(pb::PauseScheduleRequest { place: Some(place), request, schedule, paused }).await
    };
    Events::reach(session).await?.schedules(what, &id.namespace, change).await?;
    session.talk.say(session.talk.done(&format!("schedule {id} is {outcome}")));
    session.output.one(&Changed::new(id, outcome))
}

async fn trigger(named: &Named, session: &Session<'_>) -> Result<(), Failure> {
    let id = &named.schedule;
    let (request, invocation) = (request(), InvocationId::new(rand::random()));
    let fire = async |mut service: Schedules, place, since| {
        let request = Some(pb::KvRequest { id: request.clone(), since });
        let (schedule, invocation) = (id.name.to_string(), invocation.to_wire());
        service
            .trigger(pb::TriggerScheduleRequest { place: Some(place), request, schedule, invocation })
            .await
    };
    Events::reach(session).await?.schedules("schedule trigger", &id.namespace, fire).await?;
    let next = format!("'coracle invocation wait {invocation}' waits for its end");
    session.talk.say(session.talk.done(&format!("schedule {id} has called its function; {next}")));
    session.output.one(&Changed::new(invocation, "triggered"))
}

async fn delete(named: &Named, session: &Session<'_>) -> Result<(), Failure> {
    let id = &named.schedule;
    session.talk.confirm(&format!("Delete schedule {id}?"), session.shared.yes)?;
    let request = request();
    let drop = async |mut service: Schedules, place, since| {
        let request = Some(pb::KvRequest { id: request.clone(), since });
        let schedule = id.name.to_string();
        service.delete(pb::DeleteScheduleRequest { place: Some(place), request, schedule }).await
    };
    Events::reach(session).await?.schedules("schedule delete", &id.namespace, drop).await?;
    session.talk.say(session.talk.done(&format!("schedule {id} is deleted")));
    session.output.one(&Changed::new(id, "deleted"))
}

/// One request, however often it is sent.
fn request() -> Bytes {
    RequestId::new(rand::random()).to_wire()
}

fn missing(id: &FunctionId) -> Refusal {
    Refusal::new(Code::ScheduleNotFound, format!("there is no schedule '{id}'"))
}
