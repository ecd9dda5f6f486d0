//! The schedules of a group, while this replica leads it: it waits until the next of them is due, and says so
//! (docs/adr/0015).
//!
//! `agenda` has when each is due, `plan` what it then has to do, and `pace` what time it is, by the clocks of all
//! members. That a tick counts once is decided in the log, whoever says it and how often.

mod agenda;
mod pace;
mod plan;
mod say;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coracle_proto::id::GroupId;
use coracle_raft::{Role, Stop};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinError, JoinSet};
use tracing::{info, warn};

use self::agenda::Agenda;
use self::pace::{Jump, Pace};
use self::say::{Asking, tick};
use crate::clock::{self, Members};
use crate::model::{self, PAGE_MAX, Place};
use crate::news::Changed;
use crate::replicas::{Replica, Served};

/// The longest wait: by then the time is read anew, and whether this replica still leads.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A tick that could not be said is said again after so long.
const HOLD_MS: u64 = 1000;
/// Schedules whose ticks are on their way at once: they make one entry, and leave room for others that wait.
const AT_ONCE: usize = 512;
/// Who changes a schedule waits so long for a new leader to have asked what time it is.
const TIME_WITHIN: Duration = Duration::from_secs(2);

/// The schedules of one group. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Schedules {
    group: GroupId,
    members: Members,
    time: Arc<Mutex<Time>>,
    /// Whether it goes by the clocks of all: it leads, and has asked them.
    knows_time: Arc<watch::Sender<bool>>,
    /// Whose times are reckoned now.
    reckoning: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Time {
    /// None: this replica does not lead.
    pace: Option<Pace>,
    /// When the oldest that has not fired was or is due, Unix milliseconds.
    oldest_ms: Option<u64>,
}

/// What a leader shows of its schedules, for whoever scrapes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    /// How long the oldest one that has not fired has been due.
    pub(crate) overdue_ms: u64,
    /// How much its time is ahead of its own wall clock.
    pub(crate) offset_ms: i64,
}

impl Schedules {
    pub(crate) fn new(group: GroupId, members: Members) -> Self {
        Self {
            group,
            members,
            time: Arc::default(),
            knows_time: Arc::new(watch::Sender::new(false)),
            reckoning: Arc::new(Semaphore::new(say::RECKONED_MAX)),
        }
    }

    /// The time by which schedules fire, Unix milliseconds.
    pub(crate) fn now_ms(&self) -> u64 {
        let (at, unix_ms) = (self.members.steady(), self.members.middle_ms());
        let mut time = self.time();
        let (now_ms, jump) = time.pace.as_mut().map_or((unix_ms, None), |pace| pace.advance(at, unix_ms));
        drop(time);
        match jump {
            Some(Jump::Ahead(off_ms)) => {
                warn!(group = %self.group, off_ms, "the clocks went ahead: missed times go by what was asked for");
            }
            Some(Jump::Behind(off_ms)) => {
                warn!(group = %self.group, off_ms, "the clocks went back: schedules wait for them at half the speed");
            }
            None => {}
        }
        now_ms
    }

    /// The same, when a leader has asked the clocks; none: it has not within some seconds.
    pub(crate) async fn known_ms(&self) -> Option<u64> {
        let mut knows = self.knows_time.subscribe();
        let known = knows.wait_for(|knows| *knows);
        tokio::time::timeout(TIME_WITHIN, known).await.ok()?.ok()?;
        Some(self.now_ms())
    }

    /// None: it does not lead.
    pub(crate) fn shown(&self) -> Option<Shown> {
        let now_ms = self.now_ms();
        let time = self.time();
        time.pace?;
        let oldest_ms = time.oldest_ms;
        drop(time);
        let overdue_ms = oldest_ms.map_or(0, |oldest_ms| now_ms.saturating_sub(oldest_ms));
        let wall_ms = clock::unix_ms();
        let apart_ms = i64::try_from(now_ms.abs_diff(wall_ms)).unwrap_or(i64::MAX);
        Some(Shown { overdue_ms, offset_ms: if now_ms < wall_ms { -apart_ms } else { apart_ms } })
    }

    /// Runs until the replica ends.
    pub(crate) async fn run(self, served: Served) {
        tokio::select! {
            () = self.lead_whenever(&served) => {}
            () = self.members.keep_asking(&served.replica) => {}
        }
    }

    async fn lead_whenever(&self, served: &Served) {
        let mut status = served.replica.watch();
        while let Some(leads) = status.until(|now| now.role == Role::Leader).await {
            // By the newest answers it is known whether the own clock is right.
            self.members.ask(&served.replica).await;
            self.set_out();
            self.lead(served, leads.term).await;
            self.knows_time.send_replace(false);
            let mut time = self.time();
            (time.pace, time.oldest_ms) = (None, None);
        }
    }

