//! One `[function.NAME]` table.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::Range;
use std::path::{Path, PathBuf};

use coracle_proto::id::{FunctionId, FunctionName, Namespace};
use coracle_proto::route::{RouteGrant, RouteSpec};
use coracle_proto::spec::{
    Bound, CONCURRENCY, CPU_TIME, Draft, FunctionSpec, IDLE_TIMEOUT, MEMORY, REPLICAS, REUSE_AGE,
    REUSE_CALLS, ROUTE_GRANTS_MAX, ROUTES_MAX, Retry, ReuseDraft, TIMEOUT,
};
use toml::Spanned;
use toml::de::DeValue;

use super::{FunctionEntry, Problems, in_order};
use crate::units;

type Value<'i> = Spanned<DeValue<'i>>;

/// What may stand in a function's table.
pub(super) const KEYS: [&str; 18] = [
    "component",
    "routes",
    "grant-routes",
    "env",
    "args",
    "hosts",
    "memory",
    "timeout",
    "idle-timeout",
    "cpu-time",
    "concurrency",
    "replicas",
    "retry",
    "reuse",
    "keyvalue",
    "blobs",
    "publish",
    "namespace",
];

/// Reads the table; `None` where it has problems that leave no function.
pub(super) fn read(
    name: &Spanned<Cow<'_, str>>,
    value: &Value<'_>,
    folder: &Path,
    problems: &mut Problems<'_>,
) -> Option<FunctionEntry> {
    let table_name = format!("function.{}", name.get_ref());
    let Some(table) = value.get_ref().as_table() else {
        problems.expected(value, &table_name, "a table");
        return None;
    };
    let before = problems.count();
    let mut reader = Reader {
        folder,
        problems,
        draft: Draft::default(),
        component: None,
        routes: Vec::new(),
        route_grants: Vec::new(),
        namespace: None,
    };
    for (key, value) in in_order(table) {
        let place = format!("{table_name}.{}", key.get_ref());
        if !reader.read(key.get_ref(), value, &place) {
            reader.problems.unknown_key(&key.span(), &table_name, key.get_ref(), &KEYS);
        }
    }
    let Reader { component, draft, routes, route_grants, namespace, .. } = reader;
    if !table.contains_key("component") {
        problems.add(&name.span(), &table_name, "the key 'component' is missing: the path of the .wasm file");
    }
    let function = problems.check(&name.span(), &table_name, name.get_ref().parse::<FunctionName>());
    let spec = match FunctionSpec::new(draft) {
        Ok(spec) => Some(spec),
        // What each key says was checked on its own: what is left is the sum of environment and arguments.
        Err(error) if problems.count() == before => problems.check(&name.span(), &table_name, Err(error)),
        Err(_) => None,
    };
    let id = FunctionId { namespace: namespace.unwrap_or_default(), name: function? };
    let line = problems.line(&name.span());
    Some(FunctionEntry { id, line, component: component?, routes, route_grants, spec: spec? })
}

struct Reader<'a, 't> {
    folder: &'a Path,
    problems: &'a mut Problems<'t>,
    draft: Draft,
    component: Option<PathBuf>,
    routes: Vec<RouteSpec>,
    route_grants: Vec<RouteGrant>,
    namespace: Option<Namespace>,
}

