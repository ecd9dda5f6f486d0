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
    /// File names, as the manifest has them, and their content.
    components: &'static [(&'static str, &'static [u8])],
    /// What to try, with `URL` for a gateway.
    tries: &'static str,
}

const EXAMPLES: [Example; 4] = [
    Example {
        name: "hello",
        manifest: include_str!("../../../examples/hello/coracle.toml"),
        components: &[("hello.wasm", include_bytes!("../../../examples/hello/hello.wasm"))],
        tries: "curl 'URL/hello?name=Ada'",
    },
    Example {
        name: "wordcount",
        manifest: include_str!("../../../examples/wordcount/coracle.toml"),
        components: &[("wordcount.wasm", include_bytes!("../../../examples/wordcount/wordcount.wasm"))],
        tries: "curl --data 'one two three' URL/wordcount",
    },
    Example {
        name: "thumbnail",
        manifest: include_str!("../../../examples/thumbnail/coracle.toml"),
        components: &[("thumbnail.wasm", include_bytes!("../../../examples/thumbnail/thumbnail.wasm"))],
        tries: "curl --data-binary @photo.jpg 'URL/thumbnail?width=120&filter=gray' -o small.jpg",
    },
    Example {
        name: "photos",
        manifest: include_str!("../../../examples/photos/coracle.toml"),
        components: &[
            ("resize/resize.wasm", include_bytes!("../../../examples/photos/resize/resize.wasm")),
            ("album/album.wasm", include_bytes!("../../../examples/photos/album/album.wasm")),
        ],
        tries: "coracle blob put uploads cat.jpg photo.jpg    # then look at URL/album, and at\n  \
                coracle invocation list --function resize     # what that came to; 'invocation get ID' has its cost",
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
    /// Writes manifest and components into `folder`; answers with the manifest's path.
    fn write(&self, folder: &Path) -> Result<std::path::PathBuf, Failure> {
        let manifest = folder.join(crate::manifest::FILE_NAME);
        let write = || {
            fs::create_dir_all(folder)?;
            for (name, content) in self.components {
                let path = folder.join(name);
                path.parent().map_or(Ok(()), fs::create_dir_all)?;
                fs::write(path, content)?;
            }
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
    fn each_example_is_a_manifest_with_its_components() {
        let folder = tempfile::tempdir().unwrap();
        for example in &EXAMPLES {
            let path = example.write(&folder.path().join(example.name)).unwrap();
            let manifest = crate::manifest::read(&path).unwrap();
            assert_eq!(manifest.functions.len(), example.components.len(), "{}", example.name);
            for function in &manifest.functions {
                let content = fs::read(&function.component).unwrap();
                assert!(content.starts_with(b"\0asm"), "{}", function.id);
            }
        }
    }
}
