//! Compiled code on disk: private, write-once, each file with a keyed hash beside it.
//!
//! Nodes on one machine may share the folder. `DIGEST-ENGINE.code` is mapped and run, so nobody else may write the
//! folder, and [`Cache::verify`] is the only source of the [`Verified`] that mapping asks for.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use coracle_proto::id::Digest;
use coracle_proto::status::Refusal;

use crate::os;

/// Left-overs of compilations are deleted when they are older: none lasts longer.
const TMP_AGE_MAX: Duration = Duration::from_secs(3600);
/// Code that no node on the machine has mapped for so long is deleted; it can be compiled anew.
const UNUSED_AGE_MAX: Duration = Duration::from_secs(60 * 24 * 3600);
const KEY_BYTES: usize = 32;

/// The folder of compiled code.
#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    engine: String,
    key: [u8; KEY_BYTES],
}

/// Compiled code whose keyed hash was checked in this process.
#[derive(Debug, Clone)]
pub(super) struct Verified {
    path: PathBuf,
    stamp: Stamp,
}

/// Tells a file from another one under its name: inode, and the time of its last change.
type Stamp = (u64, i64, i64);

impl Verified {
    fn new(path: PathBuf, file: &Metadata) -> Self {
        Self { path, stamp: stamp(file) }
    }

    /// Where it lies.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is still the one that was checked: another process may have removed it, or made it anew.
    pub(super) fn is_current(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|file| stamp(&file) == self.stamp)
    }
}

fn stamp(file: &Metadata) -> Stamp {
    (file.ino(), file.ctime(), file.ctime_nsec())
}

