//! Which cluster is meant: flags, environment, project file, current context, in this order (design, section 6).
//! An address is nearer than the name of a context, but never than one that stands in an earlier place.

use std::path::{Path, PathBuf};

use super::context::Picked;
use super::{Address, context};
use crate::config::{DEFAULTS, Environment};
use crate::exit::Failure;
use crate::manifest;

/// The addresses of a cluster, and who named them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Targets {
    /// At least one.
    pub(crate) addresses: Vec<Address>,
    /// Of the cluster, as far as they are known without asking it: for calls where no controller answers.
    pub(crate) gateways: Vec<Address>,
    source: Source,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// `--address`, or `CORACLE_ADDRESS`.
    Given,
    /// This manifest.
    Project(PathBuf),
    /// A context of this name.
    Context(String),
    /// Nobody.
    Default,
}

impl Targets {
    /// Addresses that were found by other means.
    pub(crate) fn given(addresses: Vec<Address>) -> Self {
        Self { addresses, gateways: Vec::new(), source: Source::Given }
    }

    /// Finds the addresses: of the flags, of the environment, of the project's `manifest`, of the current context,
    /// or those of a node on this machine.
    pub(crate) fn find(
        given: &[String],
        context: Option<&str>,
        manifest: &Path,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let flags = parse("--address", given)?;
        if context.is_some() && !flags.is_empty() {
            return Err(Failure::usage("--address and --context: each names a cluster; give one of them"));
        }
        if !flags.is_empty() {
            return Ok(Self::given(flags));
        }
        let mut context = context;
        if context.is_none() {
            let named = parse("CORACLE_ADDRESS", &environment.addresses)?;
            if !named.is_empty() {
                return Ok(Self::given(named));
            }
            context = environment.context.as_deref();
        }
        if context.is_none() {
            let project =
                manifest::read_addresses(manifest).map_err(|error| Failure::usage(error.to_string()))?;
            if !project.is_empty() {
                return Ok(Self { source: Source::Project(manifest.to_owned()), ..Self::given(project) });
            }
        }
        let contexts = context::read(environment.config_folder.as_deref())?;
        if let Some(Picked { name, addresses, gateways }) = contexts.pick(context)? {
            return Ok(Self { addresses, gateways, source: Source::Context(name) });
        }
        let local = format!("127.0.0.1:{}", DEFAULTS.grpc_port);
        let local = local.parse().map_err(|error| Failure::local("the default address", error))?;
        Ok(Self { source: Source::Default, ..Self::given(vec![local]) })
    }

    /// What to do when none of them answers.
    pub(super) fn hint(&self) -> String {
        match &self.source {
            Source::Given => "is the node running? (--address, CORACLE_ADDRESS)".to_owned(),
            Source::Project(manifest) => format!("these addresses stand in {}", manifest.display()),
            Source::Context(name) => {
                format!("these addresses are of the context '{name}': is its cluster running?")
            }
            Source::Default => {
                "no cluster was named: start one with 'coracle dev', or give --address".to_owned()
            }
        }
    }
}

fn parse(name: &str, texts: &[String]) -> Result<Vec<Address>, Failure> {
    let parse = |text: &String| text.parse().map_err(|error| Failure::usage(format!("{name}: {error}")));
    texts.iter().filter(|text| !text.is_empty()).map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::context::dev::DevContext;
    use super::*;

    fn environment(folder: &Path) -> Environment {
        Environment { config_folder: Some(folder.to_owned()), ..Environment::default() }
    }

    fn texts(targets: &Targets) -> Vec<String> {
        targets.addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn flag_before_project_before_context_before_default() {
        let [config, project] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let environment = environment(config.path());
        let manifest = project.path().join("coracle.toml");
        let find = |given: &[String], context| Targets::find(given, context, &manifest, &environment);
        assert_eq!(texts(&find(&[], None).unwrap()), ["127.0.0.1:7400"]);

        let (node, gateway) = ("dev:1".parse().unwrap(), "web:1".parse().unwrap());
        let _dev = DevContext::begin(config.path(), &[node], &[gateway]).unwrap();
        assert_eq!(texts(&find(&[], None).unwrap()), ["dev:1"]);
        assert_eq!(find(&[], None).unwrap().gateways, ["web:1".parse().unwrap()]);

        std::fs::write(&manifest, "addresses = ['project:1']").unwrap();
        assert_eq!(texts(&find(&[], None).unwrap()), ["project:1"]);
        assert_eq!(texts(&find(&[], Some("dev")).unwrap()), ["dev:1"]);
        assert_eq!(texts(&find(&["flag:1".into(), "flag:2".into()], None).unwrap()), ["flag:1", "flag:2"]);
        assert_eq!(texts(&find(&[String::new()], None).unwrap()), ["project:1"]);
        assert_eq!(find(&["nowhere".into()], None).unwrap_err().exit, crate::exit::Exit::Usage);
        assert!(find(&[], Some("prod")).unwrap_err().message.contains("dev"));
        let both = find(&["flag:1".into()], Some("dev")).unwrap_err();
        assert!(both.message.contains("--address and --context"), "{both}");
    }

    #[test]
    fn a_flag_of_either_kind_goes_before_the_environment() {
        let [config, project] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let _dev = DevContext::begin(config.path(), &["dev:1".parse().unwrap()], &[]).unwrap();
        let manifest = project.path().join("coracle.toml");
        std::fs::write(&manifest, "addresses = ['project:1']").unwrap();
        let mut environment = Environment { context: Some("dev".to_owned()), ..environment(config.path()) };
        let find = |context, environment: &Environment| {
            texts(&Targets::find(&[], context, &manifest, environment).unwrap())
        };
        assert_eq!(find(None, &environment), ["dev:1"], "the environment's context before the project");
        environment.addresses = vec!["environment:1".to_owned()];
        assert_eq!(find(None, &environment), ["environment:1"]);
        assert_eq!(find(Some("dev"), &environment), ["dev:1"]);
    }
}
