//! Contexts: clusters by name, in `contexts.toml` of the user's configuration folder.

pub(crate) mod dev;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Address;
use crate::exit::{Exit, Failure};
use crate::os;

const FILE_NAME: &str = "contexts.toml";
/// Held from the reading of the contexts to their writing.
const LOCK_NAME: &str = "contexts.lock";
/// Whoever holds the lock reads and writes a small file: milliseconds, unless the disk is slow.
const LOCK_POLL: Duration = Duration::from_millis(10);
/// Attempts to take it: 5 s.
const LOCK_POLLS: u32 = 500;

/// All contexts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    /// The one that is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<String>,
    #[serde(default)]
    context: BTreeMap<String, Context>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Context {
    addresses: Vec<String>,
    /// For calls where no controller answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gateways: Vec<String>,
    /// Of a cluster that `coracle dev` runs: what is the current context when it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    former: Option<String>,
}

/// A context that was chosen.
#[derive(Debug)]
pub(super) struct Picked {
    pub(super) name: String,
    pub(super) addresses: Vec<Address>,
    pub(super) gateways: Vec<Address>,
}

impl Contexts {
    /// A context: the named one, which must exist, or the current one, if there is any. None without addresses.
    pub(super) fn pick(&self, name: Option<&str>) -> Result<Option<Picked>, Failure> {
        let Some(wanted) = name.or(self.current.as_deref()) else { return Ok(None) };
        let context = self.context.get(wanted).ok_or_else(|| self.unknown(wanted))?;
        let parse = |text: &String| {
            text.parse().map_err(|error| Failure::usage(format!("{FILE_NAME}: context '{wanted}': {error}")))
        };
        let all = |texts: &[String]| texts.iter().map(parse).collect::<Result<Vec<Address>, _>>();
        let (addresses, gateways) = (all(&context.addresses)?, all(&context.gateways)?);
        Ok((!addresses.is_empty()).then(|| Picked { name: wanted.to_owned(), addresses, gateways }))
    }

    /// Each with its addresses, and whether it is the current one.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[String], bool)> {
        let current = |name: &String| self.current.as_ref() == Some(name);
        self.context
            .iter()
            .map(move |(name, context)| (name.as_str(), context.addresses.as_slice(), current(name)))
    }

    fn unknown(&self, wanted: &str) -> Failure {
        let known: Vec<_> = self.context.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Failure::usage(format!("there is no context '{wanted}'; known: {known}"))
    }
}

/// Reads them; none where there is no file.
pub(crate) fn read(folder: Option<&Path>) -> Result<Contexts, Failure> {
    let Some(path) = folder.map(|folder| folder.join(FILE_NAME)) else { return Ok(Contexts::default()) };
    match std::fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text)
            .map_err(|error| Failure::usage(format!("{}: {}", path.display(), error.message()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Contexts::default()),
        Err(error) => Err(Failure::local(path.display(), error)),
    }
}

/// Makes a context the current one.
pub(crate) fn choose(folder: &Path, name: &str) -> Result<(), Failure> {
    change(folder, |contexts| {
        if !contexts.context.contains_key(name) {
            return Err(contexts.unknown(name));
        }
        contexts.current = Some(name.to_owned());
        Ok(())
    })
}

/// Reads them, changes them and writes them, one command after the other: none undoes what another does meanwhile.
fn change<T>(folder: &Path, change: impl FnOnce(&mut Contexts) -> Result<T, Failure>) -> Result<T, Failure> {
    std::fs::create_dir_all(folder).map_err(|error| Failure::local(folder.display(), error))?;
    let _lock = lock(folder, LOCK_POLLS)?;
    let mut contexts = read(Some(folder))?;
    let done = change(&mut contexts)?;
    write(folder, &contexts)?;
    Ok(done)
}

fn lock(folder: &Path, polls: u32) -> Result<File, Failure> {
    let path = folder.join(LOCK_NAME);
    for _ in 0..polls {
        if let Some(lock) = os::lock(&path).map_err(|error| Failure::local(path.display(), error))? {
            return Ok(lock);
        }
        thread::sleep(LOCK_POLL);
    }
    Err(Failure::new(Exit::TimedOut, format!("another command holds {}", path.display())))
}

fn write(folder: &Path, contexts: &Contexts) -> Result<(), Failure> {
    let text = toml::to_string(contexts).map_err(|error| Failure::local(FILE_NAME, error))?;
    replace(folder, &text).map_err(|error| Failure::local(folder.join(FILE_NAME).display(), error))
}

/// A reader sees the old file or the new one, never a half.
fn replace(folder: &Path, text: &str) -> std::io::Result<()> {
    let temporary = folder.join(format!("{FILE_NAME}.{}", std::process::id()));
    let mut file = File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, folder.join(FILE_NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/coracle");
        change(&path, |_| Ok(())).unwrap();
        assert_eq!(read(Some(&path)).unwrap(), Contexts::default());
        let names = std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name());
        let left: Vec<_> = names.filter(|name| name != FILE_NAME && name != LOCK_NAME).collect();
        assert!(left.is_empty(), "a temporary file was left: {left:?}");
    }

    #[test]
    fn a_lock_that_another_command_holds_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let _held = lock(folder.path(), 1).unwrap();
        let failure = lock(folder.path(), 1).unwrap_err();
        assert!(failure.message.contains(LOCK_NAME), "{failure}");
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE_NAME), "current = ").unwrap();
        assert!(read(Some(folder.path())).unwrap_err().message.contains(FILE_NAME));
        assert_eq!(read(None).unwrap(), Contexts::default());
    }
}
