//! Manifests that are good, and every way in which one can be bad.

mod kept;

use std::time::Duration;

use coracle_proto::spec::{Retry, Reuse};

use super::*;

fn good(text: &str) -> Manifest {
    parse(text, Path::new("project")).unwrap_or_else(|problems| panic!("{}", problems.of(Path::new("f"))))
}

fn bad(text: &str) -> String {
    let problems = parse(text, Path::new("project")).map(|manifest| panic!("accepted: {manifest:?}"));
    problems.unwrap_or_else(|problems| problems.of(Path::new("coracle.toml")).to_string())
}

#[test]
fn what_the_documentation_shows_can_be_copied() {
    let page = include_str!("../../../docs/manifest.md");
    let blocks: Vec<_> =
        page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() >= 4, "the page has samples");
    let manifests: Vec<_> = blocks.into_iter().map(good).collect();
    let buckets: Vec<_> = manifests.iter().flat_map(|it| &it.buckets).map(|it| it.bytes_max).collect();
    assert_eq!(buckets, [100 << 20, 1 << 40], "what a comment says is said");
}

#[test]
fn every_key_is_read() {
    let manifest = good(
        r#"
        addresses = ["10.0.0.1:7400", "node-2:7400"]
        [function.cart]
        component = "target/cart.wasm"
        routes = ["/cart/*", "shop.example/basket"]
        env = { LEVEL = "info", EMPTY = "" }
        args = ["--fast"]
        hosts = ["api.example.org:443"]
        memory = "64MiB"
        timeout = "500ms"
        idle-timeout = "15m"
        cpu-time = "2s"
        concurrency = 7
        replicas = 3
        retry = "never"
        namespace = "shop"
        "#,
    );
    assert_eq!(
        manifest.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["10.0.0.1:7400", "node-2:7400"]
    );
    let [cart] = manifest.functions.as_slice() else { panic!("{manifest:?}") };
    assert_eq!(cart.id.to_string(), "shop/cart");
    assert_eq!(cart.component, Path::new("project/target/cart.wasm"));
    assert_eq!(
        cart.routes.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["/cart/*", "shop.example/basket"]
    );
    assert_eq!(
        cart.spec.env().iter().collect::<Vec<_>>(),
        [(&"EMPTY".into(), &"".into()), (&"LEVEL".into(), &"info".into())]
    );
    assert_eq!(cart.spec.args(), ["--fast"]);
    assert_eq!(cart.spec.hosts(), ["api.example.org:443"]);
    let limits = cart.spec.limits();
    assert_eq!(limits.memory_bytes, 64 << 20);
    assert_eq!(limits.timeout, Duration::from_millis(500));
    assert_eq!(limits.idle_timeout, Duration::from_secs(900));
    assert_eq!(limits.cpu_time, Duration::from_secs(2));
    assert_eq!((limits.concurrency, cart.spec.replicas(), cart.spec.retry()), (7, 3, Retry::Never));
}

#[test]
fn instances_are_used_again_where_that_is_said() {
    let reuse = |text: &str| {
        good(&format!("[function.a]\ncomponent = 'a'\n{text}"))
            .functions
            .first()
            .and_then(|it| it.spec.reuse())
    };
    let reuse_of = |calls, seconds| Some(Reuse { calls, age: Duration::from_secs(seconds) });
    assert_eq!(reuse(""), None);
    assert_eq!(reuse("reuse = {}"), reuse_of(1000, 60));
    assert_eq!(reuse("reuse = { calls = 7, age = '2m' }"), reuse_of(7, 120));
    let wrong = bad("[function.a]\ncomponent = 'a'\nreuse = { calls = 0, age = '1ms', cals = 1 }");
    for said in [
        "function.a.reuse.calls: 0 is not between 1 and 1000000",
        "function.a.reuse.age: 1 ms is not between 1 s and 1 h 0 m",
        "function.a.reuse.cals: unknown key; did you mean 'calls'?",
    ] {
        assert!(wrong.contains(said), "{said}\n{wrong}");
    }
    assert!(bad("[function.a]\ncomponent = 'a'\nreuse = true").contains("expected a table"));
}

