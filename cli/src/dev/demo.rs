//! The examples that `coracle dev --demo` deploys: built ones, carried in the program, so that nothing but it
//! is needed.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::{screen, watch};
use crate::address::Address;
use crate::client::Targets;
use crate::command::deploy::deploy_manifest;
use crate::exit::Failure;
use crate::output::Talk;

struct Example {
    name: &'static str,
    manifest: &'static str,
    /// File name, as the manifest has it, and content.
    component: (&'static str, &'static [u8]),
    /// What to try, with `URL` for a gateway.
    tries: &'static str,
}

const EXAMPLES: [Example; 3] = [
    Example {
        name: "hello",
        manifest: include_str!("../../../examples/hello/coracle.toml"),
        component: ("hello.wasm", include_bytes!("../../../examples/hello/hello.wasm")),
        tries: "curl 'URL/hello?name=Ada'",
    },
    Example {
        name: "wordcount",
        manifest: include_str!("../../../examples/wordcount/coracle.toml"),
        component: ("wordcount.wasm", include_bytes!("../../../examples/wordcount/wordcount.wasm")),
        tries: "curl --data 'one two three' URL/wordcount",
    },
    Example {
        name: "thumbnail",
        manifest: include_str!("../../../examples/thumbnail/coracle.toml"),
        component: ("thumbnail.wasm", include_bytes!("../../../examples/thumbnail/thumbnail.wasm")),
        tries: "curl --data-binary @photo.jpg 'URL/thumbnail?width=120&filter=gray' -o small.jpg",
    },
];

/// Deploys all of them and says how to call them.
pub(super) async fn deploy(
    folder: &Path,
    cluster: &[Address],
    gateways: &[SocketAddr],
    talk: Talk,
) -> Result<(), Failure> {
    for example in &EXAMPLES {
        let manifest = example.write(&folder.join(example.name))?;
        let deployed = deploy_manifest(&manifest, Targets::given(cluster.to_vec()), talk).await?;
        deployed.iter().try_for_each(watch::show)?;
    }
    let urls = gateways.iter().cycle().map(|gateway| format!("http://{gateway}"));
    let tries: String = EXAMPLES
        .iter()
        .zip(urls)
        .map(|(example, url)| format!("  {}\n", example.tries.replace("URL", &url)))
        .collect();
    screen::print(&format!("\nAny node answers:\n{tries}"))
}

impl Example {
    /// Writes manifest and component into `folder`; answers with the manifest's path.
    fn write(&self, folder: &Path) -> Result<std::path::PathBuf, Failure> {
        let manifest = folder.join(crate::manifest::FILE_NAME);
        let (name, content) = self.component;
        let write = || {
            fs::create_dir_all(folder)?;
            fs::write(folder.join(name), content)?;
            fs::write(&manifest, self.manifest)
        };
        write().map_err(|error| Failure::local(folder.display(), error))?;
        Ok(manifest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_example_is_a_manifest_with_its_component() {
        let folder = tempfile::tempdir().unwrap();
        for example in &EXAMPLES {
            let path = example.write(&folder.path().join(example.name)).unwrap();
            let manifest = crate::manifest::read(&path).unwrap();
            assert_eq!(manifest.functions.len(), 1, "{}", example.name);
            let function = &manifest.functions[0];
            assert_eq!(function.id.to_string(), example.name);
            assert!(fs::read(&function.component).unwrap().starts_with(b"\0asm"), "{}", example.name);
        }
    }
}
