//! Contexts: clusters by name, in `contexts.toml` of the user's configuration folder.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Address;
use crate::exit::Failure;

const FILE_NAME: &str = "contexts.toml";
/// The context of the cluster that `coracle dev` runs.
const DEV: &str = "dev";

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
}

impl Contexts {
    /// The addresses of a context: the named one, which must exist, or the current one, if there is any.
    pub(super) fn pick(&self, name: Option<&str>) -> Result<Option<(String, Vec<Address>)>, Failure> {
        let Some(wanted) = name.or(self.current.as_deref()) else { return Ok(None) };
        let Some(context) = self.context.get(wanted) else {
            let known: Vec<_> = self.context.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(Failure::usage(format!("there is no context '{wanted}'; known: {known}")));
        };
        let parse = |text: &String| {
            text.parse().map_err(|error| Failure::usage(format!("{FILE_NAME}: context '{wanted}': {error}")))
        };
        let addresses: Vec<_> = context.addresses.iter().map(parse).collect::<Result<_, _>>()?;
        Ok((!addresses.is_empty()).then(|| (wanted.to_owned(), addresses)))
    }
}

/// Reads them; none where there is no file.
pub(super) fn read(folder: Option<&Path>) -> Result<Contexts, Failure> {
    let Some(path) = folder.map(|folder| folder.join(FILE_NAME)) else { return Ok(Contexts::default()) };
    match std::fs::read_to_string(&path) {
        Ok(text) => toml::from_str(&text)
            .map_err(|error| Failure::usage(format!("{}: {}", path.display(), error.message()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Contexts::default()),
        Err(error) => Err(Failure::local(path.display(), error)),
    }
}

/// Makes the cluster that `coracle dev` runs the one that all verbs use.
pub(crate) fn write_dev(folder: &Path, addresses: &[Address]) -> Result<(), Failure> {
    let mut contexts = read(Some(folder))?;
    let addresses = addresses.iter().map(ToString::to_string).collect();
    contexts.context.insert(DEV.to_owned(), Context { addresses });
    contexts.current = Some(DEV.to_owned());
    let text = toml::to_string(&contexts).map_err(|error| Failure::local(FILE_NAME, error))?;
    replace(folder, &text).map_err(|error| Failure::local(folder.join(FILE_NAME).display(), error))
}

/// A reader sees the old file or the new one, never a half.
fn replace(folder: &Path, text: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let temporary = folder.join(format!("{FILE_NAME}.{}", std::process::id()));
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&temporary, folder.join(FILE_NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dev_becomes_the_current_context_and_keeps_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/coracle");
        std::fs::create_dir_all(&path).unwrap();
        std::fs::write(
            path.join(FILE_NAME),
            "current = 'prod'\n[context.prod]\naddresses = ['p:1', 'p:2']\n",
        )
        .unwrap();
        write_dev(&path, &["127.0.0.1:7400".parse().unwrap(), "127.0.0.1:7410".parse().unwrap()]).unwrap();
        let contexts = read(Some(&path)).unwrap();
        let (name, addresses) = contexts.pick(None).unwrap().unwrap();
        assert_eq!((name.as_str(), addresses.len()), ("dev", 2));
        assert_eq!(contexts.pick(Some("prod")).unwrap().unwrap().1[1].as_str(), "p:2");
        assert!(contexts.pick(Some("other")).unwrap_err().message.contains("known: dev, prod"));
        assert_eq!(std::fs::read_dir(&path).unwrap().count(), 1, "a temporary file was left");
    }

    #[test]
    fn a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(FILE_NAME), "current = ").unwrap();
        assert!(read(Some(folder.path())).unwrap_err().message.contains(FILE_NAME));
        assert_eq!(read(None).unwrap(), Contexts::default());
    }
}
