//! System calls that the data plane needs, all by `rustix`'s safe functions.

use std::fs::{File, Metadata};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::Shutdown;
use rustix::process::{Pid, Resource, Rlimit, Signal};
use rustix::time::{ClockId, clock_gettime};

/// CPU time that the calling thread has used.
#[must_use]
pub fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

/// Adds to the niceness of the calling thread alone: Linux has one for each (setpriority(2)). Where it is refused the
/// thread runs as before.
pub fn be_nicer(by: i32) {
    let now = rustix::process::getpriority_process(None).unwrap_or(0);
    if let Err(error) = rustix::process::setpriority_process(None, now.saturating_add(by)) {
        tracing::debug!(%error, "a thread keeps its priority");
    }
}

/// Raises the number of files that this process may open to what it is allowed to, and returns it.
pub fn raise_open_files() -> u64 {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    // Where it is refused the old one stays in force.
    let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    rustix::process::getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// How many mappings the kernel gives one process; its default where that cannot be read.
#[must_use]
pub fn mappings_max() -> u64 {
    const DEFAULT: u64 = 65_530;
    let text = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap_or_default();
    text.trim().parse().unwrap_or(DEFAULT)
}

/// Whether a file or folder is this user's own and nobody else can write it.
#[must_use]
pub fn is_private(metadata: &Metadata) -> bool {
    const WRITABLE_BY_OTHERS: u32 = 0o022;
    metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & WRITABLE_BY_OTHERS == 0
}

/// Whether an error says that a file is not there or cannot be read, and not that this process is short of something.
#[must_use]
pub fn tells_loss(error: &io::Error) -> bool {
    // What file systems answer for a bad block and for a checksum that does not fit.
    const DAMAGE: [Errno; 3] = [Errno::IO, Errno::BADMSG, Errno::UCLEAN];
    matches!(
        error.kind(),
        io::ErrorKind::NotFound
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::NotADirectory
    ) || Errno::from_io_error(error).is_some_and(|errno| DAMAGE.contains(&errno))
}

/// Whether an error says that this process, or its machine, is short of something: memory, mappings, files.
#[must_use]
pub fn tells_shortage(error: &io::Error) -> bool {
    const SHORTAGE: [Errno; 4] = [Errno::NOMEM, Errno::MFILE, Errno::NFILE, Errno::AGAIN];
    Errno::from_io_error(error).is_some_and(|errno| SHORTAGE.contains(&errno))
}

/// Whether one of these errors, each the cause of the one before, says so.
#[must_use]
pub fn shortage_behind<'a>(mut causes: impl Iterator<Item = &'a (dyn std::error::Error + 'static)>) -> bool {
    causes.any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(tells_shortage)
            || cause.downcast_ref::<Errno>().is_some_and(|errno| tells_shortage(&(*errno).into()))
    })
}

/// Makes a folder's entries durable.
///
/// # Errors
/// As the file system says.
pub fn sync_folder(folder: &std::path::Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Tells the other side of a connection that nothing more comes; what it sends can still be read.
///
/// # Errors
/// When it is not connected any more.
pub fn shut_writing(connection: impl AsFd) -> io::Result<()> {
    Ok(rustix::net::shutdown(connection, Shutdown::Write)?)
}

/// What a child process may use.
#[derive(Debug, Clone, Copy)]
pub struct ChildLimits {
    /// CPU time of all its threads, seconds.
    pub cpu_seconds: u64,
    /// Address space, bytes.
    pub address_space_bytes: u64,
    /// What is added to its niceness.
    pub nice: i32,
}

/// Binds this process to its parent and to limits: it is killed when the parent's thread that started it ends.
///
/// # Errors
/// When a limit cannot be set, or the parent has ended already.
pub fn become_child(parent: u32, limits: ChildLimits) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid().map(Pid::as_raw_pid) != i32::try_from(parent).ok() {
        return Err(io::Error::other(format!("process {parent} is not the parent any more")));
    }
    // The soft limit ends the process with a signal of its own, which tells the reason.
    let cpu = Rlimit { current: Some(limits.cpu_seconds), maximum: Some(limits.cpu_seconds + 1) };
    rustix::process::setrlimit(Resource::Cpu, cpu)?;
    let bytes = Some(limits.address_space_bytes);
    rustix::process::setrlimit(Resource::As, Rlimit { current: bytes, maximum: bytes })?;
    rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    rustix::process::nice(limits.nice)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_counts_work_and_not_waiting() {
        let before = thread_cpu_time();
        let mut sum = 0_u64;
        while thread_cpu_time() - before < Duration::from_millis(5) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        assert!(sum > 0);
    }

    #[test]
    fn a_file_that_is_gone_is_lost_and_a_process_without_files_has_lost_none() {
        for errno in [Errno::NOENT, Errno::NOTDIR, Errno::ACCESS, Errno::IO, Errno::UCLEAN] {
            assert!(tells_loss(&errno.into()), "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::INTR, Errno::ROFS] {
            assert!(!tells_loss(&errno.into()), "{errno}");
        }
    }

    #[test]
    fn a_folder_that_others_can_write_is_not_private() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        assert!(is_private(&folder.path().metadata().unwrap()));
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o770)).unwrap();
        assert!(!is_private(&folder.path().metadata().unwrap()));
    }
}
