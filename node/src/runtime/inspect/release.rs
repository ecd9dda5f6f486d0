//! For which release of WASI an artifact is made, and whether that runs here.

use coracle_proto::status::{Code, Refusal};

use crate::runtime::host::{self, Release};

/// The newest release of which anything is imported or exported, where those up to `newest` run. What is made for another one
/// would be told of by whatever of it is unknown first.
pub(super) fn of<'a>(names: impl Iterator<Item = &'a String>, newest: Release) -> Result<Release, Refusal> {
    let mut made_for = Release::Wasip2;
    for name in names.filter(|name| name.starts_with("wasi:") && !host::has_own_versions(name)) {
        let Some((_, version)) = name.split_once('@') else { continue };
        let release = Release::of(version);
        match release.filter(|release| *release <= newest) {
            Some(release) => made_for = made_for.max(release),
            None => return Err(refusal((name, version), release, newest)),
        }
    }
    Ok(made_for)
}

fn refusal((name, version): (&str, &str), release: Option<Release>, newest: Release) -> Refusal {
    let runs = match newest {
        Release::Wasip2 => "WASI 0.2 runs here",
        Release::Wasip3 => "WASI 0.2 and 0.3 run here",
    };
    let or = match release {
        Some(_) => ", or start each node with '--enable-wasip3'",
        None => "",
    };
    let sentence = format!(
        "it is made for WASI {version} ('{name}'), and {runs}: build it for 0.2 (target wasm32-wasip2){or}"
    );
    Refusal::new(Code::UnsupportedModule, sentence)
}

/// What it provides to components, in words.
pub(super) fn provided(newest: Release) -> String {
    let releases = match newest {
        Release::Wasip2 => "0.2",
        Release::Wasip3 => "0.2 and 0.3",
    };
    format!("WASI {releases} (wasi:cli, wasi:http), WASI preview 1, {}", host::provided())
}
