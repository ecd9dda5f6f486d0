//! Whether what is acknowledged was synced: system calls that sync, counted by strace while a load runs, and the disk's own time for one.
//! Who is watched so is slow; nothing else is measured meanwhile.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::figures::Contender;
use super::load::{Amount, Work};

/// Everything that makes a file durable, but for files that are opened so, which are looked for.
const CALLS: &str = "trace=fsync,fdatasync,sync_file_range,msync";
/// How long strace may take to be there.
const WATCHED_MAX: Duration = Duration::from_secs(30);
/// Writes that the disk is asked to sync, one after the other.
const PROBES: usize = 200;

/// Syncs of all processes for a message, with so many clients.
pub(crate) fn count(contender: &Contender, work: Work, amount: Amount) -> f64 {
    let mut told = tempfile::tempfile().expect("a file");
    let mut command = Command::new("strace");
    command.args(["-c", "-f", "-e", CALLS]);
    for pid in &contender.pids {
        command.args(["-p", &pid.to_string()]);
    }
    command.stdout(Stdio::null()).stderr(told.try_clone().expect("a second handle"));
    let mut strace = command.spawn().expect("strace (Debian: strace) starts");
    let begin = Instant::now();
    while contender.pids.iter().any(|pid| tracer(*pid) == Some(0)) {
        assert!(
            begin.elapsed() < WATCHED_MAX,
            "strace does not watch {} after {WATCHED_MAX:?}",
            contender.name
        );
        std::thread::sleep(Duration::from_millis(5)); // a bounded poll
    }
    // Nothing is warm-up here: all messages count as all syncs do.
    let measured = contender.measure(work, Amount { warm: Duration::ZERO, ..amount });
    let pid = Pid::from_raw(i32::try_from(strace.id()).expect("a process id")).expect("a process id");
    kill_process(pid, Signal::INT).expect("strace runs");
    let _ = strace.wait();
    let mut text = String::new();
    told.rewind().expect("a file");
    told.read_to_string(&mut text).expect("a text");
    calls(&text) as f64 / measured.count as f64
}

/// Whose debugger it is; 0: nobody's.
fn tracer(pid: i32) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("TracerPid:")?.trim().parse().ok())
}

/// What strace's table sums up to: the fourth column, in lines that end with the name of a call.
fn calls(table: &str) -> u64 {
    let line = table.lines().find(|line| line.trim_end().ends_with(" total"));
    line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or_default()
}

/// Files that processes have opened so that each write is a sync.
pub(crate) fn synced_files(pids: &[i32]) -> usize {
    /// `O_DSYNC`, which is a part of `O_SYNC` too.
    const DSYNC: u32 = 0o10000;
    let flags = |path: &Path| {
        let text = std::fs::read_to_string(path).ok()?;
        let flags = text.lines().find_map(|line| line.strip_prefix("flags:"))?;
        u32::from_str_radix(flags.trim(), 8).ok()
    };
    let of = |pid: &i32| {
        let files = std::fs::read_dir(format!("/proc/{pid}/fdinfo")).into_iter().flatten().flatten();
        files.filter(|file| flags(&file.path()).is_some_and(|flags| flags & DSYNC != 0)).count()
    };
    pids.iter().map(of).sum()
}

/// How long the disk takes for a write of 4 KiB that is synced, one after the other: the 50th and the 99th of a hundred. What the
/// machine does besides is seen in it.
pub(crate) fn disk(folder: &Path) -> (Duration, Duration) {
    let path = folder.join("probe");
    let mut file: File = OpenOptions::new().create(true).append(true).open(&path).expect("a file");
    let mut took: Vec<_> = (0..PROBES)
        .map(|_| {
            let begin = Instant::now();
            file.write_all(&[1; 4096]).expect("room");
            file.sync_data().expect("a disk");
            begin.elapsed()
        })
        .collect();
    took.sort_unstable();
    (took[PROBES / 2], took[PROBES * 99 / 100])
}
