//! `coracle schedule`: functions that are called at times.

use std::path::Path;

use bytes::Bytes;
use clap::Subcommand;
use coracle_proto::id::{FunctionId, FunctionName, InvocationId, Namespace, RequestId};
use coracle_proto::pb::{self, ScheduleMissed, ScheduleOverlap};
use coracle_proto::status::{Code, Refusal};
use tokio::io::AsyncReadExt as _;

use super::events::Events;
use super::{Session, input};
use crate::client::Schedules;
use crate::exit::Failure;
use crate::manifest::{Data, Missed, Overlap, ScheduleEntry, ZONE};
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
    #[arg(long, value_name = "ZONE", default_value = ZONE)]
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
    let entry = ScheduleEntry {
        id: id.clone(),
        line: 0,
        cron: args.cron.clone(),
        zone: args.zone.clone(),
        function: args.function.clone(),
        data: Data::given(&args.data, Path::new("")),
        missed: args.missed,
        overlap: args.overlap,
    };
    let spec = spec(&entry).await?;
    let mut events = Events::reach(session).await?;
    events.find_function(&entry.of()).await?;
    let made = put(&mut events, id, &spec, false).await?.ok_or_else(|| missing(id))?;
    let first = made.next_ms.first().map(|at| format!("; it fires next at {}", rfc3339(*at)));
    let sentence = format!("schedule {id} is there{}", first.unwrap_or_default());
    session.talk.say(session.talk.done(&sentence));
    session.output.one(&ScheduleView::from(made))
}

/// What a schedule is told; its data are read where they stand in a file.
pub(super) async fn spec(entry: &ScheduleEntry) -> Result<pb::ScheduleSpec, Failure> {
    Ok(pb::ScheduleSpec {
        cron: entry.cron.clone(),
        zone: entry.zone.clone(),
        function: entry.function.to_string(),
        data: data(&entry.data).await?,
        missed: ScheduleMissed::from(entry.missed).into(),
        overlap: ScheduleOverlap::from(entry.overlap).into(),
    })
}

/// Makes it, or tells it anew; with `dry_run` only looks whether it could be, and has none to show.
pub(super) async fn put(
    events: &mut Events,
    id: &FunctionId,
    spec: &pb::ScheduleSpec,
    dry_run: bool,
) -> Result<Option<pb::ScheduleDetail>, Failure> {
    let request = request();
    let put = async |mut service: Schedules, place, since| {
        let request = Some(pb::KvRequest { id: request.clone(), since });
        let (schedule, spec) = (id.name.to_string(), Some(spec.clone()));
        service.put(pb::PutScheduleRequest { place: Some(place), request, schedule, spec, dry_run }).await
    };
    Ok(events.schedules(&format!("schedule {id}"), &id.namespace, put).await?.schedule)
}

async fn data(given: &Data) -> Result<Bytes, Failure> {
    let file = match given {
        Data::Text(text) => return Ok(Bytes::copy_from_slice(text.as_bytes())),
        Data::File(file) => file,
    };
    let failed = |error| Failure::local(file.display(), error);
    let opened = input::open(file).await.map_err(failed)?;
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
    let found = all(&mut events, &namespace).await?;
    session.output.list(&found.into_iter().map(ScheduleView::from).collect::<Vec<_>>())
}

/// Those of a namespace, without their data.
pub(super) async fn all(
    events: &mut Events,
    namespace: &Namespace,
) -> Result<Vec<pb::ScheduleDetail>, Failure> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let page = async |mut service: Schedules, place, _| {
            let after = after.clone();
            service.list(pb::ListSchedulesRequest { place: Some(place), limit: 0, after }).await
        };
        let page = events.schedules("schedule list", namespace, page).await?;
        found.extend(page.schedules);
        if page.after.is_empty() {
            return Ok(found);
        }
        after = page.after;
    }
}

async fn get(named: &Named, session: &Session<'_>) -> Result<(), Failure> {
    let found = shown(&mut Events::reach(session).await?, &named.schedule).await?;
    session.output.one(&ScheduleView::from(found))
}

/// One of them.
pub(super) async fn shown(events: &mut Events, id: &FunctionId) -> Result<pb::ScheduleDetail, Failure> {
    let get = async |mut service: Schedules, place, _| {
        service.get(pb::GetScheduleRequest { place: Some(place), schedule: id.name.to_string() }).await
    };
    let found = events.schedules(&format!("schedule {id}"), &id.namespace, get).await?;
    Ok(found.schedule.ok_or_else(|| missing(id))?)
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
    let invocation = InvocationId::new(rand::random());
    let fire = async |mut service: Schedules, place, request| {
        let (schedule, invocation) = (id.name.to_string(), invocation.to_wire());
        service
            .trigger(pb::TriggerScheduleRequest { place: Some(place), request, schedule, invocation })
            .await
    };
    Events::reach(session).await?.alter("schedule trigger", &id.namespace, fire).await?;
    let next = format!("'coracle invocation wait {invocation}' waits for its end");
    session.talk.say(session.talk.done(&format!("schedule {id} has called its function; {next}")));
    session.output.one(&Changed::new(invocation, "triggered"))
}

async fn delete(named: &Named, session: &Session<'_>) -> Result<(), Failure> {
    let id = &named.schedule;
    session.talk.confirm(&format!("Delete schedule {id}?"), session.shared.yes)?;
    drop_schedule(&mut Events::reach(session).await?, id).await?;
    session.talk.say(session.talk.done(&format!("schedule {id} is deleted")));
    session.output.one(&Changed::new(id, "deleted"))
}

pub(super) async fn drop_schedule(events: &mut Events, id: &FunctionId) -> Result<(), Failure> {
    let drop = async |mut service: Schedules, place, request| {
        let (place, schedule) = (Some(place), id.name.to_string());
        service.delete(pb::DeleteScheduleRequest { place, request, schedule }).await
    };
    events.alter("schedule delete", &id.namespace, drop).await.map(|_| ())
}

/// One request, however often it is sent.
fn request() -> Bytes {
    RequestId::new(rand::random()).to_wire()
}

fn missing(id: &FunctionId) -> Refusal {
    Refusal::new(Code::ScheduleNotFound, format!("there is no schedule '{id}'"))
}
