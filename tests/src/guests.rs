//! The functions that tests deploy.

use std::path::{Path, PathBuf};

/// A function under 150 KB, from `tests/guests`.
///
/// # Panics
/// When there is none of that name.
#[must_use]
pub fn guest(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests").join(name);
    assert!(path.exists(), "tests/guests has no {name}");
    path
}

/// A function from the folder that `CORACLE_GUESTS` names; see `tests/guests/build-big`.
///
/// # Panics
/// When the variable is not set or the folder has none of that name.
#[must_use]
pub fn big_guest(name: &str) -> PathBuf {
    let folder = std::env::var("CORACLE_GUESTS")
        .expect("CORACLE_GUESTS names the folder of big guests; tests/guests/build-big makes it");
    let path = Path::new(&folder).join(name);
    assert!(path.exists(), "{folder} has no {name}; tests/guests/build-big makes it");
    path
}

/// The example `sum`, which `CORACLE_SUM` names; see `examples/sum/build`.
///
/// # Panics
/// When the variable is not set or there is no such file.
#[must_use]
pub fn example_sum() -> PathBuf {
    let path = std::env::var("CORACLE_SUM")
        .expect("CORACLE_SUM names the built example; examples/sum/build makes it");
    let path = PathBuf::from(path);
    assert!(path.exists(), "{} is not there; examples/sum/build makes it", path.display());
    path
}

/// Each small function with what it answers: name, file, method, path, body, a part of the answer.
#[must_use]
pub fn guests_small()
-> [(&'static str, &'static str, &'static str, &'static str, &'static str, &'static str); 7] {
    [
        ("hello-min", "hello-min.component.wasm", "GET", "", "", "Hello, world!"),
        (
            "rust-http",
            "rust-http-wasip2crate.component.wasm",
            "GET",
            "/x/y",
            "",
            "hello from Rust (wasip2 crate) /rust-http/x/y",
        ),
        ("rust-http-cli", "rust-http-wasip1.component.wasm", "POST", "/z", "12345", "5 body bytes"),
        ("c-http", "c-http.component.wasm", "GET", "/a", "", "hello from C /c-http/a"),
        ("c-wc", "c-wc.wasm", "POST", "", "one two three\n", "\"words\":3"),
        ("rust-wc", "rust-wc-wasip1.wasm", "POST", "", "one two three\n", "\"words\":3"),
        ("rust-wc-component", "rust-wc.command.component.wasm", "POST", "", "one two three\n", "\"words\":3"),
    ]
}
