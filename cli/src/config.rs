//! Defaults, and what the environment says: the only module that reads it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use thiserror::Error;

/// What holds where nothing else was said.
#[derive(Debug)]
pub(crate) struct Defaults {
    /// API, Raft, watch.
    pub(crate) grpc_port: u16,
    /// Metrics, health.
    pub(crate) admin_port: u16,
    /// Calls, artifacts, logs between nodes.
    pub(crate) data_port: u16,
    /// The gateway.
    pub(crate) http_port: u16,
    /// Between a node's ports and the next one's in `dev`, but for the gateway's: those count by one.
    pub(crate) dev_port_step: u16,
    /// For servers: what happens. For client verbs: what a person should know.
    pub(crate) server_log: &'static str,
    /// See `server_log`.
    pub(crate) client_log: &'static str,
    /// Share of traces that are recorded, when tracing is on and the caller did not decide.
    pub(crate) sampler_ratio: f64,
    /// How long open calls may take to end when a node is asked to stop; gateway and worker each.
    pub(crate) drain_timeout: Duration,
    /// How long a child may take to end calls and hand over when it was asked to stop.
    pub(crate) stop_deadline: Duration,
}

/// See [`Defaults`].
pub(crate) const DEFAULTS: Defaults = Defaults {
    grpc_port: 7400,
    admin_port: 7401,
    data_port: 7402,
    http_port: 8080,
    dev_port_step: 10,
    // openraft tells each heartbeat that a dead node misses; what it decides, our own crates tell.
    server_log: "info,openraft=error",
    client_log: "warn",
    sampler_ratio: 1.0,
    // Longer than most calls.
    drain_timeout: Duration::from_secs(3),
    // Two drains and the rest; for both children within the 30 s that Kubernetes grants.
    stop_deadline: Duration::from_secs(14),
};

/// Most nodes that `dev` starts: ports of neighbours would meet beyond.
pub(crate) const DEV_NODES_MAX: u16 = 20;
const _: () = assert!(DEFAULTS.grpc_port + DEV_NODES_MAX * DEFAULTS.dev_port_step < DEFAULTS.http_port);

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One object a line.
    Json,
}

/// What the environment says, read once.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Environment {
    /// `$XDG_CONFIG_HOME/coracle`: contexts.
    pub(crate) config_folder: Option<PathBuf>,
    /// `$XDG_DATA_HOME/coracle`: a server's data, unless it was told where.
    pub(crate) data_folder: Option<PathBuf>,
    /// `$OTEL_EXPORTER_OTLP_ENDPOINT`: where spans go.
    pub(crate) otlp: Option<String>,
    /// `$OTEL_TRACES_SAMPLER_ARG`: share of traces that are recorded.
    pub(crate) sampler_ratio: f64,
    /// `$NO_COLOR` is set and not empty.
    pub(crate) no_color: bool,
}

/// Every variable that makes no sense, at once.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{}", .0.join("; "))]
pub(crate) struct EnvironmentError(Vec<String>);

impl Environment {
    /// Reads and checks it.
    pub(crate) fn read() -> Result<Self, EnvironmentError> {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, EnvironmentError> {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let mut wrong = Vec::new();
        let mut text = |name: &str| match set(name)?.into_string() {
            Ok(value) => Some(value),
            Err(_) => {
                wrong.push(format!("{name} is not UTF-8"));
                None
            }
        };
        let otlp = text("OTEL_EXPORTER_OTLP_ENDPOINT");
        let ratio = text("OTEL_TRACES_SAMPLER_ARG");
        if let Some(endpoint) = otlp.as_deref().filter(|endpoint| !is_http_url(endpoint)) {
            wrong.push(format!("OTEL_EXPORTER_OTLP_ENDPOINT: '{endpoint}' is no http:// or https:// URL"));
        }
        let sampler_ratio = match ratio.as_deref().map(str::parse) {
            None => DEFAULTS.sampler_ratio,
            Some(Ok(ratio)) if (0.0..=1.0).contains(&ratio) => ratio,
            Some(_) => {
                wrong.push("OTEL_TRACES_SAMPLER_ARG: expected a number from 0 to 1".to_owned());
                DEFAULTS.sampler_ratio
            }
        };
        if !wrong.is_empty() {
            return Err(EnvironmentError(wrong));
        }
        // The XDG specification: a relative path there is to be ignored.
        let absolute = |name: &str| set(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let folder = |xdg: &str, below_home: &str| {
            let base = absolute(xdg).or_else(|| absolute("HOME").map(|home| home.join(below_home)));
            base.map(|base| base.join("coracle"))
        };
        Ok(Self {
            config_folder: folder("XDG_CONFIG_HOME", ".config"),
            data_folder: folder("XDG_DATA_HOME", ".local/share"),
            otlp,
            sampler_ratio,
            no_color: set("NO_COLOR").is_some(),
        })
    }
}

/// Where short-lived data goes: `$TMPDIR`, or the system's folder for it.
pub(crate) fn temporary_folder() -> PathBuf {
    std::env::temp_dir()
}

/// `$CORACLE_FAULT`: at which of its fault points a controller shall crash.
#[cfg(feature = "faults")]
pub(crate) fn fault_point() -> Option<String> {
    std::env::var_os("CORACLE_FAULT")?.into_string().ok()
}

/// Whether an OTLP endpoint can be one.
pub(crate) fn is_http_url(text: &str) -> bool {
    let parsed = text.parse::<http::Uri>();
    parsed.is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Environment, EnvironmentError> {
        Environment::from_lookup(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn folders_follow_xdg() {
        let environment =
            read(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/c"), ("XDG_DATA_HOME", "relative")]).unwrap();
        assert_eq!(environment.config_folder.unwrap().to_str(), Some("/c/coracle"));
        assert_eq!(environment.data_folder.unwrap().to_str(), Some("/h/.local/share/coracle"));
        assert_eq!(read(&[]).unwrap().data_folder, None);
    }

    #[test]
    fn every_error_is_reported_at_once() {
        let error =
            read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317"), ("OTEL_TRACES_SAMPLER_ARG", "2")]);
        let text = error.unwrap_err().to_string();
        assert!(
            text.contains("OTEL_EXPORTER_OTLP_ENDPOINT") && text.contains("OTEL_TRACES_SAMPLER_ARG"),
            "{text}"
        );
    }

    #[test]
    fn empty_is_unset() {
        let environment = read(&[("NO_COLOR", ""), ("OTEL_EXPORTER_OTLP_ENDPOINT", "")]).unwrap();
        assert!(!environment.no_color && environment.otlp.is_none());
    }
}
