//! What the system says about names: its own file of hosts, and whom to ask for the others.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::Addresses;
use super::ask::Asker;
use super::upstream::Upstream;
use crate::clock;

/// How old what was read may be when a name is looked up.
const AGE_MAX: Duration = Duration::from_secs(5);
/// Bytes that are read of a file: lists of a hundred thousand hosts that somebody blocks are a few megabytes.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Hosts with their addresses, in small letters and without a dot at the end.
type Hosts = HashMap<String, Addresses>;

/// Where it stands.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) resolv_conf: PathBuf,
    pub(super) hosts: PathBuf,
}

impl Default for Files {
    fn default() -> Self {
        Self { resolv_conf: "/etc/resolv.conf".into(), hosts: "/etc/hosts".into() }
    }
}

/// What the files said when they were read last.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) hosts: Hosts,
    /// Whom to ask, or why nobody.
    pub(super) upstream: Result<Arc<Upstream>, String>,
    texts: Texts,
}

#[derive(Debug, PartialEq, Eq)]
struct Texts {
    resolv_conf: Result<Vec<u8>, String>,
    /// Empty where there is none.
    hosts: Vec<u8>,
}

/// Keeps up with the files.
#[derive(Debug)]
pub(super) struct System {
    files: Files,
    known: ArcSwap<Known>,
    begun: Instant,
    /// Milliseconds since `begun`.
    read_ms: AtomicU64,
    reading: AtomicBool,
}

impl System {
    /// Reads them, and waits for that: at the start only.
    pub(super) fn read(files: Files, now: Instant) -> Self {
        let texts = Texts::read(&files);
        let known = Known { hosts: hosts(&texts.hosts), upstream: upstream(&files, &texts), texts };
        Self::with(files, known, now)
    }

    fn with(files: Files, known: Known, now: Instant) -> Self {
        Self {
            files,
            known: ArcSwap::from_pointee(known),
            begun: now,
            read_ms: AtomicU64::new(0),
            reading: AtomicBool::new(false),
        }
    }

    /// What is known. Once it is old the files are read again, for those who come later: nobody waits for a disk.
    pub(super) fn known(self: &Arc<Self>, now: Instant) -> Arc<Known> {
        let known = self.known.load_full();
        let since = Duration::from_millis(self.read_ms.load(Ordering::Relaxed));
        let age = now.saturating_duration_since(self.begun).saturating_sub(since);
        if age >= AGE_MAX && !self.reading.swap(true, Ordering::Relaxed) {
            let system = Arc::clone(self);
            tokio::task::spawn_blocking(move || system.read_again());
        }
        known
    }

    fn read_again(&self) {
        let (texts, known) = (Texts::read(&self.files), self.known.load());
        if texts != known.texts {
            // Whoever is asked anew is not held to what another one said.
            let upstream = if texts.resolv_conf == known.texts.resolv_conf {
                known.upstream.clone()
            } else {
                upstream(&self.files, &texts)
            };
            self.known.store(Arc::new(Known { hosts: hosts(&texts.hosts), upstream, texts }));
        }
        self.read_ms
            .store(clock::millis(clock::now().saturating_duration_since(self.begun)), Ordering::Relaxed);
        self.reading.store(false, Ordering::Relaxed);
    }
}

