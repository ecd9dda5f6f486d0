//! Schedules of a fake store.

use coracle_proto::pb;
use coracle_proto::pb::schedules_server::Schedules;
use coracle_proto::status::{Code, Refusal};
use tonic::{Request, Response, Status};

use super::super::Answer;
use super::{FakeStore, Kept};

impl Kept {
    fn find_schedule(&mut self, name: &str) -> Result<&mut pb::ScheduleDetail, Status> {
        let missing =
            || Refusal::new(Code::ScheduleNotFound, format!("there is no schedule '{name}'")).into();
        self.schedules.iter_mut().find(|it| it.schedule == name).ok_or_else(missing)
    }
}

#[tonic::async_trait]
impl Schedules for FakeStore {
    async fn put(&self, request: Request<pb::PutScheduleRequest>) -> Answer<pb::ScheduleReply> {
        let pb::PutScheduleRequest { schedule: name, spec, dry_run, .. } = request.into_inner();
        let spec = spec.unwrap();
        self.with(|kept| {
            kept.refused()?;
            if spec.cron == "never" {
                return Err(Refusal::new(Code::InvalidArgument, "'never' is no time").into());
            }
            kept.log.push(format!("{} schedule {name}", if dry_run { "dry" } else { "put" }));
            if dry_run {
                return Ok(Response::new(pb::ScheduleReply::default()));
            }
            if kept.find_schedule(&name).is_err() {
                let schedule = name.clone();
                kept.schedules.push(pb::ScheduleDetail { schedule, ..pb::ScheduleDetail::default() });
            }
            let found = kept.find_schedule(&name)?;
            found.spec = Some(spec);
            let schedule = Some(found.clone());
            kept.acknowledged(pb::ScheduleReply { schedule, sequence: 42 })
        })
    }

    async fn get(&self, request: Request<pb::GetScheduleRequest>) -> Answer<pb::ScheduleReply> {
        let name = request.into_inner().schedule;
        self.with(|kept| {
            let schedule = Some(kept.find_schedule(&name)?.clone());
            Ok(Response::new(pb::ScheduleReply { schedule, sequence: 42 }))
        })
    }

    async fn list(&self, _: Request<pb::ListSchedulesRequest>) -> Answer<pb::ListSchedulesReply> {
        self.with(|kept| {
            let (schedules, after) = (kept.schedules.clone(), String::new());
            Ok(Response::new(pb::ListSchedulesReply { schedules, after }))
        })
    }

    async fn pause(&self, _: Request<pb::PauseScheduleRequest>) -> Answer<pb::ScheduleReply> {
        Err(Status::unimplemented("pause"))
    }

    async fn trigger(&self, _: Request<pb::TriggerScheduleRequest>) -> Answer<pb::TriggerScheduleReply> {
        Err(Status::unimplemented("trigger"))
    }

    async fn delete(&self, request: Request<pb::DeleteScheduleRequest>) -> Answer<pb::DeleteScheduleReply> {
        let name = request.into_inner().schedule;
        self.with(|kept| {
            kept.find_schedule(&name)?;
            kept.schedules.retain(|it| it.schedule != name);
            kept.log.push(format!("drop schedule {name}"));
            kept.acknowledged(pb::DeleteScheduleReply { sequence: 42 })
        })
    }
}
