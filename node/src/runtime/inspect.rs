//! The checks of an upload: what it is, whether it can be given what it imports, and whether compiling it is bearable.

mod handlers;
mod release;

use std::path::{Path, PathBuf};

use coracle_proto::record::Kind;
use coracle_proto::spec::ARTIFACT_SIZE_MAX;
use coracle_proto::status::{Code, Refusal};
use tokio::task::spawn_blocking;
use wasmparser::{
    CanonicalFunction, ComponentExternalKind, Encoding, ExternalKind, Parser, Payload, TypeRef, Validator,
    WasmFeatures,
    types::{Types, TypesRef},
};
use wasmtime::Engine;

use super::engine;
use super::handler::taker::{CHANGES, INTERFACES};
use super::host::{self, Linkers, PREVIEW1, Release};
use super::scan::Scan;
use crate::artifact::Wants;

/// Names of exports that a refusal lists.
const NAMED_MAX: usize = 8;
/// What a command is called by, and where WASI finds its memory.
const START: &str = "_start";
const MEMORY: &str = "memory";
const PAGE_BYTES: u64 = 64 << 10;
/// What waits for connections: of `wasi:sockets`, and of Go's library.
const TCP: &str = "wasi:sockets/tcp@0.2.";
const START_LISTEN: &str = "[method]tcp-socket.start-listen";
const GO_SERVE: &str = "net/http.(*Server).Serve";

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspection {
    /// How it is called.
    pub kind: Kind,
    /// Bytes.
    pub size: u64,
    /// Bytes of memory that an instance has from its start, at least.
    pub memory_min: u64,
    /// By what it would wait for connections, if it would.
    pub listens: Option<&'static str>,
    /// What it has use for.
    pub wants: Wants,
}

/// Checks an artifact on a thread of its own. The time is linear in its size, of which there is a limit.
pub(super) async fn check(artifact: &Path, linkers: &Linkers) -> Result<Found, Refusal> {
    let (path, newest) = (artifact.to_owned(), linkers.newest);
    let found = spawn_blocking(move || check_file(&path, newest)).await;
    let found =
        found.map_err(|error| Refusal::new(Code::Internal, format!("the check failed: {error}")))??;
    // Preview 1's functions are known to the linker alone.
    match found.functions.iter().find(|name| !linkers.has_function(name)) {
        Some(name) => Err(unsatisfied(&format!("{PREVIEW1}.{name}"), linkers.newest)),
        None => Ok(found),
    }
}

/// What a check found.
pub(super) struct Found {
    pub(super) inspection: Inspection,
    /// Functions of preview 1 that a core module imports.
    functions: Vec<String>,
    /// Whether calls of it could come to anything. What was deployed before that was asked is compiled all the same.
    pub(super) runnable: Result<(), Refusal>,
}

fn check_file(path: &PathBuf, newest: Release) -> Result<Found, Refusal> {
    let unreadable =
        |error: std::io::Error| Refusal::new(Code::Internal, format!("the artifact cannot be read: {error}"));
    let size = std::fs::metadata(path).map_err(unreadable)?.len();
    if size > ARTIFACT_SIZE_MAX {
        let message = format!("{size} bytes, at most {ARTIFACT_SIZE_MAX}");
        return Err(Refusal::new(Code::ArtifactTooLarge, message));
    }
    check_bytes(&std::fs::read(path).map_err(unreadable)?, newest)
}

fn check_bytes(bytes: &[u8], newest: Release) -> Result<Found, Refusal> {
    if Engine::detect_precompiled(bytes).is_some() {
        return Err(not_wasm("this is code that was compiled before: upload the Wasm it was compiled from"));
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(not_wasm("neither a core module nor a component: it does not begin with '\\0asm'"));
    }
    let surface = Surface::read(bytes)?;
    let release = release::of(surface.names(), newest)?;
    let types = validate(bytes, release)?;
    let kind = surface.kind(release)?;
    if let Some(import) = surface.imports.iter().find(|import| !import.is_known(release)) {
        return Err(unsatisfied(&import.to_string(), newest));
    }
    let runnable = match kind {
        Kind::CommandModule => surface.check_module(types.as_ref()),
        Kind::HttpComponent | Kind::CommandComponent | Kind::EventComponent => {
            handlers::check(types.as_ref())
        }
    };
    let memory_min = surface.memory_min;
    let listens = surface.listens.or_else(|| holds_go_server(bytes).then_some(GO_SERVE));
    let wants = surface.wants();
    let functions = surface.imports.into_iter().filter_map(Import::function).collect();
    Ok(Found {
        inspection: Inspection { kind, size: bytes.len() as u64, memory_min, listens, wants },
        functions,
        runnable,
    })
}