impl Cache {
    /// Opens or makes the folder, for code of one engine.
    pub(super) fn open(folder: &Path, engine: String) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        if !os::is_private(&fs::metadata(folder)?) {
            let why = format!(
                "'{}' holds code that is run: it must belong to this user, and nobody else may write it",
                folder.display()
            );
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
        }
        let cache = Self { key: key(folder)?, folder: folder.to_owned(), engine };
        cache.sweep()?;
        Ok(cache)
    }

    /// Whether there is code for it, checked or not.
    pub(super) fn holds(&self, digest: &Digest) -> bool {
        self.file(digest, "code").exists()
    }

    /// A new name for the compiler to write to.
    pub(super) fn tmp(&self) -> PathBuf {
        tmp(&self.folder)
    }

    /// The file whose lock is held while a digest is compiled, by whatever process.
    pub(super) fn lock_file(&self, digest: &Digest) -> io::Result<File> {
        OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(self.file(digest, "lock"))
    }

    /// Takes over what the compiler wrote. It was written by a child of this process: its hash makes it checked.
    pub(super) fn store(&self, digest: &Digest, compiled: &Path) -> io::Result<Verified> {
        let file = File::open(compiled)?;
        let mac = self.hash(&file)?;
        file.set_permissions(Permissions::from_mode(0o400))?;
        file.sync_all()?;
        // The hash first: code without one would count as damaged.
        self.write(&self.file(digest, "mac"), mac.to_hex().as_bytes())?;
        let code = self.file(digest, "code");
        fs::rename(compiled, &code)?;
        os::sync_folder(&self.folder)?;
        let file = file.metadata()?;
        Ok(Verified::new(code, &file))
    }

    /// Checks the code; a file that fails is deleted.
    pub(super) fn verify(&self, digest: &Digest) -> io::Result<Option<Verified>> {
        let code = self.file(digest, "code");
        let file = match File::open(&code) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mac = fs::read(self.file(digest, "mac")).unwrap_or_default();
        if blake3::Hash::from_hex(&mac).is_ok_and(|mac| self.hash(&file).is_ok_and(|found| found == mac)) {
            return Ok(Some(Verified::new(code, &file.metadata()?)));
        }
        tracing::warn!(%digest, "compiled code is damaged: deleted");
        self.discard(digest, &file.metadata()?);
        Ok(None)
    }

    /// Deletes code that was found damaged, and nothing that came in its place: another process may have removed it while it was
    /// read, and made it anew.
    fn discard(&self, digest: &Digest, damaged: &Metadata) {
        let (code, aside) = (self.file(digest, "code"), self.tmp());
        if fs::rename(&code, &aside).is_err() {
            return;
        }
        let is_it = |file: Metadata| (file.dev(), file.ino()) == (damaged.dev(), damaged.ino());
        let done = match fs::metadata(&aside).is_ok_and(is_it) {
            true => fs::remove_file(&aside),
            // Whoever looked for it meanwhile makes it once more.
            false => fs::rename(&aside, &code),
        };
        if let Err(error) = done {
            tracing::warn!(%digest, %error, "compiled code was put aside and could not be put back or deleted");
        }
    }

    /// Notes that the code was mapped just now: what is used comes first when files are checked at start.
    pub(super) fn touch(&self, digest: &Digest, now: SystemTime) {
        // Without the note the file is checked later, or deleted earlier: no harm.
        let _ = File::open(self.file(digest, "mac")).and_then(|mac| mac.set_modified(now));
    }

    /// Removes the code, and the memory of a failure.
    pub(super) fn remove(&self, digest: &Digest) {
        for what in ["code", "mac", "failed"] {
            match fs::remove_file(self.file(digest, what)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(%digest, %error, "compiled code could not be removed");
                }
                Ok(()) | Err(_) => {}
            }
        }
    }

    /// Why it could not be compiled before, with this engine.
    pub(super) fn failure(&self, digest: &Digest) -> Option<Refusal> {
        let text = fs::read_to_string(self.file(digest, "failed")).ok()?;
        let (code, message) = text.split_once('\n')?;
        Some(Refusal::new(code.parse().ok()?, message))
    }

    /// Remembers that, so that it is not tried again.
    pub(super) fn remember_failure(&self, digest: &Digest, refusal: &Refusal) {
        let text = format!("{}\n{}", refusal.code, refusal.message);
        if let Err(error) = self.write(&self.file(digest, "failed"), text.as_bytes()) {
            tracing::warn!(%digest, %error, "a failed compilation could not be noted: it will be tried again");
        }
    }

    /// What there is for this engine, most recently used first.
    pub(super) fn by_use(&self) -> io::Result<Vec<Digest>> {
        let suffix = format!("-{}.mac", self.engine);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let digest = name.to_str().and_then(|name| name.strip_suffix(&suffix)?.parse::<Digest>().ok());
            if let (Some(digest), Ok(used)) = (digest, entry.metadata().and_then(|data| data.modified())) {
                found.push((used, digest));
            }
        }
        found.sort_by_key(|(used, _)| std::cmp::Reverse(*used));
        Ok(found.into_iter().map(|(_, digest)| digest).collect())
    }

    fn file(&self, digest: &Digest, what: &str) -> PathBuf {
        self.folder.join(format!("{}-{}.{what}", digest.hex(), self.engine))
    }

    fn hash(&self, file: &File) -> io::Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update_reader(file)?;
        Ok(hasher.finalize())
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let tmp = self.tmp();
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&tmp)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&tmp, path)
    }

    /// Deletes what crashes and old versions left.
    fn sweep(&self) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let (path, name) = (entry.path(), entry.file_name());
            let name = name.to_string_lossy();
            let age_max = if name.starts_with("tmp-") { TMP_AGE_MAX } else { UNUSED_AGE_MAX };
            // Another node on this machine may delete it first: then there is nothing to look at.
            let Ok(age) =
                entry.metadata().and_then(|data| data.modified()).map(|at| at.elapsed().unwrap_or_default())
            else {
                continue;
            };
            if age <= age_max || name.starts_with("key") || name.ends_with(".code") {
                continue;
            }
            let _ = fs::remove_file(&path);
            if name.ends_with(".mac") {
                let _ = fs::remove_file(path.with_extension("code"));
            }
        }
        Ok(())
    }
}

/// A name that nobody else takes. Process ids are not enough: each container that shares the folder has its own first one.
fn tmp(folder: &Path) -> PathBuf {
    folder.join(format!("tmp-{:032x}", rand::random::<u128>()))
}

/// The folder's key, made by whichever process is first. A key of another length was damaged: a new one takes its place.
fn key(folder: &Path) -> io::Result<[u8; KEY_BYTES]> {
    let path = folder.join("key");
    if !path.exists() {
        make_key(folder, |tmp| {
            // Fails when another process was first: then its key counts.
            let _ = fs::hard_link(tmp, &path);
            fs::remove_file(tmp)
        })?;
    }
    if let Some(key) = read_key(&path)? {
        return Ok(key);
    }
    // One process mends, the others that came meanwhile find it done.
    let lock = folder.join("key.lock");
    let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(lock)?;
    lock.lock()?;
    if let Some(key) = read_key(&path)? {
        return Ok(key);
    }
    tracing::warn!(file = %path.display(), "the key of the compiled code is damaged: all of it is made anew");
    drop_compiled(folder)?;
    make_key(folder, |tmp| fs::rename(tmp, &path))?;
    read_key(&path)?.ok_or_else(|| io::Error::other(format!("'{}' cannot be made anew", path.display())))
}

