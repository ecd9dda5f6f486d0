//! Schedules, for a person who makes them and looks after them.

use std::sync::Arc;

use coracle_proto::codec::InField as _;
use coracle_proto::id::{FunctionId, InvocationId};
use coracle_proto::pb::schedules_server::Schedules;
use coracle_proto::pb::{
    DeleteScheduleReply, DeleteScheduleRequest, EventsPlace, GetScheduleRequest, ListSchedulesReply,
    ListSchedulesRequest, PauseScheduleRequest, PutScheduleRequest, ScheduleDetail, ScheduleMissed,
    ScheduleOverlap, ScheduleReply, ScheduleSpec, TriggerScheduleReply, TriggerScheduleRequest,
};
use coracle_proto::status::{Code, Refusal};
use tonic::{Request, Response, Status};

use super::leading::{Leading, unreadable};
use super::wire;
use crate::app::Context;
use crate::cron::Timetable;
use crate::model::{self, Definition, Missed, Name, Op, Overlap, PAGE_MAX, Place, Schedule};

/// Times that are shown of each.
const NEXT_MAX: usize = 3;

/// Serves the command line.
pub(crate) struct SchedulesService {
    pub(crate) context: Arc<Context>,
}

#[tonic::async_trait]
impl Schedules for SchedulesService {
    async fn put(&self, request: Request<PutScheduleRequest>) -> Result<Response<ScheduleReply>, Status> {
        let PutScheduleRequest { place, request, schedule, spec, dry_run } = request.into_inner();
        let (leading, schedule) = self.schedule(place, &schedule)?;
        let from_ms = leading.schedules_ms().await?;
        let definition = Box::new(definition(&schedule, spec.in_field("spec")?, from_ms)?);
        if dry_run {
            leading.view().await?;
            return Ok(Response::new(ScheduleReply { schedule: None, sequence: leading.sequence()? }));
        }
        let put = Op::PutSchedule { schedule: schedule.clone(), definition, from_ms };
        leading.done(request, put).await?;
        Ok(Response::new(shown(&leading, &schedule)?))
    }

    async fn get(&self, request: Request<GetScheduleRequest>) -> Result<Response<ScheduleReply>, Status> {
        let GetScheduleRequest { place, schedule } = request.into_inner();
        let (leading, schedule) = self.schedule(place, &schedule)?;
        leading.view().await?;
        Ok(Response::new(shown(&leading, &schedule)?))
    }

    async fn list(
        &self,
        request: Request<ListSchedulesRequest>,
    ) -> Result<Response<ListSchedulesReply>, Status> {
        let ListSchedulesRequest { place, limit, after } = request.into_inner();
        let EventsPlace { cluster_id, group, namespace } = place.in_field("place")?;
        let leading = Leading::of(&self.context, &cluster_id, group)?;
        let namespace = namespace.parse().in_field("place.namespace")?;
        let after = if after.is_empty() { None } else { Some(Name::parse(&after).in_field("after")?) };
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let most = if most == 0 { PAGE_MAX } else { most.min(PAGE_MAX) };
        let view = leading.view().await?;
        let found = model::schedules(&view, &namespace, after.as_ref(), most);
        let found = found.map_err(|stop| unreadable(&stop))?;
        let last = found.last().filter(|_| found.len() == most);
        let after = last.map_or_else(String::new, |(place, _)| place.name.to_string());
        let now_ms = leading.served.schedules.now_ms();
        let schedules =
            found.into_iter().map(|(place, it)| without_data(detail(&place, it, now_ms))).collect();
        Ok(Response::new(ListSchedulesReply { schedules, after }))
    }

    async fn pause(&self, request: Request<PauseScheduleRequest>) -> Result<Response<ScheduleReply>, Status> {
        let PauseScheduleRequest { place, request, schedule, paused } = request.into_inner();
        let (leading, schedule) = self.schedule(place, &schedule)?;
        let from_ms = leading.schedules_ms().await?;
        let pause = Op::PauseSchedule { schedule: schedule.clone(), paused, from_ms };
        leading.done(request, pause).await?;
        Ok(Response::new(shown(&leading, &schedule)?))
    }

    async fn trigger(
        &self,
        request: Request<TriggerScheduleRequest>,
    ) -> Result<Response<TriggerScheduleReply>, Status> {
        let TriggerScheduleRequest { place, request, schedule, invocation } = request.into_inner();
        let (leading, schedule) = self.schedule(place, &schedule)?;
        let invocation = wire::invocation(&invocation)?;
        leading.done(request, Op::Trigger { schedule, invocation }).await?;
        let sequence = leading.sequence()?;
        Ok(Response::new(TriggerScheduleReply { invocation: invocation.to_wire(), sequence }))
    }

