//! Defaults, and what the environment says: the only module that reads it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::telemetry::Otlp;

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
    /// Of data groups.
    pub(crate) store_port: u16,
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
    store_port: 7403,
    dev_port_step: 10,
    // openraft tells each heartbeat that a dead node misses; what it decides, our own crates tell.
    server_log: "info,openraft=error,hickory=off",
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

/// What the environment says, read once.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Environment {
    /// `$XDG_CONFIG_HOME/coracle`: contexts.
    pub(crate) config_folder: Option<PathBuf>,
    /// `$XDG_DATA_HOME/coracle`: a server's data, unless it was told where.
    pub(crate) data_folder: Option<PathBuf>,
    /// `$CORACLE_ADDRESS`: nodes, separated by commas.
    pub(crate) addresses: Vec<String>,
    /// `$CORACLE_GATEWAY`: gateways for calls, separated by commas.
    pub(crate) gateways: Vec<String>,
    /// `$CORACLE_CONTEXT`: a cluster by its name.
    pub(crate) context: Option<String>,
    /// Spans.
    pub(crate) traces: Traces,
    /// `$NO_COLOR` is set and not empty.
    pub(crate) no_color: bool,
}

/// What the environment says of spans.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Traces {
    /// `$OTEL_EXPORTER_OTLP_ENDPOINT`: where they go.
    endpoint: Option<String>,
    /// `$OTEL_TRACES_SAMPLER_ARG`: share of traces that are recorded.
    ratio: f64,
    /// What of it cannot be followed. These variables are for all programs of a user: none fails for them.
    pub(crate) complaints: Vec<String>,
}

impl Default for Traces {
    fn default() -> Self {
        Self { endpoint: None, ratio: DEFAULTS.sampler_ratio, complaints: Vec::new() }
    }
}

impl Traces {
    /// Where spans go: as the flag says, else as the environment does.
    pub(crate) fn otlp(&self, flag: Option<&str>) -> Option<Otlp> {
        let endpoint = flag.map(str::to_owned).or_else(|| self.endpoint.clone())?;
        Some(Otlp { endpoint, ratio: self.ratio })
    }

    fn from_texts(endpoint: Option<String>, ratio: Option<String>) -> Self {
        let mut traces = Self::default();
        match endpoint.map(|endpoint| otlp_endpoint(&endpoint)).transpose() {
            Ok(endpoint) => traces.endpoint = endpoint,
            Err(reason) => {
                traces.complaints.push(format!("no traces are sent: OTEL_EXPORTER_OTLP_ENDPOINT: {reason}"));
            }
        }
        match ratio.as_deref().map(str::parse) {
            None => {}
            Some(Ok(ratio)) if (0.0..=1.0).contains(&ratio) => traces.ratio = ratio,
            Some(_) => traces.complaints.push(
                "all traces are recorded: OTEL_TRACES_SAMPLER_ARG: expected a number from 0 to 1".to_owned(),
            ),
        }
        traces
    }
}

impl Environment {
    /// Reads it.
    pub(crate) fn read() -> Self {
        Self::from_lookup(|name| std::env::var_os(name))
    }

    fn from_lookup(lookup: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        // What is not UTF-8 shows as such in the error of whoever uses it.
        let text = |name: &str| set(name).map(|value| value.to_string_lossy().into_owned());
        // The XDG specification: a relative path there is to be ignored.
        let absolute = |name: &str| set(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let folder = |xdg: &str, below_home: &str| {
            let base = absolute(xdg).or_else(|| absolute("HOME").map(|home| home.join(below_home)));
            base.map(|base| base.join("coracle"))
        };
        let list = |name: &str| -> Vec<String> {
            let all = text(name).unwrap_or_default();
            all.split(',').filter(|text| !text.is_empty()).map(str::to_owned).collect()
        };
        Self {
            config_folder: folder("XDG_CONFIG_HOME", ".config"),
            data_folder: folder("XDG_DATA_HOME", ".local/share"),
            addresses: list("CORACLE_ADDRESS"),
            gateways: list("CORACLE_GATEWAY"),
            context: text("CORACLE_CONTEXT"),
            traces: Traces::from_texts(text("OTEL_EXPORTER_OTLP_ENDPOINT"), text("OTEL_TRACES_SAMPLER_ARG")),
            no_color: set("NO_COLOR").is_some(),
        }
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

/// Parses an OTLP endpoint.
pub(crate) fn otlp_endpoint(text: &str) -> Result<String, String> {
    let uri = text.parse::<http::Uri>().ok().filter(|uri| uri.host().is_some());
    match uri.as_ref().and_then(http::Uri::scheme_str) {
        Some("http") => Ok(text.to_owned()),
        Some("https") => Err(format!(
            "'{text}': this program sends traces without TLS; give the http:// URL of a collector nearby"
        )),
        Some(_) | None => Err(format!("'{text}' is no http:// URL, as in http://127.0.0.1:4317")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Environment {
        Environment::from_lookup(|name| {
            pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn folders_follow_xdg() {
        let environment = read(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/c"), ("XDG_DATA_HOME", "relative")]);
        assert_eq!(environment.config_folder.unwrap().to_str(), Some("/c/coracle"));
        assert_eq!(environment.data_folder.unwrap().to_str(), Some("/h/.local/share/coracle"));
        assert_eq!(read(&[]).data_folder, None);
    }

    #[test]
    fn what_cannot_be_followed_of_traces_is_said_and_no_more() {
        let pairs = [("OTEL_EXPORTER_OTLP_ENDPOINT", "localhost:4317"), ("OTEL_TRACES_SAMPLER_ARG", "2")];
        let traces = read(&pairs).traces;
        assert!(traces.otlp(None).is_none());
        let text = traces.complaints.join("\n");
        assert!(
            text.contains("OTEL_EXPORTER_OTLP_ENDPOINT") && text.contains("OTEL_TRACES_SAMPLER_ARG"),
            "{text}"
        );
        assert_eq!(traces.otlp(Some("http://c:4317")).unwrap().ratio, 1.0);
        let tls = read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "https://c:4317")]).traces;
        assert!(tls.otlp(None).is_none() && tls.complaints[0].contains("without TLS"), "{tls:?}");
        let good =
            read(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4317"), ("OTEL_TRACES_SAMPLER_ARG", "0.5")]);
        assert_eq!(
            good.traces.otlp(None).unwrap(),
            Otlp { endpoint: "http://c:4317".to_owned(), ratio: 0.5 }
        );
        assert!(good.traces.complaints.is_empty());
    }

    #[test]
    fn empty_is_unset() {
        let names = ["NO_COLOR", "OTEL_EXPORTER_OTLP_ENDPOINT", "CORACLE_ADDRESS", "CORACLE_CONTEXT"];
        assert_eq!(read(&names.map(|name| (name, ""))), Environment::default());
        assert_eq!(read(&[("CORACLE_ADDRESS", "a:1,b:1,")]).addresses, ["a:1", "b:1"]);
    }
}
