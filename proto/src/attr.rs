//! Names of services, spans and attribute keys: the only place where they are written.
//!
//! OpenTelemetry's semantic conventions (FaaS, HTTP) come first; what they have no key for is `coracle.*`.

/// Service of the command line.
pub const SERVICE_CLI: &str = "coracle-cli";
/// Service of the HTTP gateway.
pub const SERVICE_GATEWAY: &str = "coracle-gateway";
/// Service of the worker.
pub const SERVICE_WORKER: &str = "coracle-worker";
/// Service of the control plane.
pub const SERVICE_CONTROLLER: &str = "coracle-controller";
/// The store.
pub const SERVICE_STORE: &str = "coracle-store";

/// The span field that tells which service a span belongs to; spans without it are their parent's.
pub const SERVICE: &str = "coracle.service";

/// A deploy, from the command line down to the nodes.
pub const SPAN_DEPLOY: &str = "deploy";
/// A change that somebody asked for by the API, other than a deploy.
pub const SPAN_CHANGE: &str = "change";
/// A command on its way through Raft.
pub const SPAN_PROPOSE: &str = "raft.propose";
/// The placer's decision.
pub const SPAN_PLACE: &str = "place";
/// One round of the reconciler that changed something.
pub const SPAN_RECONCILE: &str = "reconcile.round";
/// Waiting for a slot.
pub const SPAN_QUEUE: &str = "queue.wait";
/// Getting an artifact from a peer.
pub const SPAN_FETCH: &str = "artifact.fetch";
/// Compilation in the child process.
pub const SPAN_COMPILE: &str = "wasm.compile";
/// Checking a compiled file before it is mapped.
pub const SPAN_VERIFY: &str = "cache.verify";
/// Mapping and instantiation.
pub const SPAN_INSTANTIATE: &str = "wasm.instantiate";
/// The guest's run.
pub const SPAN_RUN: &str = "wasm.run";

/// An attempt of a message is told to its group.
pub const SPAN_SETTLE: &str = "settle";

/// What carries messages: `coracle` (OpenTelemetry's messaging conventions, as the following ones).
pub const MESSAGING_SYSTEM: &str = "messaging.system";
/// What is done with a message: `send`, `process` or `settle`.
pub const MESSAGING_OPERATION: &str = "messaging.operation.type";
/// What keeps values: `coracle` (OpenTelemetry's database conventions, as the following ones).
pub const DB_SYSTEM: &str = "db.system.name";
/// The bucket.
pub const DB_NAMESPACE: &str = "db.namespace";
/// What is done with values: `get`, `set`, ...
pub const DB_OPERATION: &str = "db.operation.name";

/// The queue.
pub const MESSAGING_DESTINATION: &str = "messaging.destination.name";
/// The invocation's id.
pub const MESSAGING_MESSAGE: &str = "messaging.message.id";
/// What became of a message: done, retried, dead, offered or lost.
pub const FATE: &str = "coracle.fate";

/// Whether the call was a cold start.
pub const COLD_START: &str = "faas.coldstart";
/// What called the function: `http`, `pubsub` or `timer`.
pub const TRIGGER: &str = "faas.trigger";
/// The invocation's id.
pub const INVOCATION_ID: &str = "faas.invocation_id";
/// The function's name.
pub const FUNCTION: &str = "faas.name";
/// The function's version.
pub const FUNCTION_VERSION: &str = "faas.version";
/// HTTP method.
pub const HTTP_METHOD: &str = "http.request.method";
/// HTTP status.
pub const HTTP_STATUS: &str = "http.response.status_code";
/// The matched route.
pub const HTTP_ROUTE: &str = "http.route";
/// The path of the request.
pub const URL_PATH: &str = "url.path";
/// What kind of error a span ended in: a code of [`crate::status`].
pub const ERROR_TYPE: &str = "error.type";
/// The node that is meant.
pub const NODE: &str = "coracle.node";
/// The namespace.
pub const NAMESPACE: &str = "coracle.namespace";
/// The attempt, from 1.
pub const ATTEMPT: &str = "coracle.attempt";
/// The replica's epoch.
pub const EPOCH: &str = "coracle.epoch";
/// Which change: the name of its gRPC method.
pub const CHANGE: &str = "coracle.change";
/// A revision of the state.
pub const REVISION: &str = "coracle.revision";
/// An artifact's digest.
pub const DIGEST: &str = "coracle.digest";

/// Header of errors that the platform made: the code.
pub const HEADER_ERROR: &str = "coracle-error";
/// Header of answers that took more than one attempt; for guests that take messages: which attempt it is, from 1.
pub const HEADER_ATTEMPT: &str = "coracle-attempt";
/// Header with the matched prefix, for the guest.
pub const HEADER_ROUTE: &str = "coracle-route";
/// Header for guests that take messages: the number of the claim in its data group, decimal, greater than that of any before.
pub const HEADER_FENCE: &str = "coracle-fence";
/// In a queued call: the queue that it was taken from.
pub const HEADER_QUEUE: &str = "coracle-queue";
/// Header of answers: the node that ran the call.
pub const HEADER_NODE: &str = "coracle-node";
/// Header of answers: `cold` or `warm`.
pub const HEADER_START: &str = "coracle-start";
/// Header of answers and for guests: the invocation's id.
pub const HEADER_INVOCATION: &str = "coracle-invocation-id";
/// Header with what the node tries out by a call of its own, for the guest: `reuse`.
pub const HEADER_PROBE: &str = "coracle-probe";
/// Header of answers: the version that ran.
pub const HEADER_VERSION: &str = "coracle-version";