/// Whether it is a program in Go that serves HTTP by itself. Go's linker keeps no function that nothing calls, and its table of
/// functions has their names. There are no sockets for it to import: its network is its own, and it waits in it for ever.
fn holds_go_server(bytes: &[u8]) -> bool {
    memchr::memmem::find(bytes, GO_SERVE.as_bytes()).is_some()
}

fn not_wasm(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::NotWasm, message)
}

fn unsatisfied(import: &str, newest: Release) -> Refusal {
    let provided = release::provided(newest);
    let message =
        format!("it imports '{import}', which the platform does not provide; it provides {provided}");
    Refusal::new(Code::UnsatisfiedImport, message)
}

fn broken(error: wasmparser::BinaryReaderError) -> Refusal {
    not_wasm(format!("not valid Wasm: {error}"))
}

/// Validates; what would be valid with every proposal on is told apart from what never is.
fn validate(bytes: &[u8], release: Release) -> Result<Types, Refusal> {
    let with = |features| Validator::new_with_features(features).validate_all(bytes);
    with(engine::features(release)).map_err(|error| match with(WasmFeatures::all()) {
        Ok(_) => Refusal::new(Code::FeatureNotAllowed, format!("a proposal that is off here: {error}")),
        Err(_) => broken(error),
    })
}

/// An import at the top level.
enum Import {
    Core { module: String, name: String, is_function: bool },
    Component(String),
}