#[test]
fn grants_of_what_is_kept_are_read_and_checked() {
    let manifest = good(
        "[function.a]\ncomponent = 'a'\nkeyvalue = ['images', 'colours:read']\nblobs = ['up:read']\npublish = ['done']",
    );
    let spec = &manifest.functions.first().unwrap().spec;
    let granted: Vec<_> = spec.keyvalue().iter().map(|it| (it.bucket(), it.may_write())).collect();
    assert_eq!(granted, [("images", true), ("colours", false)]);
    assert_eq!(spec.publish(), ["done"]);
    let blobs: Vec<_> = spec.blobs().iter().map(|it| (it.bucket(), it.may_write())).collect();
    assert_eq!(blobs, [("up", false)]);
    let wrong =
        bad("[function.a]\ncomponent = 'a'\nkeyvalue = ['a', 'a:read']\npublish = ['a/b']\nkeyvalu = []");
    for said in [
        "function.a.keyvalue: the bucket 'a' stands twice",
        "function.a.publish: 'a/b' is not a name of a queue or topic",
        "function.a.keyvalu: unknown key; did you mean 'keyvalue'?",
    ] {
        assert!(wrong.contains(said), "{said}\n{wrong}");
    }
}

#[test]
fn every_known_key_is_known_to_the_reader() {
    for key in function::KEYS {
        let text = format!("[function.a]\n{key} = true");
        assert!(!bad(&text).contains("unknown key"), "{key} is listed and not read");
    }
}

#[test]
fn functions_keep_the_order_of_the_file_and_the_defaults() {
    let manifest =
        good("[function.zebra]\ncomponent = 'z.wasm'\n[function.ant]\ncomponent = '/abs/a.wasm'\n");
    let names: Vec<_> = manifest.functions.iter().map(|function| function.id.to_string()).collect();
    assert_eq!(names, ["zebra", "ant"]);
    let ant = manifest.functions.last().unwrap();
    assert_eq!(ant.component, Path::new("/abs/a.wasm"));
    assert_eq!(ant.spec.limits().memory_bytes, 128 << 20);
    assert!(ant.routes.is_empty());
    assert_eq!(
        good("[function.a]\ncomponent='a'\nmemory = 1048576").functions[0].spec.limits().memory_bytes,
        1 << 20
    );
}

#[test]
fn unknown_keys_name_line_key_and_the_nearest_known_one() {
    assert_eq!(
        bad("[function.a]\ncomponent = 'a.wasm'\nmemroy = '64MiB'\n"),
        "coracle.toml:3: function.a.memroy: unknown key; did you mean 'memory'?"
    );
    assert_eq!(
        bad("[function.a]\ncomponent = 'a.wasm'\nidle_timeout = '1s'\n"),
        "coracle.toml:3: function.a.idle_timeout: unknown key; did you mean 'idle-timeout'?"
    );
    assert!(
        bad("[functions.a]\ncomponent = 'a'")
            .contains("coracle.toml:1: functions: unknown key; did you mean 'function'?")
    );
    assert!(bad("[function.a]\ncomponent = 'a'\nzzz = 1").contains("known are component, routes"));
}

