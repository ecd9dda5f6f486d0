//! The program under test: the same as `coracle`, built by cargo in the tests' own graph.
fn main() -> std::process::ExitCode {
    coracle::main_entry()
}