impl Texts {
    fn read(files: &Files) -> Self {
        let resolv_conf = read(&files.resolv_conf).map_err(|error| error.to_string());
        Self { resolv_conf, hosts: read(&files.hosts).unwrap_or_default() }
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

fn upstream(files: &Files, texts: &Texts) -> Result<Arc<Upstream>, String> {
    let asker = texts.resolv_conf.as_ref().map_err(Clone::clone).and_then(|text| Asker::parse(text));
    asker.map(Upstream::new).map_err(|error| {
        let file = files.resolv_conf.display();
        format!("{file}: {error}; this node looks no names up until it names a 'nameserver'")
    })
}

/// Lines of an address and its names; what follows a `#` is not read, and neither is a line that is none.
fn hosts(text: &[u8]) -> Hosts {
    let mut found = HashMap::<String, Vec<IpAddr>>::new();
    for line in String::from_utf8_lossy(text).lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse) else { continue };
        for name in words {
            let name = name.to_ascii_lowercase();
            let addresses = found.entry(name).or_default();
            if addresses.len() < super::ADDRESSES_MAX && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    found.into_iter().map(|(name, addresses)| (name, addresses.into())).collect()
}

#[cfg(test)]
impl System {
    /// One that asks `upstream`, with such a file of hosts.
    pub(super) fn fixed(upstream: Arc<Upstream>, text: &str, now: Instant) -> Self {
        let texts = Texts { resolv_conf: Ok(Vec::new()), hosts: text.into() };
        let known = Known { hosts: hosts(text.as_bytes()), upstream: Ok(upstream), texts };
        Self::with(Files::default(), known, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_lines_of_an_address_and_names() {
        let text = "127.0.0.1 localhost\n# 10.0.0.9 none\n10.0.0.1\tDB.example db # ours\n::2 db\n\nnonsense db\n10.0.0.1 db\n\u{0}\n";
        let hosts = hosts(text.as_bytes());
        let of = |name: &str| {
            hosts.get(name).map(|found| found.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(of("db.example").unwrap(), ["10.0.0.1"]);
        assert_eq!(of("db").unwrap(), ["10.0.0.1", "::2"]);
        assert_eq!(of("none"), None);
        assert!(super::hosts(&[0xff, b'\n', 0x80]).is_empty());
    }

    #[test]
    fn files_that_say_nothing_are_a_reason_and_files_that_change_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let files =
            || Files { resolv_conf: folder.path().join("resolv.conf"), hosts: folder.path().join("hosts") };
        let system = System::read(files(), clock::now());
        let known = system.known.load_full();
        let why = known.upstream.as_ref().unwrap_err();
        assert!(why.contains("resolv.conf: No such file") && why.contains("'nameserver'"), "{why}");
        assert!(known.hosts.is_empty());
        std::fs::write(folder.path().join("resolv.conf"), "search example\n").unwrap();
        let broken = System::read(files(), clock::now());
        let why = broken.known.load().upstream.clone().unwrap_err();
        assert!(why.contains("resolv.conf: ") && why.contains("nameserver"), "{why}");

        std::fs::write(folder.path().join("resolv.conf"), "nameserver 10.0.0.1\n").unwrap();
        std::fs::write(folder.path().join("hosts"), "10.0.0.2 db\n").unwrap();
        system.read_again();
        let first = system.known.load_full();
        assert!(first.upstream.is_ok() && first.hosts.contains_key("db"));
        // Another file of hosts leaves what was heard of other names.
        std::fs::write(folder.path().join("hosts"), "10.0.0.2 db2\n").unwrap();
        system.read_again();
        let second = system.known.load_full();
        assert!(second.hosts.contains_key("db2") && !second.hosts.contains_key("db"));
        let same = |one: &Known, other: &Known| {
            Arc::ptr_eq(one.upstream.as_ref().unwrap(), other.upstream.as_ref().unwrap())
        };
        assert!(same(&first, &second));
        std::fs::write(folder.path().join("resolv.conf"), "nameserver 10.0.0.3\n").unwrap();
        system.read_again();
        assert!(!same(&second, &system.known.load_full()));
    }

    #[tokio::test]
    async fn what_is_old_is_read_again_while_nobody_waits() {
        let folder = tempfile::tempdir().unwrap();
        let files =
            Files { resolv_conf: folder.path().join("resolv.conf"), hosts: folder.path().join("hosts") };
        let begun = clock::now();
        let system = Arc::new(System::read(files, begun));
        std::fs::write(folder.path().join("hosts"), "10.0.0.2 db\n").unwrap();
        assert!(
            system.known(begun + AGE_MAX / 2).hosts.is_empty() && !system.reading.load(Ordering::Relaxed)
        );
        assert!(system.known(begun + AGE_MAX).hosts.is_empty(), "the first one gets what there is");
        let read = async {
            while !system.known(begun).hosts.contains_key("db") {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(AGE_MAX, read).await.expect("the files are read again");
    }
}