#[test]
fn all_problems_are_reported_at_once() {
    let error = bad(r#"[function.Bad]
component = 7
memory = "8GiB"
timeout = 30
[function.b]
concurrency = 0
retry = "always"
routes = ["a", "/.coracle/x"]
hosts = ["http://x"]
env = { N = 1 }
"#);
    let lines: Vec<_> = error.lines().map(str::trim).collect();
    assert_eq!(
        lines,
        [
            "coracle.toml:1: function.Bad: 'Bad' is not a function name: use 1 to 63 of a-z, 0-9 and '-', a letter first, no '-' last",
            "coracle.toml:2: function.Bad.component: expected text, got integer",
            "coracle.toml:3: function.Bad.memory: 8 GiB is not between 1 MiB and 4 GiB",
            "coracle.toml:4: function.Bad.timeout: expected a duration such as \"30s\", got integer",
            "coracle.toml:5: function.b: the key 'component' is missing: the path of the .wasm file",
            "coracle.toml:6: function.b.concurrency: 0 is not between 1 and 1000",
            "coracle.toml:7: function.b.retry: 'always' is neither 'idempotent' nor 'never'",
            "coracle.toml:8: function.b.routes: '/.coracle/x': paths below /.coracle belong to the platform",
            "coracle.toml:8: function.b.routes: 'a': expected [HOST]/PATH or [HOST]/PATH/*",
            "coracle.toml:9: function.b.hosts: 'http://x': expected HOST or HOST:PORT, without scheme or path",
            "coracle.toml:10: function.b.env.N: expected text, got integer",
        ]
    );
}

#[test]
fn what_is_no_toml_or_has_no_function_is_refused() {
    assert!(bad("[function.a\n").starts_with("coracle.toml:1: "));
    assert!(bad("").contains("nothing to deploy"));
    assert!(bad("addresses = ['h:1']").contains("nothing to deploy"));
    assert!(bad("function = 1").contains("expected tables [function.NAME], got integer"));
    assert!(
        bad("addresses = ['nowhere']\n[function.a]\ncomponent='a'").contains("coracle.toml:1: addresses: ")
    );
}

#[test]
fn one_route_has_one_function() {
    let text = "[function.a]\ncomponent='a'\nroutes=['/x']\n[function.b]\ncomponent='b'\nroutes=['/x']\n";
    assert_eq!(bad(text), "coracle.toml:4: function.b: the route '/x' is already that of 'a'");
    let twice = "[function.a]\ncomponent='a'\nroutes=['/x', '/x']";
    assert_eq!(bad(twice), "coracle.toml:3: function.a.routes: '/x' stands twice");
}

#[test]
fn the_environment_is_bounded_as_a_whole() {
    let half = "x".repeat(20_000);
    let text = format!("[function.a]\ncomponent='a'\nenv = {{ A = '{half}' }}\nargs = ['{half}']");
    assert!(
        bad(&text).starts_with("coracle.toml:1: function.a: env: 40001 bytes with the arguments"),
        "{}",
        bad(&text)
    );
}

#[test]
fn the_project_names_its_cluster_even_where_the_rest_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(FILE_NAME);
    assert_eq!(read_addresses(&file).unwrap(), []);
    std::fs::write(&file, "addresses = ['h:1']\nnonsense = 1\n").unwrap();
    assert_eq!(read_addresses(&file).unwrap(), ["h:1".parse().unwrap()]);
    assert!(read(&folder.path().join("missing.toml")).unwrap_err().to_string().contains("missing.toml"));
}

#[test]
fn schedules_are_read() {
    const FUNCTION: &str = "[function.f]\ncomponent = 'f.wasm'\n";
    let manifest = good(&format!(
        "{FUNCTION}[schedule.nightly]\ncron = '0 3 * * *'\nfunction = 'f'\n\
         [schedule.poll]\nnamespace = 'shop'\ncron = '@hourly'\nzone = 'Europe/Berlin'\nfunction = 'g'\n\
         data = '@poll.json'\nmissed = 'skip'\noverlap = 'forbid'\n"
    ));
    let [nightly, poll] = manifest.schedules.as_slice() else { panic!("{manifest:?}") };
    assert_eq!((nightly.id.to_string().as_str(), nightly.zone.as_str()), ("nightly", "UTC"));
    assert_eq!((nightly.missed, nightly.overlap), (Missed::Once, Overlap::Allow));
    assert_eq!(nightly.data, Data::Text(String::new()));
    assert_eq!((poll.id.to_string().as_str(), poll.function.as_str()), ("shop/poll", "g"));
    assert_eq!((poll.missed, poll.overlap), (Missed::Skip, Overlap::Forbid));
    assert_eq!(poll.data, Data::File("project/poll.json".into()));
    for (table, problem) in [
        ("[schedule.x]\nfunction = 'f'", "schedule.x: the key 'cron' is missing"),
        ("[schedule.x]\ncron = '@daily'", "schedule.x: the key 'function' is missing"),
        ("[schedule.x]\ncron = 5\nfunction = 'f'", "schedule.x.cron: expected text, got integer"),
        ("[schedule.x]\ncron = 'a'\nfunction = 'F'", "'F': 'F' is not a function name"),
        ("[schedule.x]\ncron = 'a'\nfunction = 'f'\nmissed = 'never'", "schedule.x: 'never'"),
        ("[schedule.x]\ncrn = 'a'\nfunction = 'f'", "did you mean 'cron'?"),
        ("[schedule]\nx = 1", "schedule.x: expected a table"),
    ] {
        let found = bad(&format!("{FUNCTION}{table}\n"));
        assert!(found.contains(problem), "{found}");
    }
}
