//! A function from flags: what a manifest says in keys.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use coracle_proto::id::{FunctionId, Namespace};
use coracle_proto::route::{RouteGrant, RouteSpec};
use coracle_proto::spec::{Draft, FunctionSpec, Retry, ReuseDraft};

use crate::exit::Failure;
use crate::manifest::{FunctionEntry, retry};
use crate::units;

/// See docs/manifest.md for what each means, its default and its bounds.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Function (with NAME FILE)")]
pub(super) struct Flags {
    /// The namespace.
    #[arg(long)]
    namespace: Option<Namespace>,
    /// Where it answers: [HOST]/PATH, or [HOST]/PATH/* for all below; repeated. Default: /NAME/*
    #[arg(long = "route", value_name = "ROUTE")]
    routes: Vec<RouteSpec>,
    /// A namespace that may have routes below its own, or '*' for all; repeated. Default: none
    #[arg(long, value_name = "NAMESPACE")]
    grant_routes: Vec<RouteGrant>,
    /// A variable of its environment; repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    env: Vec<(String, String)>,
    /// An argument; repeated.
    #[arg(long = "arg", value_name = "TEXT", allow_hyphen_values = true)]
    args: Vec<String>,
    /// A host that it may call: HOST or HOST:PORT; repeated. Default: none
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// A bucket that it may use: BUCKET, or BUCKET:read; repeated. Default: none
    #[arg(long, value_name = "BUCKET")]
    keyvalue: Vec<String>,
    /// A bucket of blobs that it may use: BUCKET, or BUCKET:read; repeated. Default: none
    #[arg(long, value_name = "BUCKET")]
    blobs: Vec<String>,
    /// A queue or topic to which it may publish; repeated. Default: none
    #[arg(long, value_name = "NAME")]
    publish: Vec<String>,
    /// Memory of one call, such as 64MiB.
    #[arg(long, value_name = "SIZE", value_parser = units::bytes)]
    memory: Option<u64>,
    /// Time to the response's head, such as 5s.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    timeout: Option<Duration>,
    /// Time between body bytes.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    idle_timeout: Option<Duration>,
    /// CPU time of one call.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    cpu_time: Option<Duration>,
    /// Calls at once on one node.
    #[arg(long, value_name = "CALLS")]
    concurrency: Option<u32>,
    /// Nodes that hold it ready.
    #[arg(long, value_name = "NODES")]
    replicas: Option<u32>,
    /// Whether a call that was sent may be sent again: idempotent or never.
    #[arg(long, value_name = "WHEN", value_parser = retry)]
    retry: Option<Retry>,
    /// Calls that one instance serves, one after the other. Default: a fresh instance for each
    #[arg(long, value_name = "CALLS")]
    reuse_calls: Option<u32>,
    /// How old an instance is at most that serves another call, such as 60s.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    reuse_age: Option<Duration>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("'{text}': expected KEY=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Flags {
    /// The first flag that was given.
    pub(super) fn first_given(&self) -> Option<&'static str> {
        [
            ("--namespace", self.namespace.is_some()),
            ("--route", !self.routes.is_empty()),
            ("--grant-routes", !self.grant_routes.is_empty()),
            ("--env", !self.env.is_empty()),
            ("--arg", !self.args.is_empty()),
            ("--host", !self.hosts.is_empty()),
            ("--keyvalue", !self.keyvalue.is_empty()),
            ("--blobs", !self.blobs.is_empty()),
            ("--publish", !self.publish.is_empty()),
            ("--memory", self.memory.is_some()),
            ("--timeout", self.timeout.is_some()),
            ("--idle-timeout", self.idle_timeout.is_some()),
            ("--cpu-time", self.cpu_time.is_some()),
            ("--concurrency", self.concurrency.is_some()),
            ("--replicas", self.replicas.is_some()),
            ("--retry", self.retry.is_some()),
            ("--reuse-calls", self.reuse_calls.is_some()),
            ("--reuse-age", self.reuse_age.is_some()),
        ]
        .into_iter()
        .find_map(|(flag, given)| given.then_some(flag))
    }

    /// The function that they describe. `name` may be NAMESPACE/NAME.
    pub(super) fn function(&self, name: &str, file: &str) -> Result<FunctionEntry, Failure> {
        let mut id: FunctionId = name.parse().map_err(|error| Failure::usage(format!("NAME: {error}")))?;
        if let Some(namespace) = &self.namespace {
            if name.contains('/') && id.namespace != *namespace {
                return Err(Failure::usage(format!("--namespace: '{name}' names another one")));
            }
            id.namespace = namespace.clone();
        }
        let spec = FunctionSpec::new(self.draft()?).map_err(|error| Failure::usage(format!("--{error}")))?;
        let (routes, route_grants) = (self.routes.clone(), self.grant_routes.clone());
        Ok(FunctionEntry { id, line: 0, component: PathBuf::from(file), routes, route_grants, spec })
    }

    fn draft(&self) -> Result<Draft, Failure> {
        let env: BTreeMap<_, _> = self.env.iter().cloned().collect();
        Ok(Draft {
            env,
            args: self.args.clone(),
            hosts: self.hosts.clone(),
            memory_bytes: given("memory", self.memory)?,
            timeout_ms: given("timeout", self.timeout.map(millis))?,
            idle_timeout_ms: given("idle-timeout", self.idle_timeout.map(millis))?,
            cpu_time_ms: given("cpu-time", self.cpu_time.map(millis))?,
            concurrency: given("concurrency", self.concurrency)?,
            replicas: given("replicas", self.replicas)?,
            retry: self.retry.unwrap_or_default(),
            reuse: self.reuse()?,
            keyvalue: self.keyvalue.clone(),
            blobs: self.blobs.clone(),
            publish: self.publish.clone(),
        })
    }

    fn reuse(&self) -> Result<Option<ReuseDraft>, Failure> {
        if self.reuse_calls.is_none() && self.reuse_age.is_none() {
            return Ok(None);
        }
        let calls = given("reuse-calls", self.reuse_calls)?;
        let age_ms = given("reuse-age", self.reuse_age.map(millis))?;
        Ok(Some(ReuseDraft { calls, age_ms }))
    }
}

/// Zero means the default inside, and is no bound that a person may give.
fn given<T: Default + PartialEq>(flag: &str, value: Option<T>) -> Result<T, Failure> {
    match value {
        Some(value) if value == T::default() => {
            Err(Failure::usage(format!("--{flag}: 0 is below the least")))
        }
        given => Ok(given.unwrap_or_default()),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
