//! The test executable as the compile child: a runtime under test starts it with the name of this test.

use std::ffi::OsString;

use crate::runtime::child::{EXIT_FAILED, exit_code};

/// What the runtime is told to start itself with.
pub(super) const ARGS: [&str; 4] =
    ["--exact", "runtime::tests::child::compile_child", "--nocapture", "--quiet"];

#[test]
fn compile_child() {
    // The test harness takes the three arguments for further filters, which match nothing.
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(own) = args.strip_prefix(&ARGS.map(OsString::from)).filter(|own| !own.is_empty()) {
        std::process::exit(exit_code(own.to_vec()).into());
    }
    assert_eq!(exit_code([]), EXIT_FAILED, "without arguments it refuses");
}
