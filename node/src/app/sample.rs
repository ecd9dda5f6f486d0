//! How busy machine and guests are, looked at once a second; and which machine this is.

use std::fs;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Stop;
use crate::runtime::Runtime;
use crate::worker::Executor;

/// As often as reports go out.
const INTERVAL: Duration = Duration::from_secs(1);
/// The fields of `/proc/stat` that count: user, nice, system, idle, iowait, irq, softirq, steal (proc(5)). What
/// comes after them is in them already.
const FIELDS: usize = 8;
const IDLE: [usize; 2] = [3, 4];

/// The task.
#[derive(Debug)]
pub(super) struct Sampler {
    executor: Executor,
    runtime: Runtime,
}

/// Time of all processors since the machine's start, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Ticks {
    busy: u64,
    all: u64,
}

impl Sampler {
    pub(super) const fn new(executor: Executor, runtime: Runtime) -> Self {
        Self { executor, runtime }
    }

    pub(super) async fn run(self, stop: Stop) {
        let mut tick = interval(INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = Ticks::now();
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            let now = Ticks::now();
            let resident = u64::try_from(self.runtime.stats().resident).unwrap_or(u64::MAX);
            self.executor.observe(resident, memory_bytes(), now.permille_since(before));
            before = now;
        }
    }
}

impl Ticks {
    fn now() -> Self {
        Self::parse(&fs::read_to_string("/proc/stat").unwrap_or_default())
    }

    fn parse(stat: &str) -> Self {
        let line = stat.lines().next().unwrap_or_default();
        let fields =
            line.split_ascii_whitespace().skip(1).take(FIELDS).map(|field| field.parse().unwrap_or(0));
        fields.enumerate().fold(Self::default(), |sum, (index, ticks): (usize, u64)| Self {
            busy: if IDLE.contains(&index) { sum.busy } else { sum.busy + ticks },
            all: sum.all + ticks,
        })
    }

    fn permille_since(self, before: Self) -> u32 {
        let (busy, all) = (self.busy.saturating_sub(before.busy), self.all.saturating_sub(before.all));
        let permille = busy.saturating_mul(1000).checked_div(all).unwrap_or(0);
        u32::try_from(permille.min(1000)).unwrap_or(1000)
    }
}

/// Memory of this process that is no file's: that of its guests, and little else (`RssAnon`, proc(5)).
fn memory_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.unwrap_or(0).saturating_mul(1024)
}

/// Tells machines apart: random at each boot, and the same in all containers of one machine.
#[must_use]
pub fn host_id() -> String {
    let read =
        |path| fs::read_to_string(path).ok().map(|id| id.trim().to_owned()).filter(|id| !id.is_empty());
    read("/proc/sys/kernel/random/boot_id").or_else(|| read("/etc/machine-id")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_busy_ticks() {
        let before = Ticks::parse("cpu  100 0 50 800 50 0 0 0 30 0\ncpu0 1 1 1");
        assert_eq!(before, Ticks { busy: 150, all: 1000 });
        let now = Ticks::parse("cpu  150 0 100 1000 50 0 0 0 30 0\n");
        assert_eq!(now.permille_since(before), 333);
        assert_eq!(before.permille_since(now), 0);
        assert_eq!(Ticks::parse("").permille_since(Ticks::default()), 0);
    }

    #[test]
    fn this_machine_has_an_id_and_uses_memory() {
        assert!(host_id().len() >= 32);
        assert!(memory_bytes() > 0);
        assert!(Ticks::now().all > 0);
    }
}