fn make_key(folder: &Path, place: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let tmp = tmp(folder);
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&tmp)?;
    file.write_all(&rand::random::<[u8; KEY_BYTES]>())?;
    file.sync_all()?;
    place(&tmp)?;
    os::sync_folder(folder)
}

fn read_key(path: &Path) -> io::Result<Option<[u8; KEY_BYTES]>> {
    let file = File::open(path)?;
    if !os::is_private(&file.metadata()?) {
        return Err(io::Error::other(format!("'{}' can be written by others", path.display())));
    }
    let mut key = Vec::new();
    file.take(KEY_BYTES as u64 + 1).read_to_end(&mut key)?;
    Ok(key.try_into().ok())
}

/// What was hashed by a key that is lost can never be checked again.
fn drop_compiled(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|what| what == "code" || what == "mac") {
            // Whatever stays fails its check, and is deleted then.
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use coracle_proto::status::Code;

    const DIGEST: Digest = Digest::new([7; 32]);

    fn cache(folder: &Path) -> Cache {
        Cache::open(folder, "engine".into()).unwrap()
    }

    #[test]
    fn a_changed_bit_is_found_and_the_file_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let one = cache(folder.path());
        let tmp = one.tmp();
        fs::write(&tmp, b"code").unwrap();
        one.store(&DIGEST, &tmp).unwrap();
        let other = cache(folder.path());
        assert!(other.verify(&DIGEST).unwrap().is_some(), "another process has the same key");
        assert_eq!(other.by_use().unwrap(), [DIGEST]);

        let code = other.file(&DIGEST, "code");
        assert_eq!(fs::metadata(&code).unwrap().permissions().mode() & 0o777, 0o400);
        fs::set_permissions(&code, Permissions::from_mode(0o600)).unwrap();
        fs::write(&code, b"cod3").unwrap();
        assert!(other.verify(&DIGEST).unwrap().is_none());
        assert!(!other.holds(&DIGEST));
    }

    #[test]
    fn what_was_made_anew_is_not_deleted_for_what_stood_there_before() {
        let folder = tempfile::tempdir().unwrap();
        let cache = cache(folder.path());
        let store = |code: &[u8]| {
            let tmp = cache.tmp();
            fs::write(&tmp, code).unwrap();
            cache.store(&DIGEST, &tmp).unwrap();
        };
        store(b"code");
        let before = File::open(cache.file(&DIGEST, "code")).unwrap();
        cache.remove(&DIGEST);
        store(b"code");
        cache.discard(&DIGEST, &before.metadata().unwrap());
        assert!(cache.verify(&DIGEST).unwrap().is_some());
        let now = File::open(cache.file(&DIGEST, "code")).unwrap();
        cache.discard(&DIGEST, &now.metadata().unwrap());
        assert!(!cache.holds(&DIGEST));
        cache.discard(&DIGEST, &now.metadata().unwrap());
    }

    #[test]
    fn a_damaged_key_is_made_anew_and_what_it_signed_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for damaged in [&b""[..], &[7; KEY_BYTES - 1], &[7; KEY_BYTES + 1]] {
            let one = cache(folder.path());
            let tmp = one.tmp();
            fs::write(&tmp, b"code").unwrap();
            one.store(&DIGEST, &tmp).unwrap();
            fs::write(&path, damaged).unwrap();
            let other = cache(folder.path());
            assert!(!other.holds(&DIGEST), "compiled anew");
            assert_eq!(cache(folder.path()).key, other.key, "the next process has the same key");
            assert_eq!(fs::metadata(&path).unwrap().len(), KEY_BYTES as u64);
        }
    }

    #[test]
    fn two_nodes_with_equal_process_ids_write_to_names_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        assert_ne!(cache(folder.path()).tmp(), cache(folder.path()).tmp());
    }

    #[test]
    fn a_folder_that_others_can_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let error = Cache::open(folder.path(), "engine".into()).unwrap_err().to_string();
        assert!(error.contains("nobody else may write it"), "{error}");
    }

    #[test]
    fn failures_are_remembered_until_they_are_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let refusal = Refusal::new(Code::CompileLimit, "over\n120 s");
        cache(folder.path()).remember_failure(&DIGEST, &refusal);
        assert_eq!(cache(folder.path()).failure(&DIGEST), Some(refusal));
        cache(folder.path()).remove(&DIGEST);
        assert_eq!(cache(folder.path()).failure(&DIGEST), None);
    }
}
