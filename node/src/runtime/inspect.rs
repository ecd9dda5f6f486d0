//! The checks of an upload: what it is, whether it can be given what it imports, and whether compiling it is bearable.

use std::path::{Path, PathBuf};

use coracle_proto::record::Kind;
use coracle_proto::spec::ARTIFACT_SIZE_MAX;
use coracle_proto::status::{Code, Refusal};
use tokio::task::spawn_blocking;
use wasmparser::{
    ComponentExternalKind, Encoding, ExternalKind, Parser, Payload, TypeRef, Validator, WasmFeatures,
};
use wasmtime::Engine;

use super::engine;
use super::linkers::{self, Linkers, PREVIEW1};
use super::scan::Scan;

/// Names of exports that a refusal lists.
const NAMED_MAX: usize = 8;

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspection {
    /// How it is called.
    pub kind: Kind,
    /// Bytes.
    pub size: u64,
}

/// Checks an artifact on a thread of its own. The time is linear in its size, of which there is a limit.
pub(super) async fn check(artifact: &Path, linkers: &Linkers) -> Result<Inspection, Refusal> {
    let path = artifact.to_owned();
    let found = spawn_blocking(move || check_file(&path)).await;
    let found =
        found.map_err(|error| Refusal::new(Code::Internal, format!("the check failed: {error}")))??;
    // Preview 1's functions are known to the linker alone.
    match found.functions.iter().find(|name| !linkers.has_function(name)) {
        Some(name) => Err(unsatisfied(&format!("{PREVIEW1}.{name}"))),
        None => Ok(found.inspection),
    }
}

struct Found {
    inspection: Inspection,
    /// Functions of preview 1 that a core module imports.
    functions: Vec<String>,
}

fn check_file(path: &PathBuf) -> Result<Found, Refusal> {
    let unreadable =
        |error: std::io::Error| Refusal::new(Code::Internal, format!("the artifact cannot be read: {error}"));
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > ARTIFACT_SIZE_MAX {
        let message = format!("{size} bytes, at most {ARTIFACT_SIZE_MAX}");
        return Err(Refusal::new(Code::ArtifactTooLarge, message));
    }
    check_bytes(&std::fs::read(path).map_err(unreadable)?)
}

fn check_bytes(bytes: &[u8]) -> Result<Found, Refusal> {
    if Engine::detect_precompiled(bytes).is_some() {
        return Err(not_wasm("this is code that was compiled before: upload the Wasm it was compiled from"));
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(not_wasm("neither a core module nor a component: it does not begin with '\\0asm'"));
    }
    let surface = Surface::read(bytes)?;
    validate(bytes)?;
    let kind = surface.kind()?;
    if let Some(import) = surface.imports.iter().find(|import| !import.is_known()) {
        return Err(unsatisfied(&import.to_string()));
    }
    let functions = surface.imports.into_iter().filter_map(Import::function).collect();
    Ok(Found { inspection: Inspection { kind, size: bytes.len() as u64 }, functions })
}

fn not_wasm(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::NotWasm, message)
}

fn unsatisfied(import: &str) -> Refusal {
    let message = format!(
        "it imports '{import}', which the platform does not provide; it provides WASI 0.2 (wasi:cli, wasi:http) and WASI preview 1"
    );
    Refusal::new(Code::UnsatisfiedImport, message)
}

fn broken(error: wasmparser::BinaryReaderError) -> Refusal {
    not_wasm(format!("not valid Wasm: {error}"))
}

/// Validates; what would be valid with every proposal on is told apart from what never is.
fn validate(bytes: &[u8]) -> Result<(), Refusal> {
    let with = |features| Validator::new_with_features(features).validate_all(bytes);
    let Err(error) = with(engine::features()) else { return Ok(()) };
    match with(WasmFeatures::all()) {
        Ok(_) => Err(Refusal::new(Code::FeatureNotAllowed, format!("a proposal that is off here: {error}"))),
        Err(_) => Err(broken(error)),
    }
}

/// An import at the top level.
enum Import {
    Core { module: String, name: String, is_function: bool },
    Component(String),
}

impl Import {
    fn is_known(&self) -> bool {
        match self {
            Self::Core { module, is_function, .. } => module == PREVIEW1 && *is_function,
            Self::Component(name) => linkers::has_interface(name),
        }
    }

    fn function(self) -> Option<String> {
        match self {
            Self::Core { name, .. } => Some(name),
            Self::Component(_) => None,
        }
    }
}

impl std::fmt::Display for Import {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Core { module, name, .. } => write!(f, "{module}.{name}"),
            Self::Component(name) => f.write_str(name),
        }
    }
}

/// What an artifact shows at its top level.
struct Surface {
    encoding: Encoding,
    imports: Vec<Import>,
    exports: Vec<String>,
}

impl Surface {
    /// Reads it, and all of the code for the scan, in one pass.
    fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut surface = Self { encoding: Encoding::Module, imports: Vec::new(), exports: Vec::new() };
        let mut scan = Scan::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(broken)?;
            scan.payload(&payload)?;
            match payload {
                Payload::Version { encoding, .. } => {
                    depth += 1;
                    if depth == 1 {
                        surface.encoding = encoding;
                    }
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                payload if depth == 1 => surface.section(payload).map_err(broken)?,
                _ => {}
            }
        }
        Ok(surface)
    }

    fn section(&mut self, payload: Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    self.imports.push(Import::Core {
                        module: import.module.to_owned(),
                        name: import.name.to_owned(),
                        is_function: matches!(import.ty, TypeRef::Func(_)),
                    });
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        self.exports.push(export.name.to_owned());
                    }
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    self.imports.push(Import::Component(import?.name.name.to_owned()));
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    let export = export?;
                    if export.kind == ComponentExternalKind::Instance {
                        self.exports.push(export.name.name.to_owned());
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn kind(&self) -> Result<Kind, Refusal> {
        let exports = |start: &str| self.exports.iter().any(|name| name.starts_with(start));
        match self.encoding {
            Encoding::Module if self.exports.iter().any(|name| name == "_start") => Ok(Kind::CommandModule),
            Encoding::Component if exports("wasi:http/incoming-handler@0.2.") => Ok(Kind::HttpComponent),
            Encoding::Component if exports("wasi:cli/run@0.2.") => Ok(Kind::CommandComponent),
            Encoding::Module => Err(self.unsupported("a core module must export '_start' (WASI preview 1)")),
            Encoding::Component => Err(self.unsupported(
                "a component must export 'wasi:http/incoming-handler' or 'wasi:cli/run', in release 0.2",
            )),
        }
    }

    fn unsupported(&self, wanted: &str) -> Refusal {
        let some: Vec<_> = self.exports.iter().take(NAMED_MAX).map(|name| format!("'{name}'")).collect();
        let more = if self.exports.len() > NAMED_MAX { ", …" } else { "" };
        let found = if some.is_empty() { "nothing".to_owned() } else { some.join(", ") };
        Refusal::new(Code::UnsupportedModule, format!("{wanted}; this one exports {found}{more}"))
    }
}
