//! Whether a queue kept what it promises: what was sent, what is told of it, and what functions saw, compared.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// One run of a function for a message, as the function saw it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// The invocation.
    pub id: String,
    /// Its fence: greater than that of any attempt before.
    pub fence: u64,
    /// From 1.
    pub attempt: u64,
}

/// Everything that is known of a queue at the end.
#[derive(Debug, Clone, Default)]
pub struct Deliveries {
    /// Invocations whose publish was acknowledged.
    pub sent: BTreeSet<String>,
    /// Their records, as `coracle invocation list -o json` has them.
    pub records: Vec<Value>,
    /// In the order in which they are known; some may be missing where nobody could write them down.
    pub runs: Vec<Run>,
    /// The queue, as `coracle queue get -o json` has it.
    pub queue: Value,
}

/// Attempts of which a record tells.
const REPORTS_KEPT: usize = 8;
/// States of a message that is still there to be delivered.
const OPEN: [&str; 2] = ["waiting", "running"];
/// States in which it ended.
const ENDED: [&str; 4] = ["succeeded", "dead", "cancelled", "dropped"];

impl Deliveries {
    /// Everything that is not as it was promised.
    ///
    /// # Panics
    /// When a record is none.
    #[must_use]
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut known: BTreeMap<&str, &Value> = BTreeMap::new();
        for record in &self.records {
            let id = record["id"].as_str().expect("an id");
            if known.insert(id, record).is_some() {
                wrong.push(format!("{id} has two records"));
            }
            if !self.sent.contains(id) {
                wrong.push(format!("{id} was never sent"));
            }
        }
        for id in self.sent.iter().filter(|id| !known.contains_key(id.as_str())) {
            wrong.push(format!("{id} was acknowledged and is lost"));
        }
        known.iter().for_each(|(id, record)| self.record(id, record, &mut wrong));
        self.fences(&mut wrong);
        self.sums(&mut wrong);
        wrong
    }

    fn record(&self, id: &str, record: &Value, wrong: &mut Vec<String>) {
        let state = record["state"].as_str().unwrap_or_default();
        if !OPEN.contains(&state) && !ENDED.contains(&state) {
            wrong.push(format!("{id} is neither open nor ended: {state:?}"));
        }
        let attempts = record["attempts"].as_u64().unwrap_or_default();
        let reports = record["reports"].as_array().map_or(&[][..], Vec::as_slice);
        let told: Vec<_> = reports.iter().filter_map(|report| report["attempt"].as_u64()).collect();
        let ended = attempts - u64::from(state == "running").min(attempts);
        let first = ended.saturating_sub(REPORTS_KEPT as u64) + 1;
        if told != (first..=ended).collect::<Vec<_>>() {
            wrong.push(format!("{id} has a gap: {attempts} attempts, told are {told:?}, and it is {state}"));
        }
        if ["succeeded", "dead"].contains(&state) && attempts == 0 {
            wrong.push(format!("{id} is {state} and was never tried"));
        }
        let seen = self.runs.iter().filter(|run| run.id == id).map(|run| run.attempt).max();
        if seen.is_some_and(|seen| seen > attempts) {
            wrong.push(format!("{id} was run as attempt {seen:?} of {attempts}"));
        }
    }

    /// A later attempt has a greater fence, and no two have the same.
    fn fences(&self, wrong: &mut Vec<String>) {
        let mut of: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
        for run in &self.runs {
            of.entry(&run.id).or_default().push((run.fence, run.attempt));
        }
        for (id, mut runs) in of {
            if !self.sent.contains(id) {
                wrong.push(format!("{id} was run and never sent"));
            }
            let seen = runs.clone();
            runs.sort_unstable();
            runs.dedup();
            let falls = runs.windows(2).any(|pair| pair[1].1 < pair[0].1 || pair[1].0 == pair[0].0);
            if falls {
                wrong.push(format!("{id} has fences that go back: (fence, attempt) {seen:?}"));
            }
        }
    }

    /// All that was taken in is settled, put aside, taken away or still there: once.
    fn sums(&self, wrong: &mut Vec<String>) {
        let total = |name: &str| self.queue["totals"][name].as_u64().unwrap_or_default();
        let there = |name: &str| self.queue[name].as_u64().unwrap_or_default();
        let taken = total("published");
        let kept = ["ready", "delayed", "behind", "claimed", "dead"].map(there).iter().sum::<u64>();
        let gone = ["settled", "purged", "expired", "cancelled"].map(total).iter().sum::<u64>();
        if taken != kept + gone {
            wrong.push(format!("{taken} were taken in, {kept} are there and {gone} are not: {}", self.queue));
        }
        let sent = self.sent.len() as u64;
        if taken != sent {
            wrong.push(format!("{taken} were taken in and {sent} acknowledged"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Two messages, one settled at its second attempt and one dead.
    fn good() -> Deliveries {
        let reports =
            |count: u64| (1..=count).map(|attempt| json!({ "attempt": attempt })).collect::<Vec<_>>();
        let run = |id: &str, attempt, fence| Run { id: id.to_owned(), fence, attempt };
        Deliveries {
            sent: ["a", "b"].map(str::to_owned).into(),
            records: vec![
                json!({"id": "a", "state": "succeeded", "attempts": 2, "reports": reports(2)}),
                json!({"id": "b", "state": "dead", "attempts": 1, "reports": reports(1)}),
            ],
            // The second attempt of `a` was given back once.
            runs: vec![run("a", 1, 3), run("b", 1, 5), run("a", 2, 9), run("a", 2, 11)],
            queue: json!({"ready": 0, "dead": 1, "totals": {"published": 2, "settled": 1}}),
        }
    }

    #[test]
    fn what_keeps_its_promises_is_found_good() {
        assert_eq!(good().wrong(), Vec::<String>::new());
    }

    #[test]
    fn each_broken_promise_is_found_out() {
        let broken: [(&str, fn(&mut Deliveries)); 9] = [
            ("is lost", |it| drop(it.records.pop())),
            ("never sent", |it| it.records.push(json!({"id": "c", "state": "waiting"}))),
            ("two records", |it| it.records.push(it.records[0].clone())),
            ("has a gap", |it| it.records[0]["reports"] = json!([{"attempt": 1}])),
            ("never tried", |it| {
                (it.records[1]["attempts"], it.records[1]["reports"]) = (json!(0), json!([]))
            }),
            ("fences that go back", |it| it.runs[2].fence = 2),
            ("fences that go back", |it| it.runs[2].fence = 3),
            ("run as attempt", |it| it.runs[1].attempt = 2),
            ("were taken in", |it| it.queue["totals"]["settled"] = json!(2)),
        ];
        for (word, breaks) in broken {
            let mut deliveries = good();
            breaks(&mut deliveries);
            let wrong = deliveries.wrong();
            assert!(wrong.iter().any(|sentence| sentence.contains(word)), "{word}: {wrong:?}");
        }
    }
}