    async fn lead(&self, served: &Served, term: u64) {
        let mut leader = Leader { schedules: self, served, agenda: Agenda::default(), late: BTreeMap::new() };
        // Changes that were told to whoever led before are of no use.
        let mut changed = Changed::All;
        while still_leads(&served.replica, term) {
            if served.replica.read_barrier().await.is_ok() {
                break;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        drop(served.news.take_schedules());
        while still_leads(&served.replica, term) {
            if let Err(stop) = leader.follow(changed) {
                warn!(group = %self.group, %stop, "schedules cannot be read");
                tokio::time::sleep(LOOK_EVERY).await;
                changed = Changed::All;
                continue;
            }
            self.time().oldest_ms = leader.agenda.oldest_ms();
            leader.say().await;
            self.time().oldest_ms = leader.agenda.oldest_ms();
            let wait = leader.agenda.next_ms().map_or(LOOK_EVERY, |next_ms| {
                Duration::from_millis(next_ms.saturating_sub(self.now_ms())).min(LOOK_EVERY)
            });
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = served.news.schedules_changed() => {}
            }
            changed = served.news.take_schedules();
        }
    }

    fn set_out(&self) {
        let pace = Pace::from(self.members.steady(), self.members.middle_ms());
        self.time().pace = Some(pace);
        self.knows_time.send_replace(true);
    }

    fn time(&self) -> MutexGuard<'_, Time> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn still_leads(replica: &Replica, term: u64) -> bool {
    let status = replica.status();
    status.role == Role::Leader && status.term == term
}

/// Of one term.
struct Leader<'a> {
    schedules: &'a Schedules,
    served: &'a Served,
    agenda: Agenda,
    /// Of schedules that catch up: late ones that have fired.
    late: BTreeMap<Place, u64>,
}

impl Leader<'_> {
    /// The agenda has what the records have.
    fn follow(&mut self, changed: Changed) -> Result<(), Stop> {
        let view = self.served.replica.state();
        match changed {
            Changed::These(places) => {
                for place in places {
                    let schedule = model::schedule(&view, &place)?;
                    self.put(&place, schedule.as_ref());
                }
            }
            Changed::All => {
                self.agenda = Agenda::default();
                let mut after = None;
                loop {
                    let page = model::all_schedules(&view, after.as_ref(), PAGE_MAX)?;
                    for (place, schedule) in &page {
                        self.put(place, Some(schedule));
                    }
                    match page.into_iter().last() {
                        Some((last, _)) => after = Some(last),
                        None => break,
                    }
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, place: &Place, schedule: Option<&model::Schedule>) {
        if schedule.is_none() {
            self.late.remove(place);
        }
        if let Err(error) = self.agenda.put(place, schedule) {
            warn!(group = %self.schedules.group, %place, %error, "this schedule does not fire: a newer release has made it");
        }
    }

    /// Says what is due now, of as many schedules as may be on their way; of the others in the next round.
    async fn say(&mut self) {
        let now_ms = self.schedules.now_ms();
        let mut saying = JoinSet::new();
        let mut asked = HashMap::new();
        for (place, table) in self.agenda.due(now_ms, AT_ONCE) {
            let (served, saying_place) = (self.served.clone(), place.clone());
            let late = self.late.get(&place).copied().unwrap_or_default();
            let reckoning = Arc::clone(&self.schedules.reckoning);
            let asking = Asking { now_ms, late, reckoning };
            let task = saying.spawn(async move { tick(&asking, &served, &saying_place, &table).await });
            asked.insert(task.id(), place);
        }
        let (mut over, mut waits) = (Vec::new(), Vec::new());
        while let Some(done) = saying.join_next_with_id().await {
            let id = done.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
            let Some(place) = asked.remove(&id) else { continue };
            match done {
                Ok((_, said)) => {
                    if said.late == 0 {
                        self.late.remove(&place);
                    } else {
                        self.late.insert(place.clone(), said.late);
                    }
                    match said.waits {
                        Some(why) => waits.push((place.clone(), why)),
                        None => {
                            over.push(place);
                            continue;
                        }
                    }
                }
                Err(error) => waits.push((place.clone(), error.to_string())),
            }
            self.agenda.hold(&place, now_ms.saturating_add(HOLD_MS));
        }
        if let Some((example, why)) = waits.first() {
            info!(group = %self.schedules.group, count = waits.len(), %example, %why, "ticks of schedules wait");
        }
        // What was done stands in the records, which tell so; until then it is not due again.
        for place in over {
            let schedule = model::schedule(&self.served.replica.state(), &place);
            match schedule {
                Ok(schedule) => self.put(&place, schedule.as_ref()),
                Err(_) => self.agenda.hold(&place, now_ms.saturating_add(HOLD_MS)),
            }
        }
    }
}

#[cfg(test)]
mod simulation_tests;
#[cfg(test)]
mod tests;