impl Reader<'_, '_> {
    /// Reads one key; false where it does not exist.
    fn read(&mut self, key: &str, value: &Value<'_>, place: &str) -> bool {
        match key {
            "component" => self.component = self.text(value, place).map(|text| self.folder.join(text)),
            "namespace" => self.namespace = self.namespace(value, place),
            "routes" => {
                let read = |text: &str| text.parse::<RouteSpec>().map_err(|error| error.reason);
                self.routes = self.each_once(value, place, ("routes", ROUTES_MAX), read);
            }
            "grant-routes" => {
                let read = |text: &str| text.parse::<RouteGrant>().map_err(|error| error.to_string());
                self.route_grants = self.each_once(value, place, ("namespaces", ROUTE_GRANTS_MAX), read);
            }
            "env" => self.env(value, place),
            "args" => {
                let args = self.list(value, place);
                self.checked(value, place, Draft { args: args.clone(), ..Draft::default() });
                self.draft.args = args;
            }
            "hosts" => {
                let hosts = self.list(value, place);
                self.checked(value, place, Draft { hosts: hosts.clone(), ..Draft::default() });
                self.draft.hosts = hosts;
            }
            "memory" => self.draft.memory_bytes = self.size(value, place),
            "timeout" => self.draft.timeout_ms = self.millis(value, place, &TIMEOUT),
            "idle-timeout" => self.draft.idle_timeout_ms = self.millis(value, place, &IDLE_TIMEOUT),
            "cpu-time" => self.draft.cpu_time_ms = self.millis(value, place, &CPU_TIME),
            "concurrency" => self.draft.concurrency = self.count(value, place, &CONCURRENCY),
            "replicas" => self.draft.replicas = self.count(value, place, &REPLICAS),
            "retry" => self.draft.retry = self.retry(value, place),
            "reuse" => self.draft.reuse = self.reuse(value, place),
            "keyvalue" => {
                let keyvalue = self.list(value, place);
                self.checked(value, place, Draft { keyvalue: keyvalue.clone(), ..Draft::default() });
                self.draft.keyvalue = keyvalue;
            }
            "blobs" => {
                let blobs = self.list(value, place);
                self.checked(value, place, Draft { blobs: blobs.clone(), ..Draft::default() });
                self.draft.blobs = blobs;
            }
            "publish" => {
                let publish = self.list(value, place);
                self.checked(value, place, Draft { publish: publish.clone(), ..Draft::default() });
                self.draft.publish = publish;
            }
            _ => return false,
        }
        true
    }