    async fn delete(
        &self,
        request: Request<DeleteScheduleRequest>,
    ) -> Result<Response<DeleteScheduleReply>, Status> {
        let DeleteScheduleRequest { place, request, schedule } = request.into_inner();
        let (leading, schedule) = self.schedule(place, &schedule)?;
        leading.done(request, Op::DropSchedule { schedule }).await?;
        Ok(Response::new(DeleteScheduleReply { sequence: leading.sequence()? }))
    }
}

impl SchedulesService {
    /// Names of schedules are as those of functions are.
    fn schedule(&self, place: Option<EventsPlace>, name: &str) -> Result<(Leading, Place), Refusal> {
        let EventsPlace { cluster_id, group, namespace } = place.in_field("place")?;
        let leading = Leading::of(&self.context, &cluster_id, group)?;
        FunctionId::parse(&namespace, name).in_field("schedule")?;
        Ok((leading, wire::place(&namespace, name, "schedule")?))
    }
}

/// What somebody asks for, if it can ever fire.
fn definition(schedule: &Place, wire: ScheduleSpec, now_ms: u64) -> Result<Definition, Refusal> {
    let (missed, overlap) = (missed(wire.missed()), overlap(wire.overlap()));
    let function =
        FunctionId::parse(schedule.namespace.as_str(), &wire.function).in_field("spec.function")?;
    Timetable::wanted(&wire.cron, &wire.zone, now_ms)
        .map_err(|error| Refusal::new(Code::InvalidArgument, error.to_string()))?;
    let function = Name::parse(function.name.as_str()).in_field("spec.function")?;
    let ScheduleSpec { cron, zone, data, .. } = wire;
    Ok(Definition { cron, zone, function, data, missed, overlap })
}

const fn missed(wire: ScheduleMissed) -> Missed {
    match wire {
        ScheduleMissed::Skip => Missed::Skip,
        ScheduleMissed::Unspecified | ScheduleMissed::Once => Missed::Once,
        ScheduleMissed::All => Missed::All,
    }
}

const fn overlap(wire: ScheduleOverlap) -> Overlap {
    match wire {
        ScheduleOverlap::Unspecified | ScheduleOverlap::Allow => Overlap::Allow,
        ScheduleOverlap::Forbid => Overlap::Forbid,
    }
}

fn shown(leading: &Leading, place: &Place) -> Result<ScheduleReply, Refusal> {
    let found = model::schedule(&leading.served.replica.state(), place).map_err(|stop| unreadable(&stop))?;
    let found = found
        .ok_or_else(|| Refusal::new(Code::ScheduleNotFound, format!("there is no schedule '{place}'")))?;
    let now_ms = leading.served.schedules.now_ms();
    Ok(ScheduleReply { schedule: Some(detail(place, found, now_ms)), sequence: leading.sequence()? })
}

/// A page of them is short.
fn without_data(mut detail: ScheduleDetail) -> ScheduleDetail {
    if let Some(spec) = &mut detail.spec {
        spec.data.clear();
    }
    detail
}

fn detail(place: &Place, it: Schedule, now_ms: u64) -> ScheduleDetail {
    let Definition { cron, zone, function, data, missed, overlap } = it.definition;
    // One that this program cannot read has none.
    let table = Timetable::parse(&cron, &zone);
    // Those that have not fired: one may be due already. While it is paused none before now will.
    let after_ms = if it.paused { it.cursor_ms.max(now_ms) } else { it.cursor_ms };
    let next_ms = table.map_or_else(|_| Vec::new(), |table| table.next(after_ms, NEXT_MAX));
    let (last_at_ms, late_ms) =
        it.fired.map_or((0, 0), |fired| (fired.at_ms, fired.fired_ms.saturating_sub(fired.at_ms)));
    let missed = match missed {
        Missed::Skip => ScheduleMissed::Skip,
        Missed::Once => ScheduleMissed::Once,
        Missed::All => ScheduleMissed::All,
    };
    let overlap = match overlap {
        Overlap::Allow => ScheduleOverlap::Allow,
        Overlap::Forbid => ScheduleOverlap::Forbid,
    };
    let (missed, overlap) = (missed.into(), overlap.into());
    ScheduleDetail {
        namespace: place.namespace.to_string(),
        schedule: place.name.to_string(),
        spec: Some(ScheduleSpec { cron, zone, function: function.to_string(), data, missed, overlap }),
        paused: it.paused,
        next_ms,
        last_at_ms,
        late_ms,
        invocation: it.invocation.map_or_else(bytes::Bytes::new, InvocationId::to_wire),
        ticks: it.ticks,
        skipped: it.skipped,
        missed: it.missed,
    }
}