impl Import {
    fn is_known(&self, release: Release) -> bool {
        match self {
            Self::Core { module, is_function, .. } => module == PREVIEW1 && *is_function,
            Self::Component(name) => host::has_interface(name, release),
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
    exports: Vec<Export>,
    /// Of a module all its memories and tables; of a component those of its largest module, for not each of them needs to be
    /// instantiated.
    memory_min: u64,
    /// Of the module at hand.
    module_min: u64,
    /// Whether a component inside it has functions of its own.
    composed: bool,
    listens: Option<&'static str>,
}

/// An export at the top level.
struct Export {
    name: String,
    what: What,
}

/// What an export may be for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// Its index among the functions of a module.
    Function(u32),
    Memory,
    Instance,
    Other,
}

impl Surface {
    /// Reads it, and all of the code for the scan, in one pass.
    fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut surface = Self {
            encoding: Encoding::Module,
            imports: Vec::new(),
            exports: Vec::new(),
            memory_min: 0,
            module_min: 0,
            composed: false,
            listens: None,
        };
        let mut scan = Scan::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(bytes) {
            let payload = payload.map_err(broken)?;
            scan.payload(&payload)?;
            surface.count(&payload).map_err(broken)?;
            match payload {
                Payload::Version { encoding, .. } => {
                    depth += 1;
                    if depth == 1 {
                        surface.encoding = encoding;
                    }
                }
                Payload::End(_) => depth = depth.saturating_sub(1),
                payload if depth == 1 => surface.section(payload).map_err(broken)?,
                Payload::ComponentCanonicalSection(section) => {
                    for function in section {
                        let lifts = matches!(function.map_err(broken)?, CanonicalFunction::Lift { .. });
                        surface.composed |= lifts;
                    }
                }
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
                    let what = match export.kind {
                        ExternalKind::Func => What::Function(export.index),
                        ExternalKind::Memory => What::Memory,
                        _ => What::Other,
                    };
                    self.exports.push(Export { name: export.name.to_owned(), what });
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
                    let instance = export.kind == ComponentExternalKind::Instance;
                    let what = if instance { What::Instance } else { What::Other };
                    self.exports.push(Export { name: export.name.name.to_owned(), what });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds up the memory that modules have from their start, the inner ones of a component too, and sees whether one listens.
    fn count(&mut self, payload: &Payload<'_>) -> wasmparser::Result<()> {
        match payload {
            Payload::Version { .. } => self.module_min = 0,
            Payload::ImportSection(section) => {
                for import in section.clone().into_imports() {
                    let import = import?;
                    if import.module.starts_with(TCP) && import.name == START_LISTEN {
                        self.listens = Some("wasi:sockets' start-listen");
                    }
                }
            }
            Payload::MemorySection(section) => {
                for memory in section.clone() {
                    let bytes = memory?.initial.saturating_mul(PAGE_BYTES);
                    self.module_min = self.module_min.saturating_add(bytes);
                }
            }
            Payload::TableSection(section) => {
                for table in section.clone() {
                    let bytes = table?.ty.initial.saturating_mul(size_of::<usize>() as u64);
                    self.module_min = self.module_min.saturating_add(bytes);
                }
            }
            _ => {}
        }
        self.memory_min = self.memory_min.max(self.module_min);
        Ok(())
    }

    /// Names that tell of a release.
    fn names(&self) -> impl Iterator<Item = &String> {
        let imports = self.imports.iter().filter_map(|import| match import {
            Import::Component(name) => Some(name),
            Import::Core { .. } => None,
        });
        imports.chain(self.exports.iter().map(|export| &export.name))
    }

    /// Whether there can be an instance of the module, and its start can be called.
    fn check_module(&self, types: TypesRef<'_>) -> Result<(), Refusal> {
        let never = |why: String| Err(Refusal::new(Code::UnsupportedModule, why));
        let start = self.exports.iter().find_map(|export| match export.what {
            What::Function(index) if export.name == START => Some(index),
            _ => None,
        });
        // A validated module has the type of what it exports.
        if let Some(ty) = start.and_then(|index| types.get(types.core_function_at(index))) {
            let ty = ty.unwrap_func();
            let (params, results) = (ty.params().len(), ty.results().len());
            if (params, results) != (0, 0) {
                return never(format!(
                    "'{START}' takes {params} parameters and returns {results} values: it must be called with nothing and return nothing"
                ));
            }
        }
        let has_memory =
            self.exports.iter().any(|export| export.what == What::Memory && export.name == MEMORY);
        if !has_memory && !self.imports.is_empty() {
            return never(format!(
                "it imports {PREVIEW1} and exports no memory as '{MEMORY}', in which WASI would read and write"
            ));
        }
        Ok(())
    }

    fn wants(&self) -> Wants {
        let is_of_blobs =
            |it: &Import| matches!(it, Import::Component(name) if name.starts_with("wasi:blobstore/"));
        Wants {
            keyvalue: self.exports.iter().any(|it| CHANGES.contains(&it.name.as_str())),
            blobs: self.imports.iter().any(is_of_blobs),
        }
    }

    fn kind(&self, release: Release) -> Result<Kind, Refusal> {
        let exports = |start: &str| {
            self.exports.iter().any(|it| it.what == What::Instance && it.name.starts_with(start))
        };
        let is_exported =
            |name: &str| self.exports.iter().any(|it| it.what == What::Instance && it.name == name);
        let starts = |it: &Export| it.name == START && matches!(it.what, What::Function(_));
        match self.encoding {
            Encoding::Module if self.exports.iter().any(starts) => Ok(Kind::CommandModule),
            Encoding::Component if release == Release::Wasip3 => match exports("wasi:http/handler@0.3.") {
                // Each call between two of them may hold a stack.
                true if self.composed => Err(Refusal::new(
                    Code::UnsupportedModule,
                    "it is composed of several components, which one of WASI 0.3 must not be",
                )),
                true => Ok(Kind::HttpComponent),
                false => Err(self.unsupported("a component of WASI 0.3 must export 'wasi:http/handler'")),
            },
            Encoding::Component if exports("wasi:http/incoming-handler@0.2.") => Ok(Kind::HttpComponent),
            Encoding::Component if exports("wasi:cli/run@0.2.") => Ok(Kind::CommandComponent),
            Encoding::Component if INTERFACES.into_iter().any(is_exported) => Ok(Kind::EventComponent),
            Encoding::Module => Err(self.unsupported("a core module must export '_start' (WASI preview 1)")),
            Encoding::Component => Err(self.unsupported(
                &format!(
                "a component must export 'wasi:http/incoming-handler' or 'wasi:cli/run', in release 0.2, or one of {}",
                INTERFACES.map(|name| format!("'{name}'")).join(", ")
            ),
            )),
        }
    }

    fn unsupported(&self, wanted: &str) -> Refusal {
        let some = self.exports.iter().take(NAMED_MAX);
        let some: Vec<_> = some.map(|export| format!("'{}'", export.name)).collect();
        let more = if self.exports.len() > NAMED_MAX { ", …" } else { "" };
        let found = if some.is_empty() { "nothing".to_owned() } else { some.join(", ") };
        Refusal::new(Code::UnsupportedModule, format!("{wanted}; this one exports {found}{more}"))
    }
}
