//! Where a blob goes: a file that is there whole or not at all, or whatever takes bytes as they come.

use std::ffi::OsString;
use std::fs as at_once;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::etag::Etag;
use crate::exit::{Exit, Failure};
use crate::os;
use crate::output::{door as terminal, unwritten};

/// Behind the name of a file that is not whole.
const PART: &str = ".part";
/// So much of an ETag stands before it: what is gone on with is of the same blob.
const ETAG_DIGITS: usize = 8;

/// Whither somebody wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whither {
    Stdout,
    /// A device, a pipe: as it comes.
    Straight(PathBuf),
    File(PathBuf),
}

impl Whither {
    /// What FILE means for a blob of that key; looked at before anybody is asked.
    pub(super) fn of(file: Option<&Path>, key: &str) -> Result<Self, Failure> {
        match file {
            None if terminal::prints_to_terminal() => {
                Err(Failure::usage("FILE is missing: name one, or pipe it on; - shows it here"))
            }
            None => Ok(Self::Stdout),
            Some(file) if file == Path::new("-") => Ok(Self::Stdout),
            Some(file) => Self::named(file, key),
        }
    }

    fn named(file: &Path, key: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| Failure::usage(format!("{}: {why}", file.display()));
        let failed = |error: io::Error| wrong(&error.to_string());
        match at_once::metadata(file) {
            Ok(facts) if facts.is_dir() => {
                let last = key.rsplit('/').next().filter(|last| !last.is_empty());
                let last =
                    last.ok_or_else(|| wrong("it is a folder, and the key has no last part: name a file"))?;
                let inside = file.join(last);
                if inside.is_dir() {
                    return Err(wrong(&format!("a folder '{last}' is in it: name a file")));
                }
                Self::named(&inside, key)
            }
            // What a link leads to is replaced, and not the link.
            Ok(facts) if facts.is_file() => file.canonicalize().map(Self::File).map_err(failed),
            Ok(_) => Ok(Self::Straight(file.to_owned())),
            Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(error)),
            Err(_) if file.is_symlink() => Err(wrong("it is a link to nothing")),
            Err(_) => {
                let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
                let is_there =
                    folder.is_none_or(Path::is_dir) && !file.as_os_str().as_encoded_bytes().ends_with(b"/");
                if is_there { Ok(Self::File(file.to_owned())) } else { Err(wrong("there is no such folder")) }
            }
        }
    }

    pub(super) fn file(&self) -> Option<&Path> {
        match self {
            Self::Stdout => None,
            Self::Straight(name) | Self::File(name) => Some(name),
        }
    }
}

/// Open.
pub(super) enum Sink {
    Stdout(terminal::Body),
    Straight { file: File, name: PathBuf },
    File { file: File, part: PathBuf, name: PathBuf },
}

impl Sink {
    /// With how much of it is there already, which the ETag hears.
    pub(super) async fn open(
        whither: &Whither,
        (resume, etag): (bool, &str),
        heard: &mut Option<Etag>,
    ) -> Result<(Self, u64), Failure> {
        let name = match whither {
            Whither::Stdout => return Ok((Self::Stdout(terminal::Body::to_stdout()), 0)),
            Whither::Straight(name) => {
                let file = OpenOptions::new().write(true).open(name).await;
                let file = file.map_err(|error| failed(name, &error))?;
                return Ok((Self::Straight { file, name: name.clone() }, 0));
            }
            Whither::File(name) => name.clone(),
        };
        let part = part_of(&name, etag);
        let mut file = lock(&part)?;
        let mut there = 0;
        if resume {
            let mut buffer = vec![0; 256 << 10];
            loop {
                let read = file.read(&mut buffer).await.map_err(|error| failed(&part, &error))?;
                let Some(data) = buffer.get(..read).filter(|data| !data.is_empty()) else { break };
                heard.iter_mut().for_each(|etag| etag.add(data));
                there += read as u64;
            }
        } else {
            file.set_len(0).await.map_err(|error| failed(&part, &error))?;
        }
        Ok((Self::File { file, part, name }, there))
    }

