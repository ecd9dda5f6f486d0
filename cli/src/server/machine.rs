//! What this machine has: cores, memory, a name.

use std::fs;
use std::path::Path;
use std::thread;

/// Share of the memory that guests may use together: the rest is for page cache, store and other programs.
const GUEST_SHARE: u64 = 2;
/// Where control groups lie.
const GROUPS: &str = "/sys/fs/cgroup";
/// Where the machine does not say how much it has.
const MEMORY_BYTES_UNKNOWN: u64 = 2 << 30;

/// Its cores: so many guests compute at once.
pub(crate) fn slots() -> u32 {
    thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX))
}

/// Memory for guests: half of what the machine, or its container or control group, has.
pub(crate) fn guest_memory_bytes() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_bytes(&text));
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let groups = groups(&own).into_iter().filter_map(|folder| {
        fs::read_to_string(Path::new(GROUPS).join(folder).join("memory.max")).ok()?.trim().parse().ok()
    });
    let total = machine.into_iter().chain(groups).min().unwrap_or(MEMORY_BYTES_UNKNOWN);
    total / GUEST_SHARE
}

/// The machine's name, as a node's default name.
pub(crate) fn name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "node".to_owned() } else { name.to_owned() }
}

/// The control groups that bound this process: its own and those around it (cgroups(7), version 2). The kernel counts
/// against each.
fn groups(own: &str) -> Vec<&Path> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    Path::new(path).ancestors().collect()
}

fn total_bytes(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_around_the_process_bounds_it() {
        let folders = groups("1:name=x:/a\n0::/system.slice/coracle.service\n");
        assert_eq!(folders, ["system.slice/coracle.service", "system.slice", ""].map(Path::new));
        assert_eq!(groups("0::/\n"), [Path::new("")]);
        assert_eq!(groups(""), [Path::new("")]);
    }

    #[test]
    fn the_kernels_table_is_read() {
        assert_eq!(total_bytes("MemTotal:       16 kB\nMemFree: 1 kB\n"), Some(16_384));
        assert_eq!(total_bytes("nothing"), None);
        assert!(slots() > 0 && guest_memory_bytes() > 0);
    }
}
