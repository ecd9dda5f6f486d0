//! System calls of the supervisor and its children, by safe wrappers.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};

/// Files that can go with one message: a lock and the data plane's two listeners, with room.
const FILES_MAX: usize = 4;

/// Longest message from a supervisor to a child: options are a few hundred bytes. It must fit into the
/// socket's buffer, so that sending never blocks.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// How a process ends when the thread that started it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParentDeath {
    /// At once.
    Kill,
    /// In its own order.
    Terminate,
}

/// Has this process and its children use pages of the least size. The allocator asks for huge ones, and who holds a little then
/// keeps 2 MiB wherever it once had something: an idle node took three times the memory, and calls were no faster.
pub(crate) fn use_small_pages() {
    // A kernel that knows no others has nothing to turn off.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

/// Ties this process to its parent's life; `false` when the parent is gone already.
pub(crate) fn follow_parent(parent: u32, death: ParentDeath) -> io::Result<bool> {
    let signal = match death {
        ParentDeath::Kill => Signal::KILL,
        ParentDeath::Terminate => Signal::TERM,
    };
    rustix::process::set_parent_process_death_signal(Some(signal))?;
    // The parent may have died before the line above: then another process has become the parent.
    Ok(rustix::process::getppid() == pid(parent))
}

/// Changes this process's niceness by so much; less than before needs a permission.
pub(crate) fn be_nice(by: i32) -> io::Result<()> {
    Ok(rustix::process::nice(by).map(drop)?)
}

/// Raises the limit of open files as far as it goes and returns it.
pub(crate) fn raise_open_files() -> io::Result<Option<u64>> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(Resource::Nofile, raised)?;
    Ok(limit.maximum)
}

/// Whether SIGHUP was set to be ignored before this program began (proc(5), `SigIgn`).
pub(crate) fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signal N is bit N - 1, and SIGHUP is 1.
    mask.is_some_and(|mask| mask & 1 == 1)
}

/// Asks a process to end.
pub(crate) fn terminate(process: u32) -> io::Result<()> {
    signal(process, Signal::TERM)
}

/// Ends a process.
pub(crate) fn kill(process: u32) -> io::Result<()> {
    signal(process, Signal::KILL)
}

fn signal(process: u32, signal: Signal) -> io::Result<()> {
    let pid = pid(process).ok_or(io::ErrorKind::InvalidInput)?;
    Ok(rustix::process::kill_process(pid, signal)?)
}

fn pid(process: u32) -> Option<Pid> {
    i32::try_from(process).ok().and_then(Pid::from_raw)
}

/// Ctrl-C.
const INTERRUPT: u8 = 3;

/// A terminal that is as it was again, however what was done with it ends.
struct Restored(Termios);

impl Drop for Restored {
    fn drop(&mut self) {
        // There is nothing else to try.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}

/// Reads a line of the terminal that stdin is, of at most so many bytes, and shows nothing of it; none where Ctrl-C ended it.
/// Ctrl-C ends the line, and not this program: it would leave the terminal mute.
pub(crate) fn read_unseen(bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
    let before = tcgetattr(io::stdin())?;
    let mut unseen = before.clone();
    unseen.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
    unseen.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
    let restored = Restored(before);
    tcsetattr(io::stdin(), OptionalActions::Flush, &unseen)?;
    let mut line = vec![0; bytes_max];
    // A terminal gives one line to one read.
    let read = rustix::io::retry_on_intr(|| rustix::io::read(io::stdin(), &mut line))?;
    drop(restored);
    line.truncate(read);
    Ok((line.last() != Some(&INTERRUPT)).then_some(line))
}

/// Takes the lock of a file that only one process may hold; `None` when another one has it. It is free
/// again when the file is closed, however that comes.
pub(crate) fn lock(path: &Path) -> io::Result<Option<File>> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    Ok(lock_file(&file)?.then_some(file))
}

/// The same of one that is open; whether nobody else has it.
pub(crate) fn lock_file(file: &File) -> io::Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Replaces a file's content so that after a crash it is the old one or the new one.
pub(crate) fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

/// Sends a message together with open files (`SCM_RIGHTS`).
pub(crate) fn send_with_files(
    socket: &UnixStream,
    message: &[u8],
    files: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let too_much = || io::Error::new(io::ErrorKind::InvalidInput, "the message is over its limit");
    let length = u32::try_from(message.len()).map_err(|_| too_much())?;
    if message.len() > MESSAGE_BYTES_MAX || files.len() > FILES_MAX {
        return Err(too_much());
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !files.is_empty() && !control.push(SendAncillaryMessage::ScmRights(files)) {
        return Err(too_much());
    }
    let header = length.to_be_bytes();
    let sent = rustix::net::sendmsg(socket, &[IoSlice::new(&header)], &mut control, SendFlags::NOSIGNAL)?;
    if sent != header.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    (&mut &*socket).write_all(message)
}

/// Receives what [`send_with_files`] sent.
pub(crate) fn receive_with_files(socket: &UnixStream) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut header = [0; 4];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::WAITALL;
    let received = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut header)], &mut control, flags)?;
    if received.bytes != header.len() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let mut files = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(some) = part {
            files.extend(some);
        }
    }
    let length = u32::from_be_bytes(header) as usize;
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is over its limit"));
    }
    let mut message = vec![0; length];
    (&mut &*socket).read_exact(&mut message)?;
    Ok((message, files))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn a_process_that_was_told_to_has_no_huge_pages() {
        use_small_pages();
        assert!(rustix::thread::transparent_huge_pages_are_disabled().unwrap());
    }

    #[test]
    fn a_listener_crosses_a_socket() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        send_with_files(&ours, b"hello", &[listener.as_fd()]).unwrap();
        drop(listener);
        let (message, mut files) = receive_with_files(&theirs).unwrap();
        assert_eq!(message, b"hello");
        let crossed = TcpListener::from(files.remove(0));
        assert!(files.is_empty());
        assert_eq!(crossed.local_addr().unwrap(), address);
        std::net::TcpStream::connect(address).expect("it still listens");
    }

    #[test]
    fn too_long_a_message_is_refused() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let error = send_with_files(&ours, &vec![0; MESSAGE_BYTES_MAX + 1], &[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_lock_is_held_once_and_ends_with_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = lock(&path).unwrap().expect("free");
        assert!(lock(&path).unwrap().is_none());
        drop(held);
        assert!(lock(&path).unwrap().is_some());
    }

    #[test]
    fn the_real_parent_is_recognised() {
        assert!(!follow_parent(u32::MAX >> 1, ParentDeath::Terminate).unwrap());
        let parent = rustix::process::getppid().unwrap().as_raw_pid();
        assert!(follow_parent(u32::try_from(parent).unwrap(), ParentDeath::Terminate).unwrap());
        rustix::process::set_parent_process_death_signal(None).unwrap();
    }
}