    pub(super) async fn write(&mut self, data: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Stdout(body) => body.write(data).map_err(|error| unwritten(&error)),
            Self::Straight { file, name: place } | Self::File { file, part: place, .. } => {
                file.write_all(data).await.map_err(|error| failed(place, &error))
            }
        }
    }

    /// All of it is there.
    pub(super) async fn end(self) -> Result<(), Failure> {
        match self {
            Self::Stdout(body) => body.finish().map_err(|error| unwritten(&error)),
            Self::Straight { mut file, name } => file.flush().await.map_err(|error| failed(&name, &error)),
            Self::File { mut file, part, name } => {
                let end = async {
                    file.flush().await?;
                    file.sync_all().await?;
                    fs::rename(&part, &name).await
                };
                end.await.map_err(|error| failed(&name, &error))
            }
        }
    }

    /// Nothing would go on from there.
    pub(super) async fn spoil(self) {
        if let Self::File { part, .. } = self {
            // What stays is found out by its digest again.
            let _ = fs::remove_file(part).await;
        }
    }

    /// Something may go on from there later; the file, where there is one.
    pub(super) async fn leave(self) -> Option<PathBuf> {
        match self {
            Self::Stdout(_) | Self::Straight { .. } => None,
            Self::File { mut file, part, .. } => {
                // What could not be written is what failed.
                let _ = file.flush().await;
                Some(part)
            }
        }
    }
}

fn failed(place: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        // Nobody but its user can mend that.
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::PermissionDenied => {
            Failure::usage(format!("{}: {error}", place.display()))
        }
        _ => Failure::local(place.display(), error),
    }
}

/// Where what is not whole is kept.
pub(super) fn part_of(name: &Path, etag: &str) -> PathBuf {
    let digits: String = etag.chars().filter(char::is_ascii_alphanumeric).take(ETAG_DIGITS).collect();
    let mut part: OsString = name.as_os_str().to_owned();
    part.push(format!(".{digits}{PART}"));
    part.into()
}

/// Opens it for this command alone.
fn lock(part: &Path) -> Result<File, Failure> {
    let taken = || {
        let sentence = format!("{}: another 'coracle blob get' is writing it", part.display());
        Failure::new(Exit::Conflict, sentence)
    };
    let mut options = at_once::OpenOptions::new();
    let file = options.read(true).write(true).create(true).truncate(false).open(part);
    let file = file.map_err(|error| failed(part, &error))?;
    if !os::lock_file(&file).map_err(|error| failed(part, &error))? {
        return Err(taken());
    }
    // Whoever had it may have given it its name just now.
    let (own, there) = (file.metadata(), at_once::metadata(part));
    let same = own.ok().zip(there.ok()).is_some_and(|(own, there)| own.ino() == there.ino());
    if same { Ok(File::from_std(file)) } else { Err(taken()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_folder_a_link_and_a_device_are_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().canonicalize().unwrap().join(name);
        std::fs::write(at("real"), "x").unwrap();
        std::fs::create_dir_all(at("sub/inner")).unwrap();
        symlink(at("real"), at("link")).unwrap();
        symlink(at("nowhere"), at("broken")).unwrap();
        let of = |name: &str, key| Whither::of(Some(&at(name)), key);
        assert_eq!(of("new", "a/cat.jpg").unwrap(), Whither::File(at("new")));
        assert_eq!(of("link", "a/cat.jpg").unwrap(), Whither::File(at("real")), "the link stays");
        assert_eq!(of("sub", "a/cat.jpg").unwrap(), Whither::File(at("sub/cat.jpg")));
        assert_eq!(of("sub/", "a/cat.jpg").unwrap(), Whither::File(at("sub/cat.jpg")));
        let device = Path::new("/dev/null");
        assert_eq!(Whither::of(Some(device), "a").unwrap(), Whither::Straight(device.to_owned()));
        assert_eq!(Whither::of(Some(Path::new("-")), "a").unwrap(), Whither::Stdout);
        for (name, key) in [
            ("sub", "a/"),
            ("sub", "inner"),
            ("broken", "a"),
            ("none/a", "a"),
            ("none/", "a"),
            ("real/a", "a"),
        ] {
            assert_eq!(of(name, key).unwrap_err().exit, Exit::Usage, "{name}");
        }
    }

    #[tokio::test]
    async fn one_file_is_written_by_one_command() {
        let folder = tempfile::tempdir().unwrap();
        let whither = Whither::File(folder.path().join("a"));
        let (one, _) = Sink::open(&whither, (false, "0123456789-2"), &mut None).await.unwrap();
        assert!(folder.path().join("a.01234567.part").exists());
        let failure = Sink::open(&whither, (true, "0123456789-2"), &mut None).await.err().unwrap();
        assert!(failure.exit == Exit::Conflict && failure.message.contains("another"), "{failure}");
        assert!(Sink::open(&whither, (false, "ff"), &mut None).await.is_ok(), "of another blob");
        assert!(one.leave().await.is_some());
        assert!(Sink::open(&whither, (true, "0123456789-2"), &mut None).await.is_ok());
    }
}