    fn text<'v>(&mut self, value: &'v Value<'_>, place: &str) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            self.problems.expected(value, place, "text");
        }
        text
    }

    fn list(&mut self, value: &Value<'_>, place: &str) -> Vec<String> {
        texts(value, place, self.problems).into_iter().map(|(_, text)| text.to_owned()).collect()
    }

    fn namespace(&mut self, value: &Value<'_>, place: &str) -> Option<Namespace> {
        let parsed = self.text(value, place)?.parse();
        self.problems.check(&value.span(), place, parsed)
    }

    /// A list of texts that are something, each once, at most so many.
    fn each_once<T: PartialEq + Display>(
        &mut self,
        value: &Value<'_>,
        place: &str,
        (what, max): (&str, usize),
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Vec<T> {
        let mut all = Vec::new();
        for (span, text) in texts(value, place, self.problems) {
            let Some(one) = self.problems.check(&span, place, read(text)) else { continue };
            if all.contains(&one) {
                self.problems.add(&span, place, format!("'{one}' stands twice"));
            }
            all.push(one);
        }
        if all.len() > max {
            self.problems.add(&value.span(), place, format!("{} {what}, at most {max}", all.len()));
        }
        all
    }

    fn env(&mut self, value: &Value<'_>, place: &str) {
        let Some(table) = value.get_ref().as_table() else {
            self.problems.expected(value, place, "a table of texts");
            return;
        };
        for (name, value) in in_order(table) {
            let place = format!("{place}.{}", name.get_ref());
            if let Some(text) = self.text(value, &place) {
                self.draft.env.insert(name.get_ref().to_string(), text.to_owned());
            }
        }
        let env: BTreeMap<_, _> = self.draft.env.clone();
        self.checked(value, place, Draft { env, ..Draft::default() });
    }

    fn size(&mut self, value: &Value<'_>, place: &str) -> u64 {
        let parsed = match value.get_ref() {
            DeValue::String(text) => units::bytes(text).map_err(|error| error.to_string()),
            DeValue::Integer(number) => units::bytes(&number.to_string()).map_err(|error| error.to_string()),
            other => Err(format!("expected a size such as \"64MiB\", got {}", other.type_str())),
        };
        self.bounded(value, place, &MEMORY, parsed, units::show_bytes)
    }

    fn millis(&mut self, value: &Value<'_>, place: &str, bound: &Bound) -> u64 {
        let parsed = match value.get_ref() {
            DeValue::String(text) => units::duration(text).map_err(|error| error.to_string()),
            other => Err(format!("expected a duration such as \"30s\", got {}", other.type_str())),
        };
        let millis = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let show = |millis| units::show_duration(std::time::Duration::from_millis(millis));
        self.bounded(value, place, bound, parsed.map(millis), show)
    }

    fn count(&mut self, value: &Value<'_>, place: &str, bound: &Bound) -> u32 {
        let number = value.get_ref().as_integer().and_then(|number| number.to_string().parse().ok());
        let got = value.get_ref().type_str();
        let parsed =
            number.ok_or_else(|| format!("expected a number from {} to {}, got {got}", bound.min, bound.max));
        u32::try_from(self.bounded(value, place, bound, parsed, |count| count.to_string()))
            .unwrap_or(u32::MAX)
    }

    /// Zero is no bound here: the default is taken by leaving the key out.
    fn bounded(
        &mut self,
        value: &Value<'_>,
        place: &str,
        bound: &Bound,
        parsed: Result<u64, String>,
        show: impl Fn(u64) -> String,
    ) -> u64 {
        let kept = parsed.and_then(|number| {
            if (bound.min..=bound.max).contains(&number) {
                return Ok(number);
            }
            Err(format!("{} is not between {} and {}", show(number), show(bound.min), show(bound.max)))
        });
        self.problems.check(&value.span(), place, kept).unwrap_or_default()
    }

    fn retry(&mut self, value: &Value<'_>, place: &str) -> Retry {
        match self.text(value, place) {
            Some(text) => self.problems.check(&value.span(), place, retry(text)).unwrap_or_default(),
            None => Retry::default(),
        }
    }

    fn reuse(&mut self, value: &Value<'_>, place: &str) -> Option<ReuseDraft> {
        let Some(table) = value.get_ref().as_table() else {
            self.problems.expected(value, place, "a table such as { calls = 1000, age = \"60s\" }");
            return None;
        };
        let mut reuse = ReuseDraft::default();
        for (key, value) in in_order(table) {
            let below = format!("{place}.{}", key.get_ref());
            match &**key.get_ref() {
                "calls" => reuse.calls = self.count(value, &below, &REUSE_CALLS),
                "age" => reuse.age_ms = self.millis(value, &below, &REUSE_AGE),
                unknown => self.problems.unknown_key(&key.span(), place, unknown, &["calls", "age"]),
            }
        }
        Some(reuse)
    }

    fn checked(&mut self, value: &Value<'_>, place: &str, one_key: Draft) {
        let checked = FunctionSpec::new(one_key).map_err(|error| error.reason);
        let _ = self.problems.check(&value.span(), place, checked);
    }
}

/// `never` or `idempotent`.
pub(crate) fn retry(text: &str) -> Result<Retry, String> {
    match text {
        "idempotent" => Ok(Retry::Idempotent),
        "never" => Ok(Retry::Never),
        other => Err(format!("'{other}' is neither 'idempotent' nor 'never'")),
    }
}

/// The texts of a list, each with its place.
pub(super) fn texts<'v>(
    value: &'v Value<'_>,
    place: &str,
    problems: &mut Problems<'_>,
) -> Vec<(Range<usize>, &'v str)> {
    let Some(list) = value.get_ref().as_array() else {
        problems.expected(value, place, "a list of texts");
        return Vec::new();
    };
    let mut texts = Vec::with_capacity(list.len());
    for item in list.iter() {
        match item.get_ref().as_str() {
            Some(text) => texts.push((item.span(), text)),
            None => problems.expected(item, place, "text"),
        }
    }
    texts
}

impl Problems<'_> {
    /// The value, or a problem.
    fn check<T, E: Display>(&mut self, span: &Range<usize>, place: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|error| self.add(span, place, error)).ok()
    }
}
