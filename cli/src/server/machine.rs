//! What this machine has: cores, memory, a name.

use std::fs;
use std::thread;

/// Share of the memory that guests may use together: the rest is for page cache, store and other programs.
const GUEST_SHARE: u64 = 2;
/// Where the machine does not say how much it has.
const MEMORY_BYTES_UNKNOWN: u64 = 2 << 30;

/// Its cores: so many guests compute at once.
pub(crate) fn slots() -> u32 {
    thread::available_parallelism().map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(u32::MAX))
}

/// Memory for guests: half of what the machine, or its container, has.
pub(crate) fn guest_memory_bytes() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_bytes(&text));
    let container =
        fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    let total = machine.into_iter().chain(container).min().unwrap_or(MEMORY_BYTES_UNKNOWN);
    total / GUEST_SHARE
}

/// The machine's name, as a node's default name.
pub(crate) fn name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "node".to_owned() } else { name.to_owned() }
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
    fn the_kernels_table_is_read() {
        assert_eq!(total_bytes("MemTotal:       16 kB\nMemFree: 1 kB\n"), Some(16_384));
        assert_eq!(total_bytes("nothing"), None);
        assert!(slots() > 0 && guest_memory_bytes() > 0);
    }
}
