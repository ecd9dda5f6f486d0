//! An interface that the host provides: what it is called, and how guests are given it.

use wasmtime::component::Linker;

/// A release of WASI whose interfaces are provided, in any patch of it; later ones are greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::runtime) enum Release {
    /// 0.2.
    Wasip2,
    /// 0.3, where the node was told to have it.
    Wasip3,
}

impl Release {
    const ALL: [Self; 2] = [Self::Wasip2, Self::Wasip3];

    /// That of an interface's version, if it is one of these.
    pub(in crate::runtime) fn of(version: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|release| {
            let patch = version.strip_prefix(release.prefix());
            patch.is_some_and(|patch| patch.bytes().all(|byte| byte.is_ascii_digit()))
        })
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Wasip2 => "0.2.",
            Self::Wasip3 => "0.3.",
        }
    }
}

/// Interfaces that are put into a linker together, for guests whose stores hold a `T`.
pub(super) struct Interface<T: 'static> {
    pub(super) release: Release,
    /// The one version that they have, where that says nothing of a release. Empty: they have none.
    pub(super) exactly: Option<&'static str>,
    /// Their names, without the version.
    pub(super) names: &'static [&'static str],
    /// Puts all of them into a linker.
    pub(super) link: fn(&mut Linker<T>) -> wasmtime::Result<()>,
}

impl<T> Interface<T> {
    /// Whether an import of a component is one of these.
    pub(super) fn provides(&self, import: &str) -> bool {
        let (name, version) = import.split_once('@').unwrap_or((import, ""));
        let is_meant = match self.exactly {
            Some(exactly) => version == exactly,
            None => Release::of(version) == Some(self.release),
        };
        is_meant && self.names.contains(&name)
    }

    /// Its package with the version, and its names in it; none where it is of a release of WASI.
    pub(super) fn words(&self) -> Option<String> {
        let version = match self.exactly? {
            "" => "without a version",
            version => version,
        };
        let package = self.names.first()?.split('/').next()?;
        let names: Vec<_> = self.names.iter().filter_map(|name| name.split('/').nth(1)).collect();
        Some(format!("{package} {version} ({})", names.join(", ")))
    }
}
